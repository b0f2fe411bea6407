//! Reads an answer from the wire: its head, and its body up to a bound.

use std::io::{self, Read};

/// The longest head that is read, in bytes.
const LONGEST_HEAD: usize = 64 * 1024;
/// The longest body that is read, in bytes. What comes after it is not needed.
const LONGEST_BODY: usize = 256 * 1024;
/// The most header lines in a head.
const MOST_LINES: usize = 200;

/// An answer to a request.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    /// Reads the answer to a request by `method`. A body that breaks off is kept as far as it came.
    pub fn read(from: &mut impl Read, method: &str) -> io::Result<Self> {
        let mut reader = Reader { from, bytes: Vec::new() };
        loop {
            let mut answer = reader.head()?;
            // What comes before the answer proper; after 101 there is none.
            if matches!(answer.status, 100 | 102..=199) {
                continue;
            }
            if method != "HEAD" && !matches!(answer.status, 101 | 204 | 304) {
                answer.body = reader.body(&answer);
            }
            return Ok(answer);
        }
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every header of that name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let same = move |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
        self.headers.iter().filter(same).map(|(_, value)| value.as_str())
    }

    /// Whether a list in headers of that name has this member, in whatever case.
    pub fn lists(&self, name: &str, member: &str) -> bool {
        self.all(name).flat_map(|line| line.split(',')).any(|listed| listed.trim().eq_ignore_ascii_case(member))
    }

    /// The body as text; what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// Reads piece by piece, and keeps what has not been used.
struct Reader<'r, R> {
    from: &'r mut R,
    bytes: Vec<u8>,
}

impl<R: Read> Reader<'_, R> {
    /// Reads some more bytes. False: there are none.
    fn more(&mut self) -> io::Result<bool> {
        let mut piece = [0; 8 * 1024];
        let read = loop {
            match self.from.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.bytes.extend(piece.iter().take(read));
        Ok(read > 0)
    }

    fn head(&mut self) -> io::Result<Answer> {
        loop {
            let mut lines = [httparse::EMPTY_HEADER; MOST_LINES];
            let mut head = httparse::Response::new(&mut lines);
            let parsed = head.parse(&self.bytes).map_err(|_| not_http())?;
            if let httparse::Status::Complete(length) = parsed {
                let line = |line: &httparse::Header<'_>| {
                    (line.name.to_owned(), String::from_utf8_lossy(line.value).into_owned())
                };
                let headers = head.headers.iter().map(line).collect();
                let answer = Answer { status: head.code.unwrap_or_default(), headers, body: Vec::new() };
                self.bytes.drain(..length);
                return Ok(answer);
            }
            if self.bytes.len() > LONGEST_HEAD {
                return Err(not_http());
            }
            if !self.more()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn body(&mut self, head: &Answer) -> Vec<u8> {
        if head.lists("transfer-encoding", "chunked") {
            return self.chunks();
        }
        let length = head.header("content-length").and_then(|length| length.parse().ok());
        self.up_to(length.unwrap_or(LONGEST_BODY).min(LONGEST_BODY))
    }

    /// So many bytes, or fewer where there are no more.
    fn up_to(&mut self, length: usize) -> Vec<u8> {
        while self.bytes.len() < length && self.more().unwrap_or(false) {}
        self.bytes.drain(..length.min(self.bytes.len())).collect()
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < LONGEST_BODY {
            match httparse::parse_chunk_size(&self.bytes) {
                Ok(httparse::Status::Complete((_, 0))) | Err(_) => break,
                Ok(httparse::Status::Complete((start, length))) => {
                    self.bytes.drain(..start);
                    let length = usize::try_from(length).unwrap_or(usize::MAX).min(LONGEST_BODY);
                    body.extend(self.up_to(length));
                    // The end of its line.
                    self.up_to(2);
                }
                Ok(httparse::Status::Partial) => {
                    if !self.more().unwrap_or(false) {
                        break;
                    }
                }
            }
        }
        body
    }
}

fn not_http() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what answers there does not speak HTTP/1.1")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes one by one, as a slow network may.
    struct Dribble<'b>(&'b [u8]);

    impl Read for Dribble<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let length = self.0.len().min(1);
            into[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    #[test]
    fn a_body_ends_where_its_framing_says() {
        for (wire, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", "ab"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n", "abcd"),
            ("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nto the end", "to the end"),
            ("HTTP/1.1 204 No Content\r\n\r\n", ""),
            ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nno HTTP", ""),
            ("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nbroken off", "broken off"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nbroken off", "broken off"),
        ] {
            let answer = Answer::read(&mut Dribble(wire.as_bytes()), "GET").expect("an answer");
            assert_eq!(answer.text(), body, "{wire}");
        }
    }

    #[test]
    fn the_answer_to_a_head_has_no_body_whatever_its_length_is() {
        let wire = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab";
        let answer = Answer::read(&mut wire.as_bytes(), "HEAD").expect("an answer");
        assert_eq!(answer.text(), "");
    }

    #[test]
    fn more_than_the_bound_is_not_read() {
        let wire = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; LONGEST_BODY * 2]].concat();
        let answer = Answer::read(&mut wire.as_slice(), "GET").expect("an answer");
        assert_eq!(answer.body.len(), LONGEST_BODY);
        let wire = [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; LONGEST_HEAD * 2]].concat();
        assert!(Answer::read(&mut wire.as_slice(), "GET").is_err());
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for wire in ["", "HTTP/1.1 200 OK\r\nHalf: ", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/2 200\r\n\r\n"] {
            assert!(Answer::read(&mut wire.as_bytes(), "GET").is_err(), "{wire}");
        }
    }

    #[test]
    fn headers_are_found_in_any_case_and_in_lists() {
        let wire = "HTTP/1.1 401 No\r\nVary: Accept,  cookie\r\nvary: Origin\r\nContent-Length: 0\r\n\r\n";
        let answer = Answer::read(&mut wire.as_bytes(), "GET").expect("an answer");
        assert_eq!(answer.all("VARY").count(), 2);
        assert!(
            answer.lists("vary", "Cookie") && answer.lists("Vary", "origin") && !answer.lists("Vary", "Accept, cookie")
        );
    }
}
