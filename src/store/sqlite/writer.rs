//! Group commit: one thread takes whatever is queued and commits it together, so that 64 logouts cost one fsync.
//!
//! Nothing waits to fill a batch: what arrives while one commits is the next one. Answers leave after the commit, and
//! after the revocation sink has heard of what ended.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::RwLock;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::super::{Result, RevocationSink, StoreError};
use super::batch::Batch;
use super::checkpoint::Checkpointer;
use super::connection::{self, failed};
use super::files::Files;
use super::revocations;
use crate::domain::clock::Clock;
use crate::domain::id::ReplicaId;
use crate::domain::revocation::{Revocation, Seq};
use crate::telemetry::outage::Seldom;

/// The most operations in one transaction: bounds how long one waits for its neighbours.
const MOST: usize = 256;
const QUEUE: usize = 4096;
/// How often a server looks for changes made by commands beside it.
const POLL: Duration = Duration::from_millis(20);
/// How long an answer is waited for; after that nobody can tell what happened.
const DEADLINE: Duration = Duration::from_secs(3);

/// One whole operation, to be run in a transaction with others. It may be run again, should the batch fail.
pub(super) trait Operation: Send + 'static {
    /// What it comes to.
    type Outcome: Send + 'static;

    /// Does it. An error undoes the whole batch, so what is merely refused is an outcome.
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Self::Outcome>;
}

/// An operation in the queue, whatever its outcome.
trait Queued: Send {
    fn apply(&mut self, batch: &mut Batch<'_>) -> rusqlite::Result<()>;
    fn answer(self: Box<Self>, committed: Result<()>);
}

struct Pending<O: Operation> {
    operation: O,
    outcome: Option<O::Outcome>,
    reply: oneshot::Sender<Result<O::Outcome>>,
}

impl<O: Operation> Queued for Pending<O> {
    fn apply(&mut self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        self.outcome = Some(self.operation.apply(batch)?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<()>) {
        let lost = || StoreError::inconsistent("an operation was committed without an outcome");
        // Whoever asked may have gone; what was committed stays committed.
        let Self { outcome, reply, .. } = *self;
        let _ = reply.send(committed.and_then(|()| outcome.ok_or_else(lost)));
    }
}

type Job = Box<dyn Queued>;

/// Operations that were committed together, or not, and are to be answered.
type Done = (Vec<Job>, Result<()>);

/// Answers whole batches at a time. Were each answer to come from the writer's own thread, each would wake the runtime
/// anew, and on a single core the two would take turns for every one of them.
async fn answer(mut batches: mpsc::UnboundedReceiver<Done>) {
    while let Some((jobs, committed)) = batches.recv().await {
        for job in jobs {
            job.answer(committed.clone());
        }
    }
}

/// What a writer works with.
pub(super) struct Surroundings {
    /// The database's.
    pub path: PathBuf,
    /// Watched before anything is done.
    pub files: Arc<Files>,
    /// What the serving process calls itself.
    pub replica: ReplicaId,
    /// Says what is live.
    pub clock: Arc<dyn Clock>,
    /// Hears of every revocation, where this is the serving process.
    pub sink: Option<Arc<dyn RevocationSink>>,
}

/// The door to the writer's thread, which ends once this is closed or dropped and the queue is empty.
pub(super) struct Writer {
    open: RwLock<Option<Open>>,
}

struct Open {
    jobs: SyncSender<Job>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Starts the thread. The serving process says in the file that it is there.
    pub(super) fn start(around: Surroundings, connection: Connection) -> Result<Self> {
        let no_thread = |error: std::io::Error| StoreError::unreachable(format!("cannot start a thread: {error}"));
        let (jobs, queue) = sync_channel(QUEUE);
        let (done, batches) = mpsc::unbounded_channel();
        #[expect(clippy::disallowed_methods, reason = "ends when the writer's thread does, which drops the sender")]
        tokio::spawn(answer(batches));
        let mut task = Task {
            around,
            done,
            connection: Some(connection),
            deaf: Seldom::default(),
            heard: Seq::default(),
            version: None,
            committed: Arc::default(),
            checkpointer: None,
        };
        if task.around.sink.is_some() {
            task.announce()?;
            let beside = Checkpointer::start(task.around.path.clone(), Arc::clone(&task.committed));
            task.checkpointer = Some(beside.map_err(no_thread)?);
        }
        let thread = std::thread::Builder::new().name(String::from("sqlite-writer"));
        let thread = thread.spawn(move || task.run(&queue)).map_err(no_thread)?;
        Ok(Self { open: RwLock::new(Some(Open { jobs, thread })) })
    }

    /// Queues an operation and waits until it is durable.
    pub(super) async fn commit<O: Operation>(&self, operation: O) -> Result<O::Outcome> {
        let (reply, outcome) = oneshot::channel();
        self.queue(Box::new(Pending { operation, outcome: None, reply }))?;
        let late = |_| StoreError::too_slow(format!("no commit within {DEADLINE:?}"));
        tokio::time::timeout(DEADLINE, outcome).await.map_err(late)?.map_err(|_| stopped())?
    }

    fn queue(&self, job: Job) -> Result<()> {
        let open = self.open.read();
        let Open { jobs, .. } = open.as_ref().ok_or_else(stopped)?;
        jobs.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(_) => StoreError::too_slow(format!("{QUEUE} operations wait for the writer")),
            TrySendError::Disconnected(_) => stopped(),
        })
    }

    /// Commits what is queued, takes this process off the file and closes the connection.
    pub(super) async fn close(&self) {
        let Some(Open { jobs, thread }) = self.open.write().take() else { return };
        drop(jobs);
        let ended = tokio::task::spawn_blocking(move || thread.join()).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::error!("the writer did not end as it should");
        }
    }
}

fn stopped() -> StoreError {
    StoreError::unreachable("the writer has stopped")
}

struct Task {
    around: Surroundings,
    /// To [`answer`].
    done: mpsc::UnboundedSender<Done>,
    /// None after a failure that leaves its state in doubt; opened again when next needed.
    connection: Option<Connection>,
    /// When to say again that a look for changes made by commands failed.
    deaf: Seldom,
    /// The newest number the sink has heard of.
    heard: Seq,
    /// `PRAGMA data_version` when last looked at: it moves when another process commits.
    version: Option<i64>,
    /// How many operations were committed, for the checkpointer.
    committed: Arc<AtomicUsize>,
    /// A server's.
    checkpointer: Option<Checkpointer>,
}

impl Task {
    fn run(mut self, queue: &Receiver<Job>) {
        let mut next_poll = Instant::now() + POLL;
        loop {
            let job = match self.around.sink {
                Some(_) => queue.recv_timeout(next_poll.saturating_duration_since(Instant::now())),
                None => queue.recv().map_err(RecvTimeoutError::from),
            };
            match job {
                Ok(job) => {
                    // Whoever is about to ask gets a turn; nobody is waited for.
                    std::thread::yield_now();
                    self.commit(std::iter::once(job).chain(queue.try_iter().take(MOST - 1)).collect());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.around.sink.is_some() && next_poll <= Instant::now() {
                if let Err(error) = self.hear_commands()
                    && self.deaf.now()
                {
                    tracing::warn!(%error, "cannot look for changes made by commands, and will try on");
                }
                next_poll = Instant::now() + POLL;
            }
        }
        self.leave();
    }

    /// Commits a batch and answers. One that makes no sense for somebody is tried again one by one, so that it fails
    /// for them alone.
    fn commit(&mut self, mut jobs: Vec<Job>) {
        match self.attempt(&mut jobs) {
            Err(StoreError::Inconsistent(error)) if jobs.len() > 1 => {
                tracing::error!(%error, "a batch failed; trying its operations one by one");
                for mut job in jobs {
                    let committed = self.attempt(std::slice::from_mut(&mut job));
                    self.answer(vec![job], committed);
                }
            }
            committed => self.answer(jobs, committed),
        }
    }

    fn answer(&self, jobs: Vec<Job>, committed: Result<()>) {
        // It fails when the runtime is gone, and whoever asked with it.
        let _ = self.done.send((jobs, committed));
    }

    /// One transaction. On an error nothing of it is durable, unless the commit itself failed: then nobody can tell.
    fn attempt(&mut self, jobs: &mut [Job]) -> Result<()> {
        let clock = Arc::clone(&self.around.clock);
        let committed = self.with_connection(|connection| {
            let mut batch = Batch::begin(connection, &*clock)?;
            for job in &mut *jobs {
                job.apply(&mut batch)?;
            }
            batch.commit()
        });
        let revocation = committed?;
        self.committed.fetch_add(jobs.len(), Ordering::Relaxed);
        // A failure here is not one to commit, and must not be taken for it.
        let unheard = |error| StoreError::too_slow(format!("committed, but not applied: {error}"));
        revocation.map_or(Ok(()), |revocation| self.hear(&revocation).map_err(unheard))
    }

    /// Runs `work` on the connection, opening one if there is none. An error that leaves its state in doubt drops it.
    fn with_connection<T>(&mut self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T> {
        let checked = self.around.files.check();
        if let (Err(_), Some(sink)) = (&checked, &self.around.sink) {
            sink.clear();
        }
        checked?;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connection::writer(&self.around.path)?,
        };
        let done = work(&mut connection).map_err(failed);
        if connection.is_autocommit() && !matches!(done, Err(StoreError::Unreachable(_))) {
            self.connection = Some(connection);
        } else {
            self.version = None;
        }
        done
    }

    /// Tells the sink of a revocation of our own, after those of others that were numbered before it.
    fn hear(&mut self, revocation: &Revocation) -> Result<()> {
        if self.around.sink.is_some() && revocation.seq.0 > self.heard.0 + 1 {
            self.hear_others(revocation.seq)?;
        }
        self.tell(revocation);
        Ok(())
    }

    /// Tells the sink of every revocation it has not heard of, up to a number that is left out.
    fn hear_others(&mut self, before: Seq) -> Result<()> {
        let after = self.heard;
        for missed in self.with_connection(|connection| revocations::between(connection, after, before))? {
            self.tell(&missed);
        }
        Ok(())
    }

    fn tell(&mut self, revocation: &Revocation) {
        if let Some(sink) = &self.around.sink {
            sink.apply(revocation);
            self.heard = revocation.seq;
        }
    }

    /// Tells the sink what commands have ended, and them that it was told.
    fn hear_commands(&mut self) -> Result<()> {
        let version = self.with_connection(|connection| {
            connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
        })?;
        if self.version == Some(version) {
            return Ok(());
        }
        self.hear_others(Seq(i64::MAX))?;
        // Whatever was committed beside: a command may also wait for a number of our own, or for one that was heard
        // while committing.
        let applied = self.heard;
        self.with_connection(|connection| {
            connection.prepare_cached("UPDATE replicas SET beat = beat + 1, applied = ?1")?.execute([applied])
        })?;
        self.version = Some(version);
        Ok(())
    }

    /// A server begins with an empty cache, so it has applied all there is.
    fn announce(&mut self) -> Result<()> {
        let replica = self.around.replica;
        let seq = self.with_connection(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let head = revocations::head(&transaction)?;
            transaction.execute("DELETE FROM replicas", [])?;
            let insert = "INSERT INTO replicas (id, beat, applied) VALUES (?1, 0, ?2)";
            transaction.execute(insert, (replica, head))?;
            transaction.commit()?;
            Ok(head)
        })?;
        self.tell(&Revocation { seq, ..Revocation::default() });
        Ok(())
    }

    fn leave(mut self) {
        if let Some(checkpointer) = self.checkpointer.take() {
            checkpointer.stop();
            if let Err(error) = self.with_connection(|connection| connection.execute("DELETE FROM replicas", [])) {
                tracing::warn!(%error, "cannot take this server off the database");
            }
        }
        // Whoever closes last folds the log into the file.
        if let Some(Err((_, error))) = self.connection.map(Connection::close) {
            tracing::warn!(%error, "cannot close the database");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::super::{connection, files, migrate};
    use super::*;
    use crate::domain::clock::SystemClock;
    use crate::domain::entropy::SystemEntropy;

    /// Takes until it is let go.
    struct Slow(Receiver<()>);

    impl Operation for Slow {
        type Outcome = ();

        fn apply(&self, _: &mut Batch<'_>) -> rusqlite::Result<()> {
            let _ = self.0.recv();
            Ok(())
        }
    }

    /// Ends the writer's thread.
    struct Panics;

    impl Operation for Panics {
        type Outcome = ();

        fn apply(&self, _: &mut Batch<'_>) -> rusqlite::Result<()> {
            panic!("a test's own")
        }
    }

    fn started(dir: &tempfile::TempDir) -> Writer {
        let path = dir.path().join("test.db");
        let path = files::make_private(&path).expect("made");
        let mut connection = connection::writer(&path).expect("opened");
        migrate::migrate(&mut connection).expect("migrated");
        let files = Arc::new(Files::remember(&[&path]).expect("there"));
        let replica = ReplicaId::random(&SystemEntropy).expect("entropy");
        let around = Surroundings { path, files, clock: Arc::new(SystemClock), sink: None, replica };
        Writer::start(around, connection).expect("started")
    }

    #[tokio::test]
    async fn a_thread_that_has_ended_is_noticed_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let writer = started(&dir);
        for _ in 0..2 {
            let failed = writer.commit(Panics).await;
            assert!(matches!(failed, Err(StoreError::Unreachable(_))), "{failed:?}");
        }
    }

    #[tokio::test]
    async fn a_full_queue_sheds_at_once_and_what_is_in_it_is_committed_before_the_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let writer = started(&dir);
        let (mut let_go, mut queued, mut shed) = (Vec::new(), Vec::new(), 0);
        for _ in 0..=MOST + QUEUE {
            let ((go, wait), (reply, outcome)) = (channel(), oneshot::channel());
            match writer.queue(Box::new(Pending { operation: Slow(wait), outcome: None, reply })) {
                Ok(()) => queued.push(outcome),
                Err(error) => {
                    assert!(matches!(error, StoreError::TooSlow(_)), "{error}");
                    shed += 1;
                }
            }
            let_go.push(go);
        }
        assert!((1..=MOST + 1).contains(&shed), "all but the queue, and the batch that the writer has taken: {shed}");
        drop(let_go);
        writer.close().await;
        for mut outcome in queued {
            assert!(matches!(outcome.try_recv(), Ok(Ok(()))));
        }
        let too_late = writer.commit(Slow(channel().1)).await;
        assert!(matches!(too_late, Err(StoreError::Unreachable(_))));
    }
}
