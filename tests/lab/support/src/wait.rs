//! Waiting for a condition instead of for a length of time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Longer than anything takes that is waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long to wait between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Looks again and again, for no longer than [`PATIENCE`].
pub struct Wait<'w> {
    what: &'w str,
    begun: Instant,
}

impl<'w> Wait<'w> {
    /// Begins to wait until something is so.
    pub fn until(what: &'w str) -> Self {
        Self { what, begun: Instant::now() }
    }

    /// Pauses before the next look. Fails when there were enough.
    pub async fn pause(&self) -> Result<()> {
        if self.begun.elapsed() > PATIENCE {
            bail!("waited {PATIENCE:?} in vain until {}", self.what);
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}

/// Waits until a condition holds; panics when it never does, so that a test fails and does not hang.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let wait = Wait::until(what);
    while !condition().await {
        wait.pause().await.unwrap_or_else(|error| panic!("{error}"));
    }
}
