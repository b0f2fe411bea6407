//! Refusals as people see them: a page, in their language.

use askama::Template;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, StatusCode, Uri};
use tower_http::request_id::RequestId;

use super::again;
use super::render::{PageError, page};
use super::texts::{Texts, preferred};
use crate::http::brand::Brand;
use crate::http::refusal::Dialect;
use crate::http::request::navigation::is_navigation;
use crate::http::request::state::App;
use crate::http::routes;

/// The paths of pages, whose names with a slash behind them lead to them.
const PAGES: [&str; 10] = [
    "/login",
    "/login/code",
    "/logout",
    "/sessions",
    "/password",
    "/second-factor",
    "/admin",
    "/admin/users",
    "/admin/sessions",
    "/admin/events",
];

/// What went wrong, and the way on.
#[derive(Template)]
#[template(path = "error.html", config = ".askama.toml")]
struct ErrorPage<'e> {
    t: &'static Texts,
    brand: &'e Brand,
    status: u16,
    sentence: &'static str,
    /// For people to quote to an administrator, who finds it in the log.
    request_id: Option<&'e str>,
}

/// Renders the refusals of pages.
pub async fn render(State(app): State<App>, request: Request, next: Next) -> Response {
    let asked = Asked::new(&request);
    let mut response = next.run(request).await;
    let (mut shown, body) = match response.extensions_mut().remove::<PageError>() {
        None => return response,
        Some(PageError::Status(status)) => asked.page(status, &app),
        Some(PageError::Reauthenticate) => again::page(asked.t, &app, &asked.to),
    }
    .into_parts();
    // What the refusal says of itself stays, such as `Allow` or a reason for the log.
    let (mut refused, _) = response.into_parts();
    refused.headers.remove(CONTENT_TYPE);
    refused.headers.remove(CONTENT_LENGTH);
    shown.headers.extend(refused.headers);
    shown.extensions.extend(refused.extensions);
    Response::from_parts(shown, body)
}

/// Answers where there is no route: a page where a browser navigates to it, and otherwise the words of `D`.
pub async fn unknown_route<D: Dialect>(State(app): State<App>, request: Request) -> Response {
    if !(D::FOR_PAGES && is_navigation(request.method(), request.headers())) {
        return routes::unknown_route::<D>(&app, &request);
    }
    match with_slash(request.uri()) {
        Some(bare) => moved(&bare),
        None => Asked::new(&request).page(StatusCode::NOT_FOUND, &app),
    }
}

/// What an error page takes from the request.
struct Asked {
    t: &'static Texts,
    id: Option<HeaderValue>,
    /// Its path and its query.
    to: String,
}

impl Asked {
    fn new(request: &Request) -> Self {
        let id = request.extensions().get::<RequestId>().map(|id| id.header_value().clone());
        let to = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        Self { t: preferred(request.headers()), id, to }
    }

    fn page(&self, status: StatusCode, app: &App) -> Response {
        let t = self.t;
        let sentence = match status {
            StatusCode::NOT_FOUND => t.not_found,
            StatusCode::FORBIDDEN => t.wrong_place,
            StatusCode::UPGRADE_REQUIRED => t.plain_http,
            status if status.is_client_error() => t.bad_request,
            _ => t.failed,
        };
        let request_id = self.id.as_ref().and_then(|id| id.to_str().ok());
        let error = ErrorPage { t, brand: &app.brand, status: status.as_u16(), sentence, request_id };
        page(status, &error)
    }
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
