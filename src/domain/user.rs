//! Users: who can log in.

use super::clock::Timestamp;
use super::id::UserId;
use super::password::PasswordHash;
use super::text::{Email, Name, Username};

/// A person, or a machine, that can log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Never changes.
    pub id: UserId,
    /// Unique, whatever the case and however it is composed.
    pub username: Username,
    /// Unique in the same way, when there is one.
    pub email: Option<Email>,
    /// The user's display name.
    pub name: Name,
    /// May act on other users.
    pub admin: bool,
    /// When the user was disabled, if they are.
    pub disabled_at: Option<Timestamp>,
    /// When the user was made.
    pub created_at: Timestamp,
    /// When anything above last changed.
    pub updated_at: Timestamp,
}

/// What a login is checked against, read in one look-up.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user.
    pub user: User,
    /// The hash the password must match.
    pub password_hash: PasswordHash,
    /// A counter that every change raises which supersedes logins under way: a session is made only while it is
    /// unchanged.
    pub auth_epoch: i64,
    /// Set where an administrator has set the password: it has to be changed before it begins a session.
    pub one_time: Option<OneTime>,
}

/// A password that has to be changed at its first use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OneTime {
    /// When it can no longer be used; `None` for one that was imported with its user.
    pub expires_at: Option<Timestamp>,
}

impl OneTime {
    /// Whether it can no longer be used.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| now >= expires_at)
    }
}

/// A user as administrators see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user.
    pub user: User,
    /// Whether the password has to be changed at its first use.
    pub must_change_password: bool,
    /// When the user last logged in.
    pub last_login_at: Option<Timestamp>,
    /// Whether logins need a code beside the password.
    pub second_factor: bool,
}

/// What is to change about a user; `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct UserEdit {
    /// See [`User::username`].
    pub username: Option<Username>,
    /// See [`User::email`]; `Some(None)` removes it.
    pub email: Option<Option<Email>>,
    /// See [`User::name`].
    pub name: Option<Name>,
    /// See [`User::admin`].
    pub admin: Option<bool>,
    /// Whether the user is to be disabled.
    pub disabled: Option<bool>,
}

/// A user to be made.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// See [`User::username`].
    pub username: Username,
    /// See [`User::email`].
    pub email: Option<Email>,
    /// See [`User::name`].
    pub name: Name,
    /// See [`User::admin`].
    pub admin: bool,
}

impl NewUser {
    /// The user it becomes when it is stored.
    pub fn stored(&self, id: UserId, at: Timestamp) -> User {
        let Self { username, email, name, admin } = self.clone();
        User { id, username, email, name, admin, disabled_at: None, created_at: at, updated_at: at }
    }
}
