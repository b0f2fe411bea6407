//! The durable truth, behind one trait of whole operations: each is one transaction, audit included.
//!
//! `connect` picks an implementation by URL; `sqlite` is the embedded one,
//! `postgres` the one that many processes share. `replicas` is what a store offers beside that
//! if many processes may serve from it, `room` which sessions end for a new one, `copy` moves what is in the one to the
//! other, and `backup` saves one in a file.

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::clock::Timestamp;
use crate::domain::event::{Actor, Event};
use crate::domain::id::{SessionId, UserId};
use crate::domain::password::PasswordHash;
use crate::domain::revocation::{Reason, Revocation, Seq};
use crate::domain::session::{Seen, Session};
use crate::domain::text::LoginName;
use crate::domain::token::{TokenHash, TokenKey};
use crate::domain::user::{Credentials, NewUser, User};
use crate::telemetry::outage::StoreCause;

pub mod backup;
pub mod connect;
pub mod copy;
pub mod opening;
mod postgres;
pub mod replicas;
mod room;
mod sqlite;

pub use replicas::{News, Replica, Replicas};

/// Why an operation has no result. A row that is not there is an outcome, not an error.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Refused, dropped, disk full, I/O error: nothing was changed, or nobody can tell.
    #[error("the store cannot be reached: {0}")]
    Unreachable(String),
    /// No answer in time; a write may or may not have happened.
    #[error("the store did not answer in time: {0}")]
    TooSlow(String),
    /// What the store holds, or was asked, makes no sense: a bug here or a hand in the database.
    #[error("the store holds or was asked something impossible: {0}")]
    Inconsistent(String),
}

impl StoreError {
    /// Of which kind it is.
    pub const fn cause(&self) -> StoreCause {
        match self {
            Self::Unreachable(_) => StoreCause::unreachable,
            Self::TooSlow(_) => StoreCause::too_slow,
            Self::Inconsistent(_) => StoreCause::inconsistent,
        }
    }
}

/// The result of every operation.
pub type Result<T> = std::result::Result<T, StoreError>;

/// What a token's hash leads to.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// A session not revoked, and its user. It may have expired.
    Found(Box<(Session, User)>),
    /// A tombstone. Telling anybody waits until its number is settled.
    Revoked(Seq),
    /// Nothing: never there, or purged long after its end.
    Missing,
}

/// A session to be made, after its password was checked.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The session itself; `user_id` says whose.
    pub session: Session,
    /// What will find it.
    pub token_hash: TokenHash,
    /// The epoch the password was checked under.
    pub auth_epoch: i64,
    /// The most live sessions the user may have; the ones not seen for longest make room.
    pub cap: usize,
    /// The sessions whose cookies came with the login, whoever's they are; they end.
    pub replaces: Vec<TokenHash>,
    /// A password hash with today's parameters, to take the old one's place.
    pub rehashed: Option<PasswordHash>,
    /// Whether every replica has stored when it saw the user's sessions. If not, and if it may decide which of them have
    /// to make room, the answer is [`Created::Unflushed`].
    pub flushed: bool,
}

/// Whether a session was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// Yes. What made room for it is settled with this number.
    Yes(Seq),
    /// No: since the password was checked, it changed or the user was disabled.
    Superseded,
    /// Not yet, and nothing was changed: which sessions have to make room depends on last-seen times that replicas may
    /// have in memory. To be asked for again once those are stored.
    Unflushed {
        /// The sessions that may have to make room, one of them more than needed at least.
        sessions: Vec<TokenHash>,
        /// Once this number is settled, every other replica has stored what it knows of them.
        seq: Seq,
    },
}

/// A session that its owner ends by presenting its token.
#[derive(Clone, Debug)]
pub struct Logout {
    /// What was presented.
    pub token: TokenHash,
    /// Whose it must be, where the credential named somebody.
    pub user: Option<UserId>,
    /// From which address.
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

/// What a revocation ended. Nothing may be told of it before `seq` is settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    /// The sessions that ended.
    pub sessions: Vec<SessionId>,
    /// The number to be settled: its own, or where nothing ended, the newest of the log.
    pub seq: Seq,
}

/// What a change came to that was asked for through a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It was made, and ended this.
    Yes(Revoked),
    /// It was not: the session has ended meanwhile, which is settled with this number.
    NoSession(Seq),
    /// It was not: there is no such user, or since the password was checked, it changed or the user was disabled.
    Superseded,
}

/// A user's live sessions, and the log's newest number when they were read.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Newest login first.
    pub sessions: Vec<Session>,
    /// What is missing here is settled with this number.
    pub seq: Seq,
}

/// Whether a user was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    /// Yes.
    Yes(User),
    /// No: the username is somebody's.
    UsernameTaken,
    /// No: the e-mail address is somebody's.
    EmailTaken,
}

/// A password to be set.
#[derive(Clone, Debug)]
pub struct PasswordChange {
    /// Whose.
    pub user: UserId,
    /// The new hash.
    pub hash: PasswordHash,
    /// The epoch the current password was checked under; none when an operator sets it.
    pub auth_epoch: Option<i64>,
    /// The session that goes on.
    pub keep: Option<Renewal>,
}

/// A session that goes on under a new token. The old one leads to a tombstone from then on.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// Which. Its id, its beginning and its end stay as they are.
    pub session: SessionId,
    /// What will find it.
    pub token_hash: TokenHash,
    /// The id of the old token's tombstone, which stands for no session.
    pub tombstone: SessionId,
    /// Its idle deadline, counted from now.
    pub idle_until: Timestamp,
}

/// Applies every revocation to what is kept in memory, in the order of their numbers and before it is published.
pub trait RevocationSink: Send + Sync + 'static {
    /// Removes what `revocation` ended. Must not block.
    fn apply(&self, revocation: &Revocation);

    /// Removes everything, for good: the store is not the one it was.
    fn clear(&self);
}

/// Where users, sessions and the audit are kept.
///
/// Every method is one transaction and durable when it answers. Live is what is not revoked and before both deadlines;
/// a change reads the clock for that once its transaction has begun, so what was told to be over is not brought back by
/// a change that waited.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The key tokens are tagged with; made at the first start.
    async fn token_key(&self) -> Result<TokenKey>;

    /// What is kept under this name beside the token key.
    async fn secret(&self, name: &'static str) -> Result<Option<[u8; 32]>>;

    /// Keeps it, in place of what was.
    async fn keep_secret(&self, name: &'static str, value: [u8; 32]) -> Result<()>;

    /// What a login as `name` is checked against.
    async fn credentials(&self, name: &LoginName) -> Result<Option<Credentials>>;

    /// The same for somebody already known.
    async fn credentials_of(&self, user: UserId) -> Result<Option<Credentials>>;

    /// Where a token leads.
    async fn lookup(&self, token: &TokenHash) -> Result<Lookup>;

    /// A user's live sessions.
    async fn sessions(&self, user: UserId, now: Timestamp) -> Result<Listing>;

    /// Whether there is any user yet.
    async fn has_users(&self) -> Result<bool>;

    /// Every user, by username.
    async fn users(&self) -> Result<Vec<User>>;

    /// Adds a user.
    async fn add_user(&self, id: UserId, user: NewUser, hash: PasswordHash, by: Actor) -> Result<Added>;

    /// Makes a session, unless its login is superseded, and ends what it replaces and what is over the cap: the ones not seen
    /// for longest.
    async fn create_session(&self, new: NewSession) -> Result<Created>;

    /// Ends the session a token leads to. Many at once cost one commit.
    async fn logout(&self, logout: Logout) -> Result<Revoked>;

    /// Ends sessions.
    async fn revoke(&self, target: Target, reason: Reason) -> Result<Changed>;

    /// Sets a password and ends every session but the one to keep, which goes on under a new token.
    async fn change_password(&self, change: PasswordChange, reason: Reason) -> Result<Changed>;

    /// Disables a user and ends their sessions, or enables them again. `None`: there is no such user.
    async fn set_disabled(&self, user: UserId, disabled: bool, reason: Reason) -> Result<Option<Revoked>>;

    /// Stores last-seen times of sessions that are live; returns the deadlines that now hold.
    async fn touch(&self, seen: Vec<Seen>) -> Result<Vec<(TokenHash, Timestamp)>>;

    /// Writes events that come with no change, such as a refused login.
    async fn record(&self, events: Vec<Event>) -> Result<()>;

    /// Deletes at most `limit` sessions that ended for good before `before`, and log entries no one needs; returns how many sessions.
    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64>;

    /// Deletes the events from before `before` among the `limit` oldest; returns how many.
    async fn purge_events(&self, before: Timestamp, limit: u32) -> Result<u64>;

    /// Answers when the store can be read, and its writer lives and can change something.
    async fn ping(&self) -> Result<()>;

    /// Waits until the process that serves from this store has applied `seq`, for a change made beside it.
    async fn confirm(&self, seq: Seq) -> Result<Confirmed>;

    /// The processes that serve from this store, or have until lately.
    async fn replicas(&self) -> Result<Vec<Replica>>;

    /// What keeps many processes on this store of one mind; none where only one can serve.
    fn shared(&self) -> Option<Arc<dyn Replicas>>;

    /// Hands in what is pending and closes.
    async fn close(&self);
}

/// What a change made from the command line means for a running server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// The server has applied it.
    Applied,
    /// There is no server to tell.
    NoServer,
    /// There is a server and it did not say so in time.
    NotInTime,
}

/// A store to be shared.
pub type SharedStore = Arc<dyn Store>;
