//! Audit events: what happened, to which user, and by which actor. They never hold a token or a password.

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
    /// Setting up a second factor was begun.
    SecondFactorStarted,
    /// A second factor came into force.
    SecondFactorSet,
    /// A second factor was switched off, or reset by an operator.
    SecondFactorRemoved,
    /// A user got new recovery codes.
    RecoveryCodesRenewed,
    /// A recovery code was used.
    RecoveryCodeUsed,
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
            Self::SecondFactorStarted => "second_factor_started",
            Self::SecondFactorSet => "second_factor_set",
            Self::SecondFactorRemoved => "second_factor_removed",
            Self::RecoveryCodesRenewed => "recovery_codes_renewed",
            Self::RecoveryCodeUsed => "recovery_code_used",
        }
    }
}

/// The actor of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A user, by a session.
    User(UserId),
    /// The operator, by a command on the machine.
    CommandLine,
    /// A rule of the service, such as the cap on sessions.
    System,
    /// A client that is not logged in.
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
    /// The time of the event.
    pub at: Timestamp,
    /// What happened.
    pub kind: EventKind,
    /// The actor.
    pub actor: Actor,
    /// The user it happened to, when known.
    pub user: Option<UserId>,
    /// The session it happened to, when it is one.
    pub session: Option<SessionId>,
    /// The address of the client, when known.
    pub ip: Option<String>,
    /// A word of detail, such as the reason, when there is one.
    pub detail: Option<&'static str>,
    /// For a refusal: the user's name, or, where there is no such user, a hash of the name that was typed.
    pub name: Option<String>,
    /// The `User-Agent`, clipped, when known.
    pub user_agent: Option<String>,
    /// How many such events this line stands for, equal in everything else.
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
