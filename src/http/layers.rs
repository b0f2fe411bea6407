//! What every request goes through and every answer carries: framing, deadline, panics, stamps, and the log line.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures_util::{FutureExt as _, poll};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, HOST,
    REFERRER_POLICY, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version};
use tower::Service as _;

use super::dialect::Owner;
use super::state::App;
use super::wire::{Failure, Peer, Refusal, is_trusted};
use crate::service::Error;
use crate::telemetry::COMMIT;

/// More headers than this are refused.
const MOST_HEADERS: usize = 64;
/// A larger head is refused, in bytes.
const LARGEST_HEAD: usize = 16 * 1024;
/// No answer takes longer than this to make: a body's ten seconds, a place in the password queue, and the store's.
const DEADLINE: Duration = Duration::from_secs(20);

const X_API_COMMIT: HeaderName = HeaderName::from_static("x-api-commit");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The layers around one listener's routes.
#[derive(Clone)]
pub struct Stack {
    router: Router,
    app: App,
}

impl Stack {
    /// Puts the layers around `router`.
    pub const fn new(router: Router, app: App) -> Self {
        Self { router, app }
    }

    /// Answers one request. Never fails, and never without its stamps.
    pub async fn answer<B>(&self, peer: IpAddr, request: http::Request<B>) -> Response
    where
        B: http_body::Body<Data = axum::body::Bytes, Error: Into<axum::BoxError>> + Send + 'static,
    {
        let mut request = request.map(Body::new);
        let owner = Owner::of(request.uri().path());
        let (id, theirs) = self.request_id(peer, request.headers());
        let readable_by = self.app.origins.may_read(request.headers());
        let (method, uri) = (request.method().clone(), request.uri().clone());
        // A check does not ask where it comes from.
        if owner != Owner::Verify {
            request.extensions_mut().insert(Peer(peer));
        }
        let (mut response, failure) = match framing(&request) {
            Err(refusal) => (owner.refuse(&refusal), None),
            Ok(()) => self.guarded(owner, request).await,
        };
        let failure = failure.or_else(|| response.extensions_mut().remove::<Failure>());
        let status = response.status().as_u16();
        // Paths may be logged: no route takes a secret in its path. Queries may hold anything.
        let path = uri.path();
        match failure {
            Some(Failure(why)) => {
                tracing::error!(request_id = ?id, their_request_id = theirs, %method, path, status, why, "failed");
            }
            None => tracing::debug!(request_id = ?id, their_request_id = theirs, %method, path, status, "answered"),
        }
        self.stamp(response.headers_mut(), id, readable_by);
        if status == StatusCode::UNAUTHORIZED.as_u16() {
            const SESSION: HeaderValue = HeaderValue::from_static("Session realm=\"sessiond\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, SESSION);
        }
        response
    }

    async fn guarded(&self, owner: Owner, request: Request) -> (Response, Option<Failure>) {
        let mut router = self.router.clone();
        let mut answer = pin!(AssertUnwindSafe(router.call(request)).catch_unwind());
        // Nearly every check is answered at the first poll, and then needs no timer.
        let answered = match poll!(answer.as_mut()) {
            Poll::Ready(answered) => Ok(answered),
            Poll::Pending => tokio::time::timeout(DEADLINE, answer).await,
        };
        match answered {
            Ok(Ok(Ok(response))) => (response, None),
            Ok(Err(panic)) => {
                let words = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                let refusal = Refusal::Service(Error::Bug(String::new()));
                (owner.refuse(&refusal), Some(Failure(format!("panic: {words}"))))
            }
            Err(_) => (owner.refuse(&Refusal::Deadline), Some(Failure(format!("no answer within {DEADLINE:?}")))),
        }
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
        headers.insert(X_API_COMMIT, HeaderValue::from_static(COMMIT));
        headers.insert(X_REQUEST_ID, id);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        if self.app.origins.any_may_read() {
            headers.append(VARY, HeaderValue::from_static("Origin"));
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

/// What HTTP forbids and hyper lets through: RFC 9112 section 3.2 on `Host`, RFC 6585 section 5 on large heads.
fn framing(request: &Request) -> Result<(), Refusal> {
    let headers = request.headers();
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let target = |uri: &Uri| uri.path().len() + uri.query().map_or(0, str::len);
    if headers.len() > MOST_HEADERS || size + target(request.uri()) > LARGEST_HEAD {
        return Err(Refusal::HeadTooLarge);
    }
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), None) => Ok(()),
        (None, _) if request.version() < Version::HTTP_11 => Ok(()),
        (None, _) => Err(Refusal::BadRequest("the Host header is missing")),
        (Some(_), Some(_)) => Err(Refusal::BadRequest("there is more than one Host header")),
    }
}

/// Sixteen hexadecimal digits, different for every request of a process and, in all likelihood, of any.
fn fresh_id() -> HeaderValue {
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
