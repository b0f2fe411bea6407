//! `/assets/*`: the files that pages are shown with.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::Uri;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};

use super::dialect::Pages;
use crate::http::refusal::{Dialect as _, Refusal};
use crate::http::request::state::App;

/// `GET /assets/{name}`.
pub async fn serve(State(app): State<App>, uri: Uri) -> Response {
    let Some(asset) = app.brand.asset(uri.path()) else { return Pages::refuse(&Refusal::UnknownRoute) };
    let headers = [
        (CONTENT_TYPE, asset.kind),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
        // A logo that is opened by itself is a document of our origin.
        (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; sandbox"),
    ];
    (headers, asset.content.clone()).into_response()
}
