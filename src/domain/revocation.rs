//! Revocations: why a session ended before its time, and the numbered log from which every cache learns it.

use super::event::{Actor, EventKind, Origin};
use super::id::UserId;
use super::token::TokenHash;

/// A number in the revocation log. Commit order and number order are one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub i64);

impl Seq {
    /// The first number that a primary of PostgreSQL on this timeline gives out. None of an earlier timeline is as large.
    pub fn first_of(timeline: u32) -> Self {
        Self(((i64::from(timeline) - 1) << 40) + 1)
    }

    /// The timeline of the primary that has given it out. Zero is before the first.
    pub fn timeline(self) -> u32 {
        u32::try_from(((self.0 - 1) >> 40) + 1).unwrap_or_default()
    }
}

/// One entry of the log: what cached checks must forget. A whole batch shares one number.
#[derive(Clone, Debug, Default)]
pub struct Revocation {
    /// Its number.
    pub seq: Seq,
    /// Sessions that ended one by one.
    pub sessions: Vec<TokenHash>,
    /// Users any of whose sessions may have ended, or whose identity may have changed.
    pub users: Vec<UserId>,
    /// Sessions whose last-seen times a login asks for: a replica stores those it has in memory before it acknowledges
    /// this entry. The sessions have not ended.
    pub flush: Vec<TokenHash>,
}

/// Why a session ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its owner logged it out.
    Logout,
    /// Its owner ended it from another session.
    Owner,
    /// The command line ended it.
    Operator,
    /// A new login in the same browser took its place.
    Replaced,
    /// The user had too many; it was the one not seen for longest.
    Cap,
    /// The user's password changed.
    Password,
    /// It goes on under a new token: only the old token has ended.
    Renewed,
    /// The user was disabled.
    Disabled,
    /// The user was deleted.
    Deleted,
    /// An administrator ended it.
    Admin,
    /// The user's second factor came into force, or was removed.
    SecondFactor,
    /// A backup was restored, in which a session may be alive that was logged out since.
    Restored,
}

impl Why {
    /// The word the store keeps.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Owner => "owner",
            Self::Operator => "operator",
            Self::Replaced => "replaced",
            Self::Cap => "cap",
            Self::Password => "password",
            Self::Renewed => "renewed",
            Self::Disabled => "disabled",
            Self::Deleted => "deleted",
            Self::Admin => "admin",
            Self::SecondFactor => "second_factor",
            Self::Restored => "restored",
        }
    }

    /// The audit's word for it.
    pub const fn event(self) -> EventKind {
        match self {
            Self::Logout => EventKind::Logout,
            Self::Owner
            | Self::Operator
            | Self::Replaced
            | Self::Cap
            | Self::Password
            | Self::Renewed
            | Self::Disabled
            | Self::Deleted
            | Self::Admin
            | Self::SecondFactor
            | Self::Restored => EventKind::Revoked,
        }
    }
}

/// Which actor ends a session, and why. It is written to the tombstone and to the audit.
#[derive(Clone, Debug)]
pub struct Reason {
    /// The actor.
    pub by: Actor,
    /// The session that asked for it. It must be live at the moment of the change.
    pub requested_by: Option<TokenHash>,
    /// Whether the user of that session must be an administrator at that moment.
    pub as_administrator: bool,
    /// The reason.
    pub why: Why,
    /// Where it was asked for from.
    pub origin: Origin,
}

impl Reason {
    /// The reason of what no session asked for.
    pub const fn unasked(by: Actor, why: Why, origin: Origin) -> Self {
        Self { by, requested_by: None, as_administrator: false, why, origin }
    }
}
