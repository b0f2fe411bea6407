//! The servers under test: release processes on one database.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU16, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::{
    process::{Frozen, Process, command},
    wire::Connection,
};

const READY: &[u8] = b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";

/// How to start one.
#[derive(Clone)]
pub struct Recipe {
    pub binary: PathBuf,
    pub database: String,
    pub folder: PathBuf,
}

/// What connections know of one: where it listens, if it does, and how many wait for an answer.
#[derive(Default)]
pub struct Door {
    port: AtomicU16,
    waiting: AtomicUsize,
}

/// A running one.
pub struct Replica {
    recipe: Recipe,
    log: PathBuf,
    process: Process,
}

impl Recipe {
    fn command(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = command(&self.binary, "KILL", false);
        command.args(arguments).env_clear().current_dir(&self.folder).kill_on_drop(true).envs([
            ("SESSIOND_LISTEN", "127.0.0.1:0"),
            ("SESSIOND_OPS_LISTEN", "127.0.0.1:0"),
            ("SESSIOND_DATABASE_URL", &self.database),
            ("SESSIOND_ADMIN_PASSWORD", "history-7Qp2-staple-kV9x"),
            // Only what a history shows ends a session.
            ("SESSIOND_SESSIONS_PER_USER", "100000"),
            ("SESSIOND_PASSWORD_WORKERS", "1"),
            ("NO_COLOR", "1"),
        ]);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
    }

    /// Runs one of the server's commands, with a password for it.
    pub async fn run(&self, arguments: &[&str], password: &str) -> Result<()> {
        use tokio::io::AsyncWriteExt;
        let mut command = self.command(arguments);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::piped());
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        stdin.write_all(format!("{password}\n").as_bytes()).await?;
        drop(stdin);
        let done = child.wait_with_output().await?;
        ensure!(done.status.success(), "sessiond {}: {}", arguments.join(" "), String::from_utf8_lossy(&done.stderr));
        Ok(())
    }

    /// Starts number `number` and lets connections in once it is ready.
    pub async fn start(&self, number: usize, door: &Door) -> Result<Replica> {
        let log = self.folder.join(format!("replica-{number}.log"));
        let process = self.launch(&log, door).await?;
        Ok(Replica { recipe: self.clone(), log, process })
    }

    async fn launch(&self, log: &Path, door: &Door) -> Result<Process> {
        let before = std::fs::metadata(log).map_or(0, |file| file.len());
        let mut process = Process::start(self.command(&[]), log, Signal::TERM)?;
        let begun = Instant::now();
        loop {
            let said = process.said_since(before);
            let complete = said.rfind('\n').map_or("", |end| &said[..end]);
            if let (Some(port), Some(ops)) = (port_of(complete, "listen="), port_of(complete, "ops=")) {
                let ready = async { Connection::open(ops).await?.exchange(READY).await };
                if ready.await.is_ok_and(|status| status == 200) {
                    door.port.store(port, Ordering::Release);
                    return Ok(process);
                }
            }
            process.still_alive()?;
            if begun.elapsed() > Duration::from_secs(60) {
                bail!("a server was not ready within a minute:\n{said}");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn port_of(log: &str, name: &str) -> Option<u16> {
    log.split_whitespace().find_map(|word| word.strip_prefix(name)?.rsplit_once(':')?.1.parse().ok())
}

impl Replica {
    /// Stops it in its tracks until the answer is dropped.
    pub fn freeze(&self) -> Result<Frozen<'_>> {
        self.process.freeze()
    }

    /// Kills it and starts another in its place.
    pub async fn kill(&mut self, door: &Door) -> Result<()> {
        door.port.store(0, Ordering::Release);
        self.process.signal(Signal::KILL)?;
        self.process.ended().await?;
        self.process = self.recipe.launch(&self.log, door).await?;
        Ok(())
    }
}

/// One who waits for an answer, until dropped.
pub struct Waiting<'d>(&'d Door);

impl Door {
    /// Takes a place among the `most` that may wait here, and tells the port. None where there is no place, or nobody
    /// listens: a frozen server would have all connections wait for it, and the others would be asked nothing.
    pub fn enter(&self, most: usize) -> Option<(Waiting<'_>, u16)> {
        let port = self.port.load(Ordering::Acquire);
        let waiting = self.waiting.fetch_add(1, Ordering::AcqRel);
        let place = Waiting(self);
        (port != 0 && waiting < most).then_some((place, port))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
