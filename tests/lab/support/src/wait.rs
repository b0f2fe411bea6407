//! Waiting for a condition instead of for a length of time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Longer than anything takes that is waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long to wait between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Waits until a condition holds; panics when it never does, so that a test fails and does not hang.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waited = wait_for(what, async || Ok(condition().await.then_some(()))).await;
    waited.unwrap_or_else(|error| panic!("{error}"));
}

/// Looks until there is something. Fails when the look fails, and when there never is.
pub async fn wait_for<T>(what: &str, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if begun.elapsed() > PATIENCE {
            bail!("waited {PATIENCE:?} in vain until {what}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
