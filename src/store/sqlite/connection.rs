//! Opening the database: durable to the last commit, and with errors in the store's words.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::ffi::ErrorCode;
use rusqlite::{Connection, OpenFlags};
use tokio::time::Instant;

use super::super::{Result, StoreError};
use super::log;

/// How long a statement waits for another process to let go of the file.
pub(super) const BUSY: Duration = Duration::from_millis(800);
/// More than there are statements, so that each is prepared once.
const STATEMENTS: usize = 64;

/// Opens the one connection that writes, and asserts that what it commits survives a power cut.
pub(super) fn writer(path: &Path) -> Result<Connection> {
    let connection = beside_the_writer(path).map_err(failed)?;
    let (journal, synchronous) = durable(&connection).map_err(failed)?;
    if journal != "wal" || synchronous != 2 {
        return Err(StoreError::inconsistent(format!(
            "{} is in journal mode {journal} with synchronous={synchronous}, where WAL and FULL (2) are needed: put it on a local disk",
            path.display()
        )));
    }
    Ok(connection)
}

/// Asks for what a writer needs, and returns the journal mode and the synchronous level that came of it.
fn durable(connection: &Connection) -> rusqlite::Result<(String, i64)> {
    let journal = write_ahead(connection)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", log::WRITERS_SHARE)?;
    // Up to 16 MiB of pages: the writer goes to many places, and 2 MiB would have it read the file all the time.
    connection.pragma_update(None, "cache_size", -16384)?;
    let synchronous = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    Ok((journal, synchronous))
}

/// Asks for a write-ahead log, and returns the journal mode. Of two that do so at once in a new file, SQLite refuses one
/// without waiting, since neither could go on.
fn write_ahead(connection: &Connection) -> rusqlite::Result<String> {
    let begin = Instant::now();
    loop {
        let answer = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0));
        let busy = answer.as_ref().is_err_and(|error| error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy));
        if !busy || begin.elapsed() > BUSY {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Opens a connection that may write but changes no data: the checkpointer's.
pub(super) fn beside_the_writer(path: &Path) -> rusqlite::Result<Connection> {
    open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
}

/// Opens a file that no other process has open and that has no write-ahead log, and gives it none: what is committed is in the
/// file itself.
pub(super) fn alone(path: &Path) -> rusqlite::Result<Connection> {
    let connection = beside_the_writer(path)?;
    connection.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

/// Opens a connection that cannot write.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// Whoever holds a connection has it alone, so SQLite needs no lock of its own.
fn open(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(plain(path), access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// A path that is one to SQLite: the bundled one takes what begins with `file:` for a URI even without being asked to.
pub(super) fn plain(path: &Path) -> PathBuf {
    Path::new(".").join(path)
}

/// Sorts driver errors into ours: busy is slow, the file's troubles are unreachable, the rest makes no sense.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
pub(super) fn failed(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::too_slow(error.to_string()),
        Some(
            ErrorCode::PermissionDenied
            | ErrorCode::OutOfMemory
            | ErrorCode::ReadOnly
            | ErrorCode::SystemIoFailure
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::DiskFull
            | ErrorCode::CannotOpen
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::NotADatabase,
        ) => StoreError::unreachable(error.to_string()),
        _ => StoreError::inconsistent(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_gets_what_it_asks_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("test.db");
        super::super::files::make_private(&path).expect("made");
        let connection = writer(&path).expect("opened");
        for (pragma, expected) in
            [("synchronous", 2), ("foreign_keys", 1), ("wal_autocheckpoint", 4096), ("cache_size", -16384)]
        {
            let value: i64 = connection.pragma_query_value(None, pragma, |row| row.get(0)).expect(pragma);
            assert_eq!(value, expected, "{pragma}");
        }
    }

    #[test]
    fn a_reader_cannot_write() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("test.db");
        super::super::files::make_private(&path).expect("made");
        let _writer = writer(&path).expect("opened");
        let refused = reader(&path).expect("opened").execute_batch("CREATE TABLE t (x)").expect_err("refused");
        assert!(matches!(failed(refused), StoreError::Unreachable(_)));
    }
}
