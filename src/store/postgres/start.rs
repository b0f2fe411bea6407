//! The first connection: what it is used for before anything is served, and the wait for a database that is not up yet.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::StoreError;
use super::super::connect::ConnectError;
use super::super::opening::{Opening, Stage};
use super::connection::{Connection, NotOpened};
use super::gate::{Backoff, Gate};
use super::pool::within;
use super::{copy, migrate, token_key};
use crate::domain::token::TokenKey;
use crate::telemetry::outage::Seldom;

/// Why there is nothing to serve from.
struct NotReady {
    error: ConnectError,
    /// Whether to try again, and whether the time since the attempt began counts as waited: what a database was there for
    /// and has migrated does not.
    again: Option<Duration>,
}

/// Connects, migrates, and reads the key of tokens. A database that is not up yet is tried again for `patience`.
pub(super) async fn first(
    gate: &Arc<Gate>,
    fresh_key: [u8; 32],
    opening: &Opening,
    patience: Duration,
) -> Result<(Connection, TokenKey), ConnectError> {
    let (mut backoff, mut waited, mut said) = (Backoff::default(), Duration::ZERO, Seldom::default());
    loop {
        let NotReady { error, again } = match attempt(gate, fresh_key, opening).await {
            Ok(ready) => {
                if waited > Duration::ZERO {
                    tracing::info!(?waited, "the database is there");
                }
                opening.is(Stage::Opening);
                return Ok(ready);
            }
            Err(not_ready) => not_ready,
        };
        let Some(lost) = again else { return Err(error) };
        waited += lost;
        if waited >= patience {
            return Err(if patience.is_zero() {
                error
            } else {
                ConnectError::NotUp(waited.as_secs(), error.to_string())
            });
        }
        if said.now() {
            tracing::warn!(%error, ?waited, "the database is not there yet, and is waited for");
        }
        let since = Instant::now().checked_sub(waited).unwrap_or_else(Instant::now);
        opening.is(Stage::Waiting { why: error.to_string(), since });
        let pause = backoff.pause().min(patience.saturating_sub(waited));
        sleep(pause).await;
        waited += pause;
    }
}

async fn attempt(gate: &Gate, fresh_key: [u8; 32], opening: &Opening) -> Result<(Connection, TokenKey), NotReady> {
    let begun = Instant::now();
    let connection = gate.attempt().await.map_err(|NotOpened { error, may_pass }| NotReady {
        error: error.into(),
        again: may_pass.then(|| begun.elapsed()),
    })?;
    let ready = async {
        migrate::migrate(&connection, opening).await?;
        if within(copy::is_unfinished(&connection)).await? {
            return Err(ConnectError::Unfinished);
        }
        Ok(within(token_key(&connection, fresh_key)).await?)
    };
    match ready.await {
        Ok(key) => Ok((connection, key)),
        Err(error) => {
            // Its server may have been stopped meanwhile; or it has refused what it was asked.
            let lost = connection.is_closed() && matches!(error, ConnectError::Store(StoreError::Unreachable(_)));
            Err(NotReady { error, again: lost.then_some(Duration::ZERO) })
        }
    }
}
