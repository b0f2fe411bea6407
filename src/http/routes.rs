//! Routes as a dialect declares them: each is mounted on axum's router and remembered, so that the list of them cannot
//! drift from what is served. And what is answered where there is none.

use std::marker::PhantomData;
use std::pin::Pin;

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use http::header::ALLOW;
use http::{HeaderValue, Method, StatusCode};

use super::refusal::{Dialect, Refusal};
use super::request::credential::has_header_credential;
use super::request::state::App;

/// One route, to be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The method, or none for a route that takes any.
    pub method: Option<Method>,
    /// The path, with `{parameters}`.
    pub path: String,
}

/// The routes of dialect `D`.
#[derive(Debug)]
pub struct Routes<D> {
    router: Router<App>,
    list: Vec<Route>,
    dialect: PhantomData<D>,
}

impl<D> Default for Routes<D> {
    fn default() -> Self {
        Self { router: Router::new(), list: Vec::new(), dialect: PhantomData }
    }
}

impl<D: Dialect> Routes<D> {
    /// A GET, and HEAD like it, that changes nothing.
    #[must_use]
    pub fn get<H: Handler<T, App>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.route(path, &[Method::GET], on(MethodFilter::GET, handler))
    }

    /// A POST that changes something. It is refused where its origin may not make changes (CSRF).
    #[must_use]
    pub fn change<H: Handler<T, App>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.route(path, &[Method::POST], on(MethodFilter::POST, Checked::<D, H>::new(handler)))
    }

    /// A POST that revokes sessions: a change that, once begun, is finished even if its client disconnects.
    #[must_use]
    pub fn revoke<H: Handler<T, App>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.route(path, &[Method::POST], on(MethodFilter::POST, Checked::<D, _>::new(Finished(handler))))
    }

    /// The same as a DELETE.
    #[must_use]
    pub fn revoke_by_delete<H: Handler<T, App>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.route(path, &[Method::DELETE], on(MethodFilter::DELETE, Checked::<D, _>::new(Finished(handler))))
    }

    /// The same as a PATCH.
    #[must_use]
    pub fn change_by_patch<H: Handler<T, App>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.route(path, &[Method::PATCH], on(MethodFilter::PATCH, Checked::<D, _>::new(Finished(handler))))
    }

    /// The same as a POST, and as a GET whose handler must accept only header credentials, since any page can have a
    /// browser send one. Such a GET is not answered to HEAD, so axum's `Allow` would not be right.
    #[must_use]
    pub fn revoke_by_post_or_get<H: Handler<T, App>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        async fn neither<D: Dialect>(state: State<App>, request: Request) -> Response {
            const ALLOWED: HeaderValue = HeaderValue::from_static("POST, GET");
            let mut response = wrong_method::<D>(state, request).await;
            response.headers_mut().insert(ALLOW, ALLOWED);
            response
        }
        let handlers = on(MethodFilter::POST, Checked::<D, _>::new(Finished(handler.clone())))
            .on(MethodFilter::GET, Finished(handler))
            .on(MethodFilter::HEAD, neither::<D>)
            .fallback(neither::<D>);
        self.route(path, &[Method::POST, Method::GET], handlers)
    }

    /// These, and those of another file.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        let list = self.list.into_iter().chain(others.list).collect();
        Self { router: self.router.merge(others.router), list, dialect: PhantomData }
    }

    /// All of them again under a prefix.
    #[must_use]
    pub fn also_under(self, prefix: &str) -> Self {
        let again: Vec<_> = self.list_under(prefix).collect();
        let router = self.router.clone().nest(prefix, self.router);
        Self { router, list: self.list.into_iter().chain(again).collect(), dialect: PhantomData }
    }

    /// What they are, mounted under a prefix.
    pub fn list_under(&self, prefix: &str) -> impl Iterator<Item = Route> {
        self.list
            .iter()
            .map(move |Route { method, path }| Route { method: method.clone(), path: format!("{prefix}{path}") })
    }

    /// The router, with what answers where there is no route.
    pub fn into_router<H: Handler<T, App>, T: 'static>(self, unknown_route: H) -> Router<App> {
        self.into_router_beside_another().fallback(unknown_route)
    }

    /// The router, beside that of another dialect, which answers where there is no route.
    pub fn into_router_beside_another(self) -> Router<App> {
        self.router.method_not_allowed_fallback(wrong_method::<D>)
    }

    fn route(mut self, path: &'static str, methods: &[Method], handlers: MethodRouter<App>) -> Self {
        self.router = self.router.route(path, handlers);
        let listed = methods.iter().map(|method| Route { method: Some(method.clone()), path: path.to_owned() });
        self.list.extend(listed);
        self
    }
}

/// Answers where there is no route: OPTIONS is a preflight there too, and anything else is refused.
pub fn unknown_route<D: Dialect>(app: &App, request: &Request) -> Response {
    if request.method() == Method::OPTIONS && D::FOR_PAGES {
        preflight::<D>(app, request)
    } else {
        D::refuse(&Refusal::UnknownRoute)
    }
}

/// Answers methods that a route does not have: OPTIONS is a preflight, and any other method is refused. Either answer
/// gets `Allow` from axum.
async fn wrong_method<D: Dialect>(State(app): State<App>, request: Request) -> Response {
    if request.method() == Method::OPTIONS { preflight::<D>(&app, &request) } else { D::refuse(&Refusal::WrongMethod) }
}

fn preflight<D: Dialect>(app: &App, request: &Request) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if D::FOR_PAGES {
        response.headers_mut().extend(app.rules().origins.may_send(request.headers()));
    }
    response
}

/// A handler behind the check of where a change may come from.
struct Checked<D, H> {
    handler: H,
    dialect: PhantomData<fn() -> D>,
}

impl<D, H> Checked<D, H> {
    const fn new(handler: H) -> Self {
        Self { handler, dialect: PhantomData }
    }
}

impl<D, H: Clone> Clone for Checked<D, H> {
    fn clone(&self) -> Self {
        Self::new(self.handler.clone())
    }
}

impl<D: Dialect, H: Handler<T, App>, T: 'static> Handler<T, App> for Checked<D, H> {
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, app: App) -> Self::Future {
        let headers = request.headers();
        if has_header_credential(headers) || app.rules().origins.may_change(headers) {
            Box::pin(self.handler.call(request, app))
        } else {
            Box::pin(std::future::ready(D::refuse(&Refusal::WrongPlace)))
        }
    }
}

/// A handler that runs to its end even if its client disconnects.
#[derive(Clone)]
struct Finished<H>(H);

impl<H: Handler<T, App>, T: 'static> Handler<T, App> for Finished<H> {
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, app: App) -> Self::Future {
        Box::pin(async move { app.finish(self.0.call(request, app.clone())).await })
    }
}
