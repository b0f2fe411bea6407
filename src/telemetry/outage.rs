//! An outage of the store in the log: one line when it begins, a count every ten seconds, and one line when it is over,
//! however many requests it fails. Those are counted by cause, and logged one by one at `debug` only.
//!
//! A line for each request would make an outage worse: log collectors drop what comes too fast, the cause among it.

use std::fmt::Display;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::Instant;

/// How often a line says that the store still fails.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// For how long nothing may fail, once the store answers again, before the failure counts as over. Requests that were
/// under way at that time still belong to the outage.
const RECOVERY: Duration = Duration::from_secs(1);
/// The same for a store that has failed again and again: twice as long each time, up to this.
const LONGEST_RECOVERY: Duration = Duration::from_secs(16);
/// After this long without a failure, the next one is a new outage.
const NEW_OUTAGE_AFTER: Duration = Duration::from_mins(1);

/// Why the store did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the label's values as they are exposed")]
pub enum StoreCause {
    /// It refused, dropped the connection or failed.
    unreachable,
    /// It did not answer in time.
    too_slow,
    /// What it holds or was asked makes no sense.
    inconsistent,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    cause: StoreCause,
}

/// Requests that failed, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Failed {
    unreachable: u64,
    too_slow: u64,
    inconsistent: u64,
}

impl Failed {
    const fn count(&mut self, cause: StoreCause) {
        match cause {
            StoreCause::unreachable => self.unreachable += 1,
            StoreCause::too_slow => self.too_slow += 1,
            StoreCause::inconsistent => self.inconsistent += 1,
        }
    }

    /// All of them.
    const fn total(self) -> u64 {
        self.unreachable + self.too_slow + self.inconsistent
    }
}

/// What is to be written to the log.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    /// The store fails, and did not before.
    Begun { cause: StoreCause, why: String },
    /// The store still fails.
    Still { lasted: Duration, failed: Failed, why: String },
    /// The store does not fail any more. `lasted` is up to its first good answer.
    Over { lasted: Duration, failed: Failed },
}

/// A span as a line of the log shows it.
pub fn to_the_millisecond(span: Duration) -> Duration {
    Duration::from_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

impl Line {
    fn write(self) {
        match self {
            Self::Begun { cause, why } => {
                tracing::error!(?cause, why, "the store fails; what fails because of it is counted from now on");
            }
            Self::Still { lasted, failed, why } => {
                let Failed { unreachable, too_slow, inconsistent: _ } = failed;
                let (lasted, failed) = (to_the_millisecond(lasted), failed.total());
                tracing::warn!(?lasted, failed, unreachable, too_slow, why, "the store still fails");
            }
            Self::Over { lasted, failed } => {
                let Failed { unreachable, too_slow, inconsistent: _ } = failed;
                let (lasted, failed) = (to_the_millisecond(lasted), failed.total());
                tracing::info!(?lasted, failed, unreachable, too_slow, "the store answers again");
            }
        }
    }
}

/// Whether the store fails, and when that was last logged. Times are since some fixed moment.
#[derive(Debug, Default)]
struct State {
    failing: Option<Failing>,
    /// When the last outage was over, and the recovery time of that outage.
    over: Option<(Duration, Duration)>,
}

#[derive(Debug)]
struct Failing {
    since: Duration,
    /// For how long nothing may fail before the outage is over.
    recovery: Duration,
    failed: Failed,
    why: String,
    last_failure: Duration,
    last_line: Duration,
    /// When it first answered after the last failure.
    answered: Option<Duration>,
}

impl State {
    /// Records a failure of a request or of one of the service's own tasks.
    fn failed(&mut self, cause: StoreCause, why: &dyn Display, of_request: bool, now: Duration) -> Option<Line> {
        let why = why.to_string();
        if let Some(failing) = &mut self.failing {
            (failing.last_failure, failing.answered) = (now, None);
            failing.why = why;
            if of_request {
                failing.failed.count(cause);
            }
            return self.tick(now);
        }
        let recovery = match self.over {
            Some((over, recovery)) if now.saturating_sub(over) < NEW_OUTAGE_AFTER => {
                (recovery * 2).min(LONGEST_RECOVERY)
            }
            Some(_) | None => RECOVERY,
        };
        let mut failed = Failed::default();
        if of_request {
            failed.count(cause);
        }
        let line = Line::Begun { cause, why: why.clone() };
        let (last_failure, last_line) = (now, now);
        self.failing = Some(Failing { since: now, recovery, failed, why, last_failure, last_line, answered: None });
        Some(line)
    }

    /// Records that the store has answered what it was asked at `asked`.
    fn answered(&mut self, asked: Duration, now: Duration) -> Option<Line> {
        let failing = self.failing.as_mut().filter(|failing| failing.last_failure <= asked)?;
        let answered = *failing.answered.get_or_insert(now);
        if now.saturating_sub(failing.last_failure) < failing.recovery {
            return None;
        }
        let line = Line::Over { lasted: answered.saturating_sub(failing.since), failed: failing.failed };
        self.over = Some((now, failing.recovery));
        self.failing = None;
        Some(line)
    }

    /// Returns the line that says that the store still fails, where it is due.
    fn tick(&mut self, now: Duration) -> Option<Line> {
        let failing = self.failing.as_mut().filter(|failing| now.saturating_sub(failing.last_line) >= LINE_INTERVAL)?;
        failing.last_line = now;
        Some(failing.still(now))
    }
}

impl Failing {
    fn still(&self, now: Duration) -> Line {
        Line::Still { lasted: now.saturating_sub(self.since), failed: self.failed, why: self.why.clone() }
    }
}

/// Limits a line that could be logged all the time to once in ten seconds.
#[derive(Debug, Default)]
pub struct LogThrottle(Option<Instant>);

impl LogThrottle {
    /// Whether the line is due. If so, the next one is due in ten seconds.
    pub fn is_due(&mut self) -> bool {
        let due = self.0.is_none_or(|last| last.elapsed() >= LINE_INTERVAL);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}

/// The outage of a store, if there is one: its state, its log lines and its metrics.
#[derive(Debug)]
pub struct Outage {
    begin: Instant,
    state: Mutex<State>,
    on: watch::Sender<bool>,
    failures: Family<FailureLabels, Counter>,
    failing: Gauge,
}

impl Outage {
    /// Begins without an outage.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let (failures, failing) = (Family::<FailureLabels, Counter>::default(), Gauge::default());
        registry.register("store_failures", "Requests that failed because of the store, by cause", failures.clone());
        for cause in [StoreCause::unreachable, StoreCause::too_slow, StoreCause::inconsistent] {
            let _ = failures.get_or_create(&FailureLabels { cause });
        }
        registry.register("store_failing", "Whether the store fails: 1, or 0", failing.clone());
        let (begin, state, on) = (Instant::now(), Mutex::default(), watch::Sender::new(false));
        Self { begin, state, on, failures, failing }
    }

    /// Counts a request that failed because of the store.
    pub fn request_failed(&self, cause: StoreCause, why: &dyn Display) {
        self.failures.get_or_create(&FailureLabels { cause }).inc();
        // An inconsistency may concern one request only, so it is no outage and has a line of its own.
        if cause != StoreCause::inconsistent {
            self.change(|state, now| state.failed(cause, why, true, now));
        }
    }

    /// Records that one of the service's own tasks has failed because of the store.
    pub fn task_failed(&self, cause: StoreCause, why: &dyn Display) {
        self.change(|state, now| state.failed(cause, why, false, now));
    }

    /// Records that the store can be read and written, as it was asked at `asked`.
    pub fn answered(&self, asked: Instant) {
        let asked = asked.saturating_duration_since(self.begin);
        self.change(|state, now| state.answered(asked, now));
    }

    /// Writes the line that says that the store still fails, where that is due.
    pub fn tick(&self) {
        self.change(State::tick);
    }

    /// Writes a last line if the store fails while the service stops, so that no count is lost.
    pub fn close(&self) {
        self.change(|state, now| state.failing.as_ref().map(|failing| failing.still(now)));
    }

    /// Whether something has failed since `then`.
    pub fn failed_since(&self, then: Instant) -> bool {
        let then = then.saturating_duration_since(self.begin);
        self.state.lock().failing.as_ref().is_some_and(|failing| failing.last_failure >= then)
    }

    /// Waits until the store fails.
    pub async fn begun(&self) {
        // This fails only when the sender is dropped, and that is held here.
        let _ = self.on.subscribe().wait_for(|on| *on).await;
    }

    fn change(&self, change: impl FnOnce(&mut State, Duration) -> Option<Line>) {
        let line = {
            let mut state = self.state.lock();
            let line = change(&mut state, self.begin.elapsed());
            // The state never changes without a line.
            if line.is_some() {
                let on = state.failing.is_some();
                self.on.send_if_modified(|was| std::mem::replace(was, on) != on);
                self.failing.set(on.into());
            }
            line
        };
        if let Some(line) = line {
            line.write();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNREACHABLE: StoreCause = StoreCause::unreachable;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// How many lines there are in any 30 s.
    fn most_in_thirty_seconds(lines: &[Duration]) -> usize {
        let within = |from: &Duration| lines.iter().filter(|at| **at >= *from && **at < *from + ms(30_000)).count();
        lines.iter().map(within).max().unwrap_or_default()
    }

    #[test]
    fn an_outage_is_logged_at_once_then_every_ten_seconds_then_at_its_end() {
        let (mut state, mut lines) = (State::default(), Vec::new());
        // 5,000 requests a second for 28 s.
        for tick in 0..140_000_u64 {
            let now = Duration::from_micros(200 * tick);
            lines.extend(state.failed(UNREACHABLE, &"refused", true, now));
            assert!(!lines.is_empty(), "at once");
        }
        assert_eq!(state.answered(ms(28_100), ms(28_101)), None, "requests may be under way still");
        assert_eq!(state.failed(StoreCause::too_slow, &"late", true, ms(28_300)), None);
        assert_eq!(state.answered(ms(28_200), ms(28_400)), None, "asked before the last failure");
        assert_eq!(state.answered(ms(28_500), ms(28_501)), None);
        lines.extend(state.answered(ms(29_400), ms(29_401)));
        let failed = |unreachable| Failed { unreachable, too_slow: 0, inconsistent: 0 };
        let still = |seconds: u64, count| Line::Still {
            lasted: ms(seconds * 1000),
            failed: failed(count),
            why: String::from("refused"),
        };
        let expected = [
            Line::Begun { cause: UNREACHABLE, why: String::from("refused") },
            still(10, 50_001),
            still(20, 100_001),
            Line::Over { lasted: ms(28_501), failed: Failed { unreachable: 140_000, too_slow: 1, inconsistent: 0 } },
        ];
        assert_eq!(lines, expected);
        assert!(state.failing.is_none());
    }

    #[test]
    fn an_outage_that_only_tasks_notice_is_counted_as_none() {
        let mut state = State::default();
        assert!(matches!(state.failed(UNREACHABLE, &"refused", false, ms(0)), Some(Line::Begun { .. })));
        assert_eq!(state.tick(ms(9_999)), None);
        let still = state.tick(ms(10_000));
        assert!(matches!(still, Some(Line::Still { failed, .. }) if failed.total() == 0), "{still:?}");
        let over = state.answered(ms(12_000), ms(12_001));
        assert!(matches!(over, Some(Line::Over { failed, .. }) if failed.total() == 0), "{over:?}");
    }

    #[test]
    fn a_store_that_comes_and_goes_is_logged_ever_less_often_until_it_stays() {
        for (down, up) in [(1, 10), (10, 500), (100, 1_000), (300, 1_300), (700, 2_500), (1_000, 20_000)] {
            let (mut state, mut lines) = (State::default(), Vec::new());
            let mut now = ms(0);
            while now < ms(300_000) {
                let fails = now.as_millis() % (down + up) < down;
                let line = if fails {
                    state.failed(UNREACHABLE, &"refused", true, now)
                } else {
                    state.answered(now, now).or_else(|| state.tick(now))
                };
                lines.extend(line.map(|_| now));
                now += ms(1);
            }
            assert!((2..=20).contains(&most_in_thirty_seconds(&lines)), "{down} down, {up} up: {lines:?}");
        }
        let mut state = State { over: Some((ms(0), LONGEST_RECOVERY)), ..State::default() };
        state.failed(UNREACHABLE, &"refused", true, NEW_OUTAGE_AFTER);
        assert_eq!(state.failing.map(|failing| failing.recovery), Some(RECOVERY));
    }
}
