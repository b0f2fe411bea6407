//! Every metric in one place, the registry that exposes them, and the metrics of checks and connections.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::COMMIT;
use super::coherence::Coherence;
use super::configuration::Configuration;
use super::exposition::MetricsFormat;
use super::outage::Outage;
use super::passwords::Passwords;
use super::process::Process;
use super::requests::Requests;
use super::stores::{StoreKind, StoreMetrics, StoreUse};
use super::warm_up::WarmUp;
use super::{log, traces};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the label's values as they are exposed")]
pub enum CheckResult {
    /// A live session.
    accepted,
    /// No live session.
    refused,
    /// It could not be decided.
    failed,
}

/// Where the answer to a check came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the label's values as they are exposed")]
pub enum CheckSource {
    /// The token's own tag: it was never issued.
    tag,
    /// The cache.
    memory,
    /// The store.
    store,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    result: CheckResult,
    source: CheckSource,
}

/// Every metric. The ones on the path of a check are resolved once.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    checks: Family<CheckLabels, Counter>,
    accepted_from_memory: Counter,
    refused_by_tag: Counter,
    cached_sessions: Gauge,
    cache_capacity: Gauge,
    evictions: Counter<u64, AtomicU64>,
    connections: Gauge<i64>,
    process: Process,
    /// The metrics of requests.
    pub requests: Requests,
    /// The metrics of the configuration.
    pub configuration: Configuration,
    /// The metrics of coherence.
    pub coherence: Coherence,
    /// The metrics of logins and passwords.
    pub passwords: Passwords,
    /// The metrics of sessions that are read ahead of checks.
    pub warm_up: WarmUp,
    /// Whether the store fails, and what failed because of it.
    pub store: Outage,
    /// What the store measures.
    pub stores: Arc<StoreMetrics>,
}

/// What is read for an exposition, and not counted all the time.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    /// How many passwords wait for a worker.
    pub passwords_waiting: usize,
    /// How many sessions are kept in memory.
    pub cached_sessions: usize,
    /// How many were dropped to make room, since the start.
    pub evicted_sessions: u64,
    /// Whether checks are answered from memory.
    pub trusted: bool,
    /// What the store uses.
    pub store: StoreUse,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(StoreKind::default())
    }
}

impl Metrics {
    /// Registers those that a service on a store of this kind has.
    pub fn new(kind: StoreKind) -> Self {
        let mut all = Registry::default();
        let process = Process::new(&mut all);
        let registry = all.sub_registry_with_prefix("sessiond");
        let build = [("version", env!("CARGO_PKG_VERSION")), ("commit", COMMIT), ("store", kind.as_str())];
        registry.register("build", "What runs: version, commit, and kind of store", Info::new(build.to_vec()));
        let requests = Requests::new(registry);
        let checks = Family::default();
        registry.register("checks", "Credentials checked, by result and by where it came from", checks.clone());
        let gauge = |registry: &mut Registry, name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let passwords = Passwords::new(registry);
        let cached_sessions = gauge(registry, "cached_sessions", "Sessions kept in memory");
        let cache_capacity = gauge(registry, "cache_capacity", "How many sessions are kept at most");
        let evictions = Counter::default();
        registry.register("cache_evictions", "Sessions dropped to make room for others", evictions.clone());
        let connections = gauge(registry, "connections", "Connections open now");
        registry.register("log_dropped", "Log lines that could not be written", log::dropped());
        registry.register("spans_dropped", "Spans that could not be handed to the collector", traces::dropped());
        let configuration = Configuration::new(registry);
        let coherence = Coherence::new(registry, kind);
        let warm_up = WarmUp::new(registry);
        let store = Outage::new(registry);
        let stores = Arc::new(StoreMetrics::new(registry, kind));
        let checked = |result, source| {
            let counter: &Family<CheckLabels, Counter> = &checks;
            counter.get_or_create_owned(&CheckLabels { result, source })
        };
        for (result, source) in [
            (CheckResult::refused, CheckSource::memory),
            (CheckResult::accepted, CheckSource::store),
            (CheckResult::refused, CheckSource::store),
            (CheckResult::failed, CheckSource::store),
        ] {
            let _ = checked(result, source);
        }
        Self {
            configuration,
            accepted_from_memory: checked(CheckResult::accepted, CheckSource::memory),
            refused_by_tag: checked(CheckResult::refused, CheckSource::tag),
            registry: all,
            checks,
            cached_sessions,
            cache_capacity,
            evictions,
            connections,
            process,
            requests,
            coherence,
            warm_up,
            passwords,
            store,
            stores,
        }
    }

    /// Counts a check.
    pub fn checked(&self, result: CheckResult, source: CheckSource) {
        match (result, source) {
            (CheckResult::accepted, CheckSource::memory) => self.accepted_from_memory.inc(),
            (CheckResult::refused, CheckSource::tag) => self.refused_by_tag.inc(),
            (
                CheckResult::accepted | CheckResult::refused | CheckResult::failed,
                CheckSource::tag | CheckSource::memory | CheckSource::store,
            ) => self.checks.get_or_create(&CheckLabels { result, source }).inc(),
        };
    }

    /// Sets how many sessions are kept in memory at most; none where checks are not answered from it.
    pub fn caches(&self, capacity: usize) {
        self.cache_capacity.set(number(capacity));
    }

    /// Counts a connection for as long as the result lives.
    pub fn connected(&self) -> Connected {
        self.connections.inc();
        Connected(self.connections.clone())
    }

    /// Exposes all of them.
    pub fn render(&self, readings: &Readings, format: MetricsFormat) -> String {
        let Readings { passwords_waiting, cached_sessions, evicted_sessions, trusted, store } = readings;
        self.passwords.waiting(*passwords_waiting);
        self.cached_sessions.set(number(*cached_sessions));
        self.evictions.inner().fetch_max(*evicted_sessions, Ordering::Relaxed);
        self.coherence.read(*trusted);
        self.stores.used(store);
        self.process.read();
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        format.written(text)
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// An open connection, in the gauge.
#[derive(Debug)]
pub struct Connected(Gauge<i64>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}
