//! Deletes sessions whose tombstones are not needed any more, old events, and counters of failed tries, in small batches, so
//! that no logout waits for long.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::clock::{Clock, Timestamp};
use crate::store::{Result, SharedStore, Store, StoreError};
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

/// Purges every ten minutes until it is stopped.
pub async fn run(
    store: SharedStore,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    kept: Kept,
    stop: CancellationToken,
) {
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let mut all_done = true;
        let (ended, old) = (before(clock.now(), kept.ended), before(clock.now(), kept.events));
        tokio::select! {
            () = stop.cancelled() => return,
            done = in_batches(&metrics, PurgedRows::sessions, || store.purge(ended, BATCH)) => all_done &= done,
        }
        tokio::select! {
            () = stop.cancelled() => return,
            done = in_batches(&metrics, PurgedRows::events, || store.purge_events(old, BATCH)) => all_done &= done,
        }
        tokio::select! {
            () = stop.cancelled() => return,
            done = counters(&*store, &*clock, &metrics) => all_done &= done,
        }
        if all_done {
            metrics.stores.purge_succeeded(clock.now());
        }
    }
}

/// Deletes the counters that are forgotten, and those beyond the most that are kept. Returns whether that went well.
async fn counters(store: &dyn Store, clock: &dyn Clock, metrics: &Metrics) -> bool {
    match store.surplus_throttles(MOST_COUNTERS).await {
        Ok(surplus) => {
            let now = clock.now();
            let before = surplus.map_or(now, |surplus| surplus.max(now));
            in_batches(metrics, PurgedRows::counters, || store.purge_throttles(before, BATCH)).await
        }
        Err(error) => {
            failed(metrics, &error);
            false
        }
    }
}

fn failed(metrics: &Metrics, error: &StoreError) {
    metrics.store.task_failed(error.cause(), &format_args!("cannot purge: {}", Causes(error)));
}

fn before(now: Timestamp, span: Duration) -> Timestamp {
    let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(now.millis().saturating_sub(span))
}

/// Deletes rows until there are none left. Returns whether that went well.
async fn in_batches<F>(metrics: &Metrics, rows: PurgedRows, delete: impl Fn() -> F) -> bool
where
    F: Future<Output = Result<u64>>,
{
    loop {
        match delete().await {
            Ok(deleted) => {
                metrics.stores.purged(rows, deleted);
                if deleted < u64::from(BATCH) {
                    return true;
                }
            }
            Err(error) => {
                failed(metrics, &error);
                return false;
            }
        }
        tokio::time::sleep(BETWEEN_BATCHES).await;
    }
}
