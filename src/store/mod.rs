//! The durable state, behind one trait of whole operations: each is one transaction, audit included.
//!
//! `connect` picks an implementation by URL; `sqlite` is the embedded one, `postgres` the one that many processes
//! share. `replicas` is what a store offers in addition if many processes may serve from it, `ahead` reads for caches, `room` chooses which
//! sessions end for a new one, `second_factor` has the types of what is about those, `copy` copies an embedded store into the other kind, and `backup` saves one in a file.

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::clock::Timestamp;
use crate::domain::event::Event;
use crate::domain::id::{SessionId, UserId};
use crate::domain::password::PasswordHash;
use crate::domain::revocation::{Reason, Revocation};
use crate::domain::second_factor::sealed::{KeyId, RecoveryHash, SealedSecret};
use crate::domain::session::Seen;
use crate::domain::text::LoginName;
use crate::domain::throttle::{Counter, Tally, ThrottleKey};
use crate::domain::token::{TokenHash, TokenKey};
use crate::domain::user::{Account, Credentials, User, UserEdit};
use crate::telemetry::{Standbys, StoreUse};

mod ahead;
pub mod backup;
mod batch;
pub mod connect;
mod copied;
pub mod copy;
mod edit;
mod error;
mod lookups;
mod migrate;
pub mod opening;
mod postgres;
pub mod replicas;
mod room;
mod rows;
mod saved;
mod second_factor;
mod sqlite;
mod types;

pub use ahead::{Ahead, Part, PartRead};
pub use error::{Cause, Result, StoreError};
pub use replicas::{MadeDurable, News, Replica, Replicas};
pub use second_factor::{
    Enrolment, Factor, FactorAct, FactorChange, FactorChanged, PendingLogin, Replacement, Replacements, Reseal,
    Resealed, SecretsOf,
};
pub use types::{
    Added, Addition, Booked, Changed, Clash, Common, Created, Deleted, Edited, EventFilter, EventNumber, EventPurge,
    EventStretch, EventsPurged, ExportedUser, Import, ImportedUser, Initial, ListedSession, Listing, Logout, Lookup,
    NewSession, PasswordChange, Renewal, Revoked, Selected, SelectedEnd, SessionStretch, StoredEvent, Target,
};

use types::selected_end;

/// Applies every revocation to what is kept in memory, in the order of their numbers and before it is published.
pub trait RevocationSink: Send + Sync + 'static {
    /// Removes what `revocation` ended. Must not block.
    fn apply(&self, revocation: &Revocation);

    /// Removes everything, for good, since the store was replaced by another.
    fn clear(&self);
}

/// Where users, sessions and the audit are kept.
///
/// Every method is one transaction and durable when it answers. A session is live if it is not revoked and before both
/// deadlines. A change reads the clock for that once its transaction has begun, so a change that waited does not bring
/// a session back that was answered to be over.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The key tokens are tagged with; made at the first start.
    async fn token_key(&self) -> Result<TokenKey>;

    /// A secret other than the token key, by its name.
    async fn secret(&self, name: &'static str) -> Result<Option<[u8; 32]>>;

    /// Stores a secret under a name, in place of an earlier one.
    async fn keep_secret(&self, name: &'static str, value: [u8; 32]) -> Result<()>;

    /// What a login as `name` is checked against.
    async fn credentials(&self, name: &LoginName) -> Result<Option<Credentials>>;

    /// The same for a user that is known already.
    async fn credentials_of(&self, user: UserId) -> Result<Option<Credentials>>;

    /// The session that a token leads to.
    async fn lookup(&self, token: &TokenHash) -> Result<Lookup>;

    /// A user's live sessions.
    async fn sessions(&self, user: UserId, now: Timestamp) -> Result<Listing>;

    /// Whether there is any user yet.
    async fn has_users(&self) -> Result<bool>;

    /// Whether there is an administrator who can log in, and not just until a password expires.
    async fn has_administrator(&self) -> Result<bool>;

    /// Every user, by username.
    async fn users(&self) -> Result<Vec<User>>;

    /// A user as administrators see them.
    async fn account(&self, user: UserId) -> Result<Option<Account>>;

    /// At most `limit` users in the order in which they were made, after the one that was made then and has that id.
    async fn accounts(&self, after: Option<(Timestamp, UserId)>, limit: u32) -> Result<Vec<Account>>;

    /// Adds a user.
    async fn add_user(&self, addition: Addition, reason: Reason) -> Result<Added>;

    /// Changes what is known of a user. Sessions end where the user is disabled; otherwise they go on, and every cache
    /// asks anew about them. Refuses to leave no administrator who can log in. Lifts what tries of a name have led to that
    /// was somebody else's.
    async fn edit_user(&self, user: UserId, edit: UserEdit, lifts: Vec<ThrottleKey>, reason: Reason) -> Result<Edited>;

    /// Ends the sessions of a user and removes what is known of them. Their id stays in the audit and in tombstones.
    async fn delete_user(&self, user: UserId, reason: Reason) -> Result<Deleted>;

    /// Ends selected sessions in one transaction, whose size is the caller's to bound.
    async fn revoke_selected(&self, selected: Selected, reason: Reason) -> Result<SelectedEnd>;

    /// The live session with this id, in a stretch of its own.
    async fn live_session(&self, session: SessionId, now: Timestamp) -> Result<SessionStretch>;

    /// The live sessions among the `rows` rows that come before number `before`, or before the end.
    async fn session_stretch(&self, before: Option<i64>, rows: u32, now: Timestamp) -> Result<SessionStretch>;

    /// The newest of the wanted events, `most` at most, among the `rows` rows that come before number `before`, or before
    /// the end.
    async fn event_stretch(
        &self,
        filter: &EventFilter,
        before: Option<EventNumber>,
        rows: u32,
        most: usize,
    ) -> Result<EventStretch>;

    /// Makes users who come from elsewhere: all of them, unless there are clashes with those that there are.
    async fn import_users(&self, import: Import) -> Result<Vec<Clash>>;

    /// Users with their hashes and second factors in the order of their ids: at most `limit`, after one of them.
    async fn users_to_export(&self, after: Option<UserId>, limit: u32) -> Result<Vec<ExportedUser>>;

    /// The first stored hash, in the order of their bytes, that was made elsewhere and is `from` or comes after it.
    async fn foreign_hash(&self, from: &str) -> Result<Option<PasswordHash>>;

    /// Makes a session, unless its login is superseded or its second factor is not proven, and ends what it replaces and what
    /// is over the cap: the ones not seen for longest.
    async fn create_session(&self, new: NewSession) -> Result<Created>;

    /// Ends the session a token leads to. Many at once cost one commit.
    async fn logout(&self, logout: Logout) -> Result<Revoked>;

    /// Ends sessions.
    async fn revoke(&self, target: Target, reason: Reason) -> Result<Changed>;

    /// Sets a password and ends every session but the one to keep, which goes on under a new token.
    async fn change_password(&self, change: PasswordChange, reason: Reason) -> Result<Changed>;

    /// A user's second factor, if one is in force.
    async fn second_factor(&self, user: UserId) -> Result<Option<Factor>>;

    /// The second factor that a user has begun to set up.
    async fn enrolment(&self, user: UserId) -> Result<Option<Enrolment>>;

    /// Changes a user's second factor.
    async fn change_second_factor(&self, change: FactorChange, reason: Reason) -> Result<FactorChanged>;

    /// The names of the keys that the secrets of second factors in force are encrypted under.
    async fn second_factor_keys(&self) -> Result<Vec<KeyId>>;

    /// Secrets in the order of their users: at most `limit`, after one of them.
    async fn sealed_secrets(
        &self,
        of: SecretsOf,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<(UserId, SealedSecret)>>;

    /// Hashes of recovery codes in their order, with their users: at most `limit`, after one of them.
    async fn recovery_hashes(&self, after: Option<RecoveryHash>, limit: u32) -> Result<Vec<(UserId, RecoveryHash)>>;

    /// Puts secrets or recovery codes under another key, as far as they are what they were when they were read. The size of
    /// the transaction is the caller's to bound; all of an act are one event.
    async fn reseal(&self, reseal: Reseal) -> Result<Resealed>;

    /// Keeps a login that waits for a code. Of one user's, a few are kept.
    async fn add_pending_login(&self, token: TokenHash, login: PendingLogin) -> Result<()>;

    /// The login that waits for a code, by the token that its browser has.
    async fn pending_login(&self, token: &TokenHash) -> Result<Option<PendingLogin>>;

    /// Stores last-seen times of sessions that are live; returns the deadlines that now hold.
    async fn touch(&self, seen: Vec<Seen>) -> Result<Vec<(TokenHash, Timestamp)>>;

    /// Writes events that come with no change, such as a refused login.
    async fn record(&self, events: Vec<Event>) -> Result<()>;

    /// Deletes at most `limit` sessions whose tombstones are not needed after `before`, log entries that no replica needs,
    /// and what was begun before then and not finished. Returns how many sessions.
    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64>;

    /// Deletes the old ones of a few events.
    async fn purge_events(&self, purge: EventPurge) -> Result<EventsPurged>;

    /// The end of the latest wait, where one of the counters says that a try must wait.
    async fn waiting(&self, counters: &[Counter], now: Timestamp) -> Result<Option<Timestamp>>;

    /// Counts a try as failed on every counter, the most special first, before it is checked; or changes nothing, where one
    /// of them says that it must wait. Tries that are booked at the same time, by any replica, are counted one by one.
    async fn book(&self, counters: Vec<Counter>) -> Result<Booked>;

    /// Takes a try back that was booked `at` a time and did not fail.
    async fn give_back(&self, counters: Vec<Counter>, at: Timestamp) -> Result<()>;

    /// The counter whose wait ends last, of those under these keys that have one.
    async fn longest_wait(&self, keys: &[ThrottleKey], now: Timestamp) -> Result<Option<Tally>>;

    /// Deletes every counter about names and accounts. Returns whether there was one.
    async fn lift(&self, about: Vec<ThrottleKey>, event: Event) -> Result<bool>;

    /// When the counters will be forgotten that are more than the `most` which are forgotten last; the latest of them. Those
    /// of accounts and of codes are not counted: there are no more of either than accounts.
    async fn surplus_throttles(&self, most: u32) -> Result<Option<Timestamp>>;

    /// Deletes at most `limit` counters that are forgotten by `before`, and are forgotten now, or make nothing wait and are
    /// neither an account's nor of its codes. Returns how many.
    async fn purge_throttles(&self, before: Timestamp, limit: u32) -> Result<u64>;

    /// Answers when the store can be read, and its writer lives and can change something.
    async fn ping(&self) -> Result<()>;

    /// What the store uses now. Waits for nothing.
    fn in_use(&self) -> StoreUse;

    /// What protects commits from the loss of a server; `None` where there is only this machine.
    async fn standbys(&self) -> Result<Option<Standbys>>;

    /// Whether a process serves from this store now, or has until lately.
    async fn is_served(&self) -> Result<bool>;

    /// The processes that serve from this store, or have until lately.
    async fn replicas(&self) -> Result<Vec<Replica>>;

    /// The rows and the log by which many processes on this store keep their caches coherent, or `None` where only one
    /// can serve.
    fn shared(&self) -> Option<Arc<dyn Replicas>>;

    /// What reads sessions before they are checked.
    fn ahead(&self) -> Arc<dyn Ahead>;

    /// Has every connection replaced by a new one once what is under way on it is done, since the certificates that it
    /// was checked against have changed. A store without connections has nothing to do.
    fn renew_connections(&self) {}

    /// Finishes what is pending, and closes the store.
    async fn close(&self);
}

/// A store to be shared.
pub type SharedStore = Arc<dyn Store>;
