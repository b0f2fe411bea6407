//! What the rest of the service relies on: when the cache may be trusted, and when a revocation is settled.

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::revocation::Seq;

/// The longest time after its beat for which a replica may answer from memory.
pub const LEASE: Duration = Duration::from_secs(1);

/// A revocation was not settled in time, so nothing may be published of it.
#[derive(Debug, thiserror::Error)]
#[error("revocation {0:?} was not settled in time")]
pub struct NotSettled(pub(super) Seq);

/// Whether the cache may be trusted, and whether a revocation is settled.
///
/// An answer that reveals revocation N awaits [`Self::settled`] or [`Self::settled_as_read`] first. An answer that comes
/// from the cache asks [`Self::trusted`] first, anew for each look.
#[async_trait]
pub trait Coherence: Send + Sync + 'static {
    /// Whether checks are ever answered from the cache. If not, the cache only records when sessions were last seen.
    fn is_caching(&self) -> bool;

    /// Whether the cache may be trusted now.
    fn trusted(&self) -> bool;

    /// Why the cache is untrusted, or `None` where it is trusted.
    fn untrusted_reason(&self) -> Option<String>;

    /// Waits until no check that begins from now on, on any replica, accepts what number `seq` ended. This process has
    /// committed the number, or something after it, and the commit was answered.
    ///
    /// # Errors
    /// [`NotSettled`]: answer 5xx, never 401 and never 2xx.
    async fn settled(&self, seq: Seq) -> Result<(), NotSettled>;

    /// The same of a number that was only read. What can be read may not have reached the standby that its commit waited
    /// for, and would be undone if that took over. So this waits first until the number is known to be durable.
    ///
    /// # Errors
    /// As [`Self::settled`].
    async fn settled_as_read(&self, seq: Seq) -> Result<(), NotSettled>;

    /// Waits until every other replica has stored the last-seen times that the entry `seq` asks for, or its lease is
    /// over.
    ///
    /// # Errors
    /// As [`Self::settled`].
    async fn flushed(&self, seq: Seq) -> Result<(), NotSettled>;
}
