//! Coherence where one process serves from the store, whose writer applies every revocation to the cache itself.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::contract::{Coherence, NotSettled};
use super::progress::Progress;
use crate::cache::sessions::Cache;
use crate::domain::revocation::{Revocation, Seq};
use crate::store::RevocationSink;
use crate::telemetry::Metrics;

/// How long a revocation may take to be applied. If it takes longer, its outcome is not published.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Coherence of a process that is the only one.
pub struct Embedded {
    cache: Arc<Cache>,
    caching: bool,
    applied: Progress,
    metrics: Arc<Metrics>,
}

impl Embedded {
    /// Keeps `cache` up to date. It is always trusted if checks are answered from it (`caching`).
    pub fn new(cache: Arc<Cache>, caching: bool, metrics: Arc<Metrics>) -> Self {
        Self { cache, caching, applied: Progress::default(), metrics }
    }

    async fn applied(&self, seq: Seq) -> Result<(), NotSettled> {
        if self.applied.reach(seq, PATIENCE).await { Ok(()) } else { Err(NotSettled(seq)) }
    }
}

#[async_trait]
impl Coherence for Embedded {
    fn is_caching(&self) -> bool {
        self.caching
    }

    fn trusted(&self) -> bool {
        self.caching
    }

    fn untrusted_reason(&self) -> Option<String> {
        (!self.caching).then(|| String::from("the cache is off"))
    }

    async fn settled(&self, seq: Seq) -> Result<(), NotSettled> {
        let began = Instant::now();
        let outcome = self.applied(seq).await;
        self.metrics.coherence.settled(began.elapsed());
        outcome
    }

    /// One process commits and reads, and what it reads is on its disk.
    async fn settled_as_read(&self, seq: Seq) -> Result<(), NotSettled> {
        self.settled(seq).await
    }

    async fn flushed(&self, seq: Seq) -> Result<(), NotSettled> {
        self.applied(seq).await
    }
}

impl RevocationSink for Embedded {
    fn apply(&self, revocation: &Revocation) {
        self.cache.apply(revocation);
        self.metrics.coherence.applied();
        self.applied.advance(revocation.seq);
    }

    fn clear(&self) {
        self.cache.abandon();
    }
}
