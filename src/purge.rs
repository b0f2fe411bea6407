//! Deletes what ended for good, in small batches, so that no logout waits behind it.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::clock::{Clock, Timestamp};
use crate::store::SharedStore;
use crate::telemetry::Metrics;

const EVERY: Duration = Duration::from_mins(10);
const BETWEEN_BATCHES: Duration = Duration::from_millis(50);
const BATCH: u32 = 256;
/// How long a tombstone stays after its session's absolute expiry, when its token could not be live anyway.
const KEEP: Duration = Duration::from_hours(24);

/// Purges every ten minutes until told to stop.
pub async fn run(store: SharedStore, clock: Arc<dyn Clock>, metrics: Arc<Metrics>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let keep = i64::try_from(KEEP.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp::from_millis(clock.now().millis().saturating_sub(keep));
        loop {
            match store.purge(before, BATCH).await {
                Ok(deleted) if deleted < u64::from(BATCH) => break,
                Ok(_) => {}
                Err(error) => {
                    metrics.store.noticed(error.cause(), &format_args!("cannot purge: {error}"));
                    break;
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(BETWEEN_BATCHES) => {}
            }
        }
    }
}
