//! Every business rule, once. Knows nothing of HTTP and nothing of SQL.
//!
//! `login` begins sessions, and `login_code` those that need a second step; `verify` checks them, `logout` ends those that a
//! request presents, and `sessions` lists a user's and ends any of them. `password_change` sets one's own password, and
//! `second_factor` is about what a login needs beside it, `reseal` about the keys that it is kept under, and `unreadable` about
//! those that are lost; `own_password` checks the password that changes of both ask for first. `accounts` is what may be done to
//! any account, by the `operator` and, through `acts`, by an `admin`, and `transfer` takes users over from elsewhere; `selection`
//! is about the sessions of all users, and `audit` about reading what happened. `first_password` is about the password that was
//! made up for the first user, and `replicas` about the processes that serve. `standbys` watches what protects commits, `health` says whether this one can serve, `hashes`
//! finds out how long refusals have to take, `refusals` records in the log and the audit who was refused, `throttle` checks
//! passwords within the `limits` on tries, and `error` is all that can go wrong.

use std::collections::HashSet;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span};

use self::health::Health;
use self::limits::Limits;
use self::refusals::Refusals;
use crate::cache::Cache;
use crate::cache::coherence::Coherence;
use crate::cache::touch::Touches;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::cursor::CursorKey;
use crate::domain::entropy::Entropy;
use crate::domain::id::UserId;
use crate::domain::password::Rules;
use crate::domain::revocation::Seq;
use crate::domain::second_factor::sealed::FactorKeys;
use crate::domain::session::Lifetimes;
use crate::domain::token::TokenKey;
use crate::password::Hasher;
use crate::store::{Revoked, SharedStore};
use crate::telemetry::{Metrics, Readings};

pub mod accounts;
mod acts;
pub mod admin;
pub mod audit;
pub mod error;
pub mod first_password;
mod hashes;
pub mod health;
pub mod limits;
pub mod login;
pub mod login_code;
mod logout;
pub mod operator;
mod own_password;
pub mod password_change;
mod refusals;
pub mod replicas;
pub mod reseal;
pub mod second_factor;
pub mod selection;
pub mod sessions;
pub mod standbys;
mod throttle;
pub mod transfer;
pub mod unreadable;
pub mod verify;

pub use error::Error;

/// The result of every operation.
pub type Result<T> = std::result::Result<T, Error>;

/// What the service is built from.
pub struct Parts {
    /// The durable truth.
    pub store: SharedStore,
    /// Whether the store can be read and written.
    pub health: Arc<Health>,
    /// Live sessions in memory. Checks are answered from it while it is trusted, and note in it what they have seen.
    pub cache: Arc<Cache>,
    /// When the cache is trusted, and when a revocation is settled.
    pub coherence: Arc<dyn Coherence>,
    /// Password workers.
    pub hasher: Arc<Hasher>,
    /// The handle that stores urgent last-seen times.
    pub touches: Touches,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Where a password that was made up for the first user is kept, if it is.
    pub first_password_file: PathBuf,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The keys of second factors.
    pub factor_keys: FactorKeys,
    /// The name of this service in authenticators.
    pub issuer: String,
    /// How long sessions live.
    pub lifetimes: Lifetimes,
    /// How many failures an address may have within ten minutes.
    pub failures_per_address: NonZeroU32,
    /// What a password has to be that is set.
    pub password_rules: Rules,
    /// Whether to end one's other sessions takes a login a short while ago (OWASP ASVS 7.5.2).
    pub fresh_login_to_revoke: bool,
    /// How many live sessions a user may have.
    pub sessions_per_user: NonZeroUsize,
}

/// The service.
pub struct Service {
    parts: Parts,
    token_key: TokenKey,
    cursor_key: CursorKey,
    refusals: Arc<Refusals>,
    limits: Limits,
    /// Loads of one token run one at a time, so that the second finds what the first has put into the cache.
    loads: Box<[Mutex<()>]>,
    /// Users whose stored hash is never computed and who are named in the log already.
    unusable: parking_lot::Mutex<HashSet<UserId>>,
}

/// What checks are answered from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Nothing is kept in memory: each reads the store.
    Off,
    /// Memory, and the store for what is not in it.
    Trusted,
    /// The store, since what is in memory may be out of date, and why.
    Untrusted(String),
}

/// The number of locks for loads: enough that loads of different tokens seldom share one.
const LOADS: usize = 1024;

impl Service {
    /// Puts the parts together.
    ///
    /// # Errors
    /// When the store does not give its token key.
    pub async fn new(parts: Parts) -> Result<Self> {
        let token_key = parts.store.token_key().await?;
        let loads = (0..LOADS).map(|_| Mutex::default()).collect();
        let refusals = Arc::new(Refusals::new(Arc::clone(&parts.store), token_key.name_key()));
        let cursor_key = token_key.cursor_key();
        let limits = Limits::new(token_key.throttle_secret(), parts.failures_per_address);
        Ok(Self { parts, token_key, cursor_key, refusals, limits, loads, unusable: parking_lot::Mutex::default() })
    }

    /// Records how many logins were refused beyond those recorded one by one, until it is stopped.
    pub fn count_refusals(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let (refusals, clock) = (Arc::clone(&self.refusals), Arc::clone(&self.parts.clock));
        async move { refusals.run(&*clock, stop).await }
    }

    /// Whether the store can be read, and its writer lives and can write.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn ready(&self) -> Result<()> {
        Ok(self.parts.health.ready().await?)
    }

    /// The key for cursors of lists.
    pub const fn cursors(&self) -> &CursorKey {
        &self.cursor_key
    }

    /// The time now, by the clock that decides how long sessions live.
    pub fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// How many characters a password has to have that is set.
    pub const fn shortest_password(&self) -> usize {
        self.parts.password_rules.shortest()
    }

    /// What the metrics show that is not counted all the time. It takes no lock that a check waits for, and its cost does not
    /// depend on how many sessions there are.
    pub fn readings(&self) -> Readings {
        let Parts { cache, coherence, hasher, store, .. } = &self.parts;
        Readings {
            passwords_waiting: hasher.waiting(),
            // With the cache off, what is in it only notes last-seen times.
            cached_sessions: if coherence.is_caching() { cache.len() } else { 0 },
            evicted_sessions: cache.evicted(),
            trusted: coherence.trusted(),
            store: store.in_use(),
        }
    }

    /// What checks are answered from now.
    pub fn memory(&self) -> Memory {
        match self.parts.coherence.untrusted_reason() {
            None => Memory::Trusted,
            Some(why) if self.parts.coherence.is_caching() => Memory::Untrusted(why),
            Some(_) => Memory::Off,
        }
    }

    /// Waits until what `seq` ended is refused everywhere, where it was read and not committed here. Only then may it be
    /// published.
    async fn settled_as_read(&self, seq: Seq) -> Result<()> {
        Ok(self.parts.coherence.settled_as_read(seq).instrument(info_span!("settle")).await?)
    }

    /// Refuses what asked with the credential of a session that `seq` ended, once that is settled.
    async fn no_session<T>(&self, seq: Seq) -> Result<T> {
        self.settled_as_read(seq).await?;
        Err(Error::NoSession)
    }

    /// Returns how many sessions a revocation has ended, once they are refused everywhere. Its number is its own only where it
    /// has ended some.
    async fn settled_revoked(&self, revoked: &Revoked) -> Result<usize> {
        match revoked.sessions.len() {
            0 => self.settled_as_read(revoked.seq).await?,
            _ => self.settled(revoked.seq).await?,
        }
        Ok(revoked.sessions.len())
    }

    /// Waits until what `seq`, which was committed here, ended is refused everywhere. Only then may it be published.
    async fn settled(&self, seq: Seq) -> Result<()> {
        Ok(self.parts.coherence.settled(seq).instrument(info_span!("settle")).await?)
    }
}
