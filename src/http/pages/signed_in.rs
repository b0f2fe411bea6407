//! The person that a page is for. Without a live session one is sent to the login page first, and then back.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;

use super::dialect::Pages;
use super::render::{dropping_kept_pages, see_other};
use crate::domain::principal::Principal;
use crate::http::request::credential::{Caller, Cookies};
use crate::http::request::return_to::LONGEST_LOCATION;
use crate::http::request::state::App;

/// A person who is signed in.
#[derive(Debug)]
pub struct SignedIn(pub Principal);

impl FromRequestParts<App> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        match Caller::<Pages>::from_request_parts(parts, app).await {
            Ok(caller) => Ok(Self(caller.principal)),
            Err(refused) if refused.is_no_session() => Err(to_login(parts, parts.uri.path(), app)),
            Err(refused) => Err(refused.into_response()),
        }
    }
}

/// Sends somebody without a live session to the login page, and from there to `back`.
pub fn to_login(parts: &Parts, back: &str, app: &App) -> Response {
    let login = see_other(&login_and_back("/login?return_to=", back));
    // The session may have ended elsewhere, and its pages still be kept here.
    let had_session = Cookies::from_parts(parts, app).were_sent();
    if had_session { dropping_kept_pages(login) } else { login }
}

/// The login page's address with the way back at its end, which is left out where it is longer than proxies take.
pub fn login_and_back(login: &str, back: &str) -> String {
    let query: String = form_urlencoded::byte_serialize(back.as_bytes()).collect();
    let short = login.len() + query.len() <= LONGEST_LOCATION;
    if short { format!("{login}{query}") } else { login.to_owned() }
}
