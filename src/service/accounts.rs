//! Users: changing one's own password, and what only an operator may do.

use std::time::Duration;

use super::error::Unusable;
use super::limits::{TriedFrom, Whose};
use super::sessions::principal_reason;
use super::{Error, Result, Service};
use crate::cache::coherence::{Confirmed, confirm};
use crate::domain::event::{Actor, Event, EventKind};
use crate::domain::id::{SessionId, UserId};
use crate::domain::password::Password;
use crate::domain::principal::Principal;
use crate::domain::revocation::{Reason, Seq, Why};
use crate::domain::session::{Client, Session};
use crate::domain::text::{BadText, Email, LoginName, Name, Username};
use crate::domain::token::Token;
use crate::domain::user::{NewUser, User};
use crate::password::Verdict;
use crate::store::{Added, Changed, PasswordChange, Renewal, Revoked, Target};

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
        let user = principal.user_id();
        let known = self.parts.store.credentials_of(user).await?.ok_or(Error::NoSession)?;
        let new = fit("new_password", new, &known.user.username)?;
        let Ok(current) = Password::new(current) else {
            self.failed_without_hash(from.address);
            return self.wrong_current_password(principal, &known.user, client).await;
        };
        let same = new.is(&current);
        let whose = Whose::Session(user, principal.session_id());
        let (verdict, tried) = self.check_password(whose, from, current, Some(known.password_hash)).await?;
        self.log_unusable_hash(&verdict, Some(user));
        if !matches!(verdict, Verdict::Right { .. }) {
            return self.wrong_current_password(principal, &known.user, client).await;
        }
        let share = tried.share();
        tried.give_back().await;
        if same {
            return Err(unchanged("new_password"));
        }
        let place = self.hashed(self.parts.hasher.place(share))?;
        let hash = self.hashed(place.hash(new).await)?;
        let (session, _) = self.current(principal).await?;
        let (token, now) = (self.token_key.issue(&*self.parts.entropy)?, self.parts.clock.now());
        let keep = Renewal {
            session: session.id,
            token_hash: token.hash(),
            tombstone: SessionId::random(&*self.parts.entropy)?,
            idle_until: self.parts.lifetimes.of(session.remembered).idle_until(now, session.expiry.absolute),
        };
        let change =
            PasswordChange { user, hash, auth_epoch: Some(known.auth_epoch), keep: Some(keep), lifts: Vec::new() };
        let reason = principal_reason(principal, Why::Password, client);
        let revoked = self.done(self.parts.store.change_password(change, reason).await?).await?;
        self.forget_first_password().await;
        Ok(Renewed { revoked, token, left: session.expiry.absolute.since(now), session })
    }

    /// Records that a change was refused.
    async fn wrong_current_password<T>(&self, principal: &Principal, user: &User, client: &Client) -> Result<T> {
        let (session, now) = (principal.session_id(), self.parts.clock.now());
        self.refusals.password_change(user, session, client, now).await?;
        Err(Error::BadCredentials)
    }

    /// The powers of the operator, who may run commands on the machine. Nothing that arrives over the wire gets them.
    pub const fn operator(&self) -> Operator<'_> {
        Operator(self)
    }
}

fn fit(field: &'static str, password: String, username: &Username) -> Result<Password> {
    let chosen = Password::chosen(password, username.as_str());
    chosen.map_err(|unfit| Error::Invalid { field, why: unfit.into() })
}

fn unchanged(field: &'static str) -> Error {
    Error::Invalid { field, why: Unusable::Unchanged }
}

fn invalid(field: &'static str) -> impl Fn(BadText) -> Error {
    move |bad| Error::Invalid { field, why: bad.into() }
}

/// What the command line may do. A change that a running server must apply returns the number to be confirmed.
pub struct Operator<'s>(&'s Service);

impl<'s> Operator<'s> {
    /// The service that the powers are for.
    pub(super) const fn service(&self) -> &'s Service {
        self.0
    }
}

impl Operator<'_> {
    /// Makes a user.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::Conflict`], with the field.
    pub async fn add_user(
        &self,
        username: &str,
        email: Option<&str>,
        name: Option<&str>,
        admin: bool,
        password: String,
    ) -> Result<User> {
        let parts = &self.0.parts;
        let user = NewUser {
            username: Username::new(username).map_err(invalid("username"))?,
            email: email.map(Email::new).transpose().map_err(invalid("email"))?,
            name: Name::new(name.unwrap_or(username)).map_err(invalid("name"))?,
            admin,
        };
        let hash = self.0.hashed(parts.hasher.hash(fit("password", password, &user.username)?).await)?;
        let id = UserId::random(&*parts.entropy)?;
        match parts.store.add_user(id, user, hash, Actor::CommandLine).await? {
            Added::Yes(user) => Ok(user),
            Added::UsernameTaken => Err(Error::Conflict("username")),
            Added::EmailTaken => Err(Error::Conflict("email")),
        }
    }

    /// Whether there is no user yet.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_first_start(&self) -> Result<bool> {
        Ok(!self.0.parts.store.has_users().await?)
    }

    /// Every user, by username.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn users(&self) -> Result<Vec<User>> {
        Ok(self.0.parts.store.users().await?)
    }

    /// A user by username or e-mail address.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn user(&self, name: &str) -> Result<User> {
        let known = self.0.parts.store.credentials(&LoginName::either(name)).await?;
        known.map(|known| known.user).ok_or(Error::NotFound)
    }

    /// A user's live sessions.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sessions(&self, user: UserId) -> Result<Vec<Session>> {
        Ok(self.0.parts.store.sessions(user, self.0.parts.clock.now()).await?.sessions)
    }

    /// Lifts whatever keeps a user from logging in after too many wrong passwords.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn unlock(&self, user: &User) -> Result<()> {
        let parts = &self.0.parts;
        let event = Event::about(user.id, EventKind::UserUnlocked, Actor::CommandLine, parts.clock.now());
        Ok(parts.store.lift(self.0.limits.about(user), event).await?)
    }

    /// Sets a password, which ends every session of the user, and lifts what wrong ones have led to.
    ///
    /// # Errors
    /// [`Error::Invalid`], also for the password that is set already; [`Error::NotFound`] when the user is gone.
    pub async fn set_password(&self, user: UserId, password: String) -> Result<Revoked> {
        let parts = &self.0.parts;
        let known = parts.store.credentials_of(user).await?.ok_or(Error::NotFound)?;
        let password = fit("password", password, &known.user.username)?;
        let current = self.0.hashed(parts.hasher.verify(password.clone(), Some(known.password_hash)).await)?;
        if matches!(current, Verdict::Right { .. }) {
            return Err(unchanged("password"));
        }
        let hash = self.0.hashed(parts.hasher.hash(password).await)?;
        let lifts = self.0.limits.about(&known.user);
        let change = PasswordChange { user, hash, auth_epoch: None, keep: None, lifts };
        let revoked = ended(parts.store.change_password(change, because(Why::Password)).await?)?;
        self.0.forget_first_password().await;
        Ok(revoked)
    }

    /// Lets a user log in no more, which ends every session of theirs; or lets them again.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the user is gone.
    pub async fn set_disabled(&self, user: UserId, disabled: bool) -> Result<Revoked> {
        self.0.parts.store.set_disabled(user, disabled, because(Why::Disabled)).await?.ok_or(Error::NotFound)
    }

    /// Ends one session.
    ///
    /// # Errors
    /// When the store fails; that nothing ended shows in the result.
    pub async fn revoke(&self, session: SessionId) -> Result<Revoked> {
        ended(self.0.parts.store.revoke(Target::Id(session, None), because(Why::Operator)).await?)
    }

    /// Ends every session of a user.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke_all(&self, user: UserId) -> Result<Revoked> {
        ended(self.0.parts.store.revoke(Target::All(user), because(Why::Operator)).await?)
    }

    /// Waits until a running server refuses what `seq` ended.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn confirm(&self, seq: Seq) -> Result<Confirmed> {
        Ok(confirm(&*self.0.parts.store, seq).await?)
    }
}

const fn because(why: Why) -> Reason {
    Reason { by: Actor::CommandLine, requested_by: None, why, ip: None }
}

fn ended(changed: Changed) -> Result<Revoked> {
    match changed {
        Changed::Yes(revoked) => Ok(revoked),
        // A command has no session that it asks through.
        Changed::Superseded | Changed::NoSession(_) => Err(Error::NotFound),
    }
}
