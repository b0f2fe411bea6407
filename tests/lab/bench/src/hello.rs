//! The yardstick for checks: a bare `axum::serve` whose answer is as long as the server's own.

use std::{io::Write as _, net::SocketAddr};

use anyhow::{Context, Result, ensure};
use axum::{Router, routing::get};

use rustix::process::Pid;
use sessiond_support::{
    http::Connection,
    process::{Process, command_on},
    sessiond::field,
    wait::Wait,
};

use crate::{cpu, requests::Template};

/// What hyper and axum put around a body of text, with a length of `digits` digits.
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: \r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n";

/// The length of the answer without a body.
pub const EMPTY: usize = HEAD.len() + 1;

/// The hidden `hello` command: one constant answer of so many bytes on the wire, at `/verify` and anywhere else.
pub fn serve(answer_bytes: usize) -> Result<()> {
    let body: &'static str = "x".repeat(body_length(answer_bytes)?).leak();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        writeln!(std::io::stderr(), "hello listen={}", listener.local_addr()?)?;
        let hello = move || async move { body };
        let routes = Router::new().route("/verify", get(hello)).fallback(hello);
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
    pub pid: Pid,
    _process: Process,
}

impl Hello {
    /// Starts one and makes sure that its answers are exactly `answer_bytes` long.
    pub async fn start(answer_bytes: usize) -> Result<Self> {
        let mut command = command_on(cpu::SERVER, std::env::current_exe()?);
        command.arg("hello").arg(answer_bytes.to_string());
        let mut process = Process::spawn(command)?;
        let wait = Wait::until("the hello listens");
        let address = loop {
            if let Some(address) = process.log().strip_suffix('\n').and_then(|line| field(line, "listen")?.parse().ok())
            {
                break address;
            }
            process.still_lives()?;
            wait.pause().await?;
        };
        let mut connection = Connection::open(address).await?;
        connection.exchange(Template::check().with(&[b'A'; 43])).await?;
        let bytes = connection.head().len() + connection.body().len();
        ensure!(bytes == answer_bytes, "the hello answers {bytes} bytes instead of {answer_bytes}");
        Ok(Self { address, pid: process.pid(), _process: process })
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
