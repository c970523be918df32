//! Readers of the stream, each with a query of its own: when did each event come?

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use whodid_api::{Event, Message};

use crate::Args;
use crate::events::{Key, QUERIES, Source, key};

/// What is still to come after the last answer has to come within this time.
const PATIENCE: Duration = Duration::from_secs(20);

/// Events, and when each was answered or came.
pub(crate) type Times = Arc<Mutex<Vec<(Key, Instant)>>>;

/// One reader.
pub(crate) struct Tail {
    came: Times,
    reading: JoinHandle<()>,
}

/// What the readers saw.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) tails: usize,
    pub(crate) expected: usize,
    pub(crate) came: usize,
    /// Readers that did not see exactly what was sent for them.
    pub(crate) wrong: Vec<String>,
    /// How long after the answer to its sender each event came.
    pub(crate) visible: Vec<Duration>,
}

/// Begins to read, each on a connection of its own; when it returns, nothing is missed.
pub(crate) async fn start(args: &Args) -> Vec<Tail> {
    let mut tails = Vec::new();
    for (query, _) in QUERIES.iter().take(args.tails) {
        let mut stream = args.client().stream(query, None).await.expect("a stream");
        let (hello, _) = stream.next().await.expect("a stream").expect("its begin");
        assert_eq!(hello, None);
        let came = Times::default();
        let coming = Arc::clone(&came);
        let reading = tokio::spawn(async move {
            while let Some(next) = stream.next().await {
                match next.expect("the stream goes on") {
                    (Some(Message::Event(event)), _) => {
                        let key = key_of(&event).expect("an event as it was sent");
                        coming.lock().expect("no panic").push((key, Instant::now()));
                    }
                    (Some(missed), _) => eprintln!("too slow: {missed:?}"),
                    (None, _) => {}
                }
            }
        });
        tails.push(Tail { came, reading });
    }
    tails
}

fn key_of(event: &Event) -> Option<Key> {
    let text = |name| event.get(name).and_then(Value::as_str);
    key(text("audit_id")?, text("stage")?)
}

/// Waits until every reader has seen what was sent for it, and compares.
pub(crate) async fn end(tails: Vec<Tail>, source: &Source, answered: &Times) -> Seen {
    let answered = std::mem::take(&mut *answered.lock().expect("no panic"));
    let answered: HashMap<Key, Instant> = answered.into_iter().collect();
    let mut seen = Seen { tails: tails.len(), ..Seen::default() };
    let deadline = Instant::now() + PATIENCE;
    for (i, (tail, (query, _))) in tails.into_iter().zip(QUERIES).enumerate() {
        let expected = source.expected(i);
        let count = || tail.came.lock().expect("no panic").len();
        while count() < expected && Instant::now() < deadline {
            sleep(Duration::from_millis(10)).await;
        }
        tail.reading.abort();
        let came = std::mem::take(&mut *tail.came.lock().expect("no panic"));
        if came.len() != expected {
            seen.wrong.push(format!("{query:?} showed {} of {expected} events", came.len()));
        }
        seen.expected += expected;
        seen.came += came.len();
        let since = |(key, when): (Key, Instant)| {
            answered.get(&key).map(|answered| when.saturating_duration_since(*answered))
        };
        seen.visible.extend(came.into_iter().filter_map(since));
    }
    seen
}
