//! The task that keeps a replica's row: it beats, applies what was revoked, acknowledges it, and reaps replicas that
//! fell silent.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::contract::{Coherence as _, LEASE};
use super::liveness::Watch;
use super::replicated::Replicated;
use super::trust::BootClock;
use crate::cache::sessions::Cache;
use crate::domain::entropy::Entropy;
use crate::domain::id::ReplicaId;
use crate::domain::revocation::Seq;
use crate::domain::token::TokenHash;
use crate::store::replicas::News;
use crate::store::{Replica, Replicas, Result, StoreError};
use crate::telemetry::Metrics;
use crate::telemetry::causes::Causes;
use crate::telemetry::coherence::Clear;

/// How much faster than another's a clock may go during a lease.
const MARGIN: Duration = Duration::from_millis(100);
/// How long an answered beat makes the cache trusted, from before it was sent.
const TRUST: Duration = LEASE.saturating_sub(MARGIN);
/// How long after a failure the store is asked again.
const RETRY: Duration = Duration::from_millis(100);
/// How long other replicas wait for this one to store the last-seen times that a login asks for. Every request that
/// waits for a number waits for that too.
const FLUSH: Duration = Duration::from_nanos_u128(LEASE.as_nanos() / 4);
/// The most last-seen times in one transaction.
const CHUNK: usize = 256;
/// How long after a read the next one is made, while requests wait for a number.
const AGAIN: Duration = Duration::from_millis(1);

/// Keeps `cache` coherent with the caches of other replicas of the same store. The caller runs the task. Where checks
/// are not answered from the cache, `caching` is false, and the cache is never trusted.
pub fn replicated(
    replicas: Arc<dyn Replicas>,
    cache: Arc<Cache>,
    caching: bool,
    clock: Arc<dyn BootClock>,
    entropy: Arc<dyn Entropy>,
    metrics: Arc<Metrics>,
) -> (Arc<Replicated>, Beats) {
    let coherence = Arc::new(Replicated::new(Arc::clone(&replicas), cache, caching, clock, metrics));
    (coherence.clone(), Beats::new(replicas, coherence, entropy))
}

/// Keeps the replica's row in the store until it is stopped.
pub struct Beats {
    replicas: Arc<dyn Replicas>,
    coherence: Arc<Replicated>,
    entropy: Arc<dyn Entropy>,
    waiting: watch::Receiver<usize>,
    /// This replica's own row. There is none before it is registered, and none after it was lost.
    row: Option<ReplicaId>,
    /// The id of a row that may have been made: whether it was is not known.
    attempted: Option<ReplicaId>,
    /// The history of the store (its timeline) that `applied` belongs to. It is unknown before the first read.
    timeline: Option<u32>,
    /// The newest number applied.
    applied: Seq,
    /// Sessions whose last-seen times are to be stored before what was applied is acknowledged.
    flush: Vec<TokenHash>,
    watch: Watch,
    /// When the next beat is due.
    due: Instant,
    /// The earliest time of the next read for requests that wait.
    again: Instant,
    /// The earliest time at which the store is asked anything, after a failure.
    retry: Instant,
    /// Whether there was more in the log than the last read returned.
    behind: bool,
}

enum Turn {
    Beat,
    Read,
    Stop,
}

/// The result of a read.
#[derive(PartialEq, Eq)]
enum Standing {
    /// All of the log is applied.
    CaughtUp,
    /// There is more to read.
    Behind,
    /// The cache could not be trusted any more, and was cleared.
    StartedOver,
}

impl Beats {
    fn new(replicas: Arc<dyn Replicas>, coherence: Arc<Replicated>, entropy: Arc<dyn Entropy>) -> Self {
        let now = Instant::now();
        Self {
            waiting: coherence.waiting(),
            replicas,
            coherence,
            entropy,
            row: None,
            attempted: None,
            timeline: None,
            applied: Seq::default(),
            flush: Vec::new(),
            watch: Watch::default(),
            due: now,
            again: now,
            retry: now,
            behind: false,
        }
    }

    /// Keeps the row until it is stopped, and deregisters the replica then.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut end = End { coherence: self.coherence.clone(), expected: false };
        loop {
            match self.next(&stop).await {
                Turn::Beat => self.beat().await,
                Turn::Read => self.read().await,
                Turn::Stop => break,
            }
        }
        end.expected = true;
        self.deregister().await;
    }

    /// Chooses what to do next. A beat that is due comes first, however much there is to read.
    async fn next(&mut self, stop: &CancellationToken) -> Turn {
        let registered = self.row.is_some();
        let Self { replicas, waiting, due, retry, behind, .. } = self;
        let (retry, again) = (*retry, self.again.max(*retry));
        let hinted = async {
            replicas.hint().await;
            sleep_until(retry).await;
        };
        let waited_for = async {
            // This fails only when the other end is dropped, and that is held here.
            let _ = waiting.wait_for(|count| *count > 0).await;
            sleep_until(again).await;
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => Turn::Stop,
            () = sleep_until(*due) => Turn::Beat,
            () = sleep_until(retry), if *behind => Turn::Read,
            () = hinted, if registered => Turn::Read,
            () = waited_for, if registered => Turn::Read,
        }
    }

    /// Says that this replica lives and, if the answer leaves the cache up to date, trusts it for another while.
    async fn beat(&mut self) {
        self.due = Instant::now() + LEASE / 3;
        let Some(row) = self.registered().await else { return };
        // Before it is sent: whatever was committed by now is in the answer.
        let sent = self.coherence.now();
        let applied = self.applied;
        let answer = self.replicas.beat(row, applied).await;
        self.coherence.metrics.coherence.beat(answer.is_ok());
        match self.noted(answer) {
            Some(Some(news)) => {
                let before = self.applied;
                let standing = self.take_in(&news);
                if standing != Standing::StartedOver {
                    // Its commit comes after those of all numbers that were read before it was sent, from the same primary.
                    self.coherence.durable.advance(applied);
                }
                if standing == Standing::CaughtUp {
                    self.coherence.trust_until(sent + TRUST);
                }
                self.acknowledge(before, sent, standing, &news.replicas).await;
            }
            Some(None) => self.start_over(Clear::row_gone, None),
            None => self.due = self.retry,
        }
    }

    /// Reads the new entries of the log, applies them and acknowledges them. Gives no trust.
    async fn read(&mut self) {
        let sent = self.coherence.now();
        let answer = self.replicas.news(self.applied).await;
        self.again = Instant::now() + AGAIN;
        if let Some(news) = self.noted(answer) {
            let (before, was_behind) = (self.applied, self.behind);
            let standing = self.take_in(&news);
            if was_behind && standing == Standing::CaughtUp {
                self.due = Instant::now();
            }
            self.acknowledge(before, sent, standing, &news.replicas).await;
        }
    }

    /// This replica's row, which is registered if there is none. After an attempt whose outcome is unknown the next one
    /// is made under the same id: it waits in the store for the one before, so that attempts do not pile up there.
    async fn registered(&mut self) -> Option<ReplicaId> {
        if self.row.is_none() {
            let fresh =
                || ReplicaId::random(&*self.entropy).map_err(|error| StoreError::unreachable(error.to_string()));
            let registered = match self.attempted.map_or_else(fresh, Ok) {
                Ok(id) => {
                    self.attempted = Some(id);
                    self.replicas.register(id, self.coherence.is_caching()).await.map(|head| (id, head))
                }
                Err(error) => Err(error),
            };
            match self.noted(registered) {
                Some((id, head)) => {
                    self.go_on_from(head);
                    tracing::info!(replica = %id, "registered among the replicas");
                    self.row = Some(id);
                    self.attempted = None;
                }
                None => self.due = self.retry,
            }
        }
        self.row
    }

    /// Processes what was read: applies what was revoked, and publishes the number that all replicas have applied.
    fn take_in(&mut self, news: &News) -> Standing {
        let News { timeline, head, revocations, replicas } = news;
        self.coherence.note_timeline(*timeline);
        if self.row.is_some_and(|own| replicas.iter().all(|row| row.id != own)) {
            self.start_over(Clear::row_gone, None);
            return Standing::StartedOver;
        }
        if self.timeline.replace(*timeline).is_some_and(|before| before != *timeline) {
            self.start_over(Clear::failover, Some(*head));
            return Standing::StartedOver;
        }
        if *head < self.applied {
            self.start_over(Clear::head_went_back, Some(*head));
            return Standing::StartedOver;
        }
        let numbers = || revocations.iter().map(|revocation| revocation.seq);
        let unbroken = std::iter::once(self.applied).chain(numbers()).zip(numbers()).all(|(before, next)| {
            // After a failover, which is known by now, numbers go on from the first one of the new timeline.
            next.0 == before.0 + 1 || (next == Seq::first_of(*timeline) && before < next)
        });
        if !unbroken || (revocations.is_empty() && *head > self.applied) {
            self.start_over(Clear::log_cut, Some(*head));
            return Standing::StartedOver;
        }
        for revocation in revocations {
            self.coherence.apply(revocation);
            self.flush.extend(&revocation.flush);
            self.applied = revocation.seq;
        }
        // The row in the store has the number that was applied when it was last written.
        let others = || replicas.iter().filter(|row| Some(row.id) != self.row);
        let lowest = others().map(|row| row.applied).fold(self.applied, Seq::min);
        let caching = others().filter(|row| row.caching);
        self.coherence.publish(caching.map(|row| row.applied).fold(self.applied, Seq::min), lowest);
        self.coherence.metrics.coherence.seen(replicas.len(), head.0.saturating_sub(lowest.0));
        self.behind = self.applied < *head;
        if self.behind { Standing::Behind } else { Standing::CaughtUp }
    }

    /// Stores the last-seen times that were asked for. The wait for them is bounded, and so is what a failure means: a
    /// login may end a session that was seen here lately.
    async fn flush(&mut self) {
        let asked = std::mem::take(&mut self.flush);
        let cache = &self.coherence.cache;
        let seen = cache.unstored(&asked);
        let stored = async {
            for chunk in seen.chunks(CHUNK) {
                let deadlines = self.replicas.touch(chunk.to_vec()).await?;
                cache.touched(chunk, &deadlines);
            }
            Ok::<_, StoreError>(())
        };
        let why = match tokio::time::timeout(FLUSH, stored).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("the store did not answer within {FLUSH:?}"),
        };
        tracing::warn!("cannot store the last-seen times that a login asked for: {why}");
    }

    /// Stores the number that was applied, and reaps the replicas that have been silent for too long.
    async fn acknowledge(&mut self, before: Seq, sent: Duration, standing: Standing, rows: &[Replica]) {
        let silent = self.watch.silent(sent, self.coherence.now(), rows);
        if standing == Standing::StartedOver {
            return;
        }
        self.flush().await;
        if let Some(row) = self.row
            && self.applied > before
        {
            let acknowledged = self.replicas.acknowledge(row, self.applied).await;
            if self.noted(acknowledged).is_none() {
                // A beat stores the number as well.
                self.due = self.due.min(self.retry);
                return;
            }
        }
        let own = self.row;
        for row in silent.into_iter().filter(|row| Some(row.id) != own) {
            let reaped = self.replicas.reap(row).await;
            if self.noted(reaped).is_none() {
                return;
            }
            self.coherence.metrics.coherence.reaped();
            tracing::warn!(replica = %row.id, beat = row.beat, "reaped a replica that does not beat any more");
        }
    }

    /// Clears the cache, since nothing in it can be trusted any more. Goes on from the number given, or, without one,
    /// from that of a new row.
    fn start_over(&mut self, why: Clear, from: Option<Seq>) {
        let sentence = match why {
            Clear::row_gone => "another replica deleted the row of this one, as it had not beaten in time",
            Clear::log_cut => "the log does not go back to what was applied last",
            Clear::failover => "another server took over, and may have given out numbers twice",
            Clear::head_went_back => "the store has lost revocations it had committed",
        };
        self.coherence.distrust(sentence);
        self.coherence.metrics.coherence.cleared(why);
        tracing::warn!("clearing the cache: {sentence}");
        match from {
            Some(head) => self.go_on_from(head),
            None => self.row = None,
        }
        self.behind = false;
        self.flush.clear();
        self.watch = Watch::default();
        self.due = Instant::now();
    }

    fn go_on_from(&mut self, head: Seq) {
        self.coherence.start_over(head);
        self.applied = head;
    }

    /// Returns the answer. Where there is none, records that the store fails, and has the store asked nothing for a
    /// moment.
    fn noted<T>(&mut self, answer: Result<T>) -> Option<T> {
        if let Err(error) = &answer {
            self.retry = Instant::now() + RETRY;
            self.coherence.note(&error.to_string());
            let why = format_args!("cannot read the log of revocations: {}", Causes(error));
            self.coherence.metrics.store.task_failed(error.cause(), &why);
        }
        answer.ok()
    }

    async fn deregister(self) {
        self.coherence.distrust("stopping");
        if let Some(row) = self.row
            && let Err(error) = self.replicas.deregister(row).await
        {
            tracing::warn!(%error, "cannot deregister this replica, so the others will delete its row in time");
        }
    }
}

/// Makes the cache untrusted when the task ends, in whatever way it ends.
struct End {
    coherence: Arc<Replicated>,
    expected: bool,
}

impl Drop for End {
    fn drop(&mut self) {
        if !self.expected {
            // A process that is ended at once drops it in the middle, and nothing more is checked.
            if std::thread::panicking() {
                tracing::error!("the task that beats has ended; from now on each check reads the store");
            }
            self.coherence.distrust("the task that beats has ended");
        }
    }
}
