//! Group commit: one task takes whatever is queued and commits it together, so that 64 logouts cost one fsync.
//!
//! Nothing waits to fill a batch: what arrives while one commits is the next one. Answers leave after the commit, and
//! after the revocation sink has heard of what ended.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::{Logout, Result, RevocationSink, Revoked, StoreError};
use super::checkpoint;
use super::logout::logout;
use super::operations::{Batch, ended_by_others};
use super::{failed, open_writer};
use crate::domain::revocation::{Revocation, Seq};

/// The most operations in one transaction: bounds how long one waits for its neighbours.
const MOST: usize = 256;
const QUEUE: usize = 4096;
/// How often a server looks for changes made by commands beside it.
const POLL: Duration = Duration::from_millis(20);
/// How long an answer is waited for; after that nobody can tell what happened.
const DEADLINE: Duration = Duration::from_secs(3);

/// One whole operation, to be run in a transaction with others. It may be run again, should the batch fail.
#[async_trait]
pub(super) trait Operation: Send + Sync + 'static {
    /// What it comes to.
    type Outcome: Send + 'static;

    /// Does it. An error undoes the whole batch, so what is merely refused is an outcome.
    async fn apply(&self, batch: &mut Batch<'_>) -> Result<Self::Outcome>;
}

/// An operation in the queue, whatever its outcome.
#[async_trait]
trait Queued: Send {
    async fn apply(&mut self, batch: &mut Batch<'_>) -> Result<()>;
    fn answer(self: Box<Self>, committed: Result<()>);
}

struct Pending<O: Operation> {
    operation: O,
    outcome: Option<O::Outcome>,
    reply: oneshot::Sender<Result<O::Outcome>>,
}

#[async_trait]
impl<O: Operation> Queued for Pending<O> {
    async fn apply(&mut self, batch: &mut Batch<'_>) -> Result<()> {
        self.outcome = Some(self.operation.apply(batch).await?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<()>) {
        let lost = || StoreError::Inconsistent(String::from("an operation was committed without an outcome"));
        // Whoever asked may have gone; what was committed stays committed.
        let Self { outcome, reply, .. } = *self;
        let _ = reply.send(committed.and_then(|()| outcome.ok_or_else(lost)));
    }
}

struct PendingLogout {
    logout: Logout,
    reply: oneshot::Sender<Result<Revoked>>,
}

enum Job {
    /// Logouts are many and alike: a batch of them is a few statements.
    Logout(PendingLogout),
    Other(Box<dyn Queued>),
    Close(oneshot::Sender<()>),
}

/// The door to the writer task.
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    /// Starts the task. With a sink this is the serving process: it says so in the file, and hears of every revocation.
    pub(super) async fn start(
        path: PathBuf,
        connection: SqliteConnection,
        sink: Option<Arc<dyn RevocationSink>>,
    ) -> Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let committed = Arc::new(AtomicUsize::new(0));
        let stop = CancellationToken::new();
        if sink.is_some() {
            #[expect(clippy::disallowed_methods, reason = "ends when the writer does, which drops the guard")]
            tokio::spawn(checkpoint::run(path.clone(), Arc::clone(&committed), stop.clone()));
        }
        let mut task = Task {
            path,
            connection: Some(connection),
            sink,
            heard: Seq::default(),
            version: None,
            committed,
            _stop: stop.drop_guard(),
        };
        task.announce().await?;
        #[expect(clippy::disallowed_methods, reason = "ends with the queue, which `close` empties")]
        tokio::spawn(task.run(queue));
        Ok(Self { jobs })
    }

    /// Queues an operation and waits until it is durable.
    pub(super) async fn commit<O: Operation>(&self, operation: O) -> Result<O::Outcome> {
        let (reply, outcome) = oneshot::channel();
        self.ask(Job::Other(Box::new(Pending { operation, outcome: None, reply })), outcome).await
    }

    /// Queues a logout and waits until it is durable.
    pub(super) async fn logout(&self, logout: Logout) -> Result<Revoked> {
        let (reply, outcome) = oneshot::channel();
        self.ask(Job::Logout(PendingLogout { logout, reply }), outcome).await
    }

    /// Commits what is queued, takes this process off the file and closes the connection.
    pub(super) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.jobs.send(Job::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
    }

    async fn ask<T>(&self, job: Job, outcome: oneshot::Receiver<Result<T>>) -> Result<T> {
        let answered = async {
            self.jobs.send(job).await.map_err(|_| closed())?;
            outcome.await.map_err(|_| closed())?
        };
        let late = |_| StoreError::TooSlow(format!("no commit within {DEADLINE:?}"));
        tokio::time::timeout(DEADLINE, answered).await.map_err(late)?
    }
}

fn closed() -> StoreError {
    StoreError::Unreachable(String::from("the writer has stopped"))
}

struct Task {
    path: PathBuf,
    /// None after a failure that leaves its state in doubt; opened again for the next batch.
    connection: Option<SqliteConnection>,
    sink: Option<Arc<dyn RevocationSink>>,
    /// The newest number the sink has heard of.
    heard: Seq,
    /// `PRAGMA data_version` when last looked at: it moves when another process commits.
    version: Option<i64>,
    /// How many operations were committed, for the checkpointer.
    committed: Arc<AtomicUsize>,
    /// Ends the checkpointer.
    _stop: DropGuard,
}

impl Task {
    async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut jobs = Vec::with_capacity(MOST);
        loop {
            tokio::select! {
                taken = queue.recv_many(&mut jobs, MOST) => {
                    if taken == 0 {
                        break;
                    }
                    // Whoever is about to ask gets a turn; nobody is waited for.
                    tokio::task::yield_now().await;
                    while jobs.len() < MOST
                        && let Ok(job) = queue.try_recv()
                    {
                        jobs.push(job);
                    }
                    let (mut logouts, mut others, mut close) = (Vec::new(), Vec::new(), None);
                    for job in jobs.drain(..) {
                        match job {
                            Job::Logout(logout) => logouts.push(logout),
                            Job::Other(operation) => others.push(operation),
                            Job::Close(done) => close = Some(done),
                        }
                    }
                    self.committed.fetch_add(logouts.len() + others.len(), Ordering::Relaxed);
                    self.log_out(logouts).await;
                    self.commit(others).await;
                    if let Some(done) = close {
                        queue.close();
                        self.leave().await;
                        let _ = done.send(());
                        break;
                    }
                }
                _ = poll.tick(), if self.sink.is_some() => {
                    if let Err(error) = self.hear_commands().await {
                        tracing::warn!(%error, "cannot look for changes made by commands");
                    }
                }
            }
        }
    }

    /// Commits logouts and answers. A token may be in a transaction once; whoever presents it too is in the next.
    async fn log_out(&mut self, mut logouts: Vec<PendingLogout>) {
        while !logouts.is_empty() {
            let mut tokens = HashSet::with_capacity(logouts.len());
            let (now, later) = logouts.into_iter().partition(|pending| tokens.insert(pending.logout.token));
            self.log_out_distinct(now).await;
            logouts = later;
        }
    }

    async fn log_out_distinct(&mut self, logouts: Vec<PendingLogout>) {
        let wanted: Vec<&Logout> = logouts.iter().map(|pending| &pending.logout).collect();
        let ended = match self.connection().await {
            Ok(connection) => logout(connection, &wanted).await,
            Err(error) => Err(error),
        };
        let revoked = match ended {
            Ok((revoked, revocation)) => self.heard(revocation).await.map(|()| revoked),
            Err(error) => {
                // One that was busy has not begun; any other may have stopped half way, and dropping it rolls back.
                if !matches!(error, StoreError::TooSlow(_)) {
                    self.connection = None;
                }
                Err(error)
            }
        };
        match revoked {
            Ok(revoked) => {
                for (pending, revoked) in logouts.into_iter().zip(revoked) {
                    let _ = pending.reply.send(Ok(revoked));
                }
            }
            Err(error) => {
                for pending in logouts {
                    let _ = pending.reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// Commits a batch and answers. One that makes no sense for somebody is tried again one by one, so that it fails
    /// for them alone.
    async fn commit(&mut self, mut operations: Vec<Box<dyn Queued>>) {
        match self.attempt(&mut operations).await {
            Ok(()) => {
                for operation in operations {
                    operation.answer(Ok(()));
                }
            }
            Err(StoreError::Inconsistent(error)) if operations.len() > 1 => {
                tracing::error!(error, "a batch failed; trying its operations one by one");
                for mut operation in operations {
                    let committed = self.attempt(std::slice::from_mut(&mut operation)).await;
                    operation.answer(committed);
                }
            }
            Err(error) => {
                for operation in operations {
                    operation.answer(Err(error.clone()));
                }
            }
        }
    }

    /// One transaction. On an error nothing of it is durable, unless the commit itself failed: then nobody can tell.
    async fn attempt(&mut self, operations: &mut [Box<dyn Queued>]) -> Result<()> {
        if operations.is_empty() {
            return Ok(());
        }
        let result = async {
            let connection = self.connection().await?;
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
            let mut batch = Batch::new(&mut transaction);
            for operation in operations {
                operation.apply(&mut batch).await?;
            }
            let revocation = batch.finish().await?;
            transaction.commit().await.map_err(failed)?;
            Ok(revocation)
        }
        .await;
        match result {
            Ok(revocation) => self.heard(revocation).await,
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Drops a connection whose state is in doubt, which rolls back what can be.
    fn failed(&mut self, error: StoreError) -> StoreError {
        if matches!(error, StoreError::Unreachable(_)) {
            self.connection = None;
        }
        error
    }

    /// Tells the sink of what was committed. A failure here is not one to commit, and must not be taken for it.
    async fn heard(&mut self, revocation: Option<Revocation>) -> Result<()> {
        let Some(revocation) = revocation else { return Ok(()) };
        let unheard = |error| StoreError::TooSlow(format!("committed, but not applied: {error}"));
        self.hear(&revocation).await.map_err(unheard)
    }

    async fn connection(&mut self) -> Result<&mut SqliteConnection> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                self.version = None;
                open_writer(&self.path).await?
            }
        };
        Ok(self.connection.insert(connection))
    }

    /// Tells the sink of a revocation of our own, after those of others that were numbered before it.
    async fn hear(&mut self, revocation: &Revocation) -> Result<()> {
        let Some(sink) = self.sink.clone() else { return Ok(()) };
        if revocation.seq.0 > self.heard.0 + 1 {
            let (after, before) = (self.heard, revocation.seq);
            for missed in ended_by_others(self.connection().await?, after, before).await? {
                sink.hear(&missed);
            }
        }
        sink.hear(revocation);
        self.heard = revocation.seq;
        Ok(())
    }

    /// Tells the sink what commands have ended, and them that it was told.
    async fn hear_commands(&mut self) -> Result<()> {
        let Some(sink) = self.sink.clone() else { return Ok(()) };
        let (known, after) = (self.version, self.heard);
        let connection = self.connection().await?;
        let version: i64 =
            sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut *connection).await.map_err(failed)?;
        if known == Some(version) {
            return Ok(());
        }
        let missed = ended_by_others(connection, after, Seq(i64::MAX)).await?;
        for revocation in &missed {
            sink.hear(revocation);
            self.heard = revocation.seq;
        }
        // Whatever was committed beside: a command may also wait for a number of our own, or for one that was heard
        // while committing.
        let applied = self.heard.0;
        let connection = self.connection().await?;
        sqlx::query!("UPDATE replicas SET beat = beat + 1, applied = ?1", applied)
            .execute(connection)
            .await
            .map_err(failed)?;
        self.version = Some(version);
        Ok(())
    }

    /// A server begins with an empty cache, so it has applied all there is.
    async fn announce(&mut self) -> Result<()> {
        let Some(sink) = self.sink.clone() else { return Ok(()) };
        let connection = self.connection().await?;
        let head = sqlx::query_scalar!(r#"SELECT coalesce(max(seq), 0) AS "seq!: i64" FROM revocations"#)
            .fetch_one(&mut *connection)
            .await
            .map_err(failed)?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        sqlx::query!("DELETE FROM replicas").execute(&mut *transaction).await.map_err(failed)?;
        sqlx::query!("INSERT INTO replicas (id, beat, applied) VALUES ('this', 0, ?1)", head)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        self.heard = Seq(head);
        sink.hear(&Revocation { seq: self.heard, ..Revocation::default() });
        Ok(())
    }

    async fn leave(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if self.sink.is_some()
            && let Err(error) = sqlx::query!("DELETE FROM replicas").execute(&mut connection).await
        {
            tracing::warn!(%error, "cannot take this server off the database");
        }
        if let Err(error) = connection.close().await {
            tracing::warn!(%error, "cannot close the database");
        }
    }
}
