//! `whodid search`: the requests a query finds, one row each, oldest first.

use std::fmt::Display;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use whodid_engine::{API_VERSION, Cost, Engine, EventId, Search};
use whodid_store::Original;

use super::{Place, client, now, open, place, query};
use crate::args::{ListFormat, SearchArgs};
use crate::config::Config;
use crate::failure::Failure;
use crate::output::events::{Columns, Event, table};
use crate::output::say;
use crate::output::{Look, csv, json_line, left_out, pretty, print, yaml};

/// Events are fetched and printed this many at a time.
const SHARE: usize = 1_000;

/// A server gives so many at once.
const REMOTE_MAX: usize = 10_000;
const REMOTE_SECONDS_MAX: u64 = 300;

pub async fn run(args: SearchArgs, config: &Config) -> Result<(), Failure> {
    let text = args.query.join(" ");
    let query = query(&text, &args.scope)?;
    if args.count.histogram.is_some() || args.count.top.is_some() {
        return super::count::search(&args, &query, config).await;
    }
    let look = Look::new(&args.look);
    let columns = Columns {
        has_namespace: args.scope.namespace.is_none(),
        is_wide: args.output == ListFormat::Wide,
    };
    let store = match place(&args.server, &args.store, config)? {
        Place::Record(store) => store,
        server @ Place::Server(_) => {
            return remote(&args, server, &query.to_string(), &look, columns).await;
        }
    };
    let started = Instant::now();
    let engine = open(&store).await?.until(started + Duration::from_secs(args.timeout));
    let search = Search { query, now: now(), limit: args.scope.limit };
    let found = engine.search(&search).await?;
    if !found.ids.is_empty() {
        list(&engine, &found.ids, args.output, &look, columns).await?;
        say_left_out(found.left_out);
    }
    let cost = engine.cost();
    end(&args, &cost, started)?;
    if found.ids.is_empty() {
        return Err(nothing_matches(&search.query.to_string()));
    }
    Ok(())
}

/// Says what it took, if that was asked for, and that it is not everything, if it is not.
fn end(args: &SearchArgs, cost: &Cost, started: Instant) -> Result<(), Failure> {
    if args.cost {
        let Cost { files_read, files, rows_read, rows, bytes_read, .. } = cost;
        let millis = started.elapsed().as_millis();
        say!(
            "looked at {files_read} of {files} files, {rows_read} of {rows} rows; \
             read {bytes_read} bytes; {millis} ms"
        );
    }
    if cost.is_partial {
        return Err(Failure::Unavailable(format!(
            "stopped after {} s, and older matches are missing; narrow the query by time or \
             cluster, or give it longer with --timeout",
            args.timeout
        )));
    }
    Ok(())
}

/// Asks a server.
async fn remote(
    args: &SearchArgs,
    server: Place,
    query: &str,
    look: &Look,
    columns: Columns,
) -> Result<(), Failure> {
    if args.output == ListFormat::Raw {
        return Err(no_originals());
    }
    check_limit(args.scope.limit, REMOTE_MAX)?;
    if args.timeout > REMOTE_SECONDS_MAX {
        return Err(Failure::Usage(format!(
            "--timeout {}: a server searches for at most {REMOTE_SECONDS_MAX} seconds",
            args.timeout
        )));
    }
    let started = Instant::now();
    let found = client(server)?.newest(query, args.scope.limit, args.timeout).await?;
    if !found.items.is_empty() {
        show(&found.items, args.output, look, columns)?;
    }
    if found.left_out > 0 {
        say!("{} older matches left out; --until pages back", left_out(found.left_out));
    }
    let cost = serde_json::from_value(found.cost).unwrap_or_default();
    end(args, &cost, started)?;
    if found.items.is_empty() {
        return Err(nothing_matches(query));
    }
    Ok(())
}

/// What a server does not give in a list.
pub(super) fn no_originals() -> Failure {
    Failure::Usage("-o raw reads the record itself; use --data-dir".into())
}

/// What is asked of a server has to have a limit.
pub(super) fn check_limit(limit: usize, max: usize) -> Result<(), Failure> {
    if (1..=max).contains(&limit) {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "--limit {limit}: a server gives at most {max} at once; page back with --until"
    )))
}

/// What was given by a server whose time was over is not everything.
pub(super) fn check_whole(cost: &Cost) -> Result<(), Failure> {
    if !cost.is_partial {
        return Ok(());
    }
    Err(Failure::Unavailable(
        "the server stopped looking after its time, and older ones are missing; narrow it by time \
         or cluster"
            .into(),
    ))
}

fn nothing_matches(query: &str) -> Failure {
    Failure::NothingFound(match query {
        "" => "the record is empty".into(),
        query => format!("nothing matches {query}"),
    })
}

fn say_left_out(count: u64) {
    if count > 0 {
        let count = left_out(count);
        say!("{count} older matches left out; --limit 0 shows all, --until pages back");
    }
}

/// Prints events in a format, a share at a time where the format allows it.
async fn list(
    engine: &Engine,
    ids: &[EventId],
    format: ListFormat,
    look: &Look,
    columns: Columns,
) -> Result<(), Failure> {
    match format {
        ListFormat::Raw => raw(engine, ids).await,
        // All of it is known.
        ListFormat::Name => Ok(print(&ids.iter().map(name).collect::<String>())?),
        ListFormat::Jsonl | ListFormat::Csv => {
            let mut look = look.clone();
            for share in ids.chunks(SHARE) {
                show(&events(engine, share).await?, format, &look, columns)?;
                look.has_headers = false;
            }
            Ok(())
        }
        _ => show(&events(engine, ids).await?, format, look, columns),
    }
}

/// Prints events in any format but what came in.
pub(super) fn show(
    events: &[Event],
    format: ListFormat,
    look: &Look,
    columns: Columns,
) -> Result<(), Failure> {
    let document = || json!({"apiVersion": API_VERSION, "kind": "EventList", "items": events});
    let text = match format {
        ListFormat::Table | ListFormat::Wide | ListFormat::Raw => {
            table(events, look, columns).print(look.has_headers)
        }
        ListFormat::Json => pretty(&document()),
        ListFormat::Yaml => yaml(&document()),
        ListFormat::Jsonl => {
            events.iter().map(|event| json_line(&Value::from(event.clone()))).collect()
        }
        ListFormat::Name => {
            let ids = events.iter().filter_map(|event| event.get("id")?.as_str());
            ids.map(name).collect()
        }
        ListFormat::Csv => {
            let titles = look.has_headers.then(|| csv::line(CSV_COLUMNS));
            titles.into_iter().chain(events.iter().map(csv_line)).collect()
        }
    };
    Ok(print(&text)?)
}

/// How `-o name` names an event.
fn name(id: impl Display) -> String {
    format!("event/{id}\n")
}

async fn events(engine: &Engine, ids: &[EventId]) -> Result<Vec<Event>, Failure> {
    Ok(engine.fetch(ids).await?.iter().map(|row| engine.json(row)).collect())
}

/// What came in, a line each; what is gone is said on stderr.
pub(super) async fn raw(engine: &Engine, ids: &[EventId]) -> Result<(), Failure> {
    for share in ids.chunks(SHARE) {
        for (id, original) in share.iter().zip(engine.originals(share).await?) {
            match original {
                Ok((Original::Event(text), bodies)) => {
                    for member in bodies.gone() {
                        say!("warning: {id}: its {member} is gone, its commitment stands there");
                    }
                    print(&(text + "\n"))?;
                }
                Ok((Original::Raw(bytes), _)) => {
                    use std::io::Write;
                    let mut out = std::io::stdout().lock();
                    out.write_all(&bytes)?;
                    out.write_all(b"\n")?;
                }
                Err(error) => say!("warning: {id}: {error}"),
            }
        }
    }
    Ok(())
}

const CSV_COLUMNS: [&str; 22] = [
    "id",
    "time",
    "actor",
    "actor_kind",
    "username",
    "action",
    "verb",
    "outcome",
    "code",
    "namespace",
    "resource",
    "subresource",
    "name",
    "object",
    "dry_run",
    "source_ips",
    "user_agent",
    "request_uri",
    "stage",
    "level",
    "audit_id",
    "source",
];

fn csv_line(event: &Event) -> String {
    let cells = CSV_COLUMNS.map(|column| match event.get(column) {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(texts)) => {
            texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
        }
        Some(other) => other.to_string(),
    });
    csv::line(cells.iter().map(String::as_str))
}
