//! The person that a page is for. Without a live session one is sent to the login page first, and then back.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;

use super::dialect::Pages;
use super::render::{dropping_kept_pages, see_other};
use crate::domain::principal::Principal;
use crate::http::request::credential::{Caller, Cookies};
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
                let login = see_other(&format!("/login?return_to={path}"));
                // The session may have ended elsewhere, and its pages still be kept here.
                let had_session = Cookies::from_parts(parts, app).were_sent();
                Err(if had_session { dropping_kept_pages(login) } else { login })
            }
            Err(refused) => Err(refused.into_response()),
        }
    }
}
