//! The answer to a check that stands for no live session, in the form that its proxy can carry.

use axum::response::{IntoResponse as _, Response};
use http::header::{LOCATION, REFERER, VARY};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use url::Url;

use super::family::{Denial, Family};
use super::original::{Address, Original};
use crate::http::dialect::canonical::Canonical;
use crate::http::refusal::{Dialect as _, Refusal};
use crate::http::request::navigation::is_navigation;
use crate::http::request::return_to::LONGEST_LOCATION;
use crate::http::request::single::only;
use crate::http::request::state::App;
use crate::service::Error;

/// What an answer depends on, for caches that keep refusals all the same.
const VARIES: HeaderValue = HeaderValue::from_static("Cookie, Accept, Sec-Fetch-Mode, Origin");

/// Makes the answer. `original` is what a trusted proxy says of the request that it asks about.
pub fn refuse(family: &Family, original: &Original, check: &Method, headers: &HeaderMap, app: &App) -> Response {
    let method = original.method.as_ref().unwrap_or(check);
    let mut response = match family.denial {
        Denial::Bare => StatusCode::UNAUTHORIZED.into_response(),
        Denial::Location => with_location(StatusCode::UNAUTHORIZED, &login_url(original, method, headers, app)),
        Denial::Answer if is_navigation(method, headers) => {
            // A form that is sent again to the page itself would ask for a POST's URL by GET, or be posted to the login page.
            let status = if is_read(method) { StatusCode::FOUND } else { StatusCode::SEE_OTHER };
            with_location(status, &login_url(original, method, headers, app))
        }
        Denial::Answer => Canonical::refuse(&Refusal::Service(Error::NoSession)),
    };
    response.headers_mut().insert(VARY, VARIES);
    response
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn with_location(status: StatusCode, url: &str) -> Response {
    let mut response = status.into_response();
    // It is made of an origin of ours and of percent-encoded text.
    if let Ok(url) = HeaderValue::try_from(url) {
        response.headers_mut().insert(LOCATION, url);
    }
    response
}

/// The login page, with where to return to. Its origin is never taken from a header.
fn login_url(original: &Original, method: &Method, headers: &HeaderMap, app: &App) -> String {
    let login = format!("{}/login", app.rules().origins.public().unwrap_or_default());
    let Some(address) = &original.address else { return login };
    let origin = || format!("{}/", address.origin).into_bytes();
    let whole = if is_read(method) {
        [address.origin.as_bytes(), &address.target].concat()
    } else {
        referer(headers, address).unwrap_or_else(origin)
    };
    let without_query = || [address.origin.as_bytes(), address.path()].concat();
    let urls = [whole].into_iter().chain(is_read(method).then(without_query)).chain([origin()]);
    let mut logins = urls.map(|url| {
        let encoded: String = form_urlencoded::byte_serialize(&url).collect();
        format!("{login}?return_to={encoded}")
    });
    logins.find(|login| login.len() <= LONGEST_LOCATION).unwrap_or(login)
}

/// The page that a form stood on, if it is of the same origin as what the form was sent to.
fn referer(headers: &HeaderMap, address: &Address) -> Option<Vec<u8>> {
    let mut page = Url::parse(std::str::from_utf8(only(headers, &REFERER)?).ok()?).ok()?;
    page.set_fragment(None);
    let origin = Url::parse(&address.origin).ok()?.origin();
    (page.origin() == origin).then(|| String::from(page).into_bytes())
}
