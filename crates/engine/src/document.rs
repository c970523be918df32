//! One event as a document for people: where it is in the record, what was made of it, and what
//! came in. The same document is printed, answered over HTTP and shown elsewhere.

use futures::future::BoxFuture;
use serde::Serialize;
use serde_json::{Map, Value, json};
use whodid_event::cloud;
use whodid_store::Original;

use crate::error::Result;
use crate::row::EventId;
use crate::{Engine, Error};

/// What documents are: the version of their shapes.
pub const API_VERSION: &str = "whodid/v1";

/// An answer, and what kind of document it is.
#[derive(Debug, Serialize)]
pub struct Document<T> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    answer: T,
}

impl<T: Serialize> Document<T> {
    /// Makes a document of an answer.
    pub fn new(kind: &'static str, answer: T) -> Self {
        Document { api_version: API_VERSION, kind, answer }
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        // Members have texts for names.
        serde_json::to_value(self).unwrap_or_default()
    }
}

const IN_THE_RECORD: [&str; 14] = [
    "id",
    "cluster",
    "seq",
    "received",
    "source",
    "duplicate",
    "conflict",
    "contradicted",
    "twin",
    "truncated",
    "redacted",
    "raw_reason",
    "raw_size",
    "raw_sha256",
];

const DERIVED: [&str; 13] = [
    "time",
    "actor",
    "actor_kind",
    "action",
    "outcome",
    "dry_run",
    "field_manager",
    "tool",
    "tool_version",
    "exec_command",
    "gvr",
    "object",
    "audit_id",
];

impl Engine {
    /// One event, whole. Of a body that is gone, its commitment stands in `event`, and
    /// `record.gone` names it.
    ///
    /// # Errors
    /// It is not there, or the record cannot be read.
    pub fn document<'a>(&'a self, id: &'a EventId) -> BoxFuture<'a, Result<Value>> {
        Box::pin(async move {
            let ids = std::slice::from_ref(id);
            let rows = self.fetch(ids).await?;
            let original = self.originals(ids).await?.pop();
            let (Some(row), Some(original)) = (rows.first(), original) else {
                return Err(Error::NoEvent(id.clone()));
            };
            let mut gone = Vec::new();
            let (member, content) = match original {
                Ok((Original::Event(text), bodies)) => {
                    gone.extend(bodies.gone());
                    let event = serde_json::from_str(&text);
                    ("event", event.unwrap_or_else(|_| Value::from(text)))
                }
                Ok((Original::Raw(bytes), _)) => ("raw", String::from_utf8_lossy(&bytes).into()),
                Err(error) => ("event", json!({ "unavailable": error.to_string() })),
            };
            let all = self.json(row);
            let mut record = part(&all, &IN_THE_RECORD);
            if !gone.is_empty() {
                record.insert("gone".into(), gone.into());
            }
            let lacking = lacking(&all);
            if !lacking.is_empty() {
                record.insert("lacking".into(), lacking.into());
            }
            Ok(json!({
                "apiVersion": API_VERSION,
                "kind": "Event",
                "record": record,
                "derived": part(&all, &DERIVED),
                member: content,
            }))
        })
    }

    /// What came in as an event.
    ///
    /// # Errors
    /// It is not there, what came in as it is gone, or the record cannot be read.
    pub async fn original(&self, id: &EventId) -> Result<Original> {
        let original = self.originals(std::slice::from_ref(id)).await?.pop();
        let (original, _) = original.ok_or_else(|| Error::NoEvent(id.clone()))??;
        Ok(original)
    }
}

/// What an event that was made of something else could not have, and why.
fn lacking(all: &Map<String, Value>) -> Map<String, Value> {
    if all.get("annotations").and_then(|annotations| annotations.get(cloud::MADE_OF)).is_none() {
        return Map::new();
    }
    let is_exec = all.get("action").and_then(Value::as_str) == Some("exec");
    let lacks = |name: &str| !all.contains_key(name) && (name != "exec_command" || is_exec);
    let lacking = cloud::LACKING.iter().filter(|(name, _)| lacks(name));
    lacking.map(|(name, why)| ((*name).to_owned(), (*why).into())).collect()
}

fn part(all: &Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    let known = names.iter().filter_map(|name| Some(((*name).to_owned(), all.get(*name)?.clone())));
    known.collect()
}
