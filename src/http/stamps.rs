//! The headers that every answer has. Each name and value is defined here once, for the layers and for `/verify`.

use axum::response::Response;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, REFERRER_POLICY, SET_COOKIE, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::refusal::CLOSE;
use super::request::id::X_REQUEST_ID;
use super::request::state::App;
use crate::telemetry;

/// A header of an answer.
pub type Stamp = (HeaderName, HeaderValue);

/// The build that gave the answer.
pub const COMMIT: Stamp = (HeaderName::from_static("x-api-commit"), HeaderValue::from_static(telemetry::COMMIT));
/// Answers depend on credentials, so no cache may keep them.
pub const NO_STORE: Stamp = (CACHE_CONTROL, HeaderValue::from_static("no-store"));
/// An answer is of the type that it says, and of no other.
pub const NO_SNIFF: Stamp = (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
/// Links and forms in an answer send no `Referer`.
pub const NO_REFERRER: Stamp = (REFERRER_POLICY, HeaderValue::from_static("no-referrer"));

/// Adds the headers of every answer to one that passes no layer.
pub fn stamp(headers: &mut HeaderMap, request_id: HeaderValue) {
    headers.insert(X_REQUEST_ID, request_id);
    for (name, value) in [COMMIT, NO_STORE, NO_SNIFF, NO_REFERRER] {
        headers.insert(name, value);
    }
}

/// The value of `WWW-Authenticate`, which goes with each 401: a scheme that opens no browser's dialog.
pub fn challenge(response: &Response) -> Option<HeaderValue> {
    const SESSION: HeaderValue = HeaderValue::from_static("Session realm=\"sessiond\"");
    (response.status() == StatusCode::UNAUTHORIZED).then_some(SESSION)
}

/// The value of `Connection` once the server is stopping. If the connection were used again, it could be closed while a
/// client sends a request that must not be sent twice.
pub fn closing(app: &App) -> Option<HeaderValue> {
    app.draining().then_some(CLOSE)
}

/// The value of `Vary` where pages of other origins may read answers.
pub fn vary(app: &App) -> Option<HeaderValue> {
    app.rules().origins.any_may_read().then_some(HeaderValue::from_static("Origin"))
}

/// The value of `Strict-Transport-Security` where browsers see the service over TLS: a year (RFC 6797 section 6.1, OWASP
/// ASVS 3.4.1). Other hosts of the domain are not its to decide for.
pub fn https_only(app: &App) -> Option<HeaderValue> {
    let https = app.rules().origins.public().is_some_and(|origin| origin.starts_with("https:"));
    https.then_some(HeaderValue::from_static("max-age=31536000"))
}

/// Has a browser drop what it keeps of this origin's pages, so that its back button does not show those of a person who has
/// signed out. `no-store` alone does not keep pages out of the back/forward cache.
pub const CLEAR_SITE_DATA: Stamp = (HeaderName::from_static("clear-site-data"), HeaderValue::from_static("\"cache\""));

/// The value of `Clear-Site-Data` where an answer clears the cookie and the configuration asks for it.
pub fn clear_site_data(app: &App) -> impl Fn(&Response) -> Option<HeaderValue> + Clone + use<> {
    const CLEARING: &[u8] = b" Max-Age=0";
    let app = app.clone();
    move |response| {
        let clears =
            |cookie: &HeaderValue| cookie.as_bytes().windows(CLEARING.len()).any(|attribute| attribute == CLEARING);
        let signs_out = app.clear_site_data && response.headers().get_all(SET_COOKIE).iter().any(clears);
        signs_out.then_some(CLEAR_SITE_DATA.1)
    }
}

/// Stamps an answer that no layer stamps with what depends on its status and on the server, too.
pub fn stamp_all(response: &mut Response, request_id: HeaderValue, app: &App) {
    let by_status = [(WWW_AUTHENTICATE, challenge(response)), (CONNECTION, closing(app)), (VARY, vary(app))];
    let headers = response.headers_mut();
    stamp(headers, request_id);
    for (name, value) in by_status {
        // What an answer says of itself stays, such as a longer `Vary`.
        if let Some(value) = value {
            headers.entry(name).or_insert(value);
        }
    }
}

/// The value of `Allow` as axum has set it, written with a blank behind each comma.
pub fn spaced_allow(response: &Response) -> Option<HeaderValue> {
    let allow = response.headers().get(ALLOW)?.to_str().ok()?;
    let methods: Vec<_> = allow.split(',').map(str::trim).collect();
    HeaderValue::try_from(methods.join(", ")).ok()
}
