//! Every setting, and where it comes from: flags, environment, and a file.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

use super::{BadConfig, CacheMode, CredentialKind, DatabaseUrl, Delay, Hidden, LogFormat, Origin, SameSite, Span, bad};

/// Declares every setting once: its key in the file, its flag, its variable, its help; and the secrets, which have no
/// flag, since other users of the machine can read arguments.
macro_rules! settings {
    (
        $($(#[$help:meta])* $name:ident / $variable:literal : $type:ty,)*;
        $($(#[$about:meta])* $secret:ident / $hidden:literal,)*
    ) => {
        /// The settings somebody gave, from one source or from several.
        #[derive(Debug, Default, Clone, clap::Args, Deserialize)]
        #[command(next_help_heading = "Settings")]
        #[serde(deny_unknown_fields)]
        pub struct Settings {
            $($(#[$help])* #[arg(long, global = true, env = $variable, hide_env_values = true)] pub $name: Option<$type>,)*
            $($(#[$about])* #[arg(skip)] pub $secret: Option<Hidden>,)*
        }

        impl Settings {
            /// These, and for what they leave open, `other`.
            pub(super) fn or(self, other: Self) -> Self {
                Self { $($name: self.$name.or(other.$name),)* $($secret: self.$secret.or(other.$secret),)* }
            }

            /// The environment variables that are read.
            const VARIABLES: &'static [&'static str] = &[$($variable,)* $($hidden,)*];

            /// The secret that `variable` sets.
            fn secret(&mut self, variable: &str) -> Option<&mut Option<Hidden>> {
                match variable {
                    $($hidden => Some(&mut self.$secret),)*
                    _ => None,
                }
            }
        }
    };
}

settings! {
    /// Where clients and proxies connect [default: 127.0.0.1:8080]
    listen / "SESSIOND_LISTEN": SocketAddr,
    /// Where liveness, readiness and metrics are served [default: 127.0.0.1:9090]
    ops_listen / "SESSIOND_OPS_LISTEN": SocketAddr,
    /// The store [default: <sqlite://sessiond.db>]
    database_url / "SESSIOND_DATABASE_URL": DatabaseUrl,
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
    /// How long after SIGTERM requests are taken on, while /readyz sends balancers elsewhere [default: 1s]
    shutdown_delay / "SESSIOND_SHUTDOWN_DELAY": Delay,
    /// The first user's name, used when there is no user yet [default: admin]
    admin_username / "SESSIOND_ADMIN_USERNAME": String,
    /// A file that holds the first user's password; `SESSIOND_ADMIN_PASSWORD` can, too [default: a random one, shown once]
    admin_password_file / "SESSIOND_ADMIN_PASSWORD_FILE": PathBuf,
    /// text or json [default: text]
    log_format / "SESSIOND_LOG_FORMAT": LogFormat,
    ;
    /// The first user's password; without one, a random one is made
    admin_password / "SESSIOND_ADMIN_PASSWORD",
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

pub(super) fn read_file(path: &Path) -> Result<Settings, BadConfig> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| BadConfig(format!("the configuration file {shown} cannot be read: {error}")))?;
    toml::from_str(&text)
        .map_err(|error| BadConfig(format!("the configuration file {shown} is wrong{}", place(&text, error))))
}

/// Where a file is wrong and why: the line's number and the key, never the line, which may hold a secret.
fn place(text: &str, mut error: toml::de::Error) -> String {
    let before = error.span().map(|span| text.bytes().take(span.start));
    let line =
        before.map_or(String::new(), |before| format!(" in line {}", before.filter(|byte| *byte == b'\n').count() + 1));
    // What it shows without its input is the message and the key.
    error.set_input(None);
    let why: Vec<_> = error.to_string().lines().map(str::to_owned).collect();
    format!("{line}: {}", why.join(", "))
}

/// What only the environment gives: the secrets. Everything else in it is read together with the flags.
pub(super) fn from_environment() -> Result<Settings, BadConfig> {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    from_variables(variables)
}

fn from_variables(variables: impl Iterator<Item = (String, OsString)>) -> Result<Settings, BadConfig> {
    let mut settings = Settings::default();
    for (name, value) in variables.filter(|(name, _)| name.starts_with("SESSIOND_")) {
        match settings.secret(&name) {
            Some(secret) => match value.into_string() {
                Ok(text) => *secret = Some(Hidden::new(text)),
                Err(_) => return bad(format!("{name} is not UTF-8: write it in letters that are")),
            },
            None => refuse_unknown(&name)?,
        }
    }
    Ok(settings)
}

/// A misspelt variable would otherwise be a setting that silently does nothing.
fn refuse_unknown(name: &str) -> Result<(), BadConfig> {
    if Settings::VARIABLES.contains(&name) || matches!(name, "SESSIOND_CONFIG" | "SESSIOND_COMMIT") {
        return Ok(());
    }
    let close = Settings::VARIABLES.iter().min_by_key(|known| differing(known, name)).unwrap_or(&"");
    bad(format!("{name} is not a setting: did you mean {close}?"))
}

/// How many letters stand at the wrong place, roughly: enough to find the setting that was meant.
fn differing(a: &str, b: &str) -> usize {
    let same_start = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let same_end = a.bytes().rev().zip(b.bytes().rev()).take_while(|(a, b)| a == b).count();
    a.len().max(b.len()).saturating_sub(same_start + same_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_variable_is_refused_and_the_right_one_named() {
        let names = ["PATH", "SESSIOND_LISTEN", "SESSIOND_DATABSE_URL"];
        let variables = names.into_iter().map(|name| (name.to_owned(), OsString::from("x")));
        let error = from_variables(variables).expect_err("misspelt").to_string();
        assert_eq!(error, "SESSIOND_DATABSE_URL is not a setting: did you mean SESSIOND_DATABASE_URL?");
    }
}
