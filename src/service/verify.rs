//! Checks which user and session a credential stands for, from memory where that is certain, else from the store.
//!
//! `fetch` and `check` begin: they `judge` each credential by its token's tag and by what is `remembered` in the cache, and
//! read nothing. Where that decides nothing, `look_up` goes on: it `ask`s for each credential that is left, which loads its
//! session into the cache (`load_once`) from the store (`live`). `verify` does all of it.

use std::time::Duration;

use futures_util::future::join_all;
use smallvec::{SmallVec, smallvec};

use super::{Error, Parts, Result, Service};
use crate::cache;
use crate::domain::id::UserId;
use crate::domain::principal::{Identity, Principal};
use crate::domain::session::{Expiry, Seen, Session};
use crate::domain::throttle::BrowserMark;
use crate::domain::token::{Token, TokenHash};
use crate::domain::user::User;
use crate::store::Lookup;
use crate::telemetry::{CheckResult, CheckSource};

/// A credential that has the form of one of ours.
#[derive(Clone, Debug)]
pub struct Presented {
    /// The token.
    pub token: Token,
    /// The user that the session must belong to, where the credential names one.
    pub user: Option<UserId>,
}

/// A credential whose token is hashed, and whose session is on its way into the processor's caches.
#[derive(Debug)]
pub struct Fetched {
    presented: Presented,
    token_hash: TokenHash,
}

/// The result of a check without reading the store.
#[derive(Debug)]
pub enum Check {
    /// The session is in the cache, or the token was never issued.
    Decided(Result<Principal>),
    /// The store must be asked: hand this to [`Service::look_up`].
    Undecided(Undecided),
}

/// A check that the cache could not decide: the result for each credential that is decided, and the token hash of each
/// that is not.
#[derive(Debug)]
pub struct Undecided(SmallVec<[Judged; 1]>);

/// What the cache and the token's tag say about one credential.
#[derive(Debug)]
enum Judged {
    Known(Result<Principal>, CheckSource),
    Unknown(Hashed),
}

/// A credential whose token is hashed. A look-up needs no more.
#[derive(Debug)]
struct Hashed {
    token_hash: TokenHash,
    user: Option<UserId>,
}

impl Service {
    /// Begins a check: hashes the token, and has the processor fetch the session into its caches while the caller does
    /// something else. [`Self::check`] goes on from there.
    pub fn fetch(&self, presented: Presented) -> Fetched {
        let token_hash = presented.token.hash();
        self.parts.cache.fetch(&token_hash);
        Fetched { presented, token_hash }
    }

    /// Checks a credential without reading the store, where that is enough. The check is counted once, here or in
    /// [`Self::look_up`].
    pub fn check(&self, Fetched { presented, token_hash }: &Fetched) -> Check {
        self.decided(self.judge(presented, *token_hash))
    }

    fn decided(&self, judged: Judged) -> Check {
        match judged {
            Judged::Known(result, source) => Check::Decided(self.counted(result, source)),
            unknown @ Judged::Unknown(_) => Check::Undecided(Undecided(smallvec![unknown])),
        }
    }

    /// Checks a request that presents several credentials: it stands for the one live session among them. Where two are
    /// live, it stands for none: a browser must not be moved from one account into another. The cache does not hold
    /// dead sessions, so this reads the store.
    pub fn check_several(&self, presented: &[Presented]) -> Check {
        Check::Undecided(Undecided(self.judge_all(presented)))
    }

    /// Goes on with a check that is undecided, by reading the store.
    ///
    /// # Errors
    /// [`Error::NoSession`] when it stands for no live session, once that is true everywhere; a store error when
    /// that cannot be known.
    pub async fn look_up(&self, Undecided(judged): Undecided) -> Result<Principal> {
        let only = self.live_among(judged).await.and_then(|mut live| match (live.pop(), live.pop()) {
            (Some(only), None) => Ok(only),
            (_, _) => Err(Error::NoSession),
        });
        self.counted(only, CheckSource::store)
    }

    /// Decides a check, reading the store if need be.
    ///
    /// # Errors
    /// As [`Self::look_up`].
    pub async fn decide(&self, check: Check) -> Result<Principal> {
        match check {
            Check::Decided(result) => result,
            Check::Undecided(undecided) => self.look_up(undecided).await,
        }
    }

    /// Checks a credential.
    ///
    /// # Errors
    /// As [`Self::look_up`].
    pub async fn verify(&self, presented: &Presented) -> Result<Principal> {
        self.decide(self.decided(self.judge(presented, presented.token.hash()))).await
    }

    /// The live sessions that the credentials stand for. This does not count as a check.
    ///
    /// # Errors
    /// A store error when that cannot be known of one of them.
    pub async fn live_principals(&self, presented: &[Presented]) -> Result<Vec<Principal>> {
        self.live_among(self.judge_all(presented)).await
    }

    /// Asks the store about all credentials that are undecided, at the same time.
    async fn live_among(&self, judged: SmallVec<[Judged; 1]>) -> Result<Vec<Principal>> {
        let results = join_all(judged.into_iter().map(async |judged| match judged {
            Judged::Known(result, _) => result,
            Judged::Unknown(hashed) => self.ask(hashed).await,
        }));
        results.await.into_iter().filter(|result| !matches!(result, Err(Error::NoSession))).collect()
    }

    /// Whether a token was ever issued. Looks at nothing but the token.
    pub fn issued(&self, token: &Token) -> bool {
        self.token_key.issued(token)
    }

    /// Whether a browser's mark was made here, for whichever account.
    pub fn marked(&self, mark: &BrowserMark) -> bool {
        self.limits.made(mark)
    }

    fn judge_all(&self, presented: &[Presented]) -> SmallVec<[Judged; 1]> {
        presented.iter().map(|presented| self.judge(presented, presented.token.hash())).collect()
    }

    /// Decides about a credential without reading the store, if possible.
    fn judge(&self, presented: &Presented, token_hash: TokenHash) -> Judged {
        let hashed = Hashed { token_hash, user: presented.user };
        match self.remembered(&hashed.token_hash) {
            Some(identity) => Judged::Known(hashed.principal(identity), CheckSource::memory),
            // A token in the cache was issued, so the tag is checked only now.
            None if self.issued(&presented.token) => Judged::Unknown(hashed),
            None => Judged::Known(Err(Error::NoSession), CheckSource::tag),
        }
    }

    /// Decides about a credential by reading the store, unless the cache has it by then.
    async fn ask(&self, hashed: Hashed) -> Result<Principal> {
        let identity = self.load_once(&hashed.token_hash).await?;
        hashed.principal(identity)
    }

    fn counted(&self, result: Result<Principal>, source: CheckSource) -> Result<Principal> {
        let label = match &result {
            Ok(_) => CheckResult::accepted,
            Err(Error::NoSession) => CheckResult::refused,
            Err(
                Error::BadCredentials
                | Error::SecondFactorRequired { .. }
                | Error::Forbidden
                | Error::NotFound
                | Error::PasswordChangeRequired
                | Error::ReauthenticationRequired
                | Error::Conflict(_)
                | Error::Invalid { .. }
                | Error::Throttled(_)
                | Error::Overloaded
                | Error::StoreUnreachable(_)
                | Error::StoreTooSlow(_)
                | Error::Bug(_),
            ) => CheckResult::failed,
        };
        self.parts.metrics.checked(label, source);
        result
    }

    fn remembered(&self, token: &TokenHash) -> Option<Identity> {
        if !self.parts.coherence.trusted() {
            return None;
        }
        match self.parts.cache.check(token, self.parts.clock.now()) {
            cache::Check::Live { identity, urgent } => {
                if let Some(seen) = urgent {
                    self.parts.touches.urgent(seen);
                }
                Some(identity)
            }
            cache::Check::Ask => None,
        }
    }

    /// Loads a session into the cache, one load of a token at a time. No check waits for another one while the cache is
    /// untrusted, and none waits for long.
    ///
    /// A check that waited looks into the cache again and, if there is still nothing, reads for itself: what an earlier
    /// load found may have been revoked before this check began.
    async fn load_once(&self, token: &TokenHash) -> Result<Identity> {
        let turn = usize::try_from(token.prefix() % LOADS_IN_PREFIX).unwrap_or_default();
        let _turn = match self.loads.get(turn).filter(|_| self.parts.coherence.trusted()) {
            Some(turn) => tokio::time::timeout(LOAD_OF_ANOTHER, turn.lock()).await.ok(),
            None => None,
        };
        if let Some(identity) = self.remembered(token) {
            return Ok(identity);
        }
        let Parts { cache, touches, lifetimes, clock, .. } = &self.parts;
        let ticket = cache.ticket();
        let (session, user) = self.live(token).await?;
        let now = clock.now();
        let (identity, evicted) = cache.insert(*token, &session, &user, now, ticket);
        if let Some(seen) = evicted {
            touches.urgent(seen);
        }
        // The next check from memory would have it stored, but there may be none before the deadline, or none at all.
        let (life, Expiry { idle, absolute }) = (lifetimes.of(session.remembered), session.expiry);
        let interval = life.flush_interval();
        let is_urgent = idle.since(now) < interval * 2 || !self.parts.coherence.trusted();
        if is_urgent && now.since(session.last_seen_at) >= interval {
            touches.urgent(Seen { token_hash: *token, at: now, idle_until: life.idle_until(now, absolute) });
        }
        Ok(identity)
    }

    /// The live session that a token leads to. A refusal that reveals a revocation waits until that is settled.
    pub(super) async fn live(&self, token: &TokenHash) -> Result<(Session, User)> {
        match self.parts.store.lookup(token).await? {
            Lookup::Found(found) => {
                let (session, user) = *found;
                if session.expiry.over(self.parts.clock.now()) || user.disabled_at.is_some() {
                    return Err(Error::NoSession);
                }
                Ok((session, user))
            }
            Lookup::Revoked(seq) => self.no_session(seq).await,
            Lookup::Missing => Err(Error::NoSession),
        }
    }
}

impl Hashed {
    /// The principal, if the session belongs to the user that the credential names.
    fn principal(self, identity: Identity) -> Result<Principal> {
        if self.user.is_some_and(|user| user != identity.user_id()) {
            return Err(Error::NoSession);
        }
        Ok(Principal { identity, token_hash: self.token_hash })
    }
}

/// How long to wait for another check's load of the same token.
const LOAD_OF_ANOTHER: Duration = Duration::from_millis(100);
const LOADS_IN_PREFIX: u64 = super::LOADS as u64;
