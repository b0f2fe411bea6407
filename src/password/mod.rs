//! Password hashing: a few low-priority threads, each with one memory block, behind a bounded queue.
//!
//! `queue` hands jobs to the threads; `stored` reads the hashes that are kept.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq as _;
use tokio::sync::oneshot;

use self::queue::Queue;
pub use self::queue::Share;
use self::stored::{Stored, work};
use crate::domain::entropy::Entropy;
use crate::domain::password::{Password, PasswordHash};

mod queue;
mod stored;

/// OWASP Password Storage Cheat Sheet, argon2id: m=19456 KiB, t=2, p=1.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT: usize = 16;
const OUTPUT: usize = 32;
/// Lowered priority, so that a flood of logins does not slow checks down, but not so low that checks at full load starve
/// logins: Linux weighs a thread with 1.25 to the power of its niceness, so that at 2 a worker has 39 % of a core that it
/// shares with a busy thread of the server (at 19 1.4 %), and a login takes 2.6 times as long as alone.
/// `sessiond-bench niceness` measures this, and checks beside a flood of logins.
const NICENESS: i32 = 2;

/// Hashing did not happen.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// The queue is full; try again in a second or so.
    #[error("every password worker is busy and the queue is full")]
    Overloaded,
    /// The workers are gone, or something that cannot fail did.
    #[error("password hashing failed: {0}")]
    Failed(String),
}

/// The outcome of checking a password.
#[derive(Debug)]
pub enum Verdict {
    /// It is the wrong password, or there is no such user.
    Wrong,
    /// The stored hash is one that is never computed. Only the log tells this from [`Self::Wrong`].
    Unusable {
        /// The reason, in words that go behind "a stored hash".
        why: &'static str,
    },
    /// It is the password. Where the stored hash has outdated parameters, there is a fresh one to replace it.
    Right {
        /// The fresh hash.
        rehashed: Option<PasswordHash>,
    },
}

enum Job {
    Verify(Password, Option<PasswordHash>, oneshot::Sender<Result<Verdict, HashError>>),
    Hash(Password, oneshot::Sender<Result<PasswordHash, HashError>>),
}

/// The handle of the workers, which end when it is dropped.
pub struct Hasher {
    queue: Arc<Queue<Job>>,
}

impl Hasher {
    /// Starts `workers` threads. Beside the jobs that they work on, `capacity` jobs may wait.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn start(workers: NonZeroUsize, capacity: usize, entropy: &Arc<dyn Entropy>) -> std::io::Result<Self> {
        let hasher = Self { queue: Arc::new(Queue::new(workers.get(), capacity)) };
        let highest_work = Arc::new(AtomicU64::new(0));
        for number in 0..workers.get() {
            let worker = Worker::new(Arc::clone(entropy), Arc::clone(&highest_work));
            let queue = Arc::clone(&hasher.queue);
            std::thread::Builder::new().name(format!("password-{number}")).spawn(move || worker.run(&queue))?;
        }
        Ok(hasher)
    }

    /// Checks `password` against `hash`. A refusal takes the same work whatever the hash: none, as for an unknown user,
    /// a cheap one, or one that may not be computed at all.
    ///
    /// # Errors
    /// [`HashError::Overloaded`] at once when the queue is full.
    pub async fn verify(&self, password: Password, hash: Option<PasswordHash>) -> Result<Verdict, HashError> {
        self.place(Share::default())?.verify(password, hash).await
    }

    /// Hashes a password to be set.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, HashError> {
        self.place(Share::default())?.hash(password).await
    }

    /// Takes a place in the queue, of which whoever has `share` may hold only so many.
    ///
    /// # Errors
    /// [`HashError::Overloaded`] at once when there is none.
    pub fn place(&self, share: Share) -> Result<Place, HashError> {
        if !self.queue.take_place(share) {
            return Err(HashError::Overloaded);
        }
        Ok(Place { queue: Arc::clone(&self.queue), share, is_free: false })
    }

    /// How many jobs wait for a worker.
    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }
}

/// A place in the queue, for one password. It is free again when it is dropped.
pub struct Place {
    queue: Arc<Queue<Job>>,
    share: Share,
    /// Whether it is not held any more.
    is_free: bool,
}

impl Place {
    /// Checks a password, as [`Hasher::verify`] does.
    ///
    /// # Errors
    /// [`HashError::Failed`].
    pub async fn verify(self, password: Password, hash: Option<PasswordHash>) -> Result<Verdict, HashError> {
        let (answer, verdict) = oneshot::channel();
        self.give(Job::Verify(password, hash, answer));
        verdict.await.map_err(|_| gone())?
    }

    /// Hashes a password to be set.
    ///
    /// # Errors
    /// [`HashError::Failed`].
    pub async fn hash(self, password: Password) -> Result<PasswordHash, HashError> {
        let (answer, hash) = oneshot::channel();
        self.give(Job::Hash(password, answer));
        hash.await.map_err(|_| gone())?
    }

    fn give(mut self, job: Job) {
        self.is_free = true;
        self.queue.push(job, self.share);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_free {
            self.queue.leave_place(self.share);
        }
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        self.queue.close();
    }
}

fn gone() -> HashError {
    HashError::Failed(String::from("the workers are gone"))
}

struct Worker {
    /// The memory is kept from hash to hash: a fresh block each time costs page faults and stays with the allocator.
    blocks: Vec<Block>,
    entropy: Arc<dyn Entropy>,
    /// The work of the most expensive stored hash that any worker of this process was asked to compute.
    highest_work: Arc<AtomicU64>,
    /// All the work that this one has done.
    done: u64,
}

impl Worker {
    fn new(entropy: Arc<dyn Entropy>, highest_work: Arc<AtomicU64>) -> Self {
        Self { blocks: Vec::new(), entropy, highest_work, done: 0 }
    }

    fn run(mut self, queue: &Queue<Job>) {
        // On Linux this acts on the calling thread only; elsewhere it is refused or harmless.
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            tracing::warn!(%error, "cannot lower the priority of a password worker");
        }
        // A job whose answer is no longer waited for is skipped.
        queue.serve(|job| match job {
            Job::Verify(_, _, answer) if answer.is_closed() => Box::new(|| ()),
            Job::Hash(_, answer) if answer.is_closed() => Box::new(|| ()),
            Job::Verify(password, hash, answer) => {
                let verdict = self.verify(&password, hash.as_ref());
                Box::new(move || drop(answer.send(verdict)))
            }
            Job::Hash(password, answer) => {
                let hash = self.hash(&password);
                Box::new(move || drop(answer.send(hash)))
            }
        });
    }

    fn verify(&mut self, password: &Password, hash: Option<&PasswordHash>) -> Result<Verdict, HashError> {
        let before = self.done;
        let why = match hash.map(|hash| Stored::parse(hash.as_str())) {
            None => None,
            Some(Err(why)) => Some(why),
            Some(Ok(stored)) => {
                self.highest_work.fetch_max(work(&stored.params), Ordering::Relaxed);
                let mut output = vec![0; stored.output.len()];
                self.derive(&stored.params, password, &stored.salt, &mut output)?;
                if output.ct_eq(&stored.output).into() {
                    let Stored { params, salt, output } = &stored;
                    let today = (params.m_cost(), params.t_cost(), params.p_cost()) == (MEMORY_KIB, PASSES, LANES)
                        && salt.len() >= SALT
                        && output.len() >= OUTPUT;
                    let rehashed = if today { None } else { Some(self.hash(password)?) };
                    return Ok(Verdict::Right { rehashed });
                }
                None
            }
        };
        // The time of a refusal must not reveal which hash is cheap, which is expensive, and which account does not
        // exist.
        let usual = work(&current()?).max(self.highest_work.load(Ordering::Relaxed));
        self.idle_work(password, usual.saturating_sub(self.done - before))?;
        Ok(why.map_or(Verdict::Wrong, |why| Verdict::Unusable { why }))
    }

    /// Does this much work, and throws the result away.
    fn idle_work(&mut self, password: &Password, work: u64) -> Result<(), HashError> {
        let mut left = work;
        while left > 0 {
            let memory = u32::try_from(left).unwrap_or(MEMORY_KIB).clamp(Params::MIN_M_COST, MEMORY_KIB);
            let passes = u32::try_from(left / u64::from(memory)).unwrap_or(u32::MAX).max(1);
            let params = Params::new(memory, passes, LANES, Some(OUTPUT)).map_err(failed)?;
            self.derive(&params, password, &[0; SALT], &mut [0; OUTPUT])?;
            left = left.saturating_sub(stored::work(&params));
        }
        Ok(())
    }

    fn hash(&mut self, password: &Password) -> Result<PasswordHash, HashError> {
        let params = current()?;
        let (mut salt, mut output) = ([0; SALT], [0; OUTPUT]);
        self.entropy.fill(&mut salt).map_err(failed)?;
        self.derive(&params, password, &salt, &mut output)?;
        Ok(PasswordHash::new(stored::write(&params, &salt, &output)))
    }

    fn derive(
        &mut self,
        params: &Params,
        password: &Password,
        salt: &[u8],
        output: &mut [u8],
    ) -> Result<(), HashError> {
        let (wanted, usual) = (params.block_count(), current()?.block_count());
        if self.blocks.len() < wanted {
            self.blocks.resize(wanted, Block::default());
        }
        let blocks = self.blocks.get_mut(..wanted).unwrap_or_default();
        let derived = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
            .hash_password_into_with_memory(password.expose(), salt, output, blocks)
            .map_err(failed);
        // The memory of an expensive hash is not kept, so that all workers together stay small.
        self.blocks.truncate(usual);
        self.blocks.shrink_to(usual);
        self.done += work(params);
        derived
    }
}

fn current() -> Result<Params, HashError> {
    Params::new(MEMORY_KIB, PASSES, LANES, Some(OUTPUT)).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> HashError {
    HashError::Failed(error.to_string())
}

#[cfg(test)]
mod tests;
