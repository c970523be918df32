//! `whodid show`: one event, whole, with what came in and what was made of it.

use std::io::Write;

use serde_json::{Value, json};
use whodid_engine::{Engine, EventId, Row};
use whodid_store::Original;

use super::open;
use super::search::API_VERSION;
use crate::args::{ShowArgs, ShowFormat};
use crate::failure::Failure;
use crate::output::{pretty, print, yaml};

pub async fn run(args: ShowArgs) -> Result<(), Failure> {
    let engine = open(&args.store).await?;
    let id = find(&engine, &args.id).await?;
    let ids = std::slice::from_ref(&id);
    let rows = engine.fetch(ids).await?;
    let mut originals = engine.originals(ids).await?;
    let (Some(row), Some(original)) = (rows.first(), originals.pop()) else {
        return Err(Failure::NothingFound(format!("there is no event {id}")));
    };
    match (args.output, original) {
        (ShowFormat::Raw, Ok((Original::Event(text), _))) => print(&(text + "\n"))?,
        (ShowFormat::Raw, Ok((Original::Raw(bytes), _))) => {
            std::io::stdout().lock().write_all(&bytes)?;
        }
        (ShowFormat::Raw, Err(error)) => return Err(error.into()),
        (ShowFormat::Json, original) => print(&pretty(&document(row, original.map(|(o, _)| o))))?,
        (ShowFormat::Yaml, original) => print(&yaml(&document(row, original.map(|(o, _)| o))))?,
    }
    Ok(())
}

/// Finds the event that an id or an audit ID names.
async fn find(engine: &Engine, text: &str) -> Result<EventId, Failure> {
    let name = text.strip_prefix("event/").unwrap_or(text);
    if let Ok(id) = name.parse::<EventId>() {
        return Ok(id);
    }
    let rows = engine.with_audit_id(text).await?;
    let originals: Vec<&Row> =
        rows.iter().filter(|row| row.flag("duplicate") != Some(true)).collect();
    match originals.as_slice() {
        [] => Err(Failure::NothingFound(format!(
            "there is no event {text}: neither an id (CLUSTER/SEQ) nor an audit ID in the record"
        ))),
        [row] => Ok(row.id()),
        several => {
            let candidates = several.iter().map(|row| {
                let part = |column| row.text(column).unwrap_or("<unknown>").to_owned();
                let parts = [part("stage"), part("verb"), part("request_uri")];
                format!(
                    "  {}   {}",
                    row.id(),
                    parts.map(|part| crate::output::cell(&part)).join("   ")
                )
            });
            Err(Failure::Usage(format!(
                "{} events carry the audit ID {text}; name one of them:\n{}",
                several.len(),
                candidates.collect::<Vec<_>>().join("\n")
            )))
        }
    }
}

/// The event as one document: what the record knows of it, and what came in.
fn document(row: &Row, original: Result<Original, whodid_store::Error>) -> Value {
    const IN_THE_RECORD: [&str; 14] = [
        "id",
        "cluster",
        "seq",
        "received",
        "source",
        "day",
        "duplicate",
        "conflict",
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
    let all = row.json();
    let part = |names: &[&str]| -> Value {
        let known =
            names.iter().filter_map(|name| Some(((*name).to_owned(), all.get(*name)?.clone())));
        known.collect::<serde_json::Map<_, _>>().into()
    };
    let (member, content) = match original {
        Ok(Original::Event(text)) => {
            let event = serde_json::from_str(&text);
            ("event", event.unwrap_or_else(|_| Value::from(text)))
        }
        Ok(Original::Raw(bytes)) => ("raw", String::from_utf8_lossy(&bytes).into()),
        Err(error) => ("event", json!({ "unavailable": error.to_string() })),
    };
    json!({
        "apiVersion": API_VERSION,
        "kind": "Event",
        "record": part(&IN_THE_RECORD),
        "derived": part(&DERIVED),
        member: content,
    })
}
