//! `GET /api/v1/…`: what is in the record, and what is being added to it. Who may read: the owner
//! of the data directory, through its socket or with the token that was made at this start.

use std::time::Duration;

use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use whodid_api::SEARCH_SECONDS;
use whodid_engine::live::{Cursor, Follower};
use whodid_engine::{
    API_VERSION, Cost, Engine, EventId, Search, Shown, Values, has_values, is_shown,
};
use whodid_query::Known;
use whodid_store::{Clock, Original, SystemClock};

use crate::App;
use crate::listener::Peer;
use crate::problem::Problem;
use crate::webhook::bearer;

/// A page has at most so many events, unless said so many.
const PAGE_MAX: usize = 10_000;
const PAGE: usize = 1_000;

/// A list of values has at most so many, unless said so many.
const VALUES_MAX: usize = 1_000;
const VALUES: usize = 100;

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

/// Parameters, with what is wrong with them answered as any other error.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Params(params)),
            Err(error) => Err(Problem::new(StatusCode::BAD_REQUEST, error.body_text())),
        }
    }
}

/// A search takes at most so many seconds.
pub(crate) const SECONDS_MAX: u64 = 300;

/// Reads a limit; what is too much is an error, as an answer cut short looks like a whole one.
pub(crate) fn limit(asked: Option<usize>, usual: usize, max: usize) -> Result<usize, Problem> {
    match asked.unwrap_or(usual) {
        limit if (1..=max).contains(&limit) => Ok(limit),
        limit => {
            let detail = format!("limit={limit}: at least 1 and at most {max} are given at once");
            Err(Problem::new(StatusCode::BAD_REQUEST, detail))
        }
    }
}

/// When an answer has to end.
pub(crate) fn deadline(seconds: Option<u64>) -> Result<Instant, Problem> {
    match seconds.unwrap_or(SEARCH_SECONDS) {
        seconds @ 1..=SECONDS_MAX => Ok(Instant::now() + Duration::from_secs(seconds)),
        seconds => {
            let detail = format!("timeout={seconds}: a search takes 1 to {SECONDS_MAX} seconds");
            Err(Problem::new(StatusCode::BAD_REQUEST, detail))
        }
    }
}

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    /// The query.
    #[serde(default)]
    pub(crate) q: String,
    /// The newest so many requests.
    limit: Option<usize>,
    /// Events behind this cursor, in the order of the log, instead of the newest.
    pub(crate) after: Option<String>,
    /// The fields of each event that are given, besides `id`; a list with commas.
    fields: Option<String>,
    /// Seconds after which what was found until then is given.
    timeout: Option<u64>,
}

/// The columns of some fields; none is all of them.
fn columns(fields: Option<&str>) -> Result<Vec<&str>, Problem> {
    let fields = fields.into_iter().flat_map(|fields| fields.split(',')).map(str::trim);
    let fields: Vec<&str> = fields.filter(|field| !field.is_empty()).collect();
    match fields.iter().find(|field| !is_shown(field)) {
        None => Ok(fields),
        Some(unknown) => {
            let detail = format!("fields: an event has no {unknown:?}; docs/fields.md lists them");
            Err(Problem::new(StatusCode::BAD_REQUEST, detail))
        }
    }
}

pub(crate) fn parse(query: &str) -> Result<whodid_query::Query, Problem> {
    whodid_query::parse(query).map_err(|error| {
        let detail = format!("{error}\n{}", error.render(query));
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })
}

/// Reads a cursor. One that lies behind the end is of another record: whoever went on from there
/// would miss what is added next.
pub(crate) fn cursor(text: &str, app: &App) -> Result<Cursor, Problem> {
    let refused = |why: String| Problem::new(StatusCode::BAD_REQUEST, why);
    let cursor: Cursor = text.parse().map_err(refused)?;
    let end = Cursor::end_of(&app.writer.snapshot());
    match end.distance_to(&cursor) {
        0 => Ok(cursor),
        _ => Err(refused(format!("the cursor {text} lies behind the end of the record, {end}"))),
    }
}

pub(crate) fn failed(error: &whodid_engine::Error) -> Problem {
    let status = match error {
        whodid_engine::Error::NoEvent(_) => StatusCode::NOT_FOUND,
        whodid_engine::Error::TooManyWords
        | whodid_engine::Error::TooManyCounts
        | whodid_engine::Error::TooLarge
        | whodid_engine::Error::Sql(_) => StatusCode::BAD_REQUEST,
        whodid_engine::Error::TooLong => StatusCode::SERVICE_UNAVAILABLE,
        _ => {
            tracing::error!(%error, "a query failed");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    Problem::new(status, error.to_string())
}

/// One page: the newest requests that pass, or, `after` a cursor, events in the order of the log.
pub(crate) async fn events(
    State(app): State<App>,
    _reader: Reader,
    Params(question): Params<Question>,
) -> Result<Response, Problem> {
    let query = parse(&question.q)?;
    let limit = limit(question.limit, PAGE, PAGE_MAX)?;
    let fields = columns(question.fields.as_deref())?;
    let now = SystemClock.now();
    if let Some(after) = &question.after {
        let mut follower = Follower::new(query, now, cursor(after, &app)?, &app.cache)
            .map_err(|error| failed(&error))?;
        let snapshot = app.writer.snapshot();
        let look = follower.look(&snapshot, limit).await.map_err(|error| failed(&error))?;
        let items = look.rows.iter().map(|row| row.shown(&fields)).collect();
        let cursor = follower.cursor().to_string();
        let list = EventList { is_more: Some(look.is_more), ..EventList::new(items, cursor) };
        return Ok(Json(list).into_response());
    }
    let deadline = deadline(question.timeout)?;
    let engine = engine(&app).await.map_err(|error| failed(&error))?.until(deadline);
    let end = Cursor::end_of(engine.snapshot()).to_string();
    let search = Search { query, now, limit };
    let (rows, left_out) = engine.newest(&search, &fields).await.map_err(|error| failed(&error))?;
    let items = rows.iter().map(|row| engine.shown(row, &fields)).collect();
    let (left_out, cost) = (Some(left_out), Some(engine.cost()));
    Ok(Json(EventList { left_out, cost, ..EventList::new(items, end) }).into_response())
}

/// A page of events.
#[derive(Serialize)]
struct EventList<'a> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    items: Vec<Shown<'a>>,
    cursor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_more: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<Cost>,
}

impl<'a> EventList<'a> {
    fn new(items: Vec<Shown<'a>>, cursor: String) -> Self {
        let (api_version, kind) = (API_VERSION, "EventList");
        EventList { api_version, kind, items, cursor, is_more: None, left_out: None, cost: None }
    }
}

/// Answers from what was acknowledged up to now.
pub(crate) async fn engine(app: &App) -> whodid_engine::Result<Engine> {
    Engine::new(app.writer.snapshot(), &app.cache).await
}

/// Reads the id of an event out of its path.
fn event_id(Path((cluster, seq)): Path<(String, String)>) -> Result<EventId, Problem> {
    let id = format!("{cluster}/{seq}");
    id.parse().map_err(|_| {
        let detail = format!("{id:?} is no event; write CLUSTER/SEQ, for example prod/18231");
        Problem::new(StatusCode::NOT_FOUND, detail)
    })
}

/// One event, whole.
pub(crate) async fn event(
    State(app): State<App>,
    _reader: Reader,
    path: Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let id = event_id(path)?;
    let found = async { engine(&app).await?.document(&id).await };
    Ok(Json(found.await.map_err(|error| failed(&error))?))
}

/// The bytes that came in as an event: JSON, or whatever it was that is no event.
pub(crate) async fn original(
    State(app): State<App>,
    _reader: Reader,
    path: Path<(String, String)>,
) -> Result<Response, Problem> {
    let id = event_id(path)?;
    let found = async { engine(&app).await?.original(&id).await };
    Ok(match found.await.map_err(|error| failed(&error))? {
        Original::Event(text) => {
            ([(header::CONTENT_TYPE, "application/json")], text).into_response()
        }
        Original::Raw(bytes) => bytes.into_response(),
    })
}

/// Which values of a field are asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// Of events that pass this query.
    #[serde(default)]
    q: String,
    /// Those that begin so.
    #[serde(default)]
    prefix: String,
    /// The most frequent so many.
    limit: Option<usize>,
}

/// The values that a field has had lately.
pub(crate) async fn values(
    State(app): State<App>,
    _reader: Reader,
    Path(name): Path<String>,
    Params(which): Params<Which>,
) -> Result<Json<Value>, Problem> {
    let field = Known::named(&name).filter(|field| has_values(*field)).ok_or_else(|| {
        let detail = format!("{name:?} is no field of docs/query.md that holds a single text");
        Problem::new(StatusCode::NOT_FOUND, detail)
    })?;
    let limit = limit(which.limit, VALUES, VALUES_MAX)?;
    let query = parse(&which.q)?;
    let wanted = Values { field, query, now: SystemClock.now(), prefix: which.prefix, limit };
    let found = async { engine(&app).await?.values(&wanted).await };
    let found = found.await.map_err(|error| failed(&error))?;
    let items = found.iter().map(|(value, events)| json!({ "value": value, "events": events }));
    let items: Vec<Value> = items.collect();
    Ok(Json(json!({ "apiVersion": API_VERSION, "kind": "ValueList", "items": items })))
}
