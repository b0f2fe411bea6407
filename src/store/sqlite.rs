//! The embedded store: one SQLite file, one writer task, a few readers beside it.
//!
//! `lock` keeps a second server off the file; `writer` commits what is queued together; `logout` and `operations` are
//! what it commits; `log` and `checkpoint` keep the write-ahead log quick; `rows` turns rows into the domain's words.

mod checkpoint;
mod lock;
mod log;
mod logout;
mod operations;
mod rows;
mod writer;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use self::lock::ServeLock;
use self::operations::{AddUser, ChangePassword, CreateSession, Purge, Record, Revoke, SetDisabled, Touch};
use self::rows::{CredentialsRow, LookupRow, SessionRow, UserRow};
use self::writer::Writer;
use super::connect::{ConnectError, Role};
use super::{
    Added, Confirmed, Created, Listing, Logout, Lookup, NewSession, PasswordChange, Result, Revoked, Store, StoreError,
    Target,
};
use crate::domain::clock::Timestamp;
use crate::domain::entropy::Entropy;
use crate::domain::event::{Actor, Event};
use crate::domain::id::UserId;
use crate::domain::password::PasswordHash;
use crate::domain::revocation::{Reason, Seq};
use crate::domain::session::Seen;
use crate::domain::text::LoginName;
use crate::domain::token::{TokenHash, TokenKey};
use crate::domain::user::{Credentials, NewUser, User};

/// How long a statement waits for another process to let go of the file.
const BUSY: Duration = Duration::from_millis(800);
const READERS: u32 = 4;
/// How long a command waits for a running server to say that it has applied a change.
const CONFIRMATION: Duration = Duration::from_secs(2);

/// The store in one file.
pub(super) struct Sqlite {
    path: PathBuf,
    writer: Writer,
    readers: SqlitePool,
    token_key: TokenKey,
    /// Held while serving; the operating system lets go of it however the process ends.
    lock: Option<ServeLock>,
}

impl Sqlite {
    /// Opens or makes the file, migrates it, and starts the writer.
    pub(super) async fn open(
        path: PathBuf,
        role: Role,
        entropy: &dyn Entropy,
    ) -> std::result::Result<Self, ConnectError> {
        create_private(&path)?;
        let (sink, lock) = match role {
            Role::Serve(sink) => (Some(sink), Some(ServeLock::take(&path).await?)),
            Role::Command => (None, None),
        };
        if lock.is_some() {
            log::make_room(&path);
        }
        let mut connection = open_writer(&path).await?;
        let outdated = |error| StoreError::Inconsistent(format!("cannot migrate {}: {error}", path.display()));
        sqlx::migrate!("migrations/sqlite").run(&mut connection).await.map_err(outdated)?;
        let token_key = token_key(&mut connection, entropy).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(BUSY)
            .connect_lazy_with(options(&path).read_only(true).create_if_missing(false));
        let writer = Writer::start(path.clone(), connection, sink).await?;
        Ok(Self { path, writer, readers, token_key, lock })
    }

    async fn sessions_and_head(&self, user: &str, now: i64) -> sqlx::Result<Listing> {
        // The left join answers with the log's newest number even when no session is left.
        let rows = sqlx::query!(
            r#"SELECT head.seq AS "seq!: i64", s.id AS "id?", s.user_id AS "user_id?", s.created_at AS "created_at?",
                   s.last_seen_at AS "last_seen_at?", s.idle_expires_at AS "idle_expires_at?",
                   s.expires_at AS "expires_at?", s.remembered AS "remembered?", s.ip AS "ip?",
                   s.user_agent AS "user_agent?", s.host AS "host?"
               FROM (SELECT coalesce(max(seq), 0) AS seq FROM revocations) AS head
               LEFT JOIN sessions AS s ON s.user_id = ?1 AND s.buried = 0 AND s.revoked_at IS NULL
                   AND s.idle_expires_at > ?2 AND s.expires_at > ?2
               ORDER BY s.created_at DESC, s.number DESC"#,
            user,
            now
        )
        .fetch_all(&self.readers)
        .await?;
        let mut listing = Listing { sessions: Vec::with_capacity(rows.len()), seq: Seq::default() };
        for row in rows {
            listing.seq = Seq(row.seq);
            let (Some(id), Some(user_id)) = (row.id, row.user_id) else { continue };
            let session = SessionRow {
                id,
                user_id,
                created_at: row.created_at.unwrap_or_default(),
                last_seen_at: row.last_seen_at.unwrap_or_default(),
                idle_expires_at: row.idle_expires_at.unwrap_or_default(),
                expires_at: row.expires_at.unwrap_or_default(),
                remembered: row.remembered.unwrap_or_default(),
                ip: row.ip.unwrap_or_default(),
                user_agent: row.user_agent.unwrap_or_default(),
                host: row.host.unwrap_or_default(),
            };
            listing.sessions.push(session.try_into().map_err(|error| sqlx::Error::Decode(Box::new(error)))?);
        }
        Ok(listing)
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn token_key(&self) -> Result<TokenKey> {
        Ok(self.token_key.clone())
    }

    async fn credentials(&self, name: &LoginName) -> Result<Option<Credentials>> {
        let (username, email) = match name {
            LoginName::Username(key) => (Some(key), None),
            LoginName::Email(key) => (None, Some(key)),
        };
        let row = sqlx::query_as!(
            CredentialsRow,
            "SELECT id, username, email, name, admin, disabled_at, created_at, updated_at, password_hash, auth_epoch
             FROM users WHERE username_key = ?1 OR email_key = ?2",
            username,
            email
        )
        .fetch_optional(&self.readers)
        .await
        .map_err(failed)?;
        row.map(TryInto::try_into).transpose()
    }

    async fn credentials_of(&self, user: UserId) -> Result<Option<Credentials>> {
        let id = user.as_str();
        let row = sqlx::query_as!(
            CredentialsRow,
            "SELECT id, username, email, name, admin, disabled_at, created_at, updated_at, password_hash, auth_epoch
             FROM users WHERE id = ?1",
            id
        )
        .fetch_optional(&self.readers)
        .await
        .map_err(failed)?;
        row.map(TryInto::try_into).transpose()
    }

    async fn lookup(&self, token: &TokenHash) -> Result<Lookup> {
        let hash = token.as_bytes().as_slice();
        let row = sqlx::query_as!(
            LookupRow,
            r#"SELECT s.id, s.user_id, s.created_at, s.last_seen_at, s.idle_expires_at, s.expires_at, s.remembered,
                   s.ip, s.user_agent, s.host, s.revoked_at, s.revoked_seq, u.username, u.email, u.name, u.admin,
                   u.disabled_at, u.created_at AS user_created_at, u.updated_at AS user_updated_at
               FROM sessions AS s JOIN users AS u ON u.id = s.user_id
               WHERE s.token_hash = ?1"#,
            hash
        )
        .fetch_optional(&self.readers)
        .await
        .map_err(failed)?;
        row.map_or(Ok(Lookup::Missing), TryInto::try_into)
    }

    async fn sessions(&self, user: UserId, now: Timestamp) -> Result<Listing> {
        self.sessions_and_head(user.as_str(), now.millis()).await.map_err(failed)
    }

    async fn has_users(&self) -> Result<bool> {
        sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM users) AS "any!: bool""#)
            .fetch_one(&self.readers)
            .await
            .map_err(failed)
    }

    async fn users(&self) -> Result<Vec<User>> {
        let rows = sqlx::query_as!(
            UserRow,
            "SELECT id, username, email, name, admin, disabled_at, created_at, updated_at
             FROM users ORDER BY username_key"
        )
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    async fn add_user(
        &self,
        id: UserId,
        user: NewUser,
        hash: PasswordHash,
        by: Actor,
        now: Timestamp,
    ) -> Result<Added> {
        self.writer.commit(AddUser { id, user, hash, by, now }).await
    }

    async fn create_session(&self, new: NewSession) -> Result<Created> {
        self.writer.commit(CreateSession(new)).await
    }

    async fn logout(&self, logout: Logout) -> Result<Revoked> {
        self.writer.logout(logout).await
    }

    async fn revoke(&self, target: Target, reason: Reason) -> Result<Revoked> {
        self.writer.commit(Revoke { target, reason }).await
    }

    async fn change_password(&self, change: PasswordChange, reason: Reason) -> Result<Option<Revoked>> {
        self.writer.commit(ChangePassword { change, reason }).await
    }

    async fn set_disabled(&self, user: UserId, disabled: bool, reason: Reason) -> Result<Option<Revoked>> {
        self.writer.commit(SetDisabled { user, disabled, reason }).await
    }

    async fn touch(&self, seen: Vec<Seen>, now: Timestamp) -> Result<Vec<(TokenHash, Timestamp)>> {
        self.writer.commit(Touch { seen, now }).await
    }

    async fn record(&self, event: Event) -> Result<()> {
        self.writer.commit(Record(event)).await
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64> {
        self.writer.commit(Purge { before, limit }).await
    }

    async fn ping(&self) -> Result<()> {
        // A query of a table: SQLite answers one of constants without a look at the file.
        self.has_users().await.map(|_| ())
    }

    async fn confirm(&self, seq: Seq) -> Result<Confirmed> {
        let asked = tokio::time::Instant::now();
        loop {
            if self.lock.is_none() && !ServeLock::held(&self.path)? {
                return Ok(Confirmed::NoServer);
            }
            let applied = sqlx::query_scalar!("SELECT applied FROM replicas")
                .fetch_optional(&self.readers)
                .await
                .map_err(failed)?;
            if applied.is_some_and(|applied| applied >= seq.0) {
                return Ok(Confirmed::Applied);
            }
            if asked.elapsed() > CONFIRMATION {
                return Ok(Confirmed::NotInTime);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn close(&self) {
        // The writer goes last, so that it can fold the log into the file.
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Makes the file readable by its owner alone; SQLite gives its companions the same mode.
fn create_private(path: &Path) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
        options.mode(0o600);
        let file = options.open(path).map_err(|error| unreachable_file(path, &error))?;
        let mode = file.metadata().map_err(|error| unreachable_file(path, &error))?.permissions().mode();
        if mode & 0o077 != 0 {
            let private = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(path, private).map_err(|error| unreachable_file(path, &error))?;
        }
    }
    #[cfg(not(unix))]
    options.open(path).map_err(|error| unreachable_file(path, &error))?;
    Ok(())
}

fn unreachable_file(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Unreachable(format!("{}: {error}", path.display()))
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).busy_timeout(BUSY).foreign_keys(true).disable_statement_logging()
}

/// Opens the one connection that writes, and asserts that what it commits survives a power cut.
async fn open_writer(path: &Path) -> Result<SqliteConnection> {
    let mut connection = options(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", log::WRITERS_SHARE)
        // Up to 16 MiB of pages: the writer goes to many places, and 2 MiB would have it read the file all the time.
        .pragma("cache_size", "-16384")
        .connect()
        .await
        .map_err(failed)?;
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await.map_err(failed)?;
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut connection).await.map_err(failed)?;
    if journal != "wal" || synchronous != 2 {
        let _ = connection.close().await;
        return Err(StoreError::Inconsistent(format!(
            "{} is in journal mode {journal} with synchronous={synchronous}, where WAL and FULL (2) are needed: put it on a local disk",
            path.display()
        )));
    }
    Ok(connection)
}

async fn token_key(connection: &mut SqliteConnection, entropy: &dyn Entropy) -> Result<TokenKey> {
    let mut fresh = [0; 32];
    entropy.fill(&mut fresh).map_err(|error| StoreError::Unreachable(error.to_string()))?;
    let fresh = fresh.as_slice();
    sqlx::query!("INSERT INTO secrets (name, value) VALUES ('token_key', ?1) ON CONFLICT (name) DO NOTHING", fresh)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    let key = sqlx::query_scalar!("SELECT value FROM secrets WHERE name = 'token_key'")
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    let key = key.try_into().map_err(|_| StoreError::Inconsistent(String::from("the token key is not 32 bytes")))?;
    Ok(TokenKey::new(key))
}

/// Sorts driver errors into ours: busy is slow, the file's troubles are unreachable, the rest makes no sense.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
#[expect(clippy::wildcard_enum_match_arm, reason = "the driver's errors are not a closed list")]
fn failed(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::PoolTimedOut => StoreError::TooSlow(error.to_string()),
        sqlx::Error::Io(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            StoreError::Unreachable(error.to_string())
        }
        sqlx::Error::Database(database) => {
            // The low byte is the primary result code: sqlite.org/rescode.html
            let code = database.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or_default() & 0xff;
            match code {
                // BUSY, LOCKED
                5 | 6 => StoreError::TooSlow(error.to_string()),
                // PERM, NOMEM, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, PROTOCOL, NOTADB
                3 | 7 | 8 | 10 | 11 | 13 | 14 | 15 | 26 => StoreError::Unreachable(error.to_string()),
                _ => StoreError::Inconsistent(error.to_string()),
            }
        }
        _ => StoreError::Inconsistent(error.to_string()),
    }
}
