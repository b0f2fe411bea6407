//! The metrics of requests, checks and passwords, and the registry that all metrics are in.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::coherence::Coherence;
use super::configuration::Configuration;
use super::outage::Outage;
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

/// What a try of a password or a code had to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the label's values as they are exposed")]
pub enum ThrottledBy {
    /// Too many failures from its address.
    address,
    /// Too many failures of its name, browser or session.
    name,
    /// Too many failures of its account, which is not published: it is checked, and refused as if it were wrong.
    account,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ThrottledLabels {
    by: ThrottledBy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    result: CheckResult,
    source: CheckSource,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    status: u16,
}

impl RequestLabels {
    fn new(route: &str, status: u16) -> Self {
        Self { route: route.to_owned(), status }
    }
}

/// Every metric. The ones on the path of a check are resolved once.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    checks: Family<CheckLabels, Counter>,
    accepted_from_memory: Counter,
    refused_by_tag: Counter,
    password_queue: Gauge,
    cached_sessions: Gauge,
    connections: Gauge<i64>,
    shed: Counter<u64, AtomicU64>,
    throttled: Family<ThrottledLabels, Counter>,
    /// The metrics of the configuration.
    pub configuration: Configuration,
    /// The metrics of coherence.
    pub coherence: Coherence,
    /// Whether the store fails, and what failed because of it.
    pub store: Outage,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("sessiond");
        let requests = Family::<RequestLabels, Counter>::default();
        registry.register("http_requests", "Answers, by route template and status", requests.clone());
        let checks = Family::default();
        registry.register("checks", "Credentials checked, by result and by where it came from", checks.clone());
        let gauge = |registry: &mut Registry, name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let password_queue = gauge(&mut registry, "password_queue", "Passwords waiting for a worker");
        let cached_sessions = gauge(&mut registry, "cached_sessions", "Sessions kept in memory");
        let connections = gauge(&mut registry, "connections", "Connections open now");
        let shed = Counter::default();
        registry.register("password_shed", "Passwords not checked because the queue was full", shed.clone());
        let throttled = Family::<ThrottledLabels, Counter>::default();
        registry.register(
            "logins_throttled",
            "Passwords and codes not checked because too many were wrong before, by what was counted",
            throttled.clone(),
        );
        registry.register("log_dropped", "Log lines that could not be written", log::dropped());
        registry.register("spans_dropped", "Spans that could not be handed to the collector", traces::dropped());
        let checked = |result, source| {
            let counter: &Family<CheckLabels, Counter> = &checks;
            counter.get_or_create(&CheckLabels { result, source }).clone()
        };
        Self {
            configuration: Configuration::new(&mut registry),
            coherence: Coherence::new(&mut registry),
            store: Outage::new(&mut registry),
            accepted_from_memory: checked(CheckResult::accepted, CheckSource::memory),
            refused_by_tag: checked(CheckResult::refused, CheckSource::tag),
            registry,
            requests,
            checks,
            password_queue,
            cached_sessions,
            connections,
            shed,
            throttled,
        }
    }
}

impl Metrics {
    /// Counts an answer of a route.
    pub fn answered(&self, route: &str, status: u16) {
        self.requests.get_or_create(&RequestLabels::new(route, status)).inc();
    }

    /// Counters for the answers of one route that gets so many requests that looking a counter up for each would cost
    /// too much.
    pub fn answers_of(&self, route: &'static str) -> RouteAnswers {
        let with = |status| self.requests.get_or_create(&RequestLabels::new(route, status)).clone();
        RouteAnswers { route, allowed: with(200), refused: with(401), requests: self.requests.clone() }
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

    /// Counts a password that was not checked.
    pub fn shed(&self) {
        self.shed.inc();
    }

    /// Counts a password or a code that was not checked since it must wait.
    pub fn throttled(&self, by: ThrottledBy) {
        self.throttled.get_or_create(&ThrottledLabels { by }).inc();
    }

    /// Counts a connection for as long as the result lives.
    pub fn connected(&self) -> Connected {
        self.connections.inc();
        Connected(self.connections.clone())
    }

    /// Prometheus text, with the gauges that are read only now.
    pub fn render(&self, password_queue: usize, cached_sessions: usize, trusted: bool) -> String {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.password_queue.set(number(password_queue));
        self.cached_sessions.set(number(cached_sessions));
        self.coherence.trusted(trusted);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

/// The answers of one route, with the counters of its most common statuses resolved.
#[derive(Clone, Debug)]
pub struct RouteAnswers {
    route: &'static str,
    allowed: Counter,
    refused: Counter,
    requests: Family<RequestLabels, Counter>,
}

impl RouteAnswers {
    /// Counts an answer.
    pub fn count(&self, status: u16) {
        match status {
            200 => self.allowed.inc(),
            401 => self.refused.inc(),
            _ => self.requests.get_or_create(&RequestLabels::new(self.route, status)).inc(),
        };
    }
}

/// An open connection, in the gauge.
#[derive(Debug)]
pub struct Connected(Gauge<i64>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}
