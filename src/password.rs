//! Password hashing: a few low-priority threads, each with one memory block, behind a bounded queue.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use parking_lot::Mutex;
use subtle::ConstantTimeEq as _;
use tokio::sync::oneshot;

use crate::domain::entropy::Entropy;
use crate::domain::password::{Password, PasswordHash};

/// OWASP Password Storage Cheat Sheet, argon2id: m=19456 KiB, t=2, p=1.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT: usize = 16;
const OUTPUT: usize = 32;
/// The most memory a stored hash may ask of a worker, so that a planted row cannot exhaust the machine.
const MEMORY_KIB_MOST: u32 = 64 * 1024;
/// Lowered priority, so that a flood of logins does not slow checks down.
const NICENESS: i32 = 19;

/// Hashing did not happen.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// The queue is full; try again in a second or so.
    #[error("every password worker is busy and the queue is full")]
    Overloaded,
    /// The stored hash is not one this version can check, or the workers are gone.
    #[error("password hashing failed: {0}")]
    Failed(String),
}

/// What checking a password came to.
#[derive(Debug)]
pub enum Verdict {
    /// Not the password, or nobody's.
    Wrong,
    /// The password. When the stored hash has outdated parameters, a fresh one to take its place.
    Right {
        /// The fresh hash.
        rehashed: Option<PasswordHash>,
    },
}

enum Job {
    Verify(Password, Option<PasswordHash>, oneshot::Sender<Result<Verdict, HashError>>),
    Hash(Password, oneshot::Sender<Result<PasswordHash, HashError>>),
}

/// The door to the workers. They end when it is dropped.
#[derive(Debug)]
pub struct Hasher {
    queue: SyncSender<Job>,
    waiting: Arc<AtomicUsize>,
}

impl Hasher {
    /// Starts `workers` threads behind a queue of `capacity` jobs.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn start(workers: NonZeroUsize, capacity: usize, entropy: &Arc<dyn Entropy>) -> std::io::Result<Self> {
        let (queue, jobs) = sync_channel(capacity);
        let jobs = Arc::new(Mutex::new(jobs));
        let waiting = Arc::new(AtomicUsize::new(0));
        for number in 0..workers.get() {
            let worker = Worker { blocks: Vec::new(), entropy: Arc::clone(entropy) };
            let (jobs, waiting) = (Arc::clone(&jobs), Arc::clone(&waiting));
            std::thread::Builder::new()
                .name(format!("password-{number}"))
                .spawn(move || worker.run(&jobs, &waiting))?;
        }
        Ok(Self { queue, waiting })
    }

    /// Checks `password` against `hash`. Without a hash, as for an unknown user, the same work is done.
    ///
    /// # Errors
    /// [`HashError::Overloaded`] at once when the queue is full.
    pub async fn verify(&self, password: Password, hash: Option<PasswordHash>) -> Result<Verdict, HashError> {
        let (answer, verdict) = oneshot::channel();
        self.enqueue(Job::Verify(password, hash, answer))?;
        verdict.await.map_err(|_| gone())?
    }

    /// Hashes a password to be set.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, HashError> {
        let (answer, hash) = oneshot::channel();
        self.enqueue(Job::Hash(password, answer))?;
        hash.await.map_err(|_| gone())?
    }

    /// How many jobs wait for a worker.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn enqueue(&self, job: Job) -> Result<(), HashError> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.queue.try_send(job).map_err(|refused| {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            match refused {
                TrySendError::Full(_) => HashError::Overloaded,
                TrySendError::Disconnected(_) => gone(),
            }
        })
    }
}

fn gone() -> HashError {
    HashError::Failed(String::from("the workers are gone"))
}

struct Worker {
    /// Kept from hash to hash: a fresh block each time costs page faults and stays with the allocator.
    blocks: Vec<Block>,
    entropy: Arc<dyn Entropy>,
}

impl Worker {
    fn run(mut self, jobs: &Mutex<Receiver<Job>>, waiting: &AtomicUsize) {
        // On Linux this acts on the calling thread alone; elsewhere it is refused or harmless.
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            tracing::warn!(%error, "cannot lower the priority of a password worker");
        }
        loop {
            let next = jobs.lock().recv();
            let Ok(job) = next else { return };
            waiting.fetch_sub(1, Ordering::Relaxed);
            // An answer nobody waits for any more is not worth the work.
            match job {
                Job::Verify(_, _, answer) if answer.is_closed() => {}
                Job::Hash(_, answer) if answer.is_closed() => {}
                Job::Verify(password, hash, answer) => {
                    let _ = answer.send(self.verify(&password, hash.as_ref()));
                }
                Job::Hash(password, answer) => {
                    let _ = answer.send(self.hash(&password));
                }
            }
        }
    }

    fn verify(&mut self, password: &Password, hash: Option<&PasswordHash>) -> Result<Verdict, HashError> {
        let Some(hash) = hash else {
            self.derive(&current()?, password, &[0; SALT], &mut [0; OUTPUT])?;
            return Ok(Verdict::Wrong);
        };
        let stored = phc::PasswordHash::new(hash.as_str()).map_err(failed)?;
        let params = Params::try_from(&stored).map_err(failed)?;
        let (Some(salt), Some(expected)) = (&stored.salt, &stored.hash) else {
            return Err(HashError::Failed(String::from("a stored hash has no salt or no output")));
        };
        let known = stored.algorithm.as_str() == Algorithm::Argon2id.as_str()
            && stored.version.is_none_or(|version| version == u32::from(Version::V0x13));
        if !known || params.m_cost() > MEMORY_KIB_MOST {
            return Err(HashError::Failed(String::from("a stored hash is of an unknown kind")));
        }
        let mut output = vec![0; expected.len()];
        self.derive(&params, password, salt, &mut output)?;
        if !bool::from(output.ct_eq(expected.as_bytes())) {
            return Ok(Verdict::Wrong);
        }
        let up_to_date = (params.m_cost(), params.t_cost(), params.p_cost()) == (MEMORY_KIB, PASSES, LANES);
        let rehashed = if up_to_date { None } else { Some(self.hash(password)?) };
        Ok(Verdict::Right { rehashed })
    }

    fn hash(&mut self, password: &Password) -> Result<PasswordHash, HashError> {
        let params = current()?;
        let mut salt = [0; SALT];
        self.entropy.fill(&mut salt).map_err(failed)?;
        let mut output = [0; OUTPUT];
        self.derive(&params, password, &salt, &mut output)?;
        let phc = phc::PasswordHash {
            algorithm: phc::Ident::new(Algorithm::Argon2id.as_str()).map_err(failed)?,
            version: Some(Version::V0x13.into()),
            params: (&params).try_into().map_err(failed)?,
            salt: Some(phc::Salt::new(&salt).map_err(failed)?),
            hash: Some(phc::Output::new(&output).map_err(failed)?),
        };
        Ok(PasswordHash::new(phc.to_string()))
    }

    fn derive(
        &mut self,
        params: &Params,
        password: &Password,
        salt: &[u8],
        output: &mut [u8],
    ) -> Result<(), HashError> {
        let wanted = params.block_count();
        if self.blocks.len() < wanted {
            self.blocks.resize(wanted, Block::default());
        }
        let blocks = self.blocks.get_mut(..wanted).unwrap_or_default();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
            .hash_password_into_with_memory(password.expose(), salt, output, blocks)
            .map_err(failed)
    }
}

fn current() -> Result<Params, HashError> {
    Params::new(MEMORY_KIB, PASSES, LANES, Some(OUTPUT)).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> HashError {
    HashError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entropy::SystemEntropy;

    fn worker() -> Worker {
        Worker { blocks: Vec::new(), entropy: Arc::new(SystemEntropy) }
    }

    fn password(text: &str) -> Password {
        Password::new(text.into()).expect("a fit password")
    }

    #[test]
    fn a_hash_matches_its_password_and_no_other() {
        let mut worker = worker();
        let hash = worker.hash(&password("open sesame")).expect("hashed");
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        let right = worker.verify(&password("open sesame"), Some(&hash)).expect("checked");
        assert!(matches!(right, Verdict::Right { rehashed: None }));
        let wrong = worker.verify(&password("open sesami"), Some(&hash)).expect("checked");
        assert!(matches!(wrong, Verdict::Wrong));
    }

    #[test]
    fn a_hash_with_older_parameters_is_checked_and_replaced() {
        // Reference: echo -n "open sesame" | argon2 saltsaltsaltsalt -id -t 1 -k 1024 -p 1 -l 32 -e
        let mut worker = worker();
        let params = Params::new(1024, 1, 1, Some(OUTPUT)).expect("fit parameters");
        let mut output = [0; OUTPUT];
        worker.derive(&params, &password("open sesame"), b"saltsaltsaltsalt", &mut output).expect("derived");
        let old = phc::PasswordHash {
            algorithm: phc::Ident::new("argon2id").expect("ident"),
            version: Some(19),
            params: (&params).try_into().expect("params"),
            salt: Some(phc::Salt::new(b"saltsaltsaltsalt").expect("salt")),
            hash: Some(phc::Output::new(&output).expect("output")),
        };
        let old = PasswordHash::new(old.to_string());
        let verdict = worker.verify(&password("open sesame"), Some(&old)).expect("checked");
        let Verdict::Right { rehashed: Some(fresh) } = verdict else {
            panic!("expected a fresh hash, got {verdict:?}")
        };
        let again = worker.verify(&password("open sesame"), Some(&fresh)).expect("checked");
        assert!(matches!(again, Verdict::Right { rehashed: None }));
    }

    #[test]
    fn a_hash_of_another_kind_is_an_error_and_never_a_match() {
        let odd = PasswordHash::new(String::from("$argon2i$v=19$m=1024,t=1,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNo"));
        assert!(worker().verify(&password("open sesame"), Some(&odd)).is_err());
        assert!(worker().verify(&password("open sesame"), Some(&PasswordHash::new(String::new()))).is_err());
    }

    #[tokio::test]
    async fn a_full_queue_sheds_at_once() {
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let hasher = Arc::new(Hasher::start(NonZeroUsize::MIN, 1, &entropy).expect("started"));
        let flood = (0..16).map(|_| hasher.verify(password("open sesame"), None));
        let answers = futures_util::future::join_all(flood).await;
        let shed = answers.iter().filter(|a| matches!(a, Err(HashError::Overloaded))).count();
        let done = answers.iter().filter(|a| matches!(a, Ok(Verdict::Wrong))).count();
        assert_eq!(shed + done, 16);
        assert!(shed >= 10 && done >= 1, "{shed} shed, {done} done");
        assert_eq!(hasher.waiting(), 0);
    }
}
