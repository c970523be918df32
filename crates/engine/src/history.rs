//! The history of one object: every change, what it changed, and how well that is known. Bodies are
//! read here; what follows from them is [`state`]'s business.

use std::collections::{HashMap, VecDeque};

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use whodid_query::{Expr, Known, Query};

use crate::error::Result;
use crate::who::{happened, is};
use crate::{Cost, Engine, Found, Row, Search};

mod diff;
mod patch;
mod state;

pub use diff::{Difference, Side};
pub use state::Basis;

use state::{Change, Outcome, State};

/// What changes an object.
const WRITES: [&str; 4] = ["create", "update", "patch", "delete"];

/// Bodies are read for so many events at once.
const SHARE: usize = 64;

/// The changes of an answer come from bodies of so many bytes at most.
const BYTES_MAX: usize = 64 << 20;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Of which object: an `object:` test.
    pub object: Expr,
    /// Where and when.
    pub scope: Expr,
    /// Whether changes of its status are shown too.
    pub with_status: bool,
    /// What relative times are relative to, in microseconds since 1970.
    pub now: i64,
    /// The newest so many changes; 0 means all.
    pub limit: usize,
}

/// What tells one object from others: cluster, group, resource, namespace and name.
type Named = [String; 5];

/// The object that an event is about.
fn named(row: &Row) -> Named {
    let text = |column| row.text(column).unwrap_or_default().to_owned();
    let [group, resource, namespace, name] =
        ["api_group", "resource", "namespace", "name"].map(text);
    [row.id().cluster, group, resource, namespace, name]
}

/// The answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct History {
    /// The changes, oldest first.
    #[serde(rename = "items")]
    pub steps: Vec<Step>,
    /// How many older ones are left out.
    pub left_out: u64,
    /// Of how many objects these changes are: one name may be that of several.
    pub objects: usize,
    /// What the newest change made of the object; `None` where that is not known, where the object
    /// is gone, and of several objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Value>,
    /// What the answer took.
    pub cost: Cost,
}

/// One change.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The event that stands for it.
    pub event: Map<String, Value>,
    /// What is different since the change before, as far as it is known.
    pub differences: Vec<Difference>,
    /// How the state behind it is known.
    pub basis: Basis,
    /// Whether it is known what was before.
    pub knows_before: bool,
}

impl Engine {
    /// The changes of an object.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn history<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<History>> {
        Box::pin(async move {
            let verbs = Expr::or(WRITES.map(|verb| is(Known::Verb, verb)));
            let mut parts =
                vec![question.object.clone(), question.scope.clone(), verbs, happened()];
            if !question.with_status {
                parts.push(Expr::not(is(Known::Subresource, "status")));
            }
            let query = Query { expr: Expr::and(parts) };
            let search = Search { query, now: question.now, limit: question.limit };
            let Found { ids, mut left_out } = self.search(&search).await?;
            // One name may be that of many: in other namespaces, in other clusters.
            let mut states: HashMap<Named, State> = HashMap::new();
            let mut steps = VecDeque::with_capacity(ids.len());
            let mut bytes = 0;
            for share in ids.chunks(SHARE) {
                let rows = self.fetch(share).await?;
                for (row, original) in rows.into_iter().zip(self.originals(share).await?) {
                    let bodies = original.map(|(_, bodies)| bodies).unwrap_or_default();
                    let size = |text: &Option<String>| text.as_ref().map_or(0, String::len);
                    let size = size(&bodies.request) + size(&bodies.response);
                    let read = |text: Option<String>| serde_json::from_str(&text?).ok();
                    let change = Change {
                        verb: row.text("verb").unwrap_or_default(),
                        subresource: row.text("subresource"),
                        request: read(bodies.request),
                        response: read(bodies.response),
                    };
                    let state = states.entry(named(&row)).or_default();
                    let Outcome { differences, basis, knows_before } = state.follow(&change);
                    let event = self.json(&row);
                    steps.push_back((size, Step { event, differences, basis, knows_before }));
                    bytes += size;
                    while bytes > BYTES_MAX
                        && steps.len() > 1
                        && let Some((size, _)) = steps.pop_front()
                    {
                        (bytes, left_out) = (bytes - size, left_out + 1);
                    }
                }
            }
            let objects = states.len();
            let only = states.into_values().next().filter(|_| objects == 1);
            let object = only.and_then(|state| state.object).map(as_shown);
            let steps = steps.into_iter().map(|(_, step)| step).collect();
            Ok(History { steps, left_out, objects, object, cost: self.cost() })
        })
    }
}

/// An object without what the API server keeps about who set which field.
fn as_shown(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}
