//! Last-seen times on their way to the store: gathered in memory, flushed in batches, off the path of checks. The visits that
//! gather them also drop what has expired.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::sessions::Cache;
use crate::domain::clock::Clock;
use crate::domain::session::{Lifetimes, Seen};
use crate::store::{SharedStore, Store, StoreError};
use crate::telemetry::Metrics;
use crate::telemetry::causes::Causes;

/// The most last-seen times in one transaction, so that a logout never waits long behind them.
const CHUNK: usize = 256;
const URGENT: usize = 8192;
/// How many last-seen times are kept while the store takes none.
const BACKLOG: usize = 65_536;

/// The handle by which checks hand in last-seen times that cannot wait for the next round.
#[derive(Clone, Debug)]
pub struct Touches(mpsc::Sender<Seen>);

impl Touches {
    /// Hands in one last-seen time. Never waits: under a flood some are dropped, and their sessions then only seem idle
    /// for longer.
    pub fn urgent(&self, seen: Seen) {
        let _ = self.0.try_send(seen);
    }
}

/// Stores last-seen times, and records in the cache that they are stored.
///
/// # Errors
/// When the store fails. The last-seen times in the cache are then due again.
pub async fn store_seen(store: &dyn Store, cache: &Cache, seen: &[Seen]) -> Result<(), StoreError> {
    let deadlines = store.touch(seen.to_vec()).await?;
    cache.touched(seen, &deadlines);
    Ok(())
}

/// Flushes last-seen times until it is stopped.
pub struct Flusher {
    store: SharedStore,
    cache: Arc<Cache>,
    lifetimes: Lifetimes,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    urgent: mpsc::Receiver<Seen>,
    /// What could not be stored, for the next round.
    backlog: Vec<Seen>,
}

impl Flusher {
    /// Makes the flusher, and the handle by which checks reach it.
    pub fn new(
        store: SharedStore,
        cache: Arc<Cache>,
        lifetimes: Lifetimes,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> (Self, Touches) {
        let (sender, urgent) = mpsc::channel(URGENT);
        (Self { store, cache, lifetimes, clock, metrics, urgent, backlog: Vec::new() }, Touches(sender))
    }

    /// Flushes one shard after the other, each of them once a flush interval, and at the end all at once.
    pub async fn run(mut self, stop: CancellationToken) {
        let shards = self.cache.shards();
        let round = self.lifetimes.plain.flush_interval().min(self.lifetimes.remembered.flush_interval());
        let pause = (round / u32::try_from(shards).unwrap_or(1)).max(Duration::from_millis(1));
        let mut tick = tokio::time::interval(pause);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut urgent, mut next) = (Vec::new(), 0);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                taken = self.urgent.recv_many(&mut urgent, CHUNK) => {
                    if taken == 0 {
                        break;
                    }
                    self.flush(std::mem::take(&mut urgent)).await;
                }
                _ = tick.tick() => {
                    self.visit(next).await;
                    next = (next + 1) % shards;
                }
            }
        }
        while let Ok(seen) = self.urgent.try_recv() {
            urgent.push(seen);
        }
        self.flush(urgent).await;
        for shard in 0..shards {
            self.visit(shard).await;
        }
    }

    async fn visit(&mut self, shard: usize) {
        let mut seen = std::mem::take(&mut self.backlog);
        seen.extend(self.cache.visit(shard, self.clock.now()));
        self.flush(seen).await;
    }

    async fn flush(&mut self, seen: Vec<Seen>) {
        for chunk in seen.chunks(CHUNK) {
            match store_seen(&*self.store, &self.cache, chunk).await {
                Ok(()) => {}
                // A session whose last-seen time is lost seems idle for longer than it is: it can only end early, never
                // late.
                Err(error) => {
                    let room = BACKLOG.saturating_sub(self.backlog.len());
                    self.backlog.extend(chunk.iter().take(room));
                    let why = format_args!("cannot store last-seen times: {}", Causes(&error));
                    self.metrics.store.task_failed(error.cause(), &why);
                    tracing::debug!(%error, waiting = self.backlog.len(), "cannot store last-seen times");
                }
            }
        }
    }
}
