//! What a request asks for, by its route, as the audit names it.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, MatchedPath};
use http::request::Parts;

use super::state::App;
use crate::domain::event::Asked;

impl FromRequestParts<App> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Infallible> {
        let route = parts.extensions.get::<MatchedPath>().map_or("(none)", MatchedPath::as_str);
        Ok(Self { what: format!("{} {route}", parts.method), reads: parts.method.is_safe() })
    }
}
