//! The mistakes that are planted.

/// A deviation from the protocol, each of which the checker has to catch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// A replica that was reaped registers again with the cache it has, at the head of the log, skipping what it
    /// missed.
    RevivedLeaseKeepsCache,
    /// The cache is cleared when the row is found to be deleted, and not again when the new row is registered: what was
    /// loaded in between was read before the number that the new row starts from.
    ClearedBeforeTheJoinOnly,
    /// A beat that changed no row counts as one.
    UncommittedRenewal,
    /// Trust begins when a beat is sent.
    TrustedWhenSent,
    /// Trust is counted from a beat's answer instead of from before it was sent.
    TrustedFromTheAnswer,
    /// An insert is not refused after the cache was cleared.
    LoadAcrossClear,
    /// An insert is not refused after a revocation: the ticket is ignored.
    TicketIgnored,
    /// A beat extends trust without applying the log that came with it.
    RenewedWithoutTheLog,
    /// A beat brings `applied` to the head without applying what lies between.
    LogPullDropped,
    /// A beat extends trust although what came with it ends before the head.
    TrustedBehindTheHead,
    /// A log that was cut past `applied` is taken for one in which nothing happened.
    CutNotNoticed,
    /// Rows are reaped by the time of the database, whose clock may be set forward.
    ReapedByDatabaseClock,
    /// Trust ends by the time of the database, whose clock may be set back.
    TrustedByDatabaseClock,
    /// A row is reaped as soon as it is seen.
    ReaperDoesNotWait,
    /// A row is reaped although it has beaten since it was seen.
    ReapedWhateverItsBeat,
    /// The wait ends before L has passed.
    WaitTooShort,
    /// A logout is answered once it is committed and applied by the replica that answers.
    OwnCacheIsEnough,
    /// A refused check answers at once.
    RefusalDoesNotWait,
    /// A logout repeated after an unknown outcome answers at once.
    RetryDoesNotWait,
    /// The head of the log is read in the same statement as a logout that ended nothing: the statement's snapshot may be
    /// older than the tombstone of the rival that it waited for.
    HeadFromTheSameStatement,
    /// An acknowledgement counts as a beat, extends trust, and is committed asynchronously.
    AsynchronousBeat,
    /// A check that does not trust the cache looks there.
    UntrustedLookUp,
    /// A replica deletes its row and goes on serving from memory.
    DeregisteredWhileTrusted,
}

impl Mistake {
    /// Every mistake.
    pub const ALL: &[Self] = &[
        Self::RevivedLeaseKeepsCache,
        Self::ClearedBeforeTheJoinOnly,
        Self::UncommittedRenewal,
        Self::TrustedWhenSent,
        Self::TrustedFromTheAnswer,
        Self::LoadAcrossClear,
        Self::TicketIgnored,
        Self::RenewedWithoutTheLog,
        Self::LogPullDropped,
        Self::TrustedBehindTheHead,
        Self::CutNotNoticed,
        Self::ReapedByDatabaseClock,
        Self::TrustedByDatabaseClock,
        Self::ReaperDoesNotWait,
        Self::ReapedWhateverItsBeat,
        Self::WaitTooShort,
        Self::OwnCacheIsEnough,
        Self::RefusalDoesNotWait,
        Self::RetryDoesNotWait,
        Self::HeadFromTheSameStatement,
        Self::AsynchronousBeat,
        Self::UntrustedLookUp,
        Self::DeregisteredWhileTrusted,
    ];
}
