//! From a URL to a store: the one place that knows every implementation.

use std::path::PathBuf;
use std::sync::Arc;

use super::SharedStore;
use super::opening::Opening;
pub use super::opening::{ConnectError, Role, Timing};
use super::postgres::{self, Postgres};
use super::sqlite::{self, Sqlite};
use crate::config::DatabaseUrl;
use crate::domain::clock::Clock;
use crate::domain::entropy::Entropy;
use crate::telemetry::{StoreKind, StoreMetrics};

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

/// Which kind of store answers to `url`.
///
/// # Errors
/// [`ConnectError::UnknownScheme`].
pub fn kind(url: &DatabaseUrl) -> Result<StoreKind, ConnectError> {
    Ok(match scheme(url)? {
        Scheme::Sqlite(_) => StoreKind::Sqlite,
        Scheme::Postgres => StoreKind::Postgres,
    })
}

/// Reads the certificates by which the store at `url` is recognised, where there are any, and hashes them.
///
/// # Errors
/// As [`check`].
pub fn certificates(url: &DatabaseUrl) -> Result<Option<[u8; 32]>, ConnectError> {
    match scheme(url)? {
        Scheme::Sqlite(_) => Ok(None),
        Scheme::Postgres => postgres::certificates(url).map(Some),
    }
}

/// The file of an embedded store, if nothing of that store is there.
///
/// # Errors
/// [`ConnectError`] when no store answers to such a URL.
pub fn missing_file(url: &DatabaseUrl) -> Result<Option<PathBuf>, ConnectError> {
    match scheme(url)? {
        Scheme::Sqlite(path) => Ok(Some(path).filter(|path| sqlite::is_missing(path))),
        Scheme::Postgres => Ok(None),
    }
}

/// Opens the store at `url`, migrating it first.
///
/// # Errors
/// [`ConnectError`]; nothing is left open.
pub async fn connect(
    url: &DatabaseUrl,
    role: Role,
    timing: Timing,
    clock: Arc<dyn Clock>,
    entropy: &dyn Entropy,
) -> Result<SharedStore, ConnectError> {
    connect_saying(url, role, timing, clock, entropy, Arc::default(), &Opening::default()).await
}

/// The same, and says meanwhile how far it is: a server waits for a database that is not up yet. The store measures itself
/// in `metrics`.
///
/// # Errors
/// [`ConnectError`]; nothing is left open.
pub async fn connect_saying(
    url: &DatabaseUrl,
    role: Role,
    timing: Timing,
    clock: Arc<dyn Clock>,
    entropy: &dyn Entropy,
    metrics: Arc<StoreMetrics>,
    opening: &Opening,
) -> Result<SharedStore, ConnectError> {
    match scheme(url)? {
        Scheme::Sqlite(path) => Ok(Arc::new(Sqlite::open(path, role, clock, entropy, metrics, opening).await?)),
        // Its revocation log is read by `coherence`, also for what this process revokes.
        Scheme::Postgres => Ok(Arc::new(Postgres::open(url, &role, timing, clock, entropy, metrics, opening).await?)),
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
