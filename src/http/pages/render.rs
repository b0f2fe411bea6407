//! Answers made of templates.

use std::convert::Infallible;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse as _, Response};
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, VARY, X_FRAME_OPTIONS};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::texts::{Texts, preferred};
use crate::http::refusal::Failure;
use crate::http::request::state::App;
use crate::http::stamps;

/// Who reads a page, and in which language.
pub struct Reader {
    /// The texts in that language.
    pub t: &'static Texts,
    /// The headers of the request.
    pub headers: HeaderMap,
}

impl FromRequestParts<App> for Reader {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Infallible> {
        Ok(Self { t: preferred(&parts.headers), headers: parts.headers.clone() })
    }
}

/// A refusal whose page is not rendered yet.
#[derive(Clone, Copy, Debug)]
pub enum PageError {
    /// A sentence for a status.
    Status(StatusCode),
    /// The way to a younger login, and from there back to the page.
    Reauthenticate,
}

impl PageError {
    /// An answer that [`super::errors`] fills.
    pub fn response(self) -> Response {
        let status = match self {
            Self::Status(status) => status,
            Self::Reauthenticate => StatusCode::FORBIDDEN,
        };
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// A page.
pub fn page(status: StatusCode, template: &impl Template) -> Response {
    rendered(status, template, POLICY)
}

/// A page with a script of ours.
pub fn page_with_script(status: StatusCode, template: &impl Template) -> Response {
    rendered(status, template, POLICY_WITH_SCRIPT)
}

fn rendered(status: StatusCode, template: &impl Template, policy: HeaderValue) -> Response {
    let mut response = match template.render() {
        Ok(html) => (status, html).into_response(),
        // Templates are checked when compiled, and write to memory.
        Err(error) => {
            let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
            response.extensions_mut().insert(Failure::Bug(error.to_string()));
            response
        }
    };
    response.headers_mut().extend(headers());
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    response
}

/// Sends a browser elsewhere, after a form or from one page to another.
pub fn see_other(to: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    // Paths of ours, and URLs as `url` writes them, are ASCII without control characters.
    if let Ok(to) = HeaderValue::try_from(to) {
        response.headers_mut().insert(LOCATION, to);
    }
    response.headers_mut().extend(headers());
    response
}

/// Has the browser drop what it keeps of the pages, with this answer.
pub fn dropping_kept_pages(mut response: Response) -> Response {
    let (name, value) = stamps::CLEAR_SITE_DATA;
    response.headers_mut().insert(name, value);
    response
}

const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);
const POLICY_WITH_SCRIPT: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

/// The headers that every page has (OWASP ASVS 3.4). Its forms are sent with an `Origin`, which `no-referrer` would hide.
fn headers() -> HeaderMap {
    HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        (VARY, HeaderValue::from_static("Accept-Language, Cookie")),
    ])
}
