//! The embedded store: one SQLite file, one task that writes, a few readers beside it.
//!
//! `paths` names the files, `owners` finds which other users may change them, `files` makes and watches them, and `lock`
//! keeps a second server off them. `wal` makes room for the write-ahead log, `connection` opens the file, `mark` is the
//! mark in its header, `migrate` makes its tables, and `checkpoint` folds the write-ahead log into it. `readers` answer
//! what changes nothing. `revocations` is the log of what ended, with an entry in which a `transaction` ends; `operations` are
//! what happens in one, and `logouts` is a batch of logouts. `users` and `second_factors` look them up, `lookups` are
//! those of checks, `ahead` reads what they will ask for, and `stretches` are lists over all users. The `writer` commits what is queued together, and `import` makes many users beside it. `copy` reads the whole file, and `backup` saves and
//! restores it. `start` is about the first connection. Each of these imports only from those named before it.

mod ahead;
mod backup;
mod checkpoint;
mod connection;
mod copy;
mod files;
mod import;
mod lock;
mod logouts;
mod lookups;
mod mark;
mod migrate;
mod operations;
mod owners;
mod paths;
mod readers;
mod revocations;
mod second_factors;
mod start;
mod stretches;
mod transaction;
mod users;
mod wal;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::future::join;

pub(super) use self::backup::{backup, restore};
use self::connection::failed;
pub(super) use self::copy::Source as CopySource;
pub(super) use self::files::warnings;
use self::files::{Files, make_private};
use self::lock::{Note, ServeLock};
use self::operations::accounts::{AddUser, ChangePassword, DeleteUser, EditUser};
use self::operations::second_factors::{AddPendingLogin, ChangeSecondFactor};
use self::operations::sessions::{Purge, PurgeEvents, Revoke, RevokeSelected, Touch};
use self::operations::throttles::{Book, GiveBack, Lift, PurgeThrottles, TallyRow, listed};
use self::operations::{Beat, KeepSecret, MarkInUse};
pub(super) use self::paths::is_missing;
use self::paths::{LOCK, beside, may_make_log, unreachable_file};
use self::readers::{Readers, in_time};
use self::writer::{Writer, WriterParts};
use super::lookups::Lookups;
use super::opening::{ConnectError, Opening, Role};
use super::rows::{ListedRow, ReplicaRow, Secret};
use super::{
    Added, Addition, Ahead, Booked, Changed, Clash, Created, Deleted, Edited, Enrolment, EventFilter, EventNumber,
    EventPurge, EventStretch, EventsPurged, ExportedUser, Factor, FactorChange, FactorChanged, Import, Listing, Logout,
    Lookup, NewSession, PasswordChange, PendingLogin, Replica, Replicas, Reseal, Resealed, Result, Revoked, SecretsOf,
    Selected, SelectedEnd, SessionStretch, Store, StoreError, Target,
};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::entropy::{Entropy, NoEntropy};
use crate::domain::event::Event;
use crate::domain::id::{ReplicaId, SessionId, UserId};
use crate::domain::password::PasswordHash;
use crate::domain::revocation::Reason;
use crate::domain::second_factor::sealed::{KeyId, RecoveryHash, SealedSecret};
use crate::domain::session::Seen;
use crate::domain::text::LoginName;
use crate::domain::throttle::{Counter, Tally, ThrottleKey};
use crate::domain::token::{TokenHash, TokenKey};
use crate::domain::user::{Account, Credentials, User, UserEdit};
use crate::telemetry::{Standbys, StoreMetrics, StoreUse};

/// The most reads at a time, and the most of them that look tokens up.
const READS: u32 = 4;
const LOOKUPS: usize = 2;
/// How many KiB of the file a connection that reads keeps, and the one that reads ahead: its users lie anywhere, and it is
/// closed once the cache is warm.
const READ_CACHE: u32 = 2000;
const AHEAD_CACHE: u32 = 16_384;

/// The store in one file.
pub(super) struct Sqlite {
    path: PathBuf,
    writer: Writer,
    readers: Readers,
    lookups: Arc<Lookups>,
    ahead: Arc<ahead::Reader>,
    token_key: TokenKey,
    clock: Arc<dyn Clock>,
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
        metrics: Arc<StoreMetrics>,
        opening: &Opening,
    ) -> std::result::Result<Self, ConnectError> {
        start::refuse_remains(&path)?;
        let path = make_private(&path)?;
        may_make_log(&path)?;
        let (sink, lock) = match role {
            Role::Serve(sink) => (Some(sink), Some(ServeLock::take(&path).await?)),
            Role::Command => (None, None),
        };
        let no_entropy = |error: NoEntropy| StoreError::unreachable(error.to_string());
        let mut fresh_key = [0; 32];
        entropy.fill(&mut fresh_key).map_err(no_entropy)?;
        let replica = ReplicaId::random(entropy).map_err(no_entropy)?;
        let lock_file = lock.as_ref().map(|_| beside(&path, LOCK));
        let watched: Vec<_> = [Some(&path), lock_file.as_ref()].into_iter().flatten().map(PathBuf::as_path).collect();
        let files = Arc::new(Files::remember(&watched)?);
        let parts = WriterParts {
            path: path.clone(),
            files: Arc::clone(&files),
            replica,
            clock: Arc::clone(&clock),
            sink,
            metrics: Arc::clone(&metrics),
        };
        let start::Started { writer, token_key, used } = start::prepare(parts, fresh_key, opening).await?;
        if lock.is_some() {
            import::remove_unfinished(&path).await?;
        }
        let readers = Readers::new(path.clone(), Arc::clone(&files), READS, READ_CACHE);
        let lookups = Arc::new(Lookups::start(LOOKUPS, metrics, {
            let readers = readers.clone();
            move |tokens| {
                let readers = readers.clone();
                async move { lookups::find(&readers, tokens).await }
            }
        }));
        let ahead =
            Arc::new(ahead::Reader::new(Readers::new(path.clone(), files, 1, AHEAD_CACHE), Arc::clone(&lookups)));
        let this =
            Self { path, writer, readers, lookups, ahead, token_key, clock, lock, noted: AtomicBool::new(false) };
        if used {
            this.note(Note::InUse)?;
        }
        Ok(this)
    }

    /// Records something about the database in the lock's file, if this process holds the lock.
    fn note(&self, note: Note) -> Result<()> {
        let Some(lock) = &self.lock else { return Ok(()) };
        lock.note(note).map_err(|error| unreachable_file(&self.path, &error))?;
        self.noted.store(note == Note::InUse, Ordering::Release);
        Ok(())
    }

    /// Before the first user of a served database: writes into the file itself that it was in use, so that a copy of the
    /// file without its log does not pass for a new database.
    async fn begin_use(&self) -> Result<()> {
        self.note(Note::Beginning)?;
        self.writer.commit(MarkInUse).await?;
        checkpoint::checkpoint(&self.path).await.map_err(failed)
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn token_key(&self) -> Result<TokenKey> {
        Ok(self.token_key.clone())
    }

    async fn secret(&self, name: &'static str) -> Result<Option<[u8; 32]>> {
        let secret = sqlx::query_as("SELECT value FROM secrets WHERE name = ?1").bind(name);
        Ok(self.readers.one(secret).await?.map(|(Secret(value),)| value))
    }

    async fn keep_secret(&self, name: &'static str, value: [u8; 32]) -> Result<()> {
        self.writer.commit(KeepSecret { name, value }).await
    }

    async fn credentials(&self, name: &LoginName) -> Result<Option<Credentials>> {
        users::credentials(&self.readers, name).await
    }

    async fn credentials_of(&self, user: UserId) -> Result<Option<Credentials>> {
        users::credentials_of(&self.readers, user).await
    }

    async fn lookup(&self, token: &TokenHash) -> Result<Lookup> {
        in_time(self.lookups.ask(*token)).await
    }

    async fn sessions(&self, user: UserId, now: Timestamp) -> Result<Listing> {
        // The left join answers with the log's newest number even when no session is left.
        let listed = sqlx::query_as(
            "SELECT head.seq AS head,
                 s.id, s.user_id, s.created_at, s.last_seen_at, s.idle_expires_at, s.expires_at,
                 s.remembered, s.ip, s.user_agent, s.host
             FROM (SELECT coalesce(max(seq), 0) AS seq FROM revocations) AS head
             LEFT JOIN sessions AS s ON s.user_id = ?1 AND s.archived = 0 AND s.revoked_at IS NULL
                 AND s.idle_expires_at > ?2 AND s.expires_at > ?2
             ORDER BY s.created_at DESC, s.number DESC",
        );
        let rows: Vec<ListedRow> = self.readers.all(listed.bind(user).bind(now)).await?;
        let seq = rows.first().map(|row| row.head).unwrap_or_default();
        Ok(Listing { sessions: rows.into_iter().filter_map(|row| row.session).collect(), seq })
    }

    async fn has_users(&self) -> Result<bool> {
        users::has_users(&self.readers).await
    }

    async fn has_administrator(&self) -> Result<bool> {
        users::has_administrator(&self.readers).await
    }

    async fn users(&self) -> Result<Vec<User>> {
        users::users(&self.readers).await
    }

    async fn account(&self, user: UserId) -> Result<Option<Account>> {
        users::account(&self.readers, user).await
    }

    async fn accounts(&self, after: Option<(Timestamp, UserId)>, limit: u32) -> Result<Vec<Account>> {
        users::accounts(&self.readers, after, limit).await
    }

    async fn add_user(&self, addition: Addition, reason: Reason) -> Result<Added> {
        let first = self.lock.is_some() && !self.noted.load(Ordering::Acquire);
        if first {
            self.begin_use().await?;
        }
        let added = self.writer.commit(AddUser { addition, reason }).await?;
        if first {
            self.note(Note::InUse)?;
        }
        Ok(added)
    }

    async fn import_users(&self, import: Import) -> Result<Vec<Clash>> {
        import::import(&self.path, &*self.clock, &import).await
    }

    async fn users_to_export(&self, after: Option<UserId>, limit: u32) -> Result<Vec<ExportedUser>> {
        users::to_export(&self.readers, after, limit).await
    }

    async fn foreign_hash(&self, from: &str) -> Result<Option<PasswordHash>> {
        users::foreign_hash(&self.readers, from).await
    }

    async fn create_session(&self, new: NewSession) -> Result<Created> {
        self.writer.commit(new).await
    }

    async fn logout(&self, logout: Logout) -> Result<Revoked> {
        self.writer.log_out(logout).await
    }

    async fn revoke(&self, target: Target, reason: Reason) -> Result<Changed> {
        self.writer.commit(Revoke { target, reason }).await
    }

    async fn change_password(&self, change: PasswordChange, reason: Reason) -> Result<Changed> {
        self.writer.commit(ChangePassword { change, reason }).await
    }

    async fn edit_user(&self, user: UserId, edit: UserEdit, lifts: Vec<ThrottleKey>, reason: Reason) -> Result<Edited> {
        self.writer.commit(EditUser { user, edit, lifts, reason }).await
    }

    async fn delete_user(&self, user: UserId, reason: Reason) -> Result<Deleted> {
        self.writer.commit(DeleteUser { user, reason }).await
    }

    async fn revoke_selected(&self, selected: Selected, reason: Reason) -> Result<SelectedEnd> {
        self.writer.commit(RevokeSelected { selected, reason }).await
    }

    async fn live_session(&self, session: SessionId, now: Timestamp) -> Result<SessionStretch> {
        stretches::session(&self.readers, session, now).await
    }

    async fn session_stretch(&self, before: Option<i64>, rows: u32, now: Timestamp) -> Result<SessionStretch> {
        stretches::sessions(&self.readers, before, rows, now).await
    }

    async fn event_stretch(
        &self,
        filter: &EventFilter,
        before: Option<EventNumber>,
        rows: u32,
        most: usize,
    ) -> Result<EventStretch> {
        stretches::events(&self.readers, filter, before, rows, most).await
    }

    async fn second_factor(&self, user: UserId) -> Result<Option<Factor>> {
        second_factors::in_force(&self.readers, user).await
    }

    async fn enrolment(&self, user: UserId) -> Result<Option<Enrolment>> {
        second_factors::enrolment(&self.readers, user).await
    }

    async fn second_factor_keys(&self) -> Result<Vec<KeyId>> {
        second_factors::keys(&self.readers).await
    }

    async fn pending_login(&self, token: &TokenHash) -> Result<Option<PendingLogin>> {
        second_factors::pending_login(&self.readers, token).await
    }

    async fn sealed_secrets(
        &self,
        of: SecretsOf,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<(UserId, SealedSecret)>> {
        second_factors::secrets(&self.readers, of, after, limit).await
    }

    async fn recovery_hashes(&self, after: Option<RecoveryHash>, limit: u32) -> Result<Vec<(UserId, RecoveryHash)>> {
        second_factors::recovery_hashes(&self.readers, after, limit).await
    }

    async fn reseal(&self, reseal: Reseal) -> Result<Resealed> {
        self.writer.commit(reseal).await
    }

    async fn change_second_factor(&self, change: FactorChange, reason: Reason) -> Result<FactorChanged> {
        self.writer.commit(ChangeSecondFactor { change, reason }).await
    }

    async fn add_pending_login(&self, token: TokenHash, login: PendingLogin) -> Result<()> {
        self.writer.commit(AddPendingLogin { token, login }).await
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

    async fn purge_events(&self, purge: EventPurge) -> Result<EventsPurged> {
        self.writer.commit(PurgeEvents(purge)).await
    }

    async fn waiting(&self, counters: &[Counter], now: Timestamp) -> Result<Option<Timestamp>> {
        let waiting = sqlx::query_as(
            "SELECT max(until) FROM throttles
             WHERE key IN (SELECT unhex(value) FROM json_each(?1)) AND until > ?2 AND counted IN (0, 1, 2, 5)",
        );
        let keys = listed(counters.iter().map(|counter| counter.key)).map_err(failed)?;
        Ok(self.readers.one(waiting.bind(keys).bind(now)).await?.and_then(|(until,)| until))
    }

    async fn book(&self, counters: Vec<Counter>) -> Result<Booked> {
        self.writer.commit(Book(counters)).await
    }

    async fn give_back(&self, counters: Vec<Counter>, at: Timestamp) -> Result<()> {
        self.writer.commit(GiveBack { counters, at }).await
    }

    async fn longest_wait(&self, keys: &[ThrottleKey], now: Timestamp) -> Result<Option<Tally>> {
        let longest = sqlx::query_as(
            "SELECT key, failures, until, forget_at FROM throttles
             WHERE key IN (SELECT unhex(value) FROM json_each(?1)) AND until > ?2 ORDER BY until DESC LIMIT 1",
        );
        let longest: Option<TallyRow> = self.readers.one(longest.bind(listed(keys).map_err(failed)?).bind(now)).await?;
        Ok(longest.map(|row| row.into_parts().1))
    }

    async fn lift(&self, about: Vec<ThrottleKey>, event: Event) -> Result<bool> {
        self.writer.commit(Lift { about, event }).await
    }

    async fn surplus_throttles(&self, most: u32) -> Result<Option<Timestamp>> {
        let surplus = sqlx::query_as(
            "SELECT forget_at FROM throttles WHERE counted NOT IN (3, 5) ORDER BY forget_at DESC LIMIT 1 OFFSET ?1",
        );
        Ok(self.readers.one(surplus.bind(most)).await?.map(|(forget_at,)| forget_at))
    }

    async fn purge_throttles(&self, before: Timestamp, limit: u32) -> Result<u64> {
        self.writer.commit(PurgeThrottles { before, limit }).await
    }

    async fn ping(&self) -> Result<()> {
        // A query of a table: SQLite answers one of constants without a look at the file. And a commit, since nothing less
        // shows that the writer lives, may write, and has a disk that takes it.
        self.lookups.check()?;
        // Neither is cancelled where the other fails: a read that is cancelled closes its connection.
        let (read, committed) = join(self.has_users(), self.writer.commit(Beat)).await;
        committed.and(read.map(drop))
    }

    fn in_use(&self) -> StoreUse {
        let (reads, oldest_read) = self.readers.in_use();
        StoreUse { pools: vec![reads], oldest_read, wal_bytes: Some(wal::size(&self.path)) }
    }

    async fn standbys(&self) -> Result<Option<Standbys>> {
        Ok(None)
    }

    async fn is_served(&self) -> Result<bool> {
        Ok(self.lock.is_some() || ServeLock::held(&self.path)?)
    }

    async fn replicas(&self) -> Result<Vec<Replica>> {
        let rows = sqlx::query_as("SELECT id, beat, applied, caching FROM replicas");
        let rows: Vec<ReplicaRow> = self.readers.all(rows).await?;
        Ok(rows.into_iter().map(Replica::from).collect())
    }

    fn shared(&self) -> Option<Arc<dyn Replicas>> {
        None
    }

    fn ahead(&self) -> Arc<dyn Ahead> {
        Arc::clone(&self.ahead) as Arc<dyn Ahead>
    }

    async fn close(&self) {
        self.lookups.close().await;
        self.ahead.end().await;
        // The writer is closed last, so that it can fold the log into the file.
        self.readers.close().await;
        self.writer.close().await;
    }
}
