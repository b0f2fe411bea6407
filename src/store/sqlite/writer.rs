//! The one task that writes: it commits what is queued together, has the sink apply what ended, and then answers.
//!
//! The logouts of a batch are one transaction, and everything else in it is another. Nothing that runs here is ever
//! cancelled: a deadline ends only the wait for an outcome, which is then unknown, and not the work.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{Instrument as _, info_span};

use super::super::batch::{Batches, Commit, Pending, Queue, commit_and_answer};
use super::super::{Logout, Result, RevocationSink, Revoked, StoreError};
use super::checkpoint::Checkpointer;
use super::connection::{self, BUSY, failed, is_full};
use super::files::Files;
use super::operations::Operation;
use super::transaction::Transaction;
use super::{logouts, revocations};
use crate::domain::clock::Clock;
use crate::domain::id::ReplicaId;
use crate::domain::revocation::{Revocation, Seq};
use crate::telemetry::outage::LogThrottle;
use crate::telemetry::{StoreMetrics, StoreWork};

/// How often a server looks for changes made by commands beside it.
const LOOK: Duration = Duration::from_millis(20);
/// How long an outcome is waited for, before it counts as unknown.
const DEADLINE: Duration = Duration::from_secs(3);

/// What a writer is made of.
pub(super) struct WriterParts {
    /// The path of the database.
    pub path: PathBuf,
    /// The files, which are checked before every batch.
    pub files: Arc<Files>,
    /// The id of the serving process.
    pub replica: ReplicaId,
    /// The clock that decides which sessions are live.
    pub clock: Arc<dyn Clock>,
    /// Applies every revocation, where this is the serving process.
    pub sink: Option<Arc<dyn RevocationSink>>,
    /// Where commits are measured.
    pub metrics: Arc<StoreMetrics>,
}

/// A message in the queue.
enum Work {
    Logout(Pending<Logout, Revoked>),
    Other(Box<dyn Queued>),
}

/// An operation in the queue, whatever its outcome.
#[async_trait]
trait Queued: Send {
    /// Runs the operation, and keeps its result.
    async fn apply(&mut self, transaction: &mut Transaction<'_>) -> sqlx::Result<()>;

    /// Answers with the result once it was committed, or with the reason why it was not.
    fn answer(self: Box<Self>, committed: Result<()>);
}

struct Job<O: Operation> {
    pending: Pending<O, O::Outcome>,
    outcome: Option<O::Outcome>,
}

#[async_trait]
impl<O: Operation> Queued for Job<O> {
    async fn apply(&mut self, transaction: &mut Transaction<'_>) -> sqlx::Result<()> {
        self.outcome = Some(self.pending.work.apply(transaction).await?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<()>) {
        let lost = || StoreError::inconsistent("an operation was committed without an outcome");
        let Self { pending, outcome } = *self;
        pending.answer(committed.and_then(|()| outcome.ok_or_else(lost)));
    }
}

/// The handle by which operations are queued. The task ends once this is closed, or dropped, and the queue is empty.
pub(super) struct Writer(Queue<Work>);

impl Writer {
    /// Starts the task. The serving process registers itself in the file.
    pub(super) async fn start(parts: WriterParts, connection: SqliteConnection) -> Result<Self> {
        let mut task = Task {
            parts,
            connection: Some(connection),
            failing: LogThrottle::default(),
            applied: Seq::default(),
            version: None,
            committed: Arc::default(),
            checkpointer: None,
        };
        if task.serves() {
            task.register().await?;
            let beside = Checkpointer::start(task.parts.path.clone(), Arc::clone(&task.committed));
            task.checkpointer = Some(beside);
        }
        Ok(Self(Queue::start(|batches| task.run(batches))))
    }

    /// Queues a logout and waits until it is durable.
    pub(super) async fn log_out(&self, logout: Logout) -> Result<Revoked> {
        with_deadline(self.0.ask(logout, Work::Logout)).instrument(info_span!("store commit")).await
    }

    /// Queues any other operation and waits until it is durable.
    pub(super) async fn commit<O: Operation>(&self, operation: O) -> Result<O::Outcome> {
        let queued = |pending| Work::Other(Box::new(Job { pending, outcome: None }));
        with_deadline(self.0.ask(operation, queued)).instrument(info_span!("store commit")).await
    }

    /// Commits what is queued, deregisters this process and closes the connection.
    pub(super) async fn close(&self) {
        self.0.close().await;
    }
}

async fn with_deadline<T>(outcome: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| StoreError::too_slow(format!("no commit within {DEADLINE:?}"));
    tokio::time::timeout(DEADLINE, outcome).await.map_err(late)?
}

#[async_trait]
impl Commit<Logout, Revoked> for Task {
    async fn commit(&mut self, batch: &[Pending<Logout, Revoked>]) -> Result<Vec<Revoked>> {
        let clock = Arc::clone(&self.parts.clock);
        let logouts: Vec<_> = batch.iter().map(|pending| &pending.work).collect();
        let begun = Instant::now();
        let ended = logouts::commit(self.connection().await?, &*clock, &logouts).await;
        let (revoked, revocation) = self.rolled_back(ended).await?;
        self.parts.metrics.committed(StoreWork::logouts, batch.len(), begun.elapsed());
        self.publish(batch.len(), revocation).await?;
        Ok(revoked)
    }
}

struct Task {
    parts: WriterParts,
    /// The connection. There is none after a failure that leaves its state in doubt, and it is opened again when next
    /// needed.
    connection: Option<SqliteConnection>,
    /// Limits the line that says that changes made by commands cannot be read.
    failing: LogThrottle,
    /// The newest number that the sink has applied.
    applied: Seq,
    /// `PRAGMA data_version` when last looked at: it moves when another process commits.
    version: Option<i64>,
    /// How many operations were committed, for the checkpointer.
    committed: Arc<AtomicUsize>,
    /// The checkpointer, if this is the serving process.
    checkpointer: Option<Checkpointer>,
}

impl Task {
    const fn serves(&self) -> bool {
        self.parts.sink.is_some()
    }

    async fn run(mut self, mut batches: Batches<Work>) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // The next batch is never ready at once, so the look for changes happens when it is due, under any load.
            tokio::select! {
                batch = batches.next() => match batch {
                    Some(batch) => self.commit_all(batch).await,
                    None => break,
                },
                _ = look.tick(), if self.serves() => {
                    if let Err(error) = self.apply_commands().await
                        && self.failing.is_due()
                    {
                        tracing::warn!(%error, "cannot look for changes made by commands, and will try on");
                    }
                }
            }
        }
        self.close().await;
    }

    async fn commit_all(&mut self, batch: Vec<Work>) {
        let (mut logouts, mut others) = (Vec::with_capacity(batch.len()), Vec::new());
        for work in batch {
            match work {
                Work::Logout(pending) => logouts.push(pending),
                Work::Other(job) => others.push(job),
            }
        }
        if !logouts.is_empty() {
            commit_and_answer(logouts, self).await;
        }
        if !others.is_empty() {
            self.operate(others).await;
        }
    }

    /// The same for all other operations.
    async fn operate(&mut self, mut jobs: Vec<Box<dyn Queued>>) {
        match self.try_jobs(&mut jobs).await {
            Err(StoreError::Inconsistent(error)) if jobs.len() > 1 => {
                tracing::error!(%error, "a batch failed; trying its operations one by one");
                for mut job in jobs {
                    let committed = self.try_jobs(std::slice::from_mut(&mut job)).await;
                    job.answer(committed);
                }
            }
            committed => jobs.into_iter().for_each(|job| job.answer(committed.clone())),
        }
    }

    async fn try_jobs(&mut self, jobs: &mut [Box<dyn Queued>]) -> Result<()> {
        let clock = Arc::clone(&self.parts.clock);
        let begun = Instant::now();
        let committed = transact(self.connection().await?, &*clock, jobs).await;
        let revocation = self.rolled_back(committed).await?;
        self.parts.metrics.committed(StoreWork::changes, jobs.len(), begun.elapsed());
        self.publish(jobs.len(), revocation).await
    }

    /// The connection, opened if there is none. Fails once the files were removed or replaced.
    async fn connection(&mut self) -> Result<&mut SqliteConnection> {
        let checked = self.parts.files.check();
        if let (Err(_), Some(sink)) = (&checked, &self.parts.sink) {
            sink.clear();
        }
        checked?;
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connection::writer(&self.parts.path).await?,
        };
        Ok(self.connection.insert(connection))
    }

    /// After an error, ends the transaction that may be open. Where that fails, and where the file is in trouble, the
    /// connection is given up. It is kept on a full disk, which is no trouble of the file.
    async fn rolled_back<T>(&mut self, done: sqlx::Result<T>) -> Result<T> {
        let (full, error) = match done {
            Ok(done) => return Ok(done),
            Err(error) => (is_full(&error), failed(error)),
        };
        if let Some(mut connection) = self.connection.take()
            && (full || !matches!(error, StoreError::Unreachable(_)))
        {
            // The driver's thread can panic after an error of a text of several statements (sqlx 0.9.0), and never answers
            // then. A connection that is dropped is rolled back by SQLite.
            let ended = sqlx::query("ROLLBACK").execute(&mut connection);
            let ended = tokio::time::timeout(BUSY, ended).await.map(|ended| ended.map_err(failed));
            // It fails where no transaction is open, which does not matter.
            if matches!(ended, Ok(Ok(_) | Err(StoreError::Inconsistent(_)))) {
                self.connection = Some(connection);
            }
        }
        if self.connection.is_none() {
            self.version = None;
        }
        Err(error)
    }

    /// Counts what was committed, and has the sink apply what ended, after what others have ended under lower numbers.
    async fn publish(&mut self, operations: usize, revocation: Option<Revocation>) -> Result<()> {
        self.committed.fetch_add(operations, Ordering::Relaxed);
        let Some(revocation) = revocation else { return Ok(()) };
        if self.serves() && revocation.seq.0 > self.applied.0 + 1 {
            // A failure here comes after the commit, and must not be taken for a failed commit.
            let unapplied = |error| StoreError::too_slow(format!("committed, but not applied: {error}"));
            self.apply_others(revocation.seq).await.map_err(unapplied)?;
        }
        self.apply(&revocation);
        Ok(())
    }

    /// Has the sink apply every revocation that it has not, up to a number that is left out.
    async fn apply_others(&mut self, before: Seq) -> Result<()> {
        let after = self.applied;
        let missed = revocations::between(self.connection().await?, after, before).await;
        for revocation in self.rolled_back(missed).await? {
            self.apply(&revocation);
        }
        Ok(())
    }

    fn apply(&mut self, revocation: &Revocation) {
        if let Some(sink) = &self.parts.sink {
            sink.apply(revocation);
            self.applied = revocation.seq;
        }
    }

    /// Has the sink apply what commands have ended, and acknowledges it.
    async fn apply_commands(&mut self) -> Result<()> {
        let version = sqlx::query_scalar("PRAGMA data_version").fetch_one(self.connection().await?).await;
        let version = self.rolled_back(version).await?;
        if self.version == Some(version) {
            return Ok(());
        }
        self.apply_others(Seq(i64::MAX)).await?;
        // This is stored whenever another process has committed: a command may also wait for a number of this process,
        // or for one that was applied while committing.
        let applied = sqlx::query("UPDATE replicas SET beat = beat + 1, applied = ?1").bind(self.applied);
        let applied = applied.execute(self.connection().await?).await;
        self.rolled_back(applied).await?;
        self.version = Some(version);
        Ok(())
    }

    /// A server begins with an empty cache, so everything in the log counts as applied.
    async fn register(&mut self) -> Result<()> {
        let replica = self.parts.replica;
        let register = sqlx::query_scalar(
            "BEGIN IMMEDIATE;
             DELETE FROM replicas;
             INSERT INTO replicas (id, beat, applied) SELECT ?1, 0, coalesce(max(seq), 0) FROM revocations;
             COMMIT;
             SELECT applied FROM replicas",
        );
        let seq = register.bind(replica).fetch_one(self.connection().await?).await;
        let seq = self.rolled_back(seq).await?;
        self.apply(&Revocation { seq, ..Revocation::default() });
        Ok(())
    }

    async fn deregister(&mut self) -> Result<()> {
        let deregistered = sqlx::query("DELETE FROM replicas").execute(self.connection().await?).await;
        self.rolled_back(deregistered).await.map(drop)
    }

    async fn close(mut self) {
        if let Some(checkpointer) = self.checkpointer.take() {
            checkpointer.stop().await;
            if let Err(error) = self.deregister().await {
                tracing::warn!(%error, "cannot deregister this server");
            }
        }
        // The last connection that closes folds the log into the file.
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "cannot close the database");
        }
    }
}

/// One transaction. On an error nothing of it is durable, unless the commit itself failed: then its outcome is unknown.
async fn transact(
    connection: &mut SqliteConnection,
    clock: &dyn Clock,
    jobs: &mut [Box<dyn Queued>],
) -> sqlx::Result<Option<Revocation>> {
    let mut transaction = Transaction::begin(connection, clock).await?;
    for job in jobs {
        job.apply(&mut transaction).await?;
    }
    transaction.commit().await
}
