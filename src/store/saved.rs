//! What a backup or a restored store holds, and why one was not made.

use std::path::PathBuf;

use super::StoreError;
use super::opening::ConnectError;

/// What a backup holds.
#[derive(Clone, Copy, Debug)]
pub struct Saved {
    /// How many users.
    pub users: i64,
    /// How many sessions that were not revoked.
    pub sessions: i64,
}

/// What a restored store holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Restored {
    /// How many users.
    pub users: usize,
    /// How many sessions were ended, since they may have been logged out after the backup.
    pub sessions: usize,
}

/// Why a backup or a restore failed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// PostgreSQL has tools of its own for backups.
    #[error(
        "a database in PostgreSQL is saved by its own tools: run `pg_dump --format=custom --file=sessiond.dump` on it, and see docs/operations.md"
    )]
    PgDump,
    /// PostgreSQL has tools of its own for restoring.
    #[error(
        "a database in PostgreSQL is restored by its own tools: run `pg_restore`, then end every session, and see docs/operations.md"
    )]
    PgRestore,
    /// Nothing is ever written over.
    #[error("{} is there already, and was left alone: name a file that is not, or move it away", .0.display())]
    Exists(PathBuf),
    /// Anything may be a copy of a part of a database.
    #[error("{} is no backup that `sessiond backup` has made", .0.display())]
    None(PathBuf),
    /// A part of it is lost or was changed.
    #[error("{} is damaged ({}): restore another backup", .0.display(), .1)]
    Damaged(PathBuf, String),
    /// One of the files could not be opened.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// One of the files could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}
