//! The steps, and who takes them.

use crate::state::Revocation;

/// One step. The first number says who takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Time passes for everybody.
    Tick,
    /// The database crashes and recovers: what was committed asynchronously is lost.
    Crash,
    /// The database's clock is set: forward or back, as is worse. The protocol never reads it.
    SetClock,
    /// The log is cut up to its head.
    Cut,

    /// A row is made under a new id, durably.
    Join(usize),
    /// Its maker learns of that.
    JoinAnswered(usize),
    /// Its maker does not: it forgets that id.
    JoinLost(usize),

    /// The clock is read, then a beat is sent.
    BeatSent(usize),
    /// The store commits it, durably, and reads the news.
    BeatCommitted(usize),
    /// The store commits it and may forget it: no step of the protocol.
    BeatCommittedAsynchronously(usize),
    /// The answer arrives, with the log up to this number.
    BeatAnswered(usize, u8),
    /// The call failed or came late, whether or not it was committed.
    BeatLost(usize),
    /// News arrive, with the log up to this number, because of a hint or a wait; or never.
    Hear(usize, u8),
    /// The row's `applied` is brought up to date, asynchronously.
    Acknowledge(usize),

    /// SIGTERM: a replica stops trusting and deletes its row; another process takes its place.
    Leave(usize),
    /// A process ends without a word; another takes its place.
    Die(usize),
    /// The first sees the second's row.
    Watch(usize, usize),
    /// The first deletes the second's row.
    Reap(usize, usize),

    /// A revocation is committed, and its caller waits to answer; the answer to the commit may be lost on the way,
    /// which is the same as a wait that never ends.
    Revoke(usize, Revocation),
    /// Somebody meets the tombstone with this number: a logout repeated after an unknown outcome, a list, a check.
    Retry(usize, u8),
    /// The rows are read.
    Look(usize),
    /// The answer that waited for this number is given.
    Reveal(usize, u8),

    /// A check of this session that memory did not answer: the ticket is taken.
    LoadBegun(usize, u8),
    /// The store is read.
    LoadRead(usize),
    /// What was read is inserted into the cache, or refused there.
    LoadKept(usize),
    /// A check begins after the session's revocation was revealed, and reads that the replica is trusted.
    CheckBegun(usize, u8),
    /// It looks into the cache and answers.
    CheckAnswered(usize),
}
