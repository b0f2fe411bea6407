//! Reads: a few connections that cannot write, opened when needed, each for one read at a time.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sqlx::query::QueryAs;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Connection as _, FromRow, Sqlite};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{Instrument as _, info_span};

use super::super::{Result, StoreError};
use super::connection::{self, BUSY, failed};
use super::files::Files;
use crate::telemetry::{Counted, Flight, InFlight, PoolName, PoolUse};

/// How long a read may take, waiting for its turn included.
const DEADLINE: Duration = Duration::from_secs(3);
/// How many steps SQLite's virtual machine takes before a cancelled read is noticed: some 100 microseconds.
const STEPS: i32 = 10_000;

/// A statement that reads `R`s.
type Statement<'q, R> = QueryAs<'q, Sqlite, R, SqliteArguments>;

/// The connections that read.
#[derive(Clone)]
pub(super) struct Readers(Arc<Pool>);

struct Pool {
    path: PathBuf,
    files: Arc<Files>,
    turns: Arc<Semaphore>,
    most: u32,
    /// See [`connection::reader`].
    cache: u32,
    idle: Mutex<Vec<Reader>>,
    reads: InFlight,
    waiting: AtomicUsize,
}

/// A connection that reads, and whether its read was cancelled.
struct Reader {
    connection: SqliteConnection,
    given_up: Arc<AtomicBool>,
}

/// A reader in use, with its turn. Dropping it in the middle of a read cancels the read and frees the turn.
struct Lease {
    reader: Option<Reader>,
    turn: Option<OwnedSemaphorePermit>,
    read: Option<Flight>,
}

impl Readers {
    /// Makes the readers, of which `most` read at a time and each keeps `cache` KiB of the file, without opening a connection
    /// yet.
    pub(super) fn new(path: PathBuf, files: Arc<Files>, most: u32, cache: u32) -> Self {
        let turns = Arc::new(Semaphore::new(most as usize));
        let (idle, reads, waiting) = (Mutex::default(), InFlight::new(most as usize), AtomicUsize::new(0));
        Self(Arc::new(Pool { path, files, turns, most, cache, idle, reads, waiting }))
    }

    /// Reads the one row that a statement finds, if it finds any.
    pub(super) async fn one<R>(&self, statement: Statement<'_, R>) -> Result<Option<R>>
    where
        R: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        in_time(async {
            let mut lease = self.0.lease().await?;
            let found = statement.fetch_optional(lease.connection()?).await;
            self.0.give_back(lease, found)
        })
        .await
    }

    /// Reads every row that a statement finds.
    pub(super) async fn all<R>(&self, statement: Statement<'_, R>) -> Result<Vec<R>>
    where
        R: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        in_time(async {
            let mut lease = self.0.lease().await?;
            let found = statement.fetch_all(lease.connection()?).await;
            self.0.give_back(lease, found)
        })
        .await
    }

    /// What is used now, and for how long the oldest read has been under way.
    pub(super) fn in_use(&self) -> (PoolUse, Duration) {
        let Pool { most, idle, reads, waiting, .. } = &*self.0;
        let used = PoolUse {
            pool: PoolName::reads,
            most: *most as usize,
            in_use: reads.count(),
            idle: idle.lock().len(),
            waiting: waiting.load(Ordering::Relaxed),
        };
        (used, reads.oldest())
    }

    /// Lets reads under way finish, and closes the connections.
    pub(super) async fn close(&self) {
        // One that takes longer closes its connection itself.
        let _turns = tokio::time::timeout(DEADLINE, self.0.turns.acquire_many(self.0.most)).await;
        self.0.turns.close();
        self.close_idle().await;
    }

    /// Closes the connections that are not in use.
    pub(super) async fn close_idle(&self) {
        let idle = std::mem::take(&mut *self.0.idle.lock());
        for Reader { connection, .. } in idle {
            // A connection that only reads has nothing to lose.
            let _ = connection.close().await;
        }
    }
}

/// Ends a read that takes too long.
pub(super) async fn in_time<T>(read: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| StoreError::too_slow(format!("nothing read within {DEADLINE:?}"));
    tokio::time::timeout(DEADLINE, read.instrument(info_span!("store read"))).await.map_err(late)?
}

impl Pool {
    async fn lease(&self) -> Result<Lease> {
        let turn = {
            let _waits = Counted::begin(&self.waiting);
            tokio::time::timeout(BUSY, Arc::clone(&self.turns).acquire_owned()).await
        };
        let turn = turn.map_err(|_| StoreError::too_slow(format!("no turn to read within {BUSY:?}")))?;
        let turn = turn.map_err(|_| StoreError::unreachable("the store is closed"))?;
        self.files.check()?;
        let idle = self.idle.lock().pop();
        let reader = match idle {
            Some(reader) => reader,
            None => self.open().await.map_err(failed)?,
        };
        Ok(Lease { reader: Some(reader), turn: Some(turn), read: Some(self.reads.begin()) })
    }

    async fn open(&self) -> sqlx::Result<Reader> {
        let mut connection = connection::reader(&self.path, self.cache).await?;
        let given_up = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&given_up);
        connection.lock_handle().await?.set_progress_handler(STEPS, move || !watched.load(Ordering::Relaxed));
        Ok(Reader { connection, given_up })
    }

    /// Ends a lease after a read. A connection that failed is not used again.
    fn give_back<T>(&self, mut lease: Lease, read: sqlx::Result<T>) -> Result<T> {
        let read = read.map_err(failed)?;
        let mut idle = self.idle.lock();
        if !self.turns.is_closed() {
            idle.extend(lease.reader.take());
        }
        Ok(read)
    }
}

impl Lease {
    fn connection(&mut self) -> Result<&mut SqliteConnection> {
        let reader = self.reader.as_mut().map(|reader| &mut reader.connection);
        reader.ok_or_else(|| StoreError::inconsistent("a reader was used after it was given back"))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(Reader { connection, given_up }) = self.reader.take() else { return };
        given_up.store(true, Ordering::Relaxed);
        let (turn, read) = (self.turn.take(), self.read.take());
        if let Ok(runtime) = Handle::try_current() {
            // The turn is free once the thread of the connection is.
            runtime.spawn(async move {
                let _ = connection.close().await;
                drop((turn, read));
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u32 = 4;
    /// Reads for ever.
    const ENDLESS: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";

    fn readers(dir: &tempfile::TempDir) -> Readers {
        let path = super::super::files::make_private(&dir.path().join("test.db")).expect("made");
        let files = Arc::new(Files::remember(&[&path]).expect("there"));
        Readers::new(path, files, MOST, 2000)
    }

    fn statement(sql: &'static str) -> Statement<'static, (i64,)> {
        sqlx::query_as(sql)
    }

    #[tokio::test]
    async fn a_read_that_is_given_up_is_ended_and_its_turn_is_free_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let readers = Arc::new(readers(&dir));
        let mut given_up = tokio::task::JoinSet::new();
        for _ in 0..MOST {
            let readers = Arc::clone(&readers);
            given_up.spawn(async move { readers.one(statement(ENDLESS)).await });
        }
        while readers.0.turns.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        given_up.shutdown().await;
        assert_eq!(readers.one(statement("SELECT 1")).await.expect("a turn"), Some((1,)));
        readers.close().await;
        assert!(matches!(readers.one(statement("SELECT 1")).await, Err(StoreError::Unreachable(_))));
        assert!(readers.0.idle.lock().is_empty());
    }

    #[tokio::test]
    async fn a_read_without_an_end_is_ended_at_its_deadline() {
        let dir = tempfile::tempdir().expect("a directory");
        let readers = readers(&dir);
        assert_eq!(readers.all(statement("SELECT 1")).await.expect("read"), [(1,)], "a connection is open");
        tokio::time::pause();
        let late = readers.one(statement(ENDLESS)).await;
        assert!(matches!(late, Err(StoreError::TooSlow(_))), "{late:?}");
        tokio::time::resume();
        assert_eq!(readers.all(statement("SELECT 1")).await.expect("read"), [(1,)], "on another connection");
    }
}
