//! Coherence where many replicas serve from the store: the state of one of them, kept up to date by its task in
//! `beats`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::contract::{Coherence, LEASE, NotSettled};
use super::history::History;
use super::progress::Progress;
use super::trust::{BootClock, Trust};
use crate::cache::sessions::Cache;
use crate::domain::revocation::{Revocation, Seq};
use crate::store::{MadeDurable, Replicas};
use crate::telemetry::Metrics;

/// Coherence of one replica among others.
pub struct Replicated {
    replicas: Arc<dyn Replicas>,
    pub(super) cache: Arc<Cache>,
    pub(super) metrics: Arc<Metrics>,
    trust: Trust,
    /// Why it was untrusted when it last was.
    untrusted_reason: Mutex<String>,
    /// Up to which number every replica that answers from memory has applied the log.
    pub(super) settled: Progress,
    /// Up to which number every replica has stored what the log asked for.
    flushed: Progress,
    /// Up to which number the log is durable: a commit that was made after these numbers could be read was answered.
    pub(super) durable: Progress,
    /// The highest number that has to be durable for an answer to be given.
    read: AtomicI64,
    /// The primary that the store is on.
    history: Mutex<History>,
    /// Held by the one that has the store make it durable.
    making_durable: tokio::sync::Mutex<()>,
    /// How many requests wait for a number. While there are any, the rows of the other replicas are read again and
    /// again.
    waiting: watch::Sender<usize>,
}

impl Replicated {
    /// Untrusted until the first beat is answered. Where checks are not answered from `cache`, `caching` is false, and
    /// it is never trusted.
    pub(super) fn new(
        replicas: Arc<dyn Replicas>,
        cache: Arc<Cache>,
        caching: bool,
        clock: Arc<dyn BootClock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            replicas,
            cache,
            metrics,
            trust: Trust::new(caching, clock),
            untrusted_reason: Mutex::new(String::from("no beat has been answered yet")),
            settled: Progress::default(),
            flushed: Progress::default(),
            durable: Progress::default(),
            read: AtomicI64::default(),
            history: Mutex::default(),
            making_durable: tokio::sync::Mutex::default(),
            waiting: watch::Sender::default(),
        }
    }

    /// The time on the clock that trust is measured by.
    pub(super) fn now(&self) -> Duration {
        self.trust.now()
    }

    /// How many requests wait for a number to be settled.
    pub(super) fn waiting(&self) -> watch::Receiver<usize> {
        self.waiting.subscribe()
    }

    /// Removes what `revocation` ended from the cache.
    pub(super) fn apply(&self, revocation: &Revocation) {
        self.cache.apply(revocation);
        self.metrics.coherence.applied();
    }

    /// Publishes that every replica which answers from memory has applied `settled`, and every one `flushed`.
    pub(super) fn publish(&self, settled: Seq, flushed: Seq) {
        self.settled.advance(settled);
        self.flushed.advance(flushed);
    }

    /// Trusts the cache until that time on the clock of `now`.
    pub(super) fn trust_until(&self, until: Duration) {
        self.trust.give(until);
        self.note("no beat was answered in time");
    }

    /// Trusts the cache no longer.
    pub(super) fn distrust(&self, why: &str) {
        self.trust.end();
        self.note(why);
    }

    /// Notes why the cache will be untrusted, should its lease run out.
    pub(super) fn note(&self, why: &str) {
        why.clone_into(&mut self.untrusted_reason.lock());
    }

    /// Notes the timeline that the store is on. Where another primary took over, it has what was durable until now.
    pub(super) fn note_timeline(&self, timeline: u32) {
        self.history.lock().note(timeline, self.durable.reached(), self.now());
    }

    /// Clears the cache, which then counts as having applied everything up to `head`: whatever is loaded from now on
    /// includes it.
    pub(super) fn start_over(&self, head: Seq) {
        self.cache.clear(head);
        self.settled.rewind(head);
        self.flushed.rewind(head);
        self.read.fetch_min(head.0, Ordering::AcqRel);
        self.durable.rewind(head);
    }

    /// Has the store make durable what could be read up to now. Of many that need it one asks, for all of them.
    async fn make_durable(&self, seq: Seq) -> Result<(), NotSettled> {
        self.read.fetch_max(seq.0, Ordering::AcqRel);
        let _turn = timeout(LEASE, self.making_durable.lock()).await.map_err(|_| NotSettled(seq))?;
        if self.durable.has_reached(seq) {
            return Ok(());
        }
        // Whatever was read by now is covered.
        let read = Seq(self.read.load(Ordering::Acquire));
        self.commit(seq).await?;
        // If everything has started over meanwhile, higher numbers are assigned again.
        self.durable.advance(read.min(Seq(self.read.load(Ordering::Acquire))));
        Ok(())
    }

    /// Has the store make durable what can be read, and notes which primary has done so and whether its log has `seq`.
    async fn commit(&self, seq: Seq) -> Result<(), NotSettled> {
        let MadeDurable { timeline, has_entry } = self.replicas.make_durable(seq).await.map_err(|_| NotSettled(seq))?;
        self.note_timeline(timeline);
        if has_entry {
            self.history.lock().note_entry(timeline, seq);
        }
        Ok(())
    }

    /// Whether `seq` may have been read from a primary that was succeeded by one that does not have it.
    fn may_be_lacking(&self, seq: Seq) -> bool {
        self.history.lock().may_lack(seq, self.now())
    }

    async fn applied_everywhere(&self, seq: Seq) {
        let began = Instant::now();
        self.reach(&self.settled, seq).await;
        self.metrics.coherence.settled(began.elapsed());
    }

    async fn reach(&self, progress: &Progress, seq: Seq) {
        if progress.has_reached(seq) {
            return;
        }
        let _waiting = Waiting::begin(&self.waiting);
        // After a lease the replicas that have not applied it, this one included, are untrusted.
        progress.reach(seq, LEASE).await;
    }
}

#[async_trait]
impl Coherence for Replicated {
    fn is_caching(&self) -> bool {
        self.trust.is_ever_given()
    }

    fn trusted(&self) -> bool {
        self.trust.holds()
    }

    fn untrusted_reason(&self) -> Option<String> {
        (!self.trusted()).then(|| self.untrusted_reason.lock().clone())
    }

    async fn settled(&self, seq: Seq) -> Result<(), NotSettled> {
        self.history.lock().note_commit(seq, self.durable.reached(), self.now());
        self.durable.advance(seq);
        self.applied_everywhere(seq).await;
        Ok(())
    }

    async fn settled_as_read(&self, seq: Seq) -> Result<(), NotSettled> {
        if !self.durable.has_reached(seq) {
            self.make_durable(seq).await?;
        }
        if self.may_be_lacking(seq) {
            self.commit(seq).await?;
            if self.may_be_lacking(seq) {
                return Err(NotSettled(seq));
            }
        }
        self.applied_everywhere(seq).await;
        Ok(())
    }

    async fn flushed(&self, seq: Seq) -> Result<(), NotSettled> {
        self.reach(&self.flushed, seq).await;
        Ok(())
    }
}

/// Counts a request that waits, for as long as this value lives.
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
