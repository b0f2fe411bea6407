//! The layers that tower-http lacks: checking a request's head, setting aside a request id that is not trusted, letting
//! pages of listed origins read answers, and counting answers by route.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::any;
use axum::{BoxError, Extension, Router};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CONNECTION, UPGRADE,
};
use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;
use tower::Service;
use tower_http::request_id::RequestId;
use tracing::Span;

use super::framing::{self, Listener};
use super::refusal::{Dialect, Failure, Refusal, refuse_head};
use super::request::client_address::{FromPeer, Peer, is_trusted};
use super::request::forwarded::{Scheme, scheme};
use super::request::id::{self, ClientsId, SetAside, X_REQUEST_ID};
use super::request::state::App;
use super::request::trace_context;
use super::trace;
use crate::telemetry::traces::{self, Attribute, Trace};

/// Why a request may not go on to its route. Every head is checked once, before anything else. A bad one goes to the
/// dialect that its path belongs to, which refuses it in its own words.
#[derive(Clone, Debug)]
pub struct BadHead(pub Arc<Refusal>);

/// Refuses bad heads in the words of `D`, whatever their path.
pub fn refuse_bad_heads<D: Dialect>() -> Router {
    let refuse = async |Extension(BadHead(refusal)): Extension<BadHead>| refuse_head::<D>(&refusal);
    Router::new().fallback(refuse)
}

/// The same at these paths alone.
pub fn refuse_bad_heads_at<D: Dialect>(paths: &BTreeSet<String>) -> Router {
    let refuse = async |Extension(BadHead(refusal)): Extension<BadHead>| refuse_head::<D>(&refusal);
    paths.iter().fold(Router::new(), |router, path| router.route(path, any(refuse)))
}

/// Routes for requests with a good head, and refusals for those with a bad one. They are separate routers, since a
/// route would answer with `Allow` even where the head is refused.
#[derive(Clone, Debug, Default)]
pub struct ByHead {
    /// The routes.
    pub good: Router,
    /// The refusals.
    pub bad: Router,
}

impl Service<Request> for ByHead {
    type Response = Response;
    type Error = Infallible;
    type Future = <Router as Service<Request>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let is_bad = request.extensions().get::<BadHead>().is_some();
        if is_bad { self.bad.call(request) } else { self.good.call(request) }
    }
}

/// Checks the head of a request.
pub fn judge_head<B>(app: &App, listener: Listener) -> impl Fn(FromPeer<B>) -> FromPeer<B> + Clone + use<B> {
    let app = app.clone();
    move |mut from| {
        match app.heads.check(&from.request, listener) {
            Ok(()) => framing::unify_host(&mut from.request),
            Err(refusal) => {
                from.request.extensions_mut().insert(BadHead(Arc::new(refusal)));
            }
        }
        from
    }
}

/// Makes the request that routers take, with its [`Peer`] among the extensions.
pub fn into_request<B>(FromPeer { peer, request }: FromPeer<B>) -> Request
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    request
}

/// Removes a request id from a client that is not trusted, so that a new one is made. One of a valid form is kept for
/// the log.
pub fn set_aside_id(app: &App) -> impl Fn(Request) -> Request + Clone + use<> {
    let app = app.clone();
    move |mut request| {
        let trusted = || request.extensions().get::<Peer>().is_some_and(|peer| is_trusted(peer.0, &app));
        let set_aside = match id::judge(request.headers(), trusted) {
            ClientsId::Kept(_) => return request,
            ClientsId::SetAside(id) => Some(SetAside(id.clone())),
            ClientsId::Unfit => None,
        };
        request.headers_mut().remove(X_REQUEST_ID);
        if let Some(set_aside) = set_aside {
            request.extensions_mut().insert(set_aside);
        }
        request
    }
}

/// Makes the span of a request, which has an id by now. What operators ask for is no part of a trace.
pub fn make_span<B>(app: &App, listener: Listener) -> impl FnMut(&http::Request<B>) -> Span + Clone + use<B> {
    let app = app.clone();
    move |request| {
        let id = request.extensions().get::<RequestId>().map(RequestId::header_value);
        let set_aside = request.extensions().get::<SetAside>().map(|SetAside(id)| id);
        let trusted = || request.extensions().get::<Peer>().is_some_and(|peer| is_trusted(peer.0, &app));
        let trace = match listener {
            Listener::Public => Trace::of_request(trace_context::parent(request.headers(), trusted)),
            Listener::Operations => None,
        };
        let span = trace::span(id, set_aside, request.method(), request.uri().path(), trace.as_ref().map(Trace::id));
        trace::recorded(span, trace.as_ref(), request.method())
    }
}

/// Writes the one line about an answer, and notes it in the trace.
pub fn log_answer<B>(app: &App) -> impl FnOnce(&http::Response<B>, Duration, &Span) + Clone + use<B> {
    let app = app.clone();
    move |response, _, span| {
        traces::note(span, trace::outcome(response.status()));
        trace::answered(response.status(), response.extensions().get::<Failure>(), &app.metrics);
    }
}

/// Refuses requests that came to a trusted proxy over plain HTTP, where the configuration does not allow that (RFC 9110
/// section 15.5.22).
pub async fn refuse_plain_http<D: Dialect>(State(app): State<App>, request: Request, next: Next) -> Response {
    const TLS: HeaderValue = HeaderValue::from_static("TLS/1.2, HTTP/1.1");
    const UPGRADES: HeaderValue = HeaderValue::from_static("upgrade");
    if !(D::FOR_BROWSERS && app.require_https && came_over_plain_http(&app, &request)) {
        return next.run(request).await;
    }
    let mut response = D::refuse(&Refusal::PlainHttp);
    response.headers_mut().insert(UPGRADE, TLS);
    response.headers_mut().insert(CONNECTION, UPGRADES);
    response
}

fn came_over_plain_http(app: &App, request: &Request) -> bool {
    let trusted = request.extensions().get::<Peer>().is_some_and(|peer| is_trusted(peer.0, app));
    trusted && scheme(request.headers()) == Some(Scheme::Http)
}

/// Lets pages of listed origins read the answer, refusals included, so that a front end can show the reason.
pub async fn allow_listed_origins_to_read(State(app): State<App>, request: Request, next: Next) -> Response {
    let reader = app.rules().origins.may_read(request.headers());
    let mut response = next.run(request).await;
    if let Some(origin) = reader {
        allow_reading(response.headers_mut(), origin);
    }
    response
}

/// Lets pages of `origin` read an answer.
pub fn allow_reading(headers: &mut HeaderMap, origin: HeaderValue) {
    const EXPOSED: HeaderValue =
        HeaderValue::from_static("X-Api-Commit, X-Request-Id, Retry-After, RateLimit, RateLimit-Policy");
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}

/// Counts an answer by the route that axum found for its request, and records how long it took.
pub async fn count<D: Dialect>(
    State(app): State<App>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let response = next.run(request).await;
    if traces::are_on() {
        let matched = route.as_ref().map(|route| Attribute::Route(route.as_str().into()));
        traces::note(&Span::current(), matched.into_iter().chain([Attribute::Dialect(D::NAME.as_str())]));
    }
    let route = route.as_ref().map_or("(none)", MatchedPath::as_str);
    app.metrics.requests.answered(D::NAME, route, response.status().as_u16(), begun.elapsed());
    response
}
