//! Where the database is: a `postgres://` URL as PostgreSQL's own tools read it, with TLS by rustls.
//!
//! The driver knows neither `verify-full` nor `sslrootcert`, so what is about TLS is read here and the rest left to it.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::config::{Host, SslMode, SslNegotiation, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::transport::{Negotiation, Transport};

/// How long hosts that are gone without a word may keep one waiting that is there; enough is left to ask it.
const PATIENCE: Duration = Duration::from_millis(300);

/// What a connection is made with.
pub(super) struct Address {
    /// All but TLS.
    pub(super) config: tokio_postgres::Config,
    /// How TLS is made, where it is.
    pub(super) transport: Transport,
    /// What is unsafe about it.
    pub(super) warning: Option<&'static str>,
}

/// What `sslmode` asks for, in PostgreSQL's words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Disable,
    /// Encrypted if the server can; nobody is authenticated. The default on this machine.
    Prefer,
    /// Encrypted; nobody is authenticated.
    Require,
    /// Encrypted, and the server's certificate is valid for the host's name. The default to another machine.
    VerifyFull,
}

impl Address {
    /// Reads a URL. An error is a sentence without any part of the URL that could be a secret.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        refuse_raw_letters(url)?;
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut named, mut root, mut rest) = (None, None, form_urlencoded::Serializer::new(String::new()));
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "sslmode" => named = Some(Mode::parse(&value)?),
                "sslrootcert" => root = Some(value.into_owned()),
                "sslcert" | "sslkey" => return Err(format!("{key} is not supported: log in with a password instead")),
                _ => drop(rest.append_pair(&key, &value)),
            }
        }
        // The driver reads %20, and takes a plus for itself.
        let rest = rest.finish().replace('+', "%20");
        let mut config = tokio_postgres::Config::from_str(&format!("{place}?{rest}")).map_err(|error| unfit(&error))?;
        if config.get_hosts().is_empty() {
            return Err(String::from("it names no host"));
        }
        let elsewhere = is_elsewhere(&config);
        let mode = named.unwrap_or(if elsewhere { Mode::VerifyFull } else { Mode::Prefer });
        let negotiation = negotiate(&mut config, mode)?;
        // Of several hosts, the one that takes writes.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        if config.get_application_name().is_none() {
            config.application_name("sessiond");
        }
        let others = u32::try_from(config.get_hosts().len()).unwrap_or(u32::MAX).saturating_sub(1);
        if let (None, Some(each)) = (config.get_connect_timeout(), PATIENCE.checked_div(others)) {
            config.connect_timeout(each);
        }
        let warning = (elsewhere && mode != Mode::VerifyFull).then_some(
            "database_url names another machine, and sslmode lets any machine pass for it: write sslmode=verify-full",
        );
        let rustls = MakeRustlsConnect::new(tls(mode, named.is_some(), root.as_deref())?);
        Ok(Self { config, transport: Transport { rustls, negotiation }, warning })
    }
}

/// Tells the driver what a mode asks for, and who does it. Through a network the driver leaves all that may be in clear
/// to us: it is told that TLS begins at once. A socket of this machine knows no TLS, and only who
/// may write in its directory can listen there.
fn negotiate(config: &mut tokio_postgres::Config, mode: Mode) -> Result<Negotiation, String> {
    let sockets = config.get_hosts().iter().filter(|host| matches!(host, Host::Unix(_))).count();
    let (ssl_mode, negotiation) = match mode {
        Mode::Require | Mode::VerifyFull => (SslMode::Require, Negotiation::Driver),
        Mode::Prefer if sockets == 0 => (SslMode::Require, Negotiation::Prefer),
        Mode::Disable if sockets == 0 => (SslMode::Require, Negotiation::Disable),
        Mode::Prefer | Mode::Disable if sockets < config.get_hosts().len() => {
            return Err(String::from("it names sockets and hosts: name either"));
        }
        Mode::Prefer | Mode::Disable => (SslMode::Disable, Negotiation::Driver),
    };
    config.ssl_mode(ssl_mode);
    if negotiation != Negotiation::Driver {
        if config.get_ssl_negotiation() == SslNegotiation::Direct {
            return Err(String::from("sslnegotiation=direct needs sslmode=verify-full, or require"));
        }
        config.ssl_negotiation(SslNegotiation::Direct);
    }
    Ok(negotiation)
}

/// Refuses a URL that holds a letter which means something else there, as passwords often do. Parsed, a part of the
/// password would be taken for a host and looked up, in clear.
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

/// Why the driver does not take a URL. An option that it does not know may be part of a password with a question mark.
fn unfit(error: &tokio_postgres::Error) -> String {
    let why = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    if why.starts_with("invalid value for option") {
        return why;
    }
    String::from(
        "it is no URL of PostgreSQL, or has an option that is not known: write postgres://user:password@host/database",
    )
}

/// Whether the way to any of the hosts leads through a network.
fn is_elsewhere(config: &tokio_postgres::Config) -> bool {
    let local =
        |name: &str| name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let remote = |host: &Host| match host {
        Host::Tcp(name) => !local(name),
        Host::Unix(_) => false,
    };
    match config.get_hostaddrs() {
        [] => config.get_hosts().iter().any(remote),
        // Where addresses are given, they are where it leads, and the names are what certificates are for.
        addresses => addresses.iter().any(|address| !address.is_loopback()),
    }
}

fn tls(mode: Mode, named: bool, root: Option<&str>) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    if mode != Mode::VerifyFull {
        let anybody = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)));
        return Ok(anybody.with_no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    match root.filter(|path| *path != "system") {
        Some(path) => {
            let unreadable = |error| format!("its sslrootcert {path} cannot be read: {error}");
            for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
                roots.add(certificate.map_err(unreadable)?).map_err(|error| format!("in {path}: {error}"))?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if roots.is_empty() {
        let why = if named { "sslmode=verify-full" } else { "to another machine sslmode is verify-full, which" };
        return Err(format!("{why} finds no certificates to trust: name a file of them by sslrootcert"));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Believes any certificate, as `sslmode=require` does: against listeners on the way, not against impostors.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
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
        for (url, negotiation, warns) in [
            ("postgres://db/x?", Negotiation::Driver, false),
            ("postgres://localhost,db/x?", Negotiation::Driver, false),
            ("postgres://localhost/x?hostaddr=192.0.2.1&", Negotiation::Driver, false),
            ("postgres://0.0.0.0/x?", Negotiation::Driver, false),
            ("postgres://db/x?sslmode=verify-full&", Negotiation::Driver, false),
            ("postgres://a,b/x?sslmode=require&", Negotiation::Driver, true),
            ("postgres://db/x?sslmode=prefer&", Negotiation::Prefer, true),
            ("postgresql://me:s3cret@db:5433/x?sslmode=disable&", Negotiation::Disable, true),
            ("postgres://localhost,127.0.0.1,[::1]/x?", Negotiation::Prefer, false),
            ("postgres://db/x?hostaddr=127.0.0.1&", Negotiation::Prefer, false),
            ("postgres://localhost/x?sslmode=disable&", Negotiation::Disable, false),
        ] {
            let address = Address::parse(&format!("{url}{root}")).expect(url);
            assert!(address.transport.negotiation == negotiation, "{url}");
            assert_eq!((address.warning.is_some(), address.config.get_ssl_mode()), (warns, SslMode::Require), "{url}");
            assert_eq!(address.config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        }
        let socket = Address::parse("postgres://me@%2Frun%2Fpostgresql/x?application_name=a%20b").expect("a socket");
        assert_eq!((socket.config.get_ssl_mode(), socket.warning), (SslMode::Disable, None));
    }

    #[test]
    fn of_several_hosts_none_is_waited_for_so_long_that_no_time_is_left_for_the_others() {
        for (url, patience) in [
            ("postgres://a/x?sslmode=require", None),
            ("postgres://a,b/x?sslmode=require", Some(300)),
            ("postgres://a,b,c,d/x?sslmode=require", Some(100)),
            ("postgres://a,b/x?sslmode=require&connect_timeout=2", Some(2000)),
        ] {
            let address = Address::parse(url).expect(url);
            let patience = patience.map(Duration::from_millis);
            assert_eq!(address.config.get_connect_timeout(), patience.as_ref(), "{url}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_in_a_sentence_without_secrets() {
        for (url, word) in [
            ("postgres://me:s3cret@db/x?sslmode=verify-ca", "write verify-full"),
            ("postgres://me:s3cret@db/x?sslmode=s3cret", "none of disable"),
            ("postgres://me:s3cret@db/x?sslmode=verify-full&sslrootcert=/nowhere", "/nowhere"),
            ("postgres://me:s3cret@db/x?sslcert=a", "sslcert is not supported"),
            ("postgres://me:s3cret@db/x?colour=s3cret", "an option that is not known"),
            ("postgres://me:p@s3cret:w/o?r#d@db/x", "percent-encoding"),
            ("postgres://me:p@s3cret@db/x", "percent-encoding"),
            ("postgres://me:one?s3cret@db/x", "percent-encoding"),
            ("postgres://me:12/s3cret@db/x", "percent-encoding"),
            ("postgres://me:12#s3cret@db/x", "percent-encoding"),
            ("postgres://me:s3cret#@db/x", "percent-encoding"),
            ("postgres://me:100%s3cret@db/x", "percent-encoding"),
            ("postgres://me:s3cret%4@db/x", "percent-encoding"),
            ("postgres://me:s3cret%@db/x", "percent-encoding"),
            ("postgres://%2Frun,localhost/x?sslmode=prefer", "name either"),
            ("postgres://localhost/x?sslnegotiation=direct", "needs sslmode=verify-full"),
            ("postgres://me:s3cret@db/x?sslrootcert=/nowhere", "/nowhere"),
            ("postgres:///x", "names no host"),
            ("postgres://me:s3cret@db:port/x", "port"),
        ] {
            let refused = Address::parse(url).err().unwrap_or_else(|| panic!("{url}"));
            assert!(refused.contains(word) && !refused.contains("s3cret"), "{url}: {refused}");
        }
    }
}
