//! Opens the store: the file of a database that is new, or in use, and not one of which something was lost; its migrations, and
//! the key of tokens.

use std::path::Path;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::super::StoreError;
use super::super::opening::{ConnectError, Opening, Stage};
use super::super::rows::Secret;
use super::connection::{self, failed};
use super::lock::Note;
use super::mark::Mark;
use super::operations::accounts::HAS_USERS;
use super::paths::beside;
use super::writer::{Writer, WriterParts};
use super::{backup, migrate, wal};
use crate::domain::token::TokenKey;

/// Refuses to make a new database where something of another one is left: its log, which SQLite would delete, or the
/// record that it had users.
pub(super) fn refuse_remains(path: &Path) -> Result<(), ConnectError> {
    if path.metadata().is_ok_and(|found| found.len() > 0) {
        return Ok(());
    }
    let log = beside(path, "-wal");
    if log.metadata().is_ok_and(|found| found.len() > 0) {
        return Err(ConnectError::OlderLog(log));
    }
    if Note::of(path)? == Note::InUse {
        return Err(ConnectError::Emptied(path.to_owned()));
    }
    Ok(())
}

/// A store that has been started.
pub(super) struct Started {
    pub(super) writer: Writer,
    pub(super) token_key: TokenKey,
    /// Whether it has users.
    pub(super) used: bool,
}

/// Migrates the file and starts the writer.
pub(super) async fn prepare(
    parts: WriterParts,
    fresh_key: [u8; 32],
    opening: &Opening,
) -> Result<Started, ConnectError> {
    backup::restore_in_place(&parts.path, &*parts.clock).await?;
    // Opened without a write-ahead log, since the file may still turn out to belong to another program.
    let mut connection = connection::beside_the_writer(&parts.path).await.map_err(failed)?;
    opening.is(Stage::Migrating);
    migrate::migrate(&mut connection).await?;
    opening.is(Stage::Opening);
    let token_key = token_key(&mut connection, fresh_key).await.map_err(failed)?;
    // Commands check this too, since they can also make the first user.
    let used = is_in_use(&mut connection, &parts.path).await?;
    // Closing folds and removes the log there is; beside an empty database SQLite would remove the new one too.
    connection.close().await.map_err(failed)?;
    if parts.sink.is_some() {
        let path = parts.path.clone();
        let made = tokio::task::spawn_blocking(move || wal::make_room(&path)).await;
        made.map_err(|error| StoreError::unreachable(error.to_string()))?;
    }
    let connection = connection::writer(&parts.path).await?;
    Ok(Started { writer: Writer::start(parts, connection).await?, token_key, used })
}

/// Whether a database has users, which is written into it then. One that had some and has none is refused.
async fn is_in_use(connection: &mut SqliteConnection, path: &Path) -> Result<bool, ConnectError> {
    let users = sqlx::query_scalar(HAS_USERS).fetch_one(&mut *connection).await.map_err(failed)?;
    let marked = Mark::inside(connection).await.map_err(failed)? == Mark::InUse;
    if users && !marked {
        sqlx::query(Mark::InUse.sql()).execute(connection).await.map_err(failed)?;
    }
    let note = Note::of(path)?;
    if !users && (note == Note::InUse || marked && note != Note::Beginning) {
        return Err(ConnectError::Emptied(path.to_owned()));
    }
    Ok(users)
}

/// The key in the file, which is `fresh` if there was none.
async fn token_key(connection: &mut SqliteConnection, fresh: [u8; 32]) -> sqlx::Result<TokenKey> {
    let insert = "INSERT INTO secrets (name, value) VALUES ('token_key', ?1) ON CONFLICT (name) DO NOTHING";
    sqlx::query(insert).bind(fresh.as_slice()).execute(&mut *connection).await?;
    let (Secret(key),) =
        sqlx::query_as("SELECT value FROM secrets WHERE name = 'token_key'").fetch_one(connection).await?;
    Ok(TokenKey::new(key))
}
