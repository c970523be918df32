//! Which path is whose.

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};

use crate::{App, health, read, webhook};

/// What API servers may reach.
pub(crate) fn ingest(app: App) -> Router {
    Router::new()
        .route("/ingest/{cluster}", post(webhook::receive))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .layer(DefaultBodyLimit::disable())
        .with_state(app)
}

/// Everything.
pub(crate) fn all(app: App) -> Router {
    let metrics = async |State(app): State<App>| app.metrics.answer(app.budget.taken());
    let more = Router::new()
        .route("/api/v1/events", get(read::events))
        .route("/api/v1/events/stream", get(read::stream))
        .route("/metrics", get(metrics))
        .with_state(app.clone());
    ingest(app).merge(more)
}
