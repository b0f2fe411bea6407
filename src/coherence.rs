//! Who must have heard of a revocation before anybody is told of it, and whether memory may be believed.
//!
//! Whoever is about to reveal number N awaits [`Coherence::settled`], and whoever is about to believe the cache asks
//! [`Coherence::trusted`] first.
//!
//! With one process both are a matter of its own memory: the store's writer hands every revocation to
//! [`Coherence::hear`] in the order of the log. With many, each has a row in the store and a task, [`Beats`], that says
//! there that it lives and up to which number it has forgotten what was revoked:
//! - an answered beat which leaves the cache up to date lets it be believed for a [`LEASE`] from before it was sent, less
//!   a margin for clocks that go at different speeds (`trust`);
//! - a number is settled once every row of a process that answers from memory has applied it, or a lease after it was
//!   committed: whoever had not heard of it by then is not believed any more;
//! - it is flushed once every row at all has applied it, as nobody says so before they have stored the last-seen times
//!   that it asks for;
//! - a row that does not beat for a lease is given up (`silence`), so that a dead process delays nobody for long.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use self::trust::Trust;
use crate::cache::Cache;
use crate::domain::entropy::Entropy;
use crate::domain::revocation::{Revocation, Seq};
use crate::store::{Replicas, RevocationSink};
use crate::telemetry::Metrics;

mod beats;
mod silence;
#[cfg(test)]
mod tests;
mod trust;

pub use beats::Beats;
pub use trust::{BootClock, SystemBootClock};

/// How long after its beat a process may answer from memory at most.
pub const LEASE: Duration = Duration::from_secs(1);

/// How long a revocation may take to be heard of where one process serves; then its outcome is not told.
const PATIENCE: Duration = Duration::from_secs(2);

/// A revocation was not heard of in time, so nothing may be said of it.
#[derive(Debug, thiserror::Error)]
#[error("revocation {0:?} was not settled in time")]
pub struct NotSettled(Seq);

/// Applies revocations to the cache and knows how far everybody is.
pub struct Coherence {
    cache: Arc<Cache>,
    /// Whether no other process serves from the store.
    alone: bool,
    trust: Trust,
    /// Why it was not trusted when it last was not.
    doubt: Mutex<String>,
    /// Up to which number everybody who answers from memory has applied the log.
    settled: watch::Sender<Seq>,
    /// Up to which number everybody has stored what the log asked for.
    flushed: watch::Sender<Seq>,
    /// How many wait for more. While somebody does, the rows of others are read again and again.
    waiting: watch::Sender<usize>,
    metrics: Arc<Metrics>,
}

impl Coherence {
    /// Sees to `cache` where no other process serves from the store, which is to hand in every revocation. Unless checks
    /// are answered from it, which is `caching`, it is never trusted.
    pub fn alone(cache: Arc<Cache>, caching: bool, metrics: Arc<Metrics>) -> Self {
        Self::new(cache, true, Trust::always(caching), metrics)
    }

    /// Sees to `cache` where others serve from the same store, by a task that is yet to be run.
    pub fn among(
        replicas: Arc<dyn Replicas>,
        cache: Arc<Cache>,
        caching: bool,
        clock: Arc<dyn BootClock>,
        entropy: Arc<dyn Entropy>,
        metrics: Arc<Metrics>,
    ) -> (Arc<Self>, Beats) {
        let coherence = Arc::new(Self::new(cache, false, Trust::until_it_lapses(caching, clock), metrics));
        coherence.distrust("no beat has been answered yet");
        (coherence.clone(), Beats::new(replicas, coherence, entropy))
    }

    fn new(cache: Arc<Cache>, alone: bool, trust: Trust, metrics: Arc<Metrics>) -> Self {
        Self {
            cache,
            alone,
            trust,
            doubt: Mutex::default(),
            settled: watch::Sender::default(),
            flushed: watch::Sender::default(),
            waiting: watch::Sender::default(),
            metrics,
        }
    }

    /// Whether checks are answered from the cache at all. If not, it only knows what was seen of sessions.
    pub const fn is_caching(&self) -> bool {
        self.trust.is_ever_given()
    }

    /// Whether the cache may be believed now. To be asked anew for each look, before it.
    pub fn trusted(&self) -> bool {
        self.trust.holds()
    }

    /// Why the cache may not be believed; none where it may.
    pub fn doubt(&self) -> Option<String> {
        (!self.trusted()).then(|| self.doubt.lock().clone())
    }

    /// Waits until no check that begins from now on accepts what number `seq` ended. The number was committed before.
    ///
    /// # Errors
    /// [`NotSettled`] where this process is alone and its own store did not hand in the number for two seconds: answer
    /// 5xx, never 401 and never 2xx. Among others it takes a lease at most.
    pub async fn settled(&self, seq: Seq) -> Result<(), NotSettled> {
        let began = Instant::now();
        let outcome = self.wait(seq, &self.settled).await;
        self.metrics.coherence.settled(began.elapsed());
        outcome
    }

    /// Waits until every other process has stored the last-seen times that number `seq` asks for, or was cut off for a
    /// lease.
    ///
    /// # Errors
    /// As [`Self::settled`].
    pub async fn flushed(&self, seq: Seq) -> Result<(), NotSettled> {
        self.wait(seq, &self.flushed).await
    }

    async fn wait(&self, seq: Seq, reached: &watch::Sender<Seq>) -> Result<(), NotSettled> {
        if *reached.borrow() >= seq {
            return Ok(());
        }
        let mut reached = reached.subscribe();
        let _waiting = Waiting::begin(&self.waiting);
        let patience = if self.alone { PATIENCE } else { LEASE };
        match tokio::time::timeout(patience, reached.wait_for(|reached| *reached >= seq)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) if self.alone => Err(NotSettled(seq)),
            // Nobody is trusted any more who has not applied it, oneself included.
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }

    /// Forgets what `revocation` ended.
    fn apply(&self, revocation: &Revocation) {
        self.cache.forget(revocation);
        self.metrics.coherence.applied();
    }

    /// Tells those who wait that everybody who answers from memory has applied `settled`, and everybody `flushed`.
    fn settle(&self, settled: Seq, flushed: Seq) {
        for (reached, seq) in [(&self.settled, settled), (&self.flushed, flushed)] {
            reached.send_if_modified(|reached| {
                let newer = seq > *reached;
                *reached = seq.max(*reached);
                newer
            });
        }
    }

    fn distrust(&self, why: impl Into<String>) {
        self.trust.end();
        *self.doubt.lock() = why.into();
    }
}

impl RevocationSink for Coherence {
    fn apply(&self, revocation: &Revocation) {
        self.apply(revocation);
        self.settle(revocation.seq, revocation.seq);
    }

    fn clear(&self) {
        self.cache.abandon();
    }
}

impl std::fmt::Debug for Coherence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coherence").field("settled", &self.settled).finish_non_exhaustive()
    }
}

/// Counts one who waits, for as long as it lives.
struct Waiting<'c>(&'c watch::Sender<usize>);

impl<'c> Waiting<'c> {
    fn begin(count: &'c watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
