//! What every request goes through and every answer carries: `framing`, deadline, panics, stamps, and the log line.

use std::borrow::Cow;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures_util::FutureExt as _;
use futures_util::future::Either;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW, CACHE_CONTROL,
    CONNECTION, REFERRER_POLICY, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tower::Service as _;

use super::dialect::Owner;
use super::framing::{self, Listener};
use super::refusal::{Failure, Refusal};
use super::request::client_address::{Peer, is_trusted};
use super::state::App;
use super::verify;
use crate::service::Error;
use crate::telemetry::COMMIT;

/// No answer takes longer than this to make: a body's ten seconds, a place in the password queue, and the store's.
const DEADLINE: Duration = Duration::from_secs(20);

const X_API_COMMIT: HeaderName = HeaderName::from_static("x-api-commit");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The layers around one listener's routes.
#[derive(Clone)]
pub struct Stack {
    router: Router,
    listener: Listener,
    app: App,
}

/// An answer, and what went wrong inside, if anything.
type Answered = (Response, Option<Failure>);

/// What is kept of a request for its answer.
struct About {
    id: HeaderValue,
    theirs: Option<String>,
    readable_by: Option<HeaderValue>,
    method: Method,
    path: Cow<'static, str>,
}

impl Stack {
    /// Puts the layers around the `router` of a listener. The public one has [`verify::NEUTRAL`] among its routes.
    pub const fn new(router: Router, listener: Listener, app: App) -> Self {
        Self { router, listener, app }
    }

    /// Answers one request. Never fails, and never without its stamps.
    ///
    /// A check that needs no store is answered on the spot, without a router and the futures around it (ADR 8).
    pub fn answer<B>(&self, peer: IpAddr, request: http::Request<B>) -> impl Future<Output = Response> + Send + use<B>
    where
        B: http_body::Body<Data = axum::body::Bytes, Error: Into<axum::BoxError>> + Send + 'static,
    {
        let framed = self.app.heads.check(&request, self.listener);
        let here = self.listener == Listener::Public && request.uri().path() == verify::NEUTRAL;
        let checked = if here && framed.is_ok() {
            let answer = || verify::at_once(request.headers(), &self.app);
            std::panic::catch_unwind(AssertUnwindSafe(answer)).ok().flatten()
        } else {
            None
        };
        match checked {
            Some(response) => {
                let about = self.about(peer, &request, Cow::Borrowed(verify::NEUTRAL));
                Either::Left(std::future::ready(self.finish((response, None), about)))
            }
            None => Either::Right(Box::pin(self.clone().routed(peer, request, framed))),
        }
    }

    async fn routed<B>(self, peer: IpAddr, request: http::Request<B>, framed: Result<(), Refusal>) -> Response
    where
        B: http_body::Body<Data = axum::body::Bytes, Error: Into<axum::BoxError>> + Send + 'static,
    {
        // Paths may be logged: no route takes a secret in its path. Queries may hold anything.
        let about = self.about(peer, &request, Cow::Owned(request.uri().path().to_owned()));
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        let owner = Owner::of(request.uri().path());
        let answered = match framed {
            Err(refusal) => (refuse_head(owner, &refusal), None),
            Ok(()) => {
                framing::unify_host(&mut request);
                self.guarded(owner, request).await
            }
        };
        self.finish(answered, about)
    }

    async fn guarded(&self, owner: Owner, request: Request) -> Answered {
        let mut router = self.router.clone();
        let answer = AssertUnwindSafe(router.call(request)).catch_unwind();
        match tokio::time::timeout(DEADLINE, answer).await {
            Ok(Ok(Ok(response))) => (response, None),
            Ok(Err(panic)) => {
                let words = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                let refusal = Refusal::Service(Error::Bug(String::new()));
                (owner.refuse(&refusal), Some(Failure::Bug(format!("panic: {words}"))))
            }
            Err(_) => (owner.refuse(&Refusal::Deadline), Some(Failure::Bug(format!("no answer within {DEADLINE:?}")))),
        }
    }

    fn about<B>(&self, peer: IpAddr, request: &http::Request<B>, path: Cow<'static, str>) -> About {
        let (id, theirs) = self.request_id(peer, request.headers());
        let readable_by = self.app.origins.may_read(request.headers());
        About { id, theirs, readable_by, method: request.method().clone(), path }
    }

    /// Writes the one line about a request, and stamps its answer. That the store fails is not told once a request.
    fn finish(&self, (mut response, failure): Answered, about: About) -> Response {
        let About { id, theirs, readable_by, method, path } = about;
        let failure = failure.or_else(|| response.extensions_mut().remove::<Failure>());
        let status = response.status().as_u16();
        match failure {
            Some(Failure::Store(cause, why)) => {
                tracing::debug!(request_id = ?id, their_request_id = theirs, %method, %path, status, why, "failed");
                self.app.metrics.store.failed(cause, &why);
            }
            Some(Failure::Bug(why)) => {
                tracing::error!(request_id = ?id, their_request_id = theirs, %method, %path, status, why, "failed");
            }
            None => tracing::debug!(request_id = ?id, their_request_id = theirs, %method, %path, status, "answered"),
        }
        self.stamp(response.headers_mut(), id, readable_by);
        if status == StatusCode::UNAUTHORIZED.as_u16() {
            const SESSION: HeaderValue = HeaderValue::from_static("Session realm=\"sessiond\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, SESSION);
        }
        response
    }

    /// The id of a request, and the client's own when it is not taken over.
    fn request_id(&self, peer: IpAddr, headers: &HeaderMap) -> (HeaderValue, Option<String>) {
        let fit = |value: &&HeaderValue| {
            (1..=128).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
        };
        match headers.get(X_REQUEST_ID).filter(fit) {
            None => (fresh_id(), None),
            Some(theirs) if is_trusted(peer, &self.app) => (theirs.clone(), None),
            Some(theirs) => (fresh_id(), theirs.to_str().ok().map(str::to_owned)),
        }
    }

    fn stamp(&self, headers: &mut HeaderMap, id: HeaderValue, readable_by: Option<HeaderValue>) {
        stamp_always(headers, id);
        if self.app.origins.any_may_read() {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        if self.app.draining() {
            // Reused, it would be closed while somebody sends a request that must not be sent twice.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(origin) = readable_by {
            const EXPOSED: HeaderValue =
                HeaderValue::from_static("X-Api-Commit, X-Request-Id, Retry-After, RateLimit, RateLimit-Policy");
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}

/// What every answer carries, whatever it is to and however early.
pub(super) fn stamp_always(headers: &mut HeaderMap, id: HeaderValue) {
    headers.insert(X_API_COMMIT, HeaderValue::from_static(COMMIT));
    headers.insert(X_REQUEST_ID, id);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

/// A refusal before any route. The connection ends with it: what follows such a head may not be what it seems.
pub(super) fn refuse_head(owner: Owner, refusal: &Refusal) -> Response {
    // CONNECT, which no route takes.
    const ALLOWED: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, DELETE, OPTIONS");
    let mut response = owner.refuse(refusal);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, ALLOWED);
    }
    response
}

/// Sixteen hexadecimal digits, different for every request of a process and, in all likelihood, of any.
pub(super) fn fresh_id() -> HeaderValue {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static START: std::sync::LazyLock<u64> = std::sync::LazyLock::new(|| {
        use std::hash::{BuildHasher as _, RandomState};
        RandomState::new().hash_one(std::process::id())
    });
    // A permutation of the counter (splitmix64), so that ids do not tell how many requests there were.
    let mut id = START.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    id = (id ^ (id >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    id = (id ^ (id >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    id ^= id >> 31;
    let mut text = [0; 16];
    for (at, digit) in text.iter_mut().enumerate() {
        let nibble = (id >> (60 - 4 * at)) & 15;
        *digit = b"0123456789abcdef".get(usize::try_from(nibble).unwrap_or_default()).copied().unwrap_or(b'0');
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_do_not_repeat() {
        let ids: std::collections::HashSet<_> = (0..10_000).map(|_| fresh_id().as_bytes().to_vec()).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|id| id.len() == 16));
    }
}
