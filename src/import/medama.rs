//! The users of Medama, out of its SQLite database.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::record::{BadLine, Raw, Read, past};
use crate::password::Scheme;

/// What is read of its table of users, numbered in this order.
const USERS: &str = "SELECT username, password, date_created FROM users ORDER BY date_created, id";

/// Reads the database, which is not changed.
///
/// # Errors
/// Why it cannot be read, in a sentence.
pub async fn read_medama(path: &Path) -> Result<Read, String> {
    let rows = rows(path).await.map_err(|error| {
        let why = error.as_database_error().map_or("it cannot be opened", |error| error.message());
        format!("{} is not a database of Medama's: {why}", path.display())
    })?;
    let mut read = Read::default();
    for (row, (username, password, created)) in (1..).zip(rows) {
        let created_at = past(created.saturating_mul(1000)).map_err(BadLine::of(&username));
        let raw = Raw::new(username, Scheme::Medama, password.unwrap_or_default());
        read.add(row, created_at.map(|at| Raw { created_at: Some(at), ..raw }));
    }
    Ok(read)
}

/// A username, a hash, and when the user was made, in seconds.
async fn rows(path: &Path) -> sqlx::Result<Vec<(String, Option<String>, i64)>> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).disable_statement_logging();
    let mut connection = options.connect().await?;
    let rows = sqlx::query_as(USERS).fetch_all(&mut connection).await;
    connection.close().await?;
    rows
}
