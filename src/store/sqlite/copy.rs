//! A file that is copied from: no server runs on it, and no other process changes it meanwhile.

use std::path::PathBuf;

use bytes::Bytes;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Error, Row as _, TypeInfo as _, ValueRef as _};

use super::super::Result;
use super::super::copied::{Contents, Page, Table};
use super::super::opening::ConnectError;
use super::super::rows::Secret;
use super::connection::{self, failed};
use super::files::make_private;
use super::lock::ServeLock;
use super::mark::Mark;
use super::migrate;
use super::paths::unreachable_file;

/// Rows in a page.
const PAGE: u32 = 4096;

/// A file, held until this is dropped.
pub(in super::super) struct Source {
    connection: SqliteConnection,
    /// The lock that a server would hold.
    _lock: ServeLock,
}

impl Source {
    /// Opens a file that is there and up to date.
    pub(in super::super) async fn open(path: PathBuf) -> std::result::Result<Self, ConnectError> {
        // Otherwise the driver would make the file.
        path.metadata().map_err(|error| unreachable_file(&path, &error))?;
        let path = make_private(&path)?;
        if Mark::of(&path).map_err(|error| unreachable_file(&path, &error))? == Mark::Backup {
            return Err(ConnectError::NotRestored(path));
        }
        let lock = ServeLock::take(&path).await?;
        let mut connection = connection::beside_the_writer(&path).await.map_err(failed)?;
        // Any other process that tries to write, such as a command, finds the store busy.
        let begin = sqlx::query("BEGIN IMMEDIATE; PRAGMA query_only = true").execute(&mut connection);
        begin.await.map_err(failed)?;
        migrate::check(&mut connection).await?;
        Ok(Self { connection, _lock: lock })
    }

    /// Counts what the file holds.
    pub(in super::super) async fn contents(&mut self) -> Result<Contents> {
        self.read_contents().await.map_err(failed)
    }

    async fn read_contents(&mut self) -> sqlx::Result<Contents> {
        let (Secret(token_key),) = sqlx::query_as("SELECT value FROM secrets WHERE name = 'token_key'")
            .fetch_one(&mut self.connection)
            .await?;
        let row = sqlx::query(
            "SELECT (SELECT count(*) FROM users WHERE deleted_at IS NOT -1) AS users, count(*) AS sessions, (SELECT count(*) FROM events) AS events,
                 (SELECT count(*) FROM revocations) AS revocations, (SELECT count(*) FROM throttles) AS throttles,
                 (SELECT coalesce(sum(failures), 0) FROM throttles) AS failures,
                 (SELECT coalesce(max(forget_at), 0) FROM throttles) AS forgotten,
                 (SELECT count(*) FROM second_factors WHERE user_id NOT IN (SELECT id FROM users WHERE deleted_at = -1))
                     AS second_factors,
                 (SELECT count(*) FROM recovery_codes) AS recovery_codes,
                 (SELECT coalesce(max(seq), 0) FROM revocations) AS head,
                 coalesce(sum(last_seen_at - created_at), 0) AS seen, coalesce(sum(idle_expires_at - created_at), 0) AS idle
             FROM sessions",
        );
        let row = row.fetch_one(&mut self.connection).await?;
        Ok(Contents {
            users: row.try_get("users")?,
            second_factors: row.try_get("second_factors")?,
            recovery_codes: row.try_get("recovery_codes")?,
            sessions: row.try_get("sessions")?,
            events: row.try_get("events")?,
            revocations: row.try_get("revocations")?,
            throttles: row.try_get("throttles")?,
            tried: (row.try_get("failures")?, row.try_get("forgotten")?),
            head: row.try_get("head")?,
            touched: (row.try_get("seen")?, row.try_get("idle")?),
            token_key,
        })
    }

    /// The next rows of a table after a key, which SQLite takes for a number where it compares it with one.
    pub(in super::super) async fn page(&mut self, table: Table, after: String) -> Result<Page> {
        // Rows of an import that is not done, which are marked by -1, are no users. Keys are texts; bytes and lists are written as PostgreSQL reads them: 92 is a backslash, 120 an x, 123 and 125
        // are braces.
        let sql = match table {
            Table::Users => {
                "SELECT id, username, username_key, email, email_key, name, admin, password_hash, auth_epoch, disabled_at,
                     created_at, updated_at, must_change_password, password_expires_at, last_login_at, deleted_at
                 FROM users WHERE id > ?1 AND deleted_at IS NOT -1 ORDER BY id LIMIT ?2"
            }
            Table::SecondFactors => {
                "SELECT user_id, char(92, 120) || hex(secret), last_step, confirmed_at
                 FROM second_factors AS f WHERE user_id > ?1
                     AND NOT EXISTS (SELECT 1 FROM users AS u WHERE u.id = f.user_id AND u.deleted_at = -1)
                 ORDER BY user_id LIMIT ?2"
            }
            Table::RecoveryCodes => {
                "SELECT hash, user_id FROM recovery_codes WHERE hash > ?1 ORDER BY hash LIMIT ?2"
            }
            Table::Sessions => {
                "SELECT CAST(number AS TEXT), id, char(92, 120) || hex(token_hash), user_id, created_at, last_seen_at, idle_expires_at,
                     expires_at, remembered, ip, user_agent, host, revoked_at, revoked_by, revoked_why, revoked_seq, archived
                 FROM sessions WHERE number > ?1 ORDER BY number LIMIT ?2"
            }
            Table::Events => {
                "SELECT CAST(number AS TEXT), at, kind, user_id, session_id, actor, ip, detail, name, user_agent, count, request_id, actor_name
                 FROM events WHERE number > ?1 ORDER BY number LIMIT ?2"
            }
            Table::Revocations => {
                "SELECT CAST(seq AS TEXT), at,
                     (SELECT char(123) || coalesce(group_concat(char(92, 92, 120) || value), '') || char(125)
                      FROM json_each(what, '$.sessions')),
                     (SELECT char(123) || coalesce(group_concat(value), '') || char(125) FROM json_each(what, '$.users'))
                 FROM revocations WHERE seq > ?1 ORDER BY seq LIMIT ?2"
            }
            Table::Throttles => {
                "SELECT char(92, 120) || hex(key), char(92, 120) || hex(about), counted, failures, until, forget_at
                 FROM throttles WHERE key > unhex(substr(?1, 3)) ORDER BY key LIMIT ?2"
            }
        };
        let found = sqlx::query(sql).bind(&after).bind(PAGE).fetch_all(&mut self.connection).await.map_err(failed)?;
        let (mut rows, mut last, mut text) = (0, after, Vec::new());
        for row in &found {
            rows += 1;
            last = row.try_get(0).map_err(failed)?;
            write(row, &mut text).map_err(failed)?;
        }
        Ok(Page { rows, last, text: Bytes::from(text) })
    }
}

/// Adds a row as PostgreSQL's `COPY` reads it.
fn write(row: &SqliteRow, out: &mut Vec<u8>) -> sqlx::Result<()> {
    for column in 0..row.len() {
        if column > 0 {
            out.push(b'\t');
        }
        let value = row.try_get_raw(column)?;
        match value.type_info().name() {
            _ if value.is_null() => out.extend(b"\\N"),
            "INTEGER" => out.extend(row.try_get::<i64, _>(column)?.to_string().bytes()),
            "TEXT" => escape(row.try_get::<&str, _>(column)?.as_bytes(), out),
            odd => {
                let source = format!("{odd} is none of the types that are copied").into();
                return Err(Error::ColumnDecode { index: column.to_string(), source });
            }
        }
    }
    out.push(b'\n');
    Ok(())
}

/// What would end a column, a row or the whole, and what begins an escape, is escaped.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'\\' => out.extend(b"\\\\"),
            b'\t' => out.extend(b"\\t"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            byte => out.push(*byte),
        }
    }
}
