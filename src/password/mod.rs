//! Password hashing: a few low-priority threads, each with one memory block, behind a bounded queue.
//!
//! A `job` is handed to a `worker` by the `queue`; those that need much memory take `turns`. `schemes` computes hashes,
//! `stored` is how they are kept, and `sources` reads those of other programs. The `deadline` makes all refusals alike.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedRwLockWriteGuard, RwLock, oneshot};
use tokio::time::Instant;

use self::deadline::Deadline;
use self::job::{Checked, Job, Reply, Waiting};
use self::queue::Queue;
pub use self::queue::Share;
use self::schemes::argon::Blocks;
use self::stored::Stored;
use self::turns::Turns;
use self::worker::Worker;
use crate::domain::entropy::Entropy;
use crate::domain::password::{Password, PasswordHash, Typed};
use crate::telemetry::HashTimes;

mod deadline;
mod error;
mod job;
mod queue;
mod schemes;
mod sources;
mod stored;
mod turns;
mod worker;

pub use self::error::HashError;
pub use self::job::Verdict;
pub use self::sources::Scheme;
pub use self::stored::{FIRST_FOREIGN, after_its_kind, exported, foreign_kind};

/// How long the allocator keeps what is freed, and as long again.
const SETTLED: Duration = Duration::from_secs(2);

/// The handle of the workers, which end when it is dropped.
pub struct Hasher {
    queue: Arc<Queue<Waiting>>,
    /// Takes no jobs: its places are for requests that are looked up before they ask for a place among the jobs.
    admitted: Queue<()>,
    turns: Arc<Turns<Waiting>>,
    deadline: Arc<Deadline>,
    /// Locked while it is being measured how long refusals have to take.
    measuring: Arc<RwLock<()>>,
}

/// How many requests are looked up at a time at most, before each of them has a place in the queue or is refused. There are no more
/// than places, either: others would mostly be refused after all, and would have waited for that.
const MOST_ADMITTED: usize = 256;

/// While this is held, refusals wait.
pub type RefusalsWait = OwnedRwLockWriteGuard<()>;

impl Hasher {
    /// Starts `workers` threads. Beside the jobs that they work on, `capacity` jobs may wait, and as many again for their
    /// turn with much memory. What they measure goes into `times`.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn start(
        workers: NonZeroUsize,
        capacity: usize,
        entropy: &Arc<dyn Entropy>,
        times: &HashTimes,
    ) -> std::io::Result<Self> {
        let hasher = Self {
            queue: Arc::new(Queue::new(workers.get(), capacity)),
            admitted: Queue::new(0, workers.get().saturating_add(capacity).min(MOST_ADMITTED)),
            turns: Arc::new(Turns::new(capacity)),
            deadline: Arc::default(),
            measuring: Arc::default(),
        };
        for number in 0..workers.get() {
            let worker = Worker {
                entropy: Arc::clone(entropy),
                turns: Arc::clone(&hasher.turns),
                deadline: Arc::clone(&hasher.deadline),
                blocks: Blocks::default(),
                times: times.clone(),
            };
            let queue = Arc::clone(&hasher.queue);
            std::thread::Builder::new().name(format!("password-{number}")).spawn(move || worker.run(&queue))?;
        }
        Ok(hasher)
    }

    /// Checks what was typed against `hash`. A refusal takes the same time whatever the hash: none, as for an unknown
    /// user, a cheap one, or one that may not be computed at all. It waits for that outside the workers.
    ///
    /// # Errors
    /// [`HashError::Overloaded`] at once when the queue is full.
    pub async fn verify(&self, typed: Typed, hash: Option<PasswordHash>) -> Result<Verdict, HashError> {
        self.place(Share::default())?.verify(typed, hash).await
    }

    /// Hashes a password to be set.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, HashError> {
        self.place(Share::default())?.hash(password).await
    }

    /// Admits a request to what is looked up before it has a place in the queue. Of a crowd that comes at the same moment, when
    /// none has a place yet, the others are refused before they cost the store anything.
    ///
    /// # Errors
    /// [`HashError::Overloaded`] at once when so many are being looked up, in all, or of the same client or name.
    pub fn admit(&self, share: Share) -> Result<Admission<'_>, HashError> {
        if self.queue.is_full_for(share) || !self.admitted.take_place(share) {
            return Err(HashError::Overloaded);
        }
        Ok(Admission { admitted: &self.admitted, share })
    }

    /// Takes a place in the queue, of which only so many may be held under one share.
    ///
    /// # Errors
    /// [`HashError::Overloaded`] at once when there is none.
    pub fn place(&self, share: Share) -> Result<Place<'_>, HashError> {
        if !self.queue.take_place(share) {
            return Err(HashError::Overloaded);
        }
        Ok(Place { hasher: self, share, is_free: false })
    }

    /// Has refusals wait until it is known what kinds of hashes there are.
    pub async fn refusals_wait(&self) -> RefusalsWait {
        Arc::clone(&self.measuring).write_owned().await
    }

    /// The same at once, unless they wait already.
    pub fn refusals_wait_now(&self) -> Option<RefusalsWait> {
        Arc::clone(&self.measuring).try_write_owned().ok()
    }

    /// Whether refusals take into account how long a hash of this kind takes, or need not, since it is never computed.
    pub fn knows(&self, hash: &PasswordHash) -> bool {
        match Stored::parse(hash) {
            Ok(Stored::Foreign(hash)) => self.deadline.knows(&hash.kind()),
            Ok(Stored::Ours(_) | Stored::None) | Err(_) => true,
        }
    }

    /// The kinds made elsewhere that refusals take into account.
    pub fn foreign_kinds(&self) -> HashSet<String> {
        self.deadline.foreign()
    }

    /// Has refusals take kinds into account no more, of which no user has a hash.
    pub fn forget(&self, gone: &HashSet<String>) {
        self.deadline.forget(gone);
    }

    /// Measures how long a hash of this kind takes.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub async fn measure(&self, hash: PasswordHash) -> Result<(), HashError> {
        self.place(Share::default())?.ask(|reply| Job::Measure(hash, reply)).await
    }

    /// Has the memory of large hashes go back to the system, if some was freed a while ago. The allocator keeps it until one
    /// of its pages is freed, or a thread ends.
    pub fn give_memory_back(&self) {
        if Instant::now().checked_sub(SETTLED).is_some_and(|then| self.turns.ended_before(then)) {
            // It does nothing but end. Where there is no thread to be had, the memory is kept.
            drop(std::thread::Builder::new().spawn(|| drop(std::hint::black_box(Box::new(0_u8)))));
        }
    }

    /// Whether there is no place now under this share.
    pub fn is_full_for(&self, share: Share) -> bool {
        self.queue.is_full_for(share)
    }

    /// How many jobs wait for a worker.
    pub fn waiting(&self) -> usize {
        self.queue.waiting() + self.turns.waiting()
    }
}

/// A request that is being looked up. Another one is admitted when it is dropped.
pub struct Admission<'h> {
    admitted: &'h Queue<()>,
    share: Share,
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        self.admitted.give_back(self.share);
    }
}

/// A place in the queue, for one password. It is free again when it is dropped.
pub struct Place<'h> {
    hasher: &'h Hasher,
    share: Share,
    /// Whether it is not held any more.
    is_free: bool,
}

impl Place<'_> {
    /// Checks what was typed, as [`Hasher::verify`] does.
    ///
    /// # Errors
    /// [`HashError::Failed`].
    pub async fn verify(self, typed: Typed, hash: Option<PasswordHash>) -> Result<Verdict, HashError> {
        let forms = u32::try_from(typed.forms().count()).unwrap_or(1);
        let Hasher { measuring, deadline, .. } = self.hasher;
        let Checked { verdict, begun } = self.ask(|reply| Job::Verify(typed, hash, reply)).await?;
        match verdict {
            Verdict::Right { .. } => {}
            Verdict::Wrong | Verdict::Unusable { .. } => {
                drop(measuring.read().await);
                deadline.passed(begun, forms).await;
            }
        }
        Ok(verdict)
    }

    /// Hashes a password to be set.
    ///
    /// # Errors
    /// [`HashError::Failed`].
    pub async fn hash(self, password: Password) -> Result<PasswordHash, HashError> {
        self.ask(|reply| Job::Hash(password, reply)).await
    }

    async fn ask<T>(mut self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, HashError> {
        let (reply, answer) = oneshot::channel();
        self.is_free = true;
        self.hasher.queue.push(Waiting { job: job(Reply::new(reply)), since: Instant::now() }, self.share);
        answer.await.map_err(|_| HashError::impossible("the workers are gone"))?
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.is_free {
            self.hasher.queue.give_back(self.share);
        }
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        self.queue.close();
    }
}

#[cfg(test)]
mod tests;
