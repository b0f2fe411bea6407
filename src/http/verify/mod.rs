//! Who is calling? Asked by services and proxies, answered with a status and identity headers, never with a body.
//!
//! One decision for all; a proxy family gets a file of its own for what differs.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::dialect::wordless;
use super::refusal::{Failure, Refusal};
use super::request::credential::{Credential, read_ours};
use super::state::App;
use crate::domain::principal::Principal;
use crate::service::{Error, Result};

const REMOTE_USER: HeaderName = HeaderName::from_static("remote-user");
const REMOTE_USER_ID: HeaderName = HeaderName::from_static("remote-user-id");
const REMOTE_NAME: HeaderName = HeaderName::from_static("remote-name");
const REMOTE_EMAIL: HeaderName = HeaderName::from_static("remote-email");
const REMOTE_GROUPS: HeaderName = HeaderName::from_static("remote-groups");
const REMOTE_SESSION_ID: HeaderName = HeaderName::from_static("remote-session-id");

/// The path of the check for any service, without proxy headers or redirects.
pub const NEUTRAL: &str = "/verify";

/// Stands for "absent": some proxies let the client's own header through when ours is missing or empty.
const ABSENT: HeaderValue = HeaderValue::from_static("-");

/// [`NEUTRAL`], any method: 200 with who is calling, or 401; 503 when nobody can tell.
pub async fn neutral(State(app): State<App>, headers: HeaderMap) -> Response {
    answer(decide(&headers, &app).await)
}

/// The same answer, where it takes no look at the store.
pub fn at_once(headers: &HeaderMap, app: &App) -> Option<Response> {
    let response = answer(decide_at_once(headers, app)?);
    app.metrics.answered(NEUTRAL, response.status().as_u16());
    Some(response)
}

/// The one decision.
async fn decide(headers: &HeaderMap, app: &App) -> Result<Principal> {
    match presented(headers, app) {
        Credential::Presented(presented, _) => app.service.verify(&presented).await,
        Credential::Several(presented) => app.service.verify_one_of(&presented).await,
        Credential::None | Credential::Invalid(_) => Err(Error::NoSession),
    }
}

fn decide_at_once(headers: &HeaderMap, app: &App) -> Option<Result<Principal>> {
    match presented(headers, app) {
        Credential::Presented(presented, _) => app.service.verify_at_once(&presented),
        // Memory does not know the dead ones, so it takes a look at the store.
        Credential::Several(_) => None,
        Credential::None | Credential::Invalid(_) => Some(Err(Error::NoSession)),
    }
}

fn presented(headers: &HeaderMap, app: &App) -> Credential {
    read_ours(headers, app.cookie.name(), &app.verify_credentials, |token| app.service.issued(token))
}

fn answer(decision: Result<Principal>) -> Response {
    match decision {
        Ok(principal) => allowed(&principal),
        Err(error) => {
            let failure = Failure::from_error(&error);
            let mut response = wordless(&Refusal::Service(error));
            if let Some(failure) = failure {
                response.extensions_mut().insert(failure);
            }
            response
        }
    }
}

fn allowed(principal: &Principal) -> Response {
    let identity = &principal.identity;
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.reserve(12);
    headers.insert(REMOTE_USER, header(identity.username()));
    headers.insert(REMOTE_USER_ID, header(identity.user_id().as_str()));
    headers.insert(REMOTE_NAME, header(identity.name()));
    headers.insert(REMOTE_EMAIL, identity.email().map_or(ABSENT, header));
    headers.insert(REMOTE_GROUPS, HeaderValue::from_static(if identity.admin() { "admin" } else { "-" }));
    headers.insert(REMOTE_SESSION_ID, header(identity.session_id().as_str()));
    response
}

/// Texts without control characters, which `domain::text` keeps out, are header values as they are: UTF-8.
fn header(text: &str) -> HeaderValue {
    HeaderValue::from_bytes(text.as_bytes()).unwrap_or(ABSENT)
}
