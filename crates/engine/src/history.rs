//! The history of one object: every change, what it changed, and how well that is known. Bodies are
//! read here; what follows from them is [`state`]'s business.

use std::collections::HashMap;

use futures::future::BoxFuture;
use serde_json::Value;
use whodid_query::{Expr, Known, Query};

use crate::error::Result;
use crate::who::{happened, is};
use crate::{Engine, Found, Row, Search};

mod diff;
mod patch;
mod state;

pub use diff::{Difference, Side};
pub use state::Basis;

use state::{Change, Outcome, State};

/// What changes an object.
const WRITES: [&str; 4] = ["create", "update", "patch", "delete"];

/// Bodies are read for so many events at once.
const SHARE: usize = 256;

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
pub type Named = [String; 5];

/// The object that an event is about.
pub fn named(row: &Row) -> Named {
    let text = |column| row.text(column).unwrap_or_default().to_owned();
    let [group, resource, namespace, name] =
        ["api_group", "resource", "namespace", "name"].map(text);
    [row.id().cluster, group, resource, namespace, name]
}

/// One change.
#[derive(Clone, Debug)]
pub struct Step {
    /// The event that stands for it.
    pub row: Row,
    /// What is different since the change before, as far as it is known.
    pub differences: Vec<Difference>,
    /// How the state behind it is known.
    pub basis: Basis,
    /// Whether it is known what was before.
    pub knows_before: bool,
    /// The object behind it; `None` where it is not known, or gone.
    pub object: Option<Value>,
}

impl Engine {
    /// The changes of an object, oldest first, and how many older ones are left out.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn history<'a>(
        &'a self,
        question: &'a Question,
    ) -> BoxFuture<'a, Result<(Vec<Step>, u64)>> {
        Box::pin(async move {
            let verbs = Expr::or(WRITES.map(|verb| is(Known::Verb, verb)));
            let mut parts =
                vec![question.object.clone(), question.scope.clone(), verbs, happened()];
            if !question.with_status {
                parts.push(Expr::not(is(Known::Subresource, "status")));
            }
            let query = Query { expr: Expr::and(parts) };
            let search = Search { query, now: question.now, limit: question.limit };
            let Found { ids, left_out } = self.search(&search).await?;
            // One name may be that of many: in other namespaces, in other clusters.
            let mut states: HashMap<Named, State> = HashMap::new();
            let mut steps = Vec::with_capacity(ids.len());
            for share in ids.chunks(SHARE) {
                let rows = self.fetch(share).await?;
                for (row, original) in rows.into_iter().zip(self.originals(share).await?) {
                    let bodies = original.map(|(_, bodies)| bodies).unwrap_or_default();
                    let read = |text: Option<String>| serde_json::from_str(&text?).ok();
                    let change = Change {
                        verb: row.text("verb").unwrap_or_default(),
                        subresource: row.text("subresource"),
                        request: read(bodies.request),
                        response: read(bodies.response),
                    };
                    let state = states.entry(named(&row)).or_default();
                    let Outcome { differences, basis, knows_before } = state.follow(&change);
                    let object = state.object.clone();
                    steps.push(Step { row, differences, basis, knows_before, object });
                }
            }
            Ok((steps, left_out))
        })
    }
}
