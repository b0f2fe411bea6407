//! Brings the tables up to date on a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection as _, PgConnection, Postgres, Transaction};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::super::migrate::{POSTGRES, Schema, State};
use super::super::opening::{Opening, Stage};
use super::super::{Result, StoreError};
use super::address::Address;
use super::connection::{Connection, NotOpened, Warnings, failed};
use super::deadline::with_deadline;

const SCHEMA: Schema = Schema {
    known: &POSTGRES,
    tables: "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()",
    failed,
};
/// How long another process that migrates is waited for, and tables that are in use.
const PATIENCE: Duration = Duration::from_mins(5);
/// How long the migration itself may take. One that is given up is undone and begins anew, so this only ends the wait for a
/// database that has silently gone.
const LONGEST: Duration = Duration::from_hours(6);
/// How long the pauses are between attempts to get the lock.
const PAUSE: Duration = Duration::from_millis(50);

/// Applies what is missing in the database that `connection` leads to.
pub(super) async fn migrate(
    connection: &mut Connection,
    address: &Address,
    warnings: &Arc<Warnings>,
    opening: &Opening,
) -> Result<()> {
    let state = async { SCHEMA.state::<Postgres>(connection.driver().await.map_err(failed)?).await };
    let limits = match with_deadline(state).await? {
        State::Ready => return Ok(()),
        // No table is in use there.
        State::Empty => "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0",
        State::Behind(_) => "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 500",
    };
    opening.is(Stage::Locked);
    let deadline = Instant::now() + PATIENCE;
    let opened = timeout_at(deadline, Connection::open(address, warnings)).await;
    let mut connection = opened.map_err(late)?.map_err(|NotOpened { error, .. }| error)?;
    let driver = connection.driver().await.map_err(failed)?;
    loop {
        match in_transaction(driver, limits, deadline, opening).await {
            // A table that is to be changed is in use.
            Err(StoreError::TooSlow(_)) if Instant::now() < deadline => sleep(PAUSE).await,
            ended => return ended,
        }
    }
}

/// Migrates in one transaction: all of it or nothing, whichever process is killed. Of several processes that start at
/// once one migrates and the others wait, then find nothing to do. A table that is in use is waited for only briefly,
/// since all that comes after waits for it, too.
async fn in_transaction(
    driver: &mut PgConnection,
    limits: &'static str,
    deadline: Instant,
    opening: &Opening,
) -> Result<()> {
    let mut transaction = timeout_at(deadline, locked(driver, limits)).await.map_err(late)??;
    opening.is(Stage::Migrating);
    let migrated = async {
        let applied = SCHEMA.apply::<Postgres>(&mut transaction).await;
        applied.inspect_err(|error| tracing::error!(%error, "cannot migrate"))?;
        transaction.commit().await.map_err(failed)
    };
    let too_long = |_| StoreError::unreachable(format!("the migration did not end within {LONGEST:?}"));
    timeout(LONGEST, migrated).await.map_err(too_long)?
}

fn late(_: Elapsed) -> StoreError {
    StoreError::too_slow(format!("not migrated within {PATIENCE:?}: does another process hold a lock?"))
}

/// A transaction that keeps others out that migrate.
async fn locked<'d>(driver: &'d mut PgConnection, limits: &'static str) -> Result<Transaction<'d, Postgres>> {
    let mut transaction = driver.begin().await.map_err(failed)?;
    sqlx::raw_sql(limits).execute(&mut *transaction).await.map_err(failed)?;
    loop {
        // The number of this lock: the first eight letters of "sessiond".
        let lock = sqlx::query_as("SELECT pg_try_advisory_xact_lock(8315180193920146286)");
        let (locked,): (bool,) = lock.fetch_one(&mut *transaction).await.map_err(failed)?;
        if locked {
            return Ok(transaction);
        }
        sleep(PAUSE).await;
    }
}
