//! Origins and hosts, as settings name them.

use std::str::FromStr;

use url::Url;

use super::error::{BadConfig, bad, quoted};
use crate::domain::host::Host;

/// A scheme, host and port: where a page was loaded from (RFC 6454).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// The origin as browsers write it in the `Origin` header.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = BadConfig;

    fn from_str(text: &str) -> Result<Self, BadConfig> {
        if text == "*" {
            return bad(
                "`*` cannot be an origin, since credentials travel: list each one, such as https://app.example.com",
            );
        }
        if text.contains('@') {
            return bad(
                "an origin holds no user and no password: write scheme, host and port alone, such as https://app.example.com",
            );
        }
        let wrong = || {
            format!(
                "{} is not an origin: write scheme, host and port alone, such as https://app.example.com",
                quoted(text)
            )
        };
        let Ok(url) = Url::parse(text) else { return bad(wrong()) };
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || !bare {
            return bad(wrong());
        }
        Ok(Self(url.origin().ascii_serialization()))
    }
}

/// The name of a host, without scheme and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

impl HostName {
    /// The name in lower case, without a dot at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = BadConfig;

    fn from_str(text: &str) -> Result<Self, BadConfig> {
        match Host::parse(text.as_bytes()) {
            Some(host) if host.port().is_none() => Ok(Self(text.trim_end_matches('.').to_ascii_lowercase())),
            Some(_) | None => bad(format!(
                "{} is not a host's name: write one without scheme and port, such as sessiond.internal",
                quoted(text)
            )),
        }
    }
}
