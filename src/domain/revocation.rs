//! Revocations: what a session ended by, and the numbered log by which every cache learns of it.

use super::event::{Actor, EventKind};
use super::id::UserId;
use super::token::TokenHash;

/// A number in the revocation log. Commit order and number order are one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub i64);

/// One entry of the log: what cached checks must forget. A whole batch shares one number.
#[derive(Clone, Debug, Default)]
pub struct Revocation {
    /// Its number.
    pub seq: Seq,
    /// Sessions that ended one by one.
    pub sessions: Vec<TokenHash>,
    /// Users of whom any session may have ended, or anything a check says may have changed.
    pub users: Vec<UserId>,
    /// Sessions of which a login has to know when they were last seen: a replica stores what it knows of them before it
    /// says that it has applied this entry. They have not ended.
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
    /// It goes on under a new token: what ended is the old token alone.
    Renewed,
    /// The user was disabled.
    Disabled,
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
            | Self::Restored => EventKind::Revoked,
        }
    }
}

/// Who ends a session, and why: written on the tombstone and into the audit.
#[derive(Clone, Debug)]
pub struct Reason {
    /// By whom.
    pub by: Actor,
    /// Through which session they asked for it. Only a live one may change anything, at the moment of the change.
    pub requested_by: Option<TokenHash>,
    /// Why.
    pub why: Why,
    /// From which address, when known.
    pub ip: Option<String>,
}
