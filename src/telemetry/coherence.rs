//! The metrics of coherence: trust, beats, and revocations.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use super::histogram::Histogram;
use super::stores::StoreKind;

/// The bounds in microseconds: a revocation is settled in milliseconds, or within a lease.
const SETTLED: [u64; 12] =
    [100, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 300_000, 900_000, 1_100_000];

/// Why the cache was emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the label's values as they are exposed")]
pub enum Clear {
    /// Another replica deleted this one's row.
    row_gone,
    /// What follows the last number applied was no longer in the log.
    log_cut,
    /// Another server took over, or a backup.
    failover,
    /// The store had lost numbers that were applied.
    head_went_back,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the label's values as they are exposed")]
enum BeatResult {
    ok,
    failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BeatLabels {
    result: BeatResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClearLabels {
    reason: Clear,
}

/// The metrics of coherence.
#[derive(Debug)]
pub struct Coherence {
    trusted: Gauge,
    beats: Family<BeatLabels, Counter>,
    applied: Counter,
    clears: Family<ClearLabels, Counter>,
    replicas: Gauge,
    lag: Gauge,
    reaped: Counter,
    settled: Histogram,
    last_beat: Gauge<f64, AtomicU64>,
    /// When this was made, and how many microseconds later a beat was last answered.
    begin: Instant,
    beaten: AtomicU64,
}

impl Coherence {
    /// Registers each metric at zero.
    pub(super) fn new(registry: &mut Registry, kind: StoreKind) -> Self {
        let metrics = Self {
            trusted: Gauge::default(),
            beats: Family::default(),
            applied: Counter::default(),
            clears: Family::default(),
            replicas: Gauge::default(),
            lag: Gauge::default(),
            reaped: Counter::default(),
            settled: Histogram::of_microseconds(&SETTLED),
            last_beat: Gauge::default(),
            begin: Instant::now(),
            beaten: AtomicU64::new(0),
        };
        let Self { trusted, beats, applied, clears, replicas, lag, reaped, settled, last_beat, .. } = &metrics;
        registry.register("cache_trusted", "Whether checks are answered from memory: 1, or 0", trusted.clone());
        registry.register("cache_clears", "Times the cache was emptied for being in doubt, by reason", clears.clone());
        registry.register("beats", "Beats of this replica, by result", beats.clone());
        registry.register("revocations_applied", "Entries of the log that memory has forgotten", applied.clone());
        registry.register("replicas", "Replicas that serve from memory, as last seen", replicas.clone());
        let help = "How many entries of the log the slowest replica had yet to apply, as last seen";
        registry.register("replica_lag", help, lag.clone());
        registry.register("replicas_reaped", "Silent replicas whose row this one deleted", reaped.clone());
        let help = "How long answers waited until all had forgotten";
        registry.register_with_unit("settled", help, Unit::Seconds, settled.clone());
        match kind {
            StoreKind::Sqlite => {}
            StoreKind::Postgres => {
                let help = "For how long no beat was answered; since the start, where none ever was";
                registry.register_with_unit("last_beat_age", help, Unit::Seconds, last_beat.clone());
            }
        }
        for result in [BeatResult::ok, BeatResult::failed] {
            let _ = beats.get_or_create(&BeatLabels { result });
        }
        for reason in [Clear::row_gone, Clear::log_cut, Clear::failover, Clear::head_went_back] {
            let _ = clears.get_or_create(&ClearLabels { reason });
        }
        metrics
    }

    /// Counts a beat.
    pub fn beat(&self, answered: bool) {
        let result = if answered { BeatResult::ok } else { BeatResult::failed };
        if answered {
            self.beaten.store(self.age(), Ordering::Relaxed);
        }
        self.beats.get_or_create(&BeatLabels { result }).inc();
    }

    /// Counts an entry of the log that was applied.
    pub fn applied(&self) {
        self.applied.inc();
    }

    /// Counts an emptied cache.
    pub fn cleared(&self, reason: Clear) {
        self.clears.get_or_create(&ClearLabels { reason }).inc();
    }

    /// Sets the gauges from the rows of all replicas, as last read.
    pub fn seen(&self, replicas: usize, lag: i64) {
        self.replicas.set(i64::try_from(replicas).unwrap_or(i64::MAX));
        self.lag.set(lag);
    }

    /// Counts a row that was deleted.
    pub fn reaped(&self) {
        self.reaped.inc();
    }

    /// Records how long a revocation took to be settled.
    pub fn settled(&self, after: Duration) {
        self.settled.record(after);
    }

    /// Sets the gauges that are read only when they are asked for.
    pub(super) fn read(&self, trusted: bool) {
        self.trusted.set(trusted.into());
        let silent = self.age().saturating_sub(self.beaten.load(Ordering::Relaxed));
        self.last_beat.set(Duration::from_micros(silent).as_secs_f64());
    }

    /// Microseconds since this was made.
    fn age(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}
