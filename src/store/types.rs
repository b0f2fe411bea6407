//! What goes into the operations of a store, and what comes out of them.

use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::id::{SessionId, UserId};
use crate::domain::password::PasswordHash;
use crate::domain::revocation::Seq;
use crate::domain::second_factor::proof::Proof;
use crate::domain::session::Session;
use crate::domain::token::TokenHash;
use crate::domain::user::User;

/// What a token's hash leads to.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// A session not revoked, and its user. It may have expired.
    Found(Box<(Session, User)>),
    /// A tombstone. It may be published once its number is settled.
    Revoked(Seq),
    /// No session: there never was one, or it was purged long after its end.
    Missing,
}

/// A session to be made, after its password was checked.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The session itself, with the id of its user.
    pub session: Session,
    /// The hash of the new token.
    pub token_hash: TokenHash,
    /// The epoch the password was checked under.
    pub auth_epoch: i64,
    /// The most live sessions the user may have; the ones not seen for longest make room.
    pub cap: usize,
    /// The sessions whose cookies came with the login, of any user. They end.
    pub replaces: Vec<TokenHash>,
    /// A password hash with today's parameters, to take the old one's place.
    pub rehashed: Option<PasswordHash>,
    /// What shows that the user has the second factor.
    pub proof: Proof,
    /// The login that waited for it, if one did. It ends.
    pub pending: Option<TokenHash>,
    /// How much later than stored a session may have been seen by a replica; none once every replica has stored when it
    /// saw the user's sessions. If it may decide which of them have to make room, the answer is [`Created::Unflushed`].
    pub unflushed: Option<Duration>,
}

/// Whether a session was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was made. The sessions that ended for it are settled with this number.
    Yes(Seq),
    /// It was superseded: since the password was checked, it changed or the user was disabled, or the login that waited for
    /// a code is over.
    Superseded,
    /// The second factor is not proven, or not any more.
    Unproven,
    /// It was not made yet, and nothing was changed: which sessions have to end depends on last-seen times that
    /// replicas may have in memory. The caller tries again once those are stored.
    Unflushed {
        /// The sessions that may have to end, at least one more than needed.
        sessions: Vec<TokenHash>,
        /// Once this number is settled, every other replica has stored what it knows of them.
        seq: Seq,
    },
}

/// A session that its owner ends by presenting its token.
#[derive(Clone, Debug)]
pub struct Logout {
    /// The hash of the token that was presented.
    pub token: TokenHash,
    /// The user that it must belong to, where the credential named one.
    pub user: Option<UserId>,
    /// The address of the client.
    pub ip: Option<String>,
}

/// Which sessions a revocation ends. Dead ones are never ended again.
#[derive(Clone, Debug)]
pub enum Target {
    /// One by its id, if it belongs to `user` where one is named.
    Id(SessionId, Option<UserId>),
    /// Every one of a user, and the logins still being checked.
    All(UserId),
    /// Every one of a user but this.
    Others(UserId, SessionId),
}

/// What a revocation ended. It may be published once `seq` is settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    /// The sessions that ended.
    pub sessions: Vec<SessionId>,
    /// The number to be settled: its own, or where nothing ended, the newest of the log.
    pub seq: Seq,
}

/// The outcome of a change that a session asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It was made, and ended these sessions.
    Yes(Revoked),
    /// It was not made: the session that asked has ended meanwhile, which is settled with this number.
    NoSession(Seq),
    /// It was superseded: there is no such user, or since the password was checked, it changed or the user was
    /// disabled.
    Superseded,
}

/// A user's live sessions, and the log's newest number when they were read.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Newest login first.
    pub sessions: Vec<Session>,
    /// Sessions that have ended, and so are not listed, are settled with this number.
    pub seq: Seq,
}

/// Whether a user was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    /// The user was made.
    Yes(User),
    /// The username is taken.
    UsernameTaken,
    /// The e-mail address is taken.
    EmailTaken,
}

/// A password to be set.
#[derive(Clone, Debug)]
pub struct PasswordChange {
    /// The user.
    pub user: UserId,
    /// The new hash.
    pub hash: PasswordHash,
    /// The epoch the current password was checked under; none when an operator sets it.
    pub auth_epoch: Option<i64>,
    /// The session that goes on under a new token.
    pub keep: Option<Renewal>,
}

/// A session that goes on under a new token. The old one leads to a tombstone from then on.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// Its id, which stays, as do its beginning and its absolute expiry.
    pub session: SessionId,
    /// The hash of its new token.
    pub token_hash: TokenHash,
    /// The id of the old token's tombstone, which stands for no session.
    pub tombstone: SessionId,
    /// Its idle deadline, counted from now.
    pub idle_until: Timestamp,
}
