//! The examples, each with the little in which its proxy differs, and one of them at work.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sessiond_machine as machine;
use sessiond_support::port::free_port;
use sessiond_support::process::{self, Process};
use sessiond_support::wait::until;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::harness::{exchange, get};

/// An example, and what is particular to its proxy.
#[derive(Debug)]
pub struct Example {
    /// The name of its program and of its folder.
    pub name: &'static str,
    /// How it is started in its folder.
    pub arguments: &'static [&'static str],
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
    name: "nginx",
    // In one process, so that it is gone when a test kills it.
    arguments: &["-p", ".", "-c", "nginx.conf", "-g", "daemon off; master_process off;"],
    dead: 500,
    slow: Some(500),
    // Its own limit for one line.
    too_many_cookies: 400,
    removes_cookie: true,
};

pub const HAPROXY: Example = Example {
    name: "haproxy",
    arguments: &["-f", "haproxy.cfg"],
    dead: 503,
    slow: Some(503),
    too_many_cookies: 431,
    removes_cookie: true,
};

pub const CADDY: Example = Example {
    name: "caddy",
    arguments: &["run", "--config", "Caddyfile"],
    dead: 502,
    slow: Some(504),
    too_many_cookies: 431,
    removes_cookie: true,
};

pub const TRAEFIK: Example = Example {
    name: "traefik",
    arguments: &["--configFile=traefik.yml"],
    dead: 500,
    // It waits for 30 seconds.
    slow: None,
    too_many_cookies: 431,
    removes_cookie: false,
};

pub const ENVOY: Example = Example {
    name: "envoy",
    // Several run at the same time, which is not a restart of one.
    arguments: &["-c", "envoy.yaml", "--disable-hot-restart"],
    dead: 503,
    slow: Some(503),
    too_many_cookies: 431,
    removes_cookie: true,
};

/// The ports that stand in the files of every example: its own, the back end's and sessiond's.
const PORTS: [&str; 3] = ["8000", "9000", "8080"];

impl Example {
    /// Where its files are.
    pub fn folder(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(self.name)
    }

    /// Starts a copy of it on other ports, with `change` made to its files.
    pub async fn start(&self, ports: [&str; 3], change: impl Fn(String) -> String) -> Running {
        let dir = tempfile::tempdir().expect("a directory");
        let mut replaced = [0; PORTS.len()];
        for file in std::fs::read_dir(self.folder()).expect("an example") {
            let file = file.expect("a file");
            if file.file_type().expect("a type").is_dir() || file.file_name() == "README.md" {
                continue;
            }
            let mut text = std::fs::read_to_string(file.path()).expect("text");
            for (port, count) in PORTS.iter().zip(&mut replaced) {
                *count += text.matches(port).count();
                text = text.replace(port, &format!("<{port}>"));
            }
            for (port, other) in PORTS.iter().zip(ports) {
                text = text.replace(&format!("<{port}>"), other);
            }
            std::fs::write(dir.path().join(file.file_name()), change(text)).expect("written");
        }
        assert!(replaced.iter().all(|count| *count > 0), "{}: {replaced:?}", self.name);

        let program = machine::proxy(self.name).expect(self.name);
        let mut command = process::command(program);
        command.args(self.arguments).current_dir(dir.path());
        let mut process = Process::spawn(command).expect("started");
        let address = format!("127.0.0.1:{}", ports[0]);
        until("the proxy listens", async || {
            process.still_lives().unwrap();
            TcpStream::connect(&address).await.is_ok() && has_routes(&address).await
        })
        .await;
        Running { address, process, _dir: dir }
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
    _dir: TempDir,
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
