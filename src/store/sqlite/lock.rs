//! The lock that makes one process authoritative for a database file.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use super::super::StoreError;
use super::super::connect::ConnectError;
use super::files::{beside, unreachable_file};

/// What the lock's name ends with.
pub(super) const ENDING: &str = ".lock";

/// Held by the process that serves from the file, on a file beside it.
#[derive(Debug)]
pub(super) struct ServeLock(#[expect(dead_code, reason = "holding it open is the point")] File);

impl ServeLock {
    /// Takes the lock. A command that is just looking may hold it for an instant, so this tries for a moment.
    pub(super) async fn take(database: &Path) -> Result<Self, ConnectError> {
        let file = open(database)?;
        for _ in 0..10 {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(TryLockError::Error(error)) => return Err(unreachable_file(database, &error).into()),
            }
        }
        Err(ConnectError::AlreadyServed(database.to_owned()))
    }

    /// Whether some process serves from the file.
    pub(super) fn held(database: &Path) -> Result<bool, StoreError> {
        match open(database)?.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(unreachable_file(database, &error)),
        }
    }
}

fn open(database: &Path) -> Result<File, StoreError> {
    let path = beside(database, ENDING);
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&path).map_err(|error| unreachable_file(&path, &error))
}
