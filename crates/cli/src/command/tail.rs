//! `whodid tail`: events as they happen. When the server goes away, it waits for it to come back
//! and goes on behind the last event it showed.

use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;
use whodid_api::{Client, Error, Message, SEARCH_SECONDS};

use super::{client, place, query};
use crate::args::{ScopeArgs, TailArgs, TailFormat};
use crate::config::Config;
use crate::failure::Failure;
use crate::output::events::{Columns, Event, line, table};
use crate::output::say;
use crate::output::{Look, json_line, print};

/// Waits between tries double up to this.
const WAIT_MAX: Duration = Duration::from_secs(5);
const WAIT_MIN: Duration = Duration::from_millis(100);

pub async fn run(args: TailArgs, config: &Config) -> Result<(), Failure> {
    let scope = ScopeArgs {
        namespace: args.namespace.clone(),
        all_namespaces: false,
        cluster: args.cluster.clone(),
        since: None,
        until: None,
        limit: args.last,
    };
    let query = query(&args.query.join(" "), &scope)?.to_string();
    let client = client(place(&args.server, &args.store, config)?)?;
    let look = Look::new(&args.look);
    let columns = Columns {
        has_namespace: args.namespace.is_none(),
        is_wide: args.output == TailFormat::Wide,
    };
    let tail = Tail { client, query, look, columns, format: args.output };
    let place = match args.after {
        Some(place) => Some(place),
        None if args.last > 0 => Some(tail.begin(args.last).await?),
        None => None,
    };
    tail.follow(place).await
}

struct Tail {
    client: Client,
    query: String,
    look: Look,
    columns: Columns,
    format: TailFormat,
}

impl Tail {
    /// Shows the newest events, and returns the place behind them.
    async fn begin(&self, last: usize) -> Result<String, Failure> {
        let found = self.client.newest(&self.query, last, SEARCH_SECONDS).await?;
        if matches!(self.format, TailFormat::Table | TailFormat::Wide) {
            print(&table(&found.items, &self.look, self.columns).print(self.look.has_headers))?;
        } else {
            found.items.iter().try_for_each(|event| self.show(event))?;
        }
        Ok(found.cursor)
    }

    fn show(&self, event: &Event) -> Result<(), Failure> {
        let text = match self.format {
            TailFormat::Table | TailFormat::Wide => line(event, &self.look, self.columns),
            TailFormat::Jsonl => json_line(&Value::from(event.clone())),
            TailFormat::Name => {
                let id = event.get("id").and_then(Value::as_str).unwrap_or_default();
                format!("event/{id}\n")
            }
        };
        Ok(print(&text)?)
    }

    /// Shows what comes until the reader of the output goes.
    async fn follow(&self, mut place: Option<String>) -> Result<(), Failure> {
        let mut wait = WAIT_MIN;
        loop {
            match self.stream(&mut place, &mut wait).await {
                // Nobody is told to wait for a server that never was there.
                Err(Failure::Unavailable(why)) if place.is_some() => {
                    if wait == WAIT_MIN {
                        say!("{why}; waiting for it to come back");
                    }
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(WAIT_MAX);
                }
                ended => return ended,
            }
        }
    }

    /// Shows one connection's events; it always ends with an error.
    async fn stream(&self, place: &mut Option<String>, wait: &mut Duration) -> Result<(), Failure> {
        let mut stream = match self.client.stream(&self.query, place.as_deref()).await {
            // A server that is starting may refuse; one that never let us in stays closed.
            Err(Error::Refused { status: 503, detail }) => {
                return Err(Failure::Unavailable(detail));
            }
            stream => stream?,
        };
        while let Some(next) = stream.next().await {
            let (message, behind) = next?;
            *wait = WAIT_MIN;
            match message {
                Some(Message::Event(event)) => self.show(&event)?,
                Some(Message::Missed { events, after, .. }) => say!(
                    "reading was too slow: {events} events were left out; `--after {after}` shows \
                     what is among them"
                ),
                None => {}
            }
            *place = Some(behind);
        }
        Err(Failure::Unavailable("the server ended the stream".into()))
    }
}
