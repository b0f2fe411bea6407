//! Trust in the cache: a lease that ends by itself, on a clock that is never set and that counts suspension.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A clock that counts from some fixed moment. It is passed in, so that tests can move it.
pub trait BootClock: Send + Sync + 'static {
    /// The time since then, suspension included.
    fn now(&self) -> Duration;
}

/// The operating system's clock.
#[derive(Debug, Default)]
pub struct SystemBootClock;

impl BootClock for SystemBootClock {
    fn now(&self) -> Duration {
        // Elsewhere the monotonic clock counts suspension, or there is none that does.
        #[cfg(target_os = "linux")]
        let clock = rustix::time::ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        let clock = rustix::time::ClockId::Monotonic;
        let now = rustix::time::clock_gettime(clock);
        Duration::new(u64::try_from(now.tv_sec).unwrap_or_default(), u32::try_from(now.tv_nsec).unwrap_or_default())
    }
}

/// Until when the cache may be trusted.
pub(super) struct Trust {
    /// The end of the trust, in nanoseconds of the clock.
    until: AtomicU64,
    /// Whether it is ever given.
    ever: bool,
    clock: Arc<dyn BootClock>,
}

impl Trust {
    /// Trust that has not been given yet, and never will be unless `ever` is true.
    pub(super) fn new(ever: bool, clock: Arc<dyn BootClock>) -> Self {
        Self { until: AtomicU64::new(0), ever, clock }
    }

    /// Whether it is ever given.
    pub(super) const fn is_ever_given(&self) -> bool {
        self.ever
    }

    /// Whether trust is given now. This is on the path of every check, and costs one load and one reading of the clock.
    pub(super) fn holds(&self) -> bool {
        // A check that finds trust given also finds the cache in the state that it had before.
        nanoseconds(self.clock.now()) < self.until.load(Ordering::Acquire)
    }

    /// Gives trust until `until`, if it is ever given.
    pub(super) fn give(&self, until: Duration) {
        if self.ever {
            self.until.store(nanoseconds(until), Ordering::Release);
        }
    }

    /// Takes it back.
    pub(super) fn end(&self) {
        self.until.store(0, Ordering::Release);
    }

    /// The time on its clock.
    pub(super) fn now(&self) -> Duration {
        self.clock.now()
    }
}

fn nanoseconds(span: Duration) -> u64 {
    span.as_secs().saturating_mul(1_000_000_000).saturating_add(span.subsec_nanos().into())
}
