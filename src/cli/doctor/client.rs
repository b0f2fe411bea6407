//! Sends requests whose header lines go out byte for byte as they are given, with limits on time, number and size.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tokio::time::Instant;
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::cli::answer::Answer;
use crate::outbound::{self, Timed, left};

/// How long a request may take, from the connection to the end of the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most requests that are sent before the sessions are ended.
const MOST_REQUESTS: usize = 160;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The name has no address.
    #[error("the name {0} has no address ({1})")]
    Name(String, io::Error),
    /// Nothing listens there, or nothing that is let through.
    #[error("{0} cannot be connected to ({1})")]
    Connection(String, io::Error),
    /// Its certificate, or how it speaks TLS.
    #[error("its TLS is not accepted ({0})")]
    Tls(rustls::Error),
    /// The answer took too long.
    #[error("there was no answer within {} seconds", PATIENCE.as_secs())]
    Slow,
    /// The connection broke, or what came is not HTTP.
    #[error("the answer is none ({0})")]
    Broken(io::Error),
    /// Something would send requests without an end.
    #[error("more than {MOST_REQUESTS} requests would be sent")]
    TooMany,
    /// The operator asked to stop.
    #[error("it was stopped")]
    Stopped,
}

/// A request to be sent.
pub struct Request {
    method: &'static str,
    url: Url,
    headers: Vec<(String, String)>,
    body: Option<Zeroizing<String>>,
}

impl Request {
    /// One without a body.
    pub fn new(method: &'static str, url: Url) -> Self {
        let agent = ("User-Agent".into(), concat!("sessiond-doctor/", env!("CARGO_PKG_VERSION")).into());
        Self { method, url, headers: vec![agent], body: None }
    }

    /// Adds a header line as it is, even if there is one of that name.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(mut self, body: Zeroizing<String>) -> Self {
        self.body = Some(body);
        self.header("Content-Type", "application/json")
    }

    /// Where it goes.
    pub fn url(&self) -> &Url {
        &self.url
    }

    fn bytes(&self) -> Zeroizing<Vec<u8>> {
        let target = &self.url[url::Position::BeforePath..url::Position::AfterQuery];
        let mut head = format!("{} {target} HTTP/1.1\r\nHost: {}\r\n", self.method, host(&self.url));
        if !self.headers.iter().any(|(name, _)| name == "Connection") {
            head.push_str("Connection: close\r\n");
        }
        let length = self.body.iter().map(|body| ("Content-Length".to_owned(), body.len().to_string()));
        for (name, value) in self.headers.iter().cloned().chain(length) {
            head.push_str(&name);
            head.push_str(": ");
            head.push_str(&value);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        head.push_str(self.body.as_deref().map_or("", String::as_str));
        Zeroizing::new(head.into_bytes())
    }
}

/// The host of a URL, with its port unless it is the scheme's, as `Host` has it.
pub fn host(url: &Url) -> String {
    let name = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

/// An answer, and the addresses of the connection that it came over.
pub struct Answered {
    /// The answer.
    pub answer: Answer,
    /// The own address.
    pub local: IpAddr,
    /// The address of what answered.
    pub peer: IpAddr,
}

/// Sends requests, each over a connection of its own.
pub struct Client {
    tls: Arc<ClientConfig>,
    left: Cell<usize>,
    stopped: Arc<AtomicBool>,
}

impl Client {
    /// Trusts the certification authorities of this machine, and those in a file. It sends nothing more once `stopped` is
    /// set, except what ends sessions.
    pub fn new(authorities: Option<&Path>, stopped: Arc<AtomicBool>) -> Result<Self, String> {
        let mut roots = outbound::authorities();
        if let Some(file) = authorities {
            let bad = |error| format!("{} holds no certificates to trust: {error}", file.display());
            let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect)
                .map_err(|error| bad(error.to_string()))?;
            if roots.add_parsable_certificates(certificates).0 == 0 {
                return Err(bad("there is none in it".into()));
            }
        }
        let tls = outbound::trusting(roots).map_err(|error| error.to_string())?;
        Ok(Self { tls, left: Cell::new(MOST_REQUESTS), stopped })
    }

    /// Sends a request, and reads the answer.
    pub fn send(&self, request: &Request) -> Result<Answer, Problem> {
        self.exchange(request).map(|answered| answered.answer)
    }

    /// The same, with the addresses of both ends.
    pub fn exchange(&self, request: &Request) -> Result<Answered, Problem> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(Problem::Stopped);
        }
        self.left.set(self.left.get().checked_sub(1).ok_or(Problem::TooMany)?);
        self.send_at_the_end(request)
    }

    /// Sends a request that ends what this run began, also after it was stopped.
    pub fn send_at_the_end(&self, request: &Request) -> Result<Answered, Problem> {
        let until = Instant::now() + PATIENCE;
        let tcp = connect(&request.url, until)?;
        let address = |address: io::Result<SocketAddr>| address.map(|of| of.ip()).map_err(Problem::Broken);
        let (local, peer) = (address(tcp.local_addr())?, address(tcp.peer_addr())?);
        let timer = tcp.try_clone().map_err(Problem::Broken)?;
        let bytes = request.bytes();
        let answer = if request.url.scheme() == "https" {
            let name = request.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let name = ServerName::try_from(name).map_err(|_| Problem::Tls(rustls::Error::UnsupportedNameType))?;
            let connection = ClientConnection::new(Arc::clone(&self.tls), name).map_err(Problem::Tls)?;
            talk(Timed { stream: StreamOwned::new(connection, tcp), timer, until }, &bytes, request.method)
        } else {
            talk(Timed { stream: tcp, timer, until }, &bytes, request.method)
        };
        Ok(Answered { answer: answer?, local, peer })
    }
}

/// Connects to the first address that answers. Names below `localhost` are this machine, as browsers have it (RFC 6761
/// section 6.3).
fn connect(url: &Url, until: Instant) -> Result<TcpStream, Problem> {
    let port = url.port_or_known_default().unwrap_or_default();
    let addresses: Vec<SocketAddr> = match url.host() {
        Some(Host::Domain(name)) if is_this_machine(name) => {
            [IpAddr::from(Ipv6Addr::LOCALHOST), Ipv4Addr::LOCALHOST.into()].map(|ip| SocketAddr::new(ip, port)).into()
        }
        Some(Host::Domain(name)) => {
            (name, port).to_socket_addrs().map_err(|error| Problem::Name(name.into(), error))?.collect()
        }
        Some(Host::Ipv4(ip)) => vec![SocketAddr::new(ip.into(), port)],
        Some(Host::Ipv6(ip)) => vec![SocketAddr::new(ip.into(), port)],
        None => Vec::new(),
    };
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect_timeout(&address, left(until).map_err(|_| Problem::Slow)?) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = error,
        }
    }
    Err(Problem::Connection(host(url), last))
}

/// Whether a name is this machine's own for browsers.
pub fn is_this_machine(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

fn talk(mut stream: impl Read + Write, bytes: &[u8], method: &str) -> Result<Answer, Problem> {
    // It may refuse and close before it has read everything, and its answer counts all the same.
    let sent = stream.write_all(bytes).and_then(|()| stream.flush());
    Answer::read(&mut stream, method).map_err(|read| problem(sent.err().unwrap_or(read)))
}

fn problem(error: io::Error) -> Problem {
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return Problem::Tls(tls.clone());
    }
    let slow = matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock);
    if slow { Problem::Slow } else { Problem::Broken(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_lines_go_out_byte_for_byte() {
        let url = Url::parse("http://Example.com:8000/app/?a=1&b=%26&c=+&d=%2F#fragment").expect("a URL");
        let request = Request::new("GET", url).header("Remote_User.Id", "x").header("Remote_User.Id", "y");
        let text = String::from_utf8(request.bytes().to_vec()).expect("UTF-8");
        let lines: Vec<_> = text.split("\r\n").collect();
        assert_eq!(lines[0], "GET /app/?a=1&b=%26&c=+&d=%2F HTTP/1.1");
        assert_eq!(lines[1..3], ["Host: example.com:8000", "Connection: close"]);
        assert!(lines[3].starts_with("User-Agent: sessiond-doctor/"), "{text}");
        assert_eq!(lines[4..], ["Remote_User.Id: x", "Remote_User.Id: y", "", ""]);
    }

    #[test]
    fn a_run_sends_a_bounded_number_of_requests_and_none_once_it_was_stopped() {
        let stopped = Arc::new(AtomicBool::new(false));
        let client = Client::new(None, Arc::clone(&stopped)).expect("a client");
        client.left.set(0);
        let request = Request::new("GET", Url::parse("http://127.0.0.1:1/").expect("a URL"));
        assert!(matches!(client.send(&request), Err(Problem::TooMany)));
        stopped.store(true, Ordering::Relaxed);
        assert!(matches!(client.send(&request), Err(Problem::Stopped)));
        assert!(matches!(client.send_at_the_end(&request), Err(Problem::Connection(..))));
    }
}
