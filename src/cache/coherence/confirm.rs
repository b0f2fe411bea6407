//! For commands that change a store beside its servers: the wait until those have applied the change.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::contract::LEASE;
use super::embedded::PATIENCE;
use crate::domain::revocation::Seq;
use crate::store::{Result, Store};

/// How long after a look at the rows the next one is taken.
const AGAIN: Duration = Duration::from_millis(5);

/// The state of a command's change on the servers that run on the same store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// They have applied it, or are not trusted until they have.
    Applied,
    /// There is no server.
    NoServer,
    /// There is a server, and it has not applied it in time.
    NotInTime,
}

/// Waits until every process that serves from `store` has applied `seq`, which was committed before.
///
/// # Errors
/// When the store fails.
pub async fn confirm(store: &dyn Store, seq: Seq) -> Result<Confirmed> {
    let began = Instant::now();
    loop {
        // The clock is read before the rows are: what has not applied it in a lease from then is not trusted any more.
        let waited = began.elapsed();
        if !store.is_served().await? {
            return Ok(Confirmed::NoServer);
        }
        if store.replicas().await?.iter().all(|row| row.applied >= seq || !row.caching) {
            return Ok(Confirmed::Applied);
        }
        match store.shared() {
            Some(_) if waited > LEASE => return Ok(Confirmed::Applied),
            None if waited > PATIENCE => return Ok(Confirmed::NotInTime),
            Some(_) | None => sleep(AGAIN).await,
        }
    }
}
