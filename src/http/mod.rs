//! The wire side: the stack of services around every route, on one screen.
//!
//! A [`connection`] hands each request to [`client_service`] or [`operations_service`]. There it goes down the
//! `ServiceBuilder` of `stack`, to the dialect that its path belongs to, down the layers of `routes_in_dialect`, and to a handler of
//! a [`dialect`], which parses, calls one method of the service and renders.

use axum::body::{Body, Bytes};
use axum::error_handling::HandleErrorLayer;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::any_service;
use axum::{BoxError, Router};
use http::HeaderValue;
use http::header::{
    ALLOW, AUTHORIZATION, CONNECTION, COOKIE, SET_COOKIE, STRICT_TRANSPORT_SECURITY, VARY, WWW_AUTHENTICATE,
};
use tower::ServiceBuilder;
use tower::timeout::TimeoutLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::classify::{ServerErrorsAsFailures, SharedClassifier};
use tower_http::request_id::{PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::sensitive_headers::SetSensitiveHeadersLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::RequestBodyDeadlineLayer;
use tower_http::trace::TraceLayer;

use self::answers::Answers;
use self::dialect::canonical;
use self::dialect::{medama, rocketchat};
use self::framing::Listener;
use self::layers::ByHead;
use self::pages::Pages;
use self::refusal::Dialect;
use self::request::client_address::FromPeer;
use self::request::credential::X_AUTH_TOKEN;
use self::request::id::NewId;
use self::request::state::App;
use self::routes::{Route, Routes};
use self::verify::{StatusOnly, Verify};

pub mod admin;
pub mod answers;
pub mod brand;
pub mod connection;
pub mod dialect;
pub mod framing;
pub mod layers;
pub mod logout;
pub mod ops;
pub mod pages;
pub mod refusal;
pub mod request;
pub mod routes;
pub mod stamps;
pub mod starting;
mod trace;
pub mod verify;

/// Which dialect each path belongs to: the longest prefix decides, and what is under none of them is Medama's.
fn dialects() -> Mounts {
    Mounts::default()
        .mount("", medama::routes())
        .mount("/api/v1", rocketchat::routes())
        .mount("/api/v1/auth", canonical::routes())
        .mount("/api/v1/admin", admin::routes())
        .mount("/verify", Routes::<StatusOnly>::default())
        .pages(pages::routes())
}

/// Every route that clients and proxies can reach.
pub fn routes() -> Vec<Route> {
    let checks = verify::paths().map(|path| Route { method: None, path });
    dialects().list.into_iter().chain(checks).collect()
}

/// Every route of the operations listener.
pub fn ops_routes() -> Vec<Route> {
    ops::routes().list_under("").collect()
}

/// The listener for clients and proxies. [`Verify`] stands before all else, since a check must cost little.
pub fn client_service<B: AnyBody>(app: &App) -> impl Answers<FromPeer<B>> + use<B> {
    let vary = {
        let app = app.clone();
        move |_: &Response| stamps::vary(&app)
    };
    ServiceBuilder::new()
        .map_request(layers::judge_head(app, Listener::Public))
        .layer_fn(|rest| Verify::before(rest, app))
        .map_future(Box::pin)
        .map_request(layers::into_request)
        .service(stack(
            app,
            Listener::Public,
            ServiceBuilder::new()
                .layer(SetResponseHeaderLayer::appending(VARY, vary))
                .layer(SetResponseHeaderLayer::overriding(STRICT_TRANSPORT_SECURITY, stamps::https_only(app)))
                .layer(SetResponseHeaderLayer::if_not_present(stamps::CLEAR_SITE_DATA.0, stamps::clear_site_data(app)))
                .layer(from_fn_with_state(app.clone(), layers::allow_listed_origins_to_read))
                .service(dialects().into_service(app)),
        ))
}

/// The listener for liveness, readiness and metrics.
pub fn operations_service<B: AnyBody>(app: &App) -> impl Answers<FromPeer<B>> + use<B> {
    service_in_dialect(app, ops::routes())
}

/// A listener for one dialect, which pages of other origins may not read.
pub fn service_in_dialect<D: Dialect, B: AnyBody>(
    app: &App,
    routes: Routes<D>,
) -> impl Answers<FromPeer<B>> + use<D, B> {
    ServiceBuilder::new()
        .map_request(layers::judge_head(app, Listener::Operations))
        .map_request(layers::into_request)
        .service(stack(app, Listener::Operations, Mounts::default().mount("", routes).into_service(app)))
}

/// What goes around the routers of either listener.
fn stack<S: Answers<Request>>(app: &App, listener: Listener, routers: S) -> impl Answers<Request> + use<S> {
    let closing = {
        let app = app.clone();
        move |_: &Response| stamps::closing(&app)
    };
    ServiceBuilder::new()
        .layer(RequestBodyDeadlineLayer::new(app.timeouts.body))
        .map_request(|request: http::Request<_>| request.map(Body::new))
        .map_response(|response: http::Response<_>| response.map(Body::new))
        .layer(SetSensitiveHeadersLayer::new([AUTHORIZATION, COOKIE, SET_COOKIE, X_AUTH_TOKEN]))
        .map_request(layers::set_aside_id(app))
        .layer(SetRequestIdLayer::x_request_id(NewId))
        .layer(
            TraceLayer::new(SharedClassifier::new(ServerErrorsAsFailures::default()))
                .make_span_with(layers::make_span(app, listener))
                .on_request(())
                .on_response(layers::log_answer(app))
                .on_body_chunk(())
                .on_eos(())
                .on_failure(()),
        )
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(set(stamps::COMMIT))
        .layer(set_if_absent(stamps::NO_STORE))
        .layer(set(stamps::NO_SNIFF))
        .layer(set_if_absent(stamps::NO_REFERRER))
        .layer(SetResponseHeaderLayer::overriding(WWW_AUTHENTICATE, stamps::challenge))
        .layer(SetResponseHeaderLayer::overriding(CONNECTION, closing))
        .layer(SetResponseHeaderLayer::overriding(ALLOW, stamps::spaced_allow))
        .service(routers)
}

/// What goes around each route of a dialect, in its words.
fn in_dialect<D: Dialect>(router: Router<App>, app: &App) -> Router {
    let around_each = ServiceBuilder::new()
        .layer(from_fn_with_state(app.clone(), layers::count::<D>))
        .layer(HandleErrorLayer::new(refusal::too_late::<D>))
        .layer(TimeoutLayer::new(app.timeouts.answer))
        .layer(CatchPanicLayer::custom(refusal::panicked::<D>))
        .layer(from_fn_with_state(app.clone(), layers::refuse_plain_http::<D>));
    router.layer(around_each).with_state(app.clone())
}

fn set_if_absent((name, value): stamps::Stamp) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, value)
}

fn set((name, value): stamps::Stamp) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::overriding(name, value)
}

/// A body on its way in.
pub trait AnyBody: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static {}

impl<B> AnyBody for B where B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static {}

/// Dialects, each under its prefix: their routes, and their words for requests whose head is refused.
#[derive(Default)]
struct Mounts {
    list: Vec<Route>,
    prefixes: Vec<(&'static str, Mount)>,
    pages: Option<Mount>,
}

type Mount = Box<dyn FnOnce(&App) -> ByHead>;

impl Mounts {
    fn mount<D: Dialect>(mut self, prefix: &'static str, routes: Routes<D>) -> Self {
        self.list.extend(routes.list_under(prefix));
        let mount = |app: &App| ByHead {
            good: in_dialect::<D>(routes.into_router(pages::errors::unknown_route::<D>), app),
            bad: layers::refuse_bad_heads::<D>().layer(from_fn_with_state(app.clone(), layers::count::<D>)),
        };
        self.prefixes.push((prefix, Box::new(mount)));
        self
    }

    /// The pages, beside the routes under the empty prefix, whose dialect answers where there is no route.
    fn pages(mut self, routes: Routes<Pages>) -> Self {
        self.list.extend(routes.list_under(""));
        let paths = routes.list_under("").map(|route| route.path).collect();
        self.pages = Some(Box::new(move |app| {
            let rendered = from_fn_with_state(app.clone(), pages::errors::render);
            ByHead {
                good: in_dialect::<Pages>(routes.into_router_beside_another(), app).layer(rendered.clone()),
                bad: layers::refuse_bad_heads_at::<Pages>(&paths)
                    .layer(rendered)
                    .layer(from_fn_with_state(app.clone(), layers::count::<Pages>)),
            }
        }));
        self
    }

    fn into_service(self, app: &App) -> ByHead {
        // `nest` does not cover the prefix with a slash behind it.
        let under = |router: Router, prefix, routes: Router| match prefix {
            "" => router.merge(routes),
            prefix => router.nest(prefix, routes.clone()).route(&format!("{prefix}/"), any_service(routes)),
        };
        let all = self.prefixes.into_iter().fold(ByHead::default(), |all, (prefix, mount)| {
            let ByHead { good, bad } = mount(app);
            ByHead { good: under(all.good, prefix, good), bad: under(all.bad, prefix, bad) }
        });
        let Some(pages) = self.pages else { return all };
        let ByHead { good, bad } = pages(app);
        ByHead { good: all.good.merge(good), bad: all.bad.merge(bad) }
    }
}
