//! `GET /api/v1/who` and `GET /api/v1/history`: who did something to an object, and what was
//! changed of it. What counts as that is [`whodid_engine`]'s to say.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use whodid_engine::history::{self, History};
use whodid_engine::who::{self, Answer, Verb};
use whodid_engine::{Document, Engine};
use whodid_query::Expr;
use whodid_store::{Clock, SystemClock};

use crate::App;
use crate::problem::Problem;
use crate::read::{Params, Reader, deadline, engine, failed, limit, parse};

/// An answer has at most so many, unless said so many: each is looked at on its own.
const ITEMS_MAX: usize = 1_000;
const ITEMS: usize = 100;

/// Who did it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WhoQuestion {
    /// What was done.
    verb: String,
    /// To what.
    object: String,
    /// A query that narrows where and when.
    #[serde(default)]
    q: String,
    /// The newest so many acts.
    limit: Option<usize>,
    /// Whether attempts are given, too.
    #[serde(default)]
    attempts: bool,
    /// Seconds after which what was found until then is given.
    timeout: Option<u64>,
}

pub(crate) async fn who(
    State(app): State<App>,
    _reader: Reader,
    Params(asked): Params<WhoQuestion>,
) -> Result<Json<Document<Answer>>, Problem> {
    let verb: Result<Verb, _> = asked.verb.parse();
    let question = who::Question {
        verb: verb.map_err(|error| bad(format!("verb: {error}")))?,
        object: object(&asked.object)?,
        scope: parse(&asked.q)?.expr,
        with_attempts: asked.attempts,
        now: SystemClock.now(),
        limit: limit(asked.limit, ITEMS, ITEMS_MAX)?,
    };
    let engine = until(&app, asked.timeout).await?;
    let answer = engine.who(&question).await.map_err(|error| failed(&error))?;
    Ok(Json(Document::new("ActList", answer)))
}

/// What was changed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryQuestion {
    /// Of which object.
    object: String,
    /// A query that narrows where and when.
    #[serde(default)]
    q: String,
    /// The newest so many changes.
    limit: Option<usize>,
    /// Whether changes of its status are given, too.
    #[serde(default)]
    status: bool,
    /// Seconds after which what was found until then is given.
    timeout: Option<u64>,
}

pub(crate) async fn history(
    State(app): State<App>,
    _reader: Reader,
    Params(asked): Params<HistoryQuestion>,
) -> Result<Json<Document<History>>, Problem> {
    let question = history::Question {
        object: object(&asked.object)?,
        scope: parse(&asked.q)?.expr,
        with_status: asked.status,
        now: SystemClock.now(),
        limit: limit(asked.limit, ITEMS, ITEMS_MAX)?,
    };
    let engine = until(&app, asked.timeout).await?;
    let answer = engine.history(&question).await.map_err(|error| failed(&error))?;
    Ok(Json(Document::new("History", answer)))
}

async fn until(app: &App, timeout: Option<u64>) -> Result<Engine, Problem> {
    let deadline = deadline(timeout)?;
    Ok(engine(app).await.map_err(|error| failed(&error))?.until(deadline))
}

fn object(text: &str) -> Result<Expr, Problem> {
    who::object(text).map_err(|error| {
        let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
        bad(format!("object={text}: {error}{hint}"))
    })
}

fn bad(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}
