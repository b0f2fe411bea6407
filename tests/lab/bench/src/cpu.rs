//! Which CPUs processes run on, and the CPU time and memory that they have used, as `/proc` says.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result};
use rustix::{
    process::{Pid, Resource, Rlimit},
    thread::CpuSet,
};

/// Where the measured process runs.
pub const SERVER: &str = "0";
/// Where PostgreSQL runs, which serves both sides.
pub const BOTH: &str = "0,1";
/// Where the load generator runs.
const LOAD: usize = 1;

/// Enough for 1,000 simultaneous connections on either side; children inherit it.
const OPEN_FILES: u64 = 8192;

/// Keeps this process off the server's CPU; call it before any thread is started.
pub fn pin_load_generator() -> Result<()> {
    let mut set = CpuSet::new();
    set.set(LOAD);
    rustix::thread::sched_setaffinity(None, &set).context("pinning to the second CPU: two are needed")?;
    let now = rustix::process::getrlimit(Resource::Nofile);
    let wanted = now.maximum.map_or(OPEN_FILES, |hard| hard.min(OPEN_FILES));
    if now.current.is_some_and(|soft| soft < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: now.maximum };
        rustix::process::setrlimit(Resource::Nofile, raised).context("raising the open file limit")?;
    }
    Ok(())
}

/// CPU time that a process has used so far, user and system, all threads.
pub fn time(pid: Pid) -> Result<Duration> {
    Ok(stat(&folder(pid))?.1)
}

/// The same of those of its threads whose name does not begin so.
pub fn time_of_all_but(pid: Pid, prefix: &str) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for thread in fs::read_dir(format!("{}/task", folder(pid)))? {
        // A thread may have ended meanwhile.
        if let Ok((name, time)) = stat(&thread?.path().display().to_string())
            && !name.starts_with(prefix)
        {
            total += time;
        }
    }
    Ok(total)
}

/// How many of its threads have a name that begins so.
pub fn threads(pid: Pid, prefix: &str) -> Result<usize> {
    let mut count = 0;
    for thread in fs::read_dir(format!("{}/task", folder(pid)))? {
        // A thread may have ended meanwhile.
        let name = stat(&thread?.path().display().to_string()).map(|(name, _)| name);
        count += usize::from(name.is_ok_and(|name| name.starts_with(prefix)));
    }
    Ok(count)
}

/// The name and the CPU time of a process or a thread.
fn stat(folder: &str) -> Result<(String, Duration)> {
    let stat = fs::read_to_string(Path::new(folder).join("stat"))?;
    let (before, rest) = stat.rsplit_once(')').context("an odd line in /proc")?;
    let name = before.split_once('(').context("an odd line in /proc")?.1;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut ticks = || -> Result<u64> { Ok(fields.next().context("a short line in /proc")?.parse()?) };
    let total = ticks()? + ticks()?;
    Ok((name.to_owned(), Duration::from_micros(total * 1_000_000 / rustix::param::clock_ticks_per_second())))
}

/// Resident memory in bytes: `VmRSS` (now) or `VmHWM` (the highest so far).
pub fn memory(pid: Pid, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("{}/status", folder(pid)))?;
    let kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .and_then(|value| value.trim().strip_suffix(" kB"))
        .with_context(|| format!("no {field} in /proc"))?
        .parse()?;
    Ok(kib * 1024)
}

fn folder(pid: Pid) -> String {
    format!("/proc/{}", pid.as_raw_nonzero())
}
