//! The embedded store: one SQLite file, one thread that writes, a few readers beside it.
//!
//! `files` makes the file and watches it, `owners` says who else may change it, `lock` keeps a second server off it, `connection` opens it and `migrate` makes
//! its tables. `writer` commits what
//! is queued together: a `batch` of `operations`, which ends with an entry in `revocations`. `readers` answer the rest,
//! and `columns` says what rows mean. `log` and `checkpoint` keep the write-ahead log quick. `copy` reads
//! all of it, `backup` saves it and brings it back, and `mark` is what the file says of itself.

mod backup;
mod batch;
mod checkpoint;
mod columns;
mod connection;
mod copy;
mod files;
mod lock;
mod log;
mod mark;
mod migrate;
mod operations;
mod owners;
mod readers;
mod revocations;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::future::try_join;
use rusqlite::Connection;

pub(super) use self::backup::{backup, restore};
use self::connection::failed;
pub(super) use self::copy::Source as CopySource;
pub(super) use self::files::warnings;
use self::files::{Files, beside, make_private};
use self::lock::{Note, ServeLock};
use self::mark::Mark;
use self::operations::accounts::{AddUser, ChangePassword, SetDisabled};
use self::operations::sessions::{Purge, PurgeEvents, Revoke, Touch};
use self::operations::{Beat, KeepSecret, MarkInUse};
use self::readers::Readers;
use self::writer::{Surroundings, Writer};
use super::connect::{ConnectError, Role};
use super::opening::{Opening, Stage};
use super::{
    Added, Changed, Created, Listing, Logout, Lookup, NewSession, PasswordChange, Replica, Replicas, Result, Revoked,
    Store, StoreError, Target,
};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::entropy::{Entropy, NoEntropy};
use crate::domain::event::{Actor, Event};
use crate::domain::id::{ReplicaId, UserId};
use crate::domain::password::PasswordHash;
use crate::domain::revocation::{Reason, Seq};
use crate::domain::session::Seen;
use crate::domain::text::LoginName;
use crate::domain::token::{TokenHash, TokenKey};
use crate::domain::user::{Credentials, NewUser, User};

/// The store in one file.
pub(super) struct Sqlite {
    path: PathBuf,
    writer: Writer,
    readers: Readers,
    token_key: TokenKey,
    /// Held while serving; the operating system lets go of it however the process ends.
    lock: Option<ServeLock>,
    /// Whether the lock says that the database has users.
    noted: AtomicBool,
}

impl Sqlite {
    /// Opens or makes the file, migrates it, and starts the writer.
    pub(super) async fn open(
        path: PathBuf,
        role: Role,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
        opening: &Opening,
    ) -> std::result::Result<Self, ConnectError> {
        refuse_remains(&path)?;
        let path = make_private(&path)?;
        let (sink, lock) = match role {
            Role::Serve(sink) => (Some(sink), Some(ServeLock::take(&path).await?)),
            Role::Command => (None, None),
        };
        let no_entropy = |error: NoEntropy| StoreError::unreachable(error.to_string());
        let mut fresh_key = [0; 32];
        entropy.fill(&mut fresh_key).map_err(no_entropy)?;
        let replica = ReplicaId::random(entropy).map_err(no_entropy)?;
        let lock_file = lock.as_ref().map(|_| beside(&path, lock::ENDING));
        let watched: Vec<_> = [Some(&path), lock_file.as_ref()].into_iter().flatten().map(PathBuf::as_path).collect();
        let files = Arc::new(Files::remember(&watched)?);
        let around = Surroundings { path: path.clone(), files: Arc::clone(&files), replica, clock, sink };
        let opening = opening.clone();
        // Once, so one thread at most.
        let started = tokio::task::spawn_blocking(move || start(around, fresh_key, &opening)).await;
        let Started { writer, token_key, used } =
            started.map_err(|error| StoreError::unreachable(error.to_string()))??;
        let readers = Readers::new(path.clone(), files);
        let this = Self { path, writer, readers, token_key, lock, noted: AtomicBool::new(false) };
        if used {
            this.note(Note::InUse)?;
        }
        Ok(this)
    }

    /// Has the lock say something of the database, where this process holds it.
    fn note(&self, note: Note) -> Result<()> {
        let Some(lock) = &self.lock else { return Ok(()) };
        lock.note(note).map_err(|error| files::unreachable_file(&self.path, &error))?;
        self.noted.store(note == Note::InUse, Ordering::Release);
        Ok(())
    }

    /// Before the first user of a served database: writes into the file itself that it was in use, so that a copy of the
    /// file alone, without what its log holds, does not pass for a new database.
    async fn begin_use(&self) -> Result<()> {
        self.note(Note::Beginning)?;
        self.writer.commit(MarkInUse).await?;
        let path = self.path.clone();
        let folded = tokio::task::spawn_blocking(move || checkpoint::checkpoint(&path, &mut None)).await;
        folded.map_err(|error| StoreError::unreachable(error.to_string()))?.map_err(failed)
    }
}

/// Refuses to make a new database where the remains of another lie: its log, which SQLite would delete, or the note that
/// it had users.
fn refuse_remains(path: &Path) -> std::result::Result<(), ConnectError> {
    if path.metadata().is_ok_and(|found| found.len() > 0) {
        return Ok(());
    }
    let log = beside(path, "-wal");
    if log.metadata().is_ok_and(|found| found.len() > 0) {
        return Err(ConnectError::OlderLog(log));
    }
    if Note::of(path)? == Note::InUse {
        return Err(ConnectError::Emptied(path.to_owned()));
    }
    Ok(())
}

/// A store that was started.
struct Started {
    writer: Writer,
    token_key: TokenKey,
    /// Whether it has users.
    used: bool,
}

/// What of the start blocks.
fn start(around: Surroundings, fresh_key: [u8; 32], opening: &Opening) -> std::result::Result<Started, ConnectError> {
    backup::revive_in_place(&around.path, &*around.clock)?;
    let mut connection = connection::writer(&around.path)?;
    opening.is(Stage::Migrating);
    migrate::migrate(&mut connection)?;
    opening.is(Stage::Opening);
    let token_key = token_key(&connection, fresh_key).map_err(failed)?;
    // A command would make a first user as well as a server.
    let used = is_in_use(&connection, &around.path)?;
    if around.sink.is_some() {
        // Closing folds and removes the log there is; beside an empty database SQLite would remove the new one too.
        connection.close().map_err(|(_, error)| failed(error))?;
        log::make_room(&around.path);
        connection = connection::writer(&around.path)?;
    }
    Ok(Started { writer: Writer::start(around, connection)?, token_key, used })
}

/// Whether a database has users, which is written into it then. One that had some and has none is refused.
fn is_in_use(connection: &Connection, path: &Path) -> std::result::Result<bool, ConnectError> {
    let users = connection.query_row("SELECT EXISTS (SELECT 1 FROM users)", [], |row| row.get(0)).map_err(failed)?;
    let marked = Mark::inside(connection).map_err(failed)? == Mark::InUse;
    if users && !marked {
        connection.execute_batch(Mark::InUse.sql()).map_err(failed)?;
    }
    let note = Note::of(path)?;
    if !users && (note == Note::InUse || marked && note != Note::Beginning) {
        return Err(ConnectError::Emptied(path.to_owned()));
    }
    Ok(users)
}

/// The key in the file, which is `fresh` if there was none.
fn token_key(connection: &Connection, fresh: [u8; 32]) -> rusqlite::Result<TokenKey> {
    connection
        .execute("INSERT INTO secrets (name, value) VALUES ('token_key', ?1) ON CONFLICT (name) DO NOTHING", [fresh])?;
    connection.query_row("SELECT value FROM secrets WHERE name = 'token_key'", [], |row| row.get(0)).map(TokenKey::new)
}

#[async_trait]
impl Store for Sqlite {
    async fn token_key(&self) -> Result<TokenKey> {
        Ok(self.token_key.clone())
    }

    async fn secret(&self, name: &'static str) -> Result<Option<[u8; 32]>> {
        self.readers.read_one("SELECT value FROM secrets WHERE name = ?1", [name], |row| row.get(0)).await
    }

    async fn keep_secret(&self, name: &'static str, value: [u8; 32]) -> Result<()> {
        self.writer.commit(KeepSecret { name, value }).await
    }

    async fn credentials(&self, name: &LoginName) -> Result<Option<Credentials>> {
        let keys = match name.clone() {
            LoginName::Username(key) => (Some(key), None),
            LoginName::Email(key) => (None, Some(key)),
            LoginName::Impossible(_) => return Ok(None),
        };
        self.readers
            .read_one(
                "SELECT id, username, email, name, admin, disabled_at, created_at, updated_at, password_hash, auth_epoch
                 FROM users WHERE username_key = ?1 OR email_key = ?2",
                keys,
                columns::credentials,
            )
            .await
    }

    async fn credentials_of(&self, user: UserId) -> Result<Option<Credentials>> {
        self.readers
            .read_one(
                "SELECT id, username, email, name, admin, disabled_at, created_at, updated_at, password_hash, auth_epoch
                 FROM users WHERE id = ?1",
                [user],
                columns::credentials,
            )
            .await
    }

    async fn lookup(&self, token: &TokenHash) -> Result<Lookup> {
        let found = self
            .readers
            .read_one(
                "SELECT s.revoked_at, s.revoked_seq,
                     s.id, s.user_id, s.created_at, s.last_seen_at, s.idle_expires_at, s.expires_at,
                     s.remembered, s.ip, s.user_agent, s.host,
                     u.id, u.username, u.email, u.name, u.admin, u.disabled_at, u.created_at, u.updated_at
                 FROM sessions AS s JOIN users AS u ON u.id = s.user_id
                 WHERE s.token_hash = ?1",
                [*token],
                columns::lookup,
            )
            .await?;
        Ok(found.unwrap_or(Lookup::Missing))
    }

    async fn sessions(&self, user: UserId, now: Timestamp) -> Result<Listing> {
        self.readers
            .read(move |connection| {
                // The left join answers with the log's newest number even when no session is left.
                let mut statement = connection.prepare_cached(
                    "SELECT head.seq,
                         s.id, s.user_id, s.created_at, s.last_seen_at, s.idle_expires_at, s.expires_at,
                         s.remembered, s.ip, s.user_agent, s.host
                     FROM (SELECT coalesce(max(seq), 0) AS seq FROM revocations) AS head
                     LEFT JOIN sessions AS s ON s.user_id = ?1 AND s.archived = 0 AND s.revoked_at IS NULL
                         AND s.idle_expires_at > ?2 AND s.expires_at > ?2
                     ORDER BY s.created_at DESC, s.number DESC",
                )?;
                let mut listing = Listing { sessions: Vec::new(), seq: Seq::default() };
                for row in statement.query_map((user, now), columns::numbered_session)? {
                    let (seq, session) = row?;
                    listing.seq = seq;
                    listing.sessions.extend(session);
                }
                Ok(listing)
            })
            .await
    }

    async fn has_users(&self) -> Result<bool> {
        self.readers
            .read(|connection| {
                connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM users)")?.query_row([], |row| row.get(0))
            })
            .await
    }

    async fn users(&self) -> Result<Vec<User>> {
        self.readers
            .read(|connection| {
                connection
                    .prepare_cached(
                        "SELECT id, username, email, name, admin, disabled_at, created_at, updated_at
                         FROM users ORDER BY username_key",
                    )?
                    .query_map([], columns::user)?
                    .collect()
            })
            .await
    }

    async fn add_user(&self, id: UserId, user: NewUser, hash: PasswordHash, by: Actor) -> Result<Added> {
        let first = self.lock.is_some() && !self.noted.load(Ordering::Acquire);
        if first {
            self.begin_use().await?;
        }
        let added = self.writer.commit(AddUser { id, user, hash, by }).await?;
        if first {
            self.note(Note::InUse)?;
        }
        Ok(added)
    }

    async fn create_session(&self, new: NewSession) -> Result<Created> {
        self.writer.commit(new).await
    }

    async fn logout(&self, logout: Logout) -> Result<Revoked> {
        self.writer.commit(logout).await
    }

    async fn revoke(&self, target: Target, reason: Reason) -> Result<Changed> {
        self.writer.commit(Revoke { target, reason }).await
    }

    async fn change_password(&self, change: PasswordChange, reason: Reason) -> Result<Changed> {
        self.writer.commit(ChangePassword { change, reason }).await
    }

    async fn set_disabled(&self, user: UserId, disabled: bool, reason: Reason) -> Result<Option<Revoked>> {
        self.writer.commit(SetDisabled { user, disabled, reason }).await
    }

    async fn touch(&self, seen: Vec<Seen>) -> Result<Vec<(TokenHash, Timestamp)>> {
        self.writer.commit(Touch { seen }).await
    }

    async fn record(&self, events: Vec<Event>) -> Result<()> {
        self.writer.commit(events).await
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64> {
        self.writer.commit(Purge { before, limit }).await
    }

    async fn purge_events(&self, before: Timestamp, limit: u32) -> Result<u64> {
        self.writer.commit(PurgeEvents { before, limit }).await
    }

    async fn ping(&self) -> Result<()> {
        // A query of a table: SQLite answers one of constants without a look at the file. And a commit, since nothing less
        // shows that the writer lives, may write, and has a disk that takes it.
        try_join(self.has_users(), self.writer.commit(Beat)).await.map(drop)
    }

    async fn is_served(&self) -> Result<bool> {
        Ok(self.lock.is_some() || ServeLock::held(&self.path)?)
    }

    async fn replicas(&self) -> Result<Vec<Replica>> {
        self.readers
            .read(|connection| {
                let mut rows = connection.prepare_cached("SELECT id, beat, applied FROM replicas")?;
                rows.query_map([], columns::replica)?.collect()
            })
            .await
    }

    fn shared(&self) -> Option<Arc<dyn Replicas>> {
        None
    }

    async fn close(&self) {
        // The writer goes last, so that it can fold the log into the file.
        self.readers.close().await;
        self.writer.close().await;
    }
}
