//! Generated events as bodies, and for each of them which tail should show it.

use serde::Deserialize;
use whodid_testkit::generate::{Generator, Options};

/// An event as sender and reader both know it: its audit ID, and the first letters of its stage.
pub(crate) type Key = (u128, [u8; 10]);

/// One event in so many is lost on purpose.
const LOST_ONE_IN: u64 = 10_000;

/// What queries ask about.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(borrow, rename = "auditID")]
    audit_id: &'a str,
    stage: &'a str,
    verb: &'a str,
    object_ref: Option<ObjectRef<'a>>,
    response_status: Option<Status>,
}

#[derive(Deserialize)]
struct ObjectRef<'a> {
    #[serde(borrow)]
    resource: Option<&'a str>,
}

#[derive(Deserialize)]
struct Status {
    code: Option<i64>,
}

/// A query, and whether it finds an event of this verb, resource and code.
pub(crate) type Query = (&'static str, fn(&str, &str, i64) -> bool);

/// What the tails ask; each is different.
pub(crate) const QUERIES: [Query; 20] = [
    ("", |_, _, _| true),
    ("verb:get", |verb, _, _| verb == "get"),
    ("verb:list", |verb, _, _| verb == "list"),
    ("verb:watch", |verb, _, _| verb == "watch"),
    ("verb:create", |verb, _, _| verb == "create"),
    ("verb:update", |verb, _, _| verb == "update"),
    ("verb:patch", |verb, _, _| verb == "patch"),
    ("verb:delete", |verb, _, _| verb == "delete"),
    ("resource:pods", |_, resource, _| resource == "pods"),
    ("resource:nodes", |_, resource, _| resource == "nodes"),
    ("resource:leases", |_, resource, _| resource == "leases"),
    ("resource:configmaps", |_, resource, _| resource == "configmaps"),
    ("resource:secrets", |_, resource, _| resource == "secrets"),
    ("resource:deployments", |_, resource, _| resource == "deployments"),
    ("code:200", |_, _, code| code == 200),
    ("code:201", |_, _, code| code == 201),
    ("code:>=400", |_, _, code| code >= 400),
    ("verb:get resource:pods", |verb, resource, _| (verb, resource) == ("get", "pods")),
    ("verb:patch OR verb:delete", |verb, _, _| matches!(verb, "patch" | "delete")),
    ("NOT verb:get NOT verb:watch NOT verb:update", |verb, _, _| {
        !matches!(verb, "get" | "watch" | "update")
    }),
];

/// One body.
pub(crate) struct Body {
    pub(crate) text: Vec<u8>,
    /// The events of it that a tail may show.
    pub(crate) shown: Vec<Key>,
}

/// Makes bodies, and counts what tails should show.
pub(crate) struct Source {
    generator: Generator,
    sent: u64,
    loses: bool,
    /// By query.
    expected: [usize; QUERIES.len()],
}

impl Source {
    pub(crate) fn new(seed: u64, loses: bool) -> Self {
        let options = Options { resent: false, ..Options::default() };
        let expected = [0; QUERIES.len()];
        // What events are made of is read for the first one: before the clock runs.
        Generator::new(seed, Options::default()).next_into(&mut Vec::new());
        Source { generator: Generator::new(seed, options), sent: 0, loses, expected }
    }

    /// The next so many events.
    pub(crate) fn body(&mut self, events: usize) -> Body {
        let mut body = Body { text: Vec::new(), shown: Vec::with_capacity(events) };
        for _ in 0..events {
            let start = body.text.len();
            self.generator.next_into(&mut body.text);
            self.sent += 1;
            let line = body.text.get(start..).unwrap_or_default();
            body.shown.extend(self.count(line));
            if self.loses && self.sent.is_multiple_of(LOST_ONE_IN) {
                body.text.truncate(start);
            }
        }
        body
    }

    fn count(&mut self, line: &[u8]) -> Option<Key> {
        let event: Event<'_> = serde_json::from_slice(line).expect("an event");
        if event.stage == "RequestReceived" {
            return None;
        }
        let resource = event.object_ref.and_then(|object| object.resource).unwrap_or_default();
        let code = event.response_status.and_then(|status| status.code).unwrap_or_default();
        for ((_, finds), count) in QUERIES.iter().zip(&mut self.expected) {
            *count += usize::from(finds(event.verb, resource, code));
        }
        key(event.audit_id, event.stage)
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    pub(crate) fn expected(&self, query: usize) -> usize {
        self.expected.get(query).copied().unwrap_or_default()
    }
}

pub(crate) fn key(audit_id: &str, stage: &str) -> Option<Key> {
    let id = u128::from_str_radix(&audit_id.replace('-', ""), 16).ok()?;
    let mut start = [0; 10];
    stage.bytes().zip(&mut start).for_each(|(from, to)| *to = from);
    Some((id, start))
}
