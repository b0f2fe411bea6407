//! A database of a test's own, here in SQLite: what a test may know of it whichever the store, and where its file lies.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Row as _, TypeInfo as _, ValueRef as _,
};
use tempfile::TempDir;

/// Longer than the file is ever held.
const PATIENCE: Duration = Duration::from_secs(30);

/// The key that tokens are made with, in hex.
pub const TOKEN_KEY: &str = "SELECT hex(value) FROM secrets WHERE name = 'token_key'";
/// Counts the sessions that lack their login in the audit, and the revocations without tombstone, number or event. The
/// tombstone of an old token, whose session goes on under a new one, has a number alone.
pub const HALF_DONE: &str = "SELECT count(*) FROM sessions AS s
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
        let mut reader = self.reader().await;
        let rows = reader.fetch_all(AssertSqlSafe(sql)).await.expect("rows");
        reader.close().await.expect("closed");
        rows.iter().map(texts).collect()
    }

    /// Changes it from outside.
    pub async fn execute(&self, sql: &str) {
        let mut connection = self.connection().await;
        connection.execute(AssertSqlSafe(sql)).await.expect("executed");
        connection.close().await.expect("closed");
    }

    /// Keeps everything waiting that changes something, until the result is dropped.
    pub async fn keep_writers_waiting(&self) -> SqliteConnection {
        let mut connection = self.connection().await;
        connection.execute("BEGIN IMMEDIATE").await.expect("the write lock");
        connection
    }

    /// Whether nothing has ever been made in it.
    pub async fn is_untouched(&self) -> bool {
        !self.path().exists()
    }

    /// Everything it keeps, in pieces with a name.
    pub async fn contents(&self) -> Vec<(String, Vec<u8>)> {
        let files = std::fs::read_dir(self.dir()).expect("a directory").map(|file| file.expect("a file").path());
        files.map(|path| (path.display().to_string(), std::fs::read(&path).expect("bytes"))).collect()
    }

    /// Where a server that works in `_dir` keeps the first user's password.
    pub fn first_password(&self, _dir: &Path) -> PathBuf {
        self.dir().join("test.db.first-password")
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
    pub async fn connection(&self) -> SqliteConnection {
        self.options().connect().await.expect("a connection")
    }

    /// One that changes nothing there, not even when it is closed.
    pub async fn reader(&self) -> SqliteConnection {
        self.options().read_only(true).connect().await.expect("a database")
    }

    fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new().filename(self.path()).busy_timeout(PATIENCE)
    }
}

fn texts(row: &SqliteRow) -> Vec<Option<String>> {
    let text = |column| {
        let value = row.try_get_raw(column).expect("a value");
        match value.type_info().name() {
            _ if value.is_null() => None,
            "INTEGER" => Some(row.get::<i64, _>(column).to_string()),
            "TEXT" => Some(row.get(column)),
            odd => panic!("{odd} has no text"),
        }
    };
    (0..row.len()).map(text).collect()
}
