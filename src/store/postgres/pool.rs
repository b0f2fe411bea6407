//! A bounded number of connections, opened when needed. One that failed, or was not waited for, is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::Row;

use super::super::{Result, StoreError};
use super::address::Address;
use super::connection::{Connection, Params};

/// How long anything may take: waiting for a turn, connecting, asking and committing. PostgreSQL's own limits do not
/// cover the commit, and cannot help where it is the network that hangs.
pub(super) const DEADLINE: Duration = Duration::from_millis(900);

/// Waits for `work`, no longer than [`DEADLINE`]. What it holds is dropped then, connections included.
pub(super) async fn within<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| StoreError::TooSlow(format!("no answer within {DEADLINE:?}; what was asked may have happened"));
    tokio::time::timeout(DEADLINE, work).await.map_err(late)?
}

/// Waits for `work` that changes nothing, or may be asked for again, no longer than `deadline`.
pub(super) async fn by<T>(deadline: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| StoreError::TooSlow(format!("no answer within {deadline:?}"));
    tokio::time::timeout(deadline, work).await.map_err(late)?
}

/// The connections.
pub(super) struct Pool {
    address: Arc<Address>,
    turns: Semaphore,
    idle: Mutex<Vec<Connection>>,
    /// How often everything was forgotten.
    age: AtomicU64,
}

/// A connection that its holder has alone. Closed when dropped, unless it was given back.
pub(super) struct Lease<'p> {
    pool: &'p Pool,
    age: u64,
    pub(super) connection: Connection,
    _turn: SemaphorePermit<'p>,
}

impl Pool {
    /// At most `most`, none of them opened yet.
    pub(super) const fn new(address: Arc<Address>, most: usize) -> Self {
        Self { address, turns: Semaphore::const_new(most), idle: Mutex::new(Vec::new()), age: AtomicU64::new(0) }
    }

    /// Takes in a connection that somebody has no further use for.
    pub(super) fn keep(&self, connection: Connection) {
        self.idle.lock().push(connection);
    }

    /// Waits for a turn and takes a connection.
    pub(super) async fn take(&self) -> Result<Lease<'_>> {
        let closed = |_| StoreError::Unreachable(String::from("the store is closed"));
        let turn = self.turns.acquire().await.map_err(closed)?;
        let age = self.age.load(Ordering::Acquire);
        loop {
            let idle = self.idle.lock().pop();
            let connection = match idle {
                Some(gone) if gone.is_closed() => continue,
                Some(connection) => connection,
                None => Connection::open(&self.address, None).await?,
            };
            return Ok(Lease { pool: self, age, connection, _turn: turn });
        }
    }

    /// Runs one statement, which is a transaction of its own.
    pub(super) async fn query(&self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>> {
        within(async {
            let lease = self.take().await?;
            let rows = lease.connection.query(sql, params).await?;
            lease.give_back();
            Ok(rows)
        })
        .await
    }

    /// The same, and returns how many rows it changed.
    pub(super) async fn execute(&self, sql: &'static str, params: Params<'_>) -> Result<u64> {
        within(async {
            let lease = self.take().await?;
            let changed = lease.connection.execute(sql, params).await?;
            lease.give_back();
            Ok(changed)
        })
        .await
    }

    /// Closes what is idle, and whatever is in use once it is given back: another server is the primary now.
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
    /// Puts the connection back. Nothing may be under way on it.
    pub(super) fn give_back(self) {
        let mut idle = self.pool.idle.lock();
        if !self.pool.turns.is_closed() && self.pool.age.load(Ordering::Acquire) == self.age {
            idle.push(self.connection);
        }
    }
}
