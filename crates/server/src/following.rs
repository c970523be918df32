//! `GET /api/v1/events/stream`: what is added to the record, to whoever follows it. Which events
//! pass, and where a follower stands, is `whodid-engine`'s.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;
use whodid_engine::Row;
use whodid_engine::live::{Cursor, Follower};
use whodid_store::{Clock, SystemClock};

use crate::App;
use crate::problem::Problem;
use crate::read::{Params, Question, Reader, cursor, failed, parse};

/// So many events are looked for at once, and wait for a reader.
const LOOK_ROWS: usize = 500;

/// So many parts of a body go out together.
const TOGETHER: usize = 64;

/// Between two looks, so that many small batches are one look.
const PAUSE: Duration = Duration::from_millis(30);

/// A reader that takes nothing for so long and is so many events behind is told what it missed.
const SLOW: Duration = Duration::from_secs(2);
const BEHIND_MAX: u64 = 50_000;

/// When nothing happens, something is sent all the same, so that nobody takes the connection for
/// dead.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What is added from now on, or behind `after` or `Last-Event-ID`, as server-sent events.
pub(crate) async fn stream(
    State(app): State<App>,
    _reader: Reader,
    headers: HeaderMap,
    Params(question): Params<Question>,
) -> Result<Response, Problem> {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let place = match last.or(question.after.as_deref()) {
        Some(place) => cursor(place, &app)?,
        None => Cursor::end_of(&app.writer.snapshot()),
    };
    let follower = Follower::new(parse(&question.q)?, SystemClock.now(), place, &app.cache);
    let follower = follower.map_err(|error| failed(&error))?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        if let Err(error) = follow(&app, follower, &sender).await {
            tracing::error!(%error, "a stream ended");
        }
    });
    let looks = stream::unfold(receiver, async |mut receiver: mpsc::Receiver<Vec<Event>>| {
        receiver.recv().await.map(|events| (events, receiver))
    });
    let events = looks.flat_map(|events| stream::iter(events.into_iter().map(Ok::<_, Infallible>)));
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(together(Sse::new(events).keep_alive(keep_alive).into_response()))
}

/// Sends the parts of a body that are there at the same time as one: a frame, a record of TLS and a
/// system call for each event would take longer than the event did.
fn together(response: Response) -> Response {
    response.map(|body| {
        let parts = body.into_data_stream().ready_chunks(TOGETHER);
        Body::from_stream(parts.map(|parts| {
            let parts = parts.into_iter().collect::<Result<Vec<Bytes>, _>>()?;
            Ok::<_, axum::Error>(Bytes::from(parts.concat()))
        }))
    })
}

/// Follows the record until the reader or the server has gone.
async fn follow(
    app: &App,
    mut follower: Follower,
    sender: &mpsc::Sender<Vec<Event>>,
) -> whodid_engine::Result<()> {
    let mut shutdown = app.shutdown.clone();
    // Known from the start, so that whoever loses the connection can resume.
    let hello = Event::default().event("begin").id(follower.cursor().to_string()).data("{}");
    if sender.send(vec![hello]).await.is_err() {
        return Ok(());
    }
    loop {
        let appended = app.writer.appended();
        tokio::pin!(appended);
        // From here on nothing that is added is missed.
        appended.as_mut().enable();
        let mut place = follower.cursor().clone();
        let look = if let Some(look) = follower.look_at(&app.feed, LOOK_ROWS)? {
            look
        } else {
            let snapshot = app.writer.snapshot_after(place.places());
            follower.look(&snapshot, LOOK_ROWS).await?
        };
        let begin = Instant::now();
        let mut messages: Vec<Event> = Vec::with_capacity(look.rows.len());
        for row in &look.rows {
            place.advance(&row.id());
            messages.push(message(row, &place));
        }
        if !messages.is_empty() && sender.send(messages).await.is_err() {
            return Ok(());
        }
        if begin.elapsed() >= SLOW
            && let Some(missed) = skip(app, &mut follower)
            && sender.send(vec![missed]).await.is_err()
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
    event.data(row.json_text())
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
