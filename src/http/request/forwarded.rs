//! What proxies say in headers of their own, each of which counts only if it came once.

use http::{HeaderMap, HeaderName};

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

/// The one value of a header, if there is exactly one. A second one was put there by somebody else.
pub fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value.as_bytes()),
        (_, _) => None,
    }
}
