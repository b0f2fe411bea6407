//! Puts users and sessions into a store without hashing a password for each: the only file of the laboratory that knows
//! the service's tables.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Executor as _, Row as _};

use crate::database::{self, Connection};
use crate::random::Random;
use crate::token::{Id, Token, TokenKey, hash, id, text};

/// Rows that are sent at a time.
const CHUNK: usize = 5_000;
/// How long sessions last in all.
pub const LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long they may be idle, unless something else is asked for.
const IDLE: Duration = Duration::from_secs(2 * 3600);
/// The client that all sessions were begun by.
const USER_AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const ADDRESS: &str = "127.0.0.1";

/// `?1` is a JSON array of ids and names, `?2` the password's hash, `?3` the time.
const INSERT_USERS: &str = "
    INSERT INTO users (id, username, username_key, email, email_key, name, password_hash, created_at, updated_at)
    SELECT value ->> 0, value ->> 1, value ->> 1, (value ->> 1) || '@example.org', (value ->> 1) || '@example.org',
        value ->> 1, ?2, ?3, ?3
    FROM json_each(?1)";
/// `?1` is a JSON array of ids, token hashes and users, `?2` the time, `?3` and `?4` when they expire.
const INSERT_SESSIONS: &str = "
    INSERT INTO sessions (id, token_hash, user_id, created_at, last_seen_at, idle_expires_at, expires_at, remembered, ip,
        user_agent, host)
    SELECT value ->> 0, unhex(value ->> 1), value ->> 2, ?2, ?2, ?3, ?4, 0, ?5, ?6, ?5
    FROM json_each(?1)";
/// The same columns in the same order.
const COPY_USERS: &str = "
    COPY users (id, username, username_key, email, email_key, name, password_hash, created_at, updated_at) FROM STDIN";
const COPY_SESSIONS: &str = "
    COPY sessions (id, token_hash, user_id, created_at, last_seen_at, idle_expires_at, expires_at, remembered, ip,
        user_agent, host) FROM STDIN";
/// The numbers from one, in either database.
const NUMBERS: &str = "WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < {count})";
/// Sessions of one user that ended long ago.
const LONG_DEAD: &str = "
    INSERT INTO sessions (id, token_hash, user_id, created_at, last_seen_at, idle_expires_at, expires_at, remembered, ip,
        user_agent, host, revoked_at, archived)
    {numbers}
    SELECT 'dead' || (1000000000000 + value), {hash}, (SELECT id FROM users LIMIT 1), 1, 1, 1, value, false, '127.0.0.1',
        'long dead', '127.0.0.1', 1, true
    FROM n";
/// Events of long ago.
const OLD_EVENTS: &str =
    "INSERT INTO events (at, kind, actor) {numbers} SELECT value, 'login_failed', 'anonymous' FROM n";
/// How many rows of long ago are left.
const LEFT: &str = "
    SELECT (SELECT count(*) FROM sessions WHERE expires_at < 1000000000) + (SELECT count(*) FROM events WHERE at < 1000000000)";

/// What each login does for its user; without it the dead would make every list longer.
const ARCHIVE: &str = "
    UPDATE sessions SET archived = true WHERE number IN (
        SELECT number FROM sessions WHERE NOT archived AND revoked_at IS NOT NULL ORDER BY number FOR UPDATE SKIP LOCKED)";

/// How many rows of [`Seeder::store_long_dead`] are left in a store.
pub async fn long_dead(url: &str) -> Result<usize> {
    let rows = database::rows(url, LEFT).await?;
    let count = rows.into_iter().flatten().flatten().next().context("no count")?;
    Ok(count.parse()?)
}

/// A user.
#[derive(Clone)]
pub struct User {
    /// Their public id.
    pub id: Id,
    /// The name that they log in with, which must be as the service would fold it.
    pub name: String,
}

/// A session, and what its client holds.
#[derive(Clone, Copy)]
pub struct Session {
    /// Its public id.
    pub id: Id,
    /// The user it belongs to.
    pub user: Id,
    /// Its token.
    pub token: Token,
}

/// A store that a server has made its tables in, and its first account.
pub struct Seeder {
    url: String,
    connection: Connection,
    key: TokenKey,
    password_hash: String,
}

impl Seeder {
    /// Begins with a store whose users are all to have the password of the one with this name.
    pub async fn open(url: &str, username: &str) -> Result<Self> {
        const KEY: &str = "SELECT value FROM secrets WHERE name = 'token_key'";
        const PASSWORD: &str = "SELECT password_hash FROM users WHERE username_key = $1";
        let mut connection = Connection::open(url).await?;
        let (key, password_hash): (Vec<u8>, _) = match &mut connection {
            Connection::Sqlite(sqlite) => {
                let password = sqlx::query_scalar(PASSWORD).bind(username).fetch_optional(&mut *sqlite).await?;
                (sqlite.fetch_one(KEY).await?.try_get(0)?, password)
            }
            Connection::Postgres(postgres) => {
                let password = sqlx::query_scalar(PASSWORD).bind(username).fetch_optional(&mut *postgres).await?;
                (postgres.fetch_one(KEY).await?.try_get(0)?, password)
            }
        };
        let password_hash = password_hash.with_context(|| format!("there is no user {username}"))?;
        Ok(Self { url: url.to_owned(), connection, key: TokenKey::new(&key)?, password_hash })
    }

    /// The key of the store's tokens.
    pub fn key(&self) -> &TokenKey {
        &self.key
    }

    /// A user who is not stored yet.
    pub fn user(&self, name: String, random: &mut Random) -> User {
        User { id: id(random), name }
    }

    /// A session that is not stored yet.
    pub fn session(&self, user: &User, random: &mut Random) -> Session {
        Session { id: id(random), user: user.id, token: self.key.issue(random) }
    }

    /// Trades safety for speed until the end: no other process uses the store meanwhile.
    pub async fn hurry(&mut self) -> Result<()> {
        let quickly = match &self.connection {
            Connection::Sqlite(_) => {
                "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; PRAGMA cache_size = -1000000"
            }
            Connection::Postgres(_) => "SET synchronous_commit = off",
        };
        self.connection.execute(quickly).await
    }

    /// Stores users and sessions, in their order, in one transaction. After an error it is unknown whether they are stored,
    /// and the seeder has to connect again.
    pub async fn store(&mut self, users: &[User], sessions: &[Session]) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        self.store_at(i64::try_from(now)?, IDLE, users, sessions).await
    }

    /// The same at another time, in milliseconds since 1970, for sessions that may be idle for so long.
    pub async fn store_at(&mut self, now: i64, idle: Duration, users: &[User], sessions: &[Session]) -> Result<()> {
        let expiries = [now + i64::try_from(idle.min(LIFE).as_millis())?, now + i64::try_from(LIFE.as_millis())?];
        self.connection.execute("BEGIN").await?;
        let stored = match &mut self.connection {
            Connection::Sqlite(sqlite) => insert(sqlite, users, sessions, &self.password_hash, now, expiries).await?,
            Connection::Postgres(postgres) => {
                copy(postgres, users, sessions, &self.password_hash, now, expiries).await?
            }
        };
        ensure!(stored == (users.len() + sessions.len()) as u64, "{stored} rows were stored");
        self.connection.execute("COMMIT").await
    }

    /// Stores so many sessions, and as many events, of so long ago that they are to be deleted.
    pub async fn store_long_dead(&mut self, count: usize) -> Result<()> {
        let hash = match &self.connection {
            Connection::Sqlite(_) => "randomblob(32)",
            Connection::Postgres(_) => "sha256(value::text::bytea)",
        };
        let numbers = NUMBERS.replace("{count}", &count.to_string());
        for insert in [LONG_DEAD, OLD_EVENTS] {
            let insert = insert.replace("{numbers}", &numbers).replace("{hash}", hash);
            self.connection.execute(&insert).await?;
        }
        Ok(())
    }

    /// Archives revoked sessions on PostgreSQL, as each login does for its user.
    pub async fn archive(&mut self) -> Result<()> {
        self.connection.execute(ARCHIVE).await
    }

    /// Connects again after an error.
    pub async fn reconnect(&mut self) -> Result<()> {
        self.connection = Connection::open(&self.url).await?;
        Ok(())
    }

    /// Has everything written to the disk, so that it is not charged to what is measured next, and closes the store.
    pub async fn finish(mut self) -> Result<()> {
        match &self.connection {
            // The next connection creates the log anew.
            Connection::Sqlite(_) => {
                self.connection.execute("PRAGMA synchronous = FULL; PRAGMA journal_mode = WAL").await?
            }
            Connection::Postgres(_) => {
                self.connection.execute("VACUUM ANALYZE").await?;
                self.connection.execute("CHECKPOINT").await?;
            }
        }
        self.connection.close().await?;
        if let Some(file) = self.url.strip_prefix("sqlite://") {
            std::fs::File::open(file)?.sync_all()?;
        }
        Ok(())
    }
}

async fn insert(
    sqlite: &mut SqliteConnection,
    users: &[User],
    sessions: &[Session],
    password_hash: &str,
    now: i64,
    [idle, absolute]: [i64; 2],
) -> Result<u64> {
    let mut stored = 0;
    for chunk in users.chunks(CHUNK) {
        let rows: Value = chunk.iter().map(|user| json!([text(&user.id), user.name])).collect();
        let insert = sqlx::query(INSERT_USERS).bind(rows.to_string()).bind(password_hash).bind(now);
        stored += insert.execute(&mut *sqlite).await?.rows_affected();
    }
    for chunk in sessions.chunks(CHUNK) {
        let rows = chunk.iter().map(|one| json!([text(&one.id), hash(&one.token), text(&one.user)]));
        let insert = sqlx::query(INSERT_SESSIONS).bind(rows.collect::<Value>().to_string()).bind(now);
        let insert = insert.bind(idle).bind(absolute).bind(ADDRESS).bind(USER_AGENT);
        stored += insert.execute(&mut *sqlite).await?.rows_affected();
    }
    Ok(stored)
}

async fn copy(
    postgres: &mut PgConnection,
    users: &[User],
    sessions: &[Session],
    password_hash: &str,
    now: i64,
    [idle, absolute]: [i64; 2],
) -> Result<u64> {
    let mut copying = postgres.copy_in_raw(COPY_USERS).await?;
    for chunk in users.chunks(CHUNK) {
        let mut rows = String::new();
        for User { id, name } in chunk {
            let email = format!("{name}@example.org");
            let id = text(id);
            writeln!(rows, "{id}\t{name}\t{name}\t{email}\t{email}\t{name}\t{password_hash}\t{now}\t{now}")?;
        }
        copying.send(rows.into_bytes()).await?;
    }
    let stored = copying.finish().await?;
    let mut copying = postgres.copy_in_raw(COPY_SESSIONS).await?;
    let rest = format!("{now}\t{now}\t{idle}\t{absolute}\tf\t{ADDRESS}\t{USER_AGENT}\t{ADDRESS}");
    for chunk in sessions.chunks(CHUNK) {
        let mut rows = String::new();
        for Session { id, user, token } in chunk {
            // A backslash stands for itself when it is doubled.
            writeln!(rows, "{}\t\\\\x{}\t{}\t{rest}", text(id), hash(token), text(user))?;
        }
        copying.send(rows.into_bytes()).await?;
    }
    Ok(stored + copying.finish().await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::{Options, Postgres};

    /// More than one chunk.
    const USERS: usize = CHUNK + 1;
    const FIRST: &str = "INSERT INTO users (id, username, username_key, name, password_hash, created_at, updated_at)
        VALUES ('first', 'first', 'first', 'First', '$argon2id$v=19$m=1', 0, 0)";

    async fn the_seed_fits(url: &str, schema: &str, key: &str) -> Result<()> {
        database::execute(url, &format!("{schema}; INSERT INTO secrets VALUES ('token_key', {key}); {FIRST}")).await?;
        let (mut seeder, mut random) = (Seeder::open(url, "first").await?, Random::seeded(7));
        seeder.hurry().await?;
        let users: Vec<_> = (0..USERS).map(|number| seeder.user(format!("user{number}"), &mut random)).collect();
        let sessions: Vec<_> = users.iter().map(|user| seeder.session(user, &mut random)).collect();
        seeder.store(&users, &sessions).await?;
        seeder.store_long_dead(1_000).await?;
        seeder.finish().await?;
        assert_eq!(long_dead(url).await?, 2_000);

        let last = sessions.last().context("a session")?;
        let hashed = if url.starts_with("sqlite") { "lower(hex(token_hash))" } else { "encode(token_hash, 'hex')" };
        let found = format!(
            "SELECT username, sessions.id, email, password_hash FROM sessions JOIN users ON users.id = user_id
             WHERE {hashed} = '{}'",
            hash(&last.token)
        );
        let name = format!("user{}", USERS - 1);
        let expected = [name.clone(), text(&last.id).into(), name + "@example.org", "$argon2id$v=19$m=1".into()];
        assert_eq!(database::rows(url, &found).await?, [expected.map(Some)]);
        Ok(())
    }

    #[tokio::test]
    async fn the_seed_fits_the_tables_in_sqlite() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let url = format!("sqlite://{}/test.db", folder.path().display());
        database::execute(&format!("{url}?mode=rwc"), "PRAGMA journal_mode = WAL").await?;
        let schema = include_str!("../../../../migrations/sqlite/0001_initial.sql");
        the_seed_fits(&url, schema, "zeroblob(32)").await
    }

    #[sessiond_needs::needs(initdb)]
    #[tokio::test]
    async fn the_seed_fits_the_tables_in_postgresql() -> Result<()> {
        let server = Postgres::start(Options::default()).await?;
        server.create("seeded").await?;
        let schema = include_str!("../../../../migrations/postgres/0001_initial.sql");
        the_seed_fits(&server.url("seeded"), schema, "decode(repeat('00', 32), 'hex')").await
    }
}
