//! The deadline of every operation.

use std::time::Duration;

use tokio::time::timeout;

use super::super::{Result, StoreError};

/// How long anything may take: waiting for a turn, connecting, asking and committing. PostgreSQL's own limits do not
/// cover the commit, and cannot help where it is the network that hangs.
pub(super) const DEADLINE: Duration = Duration::from_millis(900);

/// Waits for `work`, no longer than [`DEADLINE`]. At the deadline it is dropped, with the connections that it holds.
pub(super) async fn with_deadline<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| StoreError::too_slow(format!("no answer within {DEADLINE:?}; what was asked may have happened"));
    timeout(DEADLINE, work).await.map_err(late)?
}

/// Waits for `work` that changes nothing, or may be asked for again, no longer than `deadline`.
pub(super) async fn with_deadline_of<T>(deadline: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| StoreError::too_slow(format!("no answer within {deadline:?}"));
    timeout(deadline, work).await.map_err(late)?
}
