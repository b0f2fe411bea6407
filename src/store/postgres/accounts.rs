//! Operations on accounts: one is made, gets another password, is disabled or enabled.

use sqlx::{query, query_as};

use super::super::{Added, Changed, PasswordChange, Result, Revoked};
use super::change::{Change, GivenSeq, Operation};
use super::sessions::revoked;
use super::throttles::lift;
use crate::domain::clock::Timestamp;
use crate::domain::event::{Actor, Event, EventKind};
use crate::domain::id::UserId;
use crate::domain::password::PasswordHash;
use crate::domain::revocation::Reason;
use crate::domain::text::Email;
use crate::domain::user::NewUser;

/// Adds a user.
pub(super) struct AddUser {
    pub(super) id: UserId,
    pub(super) user: NewUser,
    pub(super) hash: PasswordHash,
    pub(super) by: Actor,
}

impl Operation for AddUser {
    type Outcome = Added;

    async fn apply(&self, change: &mut Change<'_>) -> Result<GivenSeq<Added>> {
        let (Self { id, user, hash, by }, now) = (self, change.now());
        let NewUser { username, email, name, admin } = user;
        let (username_key, email_key) = (username.key(), email.as_ref().map(Email::key));
        // Waits for a transaction that is about to take the same name.
        let insert = query(
            "INSERT INTO users (id, username, username_key, email, email_key, name, admin, password_hash, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) ON CONFLICT DO NOTHING",
        )
        .bind(*id)
        .bind(username.clone())
        .bind(username_key.clone())
        .bind(email.clone())
        .bind(email_key)
        .bind(name.clone())
        .bind(*admin)
        .bind(hash.clone())
        .bind(now);
        if change.connection().execute(insert).await? == 0 {
            let taken = query_as("SELECT 1 FROM users WHERE username_key = $1").bind(username_key);
            let taken: Vec<(i32,)> = change.connection().rows(taken).await?;
            let taken = if taken.is_empty() { Added::EmailTaken } else { Added::UsernameTaken };
            return Ok(Box::new(|_| taken));
        }
        change.event(Event::about(*id, EventKind::UserCreated, *by, now));
        let added = Added::Yes(user.stored(*id, now));
        Ok(Box::new(|_| added))
    }
}

/// Sets a password and ends the sessions that were opened with the old one.
pub(super) struct ChangePassword {
    pub(super) change: PasswordChange,
    pub(super) reason: Reason,
}

impl Operation for ChangePassword {
    type Outcome = Changed;

    async fn apply(&self, change: &mut Change<'_>) -> Result<GivenSeq<Changed>> {
        let Self { change: PasswordChange { user, hash, auth_epoch, keep, lifts }, reason } = self;
        let known = query_as("SELECT auth_epoch, disabled_at FROM users WHERE id = $1 FOR NO KEY UPDATE");
        let known: Option<(i64, Option<Timestamp>)> = change.connection().row(known.bind(*user)).await?;
        let live = change.live_by_user(*user, reason.requested_by).await?;
        if reason.requested_by.is_some_and(|requested_by| !live.iter().any(|session| session.is(requested_by))) {
            return Ok(Box::new(Changed::NoSession));
        }
        let Some((epoch, disabled)) = known else { return Ok(Box::new(|_| Changed::Superseded)) };
        // Users who change their own password must still be enabled, and must have been checked against the password in
        // force.
        if auth_epoch.is_some_and(|checked| checked != epoch || disabled.is_some()) {
            return Ok(Box::new(|_| Changed::Superseded));
        }
        let update =
            query("UPDATE users SET password_hash = $2, auth_epoch = auth_epoch + 1, updated_at = $3 WHERE id = $1");
        let update = update.bind(*user).bind(hash.clone()).bind(change.now());
        change.connection().execute(update).await?;
        lift(change, lifts).await?;
        let event = Event::about(*user, EventKind::PasswordChanged, reason.by, change.now());
        let kept = keep.as_ref().map(|renewal| renewal.session);
        change.event(Event { session: kept, ip: reason.ip.clone(), ..event });
        let (kept, others): (Vec<_>, Vec<_>) =
            live.into_iter().filter(|session| session.user == *user).partition(|session| Some(session.id) == kept);
        for (session, renewal) in kept.iter().filter(|session| !session.over).zip(keep) {
            change.renew(session, renewal, reason).await?;
        }
        Ok(revoked(change.end_all(*user, &others, reason)))
    }
}

/// Disables a user, or enables them again.
pub(super) struct SetDisabled {
    pub(super) user: UserId,
    pub(super) disabled: bool,
    pub(super) reason: Reason,
}

impl Operation for SetDisabled {
    type Outcome = Option<Revoked>;

    async fn apply(&self, change: &mut Change<'_>) -> Result<GivenSeq<Option<Revoked>>> {
        let (Self { user, disabled, reason }, now) = (self, change.now());
        let update =
            query("UPDATE users SET disabled_at = $2, auth_epoch = auth_epoch + 1, updated_at = $3 WHERE id = $1");
        let update = update.bind(*user).bind(disabled.then_some(now)).bind(now);
        if change.connection().execute(update).await? == 0 {
            return Ok(Box::new(|_| None));
        }
        let kind = if *disabled { EventKind::UserDisabled } else { EventKind::UserEnabled };
        change.event(Event::about(*user, kind, reason.by, now));
        let live = if *disabled { change.live_by_user(*user, None).await? } else { Vec::new() };
        let sessions = change.end_all(*user, &live, reason);
        Ok(Box::new(|seq| Some(Revoked { sessions, seq })))
    }
}
