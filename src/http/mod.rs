//! The wire side: every route, and the layers around them.
//!
//! A request goes through [`connection`], [`layers`] (what every answer carries), a [`Route`] of the table below, and a
//! handler of a [`dialect`], which parses, calls one service method and renders. [`framing`] refuses heads, [`request`]
//! reads what a request says, [`logout`] is logging out, and [`refusal`] is all that can be refused.

use std::collections::BTreeMap;
use std::pin::Pin;

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, any, on};
use http::header::ALLOW;
use http::{HeaderValue, Method, StatusCode};

use self::dialect::{Owner, canonical, medama, rocketchat};
use self::framing::Listener;
use self::layers::Stack;
use self::refusal::Refusal;
use self::state::App;

pub mod connection;
pub mod dialect;
pub mod framing;
pub mod layers;
pub mod logout;
pub mod ops;
pub mod refusal;
pub mod request;
pub mod starting;
pub mod state;
pub mod verify;

/// One row of the mount table.
pub struct Route {
    /// The method, or none for a route that takes any.
    pub method: Option<Method>,
    /// The path, with `{parameters}`.
    pub path: &'static str,
    handler: MethodRouter<App>,
}

/// Every route that clients and proxies can reach.
pub fn routes() -> Vec<Route> {
    vec![
        post("/auth/login", medama::login),
        revoking(Method::POST, "/auth/logout", medama::logout),
        get("/user", medama::user),
        post("/api/auth/login", medama::login),
        revoking(Method::POST, "/api/auth/logout", medama::logout),
        get("/api/user", medama::user),
        post("/api/v1/login", rocketchat::login),
        revoking(Method::POST, "/api/v1/logout", rocketchat::logout),
        revoking(Method::GET, "/api/v1/logout", rocketchat::logout),
        get("/api/v1/me", rocketchat::me),
        get("/api/v1/sessions/list", rocketchat::list),
        get("/api/v1/sessions/info", rocketchat::info),
        revoking(Method::POST, "/api/v1/sessions/logout.me", rocketchat::logout_me),
        revoking(Method::POST, "/api/v1/users.logout", rocketchat::users_logout),
        revoking(Method::POST, "/api/v1/users.removeOtherTokens", rocketchat::remove_other_tokens),
        revoking(Method::POST, "/api/v1/users.logoutOtherClients", rocketchat::logout_other_clients),
        post("/api/v1/auth/login", canonical::login),
        revoking(Method::POST, "/api/v1/auth/logout", canonical::logout),
        get("/api/v1/auth/session", canonical::session),
        revoking(Method::POST, "/api/v1/auth/password", canonical::password),
        get("/api/v1/auth/sessions", canonical::sessions),
        revoking(Method::DELETE, "/api/v1/auth/sessions", canonical::revoke_many),
        revoking(Method::DELETE, "/api/v1/auth/sessions/{id}", canonical::revoke_one),
        whatever(verify::NEUTRAL, verify::neutral),
    ]
}

/// Every route of the operations listener.
pub fn ops_routes() -> Vec<Route> {
    vec![get("/livez", ops::livez), get("/readyz", ops::readyz), get("/metrics", ops::metrics)]
}

fn get<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Route {
    route(Method::GET, path, handler, false)
}

fn post<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Route {
    route(Method::POST, path, handler, false)
}

/// A route that revokes sessions: once its request may be done it is done, even if the client has gone.
fn revoking<H: Handler<T, App>, T: 'static>(method: Method, path: &'static str, handler: H) -> Route {
    route(method, path, handler, true)
}

fn route<H: Handler<T, App>, T: 'static>(method: Method, path: &'static str, handler: H, finishes: bool) -> Route {
    let changes = method != Method::GET;
    // Every method of the table has a filter; one that has not would never be reached.
    let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::TRACE);
    let handler = on(filter, Guarded { handler, path, changes, finishes });
    Route { method: Some(method), path, handler }
}

/// A route that takes any method and changes nothing.
fn whatever<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route { method: None, path, handler: any(Guarded { handler, path, changes: false, finishes: false }) }
}

/// A listener's table, with the layers around it.
pub fn stack(listener: Listener, app: App) -> Stack {
    let routes = match listener {
        Listener::Public => routes(),
        Listener::Operations => ops_routes(),
    };
    Stack::new(router(routes, listener, app.clone()), listener, app)
}

/// Mounts a table. Unknown routes and methods are refused in the words of the path's owner.
fn router(routes: Vec<Route>, listener: Listener, app: App) -> Router {
    let mut paths = BTreeMap::<_, (MethodRouter<App>, Vec<&str>)>::new();
    for Route { method, path, handler } in routes {
        let (merged, allowed) = paths.entry(path).or_default();
        *merged = std::mem::take(merged).merge(handler);
        match method {
            Some(Method::GET) if path == "/api/v1/logout" => allowed.push("GET"),
            Some(Method::GET) => allowed.extend(["GET", "HEAD"]),
            Some(Method::POST) => allowed.push("POST"),
            Some(Method::DELETE) => allowed.push("DELETE"),
            // A route that takes any method refuses none.
            Some(_) | None => {}
        }
    }
    let mut router = Router::new();
    for (path, (handlers, allowed)) in paths {
        if allowed.is_empty() {
            router = router.route(path, handlers);
            continue;
        }
        // Where GET changes something, HEAD must not be answered like it.
        let unlike_get = allowed.contains(&"GET") && !allowed.contains(&"HEAD");
        let allowed = HeaderValue::try_from(allowed.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""));
        let refuse =
            move |State(app): State<App>, request: Request| std::future::ready(other_method(&app, &request, &allowed));
        let refuse = Guarded { handler: refuse, path, changes: false, finishes: false };
        let handlers = if unlike_get { handlers.on(MethodFilter::HEAD, refuse.clone()) } else { handlers };
        router = router.route(path, handlers.fallback(refuse));
    }
    let unknown =
        move |State(app): State<App>, request: Request| std::future::ready(no_route(listener, &app, &request));
    router.fallback(Guarded { handler: unknown, path: "(none)", changes: false, finishes: false }).with_state(app)
}

/// OPTIONS asks what a page may send; any other method is refused.
fn other_method(app: &App, request: &Request, allowed: &HeaderValue) -> Response {
    let mut response = if request.method() == Method::OPTIONS {
        preflight(app, request)
    } else {
        Owner::of(request.uri().path()).refuse(&Refusal::WrongMethod)
    };
    response.headers_mut().insert(ALLOW, allowed.clone());
    response
}

/// OPTIONS asks that where there is nothing, too. Not under `/verify`, where any method is a check, and not on the
/// operations listener: `OPTIONS /` is how some balancers ask for a server's health.
fn no_route(listener: Listener, app: &App, request: &Request) -> Response {
    let owner = Owner::of(request.uri().path());
    if request.method() == Method::OPTIONS && listener == Listener::Public && owner != Owner::Verify {
        preflight(app, request)
    } else {
        owner.refuse(&Refusal::UnknownRoute)
    }
}

fn preflight(app: &App, request: &Request) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().extend(app.origins.may_send(request.headers()));
    response
}

/// A handler behind the check of where a change may come from, and counted by its route.
#[derive(Clone)]
struct Guarded<H> {
    handler: H,
    path: &'static str,
    changes: bool,
    /// Whether it revokes something, and so goes on to its end even if the client has gone.
    finishes: bool,
}

impl<H: Handler<T, App>, T: 'static> Handler<T, App> for Guarded<H> {
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, app: App) -> Self::Future {
        Box::pin(async move {
            let headers = request.headers();
            let may =
                !self.changes || request::credential::has_header_credential(headers) || app.origins.may_change(headers);
            let response = if !may {
                Owner::of(request.uri().path()).refuse(&Refusal::WrongPlace)
            } else if self.finishes {
                app.finish(self.handler.call(request, app.clone())).await
            } else {
                self.handler.call(request, app.clone()).await
            };
            app.metrics.answered(self.path, response.status().as_u16());
            response
        })
    }
}
