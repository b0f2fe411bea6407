//! The task that keeps a process's row: it beats, hears what was revoked, says so, and gives up rows that fell silent.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::silence::Watch;
use super::{Coherence, LEASE};
use crate::domain::entropy::Entropy;
use crate::domain::id::ReplicaId;
use crate::domain::revocation::Seq;
use crate::domain::token::TokenHash;
use crate::store::replicas::News;
use crate::store::{Replica, Replicas, Result, StoreError};
use crate::telemetry::coherence::Clear;

/// How much faster than another's a clock may go during a lease.
const MARGIN: Duration = Duration::from_millis(100);
/// How long an answered beat lets the cache be believed, from before it was sent.
const TRUST: Duration = LEASE.saturating_sub(MARGIN);
/// How long after a failure the store is asked again.
const RETRY: Duration = Duration::from_millis(100);
/// How long others wait for this process to store last-seen times that a login asks for: everybody who waits for a number
/// waits for it too.
const FLUSH: Duration = Duration::from_nanos_u128(LEASE.as_nanos() / 4);
/// The most last-seen times in one transaction.
const CHUNK: usize = 256;
/// How long after a read the next one is made for those who wait.
const AGAIN: Duration = Duration::from_millis(1);

/// Keeps the row, until told to stop.
pub struct Beats {
    replicas: Arc<dyn Replicas>,
    coherence: Arc<Coherence>,
    entropy: Arc<dyn Entropy>,
    waiting: watch::Receiver<usize>,
    /// The own row; none before it is made, and once it is lost.
    row: Option<ReplicaId>,
    /// Which history of the store `applied` is of; unknown before the first read.
    timeline: Option<u32>,
    /// The newest number applied.
    applied: Seq,
    /// Sessions whose last-seen times are to be stored before what was applied is acknowledged.
    flush: Vec<TokenHash>,
    watch: Watch,
    /// When to beat next.
    due: Instant,
    /// Not before then is read again for those who wait.
    again: Instant,
    /// Not before then is anything asked.
    retry: Instant,
    /// Whether there was more in the log than the last read returned.
    behind: bool,
}

enum Turn {
    Beat,
    Hear,
    Leave,
}

/// What a read has come to.
#[derive(PartialEq, Eq)]
enum Standing {
    /// All of the log is applied.
    CaughtUp,
    /// There is more to read.
    Behind,
    /// What was in memory is not to be believed; it is gone.
    StartedOver,
}

impl Beats {
    pub(super) fn new(replicas: Arc<dyn Replicas>, coherence: Arc<Coherence>, entropy: Arc<dyn Entropy>) -> Self {
        let now = Instant::now();
        Self {
            waiting: coherence.waiting.subscribe(),
            replicas,
            coherence,
            entropy,
            row: None,
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

    /// Keeps the row until told to stop, and deletes it then.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut end = End { coherence: self.coherence.clone(), told: false };
        loop {
            match self.next(&stop).await {
                Turn::Beat => self.beat().await,
                Turn::Hear => self.hear().await,
                Turn::Leave => break,
            }
        }
        end.told = true;
        self.leave().await;
    }

    /// What to do next. A beat that is due comes first, however much there is to hear of.
    async fn next(&mut self, stop: &CancellationToken) -> Turn {
        let hears = self.row.is_some();
        let Self { replicas, waiting, due, retry, behind, .. } = self;
        let (retry, again) = (*retry, self.again.max(*retry));
        let hinted = async {
            replicas.hint().await;
            sleep_until(retry).await;
        };
        let waited_for = async {
            // It fails when its other end is gone, which is held here.
            let _ = waiting.wait_for(|count| *count > 0).await;
            sleep_until(again).await;
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => Turn::Leave,
            () = sleep_until(*due) => Turn::Beat,
            () = sleep_until(retry), if *behind => Turn::Hear,
            () = hinted, if hears => Turn::Hear,
            () = waited_for, if hears => Turn::Hear,
        }
    }

    /// Says that this process lives and, if the answer leaves the cache up to date, trusts it for another while.
    async fn beat(&mut self) {
        self.due = Instant::now() + LEASE / 3;
        let Some(row) = self.joined().await else { return };
        // Before it is sent: whatever was committed by now is in the answer.
        let sent = self.coherence.trust.now();
        let answer = self.replicas.beat(row, self.applied).await;
        self.coherence.metrics.coherence.beat(answer.is_ok());
        match self.noted(answer) {
            Some(Some(news)) => {
                let before = self.applied;
                let standing = self.read(&news);
                if standing == Standing::CaughtUp {
                    self.coherence.trust.give(sent + TRUST);
                    *self.coherence.doubt.lock() = String::from("no beat was answered in time");
                }
                self.tell(before, sent, standing, &news.replicas).await;
            }
            Some(None) => self.lose(Clear::row_gone, None),
            None => self.due = self.retry,
        }
    }

    /// Reads what is new, and says that it did. Gives no trust.
    async fn hear(&mut self) {
        let sent = self.coherence.trust.now();
        let answer = self.replicas.news(self.applied).await;
        self.again = Instant::now() + AGAIN;
        if let Some(news) = self.noted(answer) {
            let (before, was_behind) = (self.applied, self.behind);
            let standing = self.read(&news);
            if was_behind && standing == Standing::CaughtUp {
                self.due = Instant::now();
            }
            self.tell(before, sent, standing, &news.replicas).await;
        }
    }

    /// The own row, made if there is none. An earlier attempt whose outcome is unknown may have left one, under another
    /// id; nobody beats for that, and it is given up.
    async fn joined(&mut self) -> Option<ReplicaId> {
        if self.row.is_none() {
            let id = ReplicaId::random(&*self.entropy).map_err(|error| StoreError::unreachable(error.to_string()));
            let joined = match id {
                Ok(id) => self.replicas.register(id, self.coherence.is_caching()).await.map(|head| (id, head)),
                Err(error) => Err(error),
            };
            match self.noted(joined) {
                Some((id, head)) => {
                    self.go_on_from(head);
                    self.row = Some(id);
                }
                None => self.due = self.retry,
            }
        }
        self.row
    }

    /// Takes in what was read: the cache forgets what it must, and whoever waits for what all have applied hears of it.
    fn read(&mut self, news: &News) -> Standing {
        let News { timeline, head, revocations, replicas } = news;
        if self.row.is_some_and(|own| replicas.iter().all(|row| row.id != own)) {
            self.lose(Clear::row_gone, None);
            return Standing::StartedOver;
        }
        if self.timeline.replace(*timeline).is_some_and(|before| before != *timeline) {
            self.lose(Clear::failover, Some(*head));
            return Standing::StartedOver;
        }
        if *head < self.applied {
            self.lose(Clear::head_went_back, Some(*head));
            return Standing::StartedOver;
        }
        let next = self.applied.0 + 1;
        let unbroken = revocations.iter().zip(next..).all(|(revocation, number)| revocation.seq.0 == number);
        if !unbroken || (revocations.is_empty() && *head > self.applied) {
            self.lose(Clear::log_cut, Some(*head));
            return Standing::StartedOver;
        }
        for revocation in revocations {
            self.coherence.apply(revocation);
            self.flush.extend(&revocation.flush);
            self.applied = revocation.seq;
        }
        // The own row tells what was applied when it was last written.
        let others = || replicas.iter().filter(|row| Some(row.id) != self.row);
        let lowest = others().map(|row| row.applied).fold(self.applied, Seq::min);
        let caching = others().filter(|row| row.caching);
        self.coherence.settle(caching.map(|row| row.applied).fold(self.applied, Seq::min), lowest);
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

    /// Says what was applied, and gives up the rows that have been silent for too long.
    async fn tell(&mut self, before: Seq, sent: Duration, standing: Standing, rows: &[Replica]) {
        let silent = self.watch.silent(sent, self.coherence.trust.now(), rows);
        if standing == Standing::StartedOver {
            return;
        }
        self.flush().await;
        if let Some(row) = self.row
            && self.applied > before
        {
            let acknowledged = self.replicas.acknowledge(row, self.applied).await;
            if self.noted(acknowledged).is_none() {
                // A beat says it too.
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
            tracing::warn!(replica = %row.id, beat = row.beat, "gave up a replica that does not beat any more");
        }
    }

    /// Believes nothing of what is in memory any more. Goes on from a number, or without one, from a new row's.
    fn lose(&mut self, why: Clear, from: Option<Seq>) {
        let sentence = match why {
            Clear::row_gone => "another replica gave this one up, as it had not beaten in time",
            Clear::log_cut => "the log does not go back to what was applied last",
            Clear::failover => "another server took over, and may have given out numbers twice",
            Clear::head_went_back => "the store has lost revocations it had committed",
        };
        self.coherence.distrust(sentence);
        self.coherence.metrics.coherence.cleared(why);
        tracing::warn!("forgetting every cached session: {sentence}");
        match from {
            Some(head) => self.go_on_from(head),
            None => self.row = None,
        }
        self.behind = false;
        self.flush.clear();
        self.watch = Watch::default();
        self.due = Instant::now();
    }

    /// Empties the cache, which has then applied all up to `head`: what is loaded from now on shows it.
    fn go_on_from(&mut self, head: Seq) {
        self.coherence.cache.clear(head);
        // Where numbers are given out again, they are to be settled again.
        for reached in [&self.coherence.settled, &self.coherence.flushed] {
            reached.send_modify(|reached| *reached = (*reached).min(head));
        }
        self.applied = head;
    }

    /// The answer; or, without one, takes in that the store fails, and has nothing asked for a moment.
    fn noted<T>(&mut self, answer: Result<T>) -> Option<T> {
        if let Err(error) = &answer {
            self.retry = Instant::now() + RETRY;
            *self.coherence.doubt.lock() = error.to_string();
            let why = format_args!("cannot read the log of revocations: {error}");
            self.coherence.metrics.store.noticed(error.cause(), &why);
        }
        answer.ok()
    }

    async fn leave(self) {
        self.coherence.distrust("stopping");
        if let Some(row) = self.row
            && let Err(error) = self.replicas.deregister(row).await
        {
            tracing::warn!(%error, "cannot take this replica off the store, so the others have to give it up");
        }
    }
}

/// Ends the trust when the task does, however it does.
struct End {
    coherence: Arc<Coherence>,
    told: bool,
}

impl Drop for End {
    fn drop(&mut self) {
        if !self.told {
            tracing::error!("the task that beats has ended; from now on each check reads the store");
            self.coherence.distrust("the task that beats has ended");
        }
    }
}
