//! What settings can be that are no numbers, texts, addresses or origins: spans of time, and one of a few words.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use super::error::{BadConfig, bad, quoted};

/// A length of time, written as `90s`, `15m`, `2h` or `14d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// A length of time in words that [`Span`] and [`Delay`] read, with nothing longer than a day: a month or a year would be an
/// average one, and 90 days a sum of such.
pub(super) fn format_span(length: Duration) -> String {
    let (seconds, nanoseconds) = (length.as_secs(), length.subsec_nanos());
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        ((nanoseconds / 1_000_000).into(), "ms"),
        ((nanoseconds / 1_000 % 1_000).into(), "us"),
        ((nanoseconds % 1_000).into(), "ns"),
    ];
    let mut words = String::new();
    for (number, unit) in parts.into_iter().filter(|(number, _)| *number > 0) {
        let blank = if words.is_empty() { "" } else { " " };
        let _ = write!(words, "{blank}{number}{unit}");
    }
    if words.is_empty() { "0s".into() } else { words }
}

/// Which proxies stand before this service, as far as that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TrustedProxies {
    /// Nothing was said: the address of a connection may be a client's or a proxy's.
    #[default]
    Unset,
    /// There are none: the address of a connection is the client's.
    None,
    /// These: what they forward is believed.
    Listed(Vec<IpNet>),
}

impl TrustedProxies {
    /// Their networks.
    pub fn networks(&self) -> &[IpNet] {
        match self {
            Self::Unset | Self::None => &[],
            Self::Listed(networks) => networks,
        }
    }

    /// Whether an address is one of theirs.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks().iter().any(|network| network.contains(&address))
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

/// The least grave lines that are logged. A later one has more of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What failed and should not have.
    Error,
    /// What an operator should look at.
    Warn,
    /// What happens to the server as a whole.
    Info,
    /// What happens in each request.
    Debug,
    /// Whatever there is.
    Trace,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_written_as_people_write_it_and_read_as_the_same() {
        for (length, words) in [
            ("0s", "0s"),
            ("500ms", "500ms"),
            ("90s", "1m 30s"),
            ("15m", "15m"),
            ("2h", "2h"),
            ("24h", "1d"),
            ("36h", "1d 12h"),
            ("90d", "90d"),
            ("400days", "400d"),
            ("1year", "365d 6h"),
            ("1h 1ns", "1h 1ns"),
            ("3s 4ms 5us 6ns", "3s 4ms 5us 6ns"),
        ] {
            let Delay(read) = length.parse().expect(length);
            assert_eq!(format_span(read), words);
            let Delay(again) = words.parse().expect(words);
            assert_eq!(again, read, "{words}");
        }
    }
}
