//! The person that a page is for. Without a live session one is sent to the login page first, and then back.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;

use super::dialect::Pages;
use super::render::see_other;
use crate::domain::principal::Principal;
use crate::http::request::credential::Caller;
use crate::http::request::state::App;

/// A person who is signed in.
#[derive(Debug)]
pub struct SignedIn(pub Principal);

impl FromRequestParts<App> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        match Caller::<Pages>::from_request_parts(parts, app).await {
            Ok(caller) => Ok(Self(caller.principal)),
            Err(refused) if refused.is_no_session() => {
                let path: String = form_urlencoded::byte_serialize(parts.uri.path().as_bytes()).collect();
                Err(see_other(&format!("/login?return_to={path}")))
            }
            Err(refused) => Err(refused.into_response()),
        }
    }
}
