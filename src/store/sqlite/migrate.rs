//! Brings the file's tables up to date: one transaction, which is also what keeps other processes out meanwhile.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Sqlite};

use super::super::migrate::{self, Schema, State};
use super::super::{Result, StoreError};
use super::connection::failed;

static SCHEMA: Schema = Schema {
    known: &migrate::SQLITE,
    tables: "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    failed,
};

/// Applies what is missing. Of two processes that start at once, the second finds nothing to do.
pub(super) async fn migrate(connection: &mut SqliteConnection) -> Result<()> {
    // A transaction of the driver's, so that what it begins for each migration is a part of this one.
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    SCHEMA.apply::<Sqlite>(&mut transaction).await?;
    transaction.commit().await.map_err(failed)
}

/// Refuses a database that lacks a migration, without a change to it.
pub(super) async fn check(connection: &mut SqliteConnection) -> Result<()> {
    match SCHEMA.state::<Sqlite>(connection).await? {
        State::Ready => Ok(()),
        State::Empty | State::Behind(_) => Err(StoreError::inconsistent(
            "the source lacks migrations that this sessiond knows: run `sessiond migrate` on it first",
        )),
    }
}
