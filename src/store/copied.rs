//! What a copy of an embedded store holds, how its rows are passed on, and why a copy failed.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::StoreError;
use super::opening::ConnectError;
use crate::config::DatabaseUrl;
use crate::domain::revocation::Seq;

/// What is copied, in this order: all else of a user refers to them. What is begun and not finished is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// With their password hashes.
    Users,
    /// In force, with their secrets as they are: encrypted.
    SecondFactors,
    /// As hashes.
    RecoveryCodes,
    /// Live ones, tombstones, and what has expired.
    Sessions,
    /// The audit.
    Events,
    /// The numbered log.
    Revocations,
    /// The counters of failed tries.
    Throttles,
}

impl Table {
    /// Every table, in the order in which they are copied.
    pub const ALL: [Self; 7] = [
        Self::Users,
        Self::SecondFactors,
        Self::RecoveryCodes,
        Self::Sessions,
        Self::Events,
        Self::Revocations,
        Self::Throttles,
    ];

    /// Its name in either store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::SecondFactors => "second_factors",
            Self::RecoveryCodes => "recovery_codes",
            Self::Sessions => "sessions",
            Self::Events => "events",
            Self::Revocations => "revocations",
            Self::Throttles => "throttles",
        }
    }
}

/// Some rows of a table.
pub(super) struct Page {
    /// How many rows; none after the last page.
    pub(super) rows: i64,
    /// The key of the last row.
    pub(super) last: String,
    /// The rows as PostgreSQL's `COPY` reads them: one line for each, with a tab between two columns.
    pub(super) text: Bytes,
}

/// What a source holds.
pub struct Contents {
    /// How many users.
    pub users: i64,
    /// How many second factors.
    pub second_factors: i64,
    /// How many recovery codes.
    pub recovery_codes: i64,
    /// How many sessions, whatever their state.
    pub sessions: i64,
    /// How many events.
    pub events: i64,
    /// How many entries of the log.
    pub revocations: i64,
    /// How many counters of failed tries.
    pub throttles: i64,
    /// The newest number of the log.
    pub(super) head: Seq,
    /// What a touch moves, of all sessions: when they were seen, and how long that keeps them.
    pub(super) touched: (i64, i64),
    /// What a try changes, of all counters: the failures, and when the last of them is forgotten.
    pub(super) tried: (i64, i64),
    /// The key tokens are tagged with.
    pub(super) token_key: [u8; 32],
}

impl Contents {
    /// How many rows a table has.
    pub const fn rows(&self, table: Table) -> i64 {
        match table {
            Table::Users => self.users,
            Table::SecondFactors => self.second_factors,
            Table::RecoveryCodes => self.recovery_codes,
            Table::Sessions => self.sessions,
            Table::Events => self.events,
            Table::Revocations => self.revocations,
            Table::Throttles => self.throttles,
        }
    }

    /// What distinguishes this source, as it is, from every other and from itself after a change: all but a touch, a
    /// try and a purge write an event.
    pub(super) fn stamp(&self) -> [u8; 32] {
        let Self { users, second_factors, recovery_codes, sessions, events, .. } = self;
        let Self { revocations, throttles, head: Seq(head), .. } = self;
        let Self { touched: (seen, idle), tried: (failures, forgotten), token_key, .. } = self;
        let mut stamp = Sha256::new_with_prefix(token_key);
        for number in [users, second_factors, recovery_codes, sessions, events, revocations] {
            stamp.update(number.to_le_bytes());
        }
        for number in [throttles, head, seen, idle, failures, forgotten] {
            stamp.update(number.to_le_bytes());
        }
        stamp.finalize().into()
    }
}

/// Why a copy failed.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// These two kinds of store cannot be copied.
    #[error("a copy leads from sqlite:// to postgres://, and not from {0} to {1}")]
    OtherWay(DatabaseUrl, DatabaseUrl),
    /// The source was never used, or is not the one that was meant.
    #[error("{0} holds no users: there is nothing to copy")]
    Nothing(DatabaseUrl),
    /// The target holds something.
    #[error("the target is not empty, and was left alone: name a database that nobody has used")]
    NotEmpty,
    /// The target holds a part of something else.
    #[error(
        "the target holds an unfinished copy of another store, or of this one before it changed: name an empty database, and start again"
    )]
    Another,
    /// Another process fills the target.
    #[error("another `sessiond copy` is at work on the target: let it finish")]
    Busy,
    /// Another process changed the target.
    #[error("the target was changed or served from while it was filled: name an empty database, and start again")]
    Disturbed,
    /// One of the stores could not be opened.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// One of the stores failed.
    #[error("{0}; once that is put right, start the same copy again")]
    Store(#[from] StoreError),
}
