//! Liveness, readiness and metrics, on a listener of their own.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::state::App;

/// `GET /livez`: 200 while the process runs.
pub async fn livez() -> Response {
    text(StatusCode::OK, String::from("alive\n"))
}

/// `GET /readyz`: 200 when requests can be served, else 503; one line a part.
pub async fn readyz(State(app): State<App>) -> Response {
    let store = app.service.ready().await;
    let ready = store.is_ok() && !app.draining();
    let mut lines = match &store {
        // Opening the store has migrated it.
        Ok(()) => String::from("store: ready\nmigrations: done\n"),
        Err(error) => format!("store: {error}\n"),
    };
    lines.push_str(match app.service.cached_sessions() {
        Some(_) => "cache: on\n",
        None => "cache: off, each check reads the store\n",
    });
    lines.push_str(if app.draining() { "server: draining\n" } else { "server: accepting\n" });
    text(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, lines)
}

/// `GET /metrics`: Prometheus text.
pub async fn metrics(State(app): State<App>) -> Response {
    let lines = app.metrics.render(app.service.passwords_waiting(), app.service.cached_sessions().unwrap_or_default());
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], lines).into_response()
}

fn text(status: StatusCode, lines: String) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], lines).into_response()
}
