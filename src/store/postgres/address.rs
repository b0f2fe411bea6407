//! Where the database is: a `postgres://` URL as PostgreSQL's own tools read it.
//!
//! The driver ignores options that it does not know, takes several hosts for one name, and fills gaps from the
//! environment. So a URL is read completely here, and every option of the driver is set.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::net::lookup_host;

use super::guard::{Negotiation, guarded, led};
use super::pooler::Processes;

/// How long hosts that do not answer may delay one that does. Enough time is left to ask that one.
const PATIENCE: Duration = Duration::from_millis(300);
/// Where a server listens, unless the URL says otherwise.
const PORT: u16 = 5432;

/// What a connection is made with.
pub(super) struct Address {
    /// Each of the hosts, in the order in which they are tried.
    pub(super) hosts: Vec<Host>,
    /// How long one of them may take. Without it, one may take as long as any connection.
    pub(super) patience: Option<Duration>,
    /// What is unsafe about it.
    pub(super) warning: Option<&'static str>,
    /// The newest timeline of a primary that was connected to.
    newest: AtomicU32,
    /// The certificates that a server's is checked against and the client's own, hashed. It differs once those change.
    pub(super) certificates: [u8; 32],
}

/// One host, and how it is reached.
pub(super) struct Host {
    options: PgConnectOptions,
    /// Set where the password could travel in clear, unless `guard` prevents it.
    guard: Option<Negotiation>,
    /// Whether a pooler there was looked for.
    pub(super) processes: Arc<Processes>,
}

impl Host {
    /// The options that the driver connects with, for one connection. With an address it leads there, and without one to
    /// the first of the host's that accepts a connection.
    pub(super) async fn options(&self, to: Option<SocketAddr>) -> sqlx::Result<PgConnectOptions> {
        match (self.guard, to) {
            (Some(negotiation), to) => guarded(&self.options, negotiation, to).await,
            (None, Some(to)) => led(&self.options, to).await,
            (None, None) => Ok(self.options.clone()),
        }
    }

    /// The addresses of its name, where there are several.
    pub(super) async fn addresses(&self) -> Vec<SocketAddr> {
        if self.options.get_socket().is_some() {
            return Vec::new();
        }
        let found = lookup_host((self.options.get_host(), self.options.get_port())).await;
        // Where that fails, there is nothing more to try.
        found.map(Vec::from_iter).unwrap_or_default()
    }
}

/// What `sslmode` asks for, in PostgreSQL's words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Disable,
    /// Encrypted if the server supports it, without authenticating the server. The default on this machine.
    Prefer,
    /// Encrypted, without authenticating the server.
    Require,
    /// Encrypted, and the server's certificate is valid for the host's name. The default to another machine.
    VerifyFull,
}

/// What a URL says.
#[derive(Default)]
struct Url {
    user: String,
    password: String,
    hosts: String,
    ports: String,
    database: String,
    application_name: String,
    mode: Option<Mode>,
    root: Option<String>,
    /// A client certificate and its key.
    certificate: Option<String>,
    key: Option<String>,
    connect_timeout: Option<Duration>,
}

impl Address {
    /// Reads a URL. An error is a sentence without any part of the URL that could be a secret.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let url = Url::parse(url)?;
        let places = url.places()?;
        let elsewhere = places.iter().any(|(host, _)| is_elsewhere(host));
        let mode = url.mode.unwrap_or(if elsewhere { Mode::VerifyFull } else { Mode::Prefer });
        let certificates = url.read_files(mode)?;
        url.check_environment(mode)?;
        let hosts = places.iter().map(|(host, port)| url.host(host, *port, mode)).collect::<Result<Vec<_>, _>>()?;
        let warning = (elsewhere && mode != Mode::VerifyFull).then_some(
            "database_url names another machine, and sslmode lets any machine pass for it: write sslmode=verify-full",
        );
        let patience = url.connect_timeout.or_else(|| patience_beside(hosts.len()));
        Ok(Self { hosts, patience, warning, certificates, newest: AtomicU32::new(0) })
    }

    /// Whether the primary on this timeline was succeeded by another one, which was connected to before. It then goes on as a
    /// primary only because it has not been stopped, and does not hold what was committed since.
    pub(super) fn was_succeeded(&self, timeline: u32) -> bool {
        self.newest.fetch_max(timeline, Ordering::AcqRel) > timeline
    }
}

/// How long one of so many may take, so that there is time for the others. Alone it may take as long as any connection.
pub(super) fn patience_beside(all: usize) -> Option<Duration> {
    PATIENCE.checked_div(u32::try_from(all).unwrap_or(u32::MAX).saturating_sub(1))
}

impl Url {
    fn parse(text: &str) -> Result<Self, String> {
        refuse_raw_letters(text)?;
        let (place, query) = text.split_once('?').unwrap_or((text, ""));
        let place = place.split_once("://").map_or(place, |(_, place)| place);
        let (authority, database) = place.split_once('/').unwrap_or((place, ""));
        let (login, hosts) = authority.split_once('@').unwrap_or(("", authority));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let mut url = Self {
            user: decoded(user)?,
            password: decoded(password)?,
            hosts: hosts.to_owned(),
            database: decoded(database)?,
            application_name: String::from("sessiond"),
            ..Self::default()
        };
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            url.set(&key, value.into_owned())?;
        }
        Ok(url)
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), String> {
        match key {
            "user" => self.user = value,
            "password" => self.password = value,
            "host" => self.hosts = value,
            "port" => self.ports = value,
            "dbname" => self.database = value,
            "application_name" => self.application_name = value,
            "sslmode" => self.mode = Some(Mode::parse(&value)?),
            "sslrootcert" => self.root = Some(value).filter(|path| path != "system"),
            "sslcert" => self.certificate = Some(value),
            "sslkey" => self.key = Some(value),
            "connect_timeout" => {
                let seconds: u64 = value.parse().map_err(|_| "its connect_timeout is no number of seconds")?;
                self.connect_timeout = Some(Duration::from_secs(seconds)).filter(|timeout| !timeout.is_zero());
            }
            // These values ask for what is done anyway.
            "target_session_attrs" if matches!(&*value, "read-write" | "primary") => {}
            "channel_binding" if matches!(&*value, "prefer" | "disable") => {}
            "sslnegotiation" if value == "postgres" => {}
            "target_session_attrs" => {
                return Err(String::from("its target_session_attrs must be read-write: the primary is served from"));
            }
            "channel_binding" | "sslnegotiation" => {
                return Err(format!("it asks for a {key} that is not supported: leave it out"));
            }
            "hostaddr" => return Err(String::from("hostaddr is not supported: write the address as the host")),
            "options" => {
                return Err(String::from(
                    "options are not supported, as poolers refuse them: use ALTER ROLE … SET in the database instead",
                ));
            }
            // It may be part of a password with a question mark.
            _ => return Err(String::from("it has an option that is not known")),
        }
        Ok(())
    }

    /// The hosts, each with its port.
    fn places(&self) -> Result<Vec<(String, u16)>, String> {
        let number = |port: &str| port.parse().map_err(|_| String::from("one of its ports is no port"));
        let ports = self.ports.split(',').filter(|port| !port.is_empty()).map(number).collect::<Result<Vec<_>, _>>()?;
        let mut places = Vec::new();
        for (at, host) in self.hosts.split(',').filter(|host| !host.is_empty()).enumerate() {
            // An IPv6 address stands in brackets where it has colons of its own.
            let (name, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
                Some((name, "")) => (name, None),
                Some((name, port)) => (name, port.strip_prefix(':')),
                None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
            };
            let port = match port {
                Some(port) => number(port)?,
                None => ports.get(at).or(ports.first()).copied().unwrap_or(PORT),
            };
            places.push((decoded(name)?, port));
        }
        if places.is_empty() { Err(String::from("it names no host")) } else { Ok(places) }
    }

    /// How one host is reached.
    fn host(&self, host: &str, port: u16, mode: Mode) -> Result<Host, String> {
        // Nothing is left to the environment: what a URL does not say is set, too.
        let options = PgConnectOptions::new_without_pgpass();
        let user = if self.user.is_empty() { options.get_username().to_owned() } else { self.user.clone() };
        let database = if self.database.is_empty() { &user } else { &self.database };
        let options = options
            .port(port)
            .username(&user)
            .password(&self.password)
            .database(database)
            .application_name(&self.application_name)
            // Poolers refuse it, and there is no floating-point number here.
            .extra_float_digits(None)
            .disable_statement_logging();
        let options = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => options.ssl_client_cert(certificate).ssl_client_key(key),
            (None, None) => options,
            (Some(_), None) | (None, Some(_)) => return Err(String::from("sslcert and sslkey go together: name both")),
        };
        let options = match &self.root {
            Some(path) => options.ssl_root_cert(path),
            None => options,
        };
        let is_socket = host.starts_with('/');
        let ssl = match mode {
            // A Unix socket has no TLS, and only a user who may write to its directory can listen on it.
            Mode::Disable => PgSslMode::Disable,
            Mode::Prefer if is_socket => PgSslMode::Disable,
            Mode::Prefer => PgSslMode::Prefer,
            Mode::Require => PgSslMode::Require,
            Mode::VerifyFull => PgSslMode::VerifyFull,
        };
        let guard = match mode {
            Mode::Require | Mode::VerifyFull => None,
            Mode::Prefer | Mode::Disable if is_socket || self.password.is_empty() => None,
            Mode::Prefer => Some(Negotiation::Prefer),
            Mode::Disable => Some(Negotiation::Disable),
        };
        if guard.is_some() && !cfg!(target_os = "linux") {
            return Err(String::from(
                "a password can be kept from a server without TLS on Linux alone: use sslmode=verify-full",
            ));
        }
        let options = if is_socket { options.socket(host) } else { options.host(host) };
        Ok(Host { options: options.ssl_mode(ssl), guard, processes: Arc::default() })
    }

    /// Reads the files once, so that a mistake is found before anything is served. Each connection reads them again.
    fn read_files(&self, mode: Mode) -> Result<[u8; 32], String> {
        let mut all = Sha256::new();
        for (key, path) in [("sslrootcert", &self.root), ("sslcert", &self.certificate), ("sslkey", &self.key)] {
            let Some(path) = path else { continue };
            let read = std::fs::read_to_string(path);
            let text = read.map_err(|error| format!("its {key} {path} cannot be read: {error}"))?;
            if key != "sslkey" && !text.contains("-----BEGIN CERTIFICATE-----") {
                return Err(format!("its {key} {path} holds no certificates"));
            }
            all.update(Sha256::digest(text));
        }
        if mode == Mode::VerifyFull && self.root.is_none() {
            let mut machines = rustls_native_certs::load_native_certs().certs;
            if machines.is_empty() {
                let why = if self.mode.is_some() {
                    "sslmode=verify-full"
                } else {
                    "to another machine sslmode is verify-full, which"
                };
                return Err(format!("{why} finds no certificates to trust: name a file of them by sslrootcert"));
            }
            // A directory lists its files in any order.
            machines.sort_by(|one, other| one.as_ref().cmp(other.as_ref()));
            for certificate in &machines {
                all.update(certificate);
            }
        }
        Ok(all.finalize().into())
    }

    /// Refuses variables of the environment that the driver reads whatever the options say.
    fn check_environment(&self, mode: Mode) -> Result<(), String> {
        let encrypted = mode != Mode::Disable;
        for (name, counts, instead) in [
            ("PGOPTIONS", true, "leave it out"),
            ("PGUSER", self.user.is_empty(), "name the user in the URL"),
            ("PGSSLROOTCERT", mode == Mode::VerifyFull && self.root.is_none(), "write sslrootcert"),
            ("PGSSLCERT", encrypted && self.certificate.is_none(), "write sslcert"),
            ("PGSSLKEY", encrypted && self.key.is_none(), "write sslkey"),
        ] {
            if counts && std::env::var_os(name).is_some() {
                return Err(format!(
                    "the environment variable {name} would count beside it: unset that, and {instead}"
                ));
            }
        }
        Ok(())
    }
}

/// What percent-encoding stands for.
fn decoded(text: &str) -> Result<String, String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        // Looked at before.
        let (code, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        bytes.extend(u8::from_str_radix(code, 16).ok());
        bytes.extend(rest.bytes());
    }
    let text = String::from_utf8(bytes).map_err(|_| String::from("its percent-encoding is not UTF-8"))?;
    if text.contains('\0') { Err(String::from("it holds a NUL")) } else { Ok(text) }
}

/// Whether the way to a host leads through a network.
fn is_elsewhere(host: &str) -> bool {
    let is_local = host.starts_with('/') || host == "localhost";
    !is_local && !host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Refuses a URL with an unescaped reserved character, as passwords often have. Parsed, a part of the password would be
/// taken for a host and looked up, in clear.
fn refuse_raw_letters(url: &str) -> Result<(), String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let escaped = |behind: &str| behind.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if authority.matches('@').count() > 1 || behind.contains(['@', '#']) || !rest.split('%').skip(1).all(escaped) {
        return Err(String::from(
            "its user or password holds a letter that means something else in a URL: write that one in \
             percent-encoding, which is %40 for @, %2F for /, %3F for ?, %23 for #, %3A for : and %25 for %",
        ));
    }
    Ok(())
}

impl Mode {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "disable" => Ok(Self::Disable),
            "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            "verify-full" => Ok(Self::VerifyFull),
            "allow" | "verify-ca" => Err(format!("sslmode={text} is not supported: write verify-full, or disable")),
            _ => Err(String::from("its sslmode is none of disable, prefer, require and verify-full")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_another_machine_the_server_is_verified_unless_the_url_names_a_mode() {
        let authority = rcgen::generate_simple_self_signed([String::from("db")]).expect("a certificate");
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("root.crt");
        std::fs::write(&path, authority.cert.pem()).expect("written");
        let root = format!("sslrootcert={}", path.display());
        for (url, ssl, guard, warns) in [
            ("postgres://me:pw@db/x?", PgSslMode::VerifyFull, None, false),
            ("postgres://me:pw@localhost,db/x?", PgSslMode::VerifyFull, None, false),
            ("postgres://me:pw@0.0.0.0/x?", PgSslMode::VerifyFull, None, false),
            ("postgres://me:pw@db/x?sslmode=verify-full&", PgSslMode::VerifyFull, None, false),
            ("postgres://me:pw@a,b/x?sslmode=require&", PgSslMode::Require, None, true),
            ("postgres://me:pw@db/x?sslmode=prefer&", PgSslMode::Prefer, Some(Negotiation::Prefer), true),
            ("postgresql://me:pw@db:5433/x?sslmode=disable&", PgSslMode::Disable, Some(Negotiation::Disable), true),
            ("postgres://me:pw@localhost,127.0.0.1,[::1]/x?", PgSslMode::Prefer, Some(Negotiation::Prefer), false),
            ("postgres://localhost/x?user=me&password=pw&", PgSslMode::Prefer, Some(Negotiation::Prefer), false),
            ("postgres://me:pw@localhost/x?sslmode=disable&", PgSslMode::Disable, Some(Negotiation::Disable), false),
            // There is no password to keep.
            ("postgres://me@localhost/x?", PgSslMode::Prefer, None, false),
            ("postgres://me@db/x?sslmode=disable&", PgSslMode::Disable, None, true),
        ] {
            let address = Address::parse(&format!("{url}{root}")).expect(url);
            assert_eq!(address.warning.is_some(), warns, "{url}");
            for Host { options, guard: guarded, .. } in &address.hosts {
                assert_eq!(*guarded, guard, "{url}");
                assert_eq!(format!("{:?}", options.get_ssl_mode()), format!("{ssl:?}"), "{url}");
            }
        }
        let socket = Address::parse("postgres://me:pw@%2Frun%2Fpostgresql/x?application_name=a%20b").expect("a socket");
        let [Host { options, guard, .. }] = &socket.hosts[..] else { panic!("one") };
        assert!(matches!(options.get_ssl_mode(), PgSslMode::Disable), "no TLS");
        assert_eq!(options.get_socket(), Some(&"/run/postgresql".into()));
        assert_eq!((options.get_application_name(), *guard, socket.warning), (Some("a b"), None, None));
    }

    #[test]
    fn every_part_of_a_url_reaches_the_driver() {
        let whole = "postgres://m%40e:p%3Aw@a,b:6000,[::1]:6001/d%20b?port=7000&sslmode=require";
        let by_name =
            "postgres:///?user=m%40e&password=p:w&host=a,b,::1&port=7000,6000,6001&dbname=d%20b&sslmode=require";
        for url in [whole, by_name.replace("::1", "[::1]").as_str()] {
            let address = Address::parse(url).expect(url);
            let places: Vec<_> =
                address.hosts.iter().map(|host| (host.options.get_host(), host.options.get_port())).collect();
            assert_eq!(places, [("a", 7000), ("b", 6000), ("::1", 6001)], "{url}");
            let options = &address.hosts[0].options;
            assert_eq!((options.get_username(), options.get_database()), ("m@e", Some("d b")), "{url}");
            assert!(format!("{options:?}").contains("Some(\"p:w\")"), "{url}");
        }
        let short = Address::parse("postgres://me@localhost").expect("short");
        let options = &short.hosts[0].options;
        assert_eq!((options.get_port(), options.get_database()), (5432, Some("me")));
        assert_eq!((options.get_application_name(), options.get_options()), (Some("sessiond"), None));
    }

    #[test]
    fn of_several_hosts_none_is_waited_for_so_long_that_no_time_is_left_for_the_others() {
        for (url, patience) in [
            ("postgres://me@a/x?sslmode=require", None),
            ("postgres://me@a,b/x?sslmode=require", Some(300)),
            ("postgres://me@a,b,c,d/x?sslmode=require", Some(100)),
            ("postgres://me@a,b/x?sslmode=require&connect_timeout=2", Some(2000)),
        ] {
            let address = Address::parse(url).expect(url);
            assert_eq!(address.patience, patience.map(Duration::from_millis), "{url}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_in_a_sentence_without_secrets() {
        for (url, word) in [
            ("postgres://me:s3cret@db/x?sslmode=verify-ca", "write verify-full"),
            ("postgres://me:s3cret@db/x?sslmode=allow", "write verify-full"),
            ("postgres://me:s3cret@db/x?sslmode=s3cret", "none of disable"),
            ("postgres://me:s3cret@db/x?sslmode=verify-full&sslrootcert=/nowhere", "/nowhere"),
            ("postgres://me:s3cret@db/x?sslmode=require&sslcert=/nowhere", "/nowhere"),
            ("postgres://me:s3cret@db/x?colour=s3cret", "an option that is not known"),
            ("postgres://me:s3cret@db/x?options=-c%20jit=on", "ALTER ROLE"),
            ("postgres://me:s3cret@db/x?hostaddr=127.0.0.1", "hostaddr"),
            ("postgres://me:s3cret@db/x?target_session_attrs=any", "read-write"),
            ("postgres://me:s3cret@db/x?channel_binding=require", "channel_binding"),
            ("postgres://me:s3cret@db/x?sslnegotiation=direct", "sslnegotiation"),
            ("postgres://me:s3cret@db/x?connect_timeout=s3cret", "connect_timeout"),
            ("postgres://me:p@s3cret:w/o?r#d@db/x", "percent-encoding"),
            ("postgres://me:p@s3cret@db/x", "percent-encoding"),
            ("postgres://me:one?s3cret@db/x", "percent-encoding"),
            ("postgres://me:12/s3cret@db/x", "percent-encoding"),
            ("postgres://me:12#s3cret@db/x", "percent-encoding"),
            ("postgres://me:s3cret#@db/x", "percent-encoding"),
            ("postgres://me:100%s3cret@db/x", "percent-encoding"),
            ("postgres://me:s3cret%4@db/x", "percent-encoding"),
            ("postgres://me:s3cret%@db/x", "percent-encoding"),
            ("postgres://me:s3cret%00@db/x", "NUL"),
            ("postgres://me:s3cret@db/x?sslrootcert=/nowhere", "/nowhere"),
            ("postgres:///x", "names no host"),
            ("postgres://me:s3cret@db:port/x", "port"),
        ] {
            let refused = Address::parse(url).err().unwrap_or_else(|| panic!("{url}"));
            assert!(refused.contains(word) && !refused.contains("s3cret"), "{url}: {refused}");
        }
    }
}
