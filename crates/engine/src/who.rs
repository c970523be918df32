//! "Who did this?": the requests that did something to an object, and for what a controller did,
//! the person's act behind it, where the record shows it.
//!
//! An answer is what *happened*: let in, and no dry run. Attempts are counted, and shown on
//! request.

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Map;
use whodid_query::{Comparison, Expr, Field, Known, ObjectRef, Query, Term, Test, Value, Wildcard};

use crate::error::Result;
use crate::row::{EventId, Row};
use crate::{Cost, Engine, Found, Search};

mod cause;
mod verb;

pub use cause::{Cause, Link};
pub use verb::{UnknownVerb, Verb};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// What was done.
    pub verb: Verb,
    /// To what: an `object:` or a `resource:` test.
    pub object: Expr,
    /// Where and when.
    pub scope: Expr,
    /// Whether attempts are shown too.
    pub with_attempts: bool,
    /// What relative times are relative to, in microseconds since 1970.
    pub now: i64,
    /// The newest so many acts; 0 means all.
    pub limit: usize,
}

/// The answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// Who did it, oldest first.
    #[serde(rename = "items")]
    pub acts: Vec<Act>,
    /// How many older acts there are.
    pub left_out: u64,
    /// How many attempts there were that are not among the acts.
    pub attempts: u64,
    /// What the answer took.
    pub cost: Cost,
}

/// An event as JSON.
type Event = Map<String, serde_json::Value>;

/// One thing that was done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Act {
    /// The event that stands for it.
    #[serde(flatten)]
    pub event: Event,
    /// What caused it, if somebody else did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Whether it was done to many objects at once, and the record does not list them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_assumed: bool,
}

/// Reads what is asked about: `TYPE/NAME`, `NS/TYPE/NAME` or `TYPE`, as kubectl takes types.
///
/// # Errors
/// It is none of these.
pub fn object(text: &str) -> Result<Expr, whodid_query::Error> {
    let field = if text.contains('/') { "object" } else { "resource" };
    Ok(whodid_query::parse(&format!("{field}:{text}"))?.expr)
}

/// A test that a field is a text.
pub(crate) fn is(field: Known, text: &str) -> Expr {
    Term { field: Field::Known(field), test: Test::Is(Value::Text(text.to_owned())) }.into()
}

/// A test that a request was let in; one that is still open was too.
pub(crate) fn let_in() -> Expr {
    let below = Test::Compare(Comparison::Less, Value::Int(400));
    Term { field: Field::Known(Known::Code), test: below }.into()
}

/// A test that something happened.
pub(crate) fn happened() -> Expr {
    let is_dry_run = Term { field: Field::Known(Known::DryRun), test: Test::Is(Value::Bool(true)) };
    Expr::and([let_in(), Expr::not(is_dry_run.into())])
}

fn exists(field: Known) -> Expr {
    Term { field: Field::Known(field), test: Test::Exists }.into()
}

impl Engine {
    /// Answers who did something to an object.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn who<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<Answer>> {
        Box::pin(async move {
            let asked =
                Expr::and([question.verb.done_to(&question.object), question.scope.clone()]);
            let search =
                |expr: Expr, limit| Search { query: Query { expr }, now: question.now, limit };
            let is_shown = if question.with_attempts { Expr::All } else { happened() };
            let found =
                self.search(&search(Expr::and([asked.clone(), is_shown]), question.limit)).await?;
            let attempts = if question.with_attempts {
                0
            } else {
                let tried = Expr::and([asked, Expr::not(happened())]);
                let Found { ids, left_out } = self.search(&search(tried, 1_000)).await?;
                ids.len() as u64 + left_out
            };
            let mut acts = Vec::new();
            for row in self.fetch(&found.ids).await? {
                acts.extend(self.act(row, &question.object).await?);
            }
            Ok(Answer { acts, left_out: found.left_out, attempts, cost: self.cost() })
        })
    }

    /// What an event says of the object asked for; `None` if it turns out to be about others.
    async fn act(&self, row: Row, object: &Expr) -> Result<Option<Act>> {
        let mut is_assumed = false;
        if row.text("action") == Some("delete-collection")
            && let Some(wanted) = named(object)
        {
            match self.deleted_names(&row.id()).await? {
                Some(names) if names.iter().any(|name| wanted.matches(name)) => {}
                Some(_) => return Ok(None),
                None => is_assumed = true,
            }
        }
        let cause = self.cause(&row).await?;
        Ok(Some(Act { event: self.json(&row), cause, is_assumed }))
    }

    /// The names that the answer to a deletion of many lists; `None` if it was not recorded.
    async fn deleted_names(&self, id: &EventId) -> Result<Option<Vec<String>>> {
        #[derive(serde::Deserialize)]
        struct List {
            items: Option<Vec<Item>>,
        }
        #[derive(serde::Deserialize)]
        struct Item {
            metadata: Metadata,
        }
        #[derive(serde::Deserialize)]
        struct Metadata {
            #[serde(default)]
            name: String,
        }
        let originals = self.originals(std::slice::from_ref(id)).await?;
        let Some(Ok((_, bodies))) = originals.into_iter().next() else { return Ok(None) };
        let list = bodies.response.and_then(|body| serde_json::from_str::<List>(&body).ok());
        let items = list.and_then(|list| list.items);
        Ok(items.map(|items| items.into_iter().map(|item| item.metadata.name).collect()))
    }
}

/// The name that an `object:` test asks for.
fn named(object: &Expr) -> Option<&Wildcard> {
    match object {
        Expr::Term(Term { test: Test::Is(Value::Object(ObjectRef { name, .. })), .. }) => {
            Some(name)
        }
        Expr::And(parts) => parts.iter().find_map(named),
        _ => None,
    }
}
