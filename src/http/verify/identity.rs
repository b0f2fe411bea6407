//! The answer to an allowed check: who is calling, in headers.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderName, HeaderValue};

use crate::domain::principal::Principal;

const REMOTE_USER: HeaderName = HeaderName::from_static("remote-user");
const REMOTE_USER_ID: HeaderName = HeaderName::from_static("remote-user-id");
const REMOTE_NAME: HeaderName = HeaderName::from_static("remote-name");
const REMOTE_EMAIL: HeaderName = HeaderName::from_static("remote-email");
const REMOTE_GROUPS: HeaderName = HeaderName::from_static("remote-groups");
const REMOTE_SESSION_ID: HeaderName = HeaderName::from_static("remote-session-id");

/// Stands for "absent": some proxies let the client's own header through when ours is missing or empty.
const ABSENT: HeaderValue = HeaderValue::from_static("-");

/// Room for the identity and for the stamps, so that the map grows once.
const HEADERS: usize = 12;

/// 200 with every identity header.
pub fn allowed(principal: &Principal) -> Response {
    let identity = &principal.identity;
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
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
