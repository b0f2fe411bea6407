//! The metrics of coherence: trust, beats, and revocations.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The buckets in seconds: a revocation is settled in milliseconds, or within a lease.
const BUCKETS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 0.9, 1.1];

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
}

impl Coherence {
    /// Registers each metric at zero.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            trusted: Gauge::default(),
            beats: Family::default(),
            applied: Counter::default(),
            clears: Family::default(),
            replicas: Gauge::default(),
            lag: Gauge::default(),
            reaped: Counter::default(),
            settled: Histogram::new(BUCKETS),
        };
        let Self { trusted, beats, applied, clears, replicas, lag, reaped, settled } = &metrics;
        registry.register("cache_trusted", "Whether checks are answered from memory: 1, or 0", trusted.clone());
        registry.register("cache_clears", "Times the cache was emptied for being in doubt, by reason", clears.clone());
        registry.register("beats", "Beats of this replica, by result", beats.clone());
        registry.register("revocations_applied", "Entries of the log that memory has forgotten", applied.clone());
        registry.register("replicas", "Replicas that serve from memory, as last seen", replicas.clone());
        let help = "How many entries of the log the slowest replica had yet to apply, as last seen";
        registry.register("replica_lag", help, lag.clone());
        registry.register("replicas_reaped", "Silent replicas whose row this one deleted", reaped.clone());
        registry.register("settled_seconds", "How long answers waited until all had forgotten", settled.clone());
        metrics
    }

    /// Counts a beat.
    pub fn beat(&self, answered: bool) {
        let result = if answered { BeatResult::ok } else { BeatResult::failed };
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
        self.settled.observe(after.as_secs_f64());
    }

    pub(super) fn trusted(&self, trusted: bool) {
        self.trusted.set(trusted.into());
    }
}
