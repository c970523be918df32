//! Which events stand for their requests: of each the last stage that is known. What makes events
//! stages of one request takes long texts to tell; these are read only of events that may not be
//! the only ones of theirs. Which events pass at all is decided before.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use arrow::array::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::lit;
use whodid_event::Stage;
use whodid_store::Table;

use super::{Match, PLACE_COLUMNS};
use crate::error::{Error, Result};
use crate::filter::{column, text};
use crate::row::{EventId, Row};
use crate::wanted::Wanted;
use crate::{Engine, FETCH_MAX};

/// What is read of each event.
pub(super) const STAGE_COLUMNS: [&str; 3] = ["stage", "audit_id", "audit_id_text"];

/// What tells one request from another; an audit ID alone is what the client wrote.
pub(crate) const REQUEST_COLUMNS: [&str; 7] = [
    "cluster",
    "audit_id",
    "audit_id_text",
    "request_received_timestamp",
    "username",
    "verb",
    "request_uri",
];

/// What makes two events stages of one request. An audit ID alone does not: it is what the client
/// wrote.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Request {
    cluster: String,
    audit_id: Option<String>,
    received: Option<i64>,
    username: Option<String>,
    verb: Option<String>,
    uri: Option<String>,
}

/// What events of one request have in common, and those of different ones seldom.
type Sign = (String, Option<String>);

/// The requests that have their row already.
#[derive(Default)]
pub(super) struct Seen {
    /// How many events with each sign there were.
    signs: HashMap<Sign, u64>,
    /// Those that were the only ones with theirs.
    alone: HashMap<Sign, (EventId, Option<Stage>)>,
    requests: HashMap<Request, Option<Stage>>,
}

/// One in so many events that are not alone is so many that all are read with their request.
const CROWDED: usize = 4;

impl Seen {
    /// Whether many events are not the only ones of their request.
    pub(super) fn is_crowded(&self) -> bool {
        self.requests.len() > self.alone.len() / CROWDED
    }

    /// Newest first, the first event of a request is that of its last stage; another of the same
    /// stage is no repetition: two events of one stage are two versions of what happened.
    fn is_new(&mut self, request: Request, stage: Option<Stage>) -> bool {
        match self.requests.entry(request) {
            Entry::Occupied(known) => *known.get() == stage,
            Entry::Vacant(new) => {
                new.insert(stage);
                true
            }
        }
    }

    fn is_alone(&self, found: &Match) -> bool {
        self.signs.get(&found.sign()).is_none_or(|count| *count < 2)
    }
}

impl Match {
    fn stage(&self) -> Option<Stage> {
        self.row.text("stage").and_then(Stage::from_name)
    }

    fn sign(&self) -> Sign {
        (self.id.cluster.clone(), self.row.audit_id())
    }

    /// What request it belongs to, if its row says it.
    fn known_request(&self) -> Option<Request> {
        REQUEST_COLUMNS.iter().all(|name| self.row.has(name)).then(|| self.request())
    }

    fn request(&self) -> Request {
        let own = |name: &str| self.row.text(name).map(str::to_owned);
        Request {
            cluster: self.id.cluster.clone(),
            audit_id: self.row.audit_id(),
            received: self.row.instant("request_received_timestamp"),
            username: own("username"),
            verb: own("verb"),
            uri: own("request_uri"),
        }
    }

    /// Whether a later stage of the same request may follow.
    fn may_go_on(&self) -> bool {
        matches!(self.stage(), Some(Stage::RequestReceived | Stage::ResponseStarted))
            && self.row.audit_id().is_some()
    }
}

impl Engine {
    /// Leaves of each request the last stage that is known of it, whether or not that stage
    /// passes too: what a request came to is not known from its beginning.
    pub(super) async fn one_each(
        &self,
        matches: Vec<Match>,
        seen: &mut Seen,
    ) -> Result<Vec<Match>> {
        for found in &matches {
            *seen.signs.entry(found.sign()).or_default() += 1;
        }
        let is_clear = |found: &Match, seen: &Seen| seen.is_alone(found) && !found.may_go_on();
        let doubtful: Vec<&Match> = matches.iter().filter(|found| !is_clear(found, seen)).collect();
        // Some of them make others doubtful that were alone before.
        let before = doubtful.iter().filter_map(|found| seen.alone.remove(&found.sign()));
        let before: Vec<_> = before.collect();
        let (mut requests, mut unknown) = (HashMap::new(), Vec::new());
        for found in &doubtful {
            match found.known_request() {
                Some(request) => drop(requests.insert(found.id.clone(), request)),
                None => unknown.push(found.id.clone()),
            }
        }
        unknown.extend(before.iter().map(|(id, _)| id.clone()));
        requests.extend(self.requests_of(&unknown).await?);
        for (id, stage) in before {
            seen.is_new(known(&requests, &id)?, stage);
        }
        let open = doubtful.iter().filter(|found| found.may_go_on()).copied();
        let last_stages = self.last_stages(&open.collect::<Vec<_>>()).await?;
        let mut kept = Vec::with_capacity(matches.len());
        for found in matches {
            let stage = found.stage();
            if is_clear(&found, seen) {
                seen.alone.insert(found.sign(), (found.id.clone(), stage));
                kept.push(found);
                continue;
            }
            let request = known(&requests, &found.id)?;
            if found.may_go_on() && last_stages.get(&request).copied() > stage {
                continue;
            }
            if seen.is_new(request, stage) {
                kept.push(found);
            }
        }
        Ok(kept)
    }

    /// The requests that events belong to.
    async fn requests_of(&self, ids: &[EventId]) -> Result<HashMap<EventId, Request>> {
        let columns = [&PLACE_COLUMNS[..], &REQUEST_COLUMNS].concat();
        let mut requests = HashMap::with_capacity(ids.len());
        for share in ids.chunks(FETCH_MAX) {
            let rows = self.events_of(share, &columns).await?;
            let found = Row::all(&rows).map(Match::of);
            requests.extend(found.map(|found| (found.id.clone(), found.request())));
        }
        Ok(requests)
    }

    /// The last stage known of each request that may have gone on.
    async fn last_stages(&self, open: &[&Match]) -> Result<HashMap<Request, Stage>> {
        let mut stages = HashMap::new();
        if open.is_empty() {
            return Ok(stages);
        }
        for found in Row::all(&self.later_stages(open).await?).map(Match::of) {
            let Some(stage) = found.stage() else { continue };
            let last = stages.entry(found.request()).or_insert(stage);
            *last = stage.max(*last);
        }
        Ok(stages)
    }

    /// Events with the audit IDs of these, a page at most, in stages that are not the first.
    async fn later_stages(&self, open: &[&Match]) -> Result<Vec<RecordBatch>> {
        let (mut uuids, mut texts) = (HashSet::new(), HashSet::new());
        for found in open {
            match found.row.bytes("audit_id") {
                Some(bytes) => drop(uuids.insert(bytes.to_vec())),
                None => texts.extend(found.row.audit_id()),
            }
        }
        let uuids = uuids.into_iter().map(|uuid| lit(ScalarValue::Binary(Some(uuid))));
        let texts = texts.iter().map(|id| text(id));
        let has_id = column("audit_id")
            .in_list(uuids.collect(), false)
            .or(column("audit_id_text").in_list(texts.collect(), false));
        let later = column("stage").not_eq(text("RequestReceived"));
        let columns = [&PLACE_COLUMNS[..], &STAGE_COLUMNS, &REQUEST_COLUMNS].concat();
        let events = self.table(Table::Events, Wanted::All);
        Ok(self.rows(&events, has_id.and(later), &columns).await?.collect().await?)
    }
}

fn known(requests: &HashMap<EventId, Request>, id: &EventId) -> Result<Request> {
    requests.get(id).cloned().ok_or_else(|| Error::NoEvent(id.clone()))
}
