//! A file that is copied: read, with no server on it and nobody else who changes it.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::super::connect::ConnectError;
use super::super::copy::{Contents, Page, Table};
use super::super::{Result, StoreError};
use super::connection::{self, failed};
use super::files::{make_private, unreachable_file};
use super::lock::ServeLock;
use super::mark::Mark;
use super::migrate;

/// Rows in a page.
const PAGE: u32 = 4096;

/// A file, held until this is dropped.
pub(in super::super) struct Source {
    connection: Arc<Mutex<Connection>>,
    /// Held as a server would hold it.
    _lock: ServeLock,
}

impl Source {
    /// Opens a file that is there and up to date.
    pub(in super::super) async fn open(path: PathBuf) -> std::result::Result<Self, ConnectError> {
        // Or it would be made.
        path.metadata().map_err(|error| unreachable_file(&path, &error))?;
        let path = make_private(&path)?;
        if Mark::of(&path).map_err(|error| unreachable_file(&path, &error))? == Mark::Backup {
            return Err(ConnectError::NotRestored(path));
        }
        let lock = ServeLock::take(&path).await?;
        let opened = tokio::task::spawn_blocking(move || {
            let connection = connection::beside_the_writer(&path).map_err(failed)?;
            // What would write beside it, a command perhaps, is told that the store is busy.
            connection.execute_batch("BEGIN IMMEDIATE; PRAGMA query_only = true").map_err(failed)?;
            migrate::check(&connection)?;
            Ok::<_, StoreError>(connection)
        });
        let connection = opened.await.map_err(|error| StoreError::unreachable(error.to_string()))??;
        Ok(Self { connection: Arc::new(Mutex::new(connection)), _lock: lock })
    }

    /// Reads with the connection, on a thread that may block.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let connection = Arc::clone(&self.connection);
        let read = tokio::task::spawn_blocking(move || read(&connection.lock()).map_err(failed));
        read.await.map_err(|error| StoreError::unreachable(error.to_string()))?
    }

    /// What there is.
    pub(in super::super) async fn contents(&self) -> Result<Contents> {
        self.read(|connection| {
            let token_key = "SELECT value FROM secrets WHERE name = 'token_key'";
            let token_key = connection.query_row(token_key, [], |row| row.get(0))?;
            connection.query_row(
                "SELECT (SELECT count(*) FROM users), count(*), (SELECT count(*) FROM events),
                     (SELECT count(*) FROM revocations), (SELECT coalesce(max(seq), 0) FROM revocations),
                     coalesce(sum(last_seen_at - created_at), 0), coalesce(sum(idle_expires_at - created_at), 0)
                 FROM sessions",
                [],
                |row| {
                    Ok(Contents {
                        users: row.get(0)?,
                        sessions: row.get(1)?,
                        events: row.get(2)?,
                        revocations: row.get(3)?,
                        head: row.get(4)?,
                        touched: (row.get(5)?, row.get(6)?),
                        token_key,
                    })
                },
            )
        })
        .await
    }

    /// The next rows of a table after a key, which SQLite takes for a number where it compares it with one.
    pub(in super::super) async fn page(&self, table: Table, after: String) -> Result<Page> {
        // Keys are texts; bytes and lists are written as PostgreSQL reads them: 92 is a backslash, 120 an x, 123 and 125
        // are braces.
        let sql = match table {
            Table::Users => {
                "SELECT id, username, username_key, email, email_key, name, admin, password_hash, auth_epoch, disabled_at,
                     created_at, updated_at
                 FROM users WHERE id > ?1 ORDER BY id LIMIT ?2"
            }
            Table::Sessions => {
                "SELECT CAST(number AS TEXT), id, char(92, 120) || hex(token_hash), user_id, created_at, last_seen_at, idle_expires_at,
                     expires_at, remembered, ip, user_agent, host, revoked_at, revoked_by, revoked_why, revoked_seq, archived
                 FROM sessions WHERE number > ?1 ORDER BY number LIMIT ?2"
            }
            Table::Events => {
                "SELECT CAST(number AS TEXT), at, kind, user_id, session_id, actor, ip, detail, name, user_agent, count
                 FROM events WHERE number > ?1 ORDER BY number LIMIT ?2"
            }
            Table::Revocations => {
                "SELECT CAST(seq AS TEXT), at,
                     (SELECT char(123) || coalesce(group_concat(char(92, 92, 120) || value), '') || char(125)
                      FROM json_each(what, '$.sessions')),
                     (SELECT char(123) || coalesce(group_concat(value), '') || char(125) FROM json_each(what, '$.users'))
                 FROM revocations WHERE seq > ?1 ORDER BY seq LIMIT ?2"
            }
        };
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let mut found = statement.query((&after, PAGE))?;
            let (mut rows, mut last, mut text) = (0, after.clone(), Vec::new());
            while let Some(row) = found.next()? {
                rows += 1;
                last = row.get(0)?;
                write(row, &mut text)?;
            }
            Ok(Page { rows, last, text: Bytes::from(text) })
        })
        .await
    }
}

/// Adds a row as PostgreSQL's `COPY` reads it.
fn write(row: &Row<'_>, out: &mut Vec<u8>) -> rusqlite::Result<()> {
    for column in 0..row.as_ref().column_count() {
        if column > 0 {
            out.push(b'\t');
        }
        match row.get_ref(column)? {
            ValueRef::Null => out.extend(b"\\N"),
            ValueRef::Integer(number) => out.extend(number.to_string().bytes()),
            ValueRef::Text(text) => escape(text, out),
            odd @ (ValueRef::Real(_) | ValueRef::Blob(_)) => {
                let name = row.as_ref().column_name(column)?.to_owned();
                return Err(rusqlite::Error::InvalidColumnType(column, name, odd.data_type()));
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
