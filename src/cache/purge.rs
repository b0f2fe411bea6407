//! Deletes sessions whose tombstones are not needed any more, old events, and counters of failed tries, in small batches, so
//! that no logout waits for long. A clock that was set wrong would have all of them deleted, so that a jump is waited out.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::clock::{Clock, Timestamp};
use crate::store::{EventFilter, EventNumber, EventPurge, EventsPurged, Result, SharedStore, Store, StoreError};
use crate::telemetry::causes::Causes;
use crate::telemetry::{Metrics, PurgedRows};

const EVERY: Duration = Duration::from_mins(10);
const BETWEEN_BATCHES: Duration = Duration::from_millis(50);
const BATCH: u32 = 256;
/// The most counters of failed tries that are kept, of names, places and browsers: some 40 MB. Strangers can make up any number
/// of names, so those are dropped that make nobody wait and are forgotten first. Between two purges there can be more, by three
/// for each password that was hashed meanwhile. The counters of accounts and of their codes are beside that, one of each for each account
/// at most.
const MOST_COUNTERS: u32 = 262_144;

/// How long rows are kept.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// A session's after its absolute expiry, when its token could not be live anyway, and with it its tombstone.
    pub ended: Duration,
    /// An event's.
    pub events: Duration,
}

/// A clock that is so far ahead of what was to be expected is perhaps wrong.
const JUMP: Duration = Duration::from_hours(7 * 24);
/// How long sessions and events are kept after a jump, so that somebody can see it.
const HOLD: Duration = Duration::from_hours(24);
/// How many batches of events are looked at each time for old ones behind young ones: 14 million events a day.
const SEARCHED_EACH_TIME: u32 = 400;
/// How many events are read at a time to find one of before.
const STRETCH: u32 = 10_000;

/// Notices that the clock has jumped ahead. The true time is not known, but how much of it has passed is.
struct Jumps {
    /// What the clock said when it was last relied on, and when that was.
    known: (Timestamp, Instant),
    /// Since when it cannot be relied on.
    held_since: Option<Instant>,
}

impl Jumps {
    /// Begins with a time that the clock must have shown already.
    const fn new(shown: Timestamp, at: Instant) -> Self {
        Self { known: (shown, at), held_since: None }
    }

    /// Where the clock has jumped and this is to be waited out, the time that it would show otherwise.
    fn see(&mut self, now: Timestamp, at: Instant) -> Option<Timestamp> {
        let (shown, then) = self.known;
        let expected = shown.after(at.saturating_duration_since(then));
        if now.since(expected) > JUMP {
            let since = *self.held_since.get_or_insert(at);
            if at.saturating_duration_since(since) < HOLD {
                return Some(expected);
            }
        }
        *self = Self::new(now, at);
        None
    }
}

/// Purges every ten minutes until it is stopped.
pub async fn run(
    store: SharedStore,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    kept: Kept,
    stop: CancellationToken,
) {
    let mut tick = tokio::time::interval(EVERY);
    let mut purge = Purge { begun: clock.now(), store, clock, metrics, kept, jumps: None, searched: BEGINNING };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let all_done = tokio::select! {
            () = stop.cancelled() => return,
            all_done = purge.once() => all_done,
        };
        if all_done {
            purge.metrics.stores.purge_succeeded(purge.clock.now());
        }
    }
}

/// What is purged, and what is known from earlier times.
struct Purge {
    store: SharedStore,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    kept: Kept,
    /// What the clock said at the start.
    begun: Timestamp,
    /// None until it could be read when the newest event happened.
    jumps: Option<Jumps>,
    /// Where the search for old events behind young ones goes on.
    searched: EventNumber,
}

/// No event has so low a number.
const BEGINNING: EventNumber = EventNumber(0);

impl Purge {
    /// Deletes everything that is out of date, or only counters where the clock cannot be relied on. Returns whether all of
    /// that was done.
    async fn once(&mut self) -> bool {
        let known = match &mut self.jumps {
            Some(jumps) => jumps,
            unknown @ None => match newest(&*self.store, self.begun.before(HOLD)).await {
                Ok(newest) => unknown.insert(Jumps::new(newest.unwrap_or(self.begun), Instant::now())),
                Err(error) => {
                    self.failed(&error);
                    return false;
                }
            },
        };
        let now = self.clock.now();
        if let Some(expected) = known.see(now, Instant::now()) {
            tracing::warn!(
                "the clock says {}, and {} was to be expected: sessions and events that are out of date are kept for a day, \
                 in case it is wrong",
                now.rfc3339(),
                expected.rfc3339()
            );
            // Strangers can make up any number of these.
            self.counters(expected).await;
            return false;
        }
        let (ended, old) = (now.before(self.kept.ended), now.before(self.kept.events));
        let mut all_done = self.in_batches(PurgedRows::sessions, || self.store.purge(ended, BATCH)).await;
        all_done &= self.events(old).await;
        all_done &= self.counters(now).await;
        all_done & self.search_events(old).await
    }

    /// Deletes events from before a time, up to the first young ones: their numbers are nearly in the order of their times.
    /// Returns whether that went well.
    async fn events(&self, before: Timestamp) -> bool {
        let mut after = BEGINNING;
        loop {
            match self.some_events(before, after).await {
                None => return false,
                Some(EventsPurged { deleted, last: Some(last) }) if deleted == u64::from(BATCH) => after = last,
                Some(_) => return true,
            }
            tokio::time::sleep(BETWEEN_BATCHES).await;
        }
    }

    /// Looks at some more events each time, and begins anew after the last one: behind those that were written while a clock
    /// ran ahead there are old ones. Returns whether that went well.
    async fn search_events(&mut self, before: Timestamp) -> bool {
        for _ in 0..SEARCHED_EACH_TIME {
            tokio::time::sleep(BETWEEN_BATCHES).await;
            match self.some_events(before, self.searched).await {
                None => return false,
                Some(EventsPurged { last: Some(last), .. }) => self.searched = last,
                Some(EventsPurged { last: None, .. }) => {
                    self.searched = BEGINNING;
                    return true;
                }
            }
        }
        true
    }

    /// Deletes the old ones of a batch of events. None where that failed.
    async fn some_events(&self, before: Timestamp, after: EventNumber) -> Option<EventsPurged> {
        match self.store.purge_events(EventPurge { before, after, limit: BATCH }).await {
            Ok(purged) => {
                self.metrics.stores.purged(PurgedRows::events, purged.deleted);
                Some(purged)
            }
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }

    /// Deletes the counters that are forgotten, and those beyond the most that are kept. Returns whether that went well.
    async fn counters(&self, now: Timestamp) -> bool {
        match self.store.surplus_throttles(MOST_COUNTERS).await {
            Ok(surplus) => {
                let before = surplus.map_or(now, |surplus| surplus.max(now));
                self.in_batches(PurgedRows::counters, || self.store.purge_throttles(before, BATCH)).await
            }
            Err(error) => {
                self.failed(&error);
                false
            }
        }
    }

    /// Deletes rows until there are none left. Returns whether that went well.
    async fn in_batches<F>(&self, rows: PurgedRows, delete: impl Fn() -> F) -> bool
    where
        F: Future<Output = Result<u64>>,
    {
        loop {
            match delete().await {
                Ok(deleted) => {
                    self.metrics.stores.purged(rows, deleted);
                    if deleted < u64::from(BATCH) {
                        return true;
                    }
                }
                Err(error) => {
                    self.failed(&error);
                    return false;
                }
            }
            tokio::time::sleep(BETWEEN_BATCHES).await;
        }
    }

    fn failed(&self, error: &StoreError) {
        self.metrics.store.task_failed(error.cause(), &format_args!("cannot purge: {}", Causes(error)));
    }
}

/// When the newest event happened that is from before a time. What was written within a day before a start may be of the clock
/// that is in question.
async fn newest(store: &dyn Store, before: Timestamp) -> Result<Option<Timestamp>> {
    let filter = EventFilter { until: Some(before), ..EventFilter::default() };
    let mut place = None;
    loop {
        let stretch = store.event_stretch(&filter, place, STRETCH, 1).await?;
        match (stretch.events.first(), stretch.next) {
            (Some(event), _) => return Ok(Some(event.at)),
            (None, None) => return Ok(None),
            (None, next @ Some(_)) => place = next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWEST: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const MINUTE: Duration = Duration::from_mins(1);

    /// What is seen of a clock that was set forward by `ahead`, after each of these true spans.
    fn seen(ahead: Duration, spans: &[Duration]) -> Vec<bool> {
        let (begun, set) = (Instant::now(), NEWEST.after(ahead));
        let mut jumps = Jumps::new(NEWEST, begun);
        spans.iter().map(|span| jumps.see(set.after(*span), begun + *span).is_some()).collect()
    }

    #[test]
    fn a_jump_is_waited_out_for_a_day() {
        let spans = [Duration::ZERO, MINUTE, Duration::from_hours(23), HOLD, HOLD + MINUTE];
        assert_eq!(seen(JUMP, &spans), [false; 5]);
        assert_eq!(seen(JUMP + MINUTE, &spans), [true, true, true, false, false]);
        assert_eq!(seen(Duration::from_hours(24 * 365), &spans), [true, true, true, false, false]);
    }

    #[test]
    fn no_length_of_true_time_is_a_jump() {
        assert_eq!(seen(Duration::ZERO, &[MINUTE, JUMP, JUMP * 2 + MINUTE, JUMP * 50]), [false; 4]);
    }

    #[test]
    fn a_jump_while_it_runs_is_seen_and_is_over_once_it_was_set_back_far_enough() {
        let begun = Instant::now();
        let mut jumps = Jumps::new(NEWEST, begun);
        assert_eq!(jumps.see(NEWEST.after(MINUTE), begun + MINUTE), None);
        let far = NEWEST.after(JUMP * 50);
        assert_eq!(jumps.see(far, begun + MINUTE * 2), Some(NEWEST.after(MINUTE * 2)));
        let nearer = NEWEST.after(JUMP * 2);
        assert_eq!(jumps.see(nearer, begun + MINUTE * 3), Some(NEWEST.after(MINUTE * 3)), "still wrong");
        assert_eq!(jumps.see(NEWEST.after(MINUTE * 4), begun + MINUTE * 4), None, "set right");
        assert_eq!(jumps.see(far, begun + MINUTE * 5), Some(NEWEST.after(MINUTE * 5)), "wrong again");
    }
}
