//! One keep-alive HTTP/1.1 connection with the least parsing that still sees every status.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const LONGEST_ANSWER: usize = 1024 * 1024;

/// A connection that opens itself again when the server has closed it between two requests.
pub struct Connection {
    address: SocketAddr,
    stream: TcpStream,
    buffer: Vec<u8>,
    last: Framing,
    pub reconnects: u64,
}

/// Where the previous answer's head ended, and how long it was in all.
#[derive(Clone, Copy, Default, PartialEq)]
struct Framing {
    head: usize,
    total: usize,
}

/// What an answer said, apart from its body.
#[derive(Clone, Copy)]
pub struct Answer {
    pub status: u16,
    /// Head and body, as they travelled.
    pub bytes: usize,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Result<Self> {
        Ok(Self {
            address,
            stream: connect(address).await?,
            buffer: vec![0; 4096],
            last: Framing::default(),
            reconnects: 0,
        })
    }

    pub async fn exchange(&mut self, request: &[u8]) -> Result<Answer> {
        match self.attempt(request).await? {
            Some(answer) => Ok(answer),
            None => {
                self.stream = connect(self.address).await?;
                self.reconnects += 1;
                let answer = self.attempt(request).await?;
                answer.context("the server closed a fresh connection without an answer")
            }
        }
    }

    /// `None` when the connection turned out to be closed before any of the answer came.
    async fn attempt(&mut self, request: &[u8]) -> Result<Option<Answer>> {
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
            if let Some(answer) = self.whole_answer(filled)? {
                return Ok(Some(answer));
            }
        }
    }

    /// The body of the last answer.
    pub fn body(&self) -> &[u8] {
        &self.buffer[self.last.head..self.last.total]
    }

    /// An answer framed just like the one before it is taken as whole without reading its headers
    /// again: were it not, the next one would not begin with a status line, and the run would fail.
    fn whole_answer(&mut self, filled: usize) -> Result<Option<Answer>> {
        let answer = &self.buffer[..filled];
        let Framing { head, total } = self.last;
        if total != filled || !answer[..head].ends_with(b"\r\n\r\n") {
            let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
                return Ok(None);
            };
            let head = end + 4;
            let total = head + content_length(&answer[..head])?;
            if filled < total {
                return Ok(None);
            }
            ensure!(filled == total, "{} bytes after an answer", filled - total);
            self.last = Framing { head, total };
        }
        Ok(Some(Answer { status: status(answer)?, bytes: filled }))
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn status(answer: &[u8]) -> Result<u16> {
    let digits = answer
        .strip_prefix(b"HTTP/1.1 ")
        .and_then(|rest| rest.first_chunk::<3>())
        .filter(|digits| digits.iter().all(u8::is_ascii_digit))
        .with_context(|| format!("not a status line: {:?}", String::from_utf8_lossy(answer)))?;
    Ok(digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0')))
}

fn content_length(head: &[u8]) -> Result<usize> {
    const NAME: &[u8] = b"content-length:";
    for line in head.split(|byte| *byte == b'\n') {
        if let Some((name, value)) = line.split_at_checked(NAME.len())
            && name.eq_ignore_ascii_case(NAME)
        {
            return Ok(std::str::from_utf8(value)?.trim().parse()?);
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::{content_length, status};

    #[test]
    fn a_status_line_gives_its_number() {
        assert_eq!(status(b"HTTP/1.1 401 Unauthorized\r\n\r\n").ok(), Some(401));
        assert!(status(b"garbage").is_err());
    }

    #[test]
    fn the_content_length_is_found_in_any_case_and_is_zero_when_absent() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\ndate: x\r\n\r\n";

        assert_eq!(content_length(head).ok(), Some(17));
        assert_eq!(content_length(b"HTTP/1.1 204 No Content\r\n\r\n").ok(), Some(0));
    }
}
