//! The rows of the processes that serve, and the log, on a connection of their own that listens for hints.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{FromRow, Postgres, query, query_as};
use tokio::sync::{Mutex, Notify};

use super::super::{MadeDurable, News, Replica, Replicas, Result, StoreError};
use super::change::{NO_HEAD, Time};
use super::connection::Connection;
use super::deadline::with_deadline_of;
use super::gate::Gate;
use super::pool::Pool;
use super::sessions;
use crate::domain::clock::Timestamp;
use crate::domain::id::{ReplicaId, UserId};
use crate::domain::revocation::{Revocation, Seq};
use crate::domain::session::Seen;
use crate::domain::token::TokenHash;

/// The most entries of the log in one answer.
const MOST: i64 = 1024;

/// See [`Replicas`].
pub(super) struct Membership {
    gate: Arc<Gate>,
    /// They are emptied when another server has taken over.
    readers: Arc<Pool>,
    writers: Arc<Pool>,
    ahead: Arc<Pool>,
    time: Time,
    /// How long a beat may take, and whatever else is asked here.
    deadline: Duration,
    /// The newest timeline that was seen.
    timeline: AtomicU32,
    open: Mutex<Option<Listener>>,
    /// Whether others are to be trusted than when it was opened.
    outdated: AtomicBool,
    /// Notified when something may have been published.
    published: Notify,
    /// Notified when the connection is needed to ask something.
    needed: Notify,
}

/// A connection that listens, and the timeline it is on: a server that takes over is another, and begins a new one.
struct Listener {
    connection: Connection,
    timeline: u32,
}

impl Listener {
    async fn open(gate: &Arc<Gate>) -> Result<Self> {
        const NO_TIMELINE: &str = "the timeline of the database cannot be read";
        // One that has just proved which of the hosts is the primary. There is a use for it afterwards.
        let proven = gate.open().await?;
        let mut connection = proven.listening(&gate.address).await?;
        gate.keep(proven);
        let timeline = query_as("SELECT left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)");
        let (timeline,): (String,) = connection.one(timeline, NO_TIMELINE).await?;
        let timeline = u32::from_str_radix(&timeline, 16).map_err(|_| StoreError::inconsistent(NO_TIMELINE))?;
        if gate.address.was_succeeded(timeline) {
            return Err(StoreError::unreachable("another server has taken over meanwhile"));
        }
        Ok(Self { connection, timeline })
    }
}

impl Membership {
    /// Opens nothing yet.
    pub(super) fn new(gate: Arc<Gate>, [readers, writers, ahead]: [Arc<Pool>; 3], time: Time, lease: Duration) -> Self {
        let (published, needed) = (Notify::new(), Notify::new());
        // What is answered later would find half of the lease that it is about over.
        let (deadline, timeline, open) = (lease / 2, AtomicU32::new(0), Mutex::default());
        let outdated = AtomicBool::default();
        Self { gate, readers, writers, ahead, time, deadline, timeline, open, outdated, published, needed }
    }

    /// Runs `work` on the connection, which is opened where there is none, and closed if `work` fails or is late.
    async fn on<T>(&self, work: impl AsyncFnOnce(&mut Listener) -> Result<T>) -> Result<T> {
        with_deadline_of(self.deadline, async {
            self.needed.notify_one();
            let mut slot = self.open.lock().await;
            let outdated = self.outdated.swap(false, Ordering::AcqRel);
            let mut listener = match slot.take() {
                Some(listener) if !outdated && !listener.connection.is_old() => listener,
                Some(_) => {
                    // What is between here and the database may have changed in all that time.
                    self.gate.distrust_poolers();
                    self.opened().await?
                }
                None => self.opened().await?,
            };
            let done = work(&mut listener).await?;
            if listener.connection.was_published() {
                self.published.notify_one();
            }
            *slot = Some(listener);
            Ok(done)
        })
        .await
    }

    async fn opened(&self) -> Result<Listener> {
        let listener = Listener::open(&self.gate).await?;
        let before = self.timeline.swap(listener.timeline, Ordering::AcqRel);
        if before != 0 && before != listener.timeline {
            self.forget();
        }
        // Something may have been published before it listened.
        self.published.notify_one();
        Ok(listener)
    }

    /// Closes all connections, and this one when it is next used: others are to be trusted.
    pub(super) fn renew(&self) {
        self.forget();
        self.outdated.store(true, Ordering::Release);
    }

    /// Closes all other connections: another server is the primary now, or the one that there was has stopped.
    pub(super) fn forget(&self) {
        self.gate.forget();
        self.readers.forget();
        self.writers.forget();
        self.ahead.forget();
    }

    async fn execute(&self, query: Query<'static, Postgres, PgArguments>) -> Result<u64> {
        self.on(async |listener| listener.connection.execute(query).await).await
    }

    /// Waits until something is published, for as long as nothing else has to be asked on the connection.
    async fn listen(&self) {
        loop {
            let mut slot = self.open.lock().await;
            let Some(listener) = slot.as_mut() else {
                drop(slot);
                // Opening one notifies `published`.
                return pending().await;
            };
            tokio::select! {
                biased;
                () = self.needed.notified() => {}
                listens = listener.connection.published() => {
                    if !listens {
                        *slot = None;
                        self.forget();
                    }
                    return;
                }
            }
        }
    }

    /// Closes the connection.
    pub(super) async fn close(&self) {
        self.needed.notify_one();
        drop(self.open.lock().await.take());
    }
}

/// The newest number and an entry of the log, or a replica's row.
#[derive(FromRow)]
struct Line {
    head: Option<Seq>,
    seq: Option<Seq>,
    sessions: Option<Vec<TokenHash>>,
    users: Option<Vec<UserId>>,
    flush: Option<Vec<TokenHash>>,
    id: Option<ReplicaId>,
    beat: Option<i64>,
    applied: Option<Seq>,
    caching: Option<bool>,
}

/// Reads the newest number, the log and the rows as of one moment.
async fn news(Listener { connection, timeline }: &mut Listener, applied: Seq) -> Result<News> {
    let lines = query_as(
        "SELECT head.seq AS head, entry.seq, entry.sessions, entry.users, entry.flush,
             NULL AS id, NULL::bigint AS beat, NULL::bigint AS applied, NULL::boolean AS caching
         FROM coherence AS head LEFT JOIN
             (SELECT seq, sessions, users, flush FROM revocations WHERE seq > $1 ORDER BY seq LIMIT $2) AS entry ON true
         UNION ALL
         SELECT NULL, NULL, NULL, NULL, NULL, id, beat, applied, caching FROM replicas",
    );
    let lines: Vec<Line> = connection.rows(lines.bind(applied).bind(MOST)).await?;
    let head = lines.iter().find_map(|line| line.head).ok_or_else(|| StoreError::inconsistent(NO_HEAD))?;
    let mut news = News { timeline: *timeline, head, revocations: Vec::new(), replicas: Vec::new() };
    for Line { head: _, seq, sessions, users, flush, id, beat, applied, caching } in lines {
        if let (Some(seq), Some(sessions), Some(users), Some(flush)) = (seq, sessions, users, flush) {
            news.revocations.push(Revocation { seq, sessions, users, flush });
        }
        if let (Some(id), Some(beat), Some(applied), Some(caching)) = (id, beat, applied, caching) {
            news.replicas.push(Replica { id, beat, applied, caching });
        }
    }
    news.revocations.sort_unstable_by_key(|entry| entry.seq);
    Ok(news)
}

#[async_trait]
impl Replicas for Membership {
    async fn register(&self, id: ReplicaId, caching: bool) -> Result<Seq> {
        let insert = query_as(
            "INSERT INTO replicas (id, beat, applied, caching) SELECT $1, 0, seq, $2 FROM coherence
             ON CONFLICT (id) DO UPDATE SET beat = replicas.beat + 1, applied = excluded.applied
             RETURNING applied",
        );
        let insert = insert.bind(id).bind(caching);
        let (applied,) = self.on(async |listener| listener.connection.one(insert, NO_HEAD).await).await?;
        Ok(applied)
    }

    async fn beat(&self, id: ReplicaId, applied: Seq) -> Result<Option<News>> {
        let beat = query("UPDATE replicas SET beat = beat + 1, applied = $2 WHERE id = $1").bind(id).bind(applied);
        self.on(async |listener| {
            // What is read is read after the beat is durable.
            if listener.connection.execute(beat).await? == 0 {
                return Ok(None);
            }
            news(listener, applied).await.map(Some)
        })
        .await
    }

    async fn news(&self, applied: Seq) -> Result<News> {
        self.on(async |listener| news(listener, applied).await).await
    }

    async fn acknowledge(&self, id: ReplicaId, applied: Seq) -> Result<()> {
        // Without waiting for the disk: if a crash forgets it, a logout only waits longer.
        let update = query(
            "UPDATE replicas SET applied = $2
             WHERE id = $1 AND applied < $2 AND set_config('synchronous_commit', 'off', true) = 'off'",
        );
        self.execute(update.bind(id).bind(applied)).await.map(drop)
    }

    async fn touch(&self, seen: Vec<Seen>) -> Result<Vec<(TokenHash, Timestamp)>> {
        sessions::touch(&self.writers, &self.time, &seen).await
    }

    async fn make_durable(&self, seq: Seq) -> Result<MadeDurable> {
        // A commit of nothing but a record in the log of PostgreSQL, behind those of all that can be read.
        let commit = query_as(
            "SELECT pg_logical_emit_message(true, 'sessiond', '') IS NOT NULL
                 AND EXISTS (SELECT FROM revocations WHERE seq = $1)",
        );
        self.writers
            .with(async |connection| {
                let (has_entry,) = connection.one(commit.bind(seq), "a statement returned nothing").await?;
                Ok(MadeDurable { timeline: connection.timeline(), has_entry })
            })
            .await
    }

    async fn reap(&self, replica: Replica) -> Result<()> {
        let Replica { id, beat, .. } = replica;
        self.execute(query("DELETE FROM replicas WHERE id = $1 AND beat = $2").bind(id).bind(beat)).await.map(drop)
    }

    async fn deregister(&self, id: ReplicaId) -> Result<()> {
        self.execute(query("DELETE FROM replicas WHERE id = $1").bind(id)).await.map(drop)
    }

    async fn hint(&self) {
        tokio::select! {
            () = self.published.notified() => {}
            () = self.listen() => {}
        }
    }
}
