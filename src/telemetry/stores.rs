//! The metrics of the store: its batches, commits and connections, what is purged, and what its durability rests on.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::histogram::Histogram;
use crate::domain::clock::Timestamp;

/// The bounds of how much is committed, or looked up, together.
const SIZES: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
/// The bounds of commits in microseconds.
const COMMITS: [u64; 13] =
    [250, 500, 1_000, 2_000, 3_000, 5_000, 10_000, 20_000, 50_000, 100_000, 300_000, 1_000_000, 3_000_000];

/// Which database the store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreKind {
    /// A file of this process.
    #[default]
    Sqlite,
    /// A server that many processes share.
    Postgres,
}

impl StoreKind {
    /// Its name, as a label's value.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// What is done for many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the label's values as they are exposed")]
pub enum StoreWork {
    /// Logouts, which are committed together.
    logouts,
    /// Every other change.
    changes,
    /// Look-ups of sessions, which PostgreSQL is asked for together.
    lookups,
}

/// What connections are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the label's values as they are exposed")]
pub enum PoolName {
    /// To read.
    reads,
    /// To change something.
    changes,
}

/// Rows that are purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the label's values as they are exposed")]
pub enum PurgedRows {
    /// Of sessions that ended long ago.
    sessions,
    /// Of the audit.
    events,
    /// Counters of failed tries.
    counters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the label's values as they are exposed")]
enum ConnectionState {
    in_use,
    idle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WorkLabels {
    work: StoreWork,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabels {
    pool: PoolName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabels {
    pool: PoolName,
    state: ConnectionState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PurgedLabels {
    rows: PurgedRows,
}

/// What the store uses now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreUse {
    /// Its connections.
    pub pools: Vec<PoolUse>,
    /// For how long the oldest read of its own has been under way.
    pub oldest_read: Duration,
    /// The size of the write-ahead log, where that is a file.
    pub wal_bytes: Option<u64>,
}

/// The connections of a pool now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUse {
    /// What they are for.
    pub pool: PoolName,
    /// How many there may be.
    pub most: usize,
    /// How many are in use.
    pub in_use: usize,
    /// How many are open and not in use.
    pub idle: usize,
    /// How many requests wait for one.
    pub waiting: usize,
}

/// What protects a commit from the loss of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standbys {
    /// Whether a commit waits for a standby.
    pub waits: bool,
    /// How many standbys count for that now, where this may be read.
    pub synchronous: Option<i64>,
}

/// The labels of a metric that is exposed only while its value is known.
type NoLabels = [(&'static str, &'static str); 0];

type Histograms = Family<WorkLabels, Histogram, fn() -> Histogram>;

/// The metrics of the store.
#[derive(Debug)]
pub struct StoreMetrics {
    batches: Histograms,
    commits: Histograms,
    connections: Family<ConnectionLabels, Gauge>,
    most: Family<PoolLabels, Gauge>,
    waiting: Family<PoolLabels, Gauge>,
    oldest_read: Gauge<f64, AtomicU64>,
    wal: Gauge,
    commits_wait: Gauge,
    standbys: Family<NoLabels, Gauge>,
    purged: Family<PurgedLabels, Counter>,
    purge_succeeded: Gauge<f64, AtomicU64>,
}

impl Default for StoreMetrics {
    fn default() -> Self {
        Self {
            batches: Family::new_with_constructor(|| Histogram::of_sizes(&SIZES)),
            commits: Family::new_with_constructor(|| Histogram::of_microseconds(&COMMITS)),
            connections: Family::default(),
            most: Family::default(),
            waiting: Family::default(),
            oldest_read: Gauge::default(),
            wal: Gauge::default(),
            commits_wait: Gauge::default(),
            standbys: Family::default(),
            purged: Family::default(),
            purge_succeeded: Gauge::default(),
        }
    }
}

impl StoreMetrics {
    /// Registers those that a store of this kind has.
    pub(super) fn new(registry: &mut Registry, kind: StoreKind) -> Self {
        let this = Self::default();
        let Self { batches, commits, connections, most, waiting, oldest_read, .. } = &this;
        let Self { wal, commits_wait, standbys, purged, purge_succeeded, .. } = &this;
        let help = "How much the store was asked together, by what: commits, and look-ups of sessions";
        registry.register("store_batch_size", help, batches.clone());
        let help = "How long commits took, by what was committed";
        registry.register_with_unit("store_commit_duration", help, Unit::Seconds, commits.clone());
        registry.register("store_connections", "Connections to the store, by pool and state", connections.clone());
        registry.register("store_connections_max", "How many connections a pool may have", most.clone());
        registry.register("store_waiting", "Requests that wait for a connection, by pool", waiting.clone());
        let help = "For how long the oldest read of this process has been under way";
        registry.register_with_unit("store_oldest_read_age", help, Unit::Seconds, oldest_read.clone());
        match kind {
            StoreKind::Sqlite => {
                registry.register_with_unit("wal", "Size of the write-ahead log", Unit::Bytes, wal.clone());
            }
            StoreKind::Postgres => {
                let help = "Whether a commit waits for a standby: 1, or 0";
                registry.register("commits_wait_for_standby", help, commits_wait.clone());
                let help = "Standbys that a commit may wait for now, where the database's user may read this";
                registry.register("synchronous_standbys", help, standbys.clone());
            }
        }
        registry.register("purged", "Rows that were deleted for being out of date, by what they were", purged.clone());
        let help = "When everything out of date was last deleted, since 1970";
        registry.register_with_unit("purge_last_success_timestamp", help, Unit::Seconds, purge_succeeded.clone());
        for work in [StoreWork::logouts, StoreWork::changes, StoreWork::lookups] {
            let labels = WorkLabels { work };
            let _ = batches.get_or_create(&labels);
            if work != StoreWork::lookups {
                let _ = commits.get_or_create(&labels);
            }
        }
        for rows in [PurgedRows::sessions, PurgedRows::events, PurgedRows::counters] {
            let _ = purged.get_or_create(&PurgedLabels { rows });
        }
        this
    }

    /// Records a commit of so many things.
    pub fn committed(&self, work: StoreWork, size: usize, took: Duration) {
        self.asked(work, size);
        self.commits.get_or_create(&WorkLabels { work }).record(took);
    }

    /// Records that the store was asked for so many things at once.
    pub fn asked(&self, work: StoreWork, size: usize) {
        self.batches.get_or_create(&WorkLabels { work }).record_size(size);
    }

    /// Counts rows that were deleted.
    pub fn purged(&self, rows: PurgedRows, count: u64) {
        self.purged.get_or_create(&PurgedLabels { rows }).inc_by(count);
    }

    /// Notes that everything out of date was deleted.
    pub fn purge_succeeded(&self, at: Timestamp) {
        let millis = u64::try_from(at.millis()).unwrap_or_default();
        self.purge_succeeded.set(Duration::from_millis(millis).as_secs_f64());
    }

    /// Notes what protects commits.
    pub fn protected(&self, Standbys { waits, synchronous }: Standbys) {
        self.commits_wait.set(waits.into());
        match synchronous {
            Some(count) => {
                self.standbys.get_or_create(&[]).set(count);
            }
            None => self.standbys.clear(),
        }
    }

    /// Sets the gauges from what is used now.
    pub(super) fn used(&self, used: &StoreUse) {
        let StoreUse { pools, oldest_read, wal_bytes } = used;
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for PoolUse { pool, most, in_use, idle, waiting } in pools.iter().copied() {
            for (state, count) in [(ConnectionState::in_use, in_use), (ConnectionState::idle, idle)] {
                self.connections.get_or_create(&ConnectionLabels { pool, state }).set(number(count));
            }
            self.most.get_or_create(&PoolLabels { pool }).set(number(most));
            self.waiting.get_or_create(&PoolLabels { pool }).set(number(waiting));
        }
        self.oldest_read.set(oldest_read.as_secs_f64());
        self.wal.set(wal_bytes.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or_default());
    }
}
