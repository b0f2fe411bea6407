//! A database of a test's own in SQLite, in a directory of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};
use tempfile::TempDir;

/// Longer than anything holds the file.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) const TOKEN_KEY: &str = "SELECT hex(value) FROM secrets WHERE name = 'token_key'";
pub(super) const HALF_DONE: &str = "SELECT count(*) FROM sessions AS s
     WHERE coalesce(revoked_why, '') <> 'renewed'
             AND 1 <> (SELECT count(*) FROM events WHERE session_id = s.id AND kind = 'login_ok')
         OR coalesce(revoked_why, '') <> 'renewed'
             AND (revoked_at IS NOT NULL) <> (SELECT count(*) FROM events WHERE session_id = s.id AND kind IN ('logout', 'revoked'))
         OR (revoked_at IS NOT NULL) <> (SELECT count(*) FROM revocations
             WHERE seq = s.revoked_seq AND instr(what, lower(hex(s.token_hash))) > 0)";

/// A database, gone when dropped.
pub struct Database {
    dir: TempDir,
}

impl Database {
    /// One that does not exist yet.
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory") }
    }

    /// How `sessiond` is told of it.
    pub fn url(&self) -> String {
        format!("sqlite://{}", self.path().display())
    }

    /// The answer to a query, a row a row, every value as text.
    pub async fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let connection = self.reader();
        let mut statement = connection.prepare(sql).expect("a statement");
        let rows = statement.query_map([], |row| Ok(texts(row))).expect("rows");
        rows.collect::<Result<_, _>>().expect("rows")
    }

    /// Changes it behind everybody's back.
    pub async fn execute(&self, sql: &str) {
        self.connection().execute_batch(sql).expect("executed");
    }

    /// Keeps everything waiting that changes something, until the result is dropped.
    pub async fn keep_writers_waiting(&self) -> Connection {
        let connection = self.connection();
        connection.busy_timeout(PATIENCE).expect("patience");
        connection.execute_batch("BEGIN IMMEDIATE").expect("the write lock");
        connection
    }

    /// Whether nothing has ever been made in it.
    pub fn is_untouched(&self) -> bool {
        !self.path().exists()
    }

    /// Everything it keeps, in pieces with a name.
    pub fn contents(&self) -> Vec<(String, Vec<u8>)> {
        let files = std::fs::read_dir(self.dir()).expect("a directory").map(|file| file.expect("a file").path());
        files.map(|path| (path.display().to_string(), std::fs::read(&path).expect("bytes"))).collect()
    }

    /// The directory it lies in, alone.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its file.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("test.db")
    }

    /// Another process at the same file.
    pub fn connection(&self) -> Connection {
        Connection::open(self.path()).expect("a connection")
    }

    /// One that changes nothing there, not even on leaving.
    pub fn reader(&self) -> Connection {
        let reader = Connection::open_with_flags(self.path(), OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a database");
        reader.busy_timeout(PATIENCE).expect("patience");
        reader
    }
}

fn texts(row: &Row<'_>) -> Vec<Option<String>> {
    let text = |value| match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Text(text) => Some(String::from_utf8(text.to_vec()).expect("UTF-8")),
        odd => panic!("{odd:?} has no text"),
    };
    (0..row.as_ref().column_count()).map(|column| text(row.get_ref(column).expect("a value"))).collect()
}
