//! Child processes: they end with this one, however it ends, and none stays frozen.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// Who runs what does not run as root.
const NOBODY: &str = "nobody";
const NOGROUP: &str = "nogroup";

/// A running program. Dropped, it is told to end and waited for.
pub struct Process {
    child: Child,
    pid: Pid,
    log: PathBuf,
    last_word: Signal,
}

/// A process in the midst of whatever it did, until this is dropped.
pub struct Frozen<'p>(&'p Process);

/// A command whose process gets this signal when the thread that starts it ends.
pub fn command(program: &Path, last_word: &str, unprivileged: bool) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", last_word]);
    if unprivileged && rustix::process::geteuid().is_root() {
        command.arg(format!("--reuid={NOBODY}")).arg(format!("--regid={NOGROUP}")).arg("--clear-groups");
    }
    command.arg("--").arg(program).stdin(Stdio::null());
    command
}

impl Process {
    /// Starts it; what it says goes to a file. At the end it is told so with `last_word`.
    pub fn start(mut command: Command, log: &Path, last_word: Signal) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log).context("opening a log")?;
        command.stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().context("starting a process (setpriv of util-linux is needed)")?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).context("a process without an id")?;
        Ok(Self { child, pid, log: log.to_owned(), last_word })
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        // Until it has been waited for, the id is nobody else's.
        if self.child.id().is_some() {
            kill_process(self.pid, signal).context("signalling a process")?;
        }
        Ok(())
    }

    /// Stops it in its tracks. It goes on when the answer is dropped.
    pub fn freeze(&self) -> Result<Frozen<'_>> {
        let frozen = Frozen(self);
        self.signal(Signal::STOP)?;
        Ok(frozen)
    }

    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let ended = tokio::time::timeout(Duration::from_secs(60), self.child.wait()).await;
        Ok(ended.with_context(|| format!("it does not end:\n{}", self.said()))??)
    }

    /// Fails with what it said when it has ended.
    pub fn still_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("a process ended by itself ({status}):\n{}", self.said()),
            None => Ok(()),
        }
    }

    /// Everything in its log, from `offset` on.
    pub fn said_since(&self, offset: u64) -> String {
        let said = std::fs::read(&self.log).unwrap_or_default();
        let offset = usize::try_from(offset).map_or(said.len(), |offset| offset.min(said.len()));
        String::from_utf8_lossy(&said[offset..]).into_owned()
    }

    fn said(&self) -> String {
        let said = self.said_since(0);
        let lines: Vec<_> = said.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.signal(Signal::CONT) {
            eprintln!("{error:#}");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let begun = Instant::now();
        let mut word = self.last_word;
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < Duration::from_secs(20) {
            if self.signal(word).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
            if begun.elapsed() > Duration::from_secs(10) {
                word = Signal::KILL;
            }
        }
    }
}

/// A port of this machine on which nobody listens, and below those that outgoing connections get.
pub fn free_port(random: &mut crate::random::Random) -> Result<u16> {
    for _ in 0..1000 {
        let port = 20_000 + u16::try_from(random.below(12_000))?;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port was found")
}
