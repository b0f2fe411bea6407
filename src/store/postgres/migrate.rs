//! Brings the tables up to date on a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection as _, PgConnection, Postgres};
use tokio::time::{sleep, timeout};

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
/// How long all of it may take, waiting for another process that migrates included.
const DEADLINE: Duration = Duration::from_mins(5);
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
    let late = |_| StoreError::too_slow(format!("not migrated within {DEADLINE:?}: does another process hold a lock?"));
    let migrated = async {
        let unopened = |NotOpened { error, .. }| error;
        let mut connection = Connection::open(address, warnings).await.map_err(unopened)?;
        let driver = connection.driver().await.map_err(failed)?;
        loop {
            match in_transaction(driver, limits, opening).await {
                // A table that is to be changed is in use.
                Err(StoreError::TooSlow(_)) => sleep(PAUSE).await,
                ended => break ended,
            }
        }
    };
    timeout(DEADLINE, migrated).await.map_err(late)?
}

/// Migrates in one transaction: all of it or nothing, whichever process is killed. Of several processes that start at
/// once one migrates and the others wait, then find nothing to do. A table that is in use is waited for only briefly,
/// since all that comes after waits for it, too.
async fn in_transaction(driver: &mut PgConnection, limits: &'static str, opening: &Opening) -> Result<()> {
    let mut transaction = driver.begin().await.map_err(failed)?;
    sqlx::raw_sql(limits).execute(&mut *transaction).await.map_err(failed)?;
    loop {
        // The number of this lock: the first eight letters of "sessiond".
        let lock = sqlx::query_as("SELECT pg_try_advisory_xact_lock(8315180193920146286)");
        let (locked,): (bool,) = lock.fetch_one(&mut *transaction).await.map_err(failed)?;
        if locked {
            break;
        }
        sleep(PAUSE).await;
    }
    opening.is(Stage::Migrating);
    let applied = SCHEMA.apply::<Postgres>(&mut transaction).await;
    applied.inspect_err(|error| tracing::error!(%error, "cannot migrate"))?;
    transaction.commit().await.map_err(failed)
}
