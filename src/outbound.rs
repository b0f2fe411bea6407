//! Connections that this program opens by itself, outside of the runtime that serves: blocking, over TLS or not, and with an
//! end.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use tokio::time::Instant;

/// The certification authorities of this machine, or those that `SSL_CERT_FILE` names. There may be none.
pub fn authorities() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// What TLS trusts these authorities by, with no certificate of its own.
///
/// # Errors
/// Where the provider of cryptography has none of the protocol's versions.
pub fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// How much time is left until a moment.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] when there is none.
pub fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// A stream on which nothing takes longer than until a moment.
#[derive(Debug)]
pub struct Timed<S> {
    /// What is read and written.
    pub stream: S,
    /// The same connection, by which its time is limited.
    pub timer: TcpStream,
    /// The moment.
    pub until: Instant,
}

impl<S> Timed<S> {
    /// Limits what follows. TLS may write to read, and begins with reading.
    fn limit(&self) -> io::Result<()> {
        let left = Some(left(self.until)?);
        self.timer.set_read_timeout(left)?;
        self.timer.set_write_timeout(left)
    }
}

impl<S: Read> Read for Timed<S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.limit()?;
        self.stream.read(into)
    }
}

impl<S: Write> Write for Timed<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.limit()?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.limit()?;
        self.stream.flush()
    }
}
