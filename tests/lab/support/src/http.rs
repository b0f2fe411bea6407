//! Raw HTTP/1.1 over loopback, with the least parsing that still sees every status and the end of each answer.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const LONGEST_ANSWER: usize = 1024 * 1024;

/// A keep-alive connection, which carries one request at a time.
pub struct Connection {
    address: SocketAddr,
    stream: TcpStream,
    buffer: Vec<u8>,
    last: Framing,
}

/// Where the last answer's head ended, how long it was in all, and where its head gave the length of its body.
#[derive(Default)]
struct Framing {
    head: usize,
    total: usize,
    length: Vec<u8>,
    length_at: usize,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let (stream, buffer) = (connect(address).await?, vec![0; 8192]);
        Ok(Self { address, stream, buffer, last: Framing::default() })
    }

    /// Sends a request and reads the whole of its answer, whose status it returns. Nothing is ever sent twice: after an
    /// error the outcome of the request is unknown.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<u16> {
        self.attempt(request).await?.context("the connection was closed before an answer")
    }

    /// The same over a new connection, where the server closed this one between two requests.
    pub async fn exchange_or_reconnect(&mut self, request: &[u8]) -> Result<u16> {
        match self.attempt(request).await? {
            Some(status) => Ok(status),
            None => {
                self.stream = connect(self.address).await?;
                self.exchange(request).await
            }
        }
    }

    /// `None` when the connection turned out to be closed before any of the answer came.
    async fn attempt(&mut self, request: &[u8]) -> Result<Option<u16>> {
        if self.stream.write_all(request).await.is_err() {
            return Ok(None);
        }
        let mut filled = 0;
        loop {
            if filled == self.buffer.len() {
                ensure!(filled < LONGEST_ANSWER, "an answer longer than {LONGEST_ANSWER} bytes");
                self.buffer.resize(filled * 2, 0);
            }
            match self.stream.read(&mut self.buffer[filled..]).await {
                Ok(0) | Err(_) if filled == 0 => return Ok(None),
                Ok(0) => bail!("the server closed the connection in the middle of an answer"),
                Ok(more) => filled += more,
                Err(error) => return Err(error).context("reading an answer"),
            }
            if self.is_whole(filled)? {
                return Ok(Some(status(self.head())?));
            }
        }
    }

    /// An answer that is framed just like the one before it is whole, and its head need not be searched again.
    fn is_whole(&mut self, filled: usize) -> Result<bool> {
        let answer = &self.buffer[..filled];
        let Framing { head, total, length, length_at } = &self.last;
        if *total == filled && answer[..*head].ends_with(b"\r\n\r\n") && answer[*length_at..].starts_with(length) {
            return Ok(true);
        }
        let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(false);
        };
        let head = end + 4;
        let value = header(&answer[..head], "content-length").unwrap_or_default();
        let (length_at, body) = match value {
            "" => (0, 0),
            length => (length.as_ptr().addr() - answer.as_ptr().addr(), length.parse::<usize>()?),
        };
        let total = head + body;
        ensure!(filled <= total, "{} bytes after an answer", filled - total);
        self.last = Framing { head, total, length: value.into(), length_at };
        Ok(filled == total)
    }

    /// The status line and the headers of the last answer.
    pub fn head(&self) -> &[u8] {
        &self.buffer[..self.last.head]
    }

    /// The body of the last answer.
    pub fn body(&self) -> &[u8] {
        &self.buffer[self.last.head..self.last.total]
    }

    /// The value of a header of the last answer.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(self.head(), name)
    }
}

/// Sends these bytes over a connection of their own, and returns everything that comes until the server closes it.
pub async fn send(address: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = connect(address).await?;
    stream.write_all(bytes).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn status(head: &[u8]) -> Result<u16> {
    let digits = head.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    let status = digits.and_then(|digits| digits.parse().ok());
    status.with_context(|| format!("not a status line: {:?}", String::from_utf8_lossy(head)))
}

fn header<'h>(head: &'h [u8], name: &str) -> Option<&'h str> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (this, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":").filter(|_| this.eq_ignore_ascii_case(name.as_bytes()))?;
        std::str::from_utf8(value).ok().map(str::trim)
    })
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_head_has_a_status_and_headers() {
        let head = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 17\r\nremote-user: ann\r\n\r\n";
        assert_eq!(status(head).ok(), Some(401));
        assert_eq!(header(head, "content-length"), Some("17"));
        assert_eq!(header(head, "Remote-User"), Some("ann"));
        assert_eq!(header(head, "remote"), None);
        assert!(status(b"garbage").is_err());
    }

    #[tokio::test]
    async fn answers_end_where_their_length_says_and_a_closed_connection_is_opened_again() -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(async move {
            for bodies in [&["a", "b", "longer"][..], &["again"]] {
                let (mut stream, _) = listener.accept().await.unwrap();
                for body in bodies {
                    let mut request = [0; 3];
                    stream.read_exact(&mut request).await.unwrap();
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                    stream.write_all(head.as_bytes()).await.unwrap();
                    stream.write_all(body.as_bytes()).await.unwrap();
                }
            }
        });
        let mut connection = Connection::open(address).await?;
        for body in ["a", "b", "longer"] {
            assert_eq!(connection.exchange(b"ask").await?, 200);
            assert_eq!(connection.body(), body.as_bytes());
        }
        assert_eq!(connection.exchange_or_reconnect(b"ask").await?, 200);
        assert_eq!(connection.body(), b"again");
        server.await?;
        assert!(connection.exchange(b"ask").await.is_err(), "it is not sent again");
        Ok(())
    }
}
