//! Reads: a few connections that cannot write, opened when needed, on threads that may block.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension as _, Params, Row};
use tokio::sync::Semaphore;

use super::super::{Result, StoreError};
use super::connection::{self, BUSY, failed};
use super::files::Files;

/// The most reads at a time.
const MOST: u32 = 4;
/// How long a read may take, waiting for its turn included.
const DEADLINE: Duration = Duration::from_secs(3);

/// The door to the connections that read.
pub(super) struct Readers(Arc<Pool>);

struct Pool {
    path: PathBuf,
    files: Arc<Files>,
    turns: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// Opens nothing yet.
    pub(super) fn new(path: PathBuf, files: Arc<Files>) -> Self {
        Self(Arc::new(Pool { path, files, turns: Arc::new(Semaphore::new(MOST as usize)), idle: Mutex::default() }))
    }

    /// Runs `query` on a connection that it has alone.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let read = async {
            let turn = tokio::time::timeout(BUSY, Arc::clone(&self.0.turns).acquire_owned()).await;
            let turn = turn.map_err(|_| StoreError::too_slow(format!("no turn to read within {BUSY:?}")))?;
            let turn = turn.map_err(|_| StoreError::unreachable("the store is closed"))?;
            let pool = Arc::clone(&self.0);
            // No more at a time than there are turns: a turn ends with the read, whether or not it is still waited for.
            let done = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                pool.read(query)
            });
            done.await.map_err(|error| StoreError::unreachable(error.to_string()))?
        };
        let late = |_| StoreError::too_slow(format!("nothing read within {DEADLINE:?}"));
        tokio::time::timeout(DEADLINE, read).await.map_err(late)?
    }

    /// Reads the one row that a statement finds, if it finds any.
    pub(super) async fn read_one<T: Send + 'static>(
        &self,
        sql: &'static str,
        params: impl Params + Send + 'static,
        read: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        self.read(move |connection| connection.prepare_cached(sql)?.query_row(params, read).optional()).await
    }

    /// Lets reads under way finish, and closes the connections.
    pub(super) async fn close(&self) {
        // One that takes longer closes its connection itself.
        let _turns = tokio::time::timeout(DEADLINE, self.0.turns.acquire_many(MOST)).await;
        self.0.turns.close();
        self.0.idle.lock().clear();
    }
}

impl Pool {
    fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        self.files.check()?;
        let idle = self.idle.lock().pop();
        let connection = idle.map_or_else(|| connection::reader(&self.path), Ok).map_err(failed)?;
        let read = query(&connection).map_err(failed);
        // A connection to a file in trouble is not used again.
        if !matches!(read, Err(StoreError::Unreachable(_))) {
            let mut idle = self.idle.lock();
            if !self.turns.is_closed() {
                idle.push(connection);
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn a_reader_who_leaves_takes_no_turn_along() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("test.db");
        let path = super::super::files::make_private(&path).expect("made");
        let files = Arc::new(Files::remember(&[&path]).expect("there"));
        let readers = Readers::new(path, files);
        let (mut let_go, mut left) = (Vec::new(), tokio::task::JoinSet::new());
        for _ in 0..MOST {
            let (go, wait) = channel::<()>();
            let_go.push(go);
            let pool = Readers(Arc::clone(&readers.0));
            left.spawn(async move { pool.read(move |_| Ok(wait.recv())).await });
        }
        while readers.0.turns.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        left.shutdown().await;
        assert_eq!(readers.0.turns.available_permits(), 0, "they read on");
        drop(let_go);
        assert!(readers.read(|_| Ok(())).await.is_ok());
        readers.close().await;
        assert!(matches!(readers.read(|_| Ok(())).await, Err(StoreError::Unreachable(_))));
        assert!(readers.0.idle.lock().is_empty());
    }
}
