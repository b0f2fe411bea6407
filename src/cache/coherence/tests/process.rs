//! A process that serves from the store, whose clock and cache the test controls.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::{BootClock, Coherence as _, Replicated, replicated};
use super::memory::Memory;
use super::{ms, until};
use crate::cache::sessions::tests::{NOW, cache, keep, user};
use crate::cache::{Cache, Check};
use crate::domain::entropy::SystemEntropy;
use crate::domain::token::TokenHash;
use crate::telemetry::{MetricsFormat, Readings};

/// tokio's paused time, plus the time for which the machine was suspended.
pub(super) struct Boot {
    begin: Instant,
    pub(super) asleep: Mutex<Duration>,
}

impl BootClock for Boot {
    fn now(&self) -> Duration {
        Duration::from_secs(1000) + self.begin.elapsed() + *self.asleep.lock()
    }
}

/// A process that serves from the store.
pub(super) struct Process {
    pub(super) coherence: Arc<Replicated>,
    cache: Arc<Cache>,
    pub(super) clock: Arc<Boot>,
    stop: CancellationToken,
    pub(super) task: JoinSet<()>,
}

impl Process {
    pub(super) fn start(store: &Arc<Memory>, cached: bool) -> Self {
        let cache = Arc::new(cache(1000));
        let clock = Arc::new(Boot { begin: Instant::now(), asleep: Mutex::default() });
        let (coherence, beats) =
            replicated(store.clone(), cache.clone(), cached, clock.clone(), Arc::new(SystemEntropy), Arc::default());
        let (stop, mut task) = (CancellationToken::new(), JoinSet::new());
        task.spawn(beats.run(stop.clone()));
        Self { coherence, cache, clock, stop, task }
    }

    /// Starts a process and waits until its cache is trusted.
    pub(super) async fn trusted(store: &Arc<Memory>) -> Self {
        let process = Self::start(store, true);
        process.until_trusted().await;
        process
    }

    pub(super) async fn until_trusted(&self) {
        until(async || self.coherence.trusted()).await;
    }

    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(super) fn keep(&self, token: TokenHash) {
        keep(self.cache(), token, &user());
    }

    pub(super) fn knows(&self, token: &TokenHash) -> bool {
        matches!(self.cache().check(token, NOW), Check::Live { .. })
    }

    /// Checks a session, this many milliseconds after it was loaded.
    pub(super) fn see(&self, token: &TokenHash, millis: u64) {
        assert!(matches!(self.cache().check(token, NOW.after(ms(millis))), Check::Live { .. }));
    }

    /// Whether a metric is shown with this value.
    pub(super) fn metric(&self, line: &str) -> bool {
        let readings = Readings { trusted: self.coherence.trusted(), ..Readings::default() };
        self.coherence.metrics.render(&readings, MetricsFormat::Prometheus).lines().any(|shown| shown == line)
    }

    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        while self.task.join_next().await.is_some() {}
    }
}
