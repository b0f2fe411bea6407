//! Live sessions in memory, and what keeps them in agreement with the store.
//!
//! `sessions` leads from a token's hash to a live session. `coherence` says whether that may be
//! trusted, and when a revocation is settled. `touch` stores last-seen times in batches, `purge`
//! deletes what expired, and `warm_up` reads sessions into memory before they are checked.

use crate::domain::session::LONGEST_FLUSH_INTERVAL;
use crate::store::connect::Timing;

pub mod coherence;
pub mod purge;
pub(crate) mod sessions;
pub mod touch;
pub mod warm_up;

/// What a store is told of all this.
pub const TIMING: Timing = Timing { lease: coherence::LEASE, flush_interval: LONGEST_FLUSH_INTERVAL };

pub use sessions::{Cache, Check, Ticket};
