//! How many replicas one PostgreSQL carries: a simulation of their statements, event by event.
//!
//! The words are those of `src/cache/coherence` and `src/store/postgres/`: a replica *beats* every third of a lease,
//! with a durable commit; it commits *logouts* in batches, one batch at a time; a replica that revokes holds the row of
//! the *counter* until its commit is on disk; a notification makes every replica read the *news* and *acknowledge*; and
//! a logout is answered once a read of its own replica shows that all have.
//!
//! The database is a number of cores that take statements in the order they come, and a disk that flushes for every
//! commit that waits when a flush begins. Times are drawn between half and one and a half of what is set.
//!
//! **Left out**: everything else that is asked of the database (checks that miss, logins, last-seen times), whatever
//! gets slower with more processes (switching between them, contended locks), failures, and the replicas' own work.

mod database;
mod queue;
mod random;
mod replica;
mod setting;
mod table;
mod world;

pub use self::setting::{Costs, Setting};
pub use self::table::{largest, table};
pub use self::world::{Outcome, simulate};

/// Nanoseconds.
pub type Time = u64;

/// A microsecond.
pub const MICROSECOND: Time = 1_000;
/// A millisecond.
pub const MILLISECOND: Time = 1_000_000;
/// A second.
pub const SECOND: Time = 1_000_000_000;
