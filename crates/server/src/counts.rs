//! `GET /api/v1/counts`: how many requests a query finds, by time, by a field, or by both.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use whodid_engine::{API_VERSION, COUNTS_MAX, Count, has_values};
use whodid_query::{Known, seconds};
use whodid_store::{Clock, SystemClock};

use crate::App;
use crate::problem::Problem;
use crate::read::{Params, Reader, SECONDS_MAX, deadline, engine, failed, limit, parse};

/// The most frequent so many values, unless said so many.
const COUNTS: usize = 100;

/// What is counted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    /// The query.
    #[serde(default)]
    q: String,
    /// In spans so long: `1m`, `1h`, `1d`.
    step: Option<String>,
    /// By the values of this field.
    by: Option<String>,
    /// The most frequent so many values.
    limit: Option<usize>,
}

pub(crate) async fn counts(
    State(app): State<App>,
    _reader: Reader,
    Params(question): Params<Question>,
) -> Result<Json<Value>, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    let step = question.step.map(|step| match seconds(&step) {
        Some(seconds @ 1..) => Ok(i64::from(seconds) * 1_000_000),
        _ => Err(bad(format!("step={step}: write a length of time, such as 1m, 1h or 1d"))),
    });
    let by = question.by.map(|name| {
        let field = Known::named(&name).filter(|field| has_values(*field));
        let none = format!("by={name}: no field of docs/query.md that holds a single text");
        field.ok_or_else(|| bad(none))
    });
    let limit = limit(question.limit, COUNTS, COUNTS_MAX)?;
    let (query, now) = (parse(&question.q)?, SystemClock.now());
    let wanted = Count { query, now, step: step.transpose()?, by: by.transpose()?, limit };
    let deadline = deadline(Some(SECONDS_MAX))?;
    let found = async { engine(&app).await?.until(deadline).count(&wanted).await };
    let found = found.await.map_err(|error| failed(&error))?;
    let items: Vec<Value> = found.iter().map(|counted| counted.json(&wanted)).collect();
    Ok(Json(json!({ "apiVersion": API_VERSION, "kind": "CountList", "items": items })))
}
