//! Configuration: flags over environment over a TOML file over defaults, checked as a whole before anything starts.
//!
//! `settings` declares every setting and its sources, and `setting` reads each kind. `links` recognises variables that
//! are not settings. `values`, `cookie`, `origin`, `secret`, `secret_key`, `accent`, `brand` and `otlp` are the types of some settings, `files`
//! reads those that settings name, and `error` refuses bad ones. `shown` prints the whole configuration, `warnings`
//! finds what is unsafe in it. `reread` says what of it can change while the server runs, and `contents` notices changed files.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use crate::domain::password::{Password, Rules, SHORTEST};
use crate::domain::session::{Lifetime, Lifetimes};
use crate::domain::text::Username;

mod accent;
mod brand;
mod contents;
mod cookie;
mod error;
mod files;
mod links;
mod origin;
mod otlp;
mod reread;
mod secret;
mod secret_key;
mod setting;
mod settings;
mod shown;
mod values;
mod warnings;

pub use self::accent::Accent;
pub use self::brand::{Brand, Logo, LogoKind};
use self::contents::Contents;
pub use self::cookie::Cookie;
pub use self::error::BadConfig;
use self::error::bad;
pub use self::origin::{HostName, Origin};
pub use self::otlp::{OtlpEndpoint, Share};
pub use self::reread::{REREAD, Reread};
pub use self::secret::{DatabaseUrl, Hidden};
pub use self::secret_key::SecretKey;
use self::settings::Complete;
pub use self::settings::{FILE, Flags, Settings};
use self::values::format_span;
pub use self::values::{CacheMode, CredentialKind, Delay, LogFormat, LogLevel, SameSite, Span, TrustedProxies};

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
    /// The user that is made when there is none yet.
    pub first_admin: FirstAdmin,
    /// See [`Settings::secret_key_file`]. The first one seals.
    pub secret_keys: Vec<SecretKey>,
    /// See [`Settings::fresh_login_to_revoke`].
    pub fresh_login_to_revoke: bool,
    /// See [`Settings::events_kept`].
    pub events_kept: Duration,
    /// See [`Settings::ended_kept`].
    pub ended_kept: Duration,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// See [`Settings::log_level`].
    pub log_level: LogLevel,
    /// What `RUST_LOG` says, which decides instead of the level.
    pub rust_log: Option<String>,
    /// See [`Settings::otlp_endpoint`].
    pub otlp_endpoint: Option<OtlpEndpoint>,
    /// See [`Settings::traced_checks`].
    pub traced_checks: Share,
    /// A warning for each file that others can read or change.
    loose_files: Vec<String>,
    /// Every setting as it was given.
    settings: Complete,
    /// The settings that flags or the environment give, so that no file can change them.
    fixed: Vec<&'static str>,
    /// What the files hold that settings name.
    contents: Contents,
}

/// What the wire side needs.
#[derive(Clone, Debug)]
pub struct Http {
    /// See [`Settings::listen`].
    pub listen: SocketAddr,
    /// See [`Settings::ops_listen`].
    pub ops_listen: SocketAddr,
    /// See [`Settings::ops_hosts`].
    pub ops_hosts: Vec<HostName>,
    /// See [`Settings::max_connections`].
    pub max_connections: usize,
    /// See [`Settings::max_head`].
    pub max_head: usize,
    /// See [`Settings::shutdown_delay`].
    pub shutdown_delay: Duration,
    /// See [`Settings::public_url`].
    pub public_url: Option<Origin>,
    /// See [`Settings::cors_origins`].
    pub cors_origins: Vec<Origin>,
    /// See [`Settings::trusted_proxies`].
    pub trusted_proxies: TrustedProxies,
    /// See [`Settings::allowed_return_origins`].
    pub allowed_return_origins: Vec<Origin>,
    /// See [`Settings::require_https`].
    pub require_https: bool,
    /// See [`Settings::clear_site_data`].
    pub clear_site_data: bool,
    /// See [`Settings::verify_credentials`].
    pub verify_credentials: Vec<CredentialKind>,
    /// The session cookie.
    pub cookie: Cookie,
    /// What the pages look like.
    pub brand: Brand,
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

/// How passwords are hashed, and which can be set.
#[derive(Clone, Debug)]
pub struct Passwords {
    /// See [`Settings::password_workers`].
    pub workers: NonZeroUsize,
    /// See [`Settings::password_queue`].
    pub queue: usize,
    /// See [`Settings::failures_per_address`].
    pub failures_per_address: NonZeroU32,
    /// See [`Settings::password_shortest`] and [`Settings::password_list_file`].
    pub rules: Rules,
}

/// The user that is made when there is none.
#[derive(Clone, Debug)]
pub struct FirstAdmin {
    /// See [`Settings::admin_username`].
    pub username: String,
    /// See [`Settings::admin_password`]; without one, a random one is made.
    pub password: Option<Hidden>,
}

/// More workers would cost more memory than they save time.
const MOST_WORKERS: usize = 64;
/// Stopping ends within 10 s, and what follows the delay needs the rest of that.
const LONGEST_SHUTDOWN_DELAY: Duration = Duration::from_secs(7);
/// Far more than can be answered before the last of them gives up.
const LONGEST_QUEUE: usize = 100_000;
/// One core hashes some 40,000 passwords in ten minutes, so with more than this an address would hardly be limited.
const MOST_FAILURES: u32 = 10_000;
/// Browsers send 1 KiB without any cookie.
const SMALLEST_HEAD: usize = 4 * 1024;
/// The HTTP library buffers 64 KiB and refuses what does not fit, unstamped: the request line and the blanks count there.
const LARGEST_HEAD: usize = 60 * 1024;

impl Config {
    /// Puts `flags` over the environment over the file, which `file` names or the environment does, over the defaults,
    /// and checks the whole.
    ///
    /// # Errors
    /// [`BadConfig`] with the first thing that cannot be.
    pub fn load(flags: &Flags, file: Option<PathBuf>) -> Result<Self, BadConfig> {
        let (environment, named) = settings::from_environment()?;
        let given = flags.read()?.or(environment);
        let (fixed, rust_log) = (given.names(), settings::rust_log()?);
        let Some(path) = file.or(named) else { return Ok(Self { rust_log, fixed, ..Self::new(&given)? }) };
        let in_file = settings::read_file(&path)?;
        let secret =
            in_file.admin_password.is_some() || in_file.database_url.as_ref().is_some_and(DatabaseUrl::is_secret);
        let mut config = Self { rust_log, fixed, ..Self::new(&given.or(in_file))? };
        config.loose_files.extend(files::loose_file("the configuration file", &path, secret));
        Ok(config)
    }

    /// Puts `settings` over the defaults, and checks the whole.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn new(settings: &Settings) -> Result<Self, BadConfig> {
        let complete = settings.complete()?;
        let (given, file) = (settings.database_url.clone(), complete.database_url_file.as_deref());
        let database_url = secret::one("database_url", given, file, DatabaseUrl::new)?;
        Ok(Self {
            http: http(&complete)?,
            sessions: Sessions {
                lifetimes: lifetimes(&complete)?,
                per_user: complete.sessions_per_user.get(),
                cache: complete.cache,
                cache_entries: complete.cache_entries.get(),
            },
            passwords: passwords(&complete)?,
            first_admin: first_admin(&complete, &password_rules(&complete)?)?,
            secret_keys: secret_key::read(complete.secret_key_file.as_deref())?,
            fresh_login_to_revoke: complete.fresh_login_to_revoke,
            events_kept: complete.events_kept.0,
            ended_kept: complete.ended_kept.0,
            log_format: complete.log_format,
            log_level: complete.log_level,
            rust_log: None,
            otlp_endpoint: complete.otlp_endpoint.clone(),
            traced_checks: complete.traced_checks,
            database_url: database_url.unwrap_or_else(|| complete.database_url.clone()),
            fixed: Vec::new(),
            contents: Contents::read(&complete),
            loose_files: [
                ("database_url_file", &complete.database_url_file),
                ("admin_password_file", &complete.admin_password_file),
                ("secret_key_file", &complete.secret_key_file),
            ]
            .into_iter()
            .filter_map(|(key, path)| files::loose_file(key, path.as_deref()?, true))
            .collect(),
            settings: complete,
        })
    }
}

fn http(settings: &Complete) -> Result<Http, BadConfig> {
    let (listen, ops_listen) = (settings.listen, settings.ops_listen);
    if listen == ops_listen && listen.port() != 0 {
        return bad(format!("listen and ops_listen are both {listen}: give the operations listener a port of its own"));
    }
    let Delay(shutdown_delay) = settings.shutdown_delay;
    if shutdown_delay > LONGEST_SHUTDOWN_DELAY {
        return bad(format!(
            "shutdown_delay is {}, and stopping as a whole ends within 10s: write {} at most",
            format_span(shutdown_delay),
            format_span(LONGEST_SHUTDOWN_DELAY)
        ));
    }
    let max_head = settings.max_head;
    if !(SMALLEST_HEAD..=LARGEST_HEAD).contains(&max_head) {
        return bad(format!("max_head is {max_head}: write a number of bytes from {SMALLEST_HEAD} to {LARGEST_HEAD}"));
    }
    Ok(Http {
        listen,
        ops_listen,
        ops_hosts: settings.ops_hosts.clone().unwrap_or_default(),
        max_connections: settings.max_connections.get(),
        max_head,
        shutdown_delay,
        public_url: settings.public_url.clone(),
        cors_origins: settings.cors_origins.clone().unwrap_or_default(),
        trusted_proxies: settings.trusted_proxies.clone().unwrap_or_default(),
        allowed_return_origins: settings.allowed_return_origins.clone().unwrap_or_default(),
        require_https: settings.require_https,
        clear_site_data: settings.clear_site_data,
        verify_credentials: settings.verify_credentials.clone(),
        cookie: cookie::cookie(settings)?,
        brand: brand::brand(settings)?,
    })
}

fn lifetimes(settings: &Complete) -> Result<Lifetimes, BadConfig> {
    let plain = Lifetime { idle: settings.session_idle.0, absolute: settings.session_absolute.0 };
    let remembered = Lifetime { idle: settings.remembered_idle.0, absolute: settings.remembered_absolute.0 };
    for (life, kind) in [(plain, "session"), (remembered, "remembered")] {
        if life.idle > life.absolute {
            return bad(format!(
                "{kind}_idle is longer than {kind}_absolute, which then always comes first: make it shorter"
            ));
        }
    }
    Ok(Lifetimes { plain, remembered })
}

fn passwords(settings: &Complete) -> Result<Passwords, BadConfig> {
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let workers = settings.password_workers.unwrap_or_else(|| cores.min(NonZeroUsize::MIN.saturating_add(2)));
    if workers.get() > MOST_WORKERS {
        return bad(format!(
            "password_workers is {workers}, each of which takes 19 MiB: write one for a core, {MOST_WORKERS} at most"
        ));
    }
    let queue = settings.password_queue.unwrap_or_else(|| workers.get().saturating_mul(64));
    if queue > LONGEST_QUEUE {
        return bad(format!(
            "password_queue is {queue}, whose last could not be answered in time: write 64 for each worker, {LONGEST_QUEUE} at most"
        ));
    }
    let failures = settings.failures_per_address;
    let failures_per_address = match NonZeroU32::try_from(failures) {
        Ok(failures) if failures.get() <= MOST_FAILURES => failures,
        Ok(_) | Err(_) => {
            return bad(format!("failures_per_address is {failures}: write {MOST_FAILURES} at most"));
        }
    };
    Ok(Passwords { workers, queue, failures_per_address, rules: password_rules(settings)? })
}

/// The most that can be asked for (NIST SP 800-63B-4 section 3.1.1.2 wants at least so many to be accepted).
const MOST_CHARACTERS: usize = 64;

/// NIST SP 800-63B-4 section 3.1.1.2 asks for 15 characters where a password is all there is.
fn password_rules(settings: &Complete) -> Result<Rules, BadConfig> {
    let shortest = settings.password_shortest;
    if !(SHORTEST..=MOST_CHARACTERS).contains(&shortest) {
        return bad(format!(
            "password_shortest is {shortest}: write {SHORTEST} to {MOST_CHARACTERS}, and 15 where a password is all that is asked for"
        ));
    }
    let list = match &settings.password_list_file {
        None => String::new(),
        Some(path) => files::read_text(path, files::LARGEST_LIST)
            .map_err(|error| BadConfig(format!("password_list_file {} cannot be read: {error}", path.display())))?,
    };
    Ok(Rules::new(shortest, &list))
}

fn first_admin(settings: &Complete, rules: &Rules) -> Result<FirstAdmin, BadConfig> {
    let username = settings.admin_username.clone();
    if let Err(unfit) = Username::new(&username) {
        return bad(format!("admin_username {unfit}: choose another"));
    }
    let (given, file) = (settings.admin_password.clone(), settings.admin_password_file.as_deref());
    let password = secret::one("admin_password", given, file, Hidden::new)?;
    let chosen = password.as_ref().map(|password| Password::chosen(password.reveal().to_owned(), &username, rules));
    if let Some(Err(unfit)) = chosen {
        return bad(format!("admin_password {unfit}: choose another, or leave it out and a random one is made"));
    }
    Ok(FirstAdmin { username, password })
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
            ("cookie_name = '__host-s'\ncookie_domain = 'example.com'", "drop cookie_domain"),
            ("cookie_name = '__HOST-s'\ncookie_secure = false", "cookie_secure = true"),
            ("cookie_name = '__sEcUrE-s'\ncookie_secure = false", "cookie_secure = true"),
            ("cookie_name = 'a b'", "letters"),
            ("cookie_domain = '.example.com'", "without a dot at either end"),
            ("cookie_domain = 'example.com.'", "without a dot at either end"),
            ("cookie_domain = 'a..example.com'", "write one such as example.com"),
            ("cookie_domain = 'a b.example.com'", "write one such as example.com"),
            ("cookie_domain = ''", "write one such as example.com"),
            ("cookie_domain = '.'", "write one such as example.com"),
            ("cookie_domain = '192.0.2.1'", "is an address"),
            ("cookie_domain = '192.0.1'", "is an address"),
            ("cookie_domain = '2001:db8::1'", "is an address"),
            ("cookie_domain = 'com'", "is a single label"),
            ("cookie_domain = 'localhost'", "is a single label"),
            ("max_head = 4095", "from 4096 to 61440"),
            ("max_head = 61441", "from 4096 to 61440"),
            ("password_workers = 65", "64 at most"),
            ("password_queue = 100001", "100000 at most"),
            ("failures_per_address = 10001", "10000 at most"),
            ("failures_per_address = 4294967296", "10000 at most"),
            ("password_queue = 9223372036854775807", "100000 at most"),
            ("brand_name = ' '", "write 1 to 40 characters"),
            ("brand_name = \"a\\nb\"", "write 1 to 40 characters"),
            ("logo_file = '/does/not/exist'", "cannot be read"),
            ("logo_file = 'Cargo.toml'", "is no SVG, PNG or WebP"),
            ("admin_password = ''", "must have at least 8 characters: choose another"),
            ("admin_password = '          '", "must not be spaces alone: choose another"),
            ("admin_password = 'admin-2026'", "must not be made of the username: choose another"),
            ("admin_password = 'sessiond2026'", "must not be made of the name of this service: choose another"),
            ("admin_password = \"nul\\u0000nul\\u0000nul\"", "must not contain control characters: choose another"),
            ("admin_username = 'ad\u{ad}min'", "admin_username must not contain invisible characters"),
            ("password_shortest = 7", "write 8 to 64"),
            ("password_shortest = 65", "write 8 to 64"),
            ("password_list_file = '/does/not/exist'", "cannot be read"),
            ("password_shortest = 15\nadmin_password = 'fourteen chars'", "must have at least 15 characters"),
            ("admin_password = 'password123'", "is one of the most common passwords: choose another"),
            ("public_url = 'http://example.com'", "https"),
            ("public_url = 'https://example.com'\ncookie_domain = 'example.org'", "does not cover"),
            ("session_idle = '25h'", "session_absolute"),
            ("shutdown_delay = '8s'", "7s at most"),
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
            ("public_url = 'https://me@a.example'", "no user and no password"),
            ("public_url = 'https://:word@a.example'", "no user and no password"),
            ("public_url = 'https://@a.example'", "no user and no password"),
            ("session_idle = 'soon'", "90s"),
            ("accent_color = 'blue'", "such as #1d4ed8"),
            ("accent_color = '#ffdd00'", "write a darker one"),
            ("ops_hosts = ['metrics.example:9090']", "without scheme and port"),
            ("ops_hosts = ['http://metrics.example']", "without scheme and port"),
            ("ops_hosts = ['*.example']", "without scheme and port"),
            ("max_head = -1", "max_head"),
            ("trusted_proxies = ['here']", "10.0.0.0/8"),
        ] {
            let error = toml::from_str::<Settings>(toml).expect_err(toml).to_string();
            assert!(error.contains(word), "{toml}: {error}");
        }
    }

    #[test]
    fn what_check_config_prints_gives_the_same_configuration() {
        let toml = "public_url = 'https://login.example.com'\ncookie_domain = 'example.com'\nsession_idle = '90m'\ncors_origins = ['https://app.example.com:8443']\ntrusted_proxies = ['10.0.0.0/8']\nops_hosts = ['sessiond', 'Metrics.example.']\nmax_head = 16384\nbrand_name = '\\o/ \"Ä\"'\naccent_color = '#7E22CE'\nlogo_file = 'src/http/pages/icon.svg'\npassword_list_file = 'src/domain/common_passwords.txt'\notlp_endpoint = 'http://127.0.0.1:4318'";
        let first = Config::new(&toml::from_str(toml).expect("well-formed")).expect("consistent").to_string();
        let second = Config::new(&toml::from_str(&first).expect("printed well")).expect("consistent").to_string();
        assert_eq!(first, second);
        for line in ["session_idle = \"1h 30m\"", "remembered_absolute = \"30d\"", "events_kept = \"90d\""] {
            assert!(first.lines().any(|printed| printed == line), "{line} is not in {first}");
        }
        // What they hold is hidden, or printed as another setting.
        let hidden = ["database_url_file", "admin_password", "admin_password_file", "secret_key_file"];
        for name in Settings::all().iter().filter(|name| !hidden.contains(name)) {
            let begin = format!("{name} = ");
            assert!(first.lines().any(|printed| printed.starts_with(&begin)), "{name} is not in {first}");
        }
    }
}
