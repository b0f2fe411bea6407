//! Checks: who does this credential stand for? From memory where that is certain, else from the store.

use std::time::Duration;

use futures_util::future::join_all;

use super::{Error, Parts, Result, Service};
use crate::cache::Check;
use crate::domain::id::UserId;
use crate::domain::principal::{Identity, Principal};
use crate::domain::session::{Expiry, Seen, Session};
use crate::domain::token::{Token, TokenHash};
use crate::domain::user::User;
use crate::store::Lookup;
use crate::telemetry::{CheckResult, CheckSource};

/// A credential that has the form of one of ours.
#[derive(Clone, Debug)]
pub struct Presented {
    /// The token.
    pub token: Token,
    /// Whose it must be, where the credential names somebody.
    pub user: Option<UserId>,
}

impl Service {
    /// Checks a credential.
    ///
    /// # Errors
    /// [`Error::NoSession`] when it stands for no live session, once that is true everywhere; a store error when
    /// nobody can tell.
    pub async fn verify(&self, presented: &Presented) -> Result<Principal> {
        match self.verify_at_once(presented) {
            Some(told) => told,
            None => self.counted(self.ask(presented).await, CheckSource::store),
        }
    }

    /// The same, where it takes no look at the store; none where it does.
    pub fn verify_at_once(&self, presented: &Presented) -> Option<Result<Principal>> {
        self.judge(presented).map(|(told, source)| self.counted(told, source))
    }

    /// Checks a credential of which a request has several: it stands for the one live session among them. Where two
    /// are alive, nobody can say which is meant, and somebody could be moved into another's account.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub async fn verify_one_of(&self, presented: &[Presented]) -> Result<Principal> {
        let told = self.living(presented).await.and_then(|mut living| match (living.pop(), living.pop()) {
            (Some(one), None) => Ok(one),
            (_, _) => Err(Error::NoSession),
        });
        self.counted(told, CheckSource::store)
    }

    /// Which credentials stand for a live session. Counts as no check.
    ///
    /// # Errors
    /// A store error when nobody can tell of one of them.
    pub async fn living(&self, presented: &[Presented]) -> Result<Vec<Principal>> {
        let told = join_all(presented.iter().map(async |presented| match self.judge(presented) {
            Some((told, _)) => told,
            None => self.ask(presented).await,
        }));
        told.await.into_iter().filter(|told| !matches!(told, Err(Error::NoSession))).collect()
    }

    /// Whether a token was ever issued. Looks at nothing but the token.
    pub fn issued(&self, token: &Token) -> bool {
        self.token_key.issued(token)
    }

    /// What can be told of a credential without a look at the store.
    fn judge(&self, presented: &Presented) -> Option<(Result<Principal>, CheckSource)> {
        let token_hash = presented.token.hash();
        match self.remembered(&token_hash) {
            Some(identity) => Some((principal(presented, identity, token_hash), CheckSource::memory)),
            // What is in memory was issued, so only now.
            None if self.issued(&presented.token) => None,
            None => Some((Err(Error::NoSession), CheckSource::tag)),
        }
    }

    /// What the store says of a credential, unless memory knows by then.
    async fn ask(&self, presented: &Presented) -> Result<Principal> {
        let token_hash = presented.token.hash();
        principal(presented, self.load_once(&token_hash).await?, token_hash)
    }

    fn counted(&self, result: Result<Principal>, source: CheckSource) -> Result<Principal> {
        let told = match &result {
            Ok(_) => CheckResult::accepted,
            Err(Error::NoSession) => CheckResult::refused,
            Err(
                Error::BadCredentials
                | Error::Forbidden
                | Error::NotFound
                | Error::Conflict(_)
                | Error::Invalid { .. }
                | Error::Overloaded
                | Error::StoreUnreachable(_)
                | Error::StoreTooSlow(_)
                | Error::Bug(_),
            ) => CheckResult::failed,
        };
        self.parts.metrics.checked(told, source);
        result
    }

    fn remembered(&self, token: &TokenHash) -> Option<Identity> {
        if !self.parts.coherence.trusted() {
            return None;
        }
        match self.parts.cache.check(token, self.parts.clock.now()) {
            Check::Live { identity, urgent } => {
                if let Some(seen) = urgent {
                    self.parts.touches.urgent(seen);
                }
                Some(identity)
            }
            Check::Ask => None,
        }
    }

    /// Loads a session into memory, one load of a token at a time: but nobody waits where memory may not be believed, nor
    /// for a store that does not answer.
    ///
    /// Whoever waited looks again and, where there is still nothing, reads for themselves: what a load found that
    /// began before this check did may have been revoked in between.
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
        // The next check from memory would store it; perhaps there is none before the deadline, or none at all.
        let (life, Expiry { idle, absolute }) = (lifetimes.of(session.remembered), session.expiry);
        let interval = life.flush_interval();
        let hurry = idle.since(now) < interval * 2 || !self.parts.coherence.trusted();
        if hurry && now.since(session.last_seen_at) >= interval {
            touches.urgent(Seen { token_hash: *token, at: now, idle_until: life.idle_until(now, absolute) });
        }
        Ok(identity)
    }

    /// The live session a token leads to. A refusal that reveals a revocation waits until that is settled.
    pub(super) async fn live(&self, token: &TokenHash) -> Result<(Session, User)> {
        match self.parts.store.lookup(token).await? {
            Lookup::Found(found) => {
                let (session, user) = *found;
                if session.expiry.over(self.parts.clock.now()) || user.disabled_at.is_some() {
                    return Err(Error::NoSession);
                }
                Ok((session, user))
            }
            Lookup::Revoked(seq) => {
                self.settled(seq).await?;
                Err(Error::NoSession)
            }
            Lookup::Missing => Err(Error::NoSession),
        }
    }
}

/// The principal, if the session belongs to whom the credential names.
fn principal(presented: &Presented, identity: Identity, token_hash: TokenHash) -> Result<Principal> {
    if presented.user.is_some_and(|user| user != identity.user_id()) {
        return Err(Error::NoSession);
    }
    Ok(Principal { identity, token_hash })
}

/// How long to wait for somebody else's load of the same token.
const LOAD_OF_ANOTHER: Duration = Duration::from_millis(100);
const LOADS_IN_PREFIX: u64 = super::LOADS as u64;
