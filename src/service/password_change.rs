//! Changing one's own password: in a session, or at the first use of a one-time password.

use std::time::Duration;

use super::error::Unusable;
use super::limits::TriedFrom;
use super::sessions::principal_reason;
use super::throttle::Try;
use super::{Error, Result, Service};
use crate::domain::event::Actor;
use crate::domain::id::SessionId;
use crate::domain::password::{Password, Rules, Typed};
use crate::domain::principal::Principal;
use crate::domain::revocation::{Reason, Why};
use crate::domain::second_factor::proof::Proof;
use crate::domain::session::{Client, Session};
use crate::domain::text::Username;
use crate::domain::token::Token;
use crate::domain::user::Credentials;
use crate::store::{Changed, PasswordChange, Renewal};

/// The outcome of changing one's own password.
#[derive(Debug)]
pub struct Renewed {
    /// How many other sessions ended.
    pub revoked: usize,
    /// The session's new token, which is shown now and never again.
    pub token: Token,
    /// This session, as it was before the change.
    pub session: Session,
    /// How long it lasts at most, from now on.
    pub left: Duration,
}

/// One's own session under its new token.
pub(super) struct NewToken {
    pub(super) token: Token,
    pub(super) session: Session,
    pub(super) left: Duration,
    pub(super) renewal: Renewal,
}

impl Service {
    /// Sets one's own password, which ends every other session and every login still being checked. The session itself
    /// goes on under a new token (OWASP ASVS 7.2.4), since there may be a copy of the old one elsewhere. The old one is
    /// refused everywhere once this answers.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a password that cannot be set; [`Error::BadCredentials`] when the current one is wrong,
    /// or was changed meanwhile; [`Error::NoSession`] when the session has ended since it was checked.
    pub async fn change_password(
        &self,
        principal: &Principal,
        current: String,
        new: String,
        client: &Client,
        from: &TriedFrom,
    ) -> Result<Renewed> {
        let known = self.own_credentials(principal).await?;
        let new = fit("new_password", new, &known.user.username, &self.parts.password_rules)?;
        let current = Typed::new(current);
        let same = current.as_ref().is_some_and(|current| current.is(&new));
        let share = self.check_own_password(principal, &known, current, client, from).await?;
        if same {
            return Err(unchanged("new_password"));
        }
        let place = self.hashed(self.parts.hasher.place(share))?;
        let hash = self.hashed(place.hash(new).await)?;
        let NewToken { token, session, left, renewal } = self.new_token(principal).await?;
        let (epoch, keep) = (Some(known.auth_epoch), Some(renewal));
        let (user, lifts) = (known.user.id, Vec::new());
        let change = PasswordChange { user, hash, auth_epoch: epoch, proof: None, one_time: None, lifts, keep };
        let reason = principal_reason(principal, Why::Password, client);
        let revoked = self.done(self.parts.store.change_password(change, reason).await?).await?;
        self.forget_first_password().await;
        Ok(Renewed { revoked, token, session, left })
    }

    /// A new token for the principal's own session.
    pub(super) async fn new_token(&self, principal: &Principal) -> Result<NewToken> {
        let (session, _) = self.current(principal).await?;
        let (token, now) = (self.token_key.issue(&*self.parts.entropy)?, self.parts.clock.now());
        let renewal = Renewal {
            session: session.id,
            token_hash: token.hash(),
            tombstone: SessionId::random(&*self.parts.entropy)?,
            idle_until: self.parts.lifetimes.of(session.remembered).idle_until(now, session.expiry.absolute),
        };
        let left = session.expiry.absolute.since(now);
        Ok(NewToken { token, session, left, renewal })
    }

    /// Has a one-time password changed whose login was right so far, and that was not over yet. No session begins before.
    /// Returns what the login goes on with, where it was changed. The change itself judges `proof` and uses it up, so that
    /// nobody changes a password without the second factor.
    ///
    /// # Errors
    /// [`Error::PasswordChangeRequired`] where there is no new one; [`Error::Invalid`] for a new one that cannot be set, or
    /// that nothing asks for; [`Error::SecondFactorRequired`] where the proof does not hold.
    pub(super) async fn change_at_first_use(
        &self,
        known: &Credentials,
        one_time: Option<&Typed>,
        new: Option<String>,
        client: &Client,
        tried: &Try<'_>,
        proof: Option<Proof>,
    ) -> Result<Option<Credentials>> {
        let (one_time, new) = match (one_time, new) {
            (None, None) => return Ok(None),
            (None, Some(_)) => return Err(Error::Invalid { field: "new_password", why: Unusable::NotAsked }),
            (Some(_), None) => return Err(Error::PasswordChangeRequired),
            (Some(one_time), Some(new)) => (one_time, new),
        };
        let new = fit("new_password", new, &known.user.username, &self.parts.password_rules)?;
        if one_time.is(&new) {
            return Err(unchanged("new_password"));
        }
        let user = known.user.id;
        let place = self.hashed(self.parts.hasher.place(tried.share()))?;
        let hash = self.hashed(place.hash(new).await)?;
        let (auth_epoch, lifts) = (Some(known.auth_epoch), Vec::new());
        let change = PasswordChange { user, hash, auth_epoch, proof, one_time: None, lifts, keep: None };
        let reason = Reason::unasked(Actor::User(user), Why::Password, client.origin());
        let changed = self.parts.store.change_password(change, reason).await?;
        if matches!(changed, Changed::Unproven) {
            return self.wrong_code(&known.user, None, client).await;
        }
        self.done(changed).await?;
        self.parts.store.credentials_of(user).await.map_err(Error::from)?.ok_or(Error::BadCredentials).map(Some)
    }
}

/// Takes a password that is to be set for a user.
pub(super) fn fit(field: &'static str, password: String, username: &Username, rules: &Rules) -> Result<Password> {
    let chosen = Password::chosen(password, username.as_str(), rules);
    chosen.map_err(|unfit| Error::Invalid { field, why: unfit.into() })
}

/// The refusal of a password that is the one to be changed.
pub(super) const fn unchanged(field: &'static str) -> Error {
    Error::Invalid { field, why: Unusable::Unchanged }
}
