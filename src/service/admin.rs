//! What administrators may do over the wire. There is no other way to an [`Admin`] than [`Service::admin`].

use std::time::Duration;

use super::accounts::{AccountEdit, Authority, NewAccount};
use super::acts::{Acts, Needs};
use super::audit::EventPage;
use super::error::Conflict;
use super::selection::{Meant, SessionFilter, SessionPage, WrittenFilter};
use super::{Error, Result, Service};
use crate::domain::clock::Timestamp;
use crate::domain::event::{Actor, Asked, Origin};
use crate::domain::id::{SessionId, UserId};
use crate::domain::one_time::OneTimePassword;
use crate::domain::principal::Principal;
use crate::domain::session::{Client, Session};
use crate::domain::text::{Email, folded};
use crate::domain::throttle::Tally;
use crate::domain::user::{Account, User};
use crate::store::{EventFilter, EventNumber, ListedSession, Target};

/// How long after a login its session may give power away (OWASP ASVS 7.5.1).
pub const FRESH: Duration = Duration::from_mins(15);
/// The most characters of what users are searched for by.
pub const LONGEST_SEARCH: usize = 256;
/// How many users are read at a time.
const USERS: u32 = 1_000;
/// How many times a page of users reads as many: a search that finds little ends early, and the next page goes on.
const READS: usize = 20;

/// What has to hold before sessions are ended that are named by themselves.
const SESSIONS: Needs = Needs { about: None, another: false, fresh: false };

/// The place of a user in the list of all: when it was made, and its id.
pub type UserPlace = (Timestamp, UserId);

/// The powers of an administrator, in the session of one who was checked.
pub struct Admin<'s> {
    service: &'s Service,
    acts: Acts<'s>,
    principal: &'s Principal,
}

/// A page of users.
#[derive(Debug)]
pub struct UserPage {
    /// In the order in which they were made.
    pub users: Vec<Account>,
    /// The place that the next page comes after; none after the last page.
    pub next: Option<UserPlace>,
}

impl Service {
    /// The powers of the administrator that a request comes from.
    ///
    /// # Errors
    /// [`Error::Forbidden`] where the user is none; that they `asked` is noted.
    pub fn admin<'s>(&'s self, principal: &'s Principal, client: &Client, asked: &Asked) -> Result<Admin<'s>> {
        let origin = Origin { actor_name: Some(principal.identity.username().to_owned()), ..client.origin() };
        if !principal.identity.admin() {
            self.note_refused_act(principal, &origin, None, asked, &Error::Forbidden);
            return Err(Error::Forbidden);
        }
        let authority =
            Authority { by: Actor::User(principal.user_id()), requested_by: Some(principal.token_hash), origin };
        Ok(Admin { service: self, acts: Acts::new(self, authority, principal, asked.clone()), principal })
    }

    /// Whether the session is of a login a short while ago. What happened in it since does not count.
    ///
    /// # Errors
    /// [`Error::ReauthenticationRequired`] where it is not.
    pub(super) async fn require_fresh(&self, principal: &Principal) -> Result<()> {
        let (session, _) = self.current(principal).await?;
        if self.parts.clock.now() < session.created_at.after(FRESH) {
            Ok(())
        } else {
            Err(Error::ReauthenticationRequired)
        }
    }
}

impl Admin<'_> {
    /// A page of at most `limit` users whose username, name or e-mail address `part` is a part of, after a place.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn users(&self, part: Option<&str>, mut after: Option<UserPlace>, limit: usize) -> Result<UserPage> {
        let part = part.map(folded).unwrap_or_default();
        let fits = |User { username, name, email, .. }: &User| {
            let email = email.as_ref().map(Email::as_str);
            [Some(username.as_str()), Some(name.as_str()), email]
                .into_iter()
                .flatten()
                .any(|text| folded(text).contains(&part))
        };
        let place = |account: &Account| (account.user.created_at, account.user.id);
        let mut users: Vec<Account> = Vec::new();
        let mut next = None;
        for _ in 0..READS {
            let read = self.service.parts.store.accounts(after, USERS).await?;
            after = read.last().map(place);
            next = after.filter(|_| u32::try_from(read.len()) == Ok(USERS));
            users.extend(read.into_iter().filter(|account| fits(&account.user)).take(limit + 1 - users.len()));
            if users.len() > limit || next.is_none() {
                break;
            }
        }
        if users.len() > limit {
            users.truncate(limit);
            next = users.last().map(place);
        }
        Ok(UserPage { users, next })
    }

    /// A user.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn user(&self, user: UserId) -> Result<Account> {
        self.service.parts.store.account(user).await?.ok_or(Error::NotFound)
    }

    /// The id of a user by id, username or e-mail address.
    ///
    /// # Errors
    /// When the store fails; no user of that name is none.
    pub async fn find(&self, text: &str) -> Result<Option<UserId>> {
        match self.service.find_user(text).await {
            Ok(user) => Ok(Some(user.id)),
            // Users who were deleted are still in the audit.
            Err(Error::NotFound) => Ok(text.parse().ok()),
            Err(error) => Err(error),
        }
    }

    /// Makes a user, with a one-time password where none is given.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::Conflict`], with the field; [`Error::ReauthenticationRequired`].
    pub async fn add(&self, new: NewAccount) -> Result<(Account, Option<OneTimePassword>)> {
        let needs = Needs { about: None, another: false, fresh: true };
        let (user, made_up) = self.acts.act(needs, |authority| authority.add(self.service, new)).await?;
        Ok((self.user(user.id).await?, made_up))
    }

    /// Changes what is known of a user.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`]; [`Error::Conflict`] for a name that is taken, for the last administrator,
    /// and for disabling or demoting oneself; [`Error::ReauthenticationRequired`] for all that gives power away.
    pub async fn edit(&self, user: UserId, edit: AccountEdit) -> Result<Account> {
        // To disable a user, or to demote one, takes power away, and may be urgent.
        let AccountEdit { username, email, name: _, admin, disabled } = &edit;
        let needs = Needs {
            about: Some(user),
            another: *disabled == Some(true) || *admin == Some(false),
            fresh: username.is_some() || email.is_some() || *admin == Some(true) || *disabled == Some(false),
        };
        let (account, revoked) = self.acts.act(needs, |authority| authority.edit(self.service, user, edit)).await?;
        // Other replicas know the user by their new name from then on, too.
        self.service.settled(revoked.seq).await?;
        Ok(account)
    }

    /// Deletes a user; returns how many sessions ended.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] for oneself and the last administrator; [`Error::ReauthenticationRequired`].
    pub async fn delete(&self, user: UserId) -> Result<usize> {
        let needs = Needs { about: Some(user), another: true, fresh: true };
        let revoked = self.acts.act(needs, |authority| authority.delete(self.service, user)).await?;
        self.service.settled_revoked(&revoked).await
    }

    /// Removes another user's second factor, who has lost it. Returns how many sessions ended. One's own is removed with a
    /// code.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none; [`Error::Conflict`] for oneself; [`Error::ReauthenticationRequired`].
    pub async fn reset_second_factor(&self, user: UserId) -> Result<usize> {
        let needs = Needs { about: Some(user), another: true, fresh: true };
        let revoked = self.acts.act(needs, |authority| authority.reset_second_factor(self.service, user)).await?;
        self.service.settled_revoked(&revoked).await
    }

    /// Sets another user's password, or makes up one that has to be changed at its first use. Returns how many sessions
    /// ended.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`]; [`Error::Conflict`] for oneself; [`Error::ReauthenticationRequired`].
    pub async fn set_password(
        &self,
        user: UserId,
        password: Option<String>,
    ) -> Result<(usize, Option<OneTimePassword>)> {
        let needs = Needs { about: Some(user), another: true, fresh: true };
        let (revoked, made_up) =
            self.acts.act(needs, |authority| authority.set_password(self.service, user, password)).await?;
        Ok((self.service.settled_revoked(&revoked).await?, made_up))
    }

    /// Until when logins by one of a user's names are refused, and after how many failures in a row: the longest wait of them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn longest_wait(&self, user: &User) -> Result<Option<Tally>> {
        let Service { parts, limits, .. } = self.service;
        Ok(parts.store.longest_wait(&limits.about(user), parts.clock.now()).await?)
    }

    /// Lifts whatever keeps a user from logging in after too many wrong passwords, and returns whether there was anything. That
    /// allows more tries, of one's own password and of codes too.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::ReauthenticationRequired`].
    pub async fn unlock(&self, user: UserId) -> Result<bool> {
        let needs = Needs { about: Some(user), another: false, fresh: true };
        self.acts
            .act(needs, |authority| async move {
                let account = self.user(user).await?;
                authority.unlock(self.service, &account.user).await
            })
            .await
    }

    /// A user's live sessions, newest login first.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn sessions_of(&self, user: UserId) -> Result<Vec<Session>> {
        self.user(user).await?;
        let listing = self.service.parts.store.sessions(user, self.service.parts.clock.now()).await?;
        self.service.settled_as_read(listing.seq).await?;
        Ok(listing.sessions)
    }

    /// Ends every session of a user; returns how many.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn revoke_sessions_of(&self, user: UserId) -> Result<usize> {
        let needs = Needs { about: Some(user), another: false, fresh: false };
        let revoked = self
            .acts
            .act(needs, |authority| async move {
                self.user(user).await?;
                authority.revoke(self.service, Target::All(user)).await
            })
            .await?;
        self.service.settled_revoked(&revoked).await
    }

    /// Ends one session of any user.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it does not exist or has ended.
    pub async fn revoke_session(&self, session: SessionId) -> Result<()> {
        let target = Target::Id(session, None);
        let revoked = self.acts.act(SESSIONS, |authority| authority.revoke(self.service, target)).await?;
        match self.service.settled_revoked(&revoked).await? {
            0 => Err(Error::NotFound),
            _ => Ok(()),
        }
    }

    /// What a filter comes to that was written down, with times as `time` reads them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn session_filter(
        &self,
        written: WrittenFilter,
        time: impl FnOnce(&str) -> Option<Timestamp>,
    ) -> Result<Meant> {
        let filter = match written.without_user(time) {
            Ok(filter) => filter,
            Err(condition) => return Ok(Meant::Unfit(condition)),
        };
        let Some(user) = written.user else { return Ok(Meant::Sessions(filter)) };
        Ok(match self.find(&user).await? {
            Some(user) => Meant::Sessions(SessionFilter { user: Some(user), ..filter }),
            None => Meant::NoSuchUser,
        })
    }

    /// A page of the live sessions of all users.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sessions(&self, filter: &SessionFilter, before: Option<i64>, limit: usize) -> Result<SessionPage> {
        let page = self.service.session_page(filter, before, limit).await?;
        self.service.settled_as_read(page.seq).await?;
        Ok(page)
    }

    /// Shows every live session to `visit`, newest login first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn visit_sessions(&self, visit: impl FnMut(ListedSession) + Send) -> Result<()> {
        let seq = self.service.visit_sessions(visit).await?;
        self.service.settled_as_read(seq).await
    }

    /// A live session of any user.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it does not exist or has ended.
    pub async fn session(&self, session: SessionId) -> Result<ListedSession> {
        let found = self.service.parts.store.live_session(session, self.service.parts.clock.now()).await?;
        self.service.settled_as_read(found.seq).await?;
        found.sessions.into_iter().next().ok_or(Error::NotFound)
    }

    /// How many live sessions fit, the caller's own aside.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn count(&self, filter: &SessionFilter) -> Result<usize> {
        let selection = self.service.select(filter, Some(self.principal.session_id())).await?;
        self.service.settled_as_read(selection.seq).await?;
        Ok(selection.sessions.len())
    }

    /// Ends every session that fits but the caller's own, unless there are more than `expected`; returns how many.
    ///
    /// # Errors
    /// [`Error::Conflict`] where there are more.
    pub async fn revoke_fitting(&self, filter: &SessionFilter, expected: Option<usize>) -> Result<usize> {
        let (read, revoked) = self
            .acts
            .act(SESSIONS, |authority| async move {
                let selection = self.service.select(filter, Some(self.principal.session_id())).await?;
                if expected.is_some_and(|expected| selection.sessions.len() > expected) {
                    return Err(Error::Conflict(Conflict::MoreThanExpected));
                }
                Ok((selection.seq, authority.revoke_selection(self.service, selection).await?))
            })
            .await?;
        self.service.settled_as_read(read).await?;
        self.service.settled_revoked(&revoked).await
    }

    /// A page of the audit, newest event first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn events(&self, filter: &EventFilter, before: Option<EventNumber>, limit: usize) -> Result<EventPage> {
        self.service.event_page(filter, before, limit).await
    }
}
