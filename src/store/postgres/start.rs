//! Opens the store: the wait for a database that is not up yet, the migrations, and the key of tokens.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::opening::{ConnectError, Opening, Stage};
use super::super::{Result, StoreError};
use super::connection::{Connection, NotOpened};
use super::deadline::with_deadline;
use super::gate::{Backoff, Gate};
use super::{copy, migrate};
use crate::domain::token::TokenKey;
use crate::telemetry::outage::{LogThrottle, to_the_millisecond};

/// Why the store could not be opened.
struct NotReady {
    error: ConnectError,
    /// Whether to try again, and whether the time since the attempt began counts towards the wait. Time that a
    /// reachable database spent on migrations does not.
    again: Option<Duration>,
}

/// Connects, migrates, and reads the key of tokens. A database that is not up yet is tried again for `patience`.
pub(super) async fn first(
    gate: &Arc<Gate>,
    fresh_key: [u8; 32],
    opening: &Opening,
    patience: Duration,
) -> std::result::Result<(Connection, TokenKey), ConnectError> {
    let (mut backoff, mut waited, mut throttle) = (Backoff::default(), Duration::ZERO, LogThrottle::default());
    loop {
        let NotReady { error, again } = match attempt(gate, fresh_key, opening).await {
            Ok(ready) => {
                if waited > Duration::ZERO {
                    tracing::info!(waited = ?to_the_millisecond(waited), "the database is there");
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
        if throttle.is_due() {
            let waited = to_the_millisecond(waited);
            tracing::warn!(%error, ?waited, "the database is not there yet, and is waited for");
        }
        let since = Instant::now().checked_sub(waited).unwrap_or_else(Instant::now);
        opening.is(Stage::Waiting { why: error.to_string(), since });
        let pause = backoff.pause().min(patience.saturating_sub(waited));
        sleep(pause).await;
        waited += pause;
    }
}

async fn attempt(
    gate: &Gate,
    fresh_key: [u8; 32],
    opening: &Opening,
) -> std::result::Result<(Connection, TokenKey), NotReady> {
    let begun = Instant::now();
    let mut connection = gate.attempt().await.map_err(|NotOpened { error, may_pass, .. }| NotReady {
        error: error.into(),
        again: may_pass.then(|| begun.elapsed()),
    })?;
    let ready = async {
        migrate::migrate(&mut connection, &gate.address, &gate.warnings, opening).await?;
        if with_deadline(copy::is_unfinished(&mut connection)).await? {
            return Err(ConnectError::Unfinished);
        }
        Ok(with_deadline(token_key(&mut connection, fresh_key)).await?)
    };
    match ready.await {
        Ok(key) => Ok((connection, key)),
        Err(error) => {
            // The database may have been stopped meanwhile; or what it was asked is refused, and will be.
            let again = matches!(&error, ConnectError::Store(StoreError::Unreachable(_) | StoreError::TooSlow(_)));
            Err(NotReady { error, again: again.then_some(Duration::ZERO) })
        }
    }
}

/// The key in the database, which is `fresh` if there was none.
async fn token_key(connection: &mut Connection, fresh: [u8; 32]) -> Result<TokenKey> {
    const UNFIT: &str = "the token key in the database is not one";
    let insert = "INSERT INTO secrets (name, value) VALUES ('token_key', $1) ON CONFLICT (name) DO NOTHING";
    connection.execute(sqlx::query(insert).bind(fresh.to_vec())).await?;
    let select = "SELECT value FROM secrets WHERE name = 'token_key'";
    let (key,): (Vec<u8>,) = connection.one(sqlx::query_as(select), UNFIT).await?;
    Ok(TokenKey::new(key.try_into().map_err(|_| StoreError::inconsistent(UNFIT))?))
}
