//! Backups: a whole store in one file, and back. PostgreSQL has programs of its own for that.

use std::path::{Path, PathBuf};

use super::connect::{Scheme, scheme};
use super::opening::ConnectError;
use super::{StoreError, sqlite};
use crate::config::DatabaseUrl;
use crate::domain::clock::Clock;
use crate::domain::entropy::Entropy;

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

/// A backup or a restore that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// PostgreSQL copies what is in it by itself.
    #[error(
        "a database in PostgreSQL is saved by its own tools: run `pg_dump --format=custom --file=sessiond.dump` on it, and see docs/operations.md"
    )]
    PgDump,
    /// The same for the way back.
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

/// Copies the whole store at `url` to a file that is not there yet, beside a running server perhaps.
///
/// # Errors
/// [`BackupError`]; nothing is left behind.
pub async fn backup(url: &DatabaseUrl, file: &Path, entropy: &dyn Entropy) -> Result<Saved, BackupError> {
    match scheme(url)? {
        Scheme::Sqlite(database) => sqlite::backup(&database, file, &unique(entropy)?).await,
        Scheme::Postgres => Err(BackupError::PgDump),
    }
}

/// Puts a backup where `url` says and where nothing is yet, and ends every session in it unless they are to be kept.
///
/// # Errors
/// [`BackupError`]; nothing is left behind.
pub async fn restore(
    url: &DatabaseUrl,
    file: PathBuf,
    keep_sessions: bool,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<Restored, BackupError> {
    match scheme(url)? {
        Scheme::Sqlite(database) => sqlite::restore(file, database, unique(entropy)?, keep_sessions, clock).await,
        Scheme::Postgres => Err(BackupError::PgRestore),
    }
}

/// A part of a name that no other process makes up.
fn unique(entropy: &dyn Entropy) -> Result<String, StoreError> {
    let mut random = [0; 8];
    entropy.fill(&mut random).map_err(|error| StoreError::unreachable(error.to_string()))?;
    Ok(format!("{:016x}", u64::from_be_bytes(random)))
}
