//! The way to the server: by TLS, or in clear without ever telling a password.
//!
//! The driver answers whatever authentication the server asks for. Where no TLS is between, one that asks for the password
//! in clear, or as an MD5 hash, which is as good as it, would get it, even an impostor. So the driver is given a stream that
//! ends when that is asked. SCRAM (RFC 5802), which proves that the password is known and does not tell it, goes on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The request for TLS that begins a connection, and the answers to it.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const WILLING: u8 = b'S';
const UNWILLING: u8 = b'N';

/// A stream of the driver's in TLS.
type Encrypted = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// Who asks the server for TLS.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Negotiation {
    /// The driver has, or needs none, and what is left is the handshake.
    Driver,
    /// This, and the connection goes on in clear where the server has none.
    Prefer,
    /// Neither: the connection is in clear.
    Disable,
}

/// Makes connections what they should be, once the driver has opened them.
#[derive(Clone)]
pub(super) struct Transport {
    pub(super) rustls: MakeRustlsConnect,
    pub(super) negotiation: Negotiation,
}

impl MakeTlsConnect<Socket> for Transport {
    type Stream = Way;
    type TlsConnect = Connect;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Connect> {
        Ok(Connect { rustls: self.rustls.clone(), host: host.to_owned(), negotiation: self.negotiation })
    }
}

/// Makes one connection what it should be.
pub(super) struct Connect {
    rustls: MakeRustlsConnect,
    host: String,
    negotiation: Negotiation,
}

impl TlsConnect<Socket> for Connect {
    type Stream = Way;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Way>>;

    fn connect(self, stream: Socket) -> Self::Future {
        Box::pin(self.made(stream))
    }
}

impl Connect {
    async fn made(mut self, mut stream: Socket) -> io::Result<Way> {
        let encrypt = match self.negotiation {
            Negotiation::Driver => true,
            Negotiation::Disable => false,
            Negotiation::Prefer => {
                stream.write_all(&SSL_REQUEST).await?;
                match stream.read_u8().await? {
                    WILLING => true,
                    UNWILLING => false,
                    _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no PostgreSQL server")),
                }
            }
        };
        if !encrypt {
            return Ok(Way::Clear(Guard { stream, watch: Watch::default() }));
        }
        let Ok(connect) = MakeTlsConnect::<Socket>::make_tls_connect(&mut self.rustls, &self.host);
        Ok(Way::Encrypted(Box::new(connect.connect(stream).await?)))
    }
}

/// A way to the server.
pub(super) enum Way {
    Encrypted(Box<Encrypted>),
    Clear(Guard<Socket>),
}

impl TlsStream for Way {
    fn channel_binding(&self) -> ChannelBinding {
        match self {
            Self::Encrypted(stream) => stream.channel_binding(),
            Self::Clear(_) => ChannelBinding::none(),
        }
    }
}

impl AsyncRead for Way {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Encrypted(stream) => Pin::new(stream).poll_read(context, into),
            Self::Clear(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Way {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Encrypted(stream) => Pin::new(stream).poll_write(context, from),
            Self::Clear(Guard { stream, .. }) => Pin::new(stream).poll_write(context, from),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Encrypted(stream) => Pin::new(stream).poll_flush(context),
            Self::Clear(Guard { stream, .. }) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Encrypted(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Clear(Guard { stream, .. }) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// A stream in clear, which fails before its reader learns that a password is asked for.
pub(super) struct Guard<S> {
    stream: S,
    watch: Watch,
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, watch } = self.get_mut();
        let before = into.filled().len();
        ready!(Pin::new(stream).poll_read(context, into))?;
        let read = into.filled().get(before..).unwrap_or_default();
        if watch.asks_for_the_password(read) {
            into.set_filled(before);
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the server asks for the password without TLS, in clear or as MD5, and does not get it: \
                 give it a certificate and use sslmode=verify-full, or have it ask by scram-sha-256",
            )));
        }
        Poll::Ready(Ok(()))
    }
}

/// What of the server's messages is known, up to the one that lets the client in.
#[derive(Default)]
struct Watch {
    /// The beginning of the message under way: its type, its length and, of one about authentication, what it says.
    begun: Vec<u8>,
    /// Bytes until the next message begins.
    rest: usize,
    /// Whether the client is in: nothing is asked of it any more.
    over: bool,
}

impl Watch {
    /// Whether the server has asked for a password by the end of these bytes.
    fn asks_for_the_password(&mut self, mut bytes: &[u8]) -> bool {
        const OK: usize = 0;
        const CLEARTEXT: usize = 3;
        const MD5: usize = 5;
        while let (false, Some((&byte, behind))) = (self.over, bytes.split_first()) {
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
                        return true;
                    }
                    self.over = what == OK;
                }
                [kind, length @ ..] if *kind != b'R' && length.len() == 4 => {
                    self.rest = number(length).saturating_sub(4);
                    self.begun.clear();
                }
                _ => {}
            }
        }
        false
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
        bytes.chunks(piece).any(|piece| watch.asks_for_the_password(piece))
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
            ([sasl, asks(11, b"R\0\0\0\x08\0\0\0\x03"), asks(12, b"v=x"), asks(0, b"")].concat(), false),
            // Once it is in, data may look like anything.
            ([asks(0, b""), asks(3, b"")].concat(), false),
        ] {
            for piece in 1..=bytes.len() {
                assert_eq!(asked(&bytes, piece), expected, "{bytes:?} in pieces of {piece}");
            }
        }
    }
}
