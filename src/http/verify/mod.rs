//! The check: services and proxies ask who is calling, and get a status and identity headers, never a body.
//!
//! All checks share one decision, which is made here. A `family` is what differs between proxies, each of which has a
//! file of its own: where it says which request it asks about (`original`), and how a `denial` reaches it; `families` has
//! all of them. `identity` is the answer to what is allowed, and `status_only` has the words for everything else.

use std::any::Any;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::response::Response;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use tokio::time::{Instant, timeout};
use tower::Service;
use tracing::{Instrument as _, Level, Span};

use self::family::{Denial, Family};
use self::identity::allowed;
use self::original::Original;
use super::layers::{BadHead, allow_reading};
use super::refusal::{Dialect as _, Failure, Refusal, words_of_panic};
use super::request::client_address::{FromPeer, is_trusted};
use super::request::credential::{Credential, read_ours};
use super::request::id::{self, ClientsId, new_id};
use super::request::state::App;
use super::request::trace_context;
use super::stamps::stamp_all;
use super::trace;
use crate::domain::principal::Principal;
use crate::service::verify::{Check, Fetched, Presented};
use crate::service::{Error, Result};
use crate::telemetry::traces::{self, Attribute, Trace};
use crate::telemetry::{CheckTimes, RouteAnswers};

mod caddy;
mod denial;
mod envoy;
mod families;
mod family;
mod haproxy;
mod identity;
mod nginx;
mod original;
mod status_only;
mod traefik;

pub use self::status_only::StatusOnly;

/// The paths of all checks. Each takes any method.
pub fn paths() -> impl Iterator<Item = String> {
    families::ALL.iter().flat_map(Family::route)
}

/// Answers checks: 200 with who is calling, or a refusal in the form that the proxy can carry; 503 when that cannot be
/// known. Hands everything else on to the service behind it.
///
/// A request's head is parsed once and its token hashed once. What memory decides is answered without a router, a box or
/// a task; where the store must be asked, the check goes on from what is known by then (ADR 8 and 14).
pub struct Verify<S>(Arc<Shared<S>>);

struct Shared<S> {
    /// For each family, in the order of [`families::ALL`].
    checks: [Checks; families::ALL.len()],
    times: CheckTimes,
    rest: S,
}

impl<S> Verify<S> {
    /// Makes the service that hands what is not a check to `rest`.
    pub fn before(rest: S, app: &App) -> Self {
        let checks = families::ALL.each_ref().map(|family| Checks::new(family, app.clone()));
        Self(Arc::new(Shared { checks, times: app.metrics.requests.check_times(), rest }))
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
        let Shared { checks, times, rest } = &*self.0;
        let is_bad = from.request.extensions().get::<BadHead>().is_some();
        let checks = match families::at(from.request.uri().path()).and_then(|at| checks.get(at)) {
            Some(checks) if !is_bad => checks,
            Some(_) | None => return Either::Right(Either::Right(rest.clone().call(from))),
        };
        let begun = times.begin();
        // The session is fetched from memory while the context is made: among a million it takes as long as that.
        let asked = catch_unwind(AssertUnwindSafe(|| checks.read(from.request.headers())));
        let mut context = checks.context(from);
        match asked.and_then(|asked| catch_unwind(AssertUnwindSafe(|| checks.check(&asked)))) {
            Ok(Check::Decided(decision)) => {
                let answer = checks.answer(decision, context);
                times.decided_by_memory(begun);
                Either::Left(ready(Ok(answer)))
            }
            Ok(Check::Undecided(undecided)) => {
                let begun = begun.unwrap_or_else(Instant::now);
                context.reads_store = true;
                // Where no proxy decides, each check that has to wait is traced.
                context.trace = context.trace.or_else(|| Trace::of_request(None).map(Box::new));
                let span = trace::recorded(checks.span(&context), context.trace.as_deref(), &context.head.method);
                let (checks, times) = (checks.clone(), times.clone());
                let answer = async move {
                    let looked_up = AssertUnwindSafe(checks.app.service.look_up(undecided)).catch_unwind();
                    let decision = match timeout(checks.app.timeouts.answer, looked_up).await {
                        Ok(Ok(decision)) => decision,
                        Ok(Err(panic)) => Err(bug(panic)),
                        Err(elapsed) => Err(Error::StoreTooSlow(elapsed.to_string().into())),
                    };
                    let answer = checks.answer(decision, context);
                    times.decided_by_store(begun);
                    Ok(answer)
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

/// What every check of a family needs, and the steps of one.
#[derive(Clone)]
struct Checks {
    family: &'static Family,
    app: App,
    answers: RouteAnswers,
}

/// What a request asks about.
enum Asked {
    About(Fetched),
    AboutSeveral(Vec<Presented>),
    AboutNone,
}

/// What the answer to a request needs to know of it.
struct CheckContext {
    id: HeaderValue,
    set_aside: Option<HeaderValue>,
    reader: Option<HeaderValue>,
    peer: IpAddr,
    head: Parts,
    trace: Option<Box<Trace>>,
    /// Whether memory could not decide.
    reads_store: bool,
}

impl Checks {
    fn new(family: &'static Family, app: App) -> Self {
        Self { family, answers: app.metrics.requests.checks_of(family.path), app }
    }

    fn context<B>(&self, FromPeer { peer, request }: FromPeer<B>) -> CheckContext {
        let (head, _) = request.into_parts();
        let headers = &head.headers;
        let (id, set_aside) = match id::judge(headers, || is_trusted(peer, &self.app)) {
            ClientsId::Kept(id) => (id.clone(), None),
            ClientsId::SetAside(id) => (new_id(), Some(id.clone())),
            ClientsId::Unfit => (new_id(), None),
        };
        let reader = self.app.rules().origins.may_read(headers);
        let trace = Trace::of_check(trace_context::parent(headers, || is_trusted(peer, &self.app))).map(Box::new);
        CheckContext { id, set_aside, reader, peer, head, trace, reads_store: false }
    }

    fn span(&self, CheckContext { id, set_aside, head, trace, .. }: &CheckContext) -> Span {
        trace::span(Some(id), set_aside.as_ref(), &head.method, self.family.path, trace.as_deref().map(Trace::id))
    }

    /// Puts the answer into the trace, and the trace into an answer that lets the request pass, so that the proxy can pass it
    /// on. No proxy does so with a refusal.
    fn trace(&self, trace: Trace, response: &mut Response, CheckContext { head, reads_store, .. }: &CheckContext) {
        let status = response.status();
        if status.is_success() {
            trace_context::pass_on(&trace, response.headers_mut());
        }
        let source = if *reads_store { "store" } else { "memory" };
        let common = [
            Attribute::Route(self.family.path.into()),
            Attribute::Dialect(StatusOnly::NAME.as_str()),
            Attribute::Source(source),
        ];
        let attributes = common.into_iter().chain(trace::outcome(status));
        if *reads_store {
            traces::note(&Span::current(), attributes);
        } else {
            trace.end(attributes.chain([Attribute::Method(trace::method_name(&head.method))]));
        }
    }

    /// Reads what a request presents, and has the session fetched that it may stand for.
    fn read(&self, headers: &HeaderMap) -> Asked {
        let service = &self.app.service;
        let issued = |token: &_| service.issued(token);
        match read_ours(headers, self.app.cookie.name(), &self.app.verify_credentials, issued) {
            Credential::Presented(presented, _) => Asked::About(service.fetch(presented)),
            Credential::Several(presented) => Asked::AboutSeveral(presented),
            Credential::None | Credential::Invalid(_) => Asked::AboutNone,
        }
    }

    fn check(&self, asked: &Asked) -> Check {
        let service = &self.app.service;
        match asked {
            Asked::About(fetched) => service.check(fetched),
            Asked::AboutSeveral(presented) => service.check_several(presented),
            Asked::AboutNone => Check::Decided(Err(Error::NoSession)),
        }
    }

    fn deny(&self, CheckContext { peer, head, .. }: &CheckContext) -> Response {
        let Parts { method, uri, headers, .. } = head;
        let original = match self.family.denial {
            Denial::Location | Denial::Answer if is_trusted(*peer, &self.app) => {
                (self.family.original)(method, uri, headers)
            }
            Denial::Bare | Denial::Location | Denial::Answer => Original::default(),
        };
        denial::refuse(self.family, &original, method, headers, &self.app)
    }

    /// Makes the answer, counts it, logs it and stamps it.
    fn answer(&self, decision: Result<Principal>, mut context: CheckContext) -> Response {
        let (mut response, failure) = match decision {
            Ok(principal) => (allowed(&principal), None),
            Err(Error::NoSession) => (self.deny(&context), None),
            Err(error) => {
                let failure = Failure::from_error(&error);
                (StatusOnly::refuse(&Refusal::Service(error)), failure)
            }
        };
        let status = response.status();
        self.answers.count(status.as_u16());
        if failure.is_some() || tracing::enabled!(Level::DEBUG) {
            // A span costs more than a check, so it is only made where a line is written.
            let span = if Span::current().is_none() { self.span(&context) } else { Span::current() };
            span.in_scope(|| trace::answered(status, failure.as_ref(), &self.app.metrics));
        }
        if let Some(trace) = context.trace.take() {
            self.trace(*trace, &mut response, &context);
        }
        stamp_all(&mut response, context.id, &self.app);
        if let Some(origin) = context.reader {
            allow_reading(response.headers_mut(), origin);
        }
        response
    }
}
