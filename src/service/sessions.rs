//! A user's own sessions: listing them, and ending one, all others, or all.

use super::{Error, Result, Service};
use crate::domain::event::Actor;
use crate::domain::id::SessionId;
use crate::domain::principal::Principal;
use crate::domain::revocation::{Reason, Why};
use crate::domain::session::{Client, Session};
use crate::domain::user::User;
use crate::store::{Changed, Target};

/// Which of one's sessions to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every one but the one this request came through.
    Others,
    /// Every session of the user.
    All,
}

impl Service {
    /// The session a request came through, and its user, as stored now.
    ///
    /// # Errors
    /// [`Error::NoSession`] when it ended since it was checked.
    pub async fn current(&self, principal: &Principal) -> Result<(Session, User)> {
        self.live(&principal.token_hash).await
    }

    /// Every live session of the user, newest login first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sessions(&self, principal: &Principal) -> Result<Vec<Session>> {
        let listing = self.parts.store.sessions(principal.user_id(), self.parts.clock.now()).await?;
        self.settled_as_read(listing.seq).await?;
        Ok(listing.sessions)
    }

    /// One live session of the user.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it does not exist, has ended or belongs to another user.
    pub async fn session(&self, principal: &Principal, id: SessionId) -> Result<Session> {
        let mine = self.sessions(principal).await?;
        mine.into_iter().find(|session| session.id == id).ok_or(Error::NotFound)
    }

    /// Ends one live session of the user.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it does not exist, has ended or belongs to another user, with the same work for each;
    /// [`Error::NoSession`] when the principal's own has ended since it was checked; [`Error::ReauthenticationRequired`]
    /// where that is configured.
    pub async fn revoke(&self, principal: &Principal, id: SessionId, client: &Client) -> Result<()> {
        let why = if id == principal.session_id() { Why::Logout } else { Why::Owner };
        if why == Why::Owner {
            self.may_revoke_others(principal).await?;
        }
        let target = Target::Id(id, Some(principal.user_id()));
        match self.end(principal, target, why, client).await? {
            0 => Err(Error::NotFound),
            _ => Ok(()),
        }
    }

    /// Ends several; returns how many.
    ///
    /// # Errors
    /// As [`Self::revoke`].
    pub async fn revoke_many(&self, principal: &Principal, scope: Scope, client: &Client) -> Result<usize> {
        self.may_revoke_others(principal).await?;
        let target = match scope {
            Scope::Others => Target::Others(principal.user_id(), principal.session_id()),
            Scope::All => Target::All(principal.user_id()),
        };
        self.end(principal, target, Why::Owner, client).await
    }

    /// To end other sessions than the one that asks may take a fresh login, if the configuration says so.
    async fn may_revoke_others(&self, principal: &Principal) -> Result<()> {
        if self.parts.fresh_login_to_revoke { self.require_fresh(principal).await } else { Ok(()) }
    }

    async fn end(&self, principal: &Principal, target: Target, why: Why, client: &Client) -> Result<usize> {
        let reason = principal_reason(principal, why, client);
        self.done(self.parts.store.revoke(target, reason).await?).await
    }

    /// Returns how many sessions a change has ended, once they are refused everywhere.
    pub(super) async fn done(&self, changed: Changed) -> Result<usize> {
        match changed {
            Changed::Yes(revoked) => self.settled_revoked(&revoked).await,
            Changed::NoSession(seq) => self.no_session(seq).await,
            Changed::Superseded => Err(Error::BadCredentials),
            Changed::Unproven => Err(Error::SecondFactorRequired { wrong: true }),
        }
    }
}

/// The reason of a revocation that a principal asked for.
pub(super) fn principal_reason(principal: &Principal, why: Why, client: &Client) -> Reason {
    Reason {
        by: Actor::User(principal.user_id()),
        requested_by: Some(principal.token_hash),
        as_administrator: false,
        why,
        origin: client.origin(),
    }
}
