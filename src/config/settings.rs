//! Every setting, and where it comes from: flags, environment, and a file.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use super::accent::Accent;
use super::error::{BadConfig, bad};
use super::links;
use super::origin::{HostName, Origin};
use super::otlp::{OtlpEndpoint, Share};
use super::secret::{DatabaseUrl, Hidden};
use super::setting::{Setting, from_toml};
use super::values::{CacheMode, CredentialKind, Delay, LogFormat, LogLevel, SameSite, Span, TrustedProxies};

/// Declares every setting once: its help, its key in the file, its flag, its variable, its type, and its default as one
/// would write it, or in brackets what it depends on; and the secrets, which have no flag, since other users of the
/// machine can read arguments.
macro_rules! settings {
    (
        $(#[doc = $help:literal] $name:ident / $variable:literal : $type:ty $(= $default:literal)? $([$depends:literal])?,)*;
        $(#[doc = $about:literal] $secret:ident / $hidden:literal,)*
    ) => {
        /// The settings that were given, by one source or by several.
        #[derive(Debug, Default, Clone, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Settings {
            $(
                #[doc = concat!($help $(, " [default: ", $default, "]")? $(, " [default: ", $depends, "]")?)]
                #[serde(default, deserialize_with = "from_toml")]
                pub $name: Option<$type>,
            )*
            $(#[doc = $about] #[serde(default, deserialize_with = "from_toml")] pub $secret: Option<Hidden>,)*
        }

        /// The settings that were given, and for the others their defaults. A setting without a default may be `None`.
        #[derive(Debug, Clone)]
        pub(super) struct Complete {
            $(pub(super) $name: complete_type!($type $(, $default)?),)*
            $(pub(super) $secret: Option<Hidden>,)*
        }

        /// The same settings as flags, as text, so that a bad value is refused in the same words whatever its source.
        #[derive(Debug, Default, Clone, clap::Args)]
        #[command(next_help_heading = "Settings")]
        pub struct Flags {
            $(
                #[arg(
                    long,
                    global = true,
                    help = concat!($help $(, " [default: ", $default, "]")? $(, " [default: ", $depends, "]")?).trim_start()
                )]
                $name: Vec<OsString>,
            )*
        }

        impl Flags {
            /// Reads the flags.
            pub(super) fn read(&self) -> Result<Settings, BadConfig> {
                Ok(Settings {
                    $($name: read(&flag(stringify!($name)), &self.$name)?,)*
                    $($secret: None,)*
                })
            }

            /// The variable that sets the same as a flag, by the flag's name in this program.
            pub fn variable(flag: &str) -> Option<&'static str> {
                match flag {
                    $(stringify!($name) => Some($variable),)*
                    _ => None,
                }
            }
        }

        impl Settings {
            /// These settings, and those of `other` where these are not set.
            pub(super) fn or(self, other: Self) -> Self {
                Self { $($name: self.$name.or(other.$name),)* $($secret: self.$secret.or(other.$secret),)* }
            }

            /// These settings, and the defaults where these are not set.
            pub(super) fn complete(&self) -> Result<Complete, BadConfig> {
                Ok(Complete {
                    $($name: complete!(self.$name.clone(), $type, stringify!($name) $(, $default)?),)*
                    $($secret: self.$secret.clone(),)*
                })
            }

            /// The names of those that were given.
            pub(super) fn names(&self) -> Vec<&'static str> {
                let given = [
                    $((stringify!($name), self.$name.is_some()),)*
                    $((stringify!($secret), self.$secret.is_some()),)*
                ];
                given.into_iter().filter_map(|(name, is_given)| is_given.then_some(name)).collect()
            }

            /// The names of all there are.
            #[cfg(test)]
            pub(super) fn all() -> Vec<&'static str> {
                vec![$(stringify!($name),)* $(stringify!($secret),)*]
            }

            /// The environment variables that are read.
            const VARIABLES: &'static [&'static str] = &[$($variable,)* $($hidden,)*];

            /// Reads a variable.
            fn set(&mut self, variable: &str, value: &OsString) -> Result<(), BadConfig> {
                let values = std::slice::from_ref(value);
                match variable {
                    $($variable => self.$name = read(variable, values)?,)*
                    $($hidden => self.$secret = read(variable, values)?,)*
                    _ => refuse_unknown(variable, value)?,
                }
                Ok(())
            }
        }

        impl Complete {
            /// The names of those that differ.
            pub(super) fn differing(&self, other: &Self) -> Vec<&'static str> {
                let differ = [
                    $((stringify!($name), self.$name != other.$name),)*
                    $((stringify!($secret), self.$secret != other.$secret),)*
                ];
                differ.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
            }
        }
    };
}

/// The type of a setting once defaults are filled in: one with a default always has a value.
macro_rules! complete_type {
    ($type:ty) => { Option<$type> };
    ($type:ty, $default:literal) => { $type };
}

/// Puts the default where nothing is given.
macro_rules! complete {
    ($given:expr, $type:ty, $name:expr) => {
        $given
    };
    ($given:expr, $type:ty, $name:expr, $default:literal) => {
        match $given {
            Some(given) => given,
            None => <$type as Setting>::read($default).or_else(|sentence| bad(format!("{}: {sentence}", $name)))?,
        }
    };
}

settings! {
    /// Where clients and proxies connect
    listen / "SESSIOND_LISTEN": SocketAddr = "127.0.0.1:8080",
    /// Where the operations listener serves liveness, readiness and metrics
    ops_listen / "SESSIOND_OPS_LISTEN": SocketAddr = "127.0.0.1:9090",
    /// Names by which the operations listener may be called, beside addresses and localhost
    ops_hosts / "SESSIOND_OPS_HOSTS": Vec<HostName>,
    /// The store's URL, `sqlite://FILE` or `postgres://USER@HOST/DATABASE`
    database_url / "SESSIOND_DATABASE_URL": DatabaseUrl = "sqlite://sessiond.db",
    /// A file that holds the store's URL
    database_url_file / "SESSIOND_DATABASE_URL_FILE": PathBuf,
    /// The origin browsers see, such as `https://login.example.com`
    public_url / "SESSIOND_PUBLIC_URL": Origin,
    /// The cookie's name
    cookie_name / "SESSIOND_COOKIE_NAME": String = "_me_sess",
    /// Whether the cookie travels over TLS alone
    cookie_secure / "SESSIOND_COOKIE_SECURE": bool = "true",
    /// The domain whose hosts all get the cookie
    cookie_domain / "SESSIOND_COOKIE_DOMAIN": String ["this host alone"],
    /// The `SameSite` of the cookie: lax, strict or none
    cookie_samesite / "SESSIOND_COOKIE_SAMESITE": SameSite = "lax",
    /// Proxies whose X-Forwarded-*, X-Original-* and X-Request-Id are believed, such as 10.0.0.0/8; none: clients connect by themselves
    trusted_proxies / "SESSIOND_TRUSTED_PROXIES": TrustedProxies ["not known, so no address is limited"],
    /// Other origins whose pages may call this service with credentials
    cors_origins / "SESSIOND_CORS_ORIGINS": Vec<Origin>,
    /// Other origins to which people may be sent back after signing in
    allowed_return_origins / "SESSIOND_ALLOWED_RETURN_ORIGINS": Vec<Origin>,
    /// Whether requests are refused of which a trusted proxy says that they came over plain HTTP
    require_https / "SESSIOND_REQUIRE_HTTPS": bool = "false",
    /// Whether API logouts by cookie, too, have the browser drop its copies of this origin's pages, as /logout does
    clear_site_data / "SESSIOND_CLEAR_SITE_DATA": bool = "false",
    /// The name that stands above the pages
    brand_name / "SESSIOND_BRAND_NAME": String = "sessiond",
    /// The colour of links and of the main button on the pages, such as #1d4ed8
    accent_color / "SESSIOND_ACCENT_COLOR": Accent ["a blue"],
    /// An SVG, PNG or WebP that stands above the pages instead of the name
    logo_file / "SESSIOND_LOGO_FILE": PathBuf ["none"],
    /// Which credentials /verify accepts
    verify_credentials / "SESSIOND_VERIFY_CREDENTIALS": Vec<CredentialKind> = "cookie,headers,bearer",
    /// on: checks are answered from memory; off: each check reads the store
    cache / "SESSIOND_CACHE": CacheMode = "on",
    /// How many sessions are kept in memory, rounded up to a multiple of 64
    cache_entries / "SESSIOND_CACHE_ENTRIES": NonZeroUsize = "1048576",
    /// How long a session lives without a check
    session_idle / "SESSIOND_SESSION_IDLE": Span = "2h",
    /// How long a session lives at most
    session_absolute / "SESSIOND_SESSION_ABSOLUTE": Span = "24h",
    /// How long a remembered session, or one by a header token, lives without a check
    remembered_idle / "SESSIOND_REMEMBERED_IDLE": Span = "14d",
    /// How long a remembered session, or one by a header token, lives at most
    remembered_absolute / "SESSIOND_REMEMBERED_ABSOLUTE": Span = "30d",
    /// Live sessions a user may have; one more ends the one not seen for longest
    sessions_per_user / "SESSIOND_SESSIONS_PER_USER": NonZeroUsize = "100",
    /// Whether to end one's other sessions takes a login less than 15 minutes old
    fresh_login_to_revoke / "SESSIOND_FRESH_LOGIN_TO_REVOKE": bool = "false",
    /// How many characters a new password must have, 8 at least; 15 are recommended
    password_shortest / "SESSIOND_PASSWORD_SHORTEST": usize = "8",
    /// A file of passwords that cannot be set, one a line, beside the common ones
    password_list_file / "SESSIOND_PASSWORD_LIST_FILE": PathBuf ["none"],
    /// Threads that hash passwords, 19 MiB each
    password_workers / "SESSIOND_PASSWORD_WORKERS": NonZeroUsize ["the cores, 3 at most"],
    /// Logins that may wait for a thread that hashes passwords; more get 503
    password_queue / "SESSIOND_PASSWORD_QUEUE": usize ["64 for each thread"],
    /// Wrong passwords and codes that an address may send at once, and again in each ten minutes, before it must wait
    failures_per_address / "SESSIOND_FAILURES_PER_ADDRESS": NonZeroUsize = "100",
    /// Connections of clients open at a time, or as many as open files allow
    max_connections / "SESSIOND_MAX_CONNECTIONS": NonZeroUsize = "10000",
    /// The largest head of a request, in bytes, cookies of other applications included
    max_head / "SESSIOND_MAX_HEAD": usize = "32768",
    /// How long after SIGTERM requests are taken on, while /readyz sends balancers elsewhere
    shutdown_delay / "SESSIOND_SHUTDOWN_DELAY": Delay = "1s",
    /// The first user's name, used when there is no user yet
    admin_username / "SESSIOND_ADMIN_USERNAME": String = "admin",
    /// A file that holds the first user's password; `SESSIOND_ADMIN_PASSWORD` can, too
    admin_password_file / "SESSIOND_ADMIN_PASSWORD_FILE": PathBuf ["a random one, shown once"],
    /// A file of keys of second factors, `openssl rand -hex 32`, one a line: the first seals, and all of them open
    secret_key_file / "SESSIOND_SECRET_KEY_FILE": PathBuf ["a key in the store"],
    /// How long the audit keeps an event
    events_kept / "SESSIOND_EVENTS_KEPT": Span = "90d",
    /// How long the row of a session stays after its latest possible end
    ended_kept / "SESSIOND_ENDED_KEPT": Span = "24h",
    /// How log lines are written: text or json
    log_format / "SESSIOND_LOG_FORMAT": LogFormat = "text",
    /// The least grave lines of the log: error, warn, info, debug or trace; RUST_LOG, where it is set, decides instead
    log_level / "SESSIOND_LOG_LEVEL": LogLevel = "info",
    /// A collector that takes spans by OTLP over HTTP, such as `http://127.0.0.1:4318`
    otlp_endpoint / "SESSIOND_OTLP_ENDPOINT": OtlpEndpoint ["none, and nothing is traced"],
    /// The share of checks answered from memory that are traced, where no trusted proxy decides, from 0 to 1
    traced_checks / "SESSIOND_TRACED_CHECKS": Share = "0",
    ;
    /// The first user's password; without one, a random one is made
    admin_password / "SESSIOND_ADMIN_PASSWORD",
}

/// The flag that gives a setting.
fn flag(name: &str) -> String {
    format!("--{}", name.replace('_', "-"))
}

/// Reads what flags or variables give for a setting. An error begins with the flag or variable, as `name`.
fn read<T: Setting>(name: &str, values: &[OsString]) -> Result<Option<T>, BadConfig> {
    let mut texts = Vec::new();
    for value in values {
        match value.to_str() {
            Some(text) => texts.push(text),
            None => return bad(format!("{name} is not UTF-8: write it in letters that are")),
        }
    }
    match texts.as_slice() {
        [] => Ok(None),
        [text] => T::read(text).map(Some).or_else(|sentence| bad(format!("{name}: {sentence}"))),
        texts if T::LIST => T::read(&texts.join(",")).map(Some).or_else(|sentence| bad(format!("{name}: {sentence}"))),
        [_, _, ..] => bad(format!("{name} is given more than once: keep one")),
    }
}

pub(super) fn read_file(path: &Path) -> Result<Settings, BadConfig> {
    let shown = path.display();
    let text = super::files::read_small_text(path)
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

/// What the environment gives: settings, and the configuration file's path.
pub(super) fn from_environment() -> Result<(Settings, Option<PathBuf>), BadConfig> {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    from_variables(variables)
}

/// What `RUST_LOG` says, unless it is empty. It is one that the log can be chosen by.
pub(super) fn rust_log() -> Result<Option<String>, BadConfig> {
    let Some(directives) = std::env::var_os(RUST_LOG).filter(|directives| !directives.is_empty()) else {
        return Ok(None);
    };
    let directives = directives.into_string().map_err(|_| BadConfig(format!("{RUST_LOG} is not UTF-8")))?;
    match EnvFilter::builder().parse(&directives) {
        Ok(_) => Ok(Some(directives)),
        Err(error) => bad(format!("{RUST_LOG}: {error}: write one such as info or info,sessiond::login=off")),
    }
}

/// An empty variable counts as unset, as where a template or a compose file has nothing to fill in.
fn from_variables(
    variables: impl Iterator<Item = (String, OsString)>,
) -> Result<(Settings, Option<PathBuf>), BadConfig> {
    let (mut settings, mut file) = (Settings::default(), None);
    for (name, value) in variables.filter(|(name, value)| name.starts_with("SESSIOND_") && !value.is_empty()) {
        match &*name {
            FILE => file = Some(PathBuf::from(value)),
            COMMIT => {}
            _ => settings.set(&name, &value)?,
        }
    }
    Ok((settings, file))
}

/// The variable that names the configuration file.
pub const FILE: &str = "SESSIOND_CONFIG";
/// The variable that chooses lines of the log as programs in Rust do, more finely than a level.
pub(super) const RUST_LOG: &str = "RUST_LOG";
/// The variable that the build reads, which is no setting.
const COMMIT: &str = "SESSIOND_COMMIT";

/// A misspelt variable would otherwise be a setting that silently does nothing. What Kubernetes makes from a Service of
/// our name is no setting.
fn refuse_unknown(name: &str, value: &OsStr) -> Result<(), BadConfig> {
    if value.to_str().is_some_and(|value| links::is_service_link(name, value)) {
        return Ok(());
    }
    let known = Settings::VARIABLES.iter().chain([&FILE]);
    let close = known.min_by_key(|known| differing(known, name)).unwrap_or(&"");
    bad(format!("{name} is not a setting: did you mean {close}?"))
}

/// Roughly how many letters differ, which is enough to find the setting that was meant.
fn differing(a: &str, b: &str) -> usize {
    let same_start = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let same_end = a.bytes().rev().zip(b.bytes().rev()).take_while(|(a, b)| a == b).count();
    a.len().max(b.len()).saturating_sub(same_start + same_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(variables: &[(&str, &str)]) -> Result<(Settings, Option<PathBuf>), BadConfig> {
        from_variables(variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))))
    }

    fn refused(name: &str, value: &str) -> String {
        given(&[(name, value)]).expect_err(name).to_string()
    }

    #[test]
    fn a_misspelt_variable_is_refused_and_the_right_one_named() {
        let error = given(&[("PATH", "x"), ("SESSIOND_LISTEN", ":1"), ("SESSIOND_DATABSE_URL", "s3cret")]);
        let error = error.expect_err("misspelt").to_string();
        assert_eq!(error, "SESSIOND_DATABSE_URL is not a setting: did you mean SESSIOND_DATABASE_URL?");
    }

    #[test]
    fn no_setting_has_the_name_of_a_service_link() {
        for name in Settings::VARIABLES.iter().chain([&FILE, &COMMIT]) {
            assert!(!links::is_named_like_a_link(name), "{name}");
        }
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let all: Vec<_> =
            Settings::VARIABLES.iter().chain([&FILE, &"SESSIOND_LISTNE"]).map(|name| (*name, "")).collect();
        let (settings, file) = given(&all).expect("as if nothing were set");
        assert_eq!((format!("{settings:?}"), file), (format!("{:?}", Settings::default()), None));
    }

    #[test]
    fn a_wrong_value_is_answered_by_a_sentence_that_names_the_variable_and_says_what_to_write() {
        for (name, value, words) in [
            ("SESSIOND_LISTEN", "8080", "write one such as 127.0.0.1:8080"),
            ("SESSIOND_LISTEN", "localhost:8080", "write one such as 127.0.0.1:8080"),
            ("SESSIOND_OPS_LISTEN", ":65536", "write one such as 127.0.0.1:8080"),
            ("SESSIOND_COOKIE_SECURE", "1", "write true or false"),
            ("SESSIOND_COOKIE_SECURE", "yes", "write true or false"),
            ("SESSIOND_COOKIE_SAMESITE", "loose", "write lax, strict or none"),
            ("SESSIOND_CACHE", "maybe", "write on or off"),
            ("SESSIOND_LOG_FORMAT", "xml", "write text or json"),
            ("SESSIOND_OTLP_ENDPOINT", "collector:4318", "write one such as http://127.0.0.1:4318"),
            ("SESSIOND_TRACED_CHECKS", "50", "write a number from 0 to 1"),
            ("SESSIOND_LOG_LEVEL", "loud", "write error, warn, info, debug or trace"),
            ("SESSIOND_VERIFY_CREDENTIALS", "cookie,query", "`query` is none of them: write cookie, headers or bearer"),
            ("SESSIOND_CACHE_ENTRIES", "0", "write a whole number from 1 up"),
            ("SESSIOND_CACHE_ENTRIES", "1e6", "write a whole number from 1 up"),
            ("SESSIOND_SESSIONS_PER_USER", "-1", "write a whole number from 1 up"),
            ("SESSIOND_MAX_CONNECTIONS", "99999999999999999999", "write a whole number from 1 up"),
            ("SESSIOND_PASSWORD_QUEUE", "many", "write a whole number, such as 64"),
            ("SESSIOND_SESSION_IDLE", "30", "write one such as 90s"),
            ("SESSIOND_SESSION_IDLE", "0s", "write one such as 90s"),
            ("SESSIOND_SHUTDOWN_DELAY", "fast", "write one such as 0s"),
            ("SESSIOND_TRUSTED_PROXIES", "10.0.0.0/8, here", "`here` is no address and no network"),
            ("SESSIOND_TRUSTED_PROXIES", "10.0.0.0/33", "write one such as 10.0.0.0/8 or 192.0.2.7"),
            ("SESSIOND_CORS_ORIGINS", "app.example.com", "such as https://app.example.com"),
            ("SESSIOND_PUBLIC_URL", "login.example.com", "such as https://app.example.com"),
        ] {
            let sentence = refused(name, value);
            let named = sentence.starts_with(&format!("{name}: "));
            assert!(named && sentence.contains(words), "{name}={value}: {sentence}");
        }
    }

    #[test]
    fn what_stands_in_the_wrong_place_and_may_be_a_secret_is_not_repeated() {
        for name in Settings::VARIABLES.iter().filter(|name| !name.contains("ADMIN_") && !name.contains("DATABASE_")) {
            if let Err(error) = given(&[(name, "postgres://me:hunter2@db/x")]) {
                assert!(!error.to_string().contains("hunter2"), "{error}");
            }
        }
    }

    #[test]
    fn addresses_networks_and_words_are_read_as_people_write_them() {
        let (settings, file) = given(&[
            ("SESSIOND_LISTEN", ":8080"),
            ("SESSIOND_OPS_LISTEN", " [::1]:9090 "),
            ("SESSIOND_TRUSTED_PROXIES", " 192.0.2.7 , 2001:db8::/32,10.0.0.0/8,"),
            ("SESSIOND_COOKIE_SAMESITE", "Lax"),
            ("SESSIOND_COOKIE_SECURE", "True"),
            ("SESSIOND_VERIFY_CREDENTIALS", "cookie, bearer"),
            ("SESSIOND_CONFIG", "here.toml"),
            ("SESSIOND_ADMIN_PASSWORD", " with blanks "),
        ])
        .expect("fine");
        assert_eq!(settings.listen.map(|address| address.to_string()).as_deref(), Some("0.0.0.0:8080"));
        assert_eq!(settings.ops_listen.map(|address| address.to_string()).as_deref(), Some("[::1]:9090"));
        let proxies = settings.trusted_proxies.unwrap_or_default();
        let proxies: Vec<_> = proxies.networks().iter().map(ToString::to_string).collect();
        assert_eq!(proxies, ["192.0.2.7/32", "2001:db8::/32", "10.0.0.0/8"]);
        assert_eq!((settings.cookie_samesite, settings.cookie_secure), (Some(SameSite::Lax), Some(true)));
        assert_eq!(settings.verify_credentials, Some(vec![CredentialKind::Cookie, CredentialKind::Bearer]));
        assert_eq!(settings.admin_password.as_ref().map(Hidden::reveal), Some(" with blanks "));
        assert_eq!(file, Some(PathBuf::from("here.toml")));
    }

    #[test]
    fn a_file_is_read_by_the_same_rules() {
        let read = |toml: &str| toml::from_str::<Settings>(toml);
        let toml = "listen = ':8080'\ntrusted_proxies = ['192.0.2.7', ' 10.0.0.0/8']\ncache_entries = 7\nadmin_username = 'ann'";
        let settings = read(toml).expect("fine");
        assert_eq!(settings.trusted_proxies.map(|all| all.networks().len()), Some(2));
        assert_eq!(
            read("trusted_proxies = '192.0.2.7, ::1'").expect("fine").trusted_proxies.map(|all| all.networks().len()),
            Some(2)
        );
        for (toml, proxies) in [
            ("", None),
            ("trusted_proxies = 'none'", Some(TrustedProxies::None)),
            ("trusted_proxies = ' None '", Some(TrustedProxies::None)),
            ("trusted_proxies = ['none']", Some(TrustedProxies::None)),
            ("trusted_proxies = []", Some(TrustedProxies::None)),
        ] {
            assert_eq!(read(toml).expect(toml).trusted_proxies, proxies, "{toml}");
        }
        for (toml, words) in [
            ("cookie_secure = 1", "write true or false"),
            ("listen = 8080", "write one such as 127.0.0.1:8080"),
            ("listen = ['127.0.0.1:1']", "write one such as 127.0.0.1:8080"),
            ("cache_entries = 1979-05-27", "write a whole number from 1 up"),
            ("cache_entries = 0", "write a whole number from 1 up"),
            ("trusted_proxies = [10]", "`10` is no address and no network"),
            ("trusted_proxies = 'none, 10.0.0.0/8'", "write it alone"),
            ("trusted_proxies = [['10.0.0.0/8']]", "write one such as 10.0.0.0/8"),
            ("cookie_name = 5", "write it as text in quotes"),
            ("admin_password_file = 5", "write it as text in quotes"),
        ] {
            let sentence = read(toml).expect_err(toml).to_string();
            assert!(sentence.contains(words), "{toml}: {sentence}");
        }
    }
}
