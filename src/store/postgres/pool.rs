//! A bounded number of connections, opened when needed. One that broke, or whose statement was abandoned, is closed.
//! One whose server merely refused a statement is not. While no other can be opened, the open ones are shared.
//!
//! A server process that waits for a standby does not notice that its connection was closed. So one that was abandoned
//! keeps its place in the number for as long as the database shows it at work, or changes that hang would use up all
//! connections of the database.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::{Query, QueryAs};
use sqlx::{FromRow, Postgres, query_as};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tracing::{Instrument as _, info_span};

use super::super::{Result, StoreError};
use super::connection::Connection;
use super::deadline::with_deadline;
use super::gate::Gate;
use crate::telemetry::{Counted, Flight, InFlight, PoolName, PoolUse, StoreMetrics};

/// The connections.
pub(super) struct Pool {
    gate: Arc<Gate>,
    /// What they are for, and how many there may be.
    name: PoolName,
    most: usize,
    turns: Arc<Semaphore>,
    /// What was abandoned, and the pool through which the database is asked about it. Without one it is not kept.
    abandoned: Mutex<Vec<Abandoned>>,
    readers: Option<Arc<Pool>>,
    /// Held by the one that asks.
    asking: tokio::sync::Mutex<()>,
    idle: Mutex<Vec<Connection>>,
    /// How many are in use, and the notification when one is returned.
    in_use: AtomicUsize,
    returned: Notify,
    /// How often all connections were discarded.
    age: AtomicU64,
    leases: InFlight,
    waiting: AtomicUsize,
    /// Where what is done on the connections is measured.
    pub(super) metrics: Arc<StoreMetrics>,
}

/// A connection in exclusive use. It is closed when dropped, unless it was put back.
pub(super) struct Lease<'p> {
    pool: &'p Pool,
    age: u64,
    pub(super) connection: Connection,
    _in_use: UseCount<'p>,
    turn: Turn<'p>,
    _flight: Flight,
}

/// One of the bounded number, for as long as a connection uses it.
struct Turn<'p> {
    pool: &'p Pool,
    /// See [`Connection::backend`].
    backend: Arc<str>,
    permit: Option<OwnedSemaphorePermit>,
    /// Whether nothing is under way on the connection any more.
    over: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let (false, Some(_), Some(permit)) = (self.over, &self.pool.readers, self.permit.take()) {
            let backend = Arc::clone(&self.backend);
            self.pool.abandoned.lock().push(Abandoned { backend, _permit: permit });
        }
    }
}

/// A server process whose connection was closed while it may have been at work.
struct Abandoned {
    backend: Arc<str>,
    _permit: OwnedSemaphorePermit,
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
    /// At most `most`, none of them opened yet. Where they make changes, `readers` is the pool through which the database
    /// is asked about those that were abandoned.
    pub(super) fn new(gate: Arc<Gate>, most: usize, readers: Option<Arc<Self>>, metrics: &Arc<StoreMetrics>) -> Self {
        Self {
            gate,
            name: if readers.is_some() { PoolName::changes } else { PoolName::reads },
            most,
            leases: InFlight::new(most),
            waiting: AtomicUsize::new(0),
            metrics: Arc::clone(metrics),
            turns: Arc::new(Semaphore::new(most)),
            abandoned: Mutex::default(),
            readers,
            asking: tokio::sync::Mutex::default(),
            idle: Mutex::default(),
            in_use: AtomicUsize::new(0),
            returned: Notify::new(),
            age: AtomicU64::new(0),
        }
    }

    /// What is used now, and for how long the oldest of it has been.
    pub(super) fn in_use(&self) -> (PoolUse, Duration) {
        let used = PoolUse {
            pool: self.name,
            most: self.most,
            in_use: self.in_use.load(Ordering::Acquire),
            idle: self.idle.lock().len(),
            waiting: self.waiting.load(Ordering::Relaxed),
        };
        (used, self.leases.oldest())
    }

    /// Puts a connection into the pool that was opened for something else.
    pub(super) fn keep(&self, connection: Connection) {
        self.idle.lock().push(connection);
    }

    /// Waits for a turn and takes a connection.
    pub(super) async fn take(&self) -> Result<Lease<'_>> {
        let closed = |_| StoreError::unreachable("the store is closed");
        let waits = Counted::begin(&self.waiting);
        self.release_ended().await;
        let permit = Arc::clone(&self.turns).acquire_owned().await.map_err(closed)?;
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
        let turn = Turn { pool: self, backend: connection.backend(), permit: Some(permit), over: false };
        drop(waits);
        Ok(Lease { pool: self, age, connection, _in_use: in_use, turn, _flight: self.leases.begin() })
    }

    /// Gives up the places of abandoned connections whose work has ended. Where the database cannot be asked, that is all
    /// of them: then it is not these that use it up.
    async fn release_ended(&self) {
        let abandoned: Vec<_> = self.abandoned.lock().iter().map(|one| one.backend.to_string()).collect();
        let (false, Some(readers), Ok(_asking)) = (abandoned.is_empty(), &self.readers, self.asking.try_lock()) else {
            return;
        };
        let at_work = query_as(
            "SELECT pid || ' ' || backend_start FROM pg_stat_activity
             WHERE pid || ' ' || backend_start = ANY ($1) AND state = 'active'",
        );
        let at_work: Vec<(String,)> = Box::pin(readers.rows(at_work.bind(abandoned.clone()))).await.unwrap_or_default();
        let ended =
            |backend: &str| abandoned.iter().any(|one| one == backend) && at_work.iter().all(|(one,)| one != backend);
        self.abandoned.lock().retain(|one| !ended(&one.backend));
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
        // What writes by a single statement commits by it.
        let span = if self.readers.is_some() { info_span!("store commit") } else { info_span!("store read") };
        with_deadline(async {
            let mut lease = self.take().await?;
            let done = work(&mut lease.connection).await;
            lease.give_back_if_sound();
            done
        })
        .instrument(span)
        .await
    }

    /// Closes the idle connections at once, and those in use when they are returned: another server is the primary now.
    pub(super) fn forget(&self) {
        let mut idle = self.idle.lock();
        self.age.fetch_add(1, Ordering::AcqRel);
        idle.clear();
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
    pub(super) fn give_back(mut self) {
        self.turn.over = true;
        let mut idle = self.pool.idle.lock();
        if !self.pool.turns.is_closed() && self.pool.age.load(Ordering::Acquire) == self.age {
            idle.push(self.connection);
        }
    }
}
