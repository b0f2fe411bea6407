//! The check: services and proxies ask who is calling, and get a status and identity headers, never a body.
//!
//! All checks share one decision. A proxy family gets a file of its own for what differs.

use std::any::Any;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::response::Response;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either};
use http::{HeaderMap, HeaderValue, Method};
use tokio::time::timeout;
use tower::Service;
use tracing::{Instrument as _, Level, Span};

use self::identity::allowed;
use super::layers::{BadHead, allow_reading};
use super::refusal::{Dialect as _, Failure, Refusal, words_of_panic};
use super::request::client_address::{FromPeer, is_trusted};
use super::request::credential::{Credential, read_ours};
use super::request::id::{self, ClientsId, new_id};
use super::request::state::App;
use super::stamps::stamp_all;
use super::trace;
use crate::domain::principal::Principal;
use crate::service::verify::Check;
use crate::service::{Error, Result};
use crate::telemetry::RouteAnswers;

mod identity;
mod status_only;

pub use self::status_only::StatusOnly;

/// The path of the check for any service, without proxy headers or redirects. It takes any method.
pub const PATH: &str = "/verify";

/// Answers [`PATH`]: 200 with who is calling, or 401; 503 when that cannot be known. Hands everything else on to the service
/// behind it.
///
/// A request's head is parsed once and its token hashed once. What memory decides is answered without a router, a box or
/// a task; where the store must be asked, the check goes on from what is known by then (ADR 8 and 14).
pub struct Verify<S>(Arc<Shared<S>>);

struct Shared<S> {
    checks: Checks,
    rest: S,
}

impl<S> Verify<S> {
    /// Makes the service that hands what is not a check to `rest`.
    pub fn before(rest: S, app: App) -> Self {
        let answers = app.metrics.answers_of(PATH);
        Self(Arc::new(Shared { checks: Checks { app, answers }, rest }))
    }
}

impl<S> Clone for Verify<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

type Answered = std::result::Result<Response, Infallible>;

impl<S, B> Service<FromPeer<B>> for Verify<S>
where
    S: Service<FromPeer<B>, Response = Response, Error = Infallible> + Clone,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Answered>, Either<BoxFuture<'static, Answered>, S::Future>>;

    /// It is always ready, as is the service behind it.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, from: FromPeer<B>) -> Self::Future {
        let Shared { checks, rest } = &*self.0;
        let request = &from.request;
        if request.uri().path() != PATH || request.extensions().get::<BadHead>().is_some() {
            return Either::Right(Either::Right(rest.clone().call(from)));
        }
        let context = checks.context(&from);
        match catch_unwind(AssertUnwindSafe(|| checks.check(request.headers()))) {
            Ok(Check::Decided(decision)) => Either::Left(ready(Ok(checks.answer(decision, context)))),
            Ok(Check::Undecided(undecided)) => {
                let (checks, span) = (checks.clone(), context.span());
                let answer = async move {
                    let looked_up = AssertUnwindSafe(checks.app.service.look_up(undecided)).catch_unwind();
                    let decision = match timeout(checks.app.timeouts.answer, looked_up).await {
                        Ok(Ok(decision)) => decision,
                        Ok(Err(panic)) => Err(bug(panic)),
                        Err(elapsed) => Err(Error::StoreTooSlow(elapsed.to_string().into())),
                    };
                    Ok(checks.answer(decision, context))
                };
                Either::Right(Either::Left(Box::pin(answer.instrument(span))))
            }
            Err(panic) => Either::Left(ready(Ok(checks.answer(Err(bug(panic)), context)))),
        }
    }
}

/// A panic as the outcome of a check.
fn bug(panic: Box<dyn Any + Send>) -> Error {
    Error::Bug(words_of_panic(panic).into())
}

/// What every check needs, and the steps of one.
#[derive(Clone)]
struct Checks {
    app: App,
    answers: RouteAnswers,
}

/// What the answer to a request needs to know of it.
struct CheckContext {
    id: HeaderValue,
    set_aside: Option<HeaderValue>,
    reader: Option<HeaderValue>,
    method: Method,
}

impl CheckContext {
    fn span(&self) -> Span {
        trace::span(Some(&self.id), self.set_aside.as_ref(), &self.method, PATH)
    }
}

impl Checks {
    fn context<B>(&self, FromPeer { peer, request }: &FromPeer<B>) -> CheckContext {
        let headers = request.headers();
        let (id, set_aside) = match id::judge(headers, || is_trusted(*peer, &self.app)) {
            ClientsId::Kept(id) => (id.clone(), None),
            ClientsId::SetAside(id) => (new_id(), Some(id.clone())),
            ClientsId::Unfit => (new_id(), None),
        };
        CheckContext { id, set_aside, reader: self.app.origins.may_read(headers), method: request.method().clone() }
    }

    fn check(&self, headers: &HeaderMap) -> Check {
        let service = &self.app.service;
        let issued = |token: &_| service.issued(token);
        match read_ours(headers, self.app.cookie.name(), &self.app.verify_credentials, issued) {
            Credential::Presented(presented, _) => service.check(&presented),
            Credential::Several(presented) => service.check_several(&presented),
            Credential::None | Credential::Invalid(_) => Check::Decided(Err(Error::NoSession)),
        }
    }

    /// Makes the answer, counts it, logs it and stamps it.
    fn answer(&self, decision: Result<Principal>, context: CheckContext) -> Response {
        let (mut response, failure) = match decision {
            Ok(principal) => (allowed(&principal), None),
            Err(error) => {
                let failure = Failure::from_error(&error);
                (StatusOnly::refuse(&Refusal::Service(error)), failure)
            }
        };
        let status = response.status();
        self.answers.count(status.as_u16());
        if failure.is_some() || tracing::enabled!(Level::DEBUG) {
            // A span costs more than a check, so it is only made where a line is written.
            let span = if Span::current().is_none() { context.span() } else { Span::current() };
            span.in_scope(|| trace::answered(status, failure.as_ref(), &self.app.metrics));
        }
        stamp_all(&mut response, context.id, &self.app);
        if let Some(origin) = context.reader {
            allow_reading(response.headers_mut(), origin);
        }
        response
    }
}
