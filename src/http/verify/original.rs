//! The request that a proxy asks about, as the proxy tells it in headers. It is believed of trusted proxies alone.

use http::{HeaderMap, HeaderName, Method};
use url::Url;

use crate::domain::host::Host;
use crate::http::request::forwarded::{Scheme, scheme};
use crate::http::request::single::only;

/// The request's method and address. Either is missing where the proxy does not tell it, or not in a way that can be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Original {
    /// Its method.
    pub method: Option<Method>,
    /// Its address.
    pub address: Option<Address>,
}

/// Where a request went, byte for byte as the client wrote it.
#[derive(Debug, PartialEq, Eq)]
pub struct Address {
    /// Scheme, host and port.
    pub origin: String,
    /// The path, and the query where there is one.
    pub target: Vec<u8>,
}

impl Address {
    /// An address of these parts, if they are some.
    pub fn new(scheme: Scheme, host: &[u8], target: &[u8]) -> Option<Self> {
        Host::parse(host)?;
        let origin = format!("{}://{}", scheme.as_str(), std::str::from_utf8(host).ok()?);
        // Addresses such as 1.2.3.400 have the form of a host and are none.
        Url::parse(&origin).ok()?;
        target.starts_with(b"/").then(|| Self { origin, target: target.to_vec() })
    }

    /// Reads an absolute URL.
    pub fn parse(url: &[u8]) -> Option<Self> {
        let colon = url.windows(3).position(|window| window == b"://")?;
        let (scheme, rest) = url.split_at_checked(colon)?;
        let rest = rest.get(3..)?;
        let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        let (host, target) = rest.split_at_checked(end)?;
        Self::new(Scheme::parse(scheme)?, host, if target.is_empty() { b"/" } else { target })
    }

    /// The path alone.
    pub fn path(&self) -> &[u8] {
        self.target.split(|byte| *byte == b'?').next().unwrap_or_default()
    }
}

/// Reads `X-Forwarded-Method`, `-Proto`, `-Host` and `-Uri`, as Traefik and Caddy send them.
pub fn forwarded(headers: &HeaderMap) -> Original {
    const METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
    const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
    const URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
    let address = || Address::new(scheme(headers)?, only(headers, &HOST)?, only(headers, &URI)?);
    Original { method: only(headers, &METHOD).and_then(method), address: address() }
}

/// Reads a method.
pub fn method(text: &[u8]) -> Option<Method> {
    Method::from_bytes(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_was_written() {
        for (url, wanted) in [
            ("http://app.example", Some(("http://app.example", "/"))),
            ("http://app.example:8000/app/x?a=1&b=%26", Some(("http://app.example:8000", "/app/x?a=1&b=%26"))),
            ("HTTPS://APP.example/a//b", Some(("https://APP.example", "/a//b"))),
            ("wss://app.example/socket", Some(("https://app.example", "/socket"))),
            ("https://[::1]:8000/", Some(("https://[::1]:8000", "/"))),
            ("https:///x", None),
            ("://app.example/", None),
            ("ftp://app.example/", None),
            ("https://user@app.example/", None),
            ("https://app.example?x", None),
            ("https://app.example:99999/", None),
            ("https://1.2.3.400/", None),
            ("/x", None),
            ("", None),
        ] {
            let wanted = wanted.map(|(origin, target)| Address { origin: origin.into(), target: target.into() });
            assert_eq!(Address::parse(url.as_bytes()), wanted, "{url}");
        }
        assert_eq!(Address::new(Scheme::Http, b"a", b"x"), None, "a target begins with a slash");
        assert_eq!(Address::new(Scheme::Http, b"a", b"/x?y?z").expect("one").path(), b"/x");
    }
}
