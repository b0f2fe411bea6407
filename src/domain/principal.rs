//! The principal: the user and session that a checked request was made by.

use smallvec::SmallVec;

use super::clock::Timestamp;
use super::id::{LENGTH, SessionId, UserId};
use super::session::Expiry;
use super::text::Email;
use super::token::TokenHash;
use super::user::User;

/// The identity that a check answers. It is kept in memory for every cached session, so it is packed, and stored in
/// place: behind a pointer it would cost every check another cache miss.
///
/// Behind one another: the user's id, the session's id, a letter for the rank, where each of three texts ends, and the
/// texts: username, name and e-mail address.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity(SmallVec<[u8; IN_PLACE]>);

/// Nearly every identity fits; a longer one goes behind a pointer.
const IN_PLACE: usize = 112;
const ADMIN: u8 = b'a';
const USER: u8 = b'u';
const RANK: usize = 2 * LENGTH;
const ENDS: usize = RANK + 1;
/// Two bytes for each text's end, counted from here.
const TEXTS: usize = ENDS + 3 * 2;

impl Identity {
    /// Packs what a check needs.
    pub fn new(user: &User, session_id: SessionId) -> Self {
        let email = user.email.as_ref().map_or("", Email::as_str);
        Self::pack(user.id, session_id, user.admin, [user.username.as_str(), user.name.as_str(), email])
    }

    /// The same of its parts: the texts are username, name, and e-mail address or nothing.
    pub(crate) fn pack(user_id: UserId, session_id: SessionId, admin: bool, texts: [&str; 3]) -> Self {
        let rank = if admin { ADMIN } else { USER };
        let mut packed = SmallVec::new();
        packed.extend_from_slice(user_id.as_str().as_bytes());
        packed.extend_from_slice(session_id.as_str().as_bytes());
        packed.push(rank);
        let mut end = 0;
        for text in texts {
            end += text.len();
            // `domain::text` keeps all three together far below 64 KiB.
            packed.extend_from_slice(&u16::try_from(end).unwrap_or(u16::MAX).to_le_bytes());
        }
        for text in texts {
            packed.extend_from_slice(text.as_bytes());
        }
        packed.shrink_to_fit();
        Self(packed)
    }

    /// See [`User::id`].
    pub fn user_id(&self) -> UserId {
        UserId::packed(self.0.get(..LENGTH))
    }

    /// The session that was checked.
    pub fn session_id(&self) -> SessionId {
        SessionId::packed(self.0.get(LENGTH..RANK))
    }

    /// See [`User::admin`].
    pub fn admin(&self) -> bool {
        self.0.get(RANK) == Some(&ADMIN)
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
        let end = |number: usize| {
            let at = self.0.get(ENDS + 2 * number..)?.first_chunk()?;
            Some(TEXTS + usize::from(u16::from_le_bytes(*at)))
        };
        let start = if number == 0 { Some(TEXTS) } else { end(number - 1) };
        let text = start.zip(end(number)).and_then(|(start, end)| self.0.get(start..end)).unwrap_or_default();
        // It was text when it was packed, so this never takes the empty branch.
        std::str::from_utf8(text).unwrap_or_default()
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({}, {})", self.user_id(), self.session_id())
    }
}

/// A live session as the store has it, with no more than a cache keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSession {
    /// The hash of its token.
    pub token_hash: TokenHash,
    /// The user and session.
    pub identity: Identity,
    /// See [`Session`](super::session::Session), as for what follows.
    pub last_seen_at: Timestamp,
    /// Both ends of its life.
    pub expiry: Expiry,
    /// Whether the login asked to be remembered.
    pub remembered: bool,
}

/// Proof that a credential was checked and stands for a live session.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The user and session.
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
    use crate::domain::entropy::SystemEntropy;
    use crate::domain::text::{Name, Username};

    #[test]
    fn what_was_packed_is_what_is_read() {
        let session = SessionId::random(&SystemEntropy).expect("entropy");
        let long = format!("{}@example.com", "ü".repeat(100));
        for (email, admin) in [(None, true), (Some("ünn@example.com"), false), (Some(long.as_str()), false)] {
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
