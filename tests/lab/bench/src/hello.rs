//! The yardstick for checks: a bare `axum::serve` whose answer is as long as the server's own.

use std::{ffi::OsStr, io::Write as _, net::SocketAddr};

use anyhow::{Context, Result, ensure};
use axum::{Router, routing::get};

use crate::{children::Child, requests::Template, stage::Scratch, wire::Connection};

/// What hyper and axum put around a body of text, with a length of `digits` digits.
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: \r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n";

/// The hidden `hello` command: one route, one constant answer of so many bytes on the wire.
pub fn serve(answer_bytes: usize) -> Result<()> {
    let body: &'static str = "x".repeat(body_length(answer_bytes)?).leak();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        writeln!(std::io::stderr(), "listen={}", listener.local_addr()?)?;
        let routes = Router::new().route("/verify", get(move || async move { body }));
        Ok(axum::serve(listener, routes).await?)
    })
}

fn body_length(answer_bytes: usize) -> Result<usize> {
    (0..answer_bytes)
        .find(|body| HEAD.len() + body.to_string().len() + body == answer_bytes)
        .with_context(|| format!("no hello is {answer_bytes} bytes long"))
}

/// A running hello.
pub struct Hello {
    pub address: SocketAddr,
    pub pid: u32,
    _child: Child,
    _scratch: Scratch,
}

impl Hello {
    /// Starts one and makes sure that its answers are exactly `answer_bytes` long.
    pub async fn start(answer_bytes: usize) -> Result<Self> {
        let scratch = Scratch::new()?;
        let myself = std::env::current_exe()?;
        let length = answer_bytes.to_string();
        let arguments = [OsStr::new("hello"), OsStr::new(&length)];
        let mut child = Child::spawn(&myself, &arguments, &[], scratch.path())?;
        let [address] = child.logged(["listen"]).await?;
        let answer = Connection::open(address).await?.exchange(Template::check().with(&[b'A'; 43])).await?;
        ensure!(answer.bytes == answer_bytes, "the hello answers {} bytes instead of {answer_bytes}", answer.bytes);
        Ok(Self { address, pid: child.pid, _child: child, _scratch: scratch })
    }
}

#[cfg(test)]
mod tests {
    use super::{HEAD, body_length};

    #[test]
    fn head_and_body_add_up_to_the_wanted_length() {
        let body = body_length(HEAD.len() + 3 + 250).ok();

        assert_eq!(body, Some(250));
    }

    #[test]
    fn an_answer_shorter_than_a_head_is_refused() {
        assert!(body_length(20).is_err());
    }
}
