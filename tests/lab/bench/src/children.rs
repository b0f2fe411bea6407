//! Child processes: pinned to a CPU, ended with their parent, measured through `/proc`.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::{
    process::{Pid, Resource, Rlimit, Signal},
    thread::CpuSet,
};
use tokio::process::Command;

/// Where the measured process runs.
pub const SERVER_CPU: usize = 0;
/// Where the load generator runs.
pub const LOAD_CPU: usize = 1;

/// Enough for 1,000 simultaneous connections on either side; children inherit it.
const OPEN_FILES: u64 = 8192;

/// Keeps this process off the server's CPU; call it before any thread is started.
pub fn pin_load_generator() -> Result<()> {
    pin(&[LOAD_CPU])?;
    let now = rustix::process::getrlimit(Resource::Nofile);
    let wanted = now.maximum.map_or(OPEN_FILES, |hard| hard.min(OPEN_FILES));
    if now.current.is_some_and(|soft| soft < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: now.maximum };
        rustix::process::setrlimit(Resource::Nofile, raised).context("raising the open file limit")?;
    }
    Ok(())
}

fn pin(cpus: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    cpus.iter().for_each(|cpu| set.set(*cpu));
    rustix::thread::sched_setaffinity(None, &set).with_context(|| format!("pinning to CPU {cpus:?} (two are needed)"))
}

/// The hidden `pinned` command: turns this process into `command` on these CPUs, to be killed when its
/// parent dies, however that happens.
pub fn become_pinned(cpus: &[usize], command: &[OsString]) -> Result<()> {
    pin(cpus)?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let Some((program, arguments)) = command.split_first() else {
        bail!("no command to run");
    };
    let failure = std::process::Command::new(program).args(arguments).exec();
    Err(failure).with_context(|| format!("running {}", program.display()))
}

/// A command that runs on the server's CPU, with an empty environment, and dies with its handle.
fn pinned(program: &Path) -> Result<Command> {
    let myself = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new(myself);
    command
        .args(["pinned", "--cpu", &SERVER_CPU.to_string(), "--"])
        .arg(program)
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true);
    Ok(command)
}

/// The beginning of a command that may run on both CPUs; the rest are its arguments.
pub fn on_both_cpus() -> std::process::Command {
    let [server, load] = [SERVER_CPU, LOAD_CPU].map(|cpu| cpu.to_string());
    let mut command = std::process::Command::new("/proc/self/exe");
    command.args(["pinned", "--cpu", &server, "--cpu", &load, "--"]);
    command
}

/// Runs one of this program's hidden measuring commands on the server's CPU and reads its JSON.
pub async fn measure(arguments: &[&OsStr]) -> Result<serde_json::Value> {
    let output = pinned(&std::env::current_exe()?)?.args(arguments).stderr(Stdio::inherit()).output().await?;
    if !output.status.success() {
        bail!("a measuring child failed: {}", output.status);
    }
    serde_json::from_slice(&output.stdout).context("reading a measuring child's answer")
}

/// A running child whose standard error goes to a file; killed when dropped.
pub struct Child {
    process: tokio::process::Child,
    pub pid: u32,
    pub spawned: Instant,
    log: PathBuf,
}

impl Child {
    pub fn spawn(program: &Path, arguments: &[&OsStr], environment: &[(&str, String)], folder: &Path) -> Result<Self> {
        let log = folder.join("stderr.log");
        let file = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let mut command = pinned(program)?;
        command
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(file);
        let spawned = Instant::now();
        let process = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        let pid = process.id().context("a child without a process id")?;
        Ok(Self { process, pid, spawned, log })
    }

    /// Waits until every `name=address` has been logged, and returns the addresses.
    pub async fn logged<const N: usize>(&mut self, names: [&str; N]) -> Result<[SocketAddr; N]> {
        loop {
            let log = self.log()?;
            let found: Option<Vec<SocketAddr>> = names.iter().map(|name| value_of(&log, name)).collect();
            if let Some(Ok(addresses)) = found.map(TryInto::try_into) {
                return Ok(addresses);
            }
            self.still_alive()?;
            if self.spawned.elapsed() > Duration::from_secs(60) {
                bail!("the child logged no {} within a minute:\n{log}", names.join(" and "));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Fails with the end of the child's log when it has exited.
    pub fn still_alive(&mut self) -> Result<()> {
        if let Some(status) = self.process.try_wait()? {
            bail!("the child ended early ({status}):\n{}", self.log()?);
        }
        Ok(())
    }

    fn log(&self) -> Result<String> {
        // The addresses come first, complaints come last.
        const ENDS: usize = 8192;
        let bytes = fs::read(&self.log)?;
        let (first, rest) = bytes.split_at(bytes.len().min(ENDS));
        let last = &rest[rest.len().saturating_sub(ENDS)..];
        Ok([first, last].map(String::from_utf8_lossy).concat())
    }

    /// Asks the child to end and waits for it.
    pub async fn terminate(mut self) -> Result<()> {
        self.still_alive()?;
        let pid = Pid::from_raw(self.pid.try_into()?).context("process id 0")?;
        rustix::process::kill_process(pid, Signal::TERM)?;
        let status = tokio::time::timeout(Duration::from_secs(30), self.process.wait())
            .await
            .context("the child did not end within 30 s of SIGTERM")??;
        if !status.success() {
            bail!("the child ended with {status}:\n{}", self.log()?);
        }
        Ok(())
    }
}

impl Drop for Child {
    /// Killed and waited for, so that nothing of it competes with what is measured next.
    fn drop(&mut self) {
        let begun = Instant::now();
        if self.process.start_kill().is_ok() {
            while matches!(self.process.try_wait(), Ok(None)) && begun.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// The socket address after `name=` in a log; a line still being written does not count.
fn value_of(log: &str, name: &str) -> Option<SocketAddr> {
    let complete = &log[..log.rfind('\n')?];
    let key = format!("{name}=");
    complete
        .split(|c: char| c.is_whitespace() || c == '"' || c == ',')
        .find_map(|word| word.strip_prefix(&key)?.parse().ok())
}

/// CPU time a process has used so far, user and system, all threads.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(')').context("an odd /proc stat line")?.1;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let mut ticks = || -> Result<u64> { Ok(fields.next().context("a short /proc stat line")?.parse()?) };
    let total = ticks()? + ticks()?;
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_micros(total * 1_000_000 / per_second))
}

/// Resident memory in bytes: `VmRSS` (now) or `VmHWM` (the highest so far).
pub fn memory(pid: u32, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .and_then(|value| value.trim().strip_suffix(" kB"))
        .with_context(|| format!("no {field} in /proc status"))?
        .parse()?;
    Ok(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::value_of;

    #[test]
    fn an_address_is_found_in_a_finished_log_line_only() {
        let line = "2026-01-01T00:00:00Z INFO sessiond: ready listen=127.0.0.1:4711 ops=127.0.0.1:4712";

        assert_eq!(value_of(line, "listen"), None);
        let line = format!("{line}\n");
        assert_eq!(value_of(&line, "listen"), "127.0.0.1:4711".parse().ok());
        assert_eq!(value_of(&line, "ops"), "127.0.0.1:4712".parse().ok());
    }
}
