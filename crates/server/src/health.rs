//! Whether the server lives, and whether it can be used, as Kubernetes asks (`/livez`, `/readyz`).

use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::StatusCode;

use crate::App;

/// Lives as long as it answers; depends on nothing.
pub(crate) async fn live() -> &'static str {
    "ok\n"
}

/// Ready while events can be taken in.
pub(crate) async fn ready(State(app): State<App>) -> (StatusCode, String) {
    let is_open = app.is_ready.load(Ordering::Relaxed);
    let trouble = app.ingest.trouble();
    let line = |name: &str, why: Option<String>| match why {
        None => format!("[+]{name} ok\n"),
        Some(why) => format!("[-]{name} failed: {why}\n"),
    };
    let shutdown = (!is_open).then(|| "the server is shutting down".to_owned());
    let is_ready = shutdown.is_none() && trouble.is_none();
    let text = line("shutdown", shutdown) + &line("record", trouble);
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, text)
}
