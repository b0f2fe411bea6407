//! The metrics of requests: how many there were of which route, and how long their answers took.

use std::cell::Cell;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use super::histogram::Histogram;

/// The bounds of checks in nanoseconds: close together where memory decides, and up to what a store takes that hardly answers.
const CHECKS: [u64; 24] = [
    500,
    1_000,
    1_500,
    2_000,
    2_500,
    3_000,
    4_000,
    6_000,
    10_000,
    15_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    1_000_000_000,
];
/// The bounds of all other requests in microseconds: some read, some commit, and some wait for a password worker.
const OTHERS: [u64; 13] =
    [250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000];
/// Of so many checks one is timed, where memory decides: reading the clock for each would cost more than is measured.
const TIMED: u8 = 16;

/// Which words a route speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the label's values as they are exposed")]
pub enum DialectName {
    /// The canonical API, that of administrators included.
    canonical,
    /// Medama's, which also answers where there is no route.
    medama,
    /// The operations listener's.
    operations,
    /// The pages'.
    pages,
    /// Rocket.Chat's.
    rocketchat,
    /// That of checks.
    verify,
}

impl DialectName {
    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::canonical => "canonical",
            Self::medama => "medama",
            Self::operations => "operations",
            Self::pages => "pages",
            Self::rocketchat => "rocketchat",
            Self::verify => "verify",
        }
    }
}

/// What a check was decided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the label's values as they are exposed")]
enum DecidedBy {
    /// What is in memory, or nothing but the request.
    memory,
    /// The store, which was read.
    store,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    dialect: DialectName,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    dialect: DialectName,
    route: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    source: DecidedBy,
}

type Times<L> = Family<L, Histogram, fn() -> Histogram>;

/// The metrics of requests.
#[derive(Debug)]
pub struct Requests {
    answers: Family<AnswerLabels, Counter>,
    times: Times<RouteLabels>,
    checks: CheckTimes,
}

impl Requests {
    /// Registers them. Those of a route appear with its first answer.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let answers = Family::default();
        let times: Times<_> = Family::new_with_constructor(|| Histogram::of_microseconds(&OTHERS));
        let checks: Times<_> = Family::new_with_constructor(|| Histogram::of_nanoseconds(&CHECKS));
        registry.register("http_requests", "Answers, by dialect, route template and status", answers.clone());
        let help = "How long answers took to be made, those to checks aside, by dialect and route template";
        registry.register_with_unit("http_request_duration", help, Unit::Seconds, times.clone());
        let help = "How long checks took; of those that memory decided, one in 16 is timed";
        registry.register_with_unit("check_duration", help, Unit::Seconds, checks.clone());
        let by = |source| checks.get_or_create_owned(&CheckLabels { source });
        Self { answers, times, checks: CheckTimes { memory: by(DecidedBy::memory), store: by(DecidedBy::store) } }
    }

    /// Counts an answer of a route, and records how long it took.
    pub fn answered(&self, dialect: DialectName, route: &str, status: u16, took: Duration) {
        let route = route.to_owned();
        self.times.get_or_create(&RouteLabels { dialect, route: route.clone() }).record(took);
        self.answers.get_or_create(&AnswerLabels { dialect, route, status }).inc();
    }

    /// Counters for the answers of one route of checks: there are so many that looking a counter up for each would cost too
    /// much.
    pub fn checks_of(&self, route: &'static str) -> RouteAnswers {
        let with = |status| self.answers.get_or_create_owned(&AnswerLabels::of_check(route, status));
        RouteAnswers { route, allowed: with(200), refused: with(401), answers: self.answers.clone() }
    }

    /// What checks are timed by.
    pub fn check_times(&self) -> CheckTimes {
        self.checks.clone()
    }
}

impl AnswerLabels {
    fn of_check(route: &str, status: u16) -> Self {
        Self { dialect: DialectName::verify, route: route.to_owned(), status }
    }
}

/// The answers of one route of checks, with the counters of its most common statuses resolved.
#[derive(Clone, Debug)]
pub struct RouteAnswers {
    route: &'static str,
    allowed: Counter,
    refused: Counter,
    answers: Family<AnswerLabels, Counter>,
}

impl RouteAnswers {
    /// Counts an answer.
    pub fn count(&self, status: u16) {
        match status {
            200 => self.allowed.inc(),
            401 => self.refused.inc(),
            _ => self.answers.get_or_create(&AnswerLabels::of_check(self.route, status)).inc(),
        };
    }
}

thread_local! {
    /// How many checks this thread has begun, modulo [`TIMED`].
    static BEGUN: Cell<u8> = const { Cell::new(0) };
}

/// What checks are timed by. Most are not, which costs them one number of their own thread.
#[derive(Clone, Debug)]
pub struct CheckTimes {
    memory: Histogram,
    store: Histogram,
}

impl CheckTimes {
    /// The time, if the check that begins now is one of those that are timed.
    pub fn begin(&self) -> Option<Instant> {
        let begun = BEGUN.get();
        BEGUN.set((begun + 1) % TIMED);
        (begun == 0).then(Instant::now)
    }

    /// Records a check that memory has decided.
    pub fn decided_by_memory(&self, begun: Option<Instant>) {
        if let Some(begun) = begun {
            self.memory.record(begun.elapsed());
        }
    }

    /// Records a check that the store has decided.
    pub fn decided_by_store(&self, begun: Instant) {
        self.store.record(begun.elapsed());
    }
}
