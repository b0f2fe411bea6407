//! The steps of the protocol, and the process that takes each.

use crate::state::Revocation;

/// One step. The first number is the process that takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Time passes for all processes.
    Tick,
    /// The database crashes and recovers: what was committed asynchronously is lost.
    Crash,
    /// The database's clock is set: forward or back, as is worse. The protocol never reads it.
    SetClock,
    /// The log is cut up to its head.
    Cut,

    /// A row is made under a new id, durably.
    Register(usize),
    /// The replica gets the answer to that.
    JoinAnswered(usize),
    /// The replica does not get the answer, and abandons that id.
    JoinLost(usize),

    /// The clock is read, then a beat is sent.
    BeatSent(usize),
    /// The store commits it, durably, and reads the log.
    BeatCommitted(usize),
    /// The store commits it and may forget it: no step of the protocol.
    BeatCommittedAsynchronously(usize),
    /// The answer arrives, with the log up to this number.
    BeatAnswered(usize, u8),
    /// The call failed or came late, whether or not it was committed.
    BeatLost(usize),
    /// The log up to this number arrives, because of a hint or a wait; or never.
    Apply(usize, u8),
    /// The row's `applied` is brought up to date, asynchronously.
    Acknowledge(usize),

    /// SIGTERM: a replica stops trusting and deletes its row; another process takes its place.
    Deregister(usize),
    /// A process dies without deregistering; another takes its place.
    Die(usize),
    /// The first sees the second's row.
    Watch(usize, usize),
    /// The first deletes the second's row.
    Reap(usize, usize),

    /// A revocation is committed, and its caller waits to answer; the answer to the commit may be lost on the way,
    /// which is the same as a wait that never ends.
    Revoke(usize, Revocation),
    /// The statement of a logout begins: what it sees of the log was committed by now.
    LogoutBegun(usize, u8),
    /// It waited for a rival, which has ended the session meanwhile, and ends nothing itself.
    LogoutEndedNothing(usize),
    /// A second statement reads the head of the log, and the answer waits for that.
    HeadRead(usize),
    /// A request finds the tombstone with this number: a logout repeated after an unknown outcome, a list, a check.
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
