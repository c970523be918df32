//! `whodid show`: one event, whole, with what came in and what was made of it.

use std::io::Write;

use whodid_api::{Client, SEARCH_SECONDS};
use whodid_engine::{Engine, EventId};
use whodid_query::{Expr, Field, Known, Term, Test, Value};
use whodid_store::Original;

use super::{Place, client, open, place};
use crate::args::{ShowArgs, ShowFormat};
use crate::config::Config;
use crate::failure::Failure;
use crate::output::events::Event;
use crate::output::table::UNKNOWN;
use crate::output::{cell, pretty, print, yaml};

pub async fn run(args: ShowArgs, config: &Config) -> Result<(), Failure> {
    let source = Source::open(place(&args.server, &args.store, config)?).await?;
    let id = source.find(&args.id).await?;
    match args.output {
        ShowFormat::Yaml => print(&yaml(&source.document(&id).await?))?,
        ShowFormat::Json => print(&pretty(&source.document(&id).await?))?,
        ShowFormat::Raw => {
            let (bytes, is_event) = source.original(&id).await?;
            let mut out = std::io::stdout().lock();
            out.write_all(&bytes)?;
            if is_event {
                out.write_all(b"\n")?;
            }
        }
    }
    Ok(())
}

/// Who knows the event.
pub(super) enum Source {
    Record(Box<Engine>),
    Server(Client),
}

impl Source {
    pub(super) async fn open(place: Place) -> Result<Self, Failure> {
        Ok(match place {
            Place::Record(store) => Source::Record(Box::new(open(&store).await?)),
            server @ Place::Server(_) => Source::Server(client(server)?),
        })
    }

    async fn document(&self, id: &EventId) -> Result<serde_json::Value, Failure> {
        Ok(match self {
            Source::Record(engine) => engine.document(id).await?,
            Source::Server(client) => client.event(&id.to_string()).await.map_err(not_found)?,
        })
    }

    /// What came in, and whether it is an event.
    async fn original(&self, id: &EventId) -> Result<(Vec<u8>, bool), Failure> {
        Ok(match self {
            Source::Record(engine) => match engine.original(id).await? {
                Original::Event(text) => (text.into_bytes(), true),
                Original::Raw(bytes) => (bytes, false),
            },
            Source::Server(client) => client.original(&id.to_string()).await.map_err(not_found)?,
        })
    }

    /// Finds the event that an id or an audit ID names.
    pub(super) async fn find(&self, text: &str) -> Result<EventId, Failure> {
        let name = text.strip_prefix("event/").unwrap_or(text);
        if let Ok(id) = name.parse::<EventId>() {
            return Ok(id);
        }
        let found = self.with_audit_id(text).await?;
        let id = |event: &Event| event.get("id")?.as_str()?.parse::<EventId>().ok();
        match found.as_slice() {
            [] => Err(Failure::NothingFound(format!(
                "there is no event {text}: neither an id (CLUSTER/SEQ) nor an audit ID in the \
                 record"
            ))),
            [event] => id(event)
                .ok_or_else(|| Failure::Unavailable(format!("{text}: an event without an id"))),
            several => {
                let candidates: Vec<String> = several.iter().map(candidate).collect();
                Err(Failure::Usage(format!(
                    "{} events carry the audit ID {text}; name one of them:\n{}",
                    several.len(),
                    candidates.join("\n")
                )))
            }
        }
    }

    /// The events that carry an audit ID, what came twice once.
    async fn with_audit_id(&self, text: &str) -> Result<Vec<Event>, Failure> {
        match self {
            Source::Record(engine) => {
                let rows = engine.with_audit_id(text).await?;
                let first = rows.iter().filter(|row| row.flag("duplicate") != Some(true));
                Ok(first.map(|row| engine.json(row)).collect())
            }
            Source::Server(client) => {
                let term = |field, test| Expr::from(Term { field: Field::Known(field), test });
                // Whoever asks about stages is answered with events.
                let query = Expr::and([
                    term(Known::AuditId, Test::Is(Value::Text(text.to_owned()))),
                    Expr::or([
                        term(Known::Stage, Test::Exists),
                        Expr::Not(Box::new(term(Known::Stage, Test::Exists))),
                    ]),
                ]);
                Ok(client.newest(&query.to_string(), 100, SEARCH_SECONDS).await?.items)
            }
        }
    }
}

/// Of an event, that it is not there is an answer.
fn not_found(error: whodid_api::Error) -> Failure {
    match error {
        whodid_api::Error::Refused { status: 404, detail } => Failure::NothingFound(detail),
        other => other.into(),
    }
}

fn candidate(event: &Event) -> String {
    let part = |name: &str| {
        let text = event.get(name).and_then(serde_json::Value::as_str);
        text.map_or_else(|| UNKNOWN.to_owned(), cell)
    };
    format!("  {}", ["id", "stage", "verb", "request_uri"].map(part).join("   "))
}
