//! Who must have heard of a revocation before anybody is told of it.
//!
//! The store's writer hands every revocation to [`Coherence::hear`] in the order of the log, and whoever is about to
//! reveal number N awaits [`Coherence::settled`]. With one process both are a matter of its own memory.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::cache::Cache;
use crate::domain::revocation::{Revocation, Seq};
use crate::store::RevocationSink;

/// How long a revocation may take to be heard of; then its outcome is not told.
const PATIENCE: Duration = Duration::from_secs(2);

/// A revocation was not heard of in time, so nothing may be said of it.
#[derive(Debug, thiserror::Error)]
#[error("revocation {0:?} was not settled in time")]
pub struct NotSettled(Seq);

/// Applies revocations to the cache and knows how far it is.
#[derive(Debug)]
pub struct Coherence {
    cache: Option<Arc<Cache>>,
    applied: watch::Sender<Seq>,
}

impl Coherence {
    /// Sees to `cache`; without one there is nothing to forget, and every check reads the store.
    pub fn new(cache: Option<Arc<Cache>>) -> Self {
        Self { cache, applied: watch::Sender::new(Seq::default()) }
    }

    /// Waits until no check that begins from now on accepts what number `seq` ended.
    ///
    /// # Errors
    /// [`NotSettled`] after two seconds: answer 5xx, never 401 and never 2xx.
    pub async fn settled(&self, seq: Seq) -> Result<(), NotSettled> {
        if *self.applied.borrow() >= seq {
            return Ok(());
        }
        let mut applied = self.applied.subscribe();
        let heard = applied.wait_for(|applied| *applied >= seq);
        match tokio::time::timeout(PATIENCE, heard).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(NotSettled(seq)),
        }
    }
}

impl RevocationSink for Coherence {
    fn hear(&self, revocation: &Revocation) {
        if let Some(cache) = &self.cache {
            cache.forget(revocation);
        }
        self.applied.send_if_modified(|applied| {
            let newer = revocation.seq > *applied;
            *applied = revocation.seq.max(*applied);
            newer
        });
    }

    fn lose(&self) {
        if let Some(cache) = &self.cache {
            cache.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(seq: i64) -> Revocation {
        Revocation { seq: Seq(seq), ..Revocation::default() }
    }

    #[tokio::test]
    async fn what_was_heard_is_settled_at_once() {
        let coherence = Coherence::new(None);
        coherence.hear(&number(3));
        assert!(coherence.settled(Seq(3)).await.is_ok());
    }

    #[tokio::test]
    async fn what_was_not_heard_yet_is_waited_for() {
        let coherence = Arc::new(Coherence::new(None));
        let (settled, ()) = tokio::join!(coherence.settled(Seq(1)), async {
            tokio::task::yield_now().await;
            coherence.hear(&number(1));
        });
        assert!(settled.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_never_heard_is_an_error_and_not_an_answer() {
        assert!(Coherence::new(None).settled(Seq(1)).await.is_err());
    }
}
