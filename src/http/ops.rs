//! Liveness, readiness and metrics, on a listener of their own.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::dialect::medama::Medama;
use super::refusal::{Dialect, Refusal};
use super::request::state::App;
use super::routes::Routes;
use crate::service::Memory;

/// The dialect of the operations listener: plain text, and the words of [`Medama`] for refusals. It is not for pages,
/// since some balancers use `OPTIONS /` to ask for a server's health.
#[derive(Debug)]
pub struct Operations;

impl Dialect for Operations {
    const NAME: &str = "operations";
    const FOR_PAGES: bool = false;

    fn refuse(refusal: &Refusal) -> Response {
        Medama::refuse(refusal)
    }
}

/// Its routes.
pub fn routes() -> Routes<Operations> {
    Routes::default().get("/livez", livez).get("/readyz", readyz).get("/metrics", metrics)
}

/// `GET /livez`: 200 while the process runs.
pub async fn livez() -> Response {
    text(StatusCode::OK, String::from("alive\n"))
}

/// `GET /readyz`: 200 when requests can be served, else 503; one line a part.
pub async fn readyz(State(app): State<App>) -> Response {
    let store = app.service.ready().await;
    let ready = store.is_ok() && !app.draining();
    let store = match &store {
        // Opening the store has migrated it.
        Ok(()) => String::from("ready\nmigrations: done"),
        Err(error) => error.to_string(),
    };
    let cache = match app.service.memory() {
        Memory::Trusted => String::from("trusted"),
        Memory::Untrusted(why) => format!("not trusted, each check reads the store ({why})"),
        Memory::Off => String::from("off, each check reads the store"),
    };
    let server = if app.draining() { "draining" } else { "accepting" };
    let lines = format!("store: {store}\ncache: {cache}\nserver: {server}\n");
    text(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, lines)
}

/// `GET /metrics`: Prometheus text.
pub async fn metrics(State(app): State<App>) -> Response {
    let cached = app.service.cached_sessions().unwrap_or_default();
    let trusted = app.service.memory() == Memory::Trusted;
    let lines = app.metrics.render(app.service.passwords_waiting(), cached, trusted);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], lines).into_response()
}

fn text(status: StatusCode, lines: String) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], lines).into_response()
}
