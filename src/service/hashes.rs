//! Which kinds of hashes users have that were made elsewhere: it is measured how long each takes, so that every refusal
//! takes as long as the slowest, until the last of them is gone.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Result, Service};
use crate::password::{FIRST_FOREIGN, Hasher, RefusalsWait, after_its_kind, foreign_kind};
use crate::store::Store;

/// How often it is looked for kinds that came with an import, or of which none is left. A new one is known at the latest when a
/// password is first checked against one.
const LOOK: Duration = Duration::from_secs(10);
/// How many kinds are looked at.
const KINDS: usize = 256;

impl Service {
    /// Measures kinds of hashes as they come, until it is stopped. From now on until it has looked for the first time,
    /// refusals wait.
    pub fn measure_hashes(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let (store, hasher) = (Arc::clone(&self.parts.store), Arc::clone(&self.parts.hasher));
        let mut first = hasher.refusals_wait_now();
        async move {
            loop {
                if let Err(error) = measure(&*store, &hasher, first.take()).await {
                    tracing::debug!(%error, "cannot find out which kinds of hashes there are, and will try again");
                }
                hasher.give_memory_back();
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        }
    }
}

/// Measures the kinds that are not known yet, while refusals wait; and forgets those that are gone, if all were seen.
async fn measure(store: &dyn Store, hasher: &Hasher, mut wait: Option<RefusalsWait>) -> Result<()> {
    // One that is measured from now on may have come behind where it has been looked already.
    let mut gone = hasher.foreign_kinds();
    let mut from = String::from(FIRST_FOREIGN);
    for _ in 0..KINDS {
        let Some(hash) = store.foreign_hash(&from).await? else {
            hasher.forget(&gone);
            break;
        };
        from = after_its_kind(&hash);
        if let Some(kind) = foreign_kind(&hash) {
            gone.remove(&kind);
        }
        if !hasher.knows(&hash) {
            if wait.is_none() {
                wait = Some(hasher.refusals_wait().await);
            }
            hasher.measure(hash).await?;
        }
    }
    Ok(())
}
