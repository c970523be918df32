//! `GET /api/v1/events` and `/api/v1/events/stream`: what is in the record, and what is being
//! added to it. Who may read: the owner of the data directory, through its socket or with the
//! token that was made at this start.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::{Extension, Json};
use futures::Stream;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::time::Instant;
use whodid_engine::live::{Cursor, Follower};
use whodid_engine::{Engine, Row, Search};
use whodid_store::{Clock, SystemClock};

use crate::App;
use crate::listener::Peer;
use crate::problem::Problem;
use crate::webhook::bearer;

/// What documents of this API are.
const API_VERSION: &str = "whodid/v1";

/// A page has at most so many events.
const PAGE_MAX: usize = 10_000;

/// So many events are looked for at once, and wait for a reader.
const LOOK_ROWS: usize = 500;

/// Between two looks, so that many small batches are one look.
const PAUSE: Duration = Duration::from_millis(15);

/// A reader that takes nothing for so long and is so many events behind is told what it missed.
const SLOW: Duration = Duration::from_secs(2);
const BEHIND_MAX: u64 = 50_000;

/// Proof that whoever asks may read.
pub(crate) struct Reader;

impl FromRequestParts<App> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let peer = Extension::<Peer>::from_request_parts(parts, app).await;
        if peer.is_ok_and(|Extension(peer)| peer.is_owner) {
            return Ok(Reader);
        }
        let given = parts.headers.get(header::AUTHORIZATION);
        let token = given.and_then(|value| bearer(value.as_bytes()));
        // Hashes, so that the time of the comparison tells nothing.
        if token.is_some_and(|token| <[u8; 32]>::from(Sha256::digest(token)) == app.read_token) {
            return Ok(Reader);
        }
        Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "reading takes the token that `whodid serve` printed when it started, as a bearer token",
        ))
    }
}

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    /// The query.
    #[serde(default)]
    q: String,
    /// The newest so many requests.
    limit: Option<usize>,
    /// Events behind this cursor, in the order of the log, instead of the newest.
    after: Option<String>,
}

impl Question {
    fn query(&self) -> Result<whodid_query::Query, Problem> {
        whodid_query::parse(&self.q)
            .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.render(&self.q)))
    }
}

fn cursor(text: &str) -> Result<Cursor, Problem> {
    text.parse().map_err(|why: String| Problem::new(StatusCode::BAD_REQUEST, why))
}

fn failed(error: &whodid_engine::Error) -> Problem {
    tracing::error!(%error, "a query failed");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// One page: the newest requests that pass, or, `after` a cursor, events in the order of the log.
pub(crate) async fn events(
    State(app): State<App>,
    _reader: Reader,
    Query(question): Query<Question>,
) -> Result<Json<Value>, Problem> {
    let query = question.query()?;
    let limit = question.limit.unwrap_or(1_000).clamp(1, PAGE_MAX);
    let now = SystemClock.now();
    if let Some(after) = &question.after {
        let mut follower =
            Follower::new(query, now, cursor(after)?).map_err(|error| failed(&error))?;
        let snapshot = app.writer.snapshot();
        let look = follower.look(&snapshot, limit).await.map_err(|error| failed(&error))?;
        let items: Vec<Value> = look.rows.iter().map(|row| row.json().into()).collect();
        let cursor = follower.cursor().to_string();
        return Ok(Json(json!({
            "apiVersion": API_VERSION, "kind": "EventList", "items": items,
            "cursor": cursor, "is_more": look.is_more,
        })));
    }
    let snapshot = app.writer.snapshot();
    let end = Cursor::end_of(&snapshot).to_string();
    let (items, left_out) =
        newest(snapshot, Search { query, now, limit }).await.map_err(|error| failed(&error))?;
    Ok(Json(json!({
        "apiVersion": API_VERSION, "kind": "EventList", "items": items,
        "left_out": left_out, "cursor": end,
    })))
}

async fn newest(
    snapshot: whodid_store::Snapshot,
    search: Search,
) -> whodid_engine::Result<(Vec<Value>, u64)> {
    let engine = Engine::new(snapshot).await?;
    let found = engine.search(&search).await?;
    let rows = engine.fetch(&found.ids).await?;
    Ok((rows.iter().map(|row| engine.json(row).into()).collect(), found.left_out))
}

/// What is added from now on, or behind `after` or `Last-Event-ID`, as server-sent events.
pub(crate) async fn stream(
    State(app): State<App>,
    _reader: Reader,
    headers: HeaderMap,
    Query(question): Query<Question>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let place = match last.or(question.after.as_deref()) {
        Some(place) => cursor(place)?,
        None => Cursor::end_of(&app.writer.snapshot()),
    };
    let follower = Follower::new(question.query()?, SystemClock.now(), place);
    let follower = follower.map_err(|error| failed(&error))?;
    let (sender, receiver) = mpsc::channel(LOOK_ROWS);
    tokio::spawn(async move {
        if let Err(error) = follow(&app, follower, &sender).await {
            tracing::error!(%error, "a stream ended");
        }
    });
    let events = futures::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|event| (Ok(event), receiver))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(10))))
}

/// Follows the record until the reader or the server has gone.
async fn follow(
    app: &App,
    mut follower: Follower,
    sender: &mpsc::Sender<Event>,
) -> whodid_engine::Result<()> {
    let mut shutdown = app.shutdown.clone();
    // Known from the start, so that whoever loses the connection can resume.
    let hello = Event::default().event("begin").id(follower.cursor().to_string()).data("{}");
    if sender.send(hello).await.is_err() {
        return Ok(());
    }
    loop {
        let appended = app.writer.appended();
        tokio::pin!(appended);
        // From here on nothing that is added is missed.
        appended.as_mut().enable();
        let snapshot = app.writer.snapshot_after(follower.cursor().places());
        let mut place = follower.cursor().clone();
        let look = follower.look(&snapshot, LOOK_ROWS).await?;
        let begin = Instant::now();
        for row in &look.rows {
            place.advance(&row.id());
            if sender.send(message(row, &place)).await.is_err() {
                return Ok(());
            }
        }
        if begin.elapsed() >= SLOW
            && let Some(missed) = skip(app, &mut follower)
            && sender.send(missed).await.is_err()
        {
            return Ok(());
        }
        if look.is_more {
            continue;
        }
        tokio::select! {
            () = appended => {}
            () = sender.closed() => return Ok(()),
            _ = shutdown.wait_for(|is_over| *is_over) => return Ok(()),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn message(row: &Row, place: &Cursor) -> Event {
    let event = Event::default().event("event").id(place.to_string());
    event.data(Value::from(row.json()).to_string())
}

/// Leaves out what a slow reader is behind, if that is much, and says what it was.
fn skip(app: &Arc<crate::Shared>, follower: &mut Follower) -> Option<Event> {
    let end = Cursor::end_of(&app.writer.snapshot());
    let missed = follower.cursor().distance_to(&end);
    if missed < BEHIND_MAX {
        return None;
    }
    let what = json!({
        "events": missed, "after": follower.cursor().to_string(), "until": end.to_string(),
    });
    let event = Event::default().event("missed").id(end.to_string()).data(what.to_string());
    follower.skip_to(end);
    Some(event)
}
