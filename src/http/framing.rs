//! What is refused of a request's head before any route is looked for: what HTTP forbids and hyper lets through, and
//! what is larger than it may be.
//!
//! Every request passes through here, including the checks that need no route, so nothing is allocated and no URL is
//! parsed.

use http::header::{HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};

use super::refusal::Refusal;
use crate::config::{self, HostName};
use crate::domain::host::Host;

/// Which of the two listeners a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// The one for clients and proxies.
    Public,
    /// The one for liveness, readiness and metrics.
    Operations,
}

/// The rules that the head of every request is checked against.
#[derive(Clone, Debug)]
pub struct HeadRules {
    /// The size, in bytes, above which a head is refused.
    max: usize,
    /// The names by which the operations listener may be called.
    ops_hosts: Vec<HostName>,
}

impl HeadRules {
    /// Makes the rules that the configuration asks for.
    pub fn new(http: &config::Http) -> Self {
        Self { max: http.max_head, ops_hosts: http.ops_hosts.clone() }
    }

    /// Whether a request may go on to its route.
    ///
    /// # Errors
    /// [`Refusal::HeadTooLarge`], [`Refusal::BadRequest`], [`Refusal::TransferCoding`], and, for CONNECT,
    /// [`Refusal::WrongMethod`].
    pub fn check<B>(&self, request: &Request<B>, listener: Listener) -> Result<(), Refusal> {
        let (headers, connect) = (request.headers(), request.method() == Method::CONNECT);
        // RFC 6585 section 5.
        if size(headers, request.uri()) > self.max {
            return Err(Refusal::HeadTooLarge);
        }
        let named = host(headers, request.version())?;
        let asked = if connect { named } else { target(request.uri())?.or(named) };
        // Otherwise a page under a name that now resolves to this address (DNS rebinding) could read the metrics.
        if listener == Listener::Operations && !asked.is_none_or(|host| self.is_for_operations(&host)) {
            return Err(Refusal::BadRequest("the Host header names no address, not localhost and none of ops_hosts"));
        }
        transfer_coding(headers)?;
        // A success would turn the connection into a tunnel (RFC 9110 section 9.3.6), on routes for any method too.
        if connect { Err(Refusal::WrongMethod) } else { Ok(()) }
    }

    fn is_for_operations(&self, host: &Host<'_>) -> bool {
        let named = || self.ops_hosts.iter().any(|name| host.is_called(name.as_str()));
        host.address().is_some() || host.is_called("localhost") || named()
    }
}

/// Puts the host of an absolute target in the place of `Host` (RFC 9112 section 3.2.2), so that there is only one host
/// to check.
pub fn unify_host<B>(request: &mut Request<B>) {
    if let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(HOST, host);
    }
}

fn size(headers: &HeaderMap, uri: &Uri) -> usize {
    let length = |part: Option<&str>| part.map_or(0, str::len);
    // An absolute target counts whole, since its authority may be as long as the rest.
    let target = length(uri.scheme_str())
        + length(uri.authority().map(Authority::as_str))
        + uri.path().len()
        + length(uri.query());
    headers.iter().fold(target, |size, (name, value)| size + name.as_str().len() + value.len() + 4)
}

/// The host in `Host`, of which there is one (RFC 9112 section 3.2); a client of HTTP/1.0 may leave it out.
fn host(headers: &HeaderMap, version: Version) -> Result<Option<Host<'_>>, Refusal> {
    let mut lines = headers.get_all(HOST).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => match Host::parse(line.as_bytes()) {
            Some(host) => Ok(Some(host)),
            None => Err(Refusal::BadRequest("the Host header names no host")),
        },
        (None, _) if version < Version::HTTP_11 => Ok(None),
        (None, _) => Err(Refusal::BadRequest("the Host header is missing")),
        (Some(_), Some(_)) => Err(Refusal::BadRequest("there is more than one Host header")),
    }
}

/// The host in an absolute target. Only CONNECT has a target that is just a host (RFC 9112 section 3.2.3).
fn target(uri: &Uri) -> Result<Option<Host<'_>>, Refusal> {
    match (uri.scheme(), uri.authority()) {
        (None, None) => Ok(None),
        (Some(_), Some(authority)) => match Host::parse(authority.as_str().as_bytes()) {
            Some(host) => Ok(Some(host)),
            None => Err(Refusal::BadRequest("the request's target names no host")),
        },
        (Some(_), None) | (None, Some(_)) => Err(Refusal::BadRequest("the request's target is not a path")),
    }
}

/// Only `chunked` is known here (RFC 9112 section 6.1), and it is applied once (section 7.1). Hyper makes sure that it
/// is the last coding, and ignores all others.
fn transfer_coding(headers: &HeaderMap) -> Result<(), Refusal> {
    if !headers.contains_key(TRANSFER_ENCODING) {
        return Ok(());
    }
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let codings = || {
        let lines = headers.get_all(TRANSFER_ENCODING).iter();
        lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
    };
    if codings().any(|coding| !coding.is_empty() && !is_chunked(coding)) {
        return Err(Refusal::TransferCoding);
    }
    if codings().count() > 1 { Err(Refusal::BadRequest("the body is chunked more than once")) } else { Ok(()) }
}
