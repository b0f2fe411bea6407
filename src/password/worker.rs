//! A thread that hashes: what it does for each job, in one block of memory that it keeps.

use std::sync::Arc;

use tokio::time::Instant;

use super::deadline::{Deadline, OURS};
use super::error::HashError;
use super::job::{Checked, Job, Verdict, Waiting};
use super::queue::Queue;
use super::schemes::argon::{Argon2Hash, Blocks, MEMORY_KIB, SALT};
use super::schemes::sha_crypt::PASSWORD_MOST;
use super::stored::{Stored, ours};
use super::turns::{Turn, Turns};
use crate::domain::entropy::Entropy;
use crate::domain::password::{Password, PasswordHash, Typed};
use crate::telemetry::{HashKind, HashTimes};

/// Lowered priority, so that a flood of logins does not slow checks down, but not so low that checks at full load starve
/// logins: Linux weighs a thread with 1.25 to the power of its niceness, so that at 2 a worker has 39 % of a core that it
/// shares with a busy thread of the server (at 19 1.4 %), and a login takes 2.6 times as long as alone.
/// `sessiond-bench niceness` measures this, and checks beside a flood of logins.
const NICENESS: i32 = 2;

/// What an answer is given by, once the worker counts as idle again.
type Answer = Box<dyn FnOnce()>;

/// A worker, before its thread runs.
pub(super) struct Worker {
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) turns: Arc<Turns<Waiting>>,
    pub(super) deadline: Arc<Deadline>,
    pub(super) blocks: Blocks,
    pub(super) times: HashTimes,
}

impl Worker {
    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self, queue: &Queue<Waiting>) {
        // On Linux this acts on the calling thread only; elsewhere it is refused or harmless.
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            tracing::warn!(%error, "cannot lower the priority of a password worker");
        }
        queue.serve(|waiting| {
            if !is_large(&waiting.job) {
                return self.work(waiting);
            }
            match self.turns.take(waiting) {
                Turn::Waits => Box::new(|| ()),
                Turn::Full(Waiting { job, .. }) => Box::new(|| job.shed()),
                Turn::Yours(waiting) => {
                    let mut answer = self.work(waiting);
                    while let Some(next) = self.turns.next() {
                        answer();
                        answer = self.work(next);
                    }
                    answer
                }
            }
        });
    }

    fn work(&mut self, Waiting { job, since }: Waiting) -> Answer {
        self.times.waited(since.elapsed());
        if job.is_given_up() {
            return Box::new(|| ());
        }
        match job {
            Job::Verify(typed, hash, mut reply) => {
                let _hashes = reply.begin();
                let begun = Instant::now();
                let checked = self.verify(&typed, hash.as_ref()).map(|verdict| Checked { verdict, begun });
                Box::new(move || reply.send(checked))
            }
            Job::Hash(password, mut reply) => {
                let _hashes = reply.begin();
                let hash = self.hash(&password);
                Box::new(move || reply.send(hash))
            }
            Job::Measure(hash, reply) => {
                let measured = self.measure(&hash);
                Box::new(move || reply.send(measured))
            }
        }
    }

    /// Checks what was typed against a hash. Without one, and against one that is not computed, it does what a hash of ours
    /// costs.
    pub(super) fn verify(&mut self, typed: &Typed, hash: Option<&PasswordHash>) -> Result<Verdict, HashError> {
        let stored = match hash.map(Stored::parse) {
            None => Stored::None,
            Some(Ok(stored)) => stored,
            Some(Err(why)) => {
                self.hash_in_vain()?;
                return Ok(Verdict::Unusable { why });
            }
        };
        match (stored, typed.prepared()) {
            (Stored::None, _) | (Stored::Ours(_), None) => {
                self.hash_in_vain()?;
                Ok(Verdict::Wrong)
            }
            (Stored::Ours(hash), Some(password)) => {
                let up_to_date = hash.is_up_to_date();
                let kind = if up_to_date { OURS.to_owned() } else { hash.costs() };
                if !self.timed(&kind, |blocks| hash.is_of(password.expose(), blocks))? {
                    return Ok(Verdict::Wrong);
                }
                Ok(Verdict::Right { rehashed: if up_to_date { None } else { Some(self.hash(password)?) } })
            }
            (Stored::Foreign(hash), prepared) => {
                let kind = hash.kind();
                for form in typed.forms() {
                    if self.timed(&kind, |blocks| hash.is_of(form, blocks))? {
                        let rehashed = prepared.map(|password| self.hash(password)).transpose()?;
                        return Ok(Verdict::Right { rehashed });
                    }
                }
                Ok(Verdict::Wrong)
            }
        }
    }

    /// Hashes a password as it is stored from now on.
    pub(super) fn hash(&mut self, password: &Password) -> Result<PasswordHash, HashError> {
        let mut salt = vec![0; SALT];
        self.entropy.fill(&mut salt).map_err(HashError::impossible)?;
        let begun = Instant::now();
        let made = Argon2Hash::make(password.expose(), salt, &mut self.blocks);
        self.times.hashed(HashKind::current, begun.elapsed());
        made.map(|hash| ours(&hash))
    }

    /// Measures how long a hash of this kind takes.
    fn measure(&mut self, hash: &PasswordHash) -> Result<(), HashError> {
        if let Ok(Stored::Foreign(hash)) = Stored::parse(hash) {
            // As long as any that is computed, since that can matter.
            self.timed(&hash.kind(), |blocks| hash.is_of(&[b'x'; PASSWORD_MOST], blocks))?;
        }
        Ok(())
    }

    /// Does what a hash of ours costs.
    fn hash_in_vain(&mut self) -> Result<(), HashError> {
        self.timed(OURS, |blocks| Argon2Hash::make(&[], vec![0; SALT], blocks).map(drop))
    }

    /// Computes a hash, and takes down how long hashes of this kind take.
    fn timed<T>(
        &mut self,
        kind: &str,
        compute: impl FnOnce(&mut Blocks) -> Result<T, HashError>,
    ) -> Result<T, HashError> {
        // Beside another kind, that of an unknown user has to be known.
        if kind != OURS && !self.deadline.knows(OURS) {
            self.hash_in_vain()?;
        }
        let begun = Instant::now();
        let computed = compute(&mut self.blocks);
        let took = begun.elapsed();
        self.deadline.measured(kind, took);
        self.times.hashed(if kind == OURS { HashKind::current } else { HashKind::other }, took);
        computed
    }
}

/// Whether a job needs more memory than a hash of ours.
fn is_large(job: &Job) -> bool {
    match job.stored().map(Stored::parse) {
        Some(Ok(Stored::Foreign(hash))) => hash.memory_kib() > MEMORY_KIB,
        Some(Ok(Stored::Ours(hash))) => hash.memory_kib() > MEMORY_KIB,
        Some(Ok(Stored::None) | Err(_)) | None => false,
    }
}
