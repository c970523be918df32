//! What the owner of the record may have done to it while the server writes it: holds, letting go
//! what is past its retention, and how clusters are to be recorded. The token is not enough for it;
//! what each of these means is the store's to say.

use std::collections::BTreeMap;

use axum::extract::{FromRequest, FromRequestParts, Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::{Extension, Json};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use whodid_engine::API_VERSION;
use whodid_event::time;
use whodid_store::{Clock, Error, Hold, Mode, Plan, SystemClock};

use crate::App;
use crate::listener::Peer;
use crate::problem::Problem;
use crate::read::{Params, Reader};
use crate::retaining::{self, BY_COMMAND, Retained};

/// Proof that whoever asks owns the data directory.
pub(crate) struct Owner;

impl FromRequestParts<App> for Owner {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let peer = Extension::<Peer>::from_request_parts(parts, app).await;
        if peer.is_ok_and(|Extension(peer)| peer.is_owner) {
            return Ok(Owner);
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "only the owner of the data directory may do that, through whodid.sock in it",
        ))
    }
}

/// A body in JSON, with what is wrong with it answered as any other error.
pub(crate) struct Given<T>(T);

impl<T: DeserializeOwned> FromRequest<App> for Given<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let refused = |why: String| Problem::new(StatusCode::BAD_REQUEST, why);
        let text = String::from_request(request, app).await;
        let text = text.map_err(|error| refused(error.body_text()))?;
        serde_json::from_str(&text).map(Given).map_err(|error| refused(error.to_string()))
    }
}

fn failed(error: &Error) -> Problem {
    if let Error::Invalid(why) = error {
        return Problem::new(StatusCode::BAD_REQUEST, why);
    }
    tracing::error!(%error, "the record cannot be kept as its owner asks");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}

/// Why something is done.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reason {
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Holding {
    cluster: String,
    since: Option<String>,
    until: Option<String>,
    reason: String,
}

/// The holds that are in force.
pub(crate) async fn holds(State(app): State<App>, _reader: Reader) -> Result<Json<Value>, Problem> {
    let holds = app.writer.holds().map_err(|error| failed(&error))?;
    let items: Vec<Value> = holds.iter().map(|(name, hold)| named("name", name, hold)).collect();
    Ok(Json(json!({ "apiVersion": API_VERSION, "kind": "HoldList", "items": items })))
}

/// A document, and what it is called.
fn named(member: &str, name: &str, document: &impl Serialize) -> Value {
    let mut item = json!(document);
    if let Some(members) = item.as_object_mut() {
        members.insert(member.to_owned(), name.into());
    }
    item
}

/// Puts a hold on events.
pub(crate) async fn hold(
    State(app): State<App>,
    _owner: Owner,
    Path(name): Path<String>,
    Given(given): Given<Holding>,
) -> Result<StatusCode, Problem> {
    let Holding { cluster, since, until, reason } = given;
    let hold = Some(Hold { cluster, since, until });
    app.writer.hold(&name, hold, &reason).await.map_err(|error| failed(&error))?;
    tracing::info!(hold = name, reason, "events are held");
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a hold away.
pub(crate) async fn release(
    State(app): State<App>,
    _owner: Owner,
    Path(name): Path<String>,
    Params(Reason { reason }): Params<Reason>,
) -> Result<StatusCode, Problem> {
    app.writer.hold(&name, None, &reason).await.map_err(|error| failed(&error))?;
    tracing::info!(hold = name, reason, "a hold ended");
    Ok(StatusCode::NO_CONTENT)
}

/// What is to be let go.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Letting {
    /// Rules, as the flag `--retain` takes them.
    retain: Vec<String>,
    /// Whether it goes, or is only told.
    #[serde(default)]
    apply: bool,
}

/// Tells what is past its retention, or lets it go.
pub(crate) async fn let_go(
    State(app): State<App>,
    _owner: Owner,
    Given(letting): Given<Letting>,
) -> Result<Json<Value>, Problem> {
    let rules: Result<Vec<Retained>, String> =
        letting.retain.iter().map(|rule| rule.parse()).collect();
    let rules = rules.map_err(|why| Problem::new(StatusCode::BAD_REQUEST, why))?;
    // It goes on when whoever asked does not wait for it.
    let work = tokio::spawn(async move {
        if letting.apply {
            return retaining::let_go(&app.writer, &rules, BY_COMMAND).await;
        }
        let rule = |cluster: &str| Retained::rule(&rules, cluster);
        app.writer.retention(rule, SystemClock.now())
    });
    let broke_off = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "it broke off");
    let plans = work.await.map_err(broke_off)?.map_err(|error: Error| failed(&error))?;
    let items: Vec<Value> = plans.iter().map(plan_json).collect();
    Ok(Json(json!({ "apiVersion": API_VERSION, "kind": "RetentionList", "items": items })))
}

/// What may go of a cluster, as a document.
pub fn plan_json(plan: &Plan) -> Value {
    let Plan { cluster, table, from, to, last_received, bytes, held_by } = plan;
    let mut document = Map::new();
    document.insert("cluster".into(), (&**cluster).into());
    document.insert("table".into(), table.name().into());
    document.insert("from".into(), (*from).into());
    document.insert("to".into(), (*to).into());
    document.insert("bytes".into(), (*bytes).into());
    if to > from {
        document.insert("last_received".into(), time::format(*last_received).into());
    }
    if let Some(name) = held_by {
        document.insert("held_by".into(), (&**name).into());
    }
    document.into()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Switch {
    mode: Mode,
    reason: String,
}

/// How clusters are to be recorded.
pub(crate) async fn modes(State(app): State<App>, _reader: Reader) -> Result<Json<Value>, Problem> {
    let modes = app.writer.modes().map_err(|error| failed(&error))?;
    let items: Vec<Value> =
        modes.iter().map(|(cluster, mode)| named("cluster", cluster, mode)).collect();
    Ok(Json(json!({ "apiVersion": API_VERSION, "kind": "ModeList", "items": items })))
}

/// Puts on record that a cluster is to be recorded in another way.
pub(crate) async fn switch(
    State(app): State<App>,
    _owner: Owner,
    Path(cluster): Path<String>,
    Given(Switch { mode, reason }): Given<Switch>,
) -> Result<StatusCode, Problem> {
    let name = mode.name.clone();
    app.writer.switch(&cluster, mode, &reason).await.map_err(|error| failed(&error))?;
    tracing::info!(cluster, mode = name, reason, "the cluster is to be recorded in this mode");
    Ok(StatusCode::NO_CONTENT)
}

/// Reminds of modes that should have ended: whoever forgets to switch back records too much.
pub(crate) fn remind(modes: &BTreeMap<String, Mode>, now: time::Micros) {
    for (cluster, mode) in overdue(modes, now) {
        let (until, mode) = (mode.until.as_deref().unwrap_or_default(), &mode.name);
        tracing::warn!(cluster, mode, until, "should have ended: `whodid policy mode daily`");
    }
}

fn overdue(
    modes: &BTreeMap<String, Mode>,
    now: time::Micros,
) -> impl Iterator<Item = (&String, &Mode)> {
    modes.iter().filter(move |(_, mode)| {
        mode.until.as_deref().and_then(time::parse).is_some_and(|until| until <= now)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_should_have_ended_is_reminded_of() {
        let mode = |until: Option<&str>| Mode {
            name: "investigation".into(),
            policy: String::new(),
            until: until.map(str::to_owned),
        };
        let modes = BTreeMap::from([
            ("past".to_owned(), mode(Some("2026-01-01T00:00:00Z"))),
            ("later".to_owned(), mode(Some("2026-01-01T00:00:01Z"))),
            ("ever".to_owned(), mode(None)),
        ]);
        let now = time::parse("2026-01-01T00:00:00Z").unwrap();
        let clusters: Vec<&str> = overdue(&modes, now).map(|(cluster, _)| &**cluster).collect();
        assert_eq!(clusters, ["past"]);
    }
}
