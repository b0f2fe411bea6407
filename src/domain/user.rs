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
