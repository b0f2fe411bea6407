//! Group commit: one task takes whatever is queued and commits it together, so that 64 logouts cost one fsync.
//!
//! Nothing waits to fill a batch: what arrives while one commits is the next one. Answers leave after the commit, and
//! after the revocation sink has heard of what ended.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::super::{Logout, Result, RevocationSink, Revoked, StoreError};
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
        let mut task = Task { path, connection: Some(connection), sink, heard: Seq::default(), version: None };
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
                    let (mut logouts, mut others, mut close) = (Vec::new(), Vec::new(), None);
                    for job in jobs.drain(..) {
                        match job {
                            Job::Logout(logout) => logouts.push(logout),
                            Job::Other(operation) => others.push(operation),
                            Job::Close(done) => close = Some(done),
                        }
                    }
                    self.commit(logouts, others).await;
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

    /// Commits a batch and answers. A batch that fails for one makes no sense for that one alone, so it is tried one by one.
    async fn commit(&mut self, logouts: Vec<PendingLogout>, mut others: Vec<Box<dyn Queued>>) {
        if logouts.is_empty() && others.is_empty() {
            return;
        }
        let wanted: Vec<&Logout> = logouts.iter().map(|pending| &pending.logout).collect();
        match self.attempt(&wanted, &mut others).await {
            Ok(revoked) => {
                for (pending, revoked) in logouts.into_iter().zip(revoked) {
                    let _ = pending.reply.send(Ok(revoked));
                }
                for operation in others {
                    operation.answer(Ok(()));
                }
            }
            Err(StoreError::Inconsistent(error)) if logouts.len() + others.len() > 1 => {
                tracing::error!(error, "a batch failed; trying its operations one by one");
                for pending in logouts {
                    let revoked = self.attempt(&[&pending.logout], &mut []).await;
                    let _ = pending.reply.send(revoked.map(|mut revoked| revoked.pop().unwrap_or_default()));
                }
                for mut operation in others {
                    let committed = self.attempt(&[], std::slice::from_mut(&mut operation)).await;
                    operation.answer(committed.map(|_| ()));
                }
            }
            Err(error) => {
                for pending in logouts {
                    let _ = pending.reply.send(Err(error.clone()));
                }
                for operation in others {
                    operation.answer(Err(error.clone()));
                }
            }
        }
    }

    /// One transaction. On an error nothing of it is durable, unless the commit itself failed: then the connection is
    /// dropped, which rolls back what can be.
    async fn attempt(&mut self, logouts: &[&Logout], others: &mut [Box<dyn Queued>]) -> Result<Vec<Revoked>> {
        let result = async {
            let connection = self.connection().await?;
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
            let mut batch = Batch::new(&mut transaction);
            let revoked = batch.logout(logouts).await?;
            for operation in others {
                operation.apply(&mut batch).await?;
            }
            let revocation = batch.finish().await?;
            transaction.commit().await.map_err(failed)?;
            Ok((revoked, revocation))
        }
        .await;
        match result {
            Ok((revoked, revocation)) => {
                if let Some(revocation) = revocation {
                    // Committed, but nobody may be told: the caller must not take it for a failure to commit.
                    let unheard = |error| StoreError::TooSlow(format!("committed, but not applied: {error}"));
                    self.hear(&revocation).await.map_err(unheard)?;
                }
                Ok(revoked)
            }
            Err(error) => {
                if matches!(error, StoreError::Unreachable(_)) {
                    self.connection = None;
                }
                Err(error)
            }
        }
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
        if let Some(newest) = missed.last().map(|revocation| revocation.seq) {
            for revocation in &missed {
                sink.hear(revocation);
            }
            self.heard = newest;
            let connection = self.connection().await?;
            sqlx::query!("UPDATE replicas SET beat = beat + 1, applied = ?1", newest.0)
                .execute(connection)
                .await
                .map_err(failed)?;
        }
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
