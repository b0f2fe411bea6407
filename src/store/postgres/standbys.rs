//! What protects commits from the loss of the server: whether they wait for a standby, and how many there are.

use sqlx::query_as;

use super::super::{Result, StoreError};
use super::pool::Pool;
use crate::telemetry::Standbys;

/// Reads it. Every connection has `synchronous_commit` at `on` or more, so only the names decide. A server that loses its
/// standby may be told to wait for none, by an operator or by Patroni, and its commits then count for one disk.
pub(super) async fn read(pool: &Pool) -> Result<Standbys> {
    // Without the right to read statistics there is a row for each standby, and nothing in it.
    let standbys = query_as(
        "SELECT current_setting('synchronous_standby_names') <> '' AS waits,
             (SELECT CASE WHEN bool_or(sync_state IS NULL) THEN NULL
                  ELSE count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) END
              FROM pg_stat_replication) AS synchronous",
    );
    let row: Option<(bool, Option<i64>)> = pool.row(standbys).await?;
    let (waits, synchronous) =
        row.ok_or_else(|| StoreError::inconsistent("the settings of the database have no row"))?;
    Ok(Standbys { waits, synchronous })
}
