//! The principal: who a checked request acts for.

use std::sync::Arc;

use super::id::{SessionId, UserId};
use super::token::TokenHash;
use super::user::User;

/// What a check tells about a user and a session; kept in memory for every cached session, so it is packed.
#[derive(Debug, PartialEq, Eq)]
pub struct Identity {
    user_id: UserId,
    session_id: SessionId,
    admin: bool,
    username_end: u16,
    name_end: u16,
    /// Username, name and e-mail address behind one another.
    texts: Box<str>,
}

impl Identity {
    /// Packs what a check needs.
    pub fn new(user: &User, session_id: SessionId) -> Self {
        let email = user.email.as_ref().map_or("", |email| email.as_str());
        let texts = [user.username.as_str(), user.name.as_str(), email].concat();
        let username_end = user.username.as_str().len();
        let name_end = username_end + user.name.as_str().len();
        // `domain::text` bounds each to a few hundred bytes.
        let end = |end| u16::try_from(end).unwrap_or(u16::MAX);
        Self {
            user_id: user.id,
            session_id,
            admin: user.admin,
            username_end: end(username_end),
            name_end: end(name_end),
            texts: texts.into_boxed_str(),
        }
    }

    /// See [`User::id`].
    pub const fn user_id(&self) -> UserId {
        self.user_id
    }

    /// The session that was checked.
    pub const fn session_id(&self) -> SessionId {
        self.session_id
    }

    /// See [`User::admin`].
    pub const fn admin(&self) -> bool {
        self.admin
    }

    /// See [`User::username`].
    pub fn username(&self) -> &str {
        self.texts.get(..self.username_end.into()).unwrap_or_default()
    }

    /// See [`User::name`].
    pub fn name(&self) -> &str {
        self.texts.get(self.username_end.into()..self.name_end.into()).unwrap_or_default()
    }

    /// See [`User::email`].
    pub fn email(&self) -> Option<&str> {
        self.texts.get(self.name_end.into()..).filter(|email| !email.is_empty())
    }
}

/// Proof that a credential was checked and stands for a live session.
#[derive(Clone, Debug)]
pub struct Principal {
    /// Whose session it is.
    pub identity: Arc<Identity>,
    /// The hash of the token that was presented.
    pub token_hash: TokenHash,
}

impl Principal {
    /// The user it acts for.
    pub fn user_id(&self) -> UserId {
        self.identity.user_id()
    }

    /// The session it came through.
    pub fn session_id(&self) -> SessionId {
        self.identity.session_id()
    }
}
