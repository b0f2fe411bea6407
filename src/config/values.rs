//! What settings can be that are no numbers, texts, addresses or origins: spans of time, and one of a few words.

use std::str::FromStr;
use std::time::Duration;

use super::error::{BadConfig, bad, quoted};

/// A length of time, written as `90s`, `15m`, `2h` or `14d`.
#[derive(Clone, Copy, Debug)]
pub struct Span(pub(super) Duration);

impl FromStr for Span {
    type Err = BadConfig;

    fn from_str(text: &str) -> Result<Self, BadConfig> {
        match humantime::parse_duration(text) {
            Ok(span) if span >= Duration::from_secs(1) => Ok(Self(span)),
            _ => bad(format!("{} is not a length of time: write one such as 90s, 15m, 2h or 14d", quoted(text))),
        }
    }
}

/// A length of time that may be none, written as `0s`, `500ms`, `2s` or `1m`.
#[derive(Clone, Copy, Debug)]
pub struct Delay(pub(super) Duration);

impl FromStr for Delay {
    type Err = BadConfig;

    fn from_str(text: &str) -> Result<Self, BadConfig> {
        match humantime::parse_duration(text) {
            Ok(delay) => Ok(Self(delay)),
            Err(_) => bad(format!("{} is not a length of time: write one such as 0s, 500ms, 2s or 1m", quoted(text))),
        }
    }
}

/// Whether checks are answered from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheMode {
    /// From memory.
    On,
    /// From the store, each one.
    Off,
}

/// A way to present a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// The session cookie.
    Cookie,
    /// `X-User-Id` and `X-Auth-Token`.
    Headers,
    /// `Authorization: Bearer`.
    Bearer,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

/// Which requests from other sites carry the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Only navigations.
    Lax,
    /// No requests from other sites.
    Strict,
    /// All; needs `Secure`.
    None,
}
