//! Audit events: what happened, to whom, by whom. Never a token, never a password.

use super::clock::Timestamp;
use super::id::{SessionId, UserId};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A login made a session.
    LoginOk,
    /// A login was refused.
    LoginFailed,
    /// A session ended by its owner's logout.
    Logout,
    /// A session, or several, ended by anything else.
    Revoked,
    /// A password was set.
    PasswordChanged,
    /// A user was made.
    UserCreated,
    /// A user may no longer log in.
    UserDisabled,
    /// A user may log in again.
    UserEnabled,
}

impl EventKind {
    /// The word the store keeps.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LoginOk => "login_ok",
            Self::LoginFailed => "login_failed",
            Self::Logout => "logout",
            Self::Revoked => "revoked",
            Self::PasswordChanged => "password_changed",
            Self::UserCreated => "user_created",
            Self::UserDisabled => "user_disabled",
            Self::UserEnabled => "user_enabled",
        }
    }
}

/// Who made it happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Somebody logged in.
    User(UserId),
    /// The operator, by a command on the machine.
    CommandLine,
    /// A rule of the service, such as the cap on sessions.
    System,
    /// Somebody not logged in.
    Anonymous,
}

impl Actor {
    /// The word the store keeps: a user id or one of `cli`, `system`, `anonymous`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::User(id) => id.as_str(),
            Self::CommandLine => "cli",
            Self::System => "system",
            Self::Anonymous => "anonymous",
        }
    }
}

/// One line of the audit, written in the transaction of what it records.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
    /// By whom.
    pub actor: Actor,
    /// To whom, when known.
    pub user: Option<UserId>,
    /// To which session, when it is one.
    pub session: Option<SessionId>,
    /// From which address, when known.
    pub ip: Option<String>,
    /// Why, in a word, when there is more to say.
    pub detail: Option<&'static str>,
    /// Of what was refused: the user's name, or where there is no such user, a hash of the name that was typed.
    pub name: Option<String>,
    /// The `User-Agent`, clipped, when known.
    pub user_agent: Option<String>,
    /// How many there were of it, alike in all the rest.
    pub count: i64,
}

impl Event {
    /// An event about a user.
    pub const fn about(user: UserId, kind: EventKind, actor: Actor, at: Timestamp) -> Self {
        Self {
            at,
            kind,
            actor,
            user: Some(user),
            session: None,
            ip: None,
            detail: None,
            name: None,
            user_agent: None,
            count: 1,
        }
    }
}
