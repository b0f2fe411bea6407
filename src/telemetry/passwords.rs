//! The metrics of logins, and of passwords on their way through the workers.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::histogram::Histogram;

/// The bounds of a wait in the queue, and of a hash, in microseconds.
const TIMES: [u64; 14] = [
    1_000, 5_000, 10_000, 15_000, 20_000, 30_000, 50_000, 75_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000,
];

/// What came of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the label's values as they are exposed")]
pub enum LoginResult {
    /// A session.
    accepted,
    /// The password was right, and a code or another password is waited for.
    incomplete,
    /// A wrong name, password or code.
    refused,
    /// There were too many tries.
    throttled,
    /// Too many passwords wait for a worker.
    shed,
    /// It could not be decided.
    failed,
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

/// Which kind of hash is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the label's values as they are exposed")]
pub enum HashKind {
    /// One of today's parameters, which also stands in for that of an unknown user.
    current,
    /// One that was made elsewhere, or with other parameters.
    other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LoginLabels {
    result: LoginResult,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ThrottledLabels {
    by: ThrottledBy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HashLabels {
    kind: HashKind,
}

/// What the password workers measure.
#[derive(Clone, Debug)]
pub struct HashTimes {
    waits: Histogram,
    current: Histogram,
    other: Histogram,
}

impl Default for HashTimes {
    fn default() -> Self {
        let times = || Histogram::of_microseconds(&TIMES);
        Self { waits: times(), current: times(), other: times() }
    }
}

impl HashTimes {
    /// Records how long a password waited for a worker.
    pub fn waited(&self, waited: Duration) {
        self.waits.record(waited);
    }

    /// Records how long a hash took to be computed.
    pub fn hashed(&self, kind: HashKind, took: Duration) {
        match kind {
            HashKind::current => self.current.record(took),
            HashKind::other => self.other.record(took),
        }
    }
}

/// The metrics of logins and passwords.
#[derive(Debug)]
pub struct Passwords {
    logins: Family<LoginLabels, Counter>,
    throttled: Family<ThrottledLabels, Counter>,
    shed: Counter<u64, AtomicU64>,
    queue: Gauge,
    capacity: Gauge,
    workers: Gauge,
    times: HashTimes,
}

impl Passwords {
    /// Registers each of them at zero.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let hashes: Family<_, _, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::of_microseconds(&TIMES));
        let of = |kind| hashes.get_or_create_owned(&HashLabels { kind });
        let this = Self {
            logins: Family::default(),
            throttled: Family::default(),
            shed: Counter::default(),
            queue: Gauge::default(),
            capacity: Gauge::default(),
            workers: Gauge::default(),
            times: HashTimes {
                waits: Histogram::of_microseconds(&TIMES),
                current: of(HashKind::current),
                other: of(HashKind::other),
            },
        };
        let Self { logins, throttled, shed, queue, capacity, workers, times } = &this;
        registry.register("logins", "Logins, by what came of them", logins.clone());
        let help = "Passwords and codes not checked because too many were wrong before, by what was counted";
        registry.register("logins_throttled", help, throttled.clone());
        registry.register("password_shed", "Passwords not checked because the queue was full", shed.clone());
        registry.register("password_queue", "Passwords waiting for a worker", queue.clone());
        registry.register("password_queue_capacity", "How many passwords may wait", capacity.clone());
        registry.register("password_workers", "Threads that hash passwords", workers.clone());
        let help = "How long passwords waited for a worker";
        registry.register_with_unit("password_wait_duration", help, Unit::Seconds, times.waits.clone());
        let help = "How long hashes took to be computed: those of today's parameters, and others";
        registry.register_with_unit("password_hash_duration", help, Unit::Seconds, hashes);
        for result in [
            LoginResult::accepted,
            LoginResult::incomplete,
            LoginResult::refused,
            LoginResult::throttled,
            LoginResult::shed,
            LoginResult::failed,
        ] {
            let _ = logins.get_or_create(&LoginLabels { result });
        }
        for by in [ThrottledBy::address, ThrottledBy::name, ThrottledBy::account] {
            let _ = throttled.get_or_create(&ThrottledLabels { by });
        }
        this
    }

    /// Counts a login.
    pub fn login(&self, result: LoginResult) {
        self.logins.get_or_create(&LoginLabels { result }).inc();
    }

    /// Counts a password that was not checked.
    pub fn shed(&self) {
        self.shed.inc();
    }

    /// Counts a password or a code that was not checked since it must wait.
    pub fn throttled(&self, by: ThrottledBy) {
        self.throttled.get_or_create(&ThrottledLabels { by }).inc();
    }

    /// Sets how many workers there are, and how many passwords may wait for them.
    pub fn sized(&self, workers: usize, capacity: usize) {
        self.workers.set(number(workers));
        self.capacity.set(number(capacity));
    }

    /// What the workers measure.
    pub fn times(&self) -> HashTimes {
        self.times.clone()
    }

    /// Sets how many passwords wait.
    pub(super) fn waiting(&self, waiting: usize) {
        self.queue.set(number(waiting));
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
