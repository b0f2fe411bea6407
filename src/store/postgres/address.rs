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
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long hosts that are gone without a word may keep one waiting that is there; enough is left to ask it.
const PATIENCE: Duration = Duration::from_millis(300);

/// What a connection is made with.
pub(super) struct Address {
    /// All but TLS.
    pub(super) config: tokio_postgres::Config,
    /// How TLS is made, where it is.
    pub(super) tls: MakeRustlsConnect,
}

/// What `sslmode` asks for, in PostgreSQL's words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Disable,
    /// Encrypted if the server can; nobody is authenticated. The default, as everywhere with PostgreSQL.
    Prefer,
    /// Encrypted; nobody is authenticated.
    Require,
    /// Encrypted, and the server's certificate is valid for the host's name.
    VerifyFull,
}

impl Address {
    /// Reads a URL. An error is a sentence without any part of the URL that could be a secret.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut root, mut rest) = (Mode::Prefer, None, form_urlencoded::Serializer::new(String::new()));
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "sslmode" => mode = Mode::parse(&value)?,
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
        config.ssl_mode(match mode {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::VerifyFull => SslMode::Require,
        });
        // Of several hosts, the one that takes writes.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        if config.get_application_name().is_none() {
            config.application_name("sessiond");
        }
        let others = u32::try_from(config.get_hosts().len()).unwrap_or(u32::MAX).saturating_sub(1);
        if let (None, Some(each)) = (config.get_connect_timeout(), PATIENCE.checked_div(others)) {
            config.connect_timeout(each);
        }
        if mode != Mode::VerifyFull && config.get_hosts().iter().any(is_elsewhere) {
            tracing::warn!(
                "whoever answers at the database's address is believed: add sslmode=verify-full to database_url"
            );
        }
        Ok(Self { config, tls: MakeRustlsConnect::new(tls(mode, root.as_deref())?) })
    }
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

/// Whether the way there leads through a network.
fn is_elsewhere(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name != "localhost" && !name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        Host::Unix(_) => false,
    }
}

fn tls(mode: Mode, root: Option<&str>) -> Result<ClientConfig, String> {
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
        return Err(String::from(
            "sslmode=verify-full finds no certificates to trust: name a file of them by sslrootcert",
        ));
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
    fn what_a_url_asks_for_is_what_the_driver_is_told() {
        for (url, mode, hosts) in [
            ("postgres://db", SslMode::Prefer, 1),
            ("postgresql://me:s3cret@db:5433/x?sslmode=disable", SslMode::Disable, 1),
            ("postgres://a,b/x?sslmode=require", SslMode::Require, 2),
            ("postgres://me@%2Frun%2Fpostgresql/x?application_name=a%20b", SslMode::Prefer, 1),
        ] {
            let address = Address::parse(url).expect(url);
            assert_eq!((address.config.get_ssl_mode(), address.config.get_hosts().len()), (mode, hosts), "{url}");
            assert_eq!(address.config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        }
    }

    #[test]
    fn of_several_hosts_none_is_waited_for_so_long_that_no_time_is_left_for_the_others() {
        for (url, patience) in [
            ("postgres://a/x", None),
            ("postgres://a,b/x", Some(300)),
            ("postgres://a,b,c,d/x", Some(100)),
            ("postgres://a,b/x?connect_timeout=2", Some(2000)),
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
            ("postgres://me:one?s3cret@db/x", "port"),
            ("postgres:///x", "names no host"),
            ("postgres://me:s3cret@db:port/x", "port"),
        ] {
            let refused = Address::parse(url).err().unwrap_or_else(|| panic!("{url}"));
            assert!(refused.contains(word) && !refused.contains("s3cret"), "{url}: {refused}");
        }
    }
}
