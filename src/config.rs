//! Configuration: flags over environment over a TOML file over defaults, checked as a whole before anything starts.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};
use url::Url;

use crate::domain::session::{Lifetime, Lifetimes};

/// A configuration that cannot be used, in a sentence that says what to write instead.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadConfig(String);

fn bad<T>(sentence: impl Into<String>) -> Result<T, BadConfig> {
    Err(BadConfig(sentence.into()))
}

/// Declares every setting once: its key in the file, its flag, its variable, its help.
macro_rules! settings {
    ($($(#[$help:meta])* $name:ident / $variable:literal : $type:ty,)*) => {
        /// The settings somebody gave, from one source or from several.
        #[derive(Debug, Default, Clone, clap::Args, Deserialize)]
        #[command(next_help_heading = "Settings")]
        #[serde(deny_unknown_fields)]
        pub struct Settings {
            $($(#[$help])* #[arg(long, global = true, env = $variable, hide_env_values = true)] pub $name: Option<$type>,)*
        }

        impl Settings {
            /// These, and for what they leave open, `other`.
            fn or(self, other: Self) -> Self {
                Self { $($name: self.$name.or(other.$name),)* }
            }

            /// The environment variables that are read.
            const VARIABLES: &'static [&'static str] = &[$($variable,)*];
        }
    };
}

settings! {
    /// Where clients and proxies connect [default: 127.0.0.1:8080]
    listen / "SESSIOND_LISTEN": SocketAddr,
    /// Where liveness, readiness and metrics are served [default: 127.0.0.1:9090]
    ops_listen / "SESSIOND_OPS_LISTEN": SocketAddr,
    /// The store [default: <sqlite://sessiond.db>]
    database_url / "SESSIOND_DATABASE_URL": String,
    /// A file that holds the store's URL
    database_url_file / "SESSIOND_DATABASE_URL_FILE": PathBuf,
    /// The origin browsers see, such as <https://login.example.com>
    public_url / "SESSIOND_PUBLIC_URL": Origin,
    /// The cookie's name [default: `_me_sess`]
    cookie_name / "SESSIOND_COOKIE_NAME": String,
    /// Whether the cookie travels over TLS alone [default: true]
    cookie_secure / "SESSIOND_COOKIE_SECURE": bool,
    /// The domain whose hosts all get the cookie [default: this host alone]
    cookie_domain / "SESSIOND_COOKIE_DOMAIN": String,
    /// lax, strict or none [default: lax]
    cookie_samesite / "SESSIOND_COOKIE_SAMESITE": SameSite,
    /// Proxies whose X-Forwarded-For and X-Request-Id are believed, as CIDRs
    #[arg(value_delimiter = ',')] #[serde(default, deserialize_with = "networks")]
    trusted_proxies / "SESSIOND_TRUSTED_PROXIES": Vec<IpNet>,
    /// Other origins whose pages may call this service with credentials
    #[arg(value_delimiter = ',')]
    cors_origins / "SESSIOND_CORS_ORIGINS": Vec<Origin>,
    /// Which credentials /verify accepts [default: cookie,headers,bearer]
    #[arg(value_delimiter = ',')]
    verify_credentials / "SESSIOND_VERIFY_CREDENTIALS": Vec<CredentialKind>,
    /// on: checks are answered from memory; off: each check reads the store [default: on]
    cache / "SESSIOND_CACHE": CacheMode,
    /// How many sessions are kept in memory [default: 1048576]
    cache_entries / "SESSIOND_CACHE_ENTRIES": NonZeroUsize,
    /// How long a session lives without a check [default: 2h]
    session_idle / "SESSIOND_SESSION_IDLE": Span,
    /// How long a session lives at most [default: 24h]
    session_absolute / "SESSIOND_SESSION_ABSOLUTE": Span,
    /// The same for remembered sessions and header tokens [default: 14d]
    remembered_idle / "SESSIOND_REMEMBERED_IDLE": Span,
    /// The same for remembered sessions and header tokens [default: 30d]
    remembered_absolute / "SESSIOND_REMEMBERED_ABSOLUTE": Span,
    /// Live sessions a user may have; one more ends the one not seen for longest [default: 100]
    sessions_per_user / "SESSIOND_SESSIONS_PER_USER": NonZeroUsize,
    /// Threads that hash passwords, 19 MiB each [default: the cores, 3 at most]
    password_workers / "SESSIOND_PASSWORD_WORKERS": NonZeroUsize,
    /// Logins that may wait for such a thread; more get 503 [default: 64 for each]
    password_queue / "SESSIOND_PASSWORD_QUEUE": usize,
    /// Connections of clients open at a time [default: 10000, or what open files allow]
    max_connections / "SESSIOND_MAX_CONNECTIONS": NonZeroUsize,
    /// The first user's name, used when there is no user yet [default: admin]
    admin_username / "SESSIOND_ADMIN_USERNAME": String,
    /// The first user's password [default: a random one, shown once]
    #[arg(hide = true)]
    admin_password / "SESSIOND_ADMIN_PASSWORD": Hidden,
    /// A file that holds the first user's password
    admin_password_file / "SESSIOND_ADMIN_PASSWORD_FILE": PathBuf,
    /// text or json [default: text]
    log_format / "SESSIOND_LOG_FORMAT": LogFormat,
}

/// Serde's view of networks, so that a bad one is named.
fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<IpNet>>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let parse = |text: &String| {
        text.parse()
            .map_err(|_| serde::de::Error::custom(format!("`{text}` is not a network: write one such as 10.0.0.0/8")))
    };
    texts.iter().map(parse).collect::<Result<_, _>>().map(Some)
}

/// Reads a setting from text, with the sentence to show when it cannot be.
macro_rules! from_text {
    ($type:ident) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// A scheme, host and port: where a page was loaded from (RFC 6454).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);
from_text!(Origin);

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
        let wrong =
            || format!("`{text}` is not an origin: write scheme, host and port alone, such as https://app.example.com");
        let Ok(url) = Url::parse(text) else { return bad(wrong()) };
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || !bare || url.has_authority() && !url.username().is_empty() {
            return bad(wrong());
        }
        Ok(Self(url.origin().ascii_serialization()))
    }
}

/// A length of time, written as `90s`, `15m`, `2h` or `14d`.
#[derive(Clone, Copy, Debug)]
pub struct Span(Duration);
from_text!(Span);

impl FromStr for Span {
    type Err = BadConfig;

    fn from_str(text: &str) -> Result<Self, BadConfig> {
        match humantime::parse_duration(text) {
            Ok(span) if span >= Duration::from_secs(1) => Ok(Self(span)),
            _ => bad(format!("`{text}` is not a length of time: write one such as 90s, 15m, 2h or 14d")),
        }
    }
}

/// A secret setting: never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);
from_text!(Hidden);

impl Hidden {
    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Hidden {
    type Err = BadConfig;

    fn from_str(text: &str) -> Result<Self, BadConfig> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Which requests from other sites carry the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SameSite {
    /// Navigations alone.
    Lax,
    /// None.
    Strict,
    /// All; needs `Secure`.
    None,
}

/// Whether checks are answered from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheMode {
    /// From memory.
    On,
    /// From the store, each one.
    Off,
}

/// A way to present a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialKind {
    /// The session cookie.
    Cookie,
    /// `X-User-Id` and `X-Auth-Token`.
    Headers,
    /// `Authorization: Bearer`.
    Bearer,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Listeners, cookies and origins.
    pub http: Http,
    /// The store's URL.
    pub database_url: DatabaseUrl,
    /// Lifetimes, the cap and the cache.
    pub sessions: Sessions,
    /// Password workers.
    pub passwords: Passwords,
    /// Who is made when there is no user yet.
    pub first_admin: FirstAdmin,
    /// How log lines are written.
    pub log_format: LogFormat,
}

/// What the wire side needs.
#[derive(Clone, Debug)]
pub struct Http {
    /// See [`Settings::listen`].
    pub listen: SocketAddr,
    /// See [`Settings::ops_listen`].
    pub ops_listen: SocketAddr,
    /// See [`Settings::max_connections`].
    pub max_connections: usize,
    /// See [`Settings::public_url`].
    pub public_url: Option<Origin>,
    /// See [`Settings::cors_origins`].
    pub cors_origins: Vec<Origin>,
    /// See [`Settings::trusted_proxies`].
    pub trusted_proxies: Vec<IpNet>,
    /// See [`Settings::verify_credentials`].
    pub verify_credentials: Vec<CredentialKind>,
    /// The session cookie.
    pub cookie: Cookie,
}

/// The attributes of the session cookie.
#[derive(Clone, Debug)]
pub struct Cookie {
    /// See [`Settings::cookie_name`].
    pub name: String,
    /// See [`Settings::cookie_secure`].
    pub secure: bool,
    /// See [`Settings::cookie_domain`].
    pub domain: Option<String>,
    /// See [`Settings::cookie_samesite`].
    pub same_site: SameSite,
}

/// How sessions live and where they are kept.
#[derive(Clone, Copy, Debug)]
pub struct Sessions {
    /// How long they live.
    pub lifetimes: Lifetimes,
    /// See [`Settings::sessions_per_user`].
    pub per_user: usize,
    /// See [`Settings::cache`].
    pub cache: CacheMode,
    /// See [`Settings::cache_entries`].
    pub cache_entries: usize,
}

/// How passwords are hashed.
#[derive(Clone, Copy, Debug)]
pub struct Passwords {
    /// See [`Settings::password_workers`].
    pub workers: NonZeroUsize,
    /// See [`Settings::password_queue`].
    pub queue: usize,
}

/// The user that is made when there is none.
#[derive(Clone, Debug)]
pub struct FirstAdmin {
    /// See [`Settings::admin_username`].
    pub username: String,
    /// See [`Settings::admin_password`]; without one, a random one is made.
    pub password: Option<Hidden>,
}

/// The store's URL. Its password, should it hold one, is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// Takes a URL; whether a store answers to it is for `store::connect` to say.
    pub const fn new(url: String) -> Self {
        Self(url)
    }

    /// The URL, secrets included.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Url::parse(&self.0) {
            Ok(mut url) if url.password().is_some() => {
                let hidden = url.set_password(Some("hidden"));
                if hidden.is_ok() { f.write_str(url.as_str()) } else { f.write_str("(hidden)") }
            }
            Ok(_) | Err(_) => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;

impl Config {
    /// Puts `settings` (flags and environment) over the file at `file` over the defaults, and checks the whole.
    ///
    /// # Errors
    /// [`BadConfig`] with the first thing that cannot be.
    pub fn load(settings: Settings, file: Option<&Path>) -> Result<Self, BadConfig> {
        refuse_unknown_variables(environment())?;
        let settings = match file {
            None => settings,
            Some(path) => settings.or(read_file(path)?),
        };
        Self::new(&settings)
    }

    /// Puts `settings` over the defaults, and checks the whole.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn new(settings: &Settings) -> Result<Self, BadConfig> {
        let database_url =
            secret("database_url", settings.database_url.clone(), settings.database_url_file.as_deref())?;
        let password = secret(
            "admin_password",
            settings.admin_password.clone().map(|Hidden(password)| password),
            settings.admin_password_file.as_deref(),
        )?;
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let workers = settings.password_workers.unwrap_or_else(|| cores.min(NonZeroUsize::MIN.saturating_add(2)));
        Ok(Self {
            http: http(settings)?,
            database_url: DatabaseUrl(database_url.unwrap_or_else(|| String::from("sqlite://sessiond.db"))),
            sessions: Sessions {
                lifetimes: lifetimes(settings)?,
                per_user: settings.sessions_per_user.map_or(100, NonZeroUsize::get),
                cache: settings.cache.unwrap_or(CacheMode::On),
                cache_entries: settings.cache_entries.map_or(1 << 20, NonZeroUsize::get),
            },
            passwords: Passwords {
                workers,
                queue: settings.password_queue.unwrap_or_else(|| workers.get().saturating_mul(64)),
            },
            first_admin: FirstAdmin {
                username: settings.admin_username.clone().unwrap_or_else(|| String::from("admin")),
                password: password.map(Hidden),
            },
            log_format: settings.log_format.unwrap_or(LogFormat::Text),
        })
    }
}

fn http(settings: &Settings) -> Result<Http, BadConfig> {
    let default = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (listen, ops_listen) =
        (settings.listen.unwrap_or_else(|| default(8080)), settings.ops_listen.unwrap_or_else(|| default(9090)));
    if listen == ops_listen && listen.port() != 0 {
        return bad(format!("listen and ops_listen are both {listen}: give the operations listener a port of its own"));
    }
    Ok(Http {
        listen,
        ops_listen,
        max_connections: settings.max_connections.map_or(10_000, NonZeroUsize::get),
        public_url: settings.public_url.clone(),
        cors_origins: settings.cors_origins.clone().unwrap_or_default(),
        trusted_proxies: settings.trusted_proxies.clone().unwrap_or_default(),
        verify_credentials: settings
            .verify_credentials
            .clone()
            .unwrap_or_else(|| vec![CredentialKind::Cookie, CredentialKind::Headers, CredentialKind::Bearer]),
        cookie: cookie(settings)?,
    })
}

fn cookie(settings: &Settings) -> Result<Cookie, BadConfig> {
    let name = settings.cookie_name.clone().unwrap_or_else(|| String::from("_me_sess"));
    let secure = settings.cookie_secure.unwrap_or(true);
    let same_site = settings.cookie_samesite.unwrap_or(SameSite::Lax);
    let domain = settings.cookie_domain.clone();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return bad(format!("cookie_name `{name}` is not a cookie name: use letters, digits, - and _"));
    }
    if !secure && name.starts_with("__") && (name.starts_with("__Host-") || name.starts_with("__Secure-")) {
        return bad(format!(
            "browsers refuse a cookie named `{name}` that is not Secure: set cookie_secure = true or choose another cookie_name"
        ));
    }
    if domain.is_some() && name.starts_with("__Host-") {
        return bad(format!(
            "browsers refuse a cookie named `{name}` that has a Domain: drop cookie_domain or name it __Secure-…"
        ));
    }
    if !secure && same_site == SameSite::None {
        return bad(
            "browsers refuse a SameSite=None cookie that is not Secure: set cookie_secure = true or cookie_samesite = \"lax\"",
        );
    }
    if let Some(domain) = &domain {
        let label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        if domain.is_empty() || domain.starts_with('.') || !domain.bytes().all(label) {
            return bad(format!(
                "cookie_domain `{domain}` is not a domain: write one such as example.com, without a leading dot"
            ));
        }
    }
    if let Some(Origin(public)) = &settings.public_url {
        let host = Url::parse(public).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        let local = matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]") || host.ends_with(".localhost");
        if secure && public.starts_with("http://") && !local {
            return bad(format!(
                "browsers drop a Secure cookie on {public}: serve it over https, or set cookie_secure = false"
            ));
        }
        let covered = |domain: &String| host == *domain || host.ends_with(&format!(".{domain}"));
        if let Some(domain) = domain.as_ref().filter(|domain| !covered(domain)) {
            return bad(format!("cookie_domain `{domain}` does not cover {public}: browsers would refuse the cookie"));
        }
    }
    Ok(Cookie { name, secure, domain, same_site })
}

fn lifetimes(settings: &Settings) -> Result<Lifetimes, BadConfig> {
    let span = |set: Option<Span>, default| set.map_or(Duration::from_secs(default), |Span(span)| span);
    let plain =
        Lifetime { idle: span(settings.session_idle, 2 * HOUR), absolute: span(settings.session_absolute, DAY) };
    let remembered = Lifetime {
        idle: span(settings.remembered_idle, 14 * DAY),
        absolute: span(settings.remembered_absolute, 30 * DAY),
    };
    for (life, kind) in [(plain, "session"), (remembered, "remembered")] {
        if life.idle > life.absolute {
            return bad(format!(
                "{kind}_idle is longer than {kind}_absolute, which then always comes first: make it shorter"
            ));
        }
    }
    Ok(Lifetimes { plain, remembered })
}

/// A secret given as such or in a file, not both.
fn secret(key: &str, text: Option<String>, file: Option<&Path>) -> Result<Option<String>, BadConfig> {
    match (text, file) {
        (Some(_), Some(_)) => bad(format!("{key} and {key}_file are both set: keep one")),
        (text, None) => Ok(text),
        (None, Some(path)) => match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(error) => bad(format!("{key}_file {} cannot be read: {error}", path.display())),
        },
    }
}

fn read_file(path: &Path) -> Result<Settings, BadConfig> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| BadConfig(format!("the configuration file {shown} cannot be read: {error}")))?;
    toml::from_str(&text).map_err(|error| BadConfig(format!("the configuration file {shown} is wrong: {error}")))
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment() -> impl Iterator<Item = String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())
}

/// A misspelt variable would otherwise be a setting that silently does nothing.
fn refuse_unknown_variables(names: impl Iterator<Item = String>) -> Result<(), BadConfig> {
    let known =
        |name: &str| Settings::VARIABLES.contains(&name) || name == "SESSIOND_CONFIG" || name == "SESSIOND_COMMIT";
    match names.filter(|name| name.starts_with("SESSIOND_")).find(|name| !known(name)) {
        None => Ok(()),
        Some(name) => {
            let close = Settings::VARIABLES.iter().min_by_key(|known| differing(known, &name)).unwrap_or(&"");
            bad(format!("{name} is not a setting: did you mean {close}?"))
        }
    }
}

/// How many letters stand at the wrong place, roughly: enough to find the setting that was meant.
fn differing(a: &str, b: &str) -> usize {
    let same_start = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let same_end = a.bytes().rev().zip(b.bytes().rev()).take_while(|(a, b)| a == b).count();
    a.len().max(b.len()).saturating_sub(same_start + same_end)
}

impl fmt::Display for Config {
    /// As the TOML that would give the same, with secrets hidden.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |items: Vec<String>| {
            format!("[{}]", items.iter().map(|i| format!("\"{i}\"")).collect::<Vec<_>>().join(", "))
        };
        let word = |value: &dyn fmt::Debug| format!("\"{}\"", format!("{value:?}").to_lowercase());
        let origins = |all: &[Origin]| quoted(all.iter().map(|o| o.0.clone()).collect());
        let Http {
            listen,
            ops_listen,
            max_connections,
            public_url,
            cors_origins,
            trusted_proxies,
            verify_credentials,
            cookie,
        } = &self.http;
        writeln!(f, "listen = \"{listen}\"\nops_listen = \"{ops_listen}\"\nmax_connections = {max_connections}")?;
        writeln!(f, "database_url = \"{}\"", self.database_url)?;
        if let Some(Origin(origin)) = public_url {
            writeln!(f, "public_url = \"{origin}\"")?;
        }
        writeln!(f, "cors_origins = {}", origins(cors_origins))?;
        writeln!(f, "trusted_proxies = {}", quoted(trusted_proxies.iter().map(ToString::to_string).collect()))?;
        let kinds = verify_credentials.iter().map(|kind| format!("{kind:?}").to_lowercase()).collect();
        writeln!(f, "verify_credentials = {}", quoted(kinds))?;
        writeln!(f, "cookie_name = \"{}\"\ncookie_secure = {}", cookie.name, cookie.secure)?;
        if let Some(domain) = &cookie.domain {
            writeln!(f, "cookie_domain = \"{domain}\"")?;
        }
        writeln!(f, "cookie_samesite = {}", word(&cookie.same_site))?;
        let Sessions { lifetimes, per_user, cache, cache_entries } = self.sessions;
        writeln!(f, "cache = {}\ncache_entries = {cache_entries}", word(&cache))?;
        for (kind, life) in [("session", lifetimes.plain), ("remembered", lifetimes.remembered)] {
            writeln!(f, "{kind}_idle = \"{}\"", humantime::format_duration(life.idle))?;
            writeln!(f, "{kind}_absolute = \"{}\"", humantime::format_duration(life.absolute))?;
        }
        writeln!(f, "sessions_per_user = {per_user}")?;
        writeln!(f, "password_workers = {}\npassword_queue = {}", self.passwords.workers, self.passwords.queue)?;
        writeln!(f, "admin_username = \"{}\"", self.first_admin.username)?;
        if self.first_admin.password.is_some() {
            writeln!(f, "# admin_password is set (hidden)")?;
        }
        writeln!(f, "log_format = {}", word(&self.log_format))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(toml: &str) -> String {
        let settings: Settings = toml::from_str(toml).expect("well-formed");
        Config::new(&settings).expect_err(toml).to_string()
    }

    #[test]
    fn the_defaults_work_on_a_laptop() {
        let config = Config::new(&Settings::default()).expect("defaults");
        assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.database_url.reveal(), "sqlite://sessiond.db");
        assert!(config.passwords.workers.get() <= 3);
    }

    #[test]
    fn contradictions_are_refused_with_what_to_write_instead() {
        for (toml, word) in [
            ("cookie_samesite = 'none'\ncookie_secure = false", "cookie_secure = true"),
            ("cookie_name = '__Host-s'\ncookie_domain = 'example.com'", "drop cookie_domain"),
            ("cookie_name = '__Secure-s'\ncookie_secure = false", "cookie_secure = true"),
            ("cookie_name = 'a b'", "letters"),
            ("cookie_domain = '.example.com'", "without a leading dot"),
            ("public_url = 'http://example.com'", "https"),
            ("public_url = 'https://example.com'\ncookie_domain = 'example.org'", "does not cover"),
            ("session_idle = '25h'", "session_absolute"),
            ("listen = '127.0.0.1:1'\nops_listen = '127.0.0.1:1'", "a port of its own"),
        ] {
            let sentence = refused(toml);
            assert!(sentence.contains(word), "{toml}: {sentence}");
        }
    }

    #[test]
    fn unknown_keys_and_bad_values_are_named() {
        for (toml, word) in [
            ("listne = '127.0.0.1:1'", "listne"),
            ("cors_origins = ['*']", "list each one"),
            ("cors_origins = ['https://a.example/path']", "scheme, host and port"),
            ("session_idle = 'soon'", "90s"),
            ("trusted_proxies = ['here']", "10.0.0.0/8"),
        ] {
            let error = toml::from_str::<Settings>(toml).expect_err(toml).to_string();
            assert!(error.contains(word), "{toml}: {error}");
        }
    }

    #[test]
    fn a_misspelt_variable_is_refused_and_the_right_one_named() {
        let names = ["PATH", "SESSIOND_LISTEN", "SESSIOND_DATABSE_URL"].map(String::from);
        let error = refuse_unknown_variables(names.into_iter()).expect_err("misspelt").to_string();
        assert_eq!(error, "SESSIOND_DATABSE_URL is not a setting: did you mean SESSIOND_DATABASE_URL?");
    }

    #[test]
    fn what_check_config_prints_gives_the_same_configuration() {
        let toml = "public_url = 'https://login.example.com'\ncookie_domain = 'example.com'\nsession_idle = '90m'\ncors_origins = ['https://app.example.com:8443']\ntrusted_proxies = ['10.0.0.0/8']";
        let first = Config::new(&toml::from_str(toml).expect("well-formed")).expect("consistent").to_string();
        let second = Config::new(&toml::from_str(&first).expect("printed well")).expect("consistent").to_string();
        assert_eq!(first, second);
    }

    #[test]
    fn secrets_are_never_printed() {
        let url = DatabaseUrl::new("postgres://me:s3cret@db/x".into());
        assert!(!format!("{url} {url:?}").contains("s3cret"));
        let config = Config::new(&toml::from_str("admin_password = 'sup3rs3cret'").expect("fine")).expect("fine");
        assert!(!format!("{config} {config:?}").contains("sup3rs3cret"));
    }
}
