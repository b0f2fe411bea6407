//! One keep-alive HTTP/1.1 connection. One request at a time, and none is ever sent twice.

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const LONGEST_ANSWER: usize = 1024 * 1024;

pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    head: usize,
    total: usize,
}

impl Connection {
    pub async fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; 8192], head: 0, total: 0 })
    }

    /// Sends a request and reads the whole of its answer. After an error nobody knows what became of it.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<u16> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            if filled == self.buffer.len() {
                ensure!(filled < LONGEST_ANSWER, "an answer longer than {LONGEST_ANSWER} bytes");
                self.buffer.resize(filled * 2, 0);
            }
            let more = self.stream.read(&mut self.buffer[filled..]).await?;
            ensure!(more > 0, "closed before the end of an answer");
            filled += more;
            let Some(end) = self.buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            self.head = end + 4;
            self.total = self.head + content_length(self.head())?;
            ensure!(filled <= self.total, "{} bytes after an answer", filled - self.total);
            if filled == self.total {
                return status(self.head());
            }
        }
    }

    /// The head of the last answer.
    pub fn head(&self) -> &[u8] {
        &self.buffer[..self.head]
    }

    /// The body of the last answer.
    pub fn body(&self) -> &[u8] {
        &self.buffer[self.head..self.total]
    }
}

fn status(head: &[u8]) -> Result<u16> {
    let digits = head.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).context("not a status line")
}

fn content_length(head: &[u8]) -> Result<usize> {
    Ok(header(head, b"content-length").map(str::parse).transpose()?.unwrap_or_default())
}

/// The value of a header.
pub fn header<'h>(head: &'h [u8], name: &[u8]) -> Option<&'h str> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (this, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":").filter(|_| this.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok().map(str::trim)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_tells_its_status_and_its_headers() {
        let head = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 17\r\nremote-user: ann\r\n\r\n";
        assert_eq!(status(head).ok(), Some(401));
        assert_eq!(content_length(head).ok(), Some(17));
        assert_eq!(header(head, b"Remote-User"), Some("ann"));
        assert_eq!(header(head, b"remote"), None);
    }
}
