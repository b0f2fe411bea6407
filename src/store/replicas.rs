//! What a store offers to the processes that share it: each has a row, and reads the log of revocations.
//!
//! How long a cache may be trusted is not decided here but in `coherence`.

use async_trait::async_trait;

use super::Result;
use crate::domain::clock::Timestamp;
use crate::domain::id::ReplicaId;
use crate::domain::revocation::{Revocation, Seq};
use crate::domain::session::Seen;
use crate::domain::token::TokenHash;

/// The row of a process that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica {
    /// The process that it belongs to.
    pub id: ReplicaId,
    /// How many beats it has counted.
    pub beat: i64,
    /// The number of the log up to which its cache has removed what was revoked.
    pub applied: Seq,
    /// Whether it answers checks from memory, so that a revocation has to wait for it.
    pub caching: bool,
}

/// The log and the rows, read together at one moment after they were asked for.
#[derive(Clone, Debug)]
pub struct News {
    /// The timeline of the database. Where another server or a backup has taken over, it is another one, and numbers may
    /// have been given out twice.
    pub timeline: u32,
    /// The newest number of the log.
    pub head: Seq,
    /// What follows the number that was asked from, without a gap unless the log was cut; perhaps not up to `head`.
    pub revocations: Vec<Revocation>,
    /// Every row.
    pub replicas: Vec<Replica>,
}

/// Where everything that could be read was made durable.
#[derive(Clone, Copy, Debug)]
pub struct MadeDurable {
    /// The timeline of the database.
    pub timeline: u32,
    /// Whether the log has an entry of the number that was asked about.
    pub has_entry: bool,
}

/// The rows and the log. Each method is one round trip or two, on a connection of its own, within half of a lease; only
/// [`Self::touch`] and [`Self::make_durable`] are like any other change.
#[async_trait]
pub trait Replicas: Send + Sync + 'static {
    /// Makes a row, durably, or the same row anew, where an attempt whose outcome is unknown has made it. It has applied
    /// the newest number, which is returned.
    async fn register(&self, id: ReplicaId, caching: bool) -> Result<Seq>;

    /// Counts the row's beat up and stores `applied`, durably, and only then reads the news after `applied`. None when the
    /// row is gone.
    async fn beat(&self, id: ReplicaId, applied: Seq) -> Result<Option<News>>;

    /// Reads the news after `applied`, and changes nothing.
    async fn news(&self, applied: Seq) -> Result<News>;

    /// Stores `applied` so that others read it, perhaps not durably. It is no beat.
    async fn acknowledge(&self, id: ReplicaId, applied: Seq) -> Result<()>;

    /// Stores last-seen times, as [`Store::touch`](super::Store::touch) does.
    async fn touch(&self, seen: Vec<Seen>) -> Result<Vec<(TokenHash, Timestamp)>>;

    /// Returns once everything is durable that could be read when this was called. What can be read may otherwise still
    /// lack the standby that its commit waited for. What was read from a primary before the one that did this may be lacking
    /// there, so it tells which one that was, and whether its log has `seq`.
    async fn make_durable(&self, seq: Seq) -> Result<MadeDurable>;

    /// Deletes a row, unless it has beaten since it was read.
    async fn reap(&self, replica: Replica) -> Result<()>;

    /// Deletes a row.
    async fn deregister(&self, id: ReplicaId) -> Result<()>;

    /// Returns when something may have been revoked. A hint and no more: it may never come, or for nothing.
    async fn hint(&self);
}
