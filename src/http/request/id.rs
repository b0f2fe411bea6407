//! The id of a request: the one that a trusted proxy sent, if its form is valid, else a new one.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tower_http::request_id::{MakeRequestId, RequestId};

/// The header that it is sent in.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Makes ids for requests that have none.
#[derive(Clone, Copy, Debug)]
pub struct NewId;

impl MakeRequestId for NewId {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        Some(RequestId::new(new_id()))
    }
}

/// An id of a valid form from a client that is not trusted. It is logged beside the id of the request.
#[derive(Clone, Debug)]
pub struct SetAside(pub HeaderValue);

/// What is done with the id that a client sent.
#[derive(Clone, Copy, Debug)]
pub enum ClientsId<'h> {
    /// It becomes the id of the request.
    Kept(&'h HeaderValue),
    /// Its form is valid, but the client is not trusted.
    SetAside(&'h HeaderValue),
    /// It is missing, too long, or not visible ASCII.
    Unfit,
}

/// Decides about the id that a client sent.
pub fn judge(headers: &HeaderMap, is_trusted: impl FnOnce() -> bool) -> ClientsId<'_> {
    let is_fit =
        |value: &&HeaderValue| (1..=128).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic);
    match headers.get(X_REQUEST_ID).filter(is_fit) {
        None => ClientsId::Unfit,
        Some(id) if is_trusted() => ClientsId::Kept(id),
        Some(id) => ClientsId::SetAside(id),
    }
}

/// Sixteen hexadecimal digits, different for every request of a process and, in all likelihood, of any.
pub fn new_id() -> HeaderValue {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static START: LazyLock<u64> = LazyLock::new(|| {
        use std::hash::{BuildHasher as _, RandomState};
        RandomState::new().hash_one(std::process::id())
    });
    // A permutation of the counter (splitmix64), so that ids do not reveal how many requests there were.
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
        let ids: std::collections::HashSet<_> = (0..10_000).map(|_| new_id().as_bytes().to_vec()).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|id| id.len() == 16));
    }
}
