//! `whodid search`: the requests a query finds, one row each, oldest first.

use serde_json::{Value, json};
use whodid_engine::{Engine, EventId, Row, Search};
use whodid_store::Original;

use super::{now, open, query};
use crate::args::{ListFormat, SearchArgs};
use crate::failure::Failure;
use crate::output::events::{Columns, table};
use crate::output::{Look, csv, pretty, print, yaml};

/// Events are fetched and printed this many at a time.
const SHARE: usize = 1_000;

pub async fn run(args: SearchArgs) -> Result<(), Failure> {
    let text = args.query.join(" ");
    let query = query(&text, &args.scope)?;
    let engine = open(&args.store).await?;
    let search = Search { query, now: now(), limit: args.scope.limit };
    let found = engine.search(&search).await?;
    if found.ids.is_empty() {
        let what = search.query.to_string();
        let what = if what.is_empty() { "the record is empty".into() } else { format!("nothing matches {what}") };
        return Err(Failure::NothingFound(what));
    }
    let look = Look::new(&args.look);
    let columns = Columns {
        has_namespace: args.scope.namespace.is_none(),
        is_wide: args.output == ListFormat::Wide,
    };
    list(&engine, &found.ids, args.output, &look, columns).await?;
    if found.left_out > 0 {
        eprintln!(
            "{} older events match too; --limit 0 shows all, --until pages back",
            found.left_out
        );
    }
    Ok(())
}

/// Prints events in a format.
pub async fn list(
    engine: &Engine,
    ids: &[EventId],
    format: ListFormat,
    look: &Look,
    columns: Columns,
) -> Result<(), Failure> {
    match format {
        ListFormat::Table | ListFormat::Wide => {
            let rows = engine.fetch(ids).await?;
            print(&table(engine, &rows, look, columns).print(look.has_headers))?;
        }
        ListFormat::Json => {
            print(&pretty(&json!({
                "apiVersion": API_VERSION, "kind": "EventList", "items": items(engine, ids).await?
            })))?;
        }
        ListFormat::Yaml => {
            print(&yaml(&json!({
                "apiVersion": API_VERSION, "kind": "EventList", "items": items(engine, ids).await?
            })))?;
        }
        ListFormat::Jsonl => {
            for share in ids.chunks(SHARE) {
                let rows = engine.fetch(share).await?;
                let lines = rows.iter().map(|row| Value::from(row.json()).to_string() + "\n");
                print(&lines.collect::<String>())?;
            }
        }
        ListFormat::Name => {
            print(&ids.iter().map(|id| format!("event/{id}\n")).collect::<String>())?;
        }
        ListFormat::Raw => raw(engine, ids).await?,
        ListFormat::Csv => list_csv(engine, ids, look).await?,
    }
    Ok(())
}

/// What the documents that this program prints are.
pub const API_VERSION: &str = "whodid/v1";

async fn items(engine: &Engine, ids: &[EventId]) -> Result<Vec<Value>, Failure> {
    Ok(engine.fetch(ids).await?.iter().map(|row| row.json().into()).collect())
}

/// What came in, a line each; what is gone is said on stderr.
async fn raw(engine: &Engine, ids: &[EventId]) -> Result<(), Failure> {
    for share in ids.chunks(SHARE) {
        for (id, original) in share.iter().zip(engine.originals(share).await?) {
            match original {
                Ok((Original::Event(text), _)) => print(&(text + "\n"))?,
                Ok((Original::Raw(bytes), _)) => {
                    use std::io::Write;
                    let mut out = std::io::stdout().lock();
                    out.write_all(&bytes)?;
                    out.write_all(b"\n")?;
                }
                Err(error) => eprintln!("warning: {id}: {error}"),
            }
        }
    }
    Ok(())
}

const CSV_COLUMNS: [&str; 22] = [
    "id", "time", "actor", "actor_kind", "username", "action", "verb", "outcome", "code",
    "namespace", "resource", "subresource", "name", "object", "dry_run", "source_ips",
    "user_agent", "request_uri", "stage", "level", "audit_id", "source",
];

async fn list_csv(engine: &Engine, ids: &[EventId], look: &Look) -> Result<(), Failure> {
    if look.has_headers {
        print(&csv::line(CSV_COLUMNS))?;
    }
    for share in ids.chunks(SHARE) {
        let rows = engine.fetch(share).await?;
        print(&rows.iter().map(csv_line).collect::<String>())?;
    }
    Ok(())
}

fn csv_line(row: &Row) -> String {
    let values = row.json();
    let cells = CSV_COLUMNS.map(|column| match values.get(column) {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(texts)) => {
            texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
        }
        Some(other) => other.to_string(),
    });
    csv::line(cells.iter().map(String::as_str))
}
