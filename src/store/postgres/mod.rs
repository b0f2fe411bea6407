//! The store that many processes share: PostgreSQL, 15 or newer.
//!
//! `guard` keeps the password from servers without TLS, `pooler` finds a pooler that shares server processes, and `address`
//! reads the URL. `connection` is one connection, `gate` opens them and `pool` is some of them, with a `deadline` on
//! everything. `migrate` makes the tables, `copy` fills all of them at once, and `start` is about the first connection.
//! `change` is a transaction and what it ends with, `audit` included: `throttles`, `second_factors`, `sessions`, `accounts` and
//! `import` are the operations in it. `users` looks users up, `stretches` are lists over all of them, `purge` deletes what is
//! out of date, and `standbys` asks what protects commits. `lookups` and `logouts` put many into one statement, and `replicas`
//! is what keeps the caches of many processes coherent. Each of these imports only from those named before it; `copy` aside,
//! all of them meet here.

mod accounts;
mod address;
mod ahead;
mod audit;
mod change;
mod connection;
mod copy;
mod deadline;
mod gate;
mod guard;
mod import;
mod logouts;
mod lookups;
mod migrate;
mod pool;
mod pooler;
mod purge;
mod replicas;
mod second_factors;
mod sessions;
mod standbys;
mod start;
mod stretches;
mod throttles;
mod users;

use std::convert::identity;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join;
use sqlx::postgres::PgArguments;
use sqlx::{query, query_as, query_with};
use tracing::{Instrument as _, info_span};

use self::accounts::{AddUser, ChangePassword, DeleteUser, EditUser};
use self::address::Address;
use self::change::{Time, commit, commit_patiently};
pub(super) use self::copy::Target as CopyTarget;
use self::deadline::with_deadline;
use self::gate::Gate;
use self::logouts::Logouts;
use self::pool::Pool;
use self::purge::Purges;
use self::replicas::Membership;
use self::second_factors::{AddPendingLogin, ChangeSecondFactor};
use self::sessions::{Revoke, RevokeSelected};
use self::throttles::Lift;
use super::lookups::Lookups;
use super::opening::{ConnectError, Opening, PATIENCE, Role, Timing};
use super::rows::{ListedRow, ReplicaRow};
use super::{
    Added, Addition, Ahead, Booked, Changed, Clash, Created, Deleted, Edited, Enrolment, EventFilter, EventNumber,
    EventPurge, EventStretch, EventsPurged, ExportedUser, Factor, FactorChange, FactorChanged, Import, Listing, Logout,
    Lookup, NewSession, PasswordChange, PendingLogin, Replica, Replicas, Reseal, Resealed, Result, Revoked, SecretsOf,
    Selected, SelectedEnd, SessionStretch, Store, StoreError, Target,
};
use crate::config::DatabaseUrl;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::entropy::{Entropy, NoEntropy};
use crate::domain::event::Event;
use crate::domain::id::{SessionId, UserId};
use crate::domain::password::PasswordHash;
use crate::domain::revocation::Reason;
use crate::domain::second_factor::sealed::{KeyId, RecoveryHash, SealedSecret};
use crate::domain::session::Seen;
use crate::domain::text::LoginName;
use crate::domain::throttle::{Counter, Tally, ThrottleKey};
use crate::domain::token::{TokenHash, TokenKey};
use crate::domain::user::{Account, Credentials, User, UserEdit};
use crate::telemetry::{Standbys, StoreMetrics, StoreUse};

/// The most connections that read, and that change something, at a time. Checks that must ask the store cannot keep a
/// logout out, nor logins a check. One more reads ahead of checks.
const READERS: usize = 7;
const WRITERS: usize = 6;
/// The most of them that look tokens up at a time.
const LOOKUPS: usize = 3;

/// The store in a PostgreSQL database.
pub(super) struct Postgres {
    readers: Arc<Pool>,
    writers: Arc<Pool>,
    lookups: Arc<Lookups>,
    ahead: Arc<ahead::Reader>,
    logouts: Logouts,
    membership: Arc<Membership>,
    gate: Arc<Gate>,
    time: Time,
    token_key: TokenKey,
    purges: Purges,
}

/// Says whether a URL can be understood, without connecting, and what is unsafe about it.
pub(super) fn check(url: &DatabaseUrl) -> std::result::Result<Option<&'static str>, ConnectError> {
    address(url).map(|address| address.warning)
}

/// Reads the certificates that a URL names or relies on, and says whether the URL can be understood: a hash that differs
/// once they do.
pub(super) fn certificates(url: &DatabaseUrl) -> std::result::Result<[u8; 32], ConnectError> {
    address(url).map(|address| address.certificates)
}

fn address(url: &DatabaseUrl) -> std::result::Result<Address, ConnectError> {
    Address::parse(url.reveal()).map_err(ConnectError::BadUrl)
}

impl Postgres {
    /// Connects, and migrates the database. A server waits for a database that is not up yet; a command fails at once.
    pub(super) async fn open(
        url: &DatabaseUrl,
        role: &Role,
        timing: Timing,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
        metrics: Arc<StoreMetrics>,
        opening: &Opening,
    ) -> std::result::Result<Self, ConnectError> {
        let gate = Gate::new(address(url)?);
        let mut fresh_key = [0; 32];
        entropy.fill(&mut fresh_key).map_err(|error: NoEntropy| StoreError::unreachable(error.to_string()))?;
        let patience = match role {
            Role::Serve(_) => PATIENCE,
            Role::Command => Duration::ZERO,
        };
        let (first, token_key) = start::first(&gate, fresh_key, opening, patience).await?;
        let readers = Arc::new(Pool::new(Arc::clone(&gate), READERS, None, &metrics));
        let writers = Arc::new(Pool::new(Arc::clone(&gate), WRITERS, Some(Arc::clone(&readers)), &metrics));
        writers.keep(first);
        let ahead = Arc::new(Pool::new(Arc::clone(&gate), 1, None, &metrics));
        let pools = [&readers, &writers, &ahead].map(Arc::clone);
        let time = Time { clock, flush_interval: timing.flush_interval };
        let membership = Membership::new(Arc::clone(&gate), pools, time.clone(), timing.lease);
        let lookups = Arc::new(Lookups::start(LOOKUPS, metrics, {
            let readers = Arc::clone(&readers);
            move |tokens| {
                let readers = Arc::clone(&readers);
                async move { lookups::find(&readers, tokens).await }
            }
        }));
        Ok(Self {
            ahead: Arc::new(ahead::Reader::new(ahead, Arc::clone(&lookups))),
            lookups,
            logouts: logouts::start(Arc::clone(&writers), time.clone()),
            membership: Arc::new(membership),
            gate,
            readers,
            writers,
            time,
            token_key,
            purges: Purges::new(),
        })
    }
}

#[async_trait]
impl Store for Postgres {
    async fn token_key(&self) -> Result<TokenKey> {
        Ok(self.token_key.clone())
    }

    async fn secret(&self, name: &'static str) -> Result<Option<[u8; 32]>> {
        let value: Option<(Vec<u8>,)> =
            self.readers.row(query_as("SELECT value FROM secrets WHERE name = $1").bind(name)).await?;
        let unfit = |_| StoreError::inconsistent("a secret is not of 32 bytes");
        value.map(|(value,)| value.try_into().map_err(unfit)).transpose()
    }

    async fn keep_secret(&self, name: &'static str, value: [u8; 32]) -> Result<()> {
        let sql =
            "INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.writers.execute(query(sql).bind(name).bind(value.to_vec())).await.map(drop)
    }

    async fn credentials(&self, name: &LoginName) -> Result<Option<Credentials>> {
        users::credentials(&self.readers, name).await
    }

    async fn credentials_of(&self, user: UserId) -> Result<Option<Credentials>> {
        users::credentials_of(&self.readers, user).await
    }

    async fn lookup(&self, token: &TokenHash) -> Result<Lookup> {
        with_deadline(self.lookups.ask(*token)).instrument(info_span!("store read")).await
    }

    async fn sessions(&self, user: UserId, now: Timestamp) -> Result<Listing> {
        // The left join answers with the log's newest number even when no session is left.
        let sessions = query_as(
            "SELECT head.seq AS head,
                 s.id, s.user_id, s.created_at, s.last_seen_at, s.idle_expires_at, s.expires_at,
                 s.remembered, s.ip, s.user_agent, s.host
             FROM coherence AS head
             LEFT JOIN sessions AS s ON s.user_id = $1 AND NOT s.archived AND s.revoked_at IS NULL
                 AND s.idle_expires_at > $2 AND s.expires_at > $2
             ORDER BY s.created_at DESC, s.number DESC",
        );
        let rows: Vec<ListedRow> = self.readers.rows(sessions.bind(user).bind(now)).await?;
        let seq = rows.first().map(|row| row.head).unwrap_or_default();
        Ok(Listing { sessions: rows.into_iter().filter_map(|row| row.session).collect(), seq })
    }

    async fn has_users(&self) -> Result<bool> {
        users::has_users(&self.readers).await
    }

    async fn has_administrator(&self) -> Result<bool> {
        users::has_administrator(&self.readers).await
    }

    async fn users(&self) -> Result<Vec<User>> {
        users::users(&self.readers).await
    }

    async fn account(&self, user: UserId) -> Result<Option<Account>> {
        users::account(&self.readers, user).await
    }

    async fn accounts(&self, after: Option<(Timestamp, UserId)>, limit: u32) -> Result<Vec<Account>> {
        users::accounts(&self.readers, after, limit).await
    }

    async fn add_user(&self, addition: Addition, reason: Reason) -> Result<Added> {
        commit(&self.writers, &self.time, AddUser { addition, reason }).await
    }

    async fn import_users(&self, import: Import) -> Result<Vec<Clash>> {
        commit_patiently(&self.writers, &self.time, import).await
    }

    async fn users_to_export(&self, after: Option<UserId>, limit: u32) -> Result<Vec<ExportedUser>> {
        users::to_export(&self.readers, after, limit).await
    }

    async fn foreign_hash(&self, from: &str) -> Result<Option<PasswordHash>> {
        users::foreign_hash(&self.readers, from).await
    }

    async fn create_session(&self, new: NewSession) -> Result<Created> {
        commit(&self.writers, &self.time, new).await
    }

    async fn logout(&self, logout: Logout) -> Result<Revoked> {
        with_deadline(self.logouts.ask(logout, identity)).instrument(info_span!("store commit")).await
    }

    async fn revoke(&self, target: Target, reason: Reason) -> Result<Changed> {
        commit(&self.writers, &self.time, Revoke { target, reason }).await
    }

    async fn change_password(&self, change: PasswordChange, reason: Reason) -> Result<Changed> {
        commit(&self.writers, &self.time, ChangePassword { change, reason }).await
    }

    async fn edit_user(&self, user: UserId, edit: UserEdit, lifts: Vec<ThrottleKey>, reason: Reason) -> Result<Edited> {
        commit(&self.writers, &self.time, EditUser { user, edit, lifts, reason }).await
    }

    async fn delete_user(&self, user: UserId, reason: Reason) -> Result<Deleted> {
        commit(&self.writers, &self.time, DeleteUser { user, reason }).await
    }

    async fn revoke_selected(&self, selected: Selected, reason: Reason) -> Result<SelectedEnd> {
        commit(&self.writers, &self.time, RevokeSelected { selected, reason }).await
    }

    async fn live_session(&self, session: SessionId, now: Timestamp) -> Result<SessionStretch> {
        stretches::session(&self.readers, session, now).await
    }

    async fn session_stretch(&self, before: Option<i64>, rows: u32, now: Timestamp) -> Result<SessionStretch> {
        stretches::sessions(&self.readers, before, rows, now).await
    }

    async fn event_stretch(
        &self,
        filter: &EventFilter,
        before: Option<EventNumber>,
        rows: u32,
        most: usize,
    ) -> Result<EventStretch> {
        stretches::events(&self.readers, filter, before, rows, most).await
    }

    async fn second_factor(&self, user: UserId) -> Result<Option<Factor>> {
        second_factors::in_force(&self.readers, user).await
    }

    async fn enrolment(&self, user: UserId) -> Result<Option<Enrolment>> {
        second_factors::enrolment(&self.readers, user).await
    }

    async fn second_factor_keys(&self) -> Result<Vec<KeyId>> {
        second_factors::keys(&self.readers).await
    }

    async fn pending_login(&self, token: &TokenHash) -> Result<Option<PendingLogin>> {
        second_factors::pending_login(&self.readers, *token).await
    }

    async fn sealed_secrets(
        &self,
        of: SecretsOf,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<(UserId, SealedSecret)>> {
        second_factors::secrets(&self.readers, of, after, limit).await
    }

    async fn recovery_hashes(&self, after: Option<RecoveryHash>, limit: u32) -> Result<Vec<(UserId, RecoveryHash)>> {
        second_factors::recovery_hashes(&self.readers, after, limit).await
    }

    async fn reseal(&self, reseal: Reseal) -> Result<Resealed> {
        commit(&self.writers, &self.time, reseal).await
    }

    async fn change_second_factor(&self, change: FactorChange, reason: Reason) -> Result<FactorChanged> {
        commit(&self.writers, &self.time, ChangeSecondFactor { change, reason }).await
    }

    async fn add_pending_login(&self, token: TokenHash, login: PendingLogin) -> Result<()> {
        commit(&self.writers, &self.time, AddPendingLogin { token, login }).await
    }

    async fn touch(&self, seen: Vec<Seen>) -> Result<Vec<(TokenHash, Timestamp)>> {
        sessions::touch(&self.writers, &self.time, &seen).await
    }

    async fn record(&self, events: Vec<Event>) -> Result<()> {
        let mut arguments = PgArguments::default();
        audit::add(&mut arguments, &events).map_err(connection::failed)?;
        let insert = "INSERT INTO events (at, kind, user_id, session_id, actor, ip, detail, name, actor_name, user_agent, request_id,
                 count)
             SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                 $8::text[], $9::text[], $10::text[], $11::text[], $12::bigint[])";
        self.writers.execute(query_with(insert, arguments)).await.map(drop)
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64> {
        self.purges.sessions(&self.writers, before, limit).await
    }

    async fn purge_events(&self, purge: EventPurge) -> Result<EventsPurged> {
        purge::events(&self.writers, purge).await
    }

    async fn waiting(&self, counters: &[Counter], now: Timestamp) -> Result<Option<Timestamp>> {
        throttles::waiting(&self.readers, counters, now).await
    }

    async fn book(&self, counters: Vec<Counter>) -> Result<Booked> {
        throttles::book(&self.writers, &self.time, &counters).await
    }

    async fn give_back(&self, counters: Vec<Counter>, at: Timestamp) -> Result<()> {
        throttles::give_back(&self.writers, &counters, at).await
    }

    async fn longest_wait(&self, keys: &[ThrottleKey], now: Timestamp) -> Result<Option<Tally>> {
        throttles::longest_wait(&self.readers, keys, now).await
    }

    async fn lift(&self, about: Vec<ThrottleKey>, event: Event) -> Result<bool> {
        commit(&self.writers, &self.time, Lift { about, event }).await
    }

    async fn surplus_throttles(&self, most: u32) -> Result<Option<Timestamp>> {
        let surplus = query_as(
            "SELECT forget_at FROM throttles WHERE counted NOT IN (3, 5) ORDER BY forget_at DESC LIMIT 1 OFFSET $1",
        );
        let surplus: Option<(Timestamp,)> = self.readers.row(surplus.bind(i64::from(most))).await?;
        Ok(surplus.map(|(forget_at,)| forget_at))
    }

    async fn purge_throttles(&self, before: Timestamp, limit: u32) -> Result<u64> {
        throttles::purge(&self.writers, before, self.time.now().at, limit).await
    }

    async fn ping(&self) -> Result<()> {
        self.lookups.check()?;
        self.logouts.check()?;
        // It changes nothing, and is refused where nothing can be changed.
        let write = self.writers.execute(query("UPDATE coherence SET seq = seq WHERE false"));
        // Neither is cancelled where the other fails: a read that is cancelled closes its connection.
        let (read, written) = join(self.has_users(), write).await;
        written.and(read.map(drop))
    }

    fn in_use(&self) -> StoreUse {
        let ((reads, oldest_read), (changes, _)) = (self.readers.in_use(), self.writers.in_use());
        StoreUse { pools: vec![reads, changes], oldest_read, wal_bytes: None }
    }

    async fn standbys(&self) -> Result<Option<Standbys>> {
        standbys::read(&self.readers).await.map(Some)
    }

    async fn is_served(&self) -> Result<bool> {
        Ok(!self.replicas().await?.is_empty())
    }

    async fn replicas(&self) -> Result<Vec<Replica>> {
        let rows: Vec<ReplicaRow> =
            self.readers.rows(query_as("SELECT id, beat, applied, caching FROM replicas")).await?;
        Ok(rows.into_iter().map(Replica::from).collect())
    }

    fn shared(&self) -> Option<Arc<dyn Replicas>> {
        Some(Arc::clone(&self.membership) as Arc<dyn Replicas>)
    }

    fn ahead(&self) -> Arc<dyn Ahead> {
        Arc::clone(&self.ahead) as Arc<dyn Ahead>
    }

    fn renew_connections(&self) {
        self.membership.renew();
    }

    async fn close(&self) {
        self.lookups.close().await;
        self.logouts.close().await;
        self.membership.close().await;
        self.readers.close();
        self.ahead.end();
        self.writers.close();
        self.gate.close();
    }
}
