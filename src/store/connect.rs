//! From a URL to a store: the one place that knows every implementation.

use std::path::PathBuf;
use std::sync::Arc;

use super::opening::Opening;
use super::postgres::{self, Postgres};
use super::sqlite::{self, Sqlite};
use super::{RevocationSink, SharedStore, StoreError};
use crate::config::DatabaseUrl;
use crate::domain::clock::Clock;
use crate::domain::entropy::Entropy;

/// What the process wants of the store.
#[derive(Clone)]
pub enum Role {
    /// To serve checks from memory: alone on an embedded store, and told of every revocation.
    Serve(Arc<dyn RevocationSink>),
    /// To run one command, beside a server perhaps.
    Command,
}

/// A store that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No store answers to such a URL.
    #[error(
        "database_url `{0}` names no store: write sqlite:// and a path, such as sqlite://sessiond.db, or postgres://user@host/database"
    )]
    UnknownScheme(DatabaseUrl),
    /// The URL names PostgreSQL, and cannot be understood.
    #[error("database_url cannot be used: {0}")]
    BadUrl(String),
    /// Another process serves from this file.
    #[error("{} is held by another running `sessiond serve` or `sessiond copy`: stop that one, or give this one a database of its own", .0.display())]
    AlreadyServed(PathBuf),
    /// What lies beside a database belongs to another one.
    #[error(
        "{} belongs to the database that was there before, and would be mixed into this one: if that one is given up, move it away, with its -shm, and start again", .0.display()
    )]
    OlderLog(PathBuf),
    /// Users were lost.
    #[error(
        "{path} was in use, and has no users now: it is a part of a database, such as a copy without its -wal. Restore a backup by `sessiond restore`; or, to begin anew with no users, remove {path} and {path}.lock",
        path = .0.display()
    )]
    Emptied(PathBuf),
    /// What is to be copied would be out of date.
    #[error("{} is a backup: bring it to life by `sessiond restore` first, which says what becomes of its sessions", .0.display())]
    NotRestored(PathBuf),
    /// The database was waited for at the start, for so many seconds.
    #[error("the database was waited for, for {0} s, and is still not there: {1}")]
    NotUp(u64, String),
    /// A part of what it is to hold is there.
    #[error(
        "the database holds an unfinished copy: start the same `sessiond copy` again, and it goes on from there until it is done"
    )]
    Unfinished,
    /// The store itself failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Says whether a store answers to `url`, without opening it, and what is unsafe about it.
///
/// # Errors
/// [`ConnectError::UnknownScheme`] and [`ConnectError::BadUrl`].
pub fn check(url: &DatabaseUrl) -> Result<Vec<String>, ConnectError> {
    match scheme(url)? {
        Scheme::Sqlite(path) => Ok(sqlite::warnings(&path)),
        Scheme::Postgres => Ok(postgres::check(url)?.map(String::from).into_iter().collect()),
    }
}

/// Opens the store at `url`, migrating it first.
///
/// # Errors
/// [`ConnectError`]; nothing is left open.
pub async fn connect(
    url: &DatabaseUrl,
    role: Role,
    clock: Arc<dyn Clock>,
    entropy: &dyn Entropy,
) -> Result<SharedStore, ConnectError> {
    connect_saying(url, role, clock, entropy, &Opening::default()).await
}

/// The same, and says meanwhile how far it is: a server waits for a database that is not up yet.
///
/// # Errors
/// [`ConnectError`]; nothing is left open.
pub async fn connect_saying(
    url: &DatabaseUrl,
    role: Role,
    clock: Arc<dyn Clock>,
    entropy: &dyn Entropy,
    opening: &Opening,
) -> Result<SharedStore, ConnectError> {
    match scheme(url)? {
        Scheme::Sqlite(path) => Ok(Arc::new(Sqlite::open(path, role, clock, entropy, opening).await?)),
        // Nobody is told here of what was revoked: whoever serves reads the log.
        Scheme::Postgres => Ok(Arc::new(Postgres::open(url, &role, clock, entropy, opening).await?)),
    }
}

/// Which store a URL names.
pub(super) enum Scheme {
    Sqlite(PathBuf),
    Postgres,
}

pub(super) fn scheme(url: &DatabaseUrl) -> Result<Scheme, ConnectError> {
    if url.reveal().starts_with("postgres://") || url.reveal().starts_with("postgresql://") {
        return Ok(Scheme::Postgres);
    }
    match url.reveal().strip_prefix("sqlite://") {
        Some(path) if !path.is_empty() && !path.contains(['?', '#']) => Ok(Scheme::Sqlite(PathBuf::from(path))),
        Some(_) | None => Err(ConnectError::UnknownScheme(url.clone())),
    }
}
