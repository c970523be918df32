//! `POST /ingest/{cluster}`: who sends is found out here, the rest is `whodid-ingest`'s.

use std::io;
use std::sync::PoisonError;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use whodid_engine::API_VERSION;
use whodid_ingest::{Encoding, Refusal, Sender};
use whodid_store::{Credential, SourcePosition, unhex};

use crate::App;
use crate::listener::Peer;
use crate::problem::Problem;

/// Of a body that is refused, so much is read and thrown away, so that its sender gets to see the
/// answer instead of a broken connection.
const DRAIN_BYTES_MAX: usize = 64 << 20;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);

/// A cluster that is full may have room again after so long.
const FULL_RETRY_SECONDS: u32 = 60;

/// How far a log file goes with a body.
const POSITION: &str = "whodid-position";

pub(crate) async fn receive(
    State(app): State<App>,
    Path(cluster): Path<String>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let begin = Instant::now();
    let mut body = Some(body);
    let result = taken(&app, &cluster, peer, &headers, &mut body).await;
    if let Some(body) = body {
        tokio::spawn(drain(body));
    }
    app.metrics.request(begin.elapsed(), &result);
    match result {
        // kube-apiserver reads nothing but the status.
        Ok(_) => ([(header::CONTENT_TYPE, "application/json")], "{}\n").into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// Takes the body in; it stays where it is if it is not even begun.
async fn taken(
    app: &App,
    cluster: &str,
    peer: Peer,
    headers: &HeaderMap,
    body: &mut Option<Body>,
) -> Result<whodid_ingest::Taken, Problem> {
    let credential = credential(app, cluster, peer, headers)?;
    if app.full.lock().unwrap_or_else(PoisonError::into_inner).contains(cluster) {
        let detail = format!("cluster {cluster} has reached the size that is kept of it");
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
        return Err(problem.retry_after(FULL_RETRY_SECONDS));
    }
    let position = position(headers)?;
    // A log file that is sent says how far it goes.
    let kind = if headers.contains_key(POSITION) { "file" } else { "webhook" };
    let source = format!("{kind}/{}", credential.source);
    let sender = Sender { cluster: credential.cluster, source };
    let text = |name| headers.get(name).map_or(Ok(""), header_text);
    let encoding = text(header::CONTENT_ENCODING)?;
    let Some(encoding) = Encoding::from_name(encoding) else {
        let detail = format!("Content-Encoding {encoding:?}; send it plain, as gzip or as zstd");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    };
    let length = text(header::CONTENT_LENGTH)?.parse().ok();
    let received = async {
        let admission = app.ingest.admit(encoding, length)?;
        let stream = body.take().unwrap_or_default().into_data_stream().map_err(io::Error::other);
        app.ingest.receive(&sender, admission, position, stream).await
    };
    received.await.map_err(|refusal| {
        tracing::warn!(cluster, source = sender.source, error = %refusal, "a body was refused");
        problem(&refusal)
    })
}

fn header_text(value: &axum::http::HeaderValue) -> Result<&str, Problem> {
    value.to_str().map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "a header is not text"))
}

/// Reads how far the source of a body goes with it; `-` means that nothing moves.
fn position(headers: &HeaderMap) -> Result<Option<SourcePosition>, Problem> {
    let value = headers.get(POSITION).map_or(Ok("-"), header_text)?;
    if value == "-" {
        return Ok(None);
    }
    let parsed = value.parse();
    parsed.map(Some).map_err(|why| {
        Problem::new(StatusCode::BAD_REQUEST, format!("{POSITION}: {why} (docs/api.md)"))
    })
}

/// How far files that begin alike are taken in.
pub(crate) async fn positions(
    State(app): State<App>,
    Path((cluster, id)): Path<(String, String)>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    credential(&app, &cluster, peer, &headers)?;
    let id = unhex(&id).ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, "a file's identity is 64 hexadecimal digits")
    })?;
    let positions = app.ingest.positions(&cluster, &id);
    let items: Vec<String> = positions.iter().map(ToString::to_string).collect();
    Ok(Json(json!({ "apiVersion": API_VERSION, "kind": "PositionList", "items": items })))
}

/// Finds out who sends: by its token or by its certificate.
fn credential(
    app: &App,
    cluster: &str,
    peer: Peer,
    headers: &HeaderMap,
) -> Result<Credential, Problem> {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
    let print = token.map(|token| Sha256::digest(token).into()).or(peer.certificate);
    let unknown = |why: &str| {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            format!("{why}; `whodid ingest token create {cluster} --source NAME` makes a token"),
        )
    };
    let print = print.ok_or_else(|| unknown("neither a bearer token nor a client certificate"))?;
    let found = app.state.credential(&print).map_err(|error| unavailable(&error))?;
    let found = found.ok_or_else(|| unknown("the token or certificate is unknown or revoked"))?;
    if found.cluster != cluster {
        let detail = format!("this credential is for cluster {}, not {cluster:?}", found.cluster);
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    Ok(found)
}

/// The token of an `Authorization` header (RFC 6750 §2.1).
pub(crate) fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn unavailable(error: &whodid_store::Error) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).retry_after(1)
}

fn problem(refusal: &Refusal) -> Problem {
    let detail = refusal.to_string();
    match refusal {
        Refusal::Busy { .. } => Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(1),
        Refusal::TooLong => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail),
        Refusal::Broken(_) => Problem::new(StatusCode::BAD_REQUEST, detail),
        Refusal::Slow => Problem::new(StatusCode::REQUEST_TIMEOUT, detail),
        Refusal::Store(whodid_store::Error::Invalid(_)) => {
            Problem::new(StatusCode::BAD_REQUEST, detail)
        }
        Refusal::Store(error) => unavailable(error),
    }
}

/// Reads a body and forgets it.
pub(crate) async fn drain(body: Body) {
    let mut stream = body.into_data_stream();
    let reading = async {
        let mut bytes = 0;
        while let Some(Ok(piece)) = stream.next().await {
            bytes += piece.len();
            if bytes > DRAIN_BYTES_MAX {
                break;
            }
        }
    };
    // Whether it came to an end or not, nobody needs it.
    let _elapsed = tokio::time::timeout(DRAIN_TIME_MAX, reading).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_tokens() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Basic abc", None),
            ("Bearer", None),
            ("", None),
        ] {
            assert_eq!(bearer(value.as_bytes()), token.map(str::as_bytes), "{value}");
        }
    }
}
