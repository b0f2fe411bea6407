//! The rows of the processes that serve, and the log, on a connection of their own that listens for hints.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::try_join3;
use tokio::sync::{Mutex, Notify};

use super::super::replicas::DEADLINE;
use super::super::{News, Replica, Replicas, Result, StoreError};
use super::address::Address;
use super::columns::{self, Columns};
use super::connection::{Connection, Params};
use crate::domain::id::ReplicaId;
use crate::domain::revocation::Seq;

/// The most entries of the log in one answer.
const MOST: i64 = 1024;

/// See [`Replicas`].
pub(super) struct Membership {
    address: Arc<Address>,
    connection: Mutex<Option<Connection>>,
    heard: Arc<Notify>,
}

impl Membership {
    /// Opens nothing yet.
    pub(super) fn new(address: Arc<Address>) -> Self {
        Self { address, connection: Mutex::default(), heard: Arc::default() }
    }

    /// Runs `work` on the connection, which is opened where there is none, and closed if `work` fails or is late.
    async fn on_connection<T>(&self, work: impl AsyncFnOnce(&Connection) -> Result<T>) -> Result<T> {
        let late = |_| StoreError::TooSlow(format!("no answer within {DEADLINE:?}"));
        let done = tokio::time::timeout(DEADLINE, async {
            let mut slot = self.connection.lock().await;
            let connection = match slot.take().filter(|connection| !connection.is_closed()) {
                Some(connection) => connection,
                None => {
                    let connection = Connection::open(&self.address, Some(Arc::clone(&self.heard))).await?;
                    connection.run("LISTEN sessiond").await?;
                    // Whatever was said while nobody listened.
                    self.heard.notify_one();
                    connection
                }
            };
            let done = work(&connection).await?;
            *slot = Some(connection);
            Ok(done)
        });
        done.await.map_err(late)?
    }

    async fn run(&self, sql: &'static str, params: Params<'_>) -> Result<u64> {
        self.on_connection(async |connection| connection.execute(sql, params).await).await
    }

    /// Takes the row off as the process ends, and closes the connection.
    pub(super) async fn close(&self) {
        drop(self.connection.lock().await.take());
    }
}

/// Reads the newest number, the log and the rows, in this order: what is read later shows no less.
async fn news(connection: &Connection, applied: Seq) -> Result<News> {
    let (head, revocations, replicas) = try_join3(
        connection.query("SELECT seq FROM coherence", &[]),
        connection.query(
            "SELECT seq, sessions, users FROM revocations WHERE seq > $1 ORDER BY seq LIMIT $2",
            &[&applied, &MOST],
        ),
        connection.query("SELECT id, beat, applied FROM replicas", &[]),
    )
    .await?;
    let lost = || StoreError::Inconsistent(String::from("the table coherence is empty"));
    Ok(News {
        head: Columns::of(head.first().ok_or_else(lost)?).next()?,
        revocations: revocations.iter().map(columns::revocation).collect::<Result<_>>()?,
        replicas: replicas.iter().map(columns::replica).collect::<Result<_>>()?,
    })
}

#[async_trait]
impl Replicas for Membership {
    async fn join(&self, id: ReplicaId) -> Result<Seq> {
        self.on_connection(async |connection| {
            let rows = connection
                .query(
                    "INSERT INTO replicas (id, beat, applied) SELECT $1, 0, seq FROM coherence RETURNING applied",
                    &[&id],
                )
                .await?;
            let lost = || StoreError::Inconsistent(String::from("the table coherence is empty"));
            Columns::of(rows.first().ok_or_else(lost)?).next()
        })
        .await
    }

    async fn beat(&self, id: ReplicaId, applied: Seq) -> Result<Option<News>> {
        self.on_connection(async |connection| {
            let beat = "UPDATE replicas SET beat = beat + 1, applied = $2 WHERE id = $1";
            connection.prepared(beat).await?;
            // Sent behind one another, done one after the other: what is read is read after the beat is durable.
            let (beaten, news) =
                futures_util::future::try_join(connection.execute(beat, &[&id, &applied]), news(connection, applied))
                    .await?;
            Ok((beaten == 1).then_some(news))
        })
        .await
    }

    async fn news(&self, applied: Seq) -> Result<News> {
        self.on_connection(async |connection| news(connection, applied).await).await
    }

    async fn acknowledge(&self, id: ReplicaId, applied: Seq) -> Result<()> {
        // Not waiting for the disk: a crash that forgets it only makes somebody wait longer.
        let sql = "UPDATE replicas SET applied = $2
             WHERE id = $1 AND applied < $2 AND set_config('synchronous_commit', 'off', true) = 'off'";
        self.run(sql, &[&id, &applied]).await.map(drop)
    }

    async fn reap(&self, replica: Replica) -> Result<()> {
        let Replica { id, beat, applied: _ } = replica;
        self.run("DELETE FROM replicas WHERE id = $1 AND beat = $2", &[&id, &beat]).await.map(drop)
    }

    async fn leave(&self, id: ReplicaId) -> Result<()> {
        self.run("DELETE FROM replicas WHERE id = $1", &[&id]).await.map(drop)
    }

    async fn hint(&self) {
        self.heard.notified().await;
    }
}
