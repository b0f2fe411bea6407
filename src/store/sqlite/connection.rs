//! Opens connections to the file, durable to the last commit, and says what the driver's errors mean for the store.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Error};
use tokio::time::Instant;

use super::super::{Cause, Result, StoreError};
use super::paths::plain;
use super::wal;

/// How long a statement waits for another process to let go of the file.
pub(super) const BUSY: Duration = Duration::from_millis(800);

/// Opens the one connection that writes, and asserts that what it commits survives a power cut.
pub(super) async fn writer(path: &Path) -> Result<SqliteConnection> {
    let mut connection = write_ahead(options(path)).await.map_err(failed)?;
    let pragmas = "SELECT journal_mode, synchronous FROM pragma_journal_mode, pragma_synchronous";
    let (journal, synchronous): (String, i64) =
        sqlx::query_as(pragmas).fetch_one(&mut connection).await.map_err(failed)?;
    if journal != "wal" || synchronous != 2 {
        return Err(StoreError::inconsistent(format!(
            "{} is in journal mode {journal} with synchronous={synchronous}, where WAL and FULL (2) are needed: put it on a local disk",
            path.display()
        )));
    }
    Ok(connection)
}

/// Opens a connection that writes as durably, beside the writer, and on which foreign keys are the caller's to keep: where one
/// statement inserts many users, SQLite would go through all sessions for each of them.
pub(super) async fn for_imports(path: &Path) -> sqlx::Result<SqliteConnection> {
    write_ahead(options(path).foreign_keys(false)).await
}

/// Opens a connection that asks for a write-ahead log. Of two that do so at once in a new file, SQLite refuses one
/// without waiting, since neither could go on.
async fn write_ahead(options: SqliteConnectOptions) -> sqlx::Result<SqliteConnection> {
    let options = options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", wal::WRITERS_SHARE.to_string())
        .pragma("journal_size_limit", wal::LONGEST.to_string())
        // Up to 16 MiB of pages: the writer goes to many places, and 2 MiB would have it read the file all the time.
        .pragma("cache_size", "-16384");
    let begin = Instant::now();
    loop {
        match options.connect().await {
            Err(error) if is_busy(&error) && begin.elapsed() <= BUSY => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            opened => return opened,
        }
    }
}

/// Opens a connection that may write but changes no data: the checkpointer's.
pub(super) async fn beside_the_writer(path: &Path) -> sqlx::Result<SqliteConnection> {
    options(path).connect().await
}

/// Opens a file that no other process has open and that has no write-ahead log, and gives it none: what is committed is in
/// the file itself.
pub(super) async fn without_log(path: &Path) -> sqlx::Result<SqliteConnection> {
    let options = options(path).journal_mode(SqliteJournalMode::Delete).synchronous(SqliteSynchronous::Full);
    options.connect().await
}

/// Opens a connection that cannot write and keeps at most so many KiB of the file.
pub(super) async fn reader(path: &Path, cache: u32) -> sqlx::Result<SqliteConnection> {
    options(path).read_only(true).pragma("cache_size", format!("-{cache}")).connect().await
}

/// What every connection has. The file is never made here, and foreign keys are the driver's default.
fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(plain(path)).busy_timeout(BUSY).disable_statement_logging()
}

/// Sorts the driver's errors into the store's: busy is slow, the file's troubles are unreachable, the rest makes no sense.
pub(super) fn failed(error: Error) -> StoreError {
    let words = words(&error);
    let kind = match primary_code(&error) {
        // SQLITE_BUSY, SQLITE_LOCKED and SQLITE_INTERRUPT.
        Some(5 | 6 | 9) => StoreError::TooSlow,
        // In turn: PERM, NOMEM, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, PROTOCOL and NOTADB.
        Some(3 | 7 | 8 | 10 | 11 | 13 | 14 | 15 | 26) => StoreError::Unreachable,
        Some(_) => StoreError::Inconsistent,
        None if matches!(error, Error::Io(_) | Error::WorkerCrashed) => StoreError::Unreachable,
        None => StoreError::Inconsistent,
    };
    kind(Cause::of_driver(words, error))
}

/// What an error says, which never is a value that was stored.
pub(super) fn words(error: &Error) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), ToString::to_string)
}

fn is_busy(error: &Error) -> bool {
    primary_code(error) == Some(5)
}

/// Whether there was no room on the disk, or in the file, for what was to be written.
pub(super) fn is_full(error: &Error) -> bool {
    primary_code(error) == Some(13)
}

/// SQLite's [result code](https://www.sqlite.org/rescode.html) without its extension.
fn primary_code(error: &Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_writer_gets_what_it_asks_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("test.db");
        super::super::files::make_private(&path).expect("made");
        let mut connection = writer(&path).await.expect("opened");
        for (pragma, expected) in [
            ("PRAGMA synchronous", 2),
            ("PRAGMA foreign_keys", 1),
            ("PRAGMA wal_autocheckpoint", 4096),
            ("PRAGMA journal_size_limit", 17_924_128),
            ("PRAGMA cache_size", -16384),
        ] {
            let value: i64 = sqlx::query_scalar(pragma).fetch_one(&mut connection).await.expect(pragma);
            assert_eq!(value, expected, "{pragma}");
        }
    }

    #[tokio::test]
    async fn a_reader_cannot_write() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("test.db");
        super::super::files::make_private(&path).expect("made");
        let _writer = writer(&path).await.expect("opened");
        let mut reader = reader(&path, 2000).await.expect("opened");
        let refused = sqlx::query("CREATE TABLE t (x)").execute(&mut reader).await.expect_err("refused");
        assert!(matches!(failed(refused), StoreError::Unreachable(_)));
    }
}
