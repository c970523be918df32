//! Which path is whose. What is asked of a path is in `docs/openapi.json`, which is served, too.

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::routing::{get, post, put};

use crate::problem::Problem;
use crate::{App, counts, following, health, keeping, objects, read, sql, webhook};

/// The description of everything below.
const OPENAPI: &str = include_str!("../../../docs/openapi.json");

/// What API servers may reach.
pub(crate) fn ingest(app: App) -> Router {
    with_fallbacks(sending()).with_state(app)
}

fn sending() -> Router<App> {
    Router::new()
        .route("/ingest/{cluster}", post(webhook::receive))
        .route("/ingest/{cluster}/positions/{id}", get(webhook::positions))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .layer(DefaultBodyLimit::disable())
}

/// What is asked of no path is answered as any other mistake.
fn with_fallbacks(router: Router<App>) -> Router<App> {
    router.fallback(no_such_path).method_not_allowed_fallback(no_such_method)
}

async fn no_such_path(uri: Uri, body: Body) -> Problem {
    tokio::spawn(webhook::drain(body));
    let detail = format!("there is no {:?}; docs/api.md lists what there is", uri.path());
    Problem::new(StatusCode::NOT_FOUND, detail)
}

async fn no_such_method(method: Method, uri: Uri, body: Body) -> Problem {
    tokio::spawn(webhook::drain(body));
    let detail = format!("{method} is not for {:?}; docs/api.md says what is", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

/// Everything.
pub(crate) fn all(app: App) -> Router {
    let metrics = async |State(app): State<App>| app.metrics.answer(app.budget.taken());
    let openapi = async || ([(header::CONTENT_TYPE, "application/json")], OPENAPI);
    let reading = Router::new()
        .route("/api/v1/openapi.json", get(openapi))
        .route("/api/v1/events", get(read::events))
        .route("/api/v1/events/stream", get(following::stream))
        .route("/api/v1/events/{cluster}/{seq}", get(read::event))
        .route("/api/v1/events/{cluster}/{seq}/original", get(read::original))
        .route("/api/v1/counts", get(counts::counts))
        .route("/api/v1/who", get(objects::who))
        .route("/api/v1/history", get(objects::history))
        .route("/api/v1/sql", post(sql::answer))
        .route("/api/v1/values/{field}", get(read::values))
        .route("/metrics", get(metrics));
    let keeping = Router::new()
        .route("/api/v1/holds", get(keeping::holds))
        .route("/api/v1/holds/{name}", put(keeping::hold).delete(keeping::release))
        .route("/api/v1/retention", post(keeping::let_go))
        .route("/api/v1/modes", get(keeping::modes))
        .route("/api/v1/modes/{cluster}", put(keeping::switch));
    with_fallbacks(sending().merge(reading).merge(keeping)).with_state(app)
}
