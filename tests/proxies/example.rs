//! The examples, each with what its proxy answers in its own way, and one of them at work.

use std::time::Duration;

use sessiond_support::example::{self, Copied, Proxy};
use sessiond_support::port::free_port;
use sessiond_support::process::Process;
use sessiond_support::wait::until;
use tokio::net::TcpStream;

use crate::harness::{exchange, get};

/// An example, and what is particular to its proxy.
#[derive(Debug)]
pub struct Example {
    /// How it is started.
    pub proxy: Proxy,
    /// The status when there is no sessiond.
    pub dead: u16,
    /// The status when sessiond does not answer. `None`: the proxy is more patient than a test.
    pub slow: Option<u16>,
    /// The status when the cookies of other applications are more than sessiond takes, which says 431.
    pub too_many_cookies: u16,
    /// Whether it can keep the session cookie from the back end and pass all others.
    pub removes_cookie: bool,
}

pub const NGINX: Example = Example {
    proxy: example::NGINX,
    dead: 500,
    slow: Some(500),
    // Its own limit for one line.
    too_many_cookies: 400,
    removes_cookie: true,
};

pub const HAPROXY: Example =
    Example { proxy: example::HAPROXY, dead: 503, slow: Some(503), too_many_cookies: 431, removes_cookie: true };

pub const CADDY: Example =
    Example { proxy: example::CADDY, dead: 502, slow: Some(504), too_many_cookies: 431, removes_cookie: true };

pub const TRAEFIK: Example = Example {
    proxy: example::TRAEFIK,
    dead: 500,
    // It waits for 30 seconds.
    slow: None,
    too_many_cookies: 431,
    removes_cookie: false,
};

pub const ENVOY: Example =
    Example { proxy: example::ENVOY, dead: 503, slow: Some(503), too_many_cookies: 431, removes_cookie: true };

impl Example {
    /// Starts a copy of it on other ports, with `change` made to its files.
    pub async fn start(&self, ports: [&str; 3], change: impl Fn(String) -> String) -> Running {
        let files = self.proxy.copy(ports, change).expect("a copy");
        let mut process = Process::spawn(files.command()).expect("started");
        let address = format!("127.0.0.1:{}", ports[0]);
        until("the proxy listens", async || {
            process.still_lives().unwrap();
            TcpStream::connect(&address).await.is_ok() && has_routes(&address).await
        })
        .await;
        Running { address, process, _files: files }
    }
}

/// Whether it does not say by itself that it knows no route, as Traefik does when it has just begun to listen.
async fn has_routes(address: &str) -> bool {
    let request = get("/").bytes(address);
    let answer = tokio::time::timeout(Duration::from_millis(200), exchange(address, &request)).await;
    // Where sessiond is silent, the proxy knows the route to it.
    answer.is_err() || answer.is_ok_and(|reply| reply.body != b"404 page not found\n")
}

/// A proxy that runs; killed when dropped.
pub struct Running {
    /// Where clients connect.
    pub address: String,
    process: Process,
    _files: Copied,
}

impl Running {
    /// What it has written so far.
    pub fn log(&self) -> String {
        format!("{}{}", self.process.printed(), self.process.log())
    }
}

/// Makes the choices that a configuration offers in comments with these words: takes the `# ` from the lines below each.
pub fn choose(text: &str, words: &str) -> String {
    let mut choosing = false;
    let lines = text.lines().map(|line| {
        let is_offer = line.contains("# Choice: ");
        choosing = is_offer && line.contains(words) || choosing && !is_offer && line.trim_start().starts_with("# ");
        if choosing && !is_offer { line.replacen("# ", "", 1) + "\n" } else { format!("{line}\n") }
    });
    lines.collect()
}

/// A free port.
pub fn port() -> String {
    free_port().expect("a port").to_string()
}
