//! The service as processes: its commands, and servers on ports that the system chooses.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::ops;
use crate::process::{self, Finished, Process, finish};
use crate::wait::Wait;

/// What its processes are started from, with nothing else in their environment.
#[derive(Clone)]
pub struct Sessiond {
    /// The program.
    pub binary: PathBuf,
    /// The URL of its database.
    pub database: String,
    /// The folder to run in.
    pub folder: PathBuf,
    /// The CPUs to run on, a list such as `0,1`, where not on all.
    pub cpus: Option<&'static str>,
}

impl Sessiond {
    /// The program itself with these arguments, on its database.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match self.cpus {
            Some(cpus) => process::command_on(cpus, &self.binary),
            None => process::command(&self.binary),
        };
        command.args(arguments).env_clear().current_dir(&self.folder);
        command.env("SESSIOND_DATABASE_URL", &self.database).env("NO_COLOR", "1");
        command
    }

    /// A server on free ports, which ends as soon as it is asked to.
    pub fn server(&self) -> Command {
        let mut command = self.command(&["serve"]);
        command.env("SESSIOND_LISTEN", "127.0.0.1:0").env("SESSIOND_OPS_LISTEN", "127.0.0.1:0");
        command.env("SESSIOND_SHUTDOWN_DELAY", "0s");
        command
    }

    /// Runs a command of the program to its end, with something to read.
    pub async fn run(&self, arguments: &[&str], input: &str) -> Result<Finished> {
        finish(self.command(arguments), input).await
    }
}

/// A server that has said where it listens.
pub struct Server {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where operators connect.
    pub ops: SocketAddr,
    /// The process.
    pub process: Process,
}

impl Server {
    /// Starts one, and waits until it has logged where it listens.
    pub async fn start(command: Command) -> Result<Self> {
        let mut process = Process::spawn(command)?;
        let wait = Wait::until("the server has logged where it listens");
        loop {
            if let Some((listen, ops)) = addresses(&process.log()) {
                return Ok(Self { listen, ops, process });
            }
            process.still_lives()?;
            wait.pause().await?;
        }
    }

    /// Waits until it says that it is ready. Returns how long that took, from the start of its process.
    pub async fn until_ready(&mut self) -> Result<Duration> {
        let wait = Wait::until("the server is ready");
        loop {
            if ops::get(self.ops, "/readyz").await.is_ok_and(|(status, _)| status == 200) {
                return Ok(self.process.spawned().elapsed());
            }
            self.process.still_lives()?;
            wait.pause().await?;
        }
    }
}

/// Where a server listens, by its log.
fn addresses(log: &str) -> Option<(SocketAddr, SocketAddr)> {
    // A line that is still being written does not count.
    let (complete, _) = log.rsplit_once('\n')?;
    complete.lines().find_map(|line| Some((field(line, "listen")?.parse().ok()?, field(line, "ops")?.parse().ok()?)))
}

/// A field of a log line, in either format.
pub fn field(line: &str, name: &str) -> Option<String> {
    if line.starts_with('{') {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        return Some(line.get(name)?.as_str()?.to_owned());
    }
    let (_, value) = line.split_once(&format!(" {name}="))?;
    Some(value.split(' ').next()?.trim_matches('"').to_owned())
}

/// The program that was named, else the one that was built beside this one.
pub fn binary(named: Option<PathBuf>) -> Result<PathBuf> {
    let path = match named {
        Some(path) => path,
        None => std::env::current_exe()?.parent().unwrap_or(Path::new(".")).join("sessiond"),
    };
    ensure!(path.is_file(), "{} is missing: build it first (cargo build --release), or name another", path.display());
    path.canonicalize().with_context(|| format!("resolving {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_finished_lines_of_either_format() {
        let expected = Some(("127.0.0.1:4711".parse().unwrap(), "127.0.0.1:4712".parse().unwrap()));
        let text = "2026-01-01T00:00:00Z  INFO sessiond: serving listen=127.0.0.1:4711 ops=127.0.0.1:4712";
        let json = r#"{"level":"INFO","message":"serving","listen":"127.0.0.1:4711","ops":"127.0.0.1:4712"}"#;
        for line in [text, json] {
            assert_eq!(addresses(line), None);
            assert_eq!(addresses(&format!("before\n{line}\n")), expected);
        }
    }
}
