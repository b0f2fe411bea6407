//! How a check can be served from memory and a logout still be final.
//!
//! `contract` is what the rest of the service relies on. Where one process serves, coherence concerns its own memory
//! only: `embedded`. Where many do, each has a row in the store and a task, `beats`, that says there that the replica
//! lives and up to which number of the log it has removed from its cache what was revoked:
//! - an answered beat which leaves the cache up to date makes it trusted for a [`LEASE`] from before the beat was sent,
//!   less a margin for clocks that go at different speeds (`trust`);
//! - a number is settled once every row of a replica that answers from memory has applied it, or a lease after the wait
//!   for it began, which is after its commit: a replica that has not applied it by then is untrusted;
//! - a number is flushed once every row, without exception, has applied it: a replica acknowledges a number only after
//!   it has stored the last-seen times that the number asks for;
//! - what was only read, and not committed here, is settled after a commit on the same primary, so that no other one takes
//!   over without it (`history`);
//! - a replica that does not beat for a lease is reaped (`liveness`), so that a dead one delays one logout and not
//!   every one.
//!
//! Commands that change the store beside its servers wait in `confirm`.

mod beats;
mod confirm;
mod contract;
mod embedded;
mod history;
pub mod liveness;
mod progress;
mod replicated;
#[cfg(test)]
mod tests;
mod trust;

pub use beats::{Beats, replicated};
pub use confirm::{Confirmed, confirm};
pub use contract::{Coherence, LEASE, NotSettled};
pub use embedded::Embedded;
pub use replicated::Replicated;
pub use trust::{BootClock, SystemBootClock};
