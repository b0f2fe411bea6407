//! Where spans are handed over, and how many of the checks have one.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

use super::error::{BadConfig, bad, quoted};

/// The path of spans in OTLP over HTTP.
const PATH: &str = "/v1/traces";

/// The URL of a collector that takes spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpEndpoint(Url);

impl OtlpEndpoint {
    /// Whether it is reached over TLS.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Its host, an IPv6 address without brackets.
    pub fn host(&self) -> String {
        match self.0.host() {
            Some(Host::Ipv6(ip)) => ip.to_string(),
            Some(host @ (Host::Ipv4(_) | Host::Domain(_))) => host.to_string(),
            None => String::new(),
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
    }

    /// Host and port as the header `Host` has them.
    pub fn authority(&self) -> &str {
        self.0.authority()
    }

    /// The path.
    pub fn path(&self) -> &str {
        self.0.path()
    }
}

impl FromStr for OtlpEndpoint {
    type Err = BadConfig;

    /// The path of spans is added, unless it is there already.
    fn from_str(text: &str) -> Result<Self, BadConfig> {
        let wrong =
            || format!("{} is not the URL of a collector: write one such as http://127.0.0.1:4318", quoted(text));
        let Ok(mut url) = Url::parse(text) else { return bad(wrong()) };
        if !url.username().is_empty() || url.password().is_some() || text.contains('@') {
            return bad("the URL of a collector holds no user and no password: write http://127.0.0.1:4318");
        }
        let bare = url.query().is_none() && url.fragment().is_none() && url.has_host();
        if !matches!(url.scheme(), "http" | "https") || !bare {
            return bad(wrong());
        }
        if !url.path().ends_with(PATH) {
            let path = format!("{}{PATH}", url.path().trim_end_matches('/'));
            url.set_path(&path);
        }
        Ok(Self(url))
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// A share from none, `0`, to all, `1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(f64);

impl Share {
    /// The share as a number from 0 to 1.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Share {
    type Err = BadConfig;

    fn from_str(text: &str) -> Result<Self, BadConfig> {
        match text.parse() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self(share)),
            _ => bad(format!("{} is no share: write a number from 0 to 1, such as 0.01", quoted(text))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_named_as_in_the_documentation_of_any() {
        for (text, url, host, port) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces", "127.0.0.1", 4318),
            ("http://[::1]:4318/", "http://[::1]:4318/v1/traces", "::1", 4318),
            ("https://otel.example", "https://otel.example/v1/traces", "otel.example", 443),
            ("https://otel.example/otlp/", "https://otel.example/otlp/v1/traces", "otel.example", 443),
            ("http://collector:4318/v1/traces", "http://collector:4318/v1/traces", "collector", 4318),
        ] {
            let endpoint: OtlpEndpoint = text.parse().expect(text);
            assert_eq!((&*endpoint.to_string(), &*endpoint.host(), endpoint.port()), (url, host, port), "{text}");
        }
        for text in ["127.0.0.1:4318", "grpc://x:4317", "http://x?key=s3cret", "http://x#y", "http://me:s3cret@x", ""] {
            assert!(text.parse::<OtlpEndpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_is_a_number_from_none_to_all() {
        for (text, share) in [("0", 0.0), ("1", 1.0), ("0.01", 0.01), ("1e-3", 0.001)] {
            assert!((text.parse::<Share>().expect(text).get() - share).abs() < f64::EPSILON, "{text}");
        }
        for text in ["", "-0.1", "1.1", "NaN", "inf", "1%", "half"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }
}
