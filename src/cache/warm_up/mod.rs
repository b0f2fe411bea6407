//! Reads live sessions into the cache before they are checked, so that a start does not slow checks down: those first that
//! were seen lately, and of these the newest logins.
//!
//! It never comes before a check: it has a connection of its own, reads one batch at a time, and each batch comes after the
//! look-ups of checks that wait by then. What it puts into the cache is held to the same rule as a look-up (a ticket, taken
//! before the read), takes only room that is free, and is the first to be evicted, since it counts as seen when the store
//! says so.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::coherence::Coherence;
use super::sessions::{Cache, Ticket};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::principal::LiveSession;
use crate::domain::session::MOST_UNFLUSHED;
use crate::store::{Ahead, Part, PartRead, StoreError};
use crate::telemetry::Metrics;
use crate::telemetry::causes::Causes;
use crate::telemetry::warm_up::Ending;

#[cfg(test)]
mod tests;

/// The rows that are looked at in one read: less than a millisecond, so that a check that comes meanwhile has the processor soon.
const BATCH: u32 = 128;
/// The rows that are looked at where its turn is rare: few milliseconds, and less than a megabyte.
const LARGE_BATCH: u32 = 512;
/// Its turn is rare once checks have asked for so many look-ups since the last read.
const MANY: u64 = 16;
/// The shortest time from one read to the next.
const EVERY: Duration = Duration::from_millis(1);
/// How many sessions are put into the cache in one go, before other tasks have their turn.
const TOGETHER: usize = 64;
/// What was seen this long ago comes before everything else, and then what was seen that long ago.
const WAVES: [Duration; 2] = [MOST_UNFLUSHED, Duration::from_hours(24)];
/// How many times as many rows are looked at in a wave as the cache has room for. In a store that is larger, sessions of old
/// logins come into memory when they are checked.
const SPAN: usize = 8;
/// A read that takes longer finds the store under pressure, and the next one waits for some times as long.
const SLOW: Duration = Duration::from_millis(50);
const RELIEF: u32 = 4;
/// The pause after the first of several failures, which grows, and the number of failures that end it.
const RETRY: Duration = Duration::from_secs(1);
const FAILURES: u32 = 5;
/// How often it is looked whether the cache is trusted, and whether it was cleared: at first, and in the end.
const SOON: Duration = Duration::from_millis(5);
const LOOK: Duration = Duration::from_secs(1);

/// The task that warms the cache.
pub struct WarmUp {
    /// What reads sessions.
    pub ahead: Arc<dyn Ahead>,
    /// Where they are put.
    pub cache: Arc<Cache>,
    /// Whether it is trusted.
    pub coherence: Arc<dyn Coherence>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where sessions that were read are counted.
    pub metrics: Arc<Metrics>,
}

impl WarmUp {
    /// Warms the cache, and does so again after it was cleared, until it is stopped. Then a read under way is abandoned.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.warm_again_and_again()).await;
    }

    async fn warm_again_and_again(&self) {
        loop {
            self.trusted().await;
            let clears = self.cache.clears();
            let (began, before) = (Instant::now(), self.metrics.warm_up.sessions());
            let ending = self.warm(clears).await;
            self.ahead.close().await;
            let (sessions, seconds) = (self.metrics.warm_up.sessions() - before, began.elapsed().as_secs_f64());
            self.metrics.warm_up.ended(ending);
            match ending {
                Ending::complete | Ending::full => {
                    let full = ending == Ending::full;
                    tracing::info!(sessions, seconds, full, "warmed the cache");
                }
                Ending::cleared => tracing::info!(sessions, "the cache was cleared while it was warmed"),
                Ending::failing => {
                    tracing::warn!(sessions, seconds, "gave up warming the cache, as the store fails");
                }
            }
            while self.cache.clears() == clears {
                sleep(LOOK).await;
            }
        }
    }

    /// Waits until the cache is trusted.
    async fn trusted(&self) {
        let mut pause = SOON;
        while !self.coherence.trusted() {
            sleep(pause).await;
            pause = (pause * 2).min(LOOK);
        }
    }

    /// Warms the cache unless it is cleared once more than `clears` times.
    async fn warm(&self, clears: u64) -> Ending {
        let now = self.clock.now();
        let mut end = Timestamp::from_millis(i64::MAX);
        let starts = WAVES.iter().map(|span| now.before(*span)).chain([Timestamp::from_millis(i64::MIN)]);
        for start in starts {
            match self.wave(start..end, clears).await {
                Ok(true) => end = start,
                Ok(false) => break,
                Err(ending) => return ending,
            }
        }
        Ending::complete
    }

    /// Reads what was seen in a span. Returns whether there was something that was seen earlier.
    async fn wave(&self, seen: Range<Timestamp>, clears: u64) -> Result<bool, Ending> {
        let (mut before, mut earlier, mut looked_at, mut failures) = (None, false, 0, 0);
        let mut asked_before = self.ahead.asked();
        let mut every = interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while looked_at < self.cache.capacity().saturating_mul(SPAN) {
            every.tick().await;
            self.trusted().await;
            if self.cache.clears() != clears {
                return Err(Ending::cleared);
            }
            if !self.cache.has_room() {
                return Err(Ending::full);
            }
            let asked = self.ahead.asked();
            let rows = if asked.saturating_sub(asked_before) < MANY { BATCH } else { LARGE_BATCH };
            asked_before = asked;
            let part = Part { before, rows, now: self.clock.now(), seen: seen.clone() };
            let (began, ticket) = (Instant::now(), self.cache.ticket());
            match self.ahead.read(&part).await {
                Ok(PartRead { sessions, earlier: some, next }) => {
                    let took = began.elapsed();
                    self.keep(sessions, ticket).await;
                    earlier |= some;
                    if next.is_none() {
                        break;
                    }
                    (before, failures) = (next, 0);
                    looked_at += rows as usize;
                    if took > SLOW {
                        sleep(took * RELIEF).await;
                    }
                }
                Err(error) => {
                    self.failed(&error);
                    failures += 1;
                    if failures == FAILURES {
                        return Err(Ending::failing);
                    }
                    sleep(RETRY * failures).await;
                }
            }
        }
        Ok(earlier)
    }

    /// Puts sessions into the cache that were read with a ticket.
    async fn keep(&self, sessions: Vec<LiveSession>, ticket: Ticket) {
        let mut sessions = sessions.into_iter();
        while sessions.len() > 0 {
            let some = sessions.by_ref().take(TOGETHER);
            self.metrics.warm_up.kept(some.map(|session| u64::from(self.cache.keep_ahead(session, ticket))).sum());
            yield_now().await;
        }
    }

    fn failed(&self, error: &StoreError) {
        let why = format_args!("cannot read sessions ahead of their checks: {}", Causes(error));
        self.metrics.store.task_failed(error.cause(), &why);
    }
}
