//! Audit events: what happened, to which user, and by which actor. They never hold a token or a password.

use std::borrow::Cow;

use super::clock::Timestamp;
use super::id::{SessionId, UserId};

/// The detail of a refusal where a change that needs the password was refused, and not a login.
pub const WRONG_PASSWORD: &str = "password";
/// The detail of a refusal where a code of the second factor was wrong.
pub const WRONG_CODE: &str = "code";

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
    /// A user got another username. The detail is the one before.
    UserRenamed,
    /// A user's e-mail address was set or removed.
    EmailChanged,
    /// A user's display name was changed.
    NameChanged,
    /// A user became an administrator.
    AdminGranted,
    /// A user is no longer an administrator.
    AdminRemoved,
    /// A user was deleted.
    UserDeleted,
    /// A user was given a password that has to be changed at its first use.
    PasswordReset,
    /// The counters of failed tries about a user were lifted.
    UserUnlocked,
    /// Users were made who come from elsewhere.
    UsersImported,
    /// Users were given away with their hashes. The detail says where the secrets of second factors went along.
    UsersExported,
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
    /// Secrets and recovery codes were put under another key.
    SecondFactorsResealed,
    /// Something was refused that administrators may do. The detail is why, and what was asked for.
    ActRefused,
}

impl EventKind {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::LoginOk,
        Self::LoginFailed,
        Self::Logout,
        Self::Revoked,
        Self::PasswordChanged,
        Self::UserCreated,
        Self::UserDisabled,
        Self::UserEnabled,
        Self::UserRenamed,
        Self::EmailChanged,
        Self::NameChanged,
        Self::AdminGranted,
        Self::AdminRemoved,
        Self::UserDeleted,
        Self::PasswordReset,
        Self::UserUnlocked,
        Self::UsersImported,
        Self::UsersExported,
        Self::SecondFactorStarted,
        Self::SecondFactorSet,
        Self::SecondFactorRemoved,
        Self::RecoveryCodesRenewed,
        Self::RecoveryCodeUsed,
        Self::SecondFactorsResealed,
        Self::ActRefused,
    ];

    /// The kind of that word, if this release knows it.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }

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
            Self::UserRenamed => "user_renamed",
            Self::EmailChanged => "email_changed",
            Self::NameChanged => "name_changed",
            Self::AdminGranted => "admin_granted",
            Self::AdminRemoved => "admin_removed",
            Self::UserDeleted => "user_deleted",
            Self::PasswordReset => "password_reset",
            Self::UserUnlocked => "user_unlocked",
            Self::UsersImported => "users_imported",
            Self::UsersExported => "users_exported",
            Self::SecondFactorStarted => "second_factor_started",
            Self::SecondFactorSet => "second_factor_set",
            Self::SecondFactorRemoved => "second_factor_removed",
            Self::RecoveryCodesRenewed => "recovery_codes_renewed",
            Self::RecoveryCodeUsed => "recovery_code_used",
            Self::SecondFactorsResealed => "second_factors_resealed",
            Self::ActRefused => "act_refused",
        }
    }
}

/// Where an act came from, as the audit keeps it. Each is empty where it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The address of the client.
    pub ip: Option<String>,
    /// The `User-Agent`, clipped.
    pub user_agent: Option<String>,
    /// The id of the request.
    pub request_id: Option<String>,
    /// The name of the actor: a username, or the operating system's user of a command.
    pub actor_name: Option<String>,
}

/// What a request asked for, in words of ours: the audit names it where it is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The method and the route, with `{parameters}` in place of what the client wrote.
    pub what: String,
    /// Whether it only reads.
    pub reads: bool,
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
    /// The detail, such as the reason, when there is one.
    pub detail: Option<Cow<'static, str>>,
    /// The user's name at that time, where it was at hand; for the refused login of a name that no user has, a hash of it.
    pub name: Option<String>,
    /// The actor's name at that time, where it was at hand.
    pub actor_name: Option<String>,
    /// The `User-Agent`, clipped, when known.
    pub user_agent: Option<String>,
    /// The id of the request that asked for it, when one did.
    pub request_id: Option<String>,
    /// How many such events this line stands for, equal in everything else.
    pub count: i64,
}

impl Event {
    /// An event about a user.
    pub fn about(user: UserId, kind: EventKind, actor: Actor, at: Timestamp) -> Self {
        Self { user: Some(user), ..Self::new(kind, actor, at) }
    }

    /// An event about nobody in particular.
    pub const fn new(kind: EventKind, actor: Actor, at: Timestamp) -> Self {
        Self {
            at,
            kind,
            actor,
            user: None,
            session: None,
            ip: None,
            detail: None,
            name: None,
            actor_name: None,
            user_agent: None,
            request_id: None,
            count: 1,
        }
    }

    /// The event with where the act came from.
    #[must_use]
    pub fn from(self, origin: &Origin) -> Self {
        let Origin { ip, user_agent, request_id, actor_name } = origin.clone();
        Self { ip, actor_name, user_agent, request_id, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_kinds_holds_every_kind_that_has_a_word() {
        let words = include_str!("event.rs").lines().filter(|line| line.starts_with("            Self::")).count();
        assert_eq!(EventKind::ALL.len() + ACTORS, words, "a kind is missing in the list");
        for kind in EventKind::ALL {
            assert_eq!(EventKind::from_word(kind.as_str()), Some(*kind));
        }
        assert_eq!(EventKind::from_word("unheard_of"), None);
    }

    /// The words for actors, which stand in the same file.
    const ACTORS: usize = 4;
}
