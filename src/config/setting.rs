//! How each kind of setting is read, whether from a flag, a variable or a file, and the error for one that cannot be
//! read.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::accent::Accent;
use super::error::{BadConfig, quoted};
use super::origin::{HostName, Origin};
use super::otlp::{OtlpEndpoint, Share};
use super::secret::{DatabaseUrl, Hidden};
use super::values::{CacheMode, CredentialKind, Delay, LogFormat, LogLevel, SameSite, Span, TrustedProxies};

/// A setting's type. A value that cannot be read is refused with a sentence that says what to write instead.
pub(super) trait Setting: Sized {
    /// What to write instead, in words that go behind "write".
    const FORM: &'static str;
    /// Whether it is several values with commas between them.
    const LIST: bool = false;
    /// Whether a file must give it in quotes. A number or a boolean is a mistake then.
    const TEXT: bool = false;

    /// Reads it.
    fn read(text: &str) -> Result<Self, String>;
}

/// What a file gives for a setting, before it is known whether it fits.
enum Given {
    /// Text in quotes.
    Text(String),
    /// A number or a boolean.
    Bare(String),
    /// Several.
    List(Vec<Self>),
    /// A date or a table.
    Other,
}

/// Reads a setting in a file.
pub(super) fn from_toml<'de, D: Deserializer<'de>, T: Setting>(from: D) -> Result<Option<T>, D::Error> {
    let read = match Given::deserialize(from)? {
        Given::Text(text) => T::read(&text),
        Given::Bare(text) if !T::TEXT => T::read(&text),
        Given::List(items) if T::LIST => {
            let texts = items.into_iter().map(|item| match item {
                Given::Text(text) | Given::Bare(text) => Some(text),
                Given::List(_) | Given::Other => None,
            });
            match texts.collect::<Option<Vec<_>>>() {
                Some(texts) => T::read(&texts.join(",")),
                None => Err(format!("write {}", T::FORM)),
            }
        }
        // The value is not repeated, since it may be a secret.
        Given::Bare(_) | Given::List(_) | Given::Other => Err(format!("write {}", T::FORM)),
    };
    read.map(Some).map_err(D::Error::custom)
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Anything)
    }
}

/// Accepts any value of a file.
struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Given, E> {
        Ok(Given::Bare(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Given, E> {
        Ok(Given::Bare(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Given, E> {
        Ok(Given::Bare(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Given, E> {
        Ok(Given::Bare(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Given, E> {
        Ok(Given::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Given, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Given::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Given, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Given::Other)
    }
}

/// One of a few words, in whatever case.
macro_rules! words {
    ($($type:ty: $form:literal, $($word:literal => $value:expr,)*;)*) => {$(
        impl Setting for $type {
            const FORM: &'static str = $form;

            fn read(text: &str) -> Result<Self, String> {
                match &*text.trim().to_ascii_lowercase() {
                    $($word => Ok($value),)*
                    _ => Err(format!("{} is none of them: write {}", quoted(text.trim()), Self::FORM)),
                }
            }
        }
    )*};
}

words! {
    bool: "true or false", "true" => true, "false" => false,;
    SameSite: "lax, strict or none", "lax" => Self::Lax, "strict" => Self::Strict, "none" => Self::None,;
    CacheMode: "on or off", "on" => Self::On, "off" => Self::Off,;
    LogFormat: "text or json", "text" => Self::Text, "json" => Self::Json,;
    LogLevel: "error, warn, info, debug or trace",
        "error" => Self::Error, "warn" => Self::Warn, "info" => Self::Info, "debug" => Self::Debug,
        "trace" => Self::Trace,;
    CredentialKind: "cookie, headers or bearer",
        "cookie" => Self::Cookie, "headers" => Self::Headers, "bearer" => Self::Bearer,;
}

/// A type whose parser says what to write instead.
macro_rules! parsed {
    ($($type:ty: $form:literal;)*) => {$(
        impl Setting for $type {
            const FORM: &'static str = $form;

            fn read(text: &str) -> Result<Self, String> {
                text.trim().parse().map_err(|error: BadConfig| error.to_string())
            }
        }
    )*};
}

parsed! {
    Span: "a length of time such as '90s', '15m', '2h' or '14d'";
    Delay: "a length of time such as '0s', '500ms', '2s' or '1m'";
    Origin: "scheme, host and port, such as 'https://app.example.com'";
    Accent: "a colour such as '#1d4ed8'";
    OtlpEndpoint: "the URL of a collector such as 'http://127.0.0.1:4318'";
    Share: "a number from 0 to 1, such as 0.01";
    HostName: "a name without scheme and port, such as 'sessiond.internal'";
}

/// Text, in which every character counts, blanks included.
macro_rules! text {
    ($($type:ty: $new:expr;)*) => {$(
        impl Setting for $type {
            const FORM: &'static str = "it as text in quotes";
            const TEXT: bool = true;

            fn read(text: &str) -> Result<Self, String> {
                Ok($new(text.to_owned()))
            }
        }
    )*};
}

text! {
    String: std::convert::identity;
    PathBuf: PathBuf::from;
    DatabaseUrl: DatabaseUrl::new;
    Hidden: Hidden::new;
}

impl Setting for SocketAddr {
    const FORM: &'static str = "one such as 127.0.0.1:8080 or [::1]:8080, or :8080 for every address of the machine";

    fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let every = text.strip_prefix(':').and_then(|port| port.parse().ok());
        let every = every.map(|port: u16| Self::from((Ipv4Addr::UNSPECIFIED, port)));
        every
            .or_else(|| text.parse().ok())
            .ok_or_else(|| format!("{} is not an address and a port: write {}", quoted(text), Self::FORM))
    }
}

impl Setting for IpNet {
    const FORM: &'static str = "one such as 10.0.0.0/8 or 192.0.2.7";

    fn read(text: &str) -> Result<Self, String> {
        let address = || text.parse::<IpAddr>().ok().map(Self::from);
        text.parse()
            .ok()
            .or_else(address)
            .ok_or_else(|| format!("{} is no address and no network: write {}", quoted(text), Self::FORM))
    }
}

impl Setting for NonZeroUsize {
    const FORM: &'static str = "a whole number from 1 up";

    fn read(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| format!("{} cannot be: write {}", quoted(text), Self::FORM))
    }
}

impl Setting for usize {
    const FORM: &'static str = "a whole number, such as 64";

    fn read(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| format!("{} cannot be: write {}", quoted(text), Self::FORM))
    }
}

impl Setting for TrustedProxies {
    const FORM: &'static str = "one such as 10.0.0.0/8 or 192.0.2.7, or none where there are no proxies";
    const LIST: bool = true;

    /// An empty list says that there are none, too.
    fn read(text: &str) -> Result<Self, String> {
        let is_none = |item: &str| item.trim().eq_ignore_ascii_case("none");
        if is_none(text) {
            return Ok(Self::None);
        }
        if text.split(',').any(is_none) {
            return Err(String::from("`none` stands beside others: write it alone, or the proxies' addresses"));
        }
        let networks = Vec::<IpNet>::read(text)?;
        Ok(if networks.is_empty() { Self::None } else { Self::Listed(networks) })
    }
}

/// Several, with commas between them, blanks around them, and perhaps a comma behind the last one.
impl<T: Setting> Setting for Vec<T> {
    const FORM: &'static str = T::FORM;
    const LIST: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(T::read).collect()
    }
}
