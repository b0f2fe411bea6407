//! Checking the password of the user of a live session, before a change that asks for it.

use super::limits::{TriedFrom, Whose};
use super::{Error, Result, Service};
use crate::domain::password::Typed;
use crate::domain::principal::Principal;
use crate::domain::session::Client;
use crate::domain::user::Credentials;
use crate::password::{Share, Verdict};

impl Service {
    /// What the principal's user logs in with.
    ///
    /// # Errors
    /// [`Error::NoSession`] when the user is gone.
    pub(super) async fn own_credentials(&self, principal: &Principal) -> Result<Credentials> {
        self.parts.store.credentials_of(principal.user_id()).await?.ok_or(Error::NoSession)
    }

    /// Checks the password of the principal's user; `None` is one that no user can have. Returns who holds places in the
    /// queue, for another password of the same request.
    ///
    /// # Errors
    /// [`Error::BadCredentials`] for a wrong one, which is recorded; [`Error::Throttled`] and [`Error::Overloaded`].
    pub(super) async fn check_own_password(
        &self,
        principal: &Principal,
        known: &Credentials,
        password: Option<Typed>,
        client: &Client,
        from: &TriedFrom,
    ) -> Result<Share> {
        let Some(password) = password else {
            self.failed_without_hash(from.address);
            return self.wrong_own_password(principal, known, client).await;
        };
        self.refuse_address(from.address)?;
        let (user, session) = (principal.user_id(), principal.session_id());
        let hash = Some(known.password_hash.clone());
        let (verdict, tried) = self.check_password(Whose::Session(user, session), from, password, hash, None).await?;
        self.log_unusable_hash(&verdict, Some(user));
        if !matches!(verdict, Verdict::Right { .. }) {
            return self.wrong_own_password(principal, known, client).await;
        }
        let share = tried.share();
        tried.give_back().await;
        Ok(share)
    }

    /// Records that a change was refused.
    async fn wrong_own_password<T>(&self, principal: &Principal, known: &Credentials, client: &Client) -> Result<T> {
        let (session, now) = (principal.session_id(), self.parts.clock.now());
        self.refusals.password_change(&known.user, session, client, now).await?;
        Err(Error::BadCredentials)
    }
}
