//! The rows of the processes that serve, and the log, on a connection of their own that listens for hints.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use futures_util::future::{try_join, try_join3};
use tokio::sync::Mutex;

use super::super::replicas::DEADLINE;
use super::super::{News, Replica, Replicas, Result, StoreError};
use super::columns::{self, Columns, NO_HEAD};
use super::connection::{Connection, Heard, Params};
use super::gate::Gate;
use super::pool::{Pool, by};
use super::sessions;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::id::ReplicaId;
use crate::domain::revocation::Seq;
use crate::domain::session::Seen;
use crate::domain::token::TokenHash;

/// The most entries of the log in one answer.
const MOST: i64 = 1024;

/// See [`Replicas`].
pub(super) struct Membership {
    gate: Arc<Gate>,
    /// Their connections are to the same server, or should be.
    readers: Arc<Pool>,
    writers: Arc<Pool>,
    clock: Arc<dyn Clock>,
    /// The newest timeline that was seen.
    timeline: AtomicU32,
    open: Mutex<Option<Listener>>,
    heard: Arc<Heard>,
}

/// A connection that listens, and the timeline it is on: a server that takes over is another, and begins a new one.
struct Listener {
    connection: Connection,
    timeline: u32,
}

impl Listener {
    async fn open(gate: &Arc<Gate>, heard: &Heard) -> Result<Self> {
        const UNTOLD: &str = "the database does not tell its timeline";
        let connection = gate.open().await?;
        connection.run("LISTEN sessiond").await?;
        let rows = connection.query("SELECT left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)", &[]).await?;
        let timeline: &str = Columns::of_first(&rows, UNTOLD)?.next()?;
        let timeline = u32::from_str_radix(timeline, 16).map_err(|_| StoreError::inconsistent(String::from(UNTOLD)))?;
        // Whatever was said while nobody listened.
        heard.notified.notify_one();
        Ok(Self { connection, timeline })
    }
}

impl Membership {
    /// Opens nothing yet.
    pub(super) fn new(
        gate: Arc<Gate>,
        heard: Arc<Heard>,
        [readers, writers]: [Arc<Pool>; 2],
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { gate, readers, writers, clock, timeline: AtomicU32::new(0), open: Mutex::default(), heard }
    }

    /// Runs `work` on the connection, which is opened where there is none, and closed if `work` fails or is late.
    async fn on<T>(&self, work: impl AsyncFnOnce(&Listener) -> Result<T>) -> Result<T> {
        by(DEADLINE, async {
            let mut slot = self.open.lock().await;
            let listener = match slot.take().filter(|listener| !listener.connection.is_closed()) {
                Some(listener) => listener,
                None => {
                    let listener = Listener::open(&self.gate, &self.heard).await?;
                    let before = self.timeline.swap(listener.timeline, Ordering::AcqRel);
                    if before != 0 && before != listener.timeline {
                        self.gate.forget();
                        self.readers.forget();
                        self.writers.forget();
                    }
                    listener
                }
            };
            let done = work(&listener).await?;
            *slot = Some(listener);
            Ok(done)
        })
        .await
    }

    async fn run(&self, sql: &'static str, params: Params<'_>) -> Result<u64> {
        self.on(async |listener| listener.connection.execute(sql, params).await).await
    }

    /// Closes the connection.
    pub(super) async fn close(&self) {
        drop(self.open.lock().await.take());
    }
}

/// Reads the newest number, the log and the rows, in this order: what is read later shows no less.
async fn news(Listener { connection, timeline }: &Listener, applied: Seq) -> Result<News> {
    const HEAD: &str = "SELECT seq FROM coherence";
    const LOG: &str = "SELECT seq, sessions, users, flush FROM revocations WHERE seq > $1 ORDER BY seq LIMIT $2";
    const ROWS: &str = "SELECT id, beat, applied, caching FROM replicas";
    for sql in [HEAD, LOG, ROWS] {
        connection.prepared(sql).await?;
    }
    let (head, revocations, replicas) =
        try_join3(connection.query(HEAD, &[]), connection.query(LOG, &[&applied, &MOST]), connection.query(ROWS, &[]))
            .await?;
    Ok(News {
        timeline: *timeline,
        head: Columns::of_first(&head, NO_HEAD)?.next()?,
        revocations: revocations.iter().map(columns::revocation).collect::<Result<_>>()?,
        replicas: replicas.iter().map(columns::replica).collect::<Result<_>>()?,
    })
}

#[async_trait]
impl Replicas for Membership {
    async fn register(&self, id: ReplicaId, caching: bool) -> Result<Seq> {
        self.on(async |Listener { connection, .. }| {
            let rows = connection
                .query(
                    "INSERT INTO replicas (id, beat, applied, caching) SELECT $1, 0, seq, $2 FROM coherence RETURNING applied",
                    &[&id, &caching],
                )
                .await?;
            Columns::of_first(&rows, NO_HEAD)?.next()
        })
        .await
    }

    async fn beat(&self, id: ReplicaId, applied: Seq) -> Result<Option<News>> {
        self.on(async |listener| {
            const BEAT: &str = "UPDATE replicas SET beat = beat + 1, applied = $2 WHERE id = $1";
            listener.connection.prepared(BEAT).await?;
            // Sent behind one another, done one after the other: what is read is read after the beat is durable.
            let (beaten, news) =
                try_join(listener.connection.execute(BEAT, &[&id, &applied]), news(listener, applied)).await?;
            Ok((beaten == 1).then_some(news))
        })
        .await
    }

    async fn news(&self, applied: Seq) -> Result<News> {
        self.on(async |listener| news(listener, applied).await).await
    }

    async fn acknowledge(&self, id: ReplicaId, applied: Seq) -> Result<()> {
        // Not waiting for the disk: a crash that forgets it only makes somebody wait longer.
        let sql = "UPDATE replicas SET applied = $2
             WHERE id = $1 AND applied < $2 AND set_config('synchronous_commit', 'off', true) = 'off'";
        self.run(sql, &[&id, &applied]).await.map(drop)
    }

    async fn touch(&self, seen: Vec<Seen>) -> Result<Vec<(TokenHash, Timestamp)>> {
        sessions::touch(&self.writers, &*self.clock, &seen).await
    }

    async fn reap(&self, replica: Replica) -> Result<()> {
        let Replica { id, beat, .. } = replica;
        self.run("DELETE FROM replicas WHERE id = $1 AND beat = $2", &[&id, &beat]).await.map(drop)
    }

    async fn deregister(&self, id: ReplicaId) -> Result<()> {
        self.run("DELETE FROM replicas WHERE id = $1", &[&id]).await.map(drop)
    }

    async fn hint(&self) {
        self.heard.notified.notified().await;
    }
}
