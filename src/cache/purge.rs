//! Deletes sessions whose tombstones are not needed any more, and old events, in small batches, so that no logout waits
//! for long.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::clock::{Clock, Timestamp};
use crate::store::{Result, SharedStore};
use crate::telemetry::Metrics;
use crate::telemetry::causes::Causes;

const EVERY: Duration = Duration::from_mins(10);
const BETWEEN_BATCHES: Duration = Duration::from_millis(50);
const BATCH: u32 = 256;
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
        let (ended, old) = (before(clock.now(), kept.ended), before(clock.now(), kept.events));
        tokio::select! {
            () = stop.cancelled() => return,
            () = in_batches(&metrics, || store.purge(ended, BATCH)) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = in_batches(&metrics, || store.purge_events(old, BATCH)) => {}
        }
    }
}

fn before(now: Timestamp, span: Duration) -> Timestamp {
    let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(now.millis().saturating_sub(span))
}

async fn in_batches<F: Future<Output = Result<u64>>>(metrics: &Metrics, delete: impl Fn() -> F) {
    loop {
        match delete().await {
            Ok(deleted) if deleted < u64::from(BATCH) => return,
            Ok(_) => {}
            Err(error) => {
                metrics.store.task_failed(error.cause(), &format_args!("cannot purge: {}", Causes(&error)));
                return;
            }
        }
        tokio::time::sleep(BETWEEN_BATCHES).await;
    }
}
