//! What may be done to any account and any session: the same for the operator and for administrators.

use super::error::Conflict;
use super::password_change::{fit, unchanged};
use super::selection::Selection;
use super::{Error, Result, Service};
use crate::domain::event::{Actor, Event, EventKind, Origin};
use crate::domain::id::UserId;
use crate::domain::one_time::{self, OneTimePassword};
use crate::domain::password::Typed;
use crate::domain::revocation::{Reason, Seq, Why};
use crate::domain::text::{BadText, Email, LoginName, Name, Username};
use crate::domain::token::TokenHash;
use crate::domain::user::{Account, NewUser, OneTime, User, UserEdit};
use crate::password::Verdict;
use crate::store::{
    Added, Addition, Changed, Deleted, Edited, Initial, PasswordChange, Revoked, Selected, SelectedEnd, Target,
};

/// How many sessions one transaction ends at most, so that others do not wait for it.
const BATCH: usize = 500;

/// A user to be made, as it was written down.
#[derive(Debug, Default)]
pub struct NewAccount {
    /// The username.
    pub username: String,
    /// The e-mail address.
    pub email: Option<String>,
    /// The display name; the username where there is none.
    pub name: Option<String>,
    /// Whether it becomes an administrator.
    pub admin: bool,
    /// The password. Without one, a one-time password is made up.
    pub password: Option<String>,
}

/// What is to change about a user, as it was written down; `None` stays as it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AccountEdit {
    /// The username.
    pub username: Option<String>,
    /// The e-mail address; `Some(None)` removes it.
    pub email: Option<Option<String>>,
    /// The display name.
    pub name: Option<String>,
    /// Whether it is an administrator.
    pub admin: Option<bool>,
    /// Whether it may not log in.
    pub disabled: Option<bool>,
}

impl AccountEdit {
    fn checked(self) -> Result<UserEdit> {
        let Self { username, email, name, admin, disabled } = self;
        Ok(UserEdit {
            username: username.as_deref().map(Username::new).transpose().map_err(invalid("username"))?,
            email: email
                .map(|email| email.as_deref().map(Email::new).transpose())
                .transpose()
                .map_err(invalid("email"))?,
            name: name.as_deref().map(Name::new).transpose().map_err(invalid("name"))?,
            admin,
            disabled,
        })
    }
}

fn invalid(field: &'static str) -> impl Fn(BadText) -> Error {
    move |bad| Error::Invalid { field, why: bad.into() }
}

/// The right to change any account, and for whom the audit notes what it is used for. Revocations that it returns are
/// durable, and still to be settled.
#[derive(Clone, Debug)]
pub(super) struct Authority {
    /// The actor.
    pub(super) by: Actor,
    /// The session of the administrator who asks. At the moment of each change it has to be live, and its user an
    /// administrator.
    pub(super) requested_by: Option<TokenHash>,
    /// Where the act comes from.
    pub(super) origin: Origin,
}

impl Authority {
    pub(super) fn because(&self, why: Why) -> Reason {
        Reason {
            by: self.by,
            requested_by: self.requested_by,
            as_administrator: self.requested_by.is_some(),
            why,
            origin: self.origin.clone(),
        }
    }

    /// Why a session ends that was ended on its own, and not by a change of its user.
    const fn why_ended(&self) -> Why {
        match self.by {
            Actor::CommandLine => Why::Operator,
            Actor::User(_) | Actor::System | Actor::Anonymous => Why::Admin,
        }
    }

    /// Makes a user.
    pub(super) async fn add(&self, service: &Service, new: NewAccount) -> Result<(User, Option<OneTimePassword>)> {
        self.add_if(service, new, false).await
    }

    /// Makes a user, or only the `first`: where there is one already, every name counts as taken.
    pub(super) async fn add_if(
        &self,
        service: &Service,
        new: NewAccount,
        first: bool,
    ) -> Result<(User, Option<OneTimePassword>)> {
        let NewAccount { username, email, name, admin, password } = new;
        let user = NewUser {
            username: Username::new(&username).map_err(invalid("username"))?,
            email: email.as_deref().map(Email::new).transpose().map_err(invalid("email"))?,
            name: Name::new(name.as_deref().unwrap_or(&username)).map_err(invalid("name"))?,
            admin,
        };
        let (password, made_up) = service.password_to_set(password)?;
        let hash = fit("password", password, &user.username, &service.parts.password_rules)?;
        let hash = service.hashed(service.parts.hasher.hash(hash).await)?;
        let one_time = made_up.as_ref().map(|_| service.one_time());
        let id = UserId::random(&*service.parts.entropy)?;
        let lifts = service.limits.about_names(Some(&user.username), user.email.as_ref());
        let addition = Addition { id, user, password: Initial { hash, one_time }, lifts, first };
        match service.parts.store.add_user(addition, self.because(self.why_ended())).await? {
            Added::Yes(user) => Ok((user, made_up)),
            Added::NoSession(seq) => self.refused(service, seq).await,
            Added::UsernameTaken | Added::NotFirst => Err(Error::Conflict(Conflict::UsernameTaken)),
            Added::EmailTaken => Err(Error::Conflict(Conflict::EmailTaken)),
        }
    }

    /// Changes what is known of a user.
    pub(super) async fn edit(&self, service: &Service, user: UserId, edit: AccountEdit) -> Result<(Account, Revoked)> {
        let edit = edit.checked()?;
        let lifts = service.limits.about_names(edit.username.as_ref(), edit.email.as_ref().and_then(Option::as_ref));
        match service.parts.store.edit_user(user, edit, lifts, self.because(Why::Disabled)).await? {
            Edited::Yes(account, revoked) => Ok((*account, revoked)),
            Edited::NoUser => Err(Error::NotFound),
            Edited::UsernameTaken => Err(Error::Conflict(Conflict::UsernameTaken)),
            Edited::EmailTaken => Err(Error::Conflict(Conflict::EmailTaken)),
            Edited::LastAdmin => Err(Error::Conflict(Conflict::LastAdmin)),
            Edited::NoSession(seq) => self.refused(service, seq).await,
        }
    }

    /// Deletes a user.
    pub(super) async fn delete(&self, service: &Service, user: UserId) -> Result<Revoked> {
        match service.parts.store.delete_user(user, self.because(Why::Deleted)).await? {
            Deleted::Yes(revoked) => Ok(revoked),
            Deleted::NoUser => Err(Error::NotFound),
            Deleted::LastAdmin => Err(Error::Conflict(Conflict::LastAdmin)),
            Deleted::NoSession(seq) => self.refused(service, seq).await,
        }
    }

    /// Sets a password, or where there is none, one that has to be changed at its first use. It ends every session of the
    /// user.
    pub(super) async fn set_password(
        &self,
        service: &Service,
        user: UserId,
        password: Option<String>,
    ) -> Result<(Revoked, Option<OneTimePassword>)> {
        let parts = &service.parts;
        let known = parts.store.credentials_of(user).await?.ok_or(Error::NotFound)?;
        let (password, made_up) = service.password_to_set(password)?;
        let password = fit("password", password, &known.user.username, &parts.password_rules)?;
        if made_up.is_none() {
            let current =
                service.hashed(parts.hasher.verify(Typed::from(password.clone()), Some(known.password_hash)).await)?;
            if matches!(current, Verdict::Right { .. }) {
                return Err(unchanged("password"));
            }
        }
        let hash = service.hashed(parts.hasher.hash(password).await)?;
        let one_time = made_up.as_ref().map(|_| service.one_time());
        let lifts = service.limits.about(&known.user);
        let change = PasswordChange { user, hash, auth_epoch: None, proof: None, one_time, lifts, keep: None };
        let changed = parts.store.change_password(change, self.because(Why::Password)).await?;
        let revoked = self.ended(service, changed).await?;
        service.forget_first_password().await;
        Ok((revoked, made_up))
    }

    /// Lifts whatever keeps a user from logging in after too many wrong passwords. Returns whether there was anything.
    pub(super) async fn unlock(&self, service: &Service, user: &User) -> Result<bool> {
        let event = Event::about(user.id, EventKind::UserUnlocked, self.by, service.parts.clock.now());
        let event = Event { name: Some(user.username.as_str().to_owned()), ..event.from(&self.origin) };
        Ok(service.parts.store.lift(service.limits.about(user), event).await?)
    }

    /// Ends sessions.
    pub(super) async fn revoke(&self, service: &Service, target: Target) -> Result<Revoked> {
        self.ended(service, service.parts.store.revoke(target, self.because(self.why_ended())).await?).await
    }

    /// Ends those of `sessions` that are live, which is one event in the audit.
    pub(super) async fn revoke_selection(&self, service: &Service, selection: Selection) -> Result<Revoked> {
        let (mut all, mut event) = (Revoked::default(), None);
        for batch in selection.sessions.chunks(BATCH) {
            let selected = Selected { sessions: batch.to_vec(), event };
            let end = service.parts.store.revoke_selected(selected, self.because(self.why_ended())).await?;
            let SelectedEnd { changed, event: counted } = end;
            event = counted;
            let Revoked { sessions, seq } = self.ended(service, changed).await?;
            all.seq = all.seq.max(seq);
            all.sessions.extend(sessions);
        }
        Ok(all)
    }

    /// What a change has ended.
    async fn ended(&self, service: &Service, changed: Changed) -> Result<Revoked> {
        match changed {
            Changed::Yes(revoked) => Ok(revoked),
            Changed::Superseded | Changed::Unproven => Err(Error::NotFound),
            Changed::NoSession(seq) => self.refused(service, seq).await,
        }
    }

    /// Refuses what was asked for by a session that has ended, or whose user is no administrator any more.
    pub(super) async fn refused<T>(&self, service: &Service, seq: Seq) -> Result<T> {
        service.settled_as_read(seq).await?;
        if let Actor::User(asker) = self.by
            && let Some(known) = service.parts.store.credentials_of(asker).await?
            && !known.user.admin
        {
            return Err(Error::Forbidden);
        }
        Err(Error::NoSession)
    }
}

impl Service {
    /// The password that is to be set, and whether it was made up here.
    fn password_to_set(&self, password: Option<String>) -> Result<(String, Option<OneTimePassword>)> {
        if let Some(password) = password {
            return Ok((password, None));
        }
        let made_up = OneTimePassword::random(&*self.parts.entropy)?;
        Ok((made_up.reveal().to_owned(), Some(made_up)))
    }

    fn one_time(&self) -> OneTime {
        OneTime { expires_at: Some(self.parts.clock.now().after(one_time::LIFETIME)) }
    }

    /// A user by id, username or e-mail address.
    pub(super) async fn find_user(&self, text: &str) -> Result<User> {
        if let Ok(id) = text.parse()
            && let Some(known) = self.parts.store.credentials_of(id).await?
        {
            return Ok(known.user);
        }
        let known = self.parts.store.credentials(&LoginName::either(text)).await?;
        known.map(|known| known.user).ok_or(Error::NotFound)
    }
}
