//! Child processes: they end with this one, what they write is kept, and none stays frozen.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use crate::wait::PATIENCE;

/// A command whose process is killed when this one ends, however that happens, or when the thread that started it does.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(setpriv());
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// The program that changes what a process is before it becomes another one. Told by its path, it is started without a copy
/// of the tables of this process's memory, which are large: that takes longer than most commands do.
pub(crate) fn setpriv() -> PathBuf {
    sessiond_machine::program("setpriv").unwrap_or_else(|| "setpriv".into())
}

/// The same on no CPUs but these, a list such as `0,1`.
pub fn command_on(cpus: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = command("taskset");
    command.args(["--cpu-list", cpus]).arg(program);
    command
}

/// Gives a command another clock, in the words of libfaketime. Spans of time are as long for it as for others.
pub fn set_clock(command: &mut Command, clock: &str) -> Result<()> {
    let library = sessiond_machine::faketime().context("libfaketime is needed, and is not here")?;
    command.env("LD_PRELOAD", library).env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("FAKETIME", clock);
    Ok(())
}

/// A command that came to its end.
#[derive(Debug)]
pub struct Finished {
    /// Whether it exited with 0.
    pub ok: bool,
    /// What it printed.
    pub out: String,
    /// What it wrote to standard error.
    pub err: String,
}

/// Runs a command to its end, with something to read.
pub async fn finish(mut command: Command, input: &str) -> Result<Finished> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // It may end without reading.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let ended = ended.with_context(|| format!("{command:?} does not end"))??;
    let (out, err) = (String::from_utf8(ended.stdout)?, String::from_utf8(ended.stderr)?);
    Ok(Finished { ok: ended.status.success(), out, err })
}

impl Finished {
    /// What it printed; an error when it failed.
    pub fn done(self) -> Result<String> {
        ensure!(self.ok, "{self:?}");
        Ok(self.out)
    }

    /// What it wrote to standard error; an error when it succeeded.
    pub fn refused(self) -> Result<String> {
        ensure!(!self.ok, "{self:?}");
        Ok(self.err)
    }
}

/// A running program. Dropped, it is killed and waited for, so that nothing of it disturbs what comes next.
pub struct Process {
    child: Child,
    pid: Pid,
    spawned: Instant,
    out: File,
    err: File,
}

/// A process that does nothing, until this is dropped.
pub struct Frozen<'p>(&'p Process);

impl Process {
    /// Starts it; what it writes goes to files without a name.
    pub fn spawn(command: Command) -> Result<Self> {
        let err = tempfile::tempfile()?;
        let log = err.try_clone()?.into();
        Self::begin(command, err, log)
    }

    /// The same with a log of the caller's own, of which nothing is kept here.
    pub fn spawn_logging_to(command: Command, log: Stdio) -> Result<Self> {
        Self::begin(command, tempfile::tempfile()?, log)
    }

    fn begin(mut command: Command, err: File, log: Stdio) -> Result<Self> {
        let out = tempfile::tempfile()?;
        command.stdout(out.try_clone()?).stderr(log);
        let spawned = Instant::now();
        let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).context("a process without an id")?;
        Ok(Self { child, pid, spawned, out, err })
    }

    /// Its id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// When it was started.
    pub fn spawned(&self) -> Instant {
        self.spawned
    }

    /// Everything that it has printed so far.
    pub fn printed(&self) -> String {
        contents(&self.out)
    }

    /// Everything that it has logged so far.
    pub fn log(&self) -> String {
        contents(&self.err)
    }

    /// Sends it a signal, if it has not ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // Until it has been waited for, no other process gets its id.
        if self.child.id().is_some() {
            kill_process(self.pid, signal).context("signalling a process")?;
        }
        Ok(())
    }

    /// Freezes it. It goes on when the returned value is dropped.
    pub fn freeze(&self) -> Result<Frozen<'_>> {
        let frozen = Frozen(self);
        halt(self.pid)?;
        Ok(frozen)
    }

    /// Whether it has not ended.
    pub fn lives(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Fails with the end of its log when it has ended.
    pub fn still_lives(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("a process ended by itself ({status}):\n{}", self.end_of_log());
        }
        Ok(())
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        Ok(ended.with_context(|| format!("a process does not end:\n{}", self.end_of_log()))??)
    }

    /// Asks it to end, the way an operator would, and waits. Fails unless it ended well.
    pub async fn stop(mut self) -> Result<()> {
        self.still_lives()?;
        self.signal(Signal::TERM)?;
        let status = self.ended().await?;
        ensure!(status.success(), "a process ended with {status}:\n{}", self.end_of_log());
        Ok(())
    }

    /// Ends it as a power cut would. Returns its log.
    pub async fn kill(mut self) -> Result<String> {
        self.signal(Signal::KILL)?;
        self.ended().await?;
        Ok(self.log())
    }

    fn end_of_log(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let begun = Instant::now();
        if self.child.start_kill().is_ok() {
            while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < PATIENCE {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        // It fails only where there is no such process any more.
        let _ = self.0.signal(Signal::CONT);
    }
}

/// What was written to a file, from its beginning. The writer's place in it does not move.
fn contents(file: &File) -> String {
    let mut bytes = Vec::new();
    let mut piece = [0; 16 * 1024];
    while let Ok(read @ 1..) = file.read_at(&mut piece, bytes.len() as u64) {
        bytes.extend_from_slice(&piece[..read]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Stops a process, and waits until it has stopped or ended.
pub fn halt(process: Pid) -> Result<()> {
    let begun = Instant::now();
    // It fails only where there is no such process any more.
    let _ = kill_process(process, Signal::STOP);
    while state(process).is_some_and(|(state, _)| !matches!(state, 'T' | 'Z')) {
        ensure!(begun.elapsed() < PATIENCE, "{process:?} does not stop");
        std::thread::yield_now();
    }
    Ok(())
}

/// The state and the parent of a process that has not ended.
pub(crate) fn state(process: Pid) -> Option<(char, i32)> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// The processes whose parent this one is.
pub(crate) fn children(of: Pid) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    pids.filter(|pid| state(*pid).is_some_and(|(_, parent)| parent == of.as_raw_nonzero().get())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::until;

    #[tokio::test]
    async fn a_process_is_frozen_goes_on_and_is_killed_when_dropped() -> Result<()> {
        let mut shell = command("sh");
        shell.args(["-c", "echo begun; echo trouble >&2; while :; do :; done"]);
        let process = Process::spawn(shell)?;
        until("it has begun", async || process.log() == "trouble\n").await;
        assert_eq!(process.printed(), "begun\n");

        let frozen = process.freeze()?;
        assert_eq!(state(process.pid()).map(|(state, _)| state), Some('T'));
        drop(frozen);
        until("it goes on", async || state(process.pid()).is_some_and(|(state, _)| state == 'R')).await;

        let pid = process.pid();
        drop(process);
        assert_eq!(state(pid), None);
        Ok(())
    }

    #[tokio::test]
    async fn a_command_reads_its_input_and_its_failure_is_distinguished_from_success() -> Result<()> {
        assert_eq!(finish(command("cat"), "words").await?.done()?, "words");
        let failed = finish(command("false"), "words").await?;
        assert!(failed.done().is_err());
        assert!(finish(command("true"), "").await?.refused().is_err());
        Ok(())
    }
}
