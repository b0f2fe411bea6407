//! Keeps the password from a server that is reached without TLS.
//!
//! The driver answers any kind of authentication that a server asks for, and has no option against that. Without TLS, a
//! server that asks for the password in clear, or as an MD5 hash, which is as good as the password, would get it, even
//! if it is an impostor. So the driver is given a socket of this process, whose other end passes messages on and ends
//! the connection when a server asks for that. SCRAM (RFC 5802), which proves that the password is known without
//! revealing it, passes.
//!
//! By such a socket the driver is also led to one of several addresses of a host.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::time::timeout;

use crate::domain::entropy::{Entropy as _, SystemEntropy};

/// The request for TLS that begins a connection, and the answers to it.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const TLS_ACCEPTED: u8 = b'S';
const TLS_DECLINED: u8 = b'N';
/// How long the driver may take to connect to the socket that was made for it.
const ARRIVAL: Duration = Duration::from_secs(1);
/// The longest message of a server before the client is authenticated. The driver would reserve memory for any length
/// that is announced.
const LONGEST: usize = 64 * 1024;

/// Whether TLS is asked for first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Negotiation {
    /// It is, and the connection goes on in clear where the server has none.
    Prefer,
    /// It is not: the connection is in clear.
    Disable,
}

/// The options that the driver connects with, so that the password is kept safe: TLS that cannot fall back, or a socket
/// whose other end is already connected to the server. With an address they lead there.
pub(super) async fn guarded(
    options: &PgConnectOptions,
    negotiation: Negotiation,
    to: Option<SocketAddr>,
) -> sqlx::Result<PgConnectOptions> {
    let mut server = match to {
        Some(to) => TcpStream::connect(to).await?,
        None => TcpStream::connect((options.get_host(), options.get_port())).await?,
    };
    server.set_nodelay(true)?;
    match negotiation {
        Negotiation::Disable => {}
        Negotiation::Prefer => {
            server.write_all(&SSL_REQUEST).await?;
            match (server.read_u8().await?, to) {
                (TLS_ACCEPTED, None) => return Ok(options.clone().ssl_mode(PgSslMode::Require)),
                (TLS_ACCEPTED, Some(to)) => return Ok(led(options, to).await?.ssl_mode(PgSslMode::Require)),
                (TLS_DECLINED, _) => {}
                _ => return Err(sqlx::Error::Protocol(String::from("this is no PostgreSQL server"))),
            }
        }
    }
    Ok(through(options, server, Watch::default())?.ssl_mode(PgSslMode::Disable))
}

/// The options by which the driver connects to one address of its host. It cannot be told one beside the name, by which TLS
/// knows the server.
pub(super) async fn led(options: &PgConnectOptions, to: SocketAddr) -> sqlx::Result<PgConnectOptions> {
    let server = TcpStream::connect(to).await?;
    server.set_nodelay(true)?;
    through(options, server, Watch { client_is_in: true, ..Watch::default() })
}

/// Makes a socket for the driver whose other end is this connection.
fn through(options: &PgConnectOptions, server: TcpStream, watch: Watch) -> sqlx::Result<PgConnectOptions> {
    let mut random = [0; 16];
    SystemEntropy.fill(&mut random).map_err(|error| sqlx::Error::Io(io::Error::other(error.to_string())))?;
    // A name that begins with NUL is in no directory (unix(7)): nothing is left behind, and there are no rights to mistake.
    let folder = PathBuf::from(format!("\0sessiond-{:032x}", u128::from_ne_bytes(random)));
    let listener = UnixListener::bind(folder.join(format!(".s.PGSQL.{}", options.get_port())))?;
    #[expect(
        clippy::disallowed_methods,
        reason = "ends when either side of the connection does, or when the driver does not connect"
    )]
    tokio::spawn(async move {
        if let Ok(Ok(client)) = timeout(ARRIVAL, ours(listener)).await {
            // When either side closes, the other is closed at once.
            let _ = pass_on(client, server, watch).await;
        }
    });
    Ok(options.clone().socket(folder))
}

/// Waits for this process to connect. Any other process that has found the name is refused.
async fn ours(listener: UnixListener) -> io::Result<UnixStream> {
    let us = i32::try_from(std::process::id()).map_err(io::Error::other)?;
    loop {
        let (client, _) = listener.accept().await?;
        if client.peer_cred()?.pid() == Some(us) {
            return Ok(client);
        }
    }
}

/// Passes on bytes both ways, until one side closes.
async fn pass_on(mut client: UnixStream, mut server: TcpStream, watch: Watch) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    tokio::select! {
        ended = copy(&mut from_client, &mut to_server) => ended.map(drop),
        ended = answers(&mut from_server, &mut to_client, watch) => ended,
    }
}

/// Passes on the server's messages, unless it asks for the password.
async fn answers(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut watch: Watch,
) -> io::Result<()> {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut bytes).await?;
        let Some(read) = bytes.get(..length).filter(|read| !read.is_empty()) else { return Ok(()) };
        if let Some(why) = watch.refuses(read) {
            return to.write_all(&refusal(why)).await;
        }
        to.write_all(read).await?;
    }
}

/// An error as the server would send it: the driver hands it on.
fn refusal(why: &str) -> Vec<u8> {
    let fields = format!("SFATAL\0VFATAL\0C28000\0M{why}\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap_or(u32::MAX);
    [&b"E"[..], &length.to_be_bytes(), fields.as_bytes()].concat()
}

/// The state of reading the server's messages, up to the one that authenticates the client.
#[derive(Default)]
struct Watch {
    /// The beginning of the message under way: its type, its length and, of one about authentication, what it says.
    begun: Vec<u8>,
    /// Bytes until the next message begins.
    rest: usize,
    /// Whether the client is authenticated, so that nothing more is asked of it.
    client_is_in: bool,
}

impl Watch {
    /// Why the connection must end, if by the end of these bytes the server has asked for a password, or is no
    /// PostgreSQL server.
    fn refuses(&mut self, mut bytes: &[u8]) -> Option<&'static str> {
        const OK: usize = 0;
        const CLEARTEXT: usize = 3;
        const MD5: usize = 5;
        while let (false, Some((&byte, behind))) = (self.client_is_in, bytes.split_first()) {
            if self.rest > 0 {
                let skipped = self.rest.min(bytes.len());
                (self.rest, bytes) = (self.rest - skipped, bytes.get(skipped..).unwrap_or_default());
                continue;
            }
            bytes = behind;
            self.begun.push(byte);
            // The length counts itself, and not the type.
            match self.begun.as_slice() {
                [b'R', numbers @ ..] if numbers.len() == 8 => {
                    let (length, what) = numbers.split_at(4);
                    let what = number(what);
                    self.rest = number(length).saturating_sub(8);
                    self.begun.clear();
                    if matches!(what, CLEARTEXT | MD5) {
                        return Some(
                            "the server asks for the password without TLS, in clear or as MD5, and does not get it: \
                             give it a certificate and use sslmode=verify-full, or have it ask by scram-sha-256",
                        );
                    }
                    self.client_is_in = what == OK;
                }
                [kind, length @ ..] if *kind != b'R' && length.len() == 4 => {
                    self.rest = number(length).saturating_sub(4);
                    self.begun.clear();
                }
                _ => {}
            }
            if self.rest > LONGEST {
                return Some("the server says too much before it lets anybody in");
            }
        }
        None
    }
}

/// A number as it travels.
fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, byte| (number << 8) | usize::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message about authentication.
    fn asks(what: u32, more: &[u8]) -> Vec<u8> {
        let length = u32::try_from(8 + more.len()).expect("short").to_be_bytes();
        [&b"R"[..], &length, &what.to_be_bytes(), more].concat()
    }

    /// Whether a password is asked for in these bytes, which come in pieces of a length.
    fn asked(bytes: &[u8], piece: usize) -> bool {
        let mut watch = Watch::default();
        bytes.chunks(piece).any(|piece| watch.refuses(piece).is_some())
    }

    #[test]
    fn what_asks_for_a_password_is_seen_however_it_arrives() {
        let notice = [&b"N\0\0\0\x0f"[..], b"R\0\0\0\x08\0\0\0\x03xx"].concat();
        let sasl = asks(10, b"SCRAM-SHA-256\0\0");
        for (bytes, expected) in [
            (asks(3, b""), true),
            (asks(5, b"salt"), true),
            ([notice.clone(), asks(3, b"")].concat(), true),
            ([sasl.clone(), asks(5, b"salt")].concat(), true),
            (notice, false),
            (b"N\x7f\xff\xff\xff".to_vec(), true),
            ([sasl, asks(11, b"R\0\0\0\x08\0\0\0\x03"), asks(12, b"v=x"), asks(0, b"")].concat(), false),
            // Once the client is authenticated, data may look like anything.
            ([asks(0, b""), asks(3, b"")].concat(), false),
        ] {
            for piece in 1..=bytes.len() {
                assert_eq!(asked(&bytes, piece), expected, "{bytes:?} in pieces of {piece}");
            }
        }
    }
}
