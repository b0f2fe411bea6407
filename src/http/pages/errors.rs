//! Refusals as people see them: a page, in their language.

use askama::Template;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, StatusCode, Uri};

use super::assets::{ASSETS, Assets};
use super::render::{PageError, page};
use super::texts::Texts;
use crate::http::request::navigation::is_navigation;

/// The paths of pages, whose names with a slash behind them lead to them.
const PAGES: [&str; 4] = ["/login", "/logout", "/sessions", "/password"];

/// A sentence, and the way on.
#[derive(Template)]
#[template(path = "words.html", config = ".askama.toml")]
pub(super) struct Words<'w> {
    pub t: &'static Texts,
    pub assets: &'static Assets,
    pub status: Option<u16>,
    pub sentence: &'w str,
    pub href: &'static str,
    pub link: &'static str,
}

/// Renders the refusals of pages, and those of unknown paths where a browser navigates to one. API clients get their own
/// words.
pub async fn show_to_people(request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    let texts = Texts::preferred(request.headers());
    let navigates = is_navigation(request.method(), request.headers()) && !uri.path().starts_with("/verify");
    let mut response = next.run(request).await;
    let status = match response.extensions_mut().remove::<PageError>() {
        Some(PageError(status)) => status,
        None if navigates && response.status() == StatusCode::NOT_FOUND => match with_slash(&uri) {
            Some(bare) => return moved(&bare),
            None => StatusCode::NOT_FOUND,
        },
        None => return response,
    };
    let shown = page(status, &words(status, texts));
    let (mut shown, body) = shown.into_parts();
    // What the refusal says of itself stays, such as `Allow` or a reason for the log.
    let (mut refused, _) = response.into_parts();
    refused.headers.remove(CONTENT_TYPE);
    refused.headers.remove(CONTENT_LENGTH);
    shown.headers.extend(refused.headers);
    shown.extensions.extend(refused.extensions);
    Response::from_parts(shown, body)
}

fn words(status: StatusCode, t: &'static Texts) -> Words<'static> {
    let sentence = match status {
        StatusCode::NOT_FOUND => t.not_found,
        StatusCode::FORBIDDEN => t.wrong_place,
        status if status.is_client_error() => t.bad_request,
        _ => t.failed,
    };
    Words { t, assets: &ASSETS, status: Some(status.as_u16()), sentence, href: "/login", link: t.back_to_sign_in }
}

/// The page that a path with a slash behind it means.
fn with_slash(uri: &Uri) -> Option<String> {
    let bare = uri.path().strip_suffix('/').filter(|bare| PAGES.contains(bare))?;
    Some(uri.query().map_or_else(|| bare.to_owned(), |query| format!("{bare}?{query}")))
}

fn moved(to: &str) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    if let Ok(to) = HeaderValue::try_from(to) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}
