//! Backups: a whole store in one file, and back. PostgreSQL has programs of its own for that.

use std::path::{Path, PathBuf};

use super::connect::{Scheme, scheme};
pub use super::saved::{BackupError, Restored, Saved};
use super::{StoreError, sqlite};
use crate::config::DatabaseUrl;
use crate::domain::clock::Clock;
use crate::domain::entropy::Entropy;

/// Copies the whole store at `url` to a file that is not there yet. A server may be running on it.
///
/// # Errors
/// [`BackupError`]; nothing is left behind.
pub async fn backup(url: &DatabaseUrl, file: &Path, entropy: &dyn Entropy) -> Result<Saved, BackupError> {
    match scheme(url)? {
        Scheme::Sqlite(database) => sqlite::backup(&database, file, &unique(entropy)?).await,
        Scheme::Postgres => Err(BackupError::PgDump),
    }
}

/// Restores a backup to where `url` points and where there is nothing yet, and ends every session in it unless they are
/// to be kept.
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

/// A part of a file's name that no other process chooses.
fn unique(entropy: &dyn Entropy) -> Result<String, StoreError> {
    let mut random = [0; 8];
    entropy.fill(&mut random).map_err(|error| StoreError::unreachable(error.to_string()))?;
    Ok(format!("{:016x}", u64::from_be_bytes(random)))
}
