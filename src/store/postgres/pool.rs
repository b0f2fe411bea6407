//! A bounded number of connections, opened when needed. One that broke, or whose statement was abandoned, is closed.
//! One whose server merely refused a statement is not. While no other can be opened, the open ones are shared.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::{Query, QueryAs};
use sqlx::{FromRow, Postgres};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::super::{Result, StoreError};
use super::connection::Connection;
use super::deadline::with_deadline;
use super::gate::Gate;

/// The connections.
pub(super) struct Pool {
    gate: Arc<Gate>,
    turns: Semaphore,
    idle: Mutex<Vec<Connection>>,
    /// How many are in use, and the notification when one is returned.
    in_use: AtomicUsize,
    returned: Notify,
    /// How often all connections were discarded.
    age: AtomicU64,
}

/// A connection in exclusive use. It is closed when dropped, unless it was put back.
pub(super) struct Lease<'p> {
    pool: &'p Pool,
    age: u64,
    pub(super) connection: Connection,
    _in_use: UseCount<'p>,
    _turn: SemaphorePermit<'p>,
}

/// How many connections are in use.
struct InUse(usize);

/// Counts a connection in use for as long as it lives.
struct UseCount<'p>(&'p Pool);

impl<'p> UseCount<'p> {
    fn begin(pool: &'p Pool) -> Self {
        pool.in_use.fetch_add(1, Ordering::AcqRel);
        Self(pool)
    }
}

impl Drop for UseCount<'_> {
    fn drop(&mut self) {
        self.0.in_use.fetch_sub(1, Ordering::AcqRel);
        self.0.returned.notify_waiters();
    }
}

impl Pool {
    /// At most `most`, none of them opened yet.
    pub(super) fn new(gate: Arc<Gate>, most: usize) -> Self {
        Self {
            gate,
            turns: Semaphore::new(most),
            idle: Mutex::default(),
            in_use: AtomicUsize::new(0),
            returned: Notify::new(),
            age: AtomicU64::new(0),
        }
    }

    /// Puts a connection into the pool that was opened for something else.
    pub(super) fn keep(&self, connection: Connection) {
        self.idle.lock().push(connection);
    }

    /// Waits for a turn and takes a connection.
    pub(super) async fn take(&self) -> Result<Lease<'_>> {
        let closed = |_| StoreError::unreachable("the store is closed");
        let turn = self.turns.acquire().await.map_err(closed)?;
        let age = self.age.load(Ordering::Acquire);
        let (connection, in_use) = loop {
            if let Ok(idle) = self.idle().await {
                break idle;
            }
            let error = match self.gate.open().await {
                Ok(opened) => break (opened, UseCount::begin(self)),
                Err(error) => error,
            };
            // This comes before the look into the pool, so that a connection returned after it is not missed.
            let mut returned = pin!(self.returned.notified());
            returned.as_mut().enable();
            match self.idle().await {
                Ok(idle) => break idle,
                Err(InUse(0)) => return Err(error),
                Err(InUse(_)) => returned.await,
            }
        };
        Ok(Lease { pool: self, age, connection, _in_use: in_use, _turn: turn })
    }

    /// Takes a connection that is idle and still alive. Where there is none, returns how many are still in use.
    async fn idle(&self) -> std::result::Result<(Connection, UseCount<'_>), InUse> {
        loop {
            let (mut connection, in_use) = {
                let mut idle = self.idle.lock();
                let connection = idle.pop().ok_or_else(|| InUse(self.in_use.load(Ordering::Acquire)))?;
                (connection, UseCount::begin(self))
            };
            if connection.lives().await {
                return Ok((connection, in_use));
            }
        }
    }

    /// Runs one statement, which is a transaction of its own, and returns its rows.
    pub(super) async fn rows<T>(&self, query: QueryAs<'static, Postgres, T, PgArguments>) -> Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        self.with(async |connection| connection.rows(query).await).await
    }

    /// The same, and returns its first row.
    pub(super) async fn row<T>(&self, query: QueryAs<'static, Postgres, T, PgArguments>) -> Result<Option<T>>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        self.with(async |connection| connection.row(query).await).await
    }

    /// The same, and returns how many rows it changed.
    pub(super) async fn execute(&self, query: Query<'static, Postgres, PgArguments>) -> Result<u64> {
        self.with(async |connection| connection.execute(query).await).await
    }

    /// Does work that leaves no transaction open, whether or not it succeeds.
    pub(super) async fn with<T>(&self, work: impl AsyncFnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        with_deadline(async {
            let mut lease = self.take().await?;
            let done = work(&mut lease.connection).await;
            lease.give_back_if_sound();
            done
        })
        .await
    }

    /// Closes the idle connections at once, and those in use when they are returned: another server is the primary now.
    pub(super) fn forget(&self) {
        self.age.fetch_add(1, Ordering::AcqRel);
        self.idle.lock().clear();
    }

    /// Closes what is idle; what is in use is closed when it is given back.
    pub(super) fn close(&self) {
        self.turns.close();
        self.idle.lock().clear();
    }
}

impl Lease<'_> {
    /// Puts the connection back after a statement that ended, with success or not, and is no part of a transaction.
    pub(super) fn give_back_if_sound(self) {
        if self.connection.is_sound() {
            self.give_back();
        }
    }

    /// Undoes a transaction that has failed. If that works, the connection is put back.
    pub(super) async fn roll_back(mut self) {
        if self.connection.is_sound() && self.connection.run("ROLLBACK").await.is_ok() {
            self.give_back();
        }
    }

    /// Puts the connection back. Nothing may be under way on it.
    pub(super) fn give_back(self) {
        let mut idle = self.pool.idle.lock();
        if !self.pool.turns.is_closed() && self.pool.age.load(Ordering::Acquire) == self.age {
            idle.push(self.connection);
        }
    }
}
