//! Brings the tables up to date: `schema_migrations` names what a database has had.

use std::collections::HashSet;
use std::time::Duration;

use super::super::opening::{Opening, Stage};
use super::super::{Result, StoreError};
use super::columns::Columns;
use super::connection::Connection;

/// Every migration there ever was, by name; what a database has had is never changed.
const MIGRATIONS: [(&str, &str); 1] = [("0001_initial", include_str!("../../../migrations/postgres/0001_initial.sql"))];
/// How long all of it may take, waiting for another process that migrates included.
const DEADLINE: Duration = Duration::from_mins(5);

/// Applies what is missing, in one transaction: all of it or nothing, whoever is killed when. Of several processes that
/// start at once one migrates and the others wait, then find nothing to do.
pub(super) async fn migrate(connection: &Connection, opening: &Opening) -> Result<()> {
    let late = |_| StoreError::too_slow(format!("not migrated within {DEADLINE:?}: does another process hold a lock?"));
    tokio::time::timeout(DEADLINE, in_transaction(connection, opening)).await.map_err(late)?
}

async fn in_transaction(connection: &Connection, opening: &Opening) -> Result<()> {
    opening.is(Stage::Locked);
    // The number is ours alone: the first eight letters of "sessiond".
    connection
        .run("BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock(8315180193920146286)")
        .await?;
    opening.is(Stage::Migrating);
    let tables =
        connection.query("SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()", &[]).await?;
    let tables = tables.iter().map(|row| Columns::of(row).next()).collect::<Result<HashSet<String>>>()?;
    if !tables.contains("schema_migrations") {
        if !tables.is_empty() {
            return Err(StoreError::inconsistent(String::from(
                "the database has tables of somebody else's: give sessiond one of its own, or a schema",
            )));
        }
        connection.run("CREATE TABLE schema_migrations (name text NOT NULL PRIMARY KEY)").await?;
    }
    let had = connection.query("SELECT name FROM schema_migrations", &[]).await?;
    let mut had = had.iter().map(|row| Columns::of(row).next()).collect::<Result<HashSet<String>>>()?;
    for (name, sql) in MIGRATIONS {
        if !had.remove(name) {
            connection
                .run(sql)
                .await
                .inspect_err(|error| tracing::error!(migration = name, %error, "cannot migrate"))?;
            connection.execute("INSERT INTO schema_migrations (name) VALUES ($1)", &[&name]).await?;
        }
    }
    if let Some(unknown) = had.into_iter().next() {
        return Err(StoreError::inconsistent(format!(
            "the database has had the migration {unknown}, which this sessiond does not know: a newer one has written it, so run that"
        )));
    }
    connection.run("COMMIT").await
}
