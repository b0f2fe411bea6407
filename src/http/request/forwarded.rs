//! What proxies say of the scheme, which counts only if it was said once.

use http::{HeaderMap, HeaderName};

use super::single::only;

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// How a client reached the outermost proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// Reads a scheme, of a WebSocket too.
    pub fn parse(text: &[u8]) -> Option<Self> {
        match text.to_ascii_lowercase().as_slice() {
            b"http" | b"ws" => Some(Self::Http),
            b"https" | b"wss" => Some(Self::Https),
            _ => None,
        }
    }

    /// The scheme as a URL has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The scheme that `X-Forwarded-Proto` names.
pub fn scheme(headers: &HeaderMap) -> Option<Scheme> {
    only(headers, &X_FORWARDED_PROTO).and_then(Scheme::parse)
}
