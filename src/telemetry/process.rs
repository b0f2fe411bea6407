//! The metrics of the process, under the names that Prometheus' own libraries give them.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::domain::clock::{Clock as _, SystemClock};

/// The metrics of the process.
#[derive(Debug)]
pub(super) struct Process {
    cpu: Counter<f64, AtomicU64>,
    memory: Gauge,
    open_descriptors: Gauge,
    most_descriptors: Gauge,
}

impl Process {
    /// Registers them, and takes the time for that of the start.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let (started, this) = (Gauge::<f64, AtomicU64>::default(), Self::unregistered());
        started.set(seconds(SystemClock.now().millis()));
        let Self { cpu, memory, open_descriptors, most_descriptors } = &this;
        let registry = registry.sub_registry_with_prefix("process");
        registry.register_with_unit("start_time", "When the process started, since 1970", Unit::Seconds, started);
        registry.register_with_unit("cpu", "Time that processors have spent on it", Unit::Seconds, cpu.clone());
        registry.register_with_unit("resident_memory", "Memory that it holds now", Unit::Bytes, memory.clone());
        registry.register("open_fds", "File descriptors that are open now", open_descriptors.clone());
        registry.register("max_fds", "How many may be open", most_descriptors.clone());
        this
    }

    fn unregistered() -> Self {
        Self {
            cpu: Counter::default(),
            memory: Gauge::default(),
            open_descriptors: Gauge::default(),
            most_descriptors: Gauge::default(),
        }
    }

    /// Reads what there is to know now.
    pub(super) fn read(&self) {
        let used = clock_gettime(ClockId::ProcessCPUTime);
        let millis = used.tv_sec.saturating_mul(1000).saturating_add(used.tv_nsec / 1_000_000);
        // Of two scrapes at once the later one counts. Bits of positive numbers have the order of the numbers.
        self.cpu.inner().fetch_max(seconds(millis).to_bits(), Ordering::Relaxed);
        self.memory.set(resident_memory().unwrap_or_default());
        self.open_descriptors.set(open_descriptors());
        let most = getrlimit(Resource::Nofile).current;
        self.most_descriptors.set(most.and_then(|most| i64::try_from(most).ok()).unwrap_or(i64::MAX));
    }
}

/// Milliseconds as seconds.
fn seconds(millis: i64) -> f64 {
    Duration::from_millis(u64::try_from(millis).unwrap_or_default()).as_secs_f64()
}

/// Bytes of memory, where the system says so (Linux).
fn resident_memory() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes.saturating_mul(1024))
}

/// How many descriptors are open. Linux 6.2 and newer say so without listing them.
fn open_descriptors() -> i64 {
    const LIST: &str = "/proc/self/fd";
    let size = fs::metadata(LIST).map_or(0, |list| list.len());
    let count = if size > 0 { size } else { fs::read_dir(LIST).map_or(0, |list| list.zip(1..).count() as u64) };
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_read() {
        let process = Process::unregistered();
        process.read();
        let before = process.open_descriptors.get();
        assert!(process.memory.get() > 1 << 20, "{process:?}");
        assert!(process.cpu.get() > 0.0, "{process:?}");
        assert!(before > 2 && process.most_descriptors.get() >= before, "{process:?}");
        let _files: Vec<_> = (0..100).map(|_| fs::File::open("/dev/null").expect("a file")).collect();
        process.read();
        assert!(process.open_descriptors.get() > before, "{before} before, {process:?}");
    }
}
