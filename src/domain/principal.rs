//! The principal: who a checked request acts for.

use std::sync::Arc;

use super::id::{LENGTH, SessionId, UserId};
use super::text::Email;
use super::token::TokenHash;
use super::user::User;

/// What a check tells about a user and a session. Kept in memory for every cached session, so it is one allocation, and
/// cheap to share.
///
/// Behind one another: the user's id, the session's id, a letter for the rank, and then the username, the name and the
/// e-mail address, each ended by a NUL, which `domain::text` keeps out of all three.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity(Arc<str>);

const ADMIN: &str = "a";
const USER: &str = "u";

impl Identity {
    /// Packs what a check needs.
    pub fn new(user: &User, session_id: SessionId) -> Self {
        let rank = if user.admin { ADMIN } else { USER };
        let email = user.email.as_ref().map_or("", Email::as_str);
        let (username, name) = (user.username.as_str(), user.name.as_str());
        Self([user.id.as_str(), session_id.as_str(), rank, username, "\0", name, "\0", email, "\0"].concat().into())
    }

    /// See [`User::id`].
    pub fn user_id(&self) -> UserId {
        UserId::packed(self.0.get(..LENGTH))
    }

    /// The session that was checked.
    pub fn session_id(&self) -> SessionId {
        SessionId::packed(self.0.get(LENGTH..2 * LENGTH))
    }

    /// See [`User::admin`].
    pub fn admin(&self) -> bool {
        self.0.get(2 * LENGTH..=2 * LENGTH) == Some(ADMIN)
    }

    /// See [`User::username`].
    pub fn username(&self) -> &str {
        self.text(0)
    }

    /// See [`User::name`].
    pub fn name(&self) -> &str {
        self.text(1)
    }

    /// See [`User::email`].
    pub fn email(&self) -> Option<&str> {
        Some(self.text(2)).filter(|email| !email.is_empty())
    }

    fn text(&self, number: usize) -> &str {
        self.0.get(2 * LENGTH + 1..).unwrap_or_default().split('\0').nth(number).unwrap_or_default()
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({}, {})", self.user_id(), self.session_id())
    }
}

/// Proof that a credential was checked and stands for a live session.
#[derive(Clone, Debug)]
pub struct Principal {
    /// Whose session it is.
    pub identity: Identity,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;
    use crate::domain::entropy::SystemEntropy;
    use crate::domain::text::{Name, Username};

    #[test]
    fn what_was_packed_is_what_is_told() {
        let session = SessionId::random(&SystemEntropy).expect("entropy");
        for (email, admin) in [(None, true), (Some("ünn@example.com"), false)] {
            let user = User {
                id: UserId::random(&SystemEntropy).expect("entropy"),
                username: Username::new("ünn").expect("fit"),
                email: email.map(|email| Email::new(email).expect("fit")),
                name: Name::new("Ünn O\u{2019}Néill").expect("fit"),
                admin,
                disabled_at: None,
                created_at: Timestamp::from_millis(0),
                updated_at: Timestamp::from_millis(0),
            };
            let identity = Identity::new(&user, session);
            assert_eq!((identity.user_id(), identity.session_id()), (user.id, session));
            assert_eq!((identity.username(), identity.name()), (user.username.as_str(), user.name.as_str()));
            assert_eq!((identity.email(), identity.admin()), (email, admin));
        }
    }
}
