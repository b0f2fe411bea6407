//! Hands one request to a collector over HTTP/1.1, by a deadline. It blocks, on a thread that does nothing else, so that
//! neither the serving runtime nor its end ever waits for a collector.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use tokio::time::Instant;

use crate::config::OtlpEndpoint;
use crate::outbound::{self, Timed, left};

/// The longest head of an answer that is read, in bytes.
const LONGEST_HEAD: usize = 16 * 1024;
/// The most header lines in it.
const MOST_LINES: usize = 64;

/// Why spans were not taken, as words for the log.
#[derive(Debug)]
pub(super) enum NotTaken {
    /// They may be taken later.
    Now(String),
    /// They never will be.
    Ever(String),
}

/// Sends a body, and waits for the answer's status.
pub(super) fn post(to: &OtlpEndpoint, body: &[u8], until: Instant) -> Result<(), NotTaken> {
    let status = exchange(to, body, until).map_err(NotTaken::Now)?;
    let said = format!("it answered with status {status}");
    match status {
        200..=299 => Ok(()),
        // The specification of OTLP names these four.
        429 | 502 | 503 | 504 => Err(NotTaken::Now(said)),
        _ => Err(NotTaken::Ever(said)),
    }
}

fn exchange(to: &OtlpEndpoint, body: &[u8], until: Instant) -> Result<u16, String> {
    let tcp = connect(to, until).map_err(|error| format!("it cannot be connected to: {error}"))?;
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}/{}\r\nContent-Type: application/x-protobuf\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        to.path(),
        to.authority(),
        env!("CARGO_PKG_NAME"),
        env!("CARGO_PKG_VERSION"),
        body.len()
    );
    let request = [head.as_bytes(), body].concat();
    let timer = tcp.try_clone().map_err(|error| error.to_string())?;
    let answered = if to.is_https() {
        talk(Timed { stream: StreamOwned::new(tls(&to.host())?, tcp), timer, until }, &request)
    } else {
        talk(Timed { stream: tcp, timer, until }, &request)
    };
    answered.map_err(|error| {
        if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
            String::from("it did not answer in time")
        } else {
            format!("its answer is none: {error}")
        }
    })
}

fn connect(to: &OtlpEndpoint, until: Instant) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = (to.host(), to.port()).to_socket_addrs()?.collect();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect_timeout(&address, left(until)?) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A connection over TLS.
fn tls(host: &str) -> Result<ClientConnection, String> {
    let roots = outbound::authorities();
    if roots.is_empty() {
        return Err(String::from("there are no certificates to trust: name a file of them by SSL_CERT_FILE"));
    }
    let config = outbound::trusting(roots).map_err(|error| error.to_string())?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    ClientConnection::new(config, name).map_err(|error| error.to_string())
}

fn talk(mut stream: impl Read + Write, request: &[u8]) -> io::Result<u16> {
    stream.write_all(request)?;
    stream.flush()?;
    let (mut head, mut piece) = (Vec::new(), [0; 4096]);
    while head.len() <= LONGEST_HEAD {
        let read = stream.read(&mut piece)?;
        head.extend(piece.iter().take(read));
        let mut lines = [httparse::EMPTY_HEADER; MOST_LINES];
        let mut answer = httparse::Response::new(&mut lines);
        let complete = answer.parse(&head).map_err(io::Error::other)?.is_complete();
        match answer.code {
            Some(status) if complete => return Ok(status),
            Some(_) | None if read == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(_) | None => {}
        }
    }
    Err(io::Error::other("its head has no end"))
}
