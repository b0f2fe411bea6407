//! The lock that makes one process authoritative for a database file.

use std::fs::{File, TryLockError};
use std::io::{self, Seek as _, Write as _};
use std::path::Path;
use std::time::Duration;

use super::super::StoreError;
use super::super::opening::ConnectError;
use super::paths::{LOCK, beside, unreachable_file};

/// What the lock's file records about the database, in case that is lost or replaced by a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// Nothing is recorded.
    None,
    /// The first user is about to be made.
    Beginning,
    /// The database had users.
    InUse,
}

impl Note {
    /// Reads the record from a lock file that may not exist.
    pub(super) fn of(database: &Path) -> Result<Self, StoreError> {
        let path = beside(database, LOCK);
        match std::fs::read(&path) {
            Ok(text) => {
                let note = [Self::Beginning, Self::InUse].into_iter().find(|note| text == note.text().as_bytes());
                Ok(note.unwrap_or(Self::None))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::None),
            Err(error) => Err(unreachable_file(&path, &error)),
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Beginning => "the first user is being made\n",
            Self::InUse => "the database beside this file has users; without it, no first user is made\n",
        }
    }
}

/// Held by the process that serves from the file, on a file beside it.
#[derive(Debug)]
pub(super) struct ServeLock(File);

impl ServeLock {
    /// Takes the lock. A command that tests the lock may hold it for an instant, so this tries for a moment.
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

    /// Records something about the database, durably.
    pub(super) fn note(&self, note: Note) -> io::Result<()> {
        let mut file = &self.0;
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(note.text().as_bytes())?;
        file.sync_all()
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
    let path = beside(database, LOCK);
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&path).map_err(|error| unreachable_file(&path, &error))
}
