//! What goes into the operations of a store, and what comes out of them.

use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::event::{Actor, Event, Origin};
use crate::domain::id::{SessionId, UserId};
use crate::domain::password::PasswordHash;
use crate::domain::revocation::{Reason, Seq};
use crate::domain::second_factor::proof::Proof;
use crate::domain::second_factor::sealed::SealedSecret;
use crate::domain::session::Session;
use crate::domain::text::{Name, Username};
use crate::domain::throttle::ThrottleKey;
use crate::domain::token::TokenHash;
use crate::domain::user::{Account, Credentials, NewUser, OneTime, User};

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
    /// The counters of failed tries that begin anew, since the login is complete.
    pub resets: Vec<ThrottleKey>,
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
    /// The id of the request.
    pub request_id: Option<String>,
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

/// Sessions that an administrator chose: some of those that one act ends, which is one event in the audit.
#[derive(Clone, Debug)]
pub struct Selected {
    /// The sessions.
    pub sessions: Vec<SessionId>,
    /// The event of the act, once a transaction has written it: its count grows by what this one ends.
    pub event: Option<EventNumber>,
}

/// The number of an event. Later ones have higher numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventNumber(pub i64);

/// A few events in the order of their numbers, of which the old ones are to be deleted.
#[derive(Clone, Copy, Debug)]
pub struct EventPurge {
    /// The old ones are from before this time.
    pub before: Timestamp,
    /// Those with a higher number than this one's are looked at.
    pub after: EventNumber,
    /// So many at most.
    pub limit: u32,
}

/// What one [`EventPurge`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventsPurged {
    /// How many events it deleted.
    pub deleted: u64,
    /// The last event that was looked at, where there may be more behind it.
    pub last: Option<EventNumber>,
}

impl EventPurge {
    /// Its outcome, where `looked` events were looked at, the last of which has the number `last`.
    pub(super) fn outcome(&self, deleted: u64, looked: i64, last: Option<i64>) -> EventsPurged {
        EventsPurged { deleted, last: last.filter(|_| looked >= i64::from(self.limit)).map(EventNumber) }
    }
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
    /// It was not made: the second factor is not proven, or not any more.
    Unproven,
}

/// A user's live sessions, and the log's newest number when they were read.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Newest login first.
    pub sessions: Vec<Session>,
    /// Sessions that have ended, and so are not listed, are settled with this number.
    pub seq: Seq,
}

/// The password that a new user has.
#[derive(Clone, Debug)]
pub struct Initial {
    /// Its hash.
    pub hash: PasswordHash,
    /// Set where it has to be changed at its first use.
    pub one_time: Option<OneTime>,
}

/// A user to be made.
#[derive(Clone, Debug)]
pub struct Addition {
    /// Their id.
    pub id: UserId,
    /// Who they are.
    pub user: NewUser,
    /// Their first password.
    pub password: Initial,
    /// What tries of their names have led to is lifted, which were somebody else's or nobody's until now.
    pub lifts: Vec<ThrottleKey>,
    /// Whether they are made only where there is no user yet.
    pub first: bool,
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
    /// There is a user already.
    NotFirst,
    /// They were not: the session that asked has ended meanwhile, or its user is no administrator any more, which is settled
    /// with this number.
    NoSession(Seq),
}

/// A user who comes from elsewhere.
#[derive(Clone, Debug)]
pub struct ImportedUser {
    /// The id: one of ours that the user had there, or a new one.
    pub id: UserId,
    /// The user.
    pub user: NewUser,
    /// The hash of their password, or none, and whether it has to be changed.
    pub password: Initial,
    /// Whether they may not log in.
    pub disabled: bool,
    /// When they were made there, if that is known.
    pub created_at: Option<Timestamp>,
    /// The secret of their second factor, which is in force at once and has no recovery codes.
    pub totp_secret: Option<SealedSecret>,
}

impl ImportedUser {
    /// The key of a username that is written as the id.
    pub(super) fn key_of_id(&self) -> Option<String> {
        Username::new(self.id.as_str()).ok().map(|username| username.key())
    }
}

/// A user to be given away.
#[derive(Clone, Debug)]
pub struct ExportedUser {
    /// The user, with the hash of their password.
    pub known: Credentials,
    /// The secret of their second factor, where one is in force.
    pub totp_secret: Option<SealedSecret>,
}

/// Users to be made, all of them or none.
#[derive(Clone, Debug)]
pub struct Import {
    /// The users; no two have a name or an address in common.
    pub users: Vec<ImportedUser>,
    /// Whether it is only found out if they can be made.
    pub dry_run: bool,
    /// Who makes them.
    pub by: Actor,
    /// Where that comes from.
    pub origin: Origin,
}

/// What a user who is there already has in common with one to be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Common {
    /// The username.
    Username,
    /// The e-mail address.
    Email,
    /// The id.
    Id,
    /// The one's username is the other's id.
    UsernameIsId,
    /// The one's id is the other's username.
    IdIsUsername,
}

impl Common {
    /// What the statements of the stores call by a number.
    pub(super) const fn from_number(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::Username),
            1 => Some(Self::Email),
            2 => Some(Self::Id),
            3 => Some(Self::UsernameIsId),
            4 => Some(Self::IdIsUsername),
            _ => None,
        }
    }
}

/// A user to be imported who cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The place in the import.
    pub place: usize,
    /// What is taken.
    pub common: Common,
    /// The username of the one who has it.
    pub with: String,
}

/// The outcome of ending selected sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectedEnd {
    /// As of any change that a session asked for.
    pub changed: Changed,
    /// The event of the act, if there is one by now.
    pub event: Option<EventNumber>,
}

/// The audit's line for so many selected sessions that were ended.
pub(super) fn selected_end(reason: &Reason, ended: usize, at: Timestamp) -> Event {
    let Reason { by, requested_by: _, as_administrator: _, why, origin } = reason;
    let count = i64::try_from(ended).unwrap_or(i64::MAX);
    Event { detail: Some(why.as_str().into()), count, ..Event::new(why.event(), *by, at).from(origin) }
}

/// The outcome of editing a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edited {
    /// It was done, and ended these sessions. A new identity may be told once the number is settled.
    Yes(Box<Account>, Revoked),
    /// There is no such user.
    NoUser,
    /// The username is taken.
    UsernameTaken,
    /// The e-mail address is taken.
    EmailTaken,
    /// No administrator who can log in would be left.
    LastAdmin,
    /// The session that asked has ended meanwhile, which is settled with this number.
    NoSession(Seq),
}

/// The outcome of deleting a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It was done, and ended these sessions.
    Yes(Revoked),
    /// There is no such user.
    NoUser,
    /// No administrator who can log in would be left.
    LastAdmin,
    /// The session that asked has ended meanwhile, which is settled with this number.
    NoSession(Seq),
}

/// A live session, with its user's name, as administrators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSession {
    /// Its number: later logins have higher ones.
    pub number: i64,
    /// The session.
    pub session: Session,
    /// Its user's username.
    pub username: Username,
    /// Its user's display name.
    pub name: Name,
}

/// The live sessions among the rows of a stretch of numbers. Later logins have higher numbers.
#[derive(Clone, Debug)]
pub struct SessionStretch {
    /// Newest login first.
    pub sessions: Vec<ListedSession>,
    /// Where the next stretch ends, none after the oldest session.
    pub next: Option<i64>,
    /// Sessions that have ended, and so are not listed, are settled with this number.
    pub seq: Seq,
}

/// An event as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its number.
    pub number: EventNumber,
    /// When it happened.
    pub at: Timestamp,
    /// What happened. A later release may have written a word that this one does not know.
    pub kind: String,
    /// The actor's word: a user's id, or `cli`, `system`, `anonymous`.
    pub actor: String,
    /// The actor's name.
    pub actor_name: Option<String>,
    /// The user it happened to.
    pub user_id: Option<String>,
    /// That user's name, or a hash of a name that no user has.
    pub name: Option<String>,
    /// The session it happened to.
    pub session_id: Option<String>,
    /// The address of the client.
    pub ip: Option<String>,
    /// The `User-Agent` of the client.
    pub user_agent: Option<String>,
    /// The detail.
    pub detail: Option<String>,
    /// The id of the request.
    pub request_id: Option<String>,
    /// How many such events it stands for.
    pub count: i64,
}

/// Which events are wanted.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Those that happened to this user, or that this user brought about.
    pub user: Option<UserId>,
    /// Those of this kind.
    pub kind: Option<String>,
    /// Those that did not happen before this.
    pub since: Option<Timestamp>,
    /// Those that happened before this.
    pub until: Option<Timestamp>,
}

/// The events among the rows of a stretch of numbers.
#[derive(Clone, Debug)]
pub struct EventStretch {
    /// Newest first.
    pub events: Vec<StoredEvent>,
    /// Where the next stretch ends, none after the oldest event.
    pub next: Option<EventNumber>,
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
    /// What shows that the user has the second factor, where the change asks for it. It is used up.
    pub proof: Option<Proof>,
    /// Set for a password that has to be changed at its first use.
    pub one_time: Option<OneTime>,
    /// The session that goes on under a new token.
    pub keep: Option<Renewal>,
    /// The names and accounts about which all counters of failed tries are lifted.
    pub lifts: Vec<ThrottleKey>,
}

/// Whether a try of a password or a code was booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Booked {
    /// Each counter went up by one.
    Yes {
        /// When.
        at: Timestamp,
        /// Whether the account is stopped, so that nothing that is tried may be right. That is not published.
        stopped: bool,
    },
    /// A counter says that a try must wait. Nothing was changed.
    Waiting {
        /// The end of the latest wait.
        until: Timestamp,
    },
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
