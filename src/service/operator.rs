//! What the command line may do. A change that a running server must apply returns the number to be confirmed.

use std::sync::LazyLock;

use super::accounts::{AccountEdit, Authority, NewAccount};
use super::audit::EventPage;
use super::selection::SessionFilter;
use super::{Result, Service};
use crate::cache::coherence::{Confirmed, confirm};
use crate::domain::event::{Actor, Origin};
use crate::domain::id::{SessionId, UserId};
use crate::domain::one_time::OneTimePassword;
use crate::domain::revocation::Seq;
use crate::domain::session::Session;
use crate::domain::user::{Account, User};
use crate::store::{EventFilter, EventNumber, Revoked, Target};

/// The powers of the operator, who may run commands on the machine.
pub struct Operator<'s> {
    service: &'s Service,
    authority: Authority,
}

impl Service {
    /// The powers of the operator, who may run commands on the machine. Nothing that arrives over the wire gets them.
    pub fn operator(&self) -> Operator<'_> {
        let origin = Origin { actor_name: Some(OS_USER.clone()), ..Origin::default() };
        Operator { service: self, authority: Authority { by: Actor::CommandLine, requested_by: None, origin } }
    }
}

/// The name of the operating system's user who runs this process, for the audit, and of the one who logged in to the machine
/// and became that user.
static OS_USER: LazyLock<String> = LazyLock::new(|| {
    let runs = rustix::process::getuid().as_raw();
    // The kernel keeps it through sudo and su; it is the highest number where nobody logged in, as for a service.
    let logged_in = std::fs::read_to_string("/proc/self/loginuid").ok().and_then(|id| id.trim().parse().ok());
    match logged_in {
        Some(id) if id != u32::MAX && id != runs => format!("{}, logged in as {}", user_name(runs), user_name(id)),
        Some(_) | None => user_name(runs),
    }
});

/// The name of the operating system's user with this number.
fn user_name(id: u32) -> String {
    let named = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        (fields.nth(1)?.parse() == Ok(id)).then_some(name)
    };
    let known = std::fs::read_to_string("/etc/passwd").ok().and_then(|users| users.lines().find_map(named));
    // A container often has no list of users.
    known.map_or_else(|| format!("uid {id}"), |name| name.chars().filter(|c| !c.is_control()).take(64).collect())
}

impl<'s> Operator<'s> {
    /// The service that the powers are for.
    pub(super) const fn service(&self) -> &'s Service {
        self.service
    }

    /// The right to do what the operator may.
    pub(super) const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Where what the operator does comes from.
    pub(super) fn origin(&self) -> Origin {
        self.authority.origin.clone()
    }
}

impl Operator<'_> {
    /// Makes a user.
    ///
    /// # Errors
    /// [`Invalid`](super::Error::Invalid) and [`Conflict`](super::Error::Conflict), with the field.
    pub async fn add_user(
        &self,
        username: &str,
        email: Option<&str>,
        name: Option<&str>,
        admin: bool,
        password: String,
    ) -> Result<User> {
        let (username, email) = (username.to_owned(), email.map(str::to_owned));
        let new = NewAccount { username, email, name: name.map(str::to_owned), admin, password: Some(password) };
        let (user, _) = self.authority.add(self.service, new).await?;
        Ok(user)
    }

    /// Makes a user with a one-time password.
    ///
    /// # Errors
    /// As [`Self::add_user`].
    pub async fn add_account(&self, new: NewAccount) -> Result<(User, Option<OneTimePassword>)> {
        self.authority.add(self.service, new).await
    }

    /// Makes the first user, an administrator.
    ///
    /// # Errors
    /// As [`Self::add_user`]; [`Conflict`](super::Error::Conflict) where there is a user already.
    pub async fn add_first_user(&self, username: &str, password: String) -> Result<User> {
        let new = NewAccount {
            username: username.to_owned(),
            admin: true,
            password: Some(password),
            ..NewAccount::default()
        };
        let (user, _) = self.authority.add_if(self.service, new, true).await?;
        Ok(user)
    }

    /// Whether there is an administrator who can log in, and not just until a password expires.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn has_administrator(&self) -> Result<bool> {
        Ok(self.service.parts.store.has_administrator().await?)
    }

    /// Whether there is no user yet.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_first_start(&self) -> Result<bool> {
        Ok(!self.service.parts.store.has_users().await?)
    }

    /// Every user, by username.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn users(&self) -> Result<Vec<User>> {
        Ok(self.service.parts.store.users().await?)
    }

    /// A user by id, username or e-mail address.
    ///
    /// # Errors
    /// [`NotFound`](super::Error::NotFound).
    pub async fn user(&self, name: &str) -> Result<User> {
        self.service.find_user(name).await
    }

    /// A user's live sessions.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sessions(&self, user: UserId) -> Result<Vec<Session>> {
        Ok(self.service.parts.store.sessions(user, self.service.parts.clock.now()).await?.sessions)
    }

    /// Changes what is known of a user, whose sessions end only where that disables the user.
    ///
    /// # Errors
    /// [`Invalid`](super::Error::Invalid) and [`Conflict`](super::Error::Conflict); [`NotFound`](super::Error::NotFound) when the user is gone.
    pub async fn edit(&self, user: UserId, edit: AccountEdit) -> Result<(Account, Revoked)> {
        self.authority.edit(self.service, user, edit).await
    }

    /// Deletes a user, which ends every session of theirs.
    ///
    /// # Errors
    /// [`NotFound`](super::Error::NotFound) when the user is gone; [`Conflict`](super::Error::Conflict) for the last administrator.
    pub async fn delete(&self, user: UserId) -> Result<Revoked> {
        self.authority.delete(self.service, user).await
    }

    /// Sets a password, which ends every session of the user, and lifts what wrong ones have led to.
    ///
    /// # Errors
    /// [`Invalid`](super::Error::Invalid), also for the password that is set already; [`NotFound`](super::Error::NotFound) when the user is gone.
    pub async fn set_password(&self, user: UserId, password: String) -> Result<Revoked> {
        let (revoked, _) = self.authority.set_password(self.service, user, Some(password)).await?;
        Ok(revoked)
    }

    /// Makes up a password that has to be changed at its first use, which ends every session of the user.
    ///
    /// # Errors
    /// As [`Self::set_password`].
    pub async fn reset_password(&self, user: UserId) -> Result<(Revoked, Option<OneTimePassword>)> {
        self.authority.set_password(self.service, user, None).await
    }

    /// Lifts whatever keeps a user from logging in after too many wrong passwords. Returns whether there was anything.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn unlock(&self, user: &User) -> Result<bool> {
        self.authority.unlock(self.service, user).await
    }

    /// Lets a user log in no more, which ends every session of theirs; or lets them again.
    ///
    /// # Errors
    /// [`NotFound`](super::Error::NotFound) when the user is gone; [`Conflict`](super::Error::Conflict) for the last administrator.
    pub async fn set_disabled(&self, user: UserId, disabled: bool) -> Result<Revoked> {
        let (_, revoked) = self.edit(user, AccountEdit { disabled: Some(disabled), ..AccountEdit::default() }).await?;
        Ok(revoked)
    }

    /// Removes a user's second factor, which ends every session of theirs.
    ///
    /// # Errors
    /// [`NotFound`](super::Error::NotFound) when the user is gone, or has no second factor.
    pub async fn reset_second_factor(&self, user: UserId) -> Result<Revoked> {
        self.authority.reset_second_factor(self.service, user).await
    }

    /// Ends one session.
    ///
    /// # Errors
    /// When the store fails; that nothing ended shows in the result.
    pub async fn revoke(&self, session: SessionId) -> Result<Revoked> {
        self.authority.revoke(self.service, Target::Id(session, None)).await
    }

    /// Ends every session of a user.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke_all(&self, user: UserId) -> Result<Revoked> {
        self.authority.revoke(self.service, Target::All(user)).await
    }

    /// How many live sessions fit.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn count(&self, filter: &SessionFilter) -> Result<usize> {
        Ok(self.service.select(filter, None).await?.sessions.len())
    }

    /// Ends every session that fits.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke_fitting(&self, filter: &SessionFilter) -> Result<Revoked> {
        let selection = self.service.select(filter, None).await?;
        self.authority.revoke_selection(self.service, selection).await
    }

    /// A page of the audit, newest event first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn events(&self, filter: &EventFilter, before: Option<EventNumber>, limit: usize) -> Result<EventPage> {
        self.service.event_page(filter, before, limit).await
    }

    /// Waits until a running server refuses what `seq` ended.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn confirm(&self, seq: Seq) -> Result<Confirmed> {
        Ok(confirm(&*self.service.parts.store, seq).await?)
    }
}
