//! Operations on accounts: one is made, is edited, gets another password, is deleted.

use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;
use sqlx::{Postgres, query, query_as};

use super::super::edit::{Plan, created, password_event};
use super::super::rows::AccountRow;
use super::super::{Added, Addition, Changed, Deleted, Edited, Initial, PasswordChange, Result, Revoked};
use super::change::{Change, GivenSeq, Operation};
use super::second_factors;
use super::sessions::revoked;
use super::throttles::lift;
use super::users::HAS_USERS;
use crate::domain::clock::Timestamp;
use crate::domain::event::{Event, EventKind};
use crate::domain::id::UserId;
use crate::domain::revocation::Reason;
use crate::domain::text::Email;
use crate::domain::throttle::ThrottleKey;
use crate::domain::user::{Account, NewUser, User, UserEdit};

/// Adds a user.
pub(super) struct AddUser {
    pub(super) addition: Addition,
    pub(super) reason: Reason,
}

impl Operation for AddUser {
    type Outcome = Added;

    async fn apply(&self, change: &mut Change<'_>) -> Result<GivenSeq<Added>> {
        let (Self { addition: Addition { id, user, password, lifts, first }, reason }, now) = (self, change.now());
        let Initial { hash, one_time } = password;
        let NewUser { username, email, name, admin } = user;
        let (username_key, email_key) = (username.key(), email.as_ref().map(Email::key));
        one_at_a_time(change).await?;
        let asker = change.live_by_ids(Vec::new(), reason.requested_by).await?;
        if !change.allows(&asker, reason).await? {
            return Ok(Box::new(Added::NoSession));
        }
        if *first && change.connection().row(query_as(HAS_USERS)).await?.is_some_and(|(any,): (bool,)| any) {
            return Ok(Box::new(|_| Added::NotFirst));
        }
        if is_taken(change, BY_ID, username.as_str().to_owned(), *id).await? {
            return Ok(Box::new(|_| Added::UsernameTaken));
        }
        let insert = query(
            "INSERT INTO users (id, username, username_key, email, email_key, name, admin, password_hash, created_at, updated_at,
                 must_change_password, password_expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $11) ON CONFLICT DO NOTHING",
        )
        .bind(*id)
        .bind(username.clone())
        .bind(username_key.clone())
        .bind(email.clone())
        .bind(email_key)
        .bind(name.clone())
        .bind(*admin)
        .bind(hash.clone())
        .bind(now)
        .bind(one_time.is_some())
        .bind(one_time.and_then(|one_time| one_time.expires_at));
        if change.connection().execute(insert).await? == 0 {
            let taken = query_as("SELECT 1 FROM users WHERE username_key = $1").bind(username_key);
            let taken: Vec<(i32,)> = change.connection().rows(taken).await?;
            let taken = if taken.is_empty() { Added::EmailTaken } else { Added::UsernameTaken };
            return Ok(Box::new(|_| taken));
        }
        lift(change, lifts).await?;
        for event in created(*id, user, reason.by, &reason.origin, now) {
            change.event(event);
        }
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
        let Self { change: PasswordChange { user, hash, auth_epoch, proof, one_time, keep, lifts }, reason } = self;
        let known = query_as(
            "SELECT auth_epoch, disabled_at FROM users WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE",
        );
        let known: Option<(i64, Option<Timestamp>)> = change.connection().row(known.bind(*user)).await?;
        let live = change.live_by_user(*user, reason.requested_by).await?;
        if !change.allows(&live, reason).await? {
            return Ok(Box::new(Changed::NoSession));
        }
        let Some((epoch, disabled)) = known else { return Ok(Box::new(|_| Changed::Superseded)) };
        // Users who change their own password must still be enabled, and must have been checked against the password in
        // force.
        if auth_epoch.is_some_and(|checked| checked != epoch || disabled.is_some()) {
            return Ok(Box::new(|_| Changed::Superseded));
        }
        if let Some(proof) = proof {
            if !second_factors::prove(change, *user, proof).await? {
                return Ok(Box::new(|_| Changed::Unproven));
            }
            second_factors::record_recovery(change, *user, proof, None, &reason.origin);
        }
        let update = query(
            "UPDATE users SET password_hash = $2, auth_epoch = auth_epoch + 1, updated_at = $3,
                 must_change_password = $4, password_expires_at = $5
             WHERE id = $1",
        );
        let expires_at = one_time.and_then(|one_time| one_time.expires_at);
        let update = update.bind(*user).bind(hash.clone()).bind(change.now()).bind(one_time.is_some()).bind(expires_at);
        change.connection().execute(update).await?;
        lift(change, lifts).await?;
        let kind = password_event(*one_time);
        let event = Event::about(*user, kind, reason.by, change.now()).from(&reason.origin);
        let kept = keep.as_ref().map(|renewal| renewal.session);
        change.event(Event { session: kept, ..event });
        let (kept, others): (Vec<_>, Vec<_>) =
            live.into_iter().filter(|session| session.user == *user).partition(|session| Some(session.id) == kept);
        for (session, renewal) in kept.iter().filter(|session| !session.over).zip(keep) {
            change.renew(session, renewal, reason).await?;
        }
        Ok(revoked(change.end_all(*user, &others, reason)))
    }
}

/// Changes of accounts are made one at a time: none of them then sees a name as free that another one is about to take, nor
/// an administrator who is about to be one no longer. The number of this lock: the letters of "accounts".
async fn one_at_a_time(change: &mut Change<'_>) -> Result<()> {
    change.connection().run("SELECT pg_advisory_xact_lock(7017279547886728307)").await
}

/// Whether there is an administrator other than this user who can log in, and not just until a password expires.
async fn another_admin(change: &mut Change<'_>, user: UserId) -> Result<bool> {
    let another = query_as(
        "SELECT 1 FROM users
         WHERE admin AND disabled_at IS NULL AND deleted_at IS NULL AND password_hash <> '!' AND id <> $1
             AND password_expires_at IS NULL
         LIMIT 1",
    );
    let another: Option<(i32,)> = change.connection().row(another.bind(user)).await?;
    Ok(another.is_some())
}

/// Whether another user has a username, or an address.
async fn is_taken(change: &mut Change<'_>, sql: &'static str, key: String, but: UserId) -> Result<bool> {
    let taken: Option<(i32,)> = change.connection().row(query_as(sql).bind(key).bind(but)).await?;
    Ok(taken.is_some())
}

/// Whether a username is the id of another user, by which commands and filters name them, too.
const BY_ID: &str = "SELECT 1 FROM users WHERE id = $1 AND id <> $2";

/// Changes what is known of a user.
pub(super) struct EditUser {
    pub(super) user: UserId,
    pub(super) edit: UserEdit,
    pub(super) lifts: Vec<ThrottleKey>,
    pub(super) reason: Reason,
}

impl Operation for EditUser {
    type Outcome = Edited;

    async fn apply(&self, change: &mut Change<'_>) -> Result<GivenSeq<Edited>> {
        let (Self { user, edit, lifts, reason }, now) = (self, change.now());
        one_at_a_time(change).await?;
        let found: Option<AccountRow> = change.connection().row(locked(*user)).await?;
        let live = change.live_by_user(*user, reason.requested_by).await?;
        if !change.allows(&live, reason).await? {
            return Ok(Box::new(Edited::NoSession));
        }
        let Some(before) = found.map(Account::from) else { return Ok(Box::new(|_| Edited::NoUser)) };
        let plan = Plan::new(&before.user, edit, now);
        let User { username, email, name, admin, disabled_at, updated_at, .. } = plan.after.clone();
        let (username_key, email_key) = (username.key(), email.as_ref().map(Email::key));
        let by_name = "SELECT 1 FROM users WHERE username_key = $1 AND id <> $2";
        if is_taken(change, by_name, username_key.clone(), *user).await?
            || is_taken(change, BY_ID, username.as_str().to_owned(), *user).await?
        {
            return Ok(Box::new(|_| Edited::UsernameTaken));
        }
        if let Some(key) = &email_key {
            let by_address = "SELECT 1 FROM users WHERE email_key = $1 AND id <> $2";
            if is_taken(change, by_address, key.clone(), *user).await? {
                return Ok(Box::new(|_| Edited::EmailTaken));
            }
        }
        if plan.removes_admin && !another_admin(change, *user).await? {
            return Ok(Box::new(|_| Edited::LastAdmin));
        }
        let update = query(
            "UPDATE users SET username = $2, username_key = $3, email = $4, email_key = $5, name = $6, admin = $7,
                 disabled_at = $8, updated_at = $9, auth_epoch = auth_epoch + $10
             WHERE id = $1",
        )
        .bind(*user)
        .bind(username.clone())
        .bind(username_key)
        .bind(email)
        .bind(email_key)
        .bind(name)
        .bind(admin)
        .bind(disabled_at)
        .bind(updated_at)
        .bind(i64::from(plan.supersedes()));
        change.connection().execute(update).await?;
        lift(change, lifts).await?;
        let (disables, changes_identity) = (plan.disables(), plan.changes_identity());
        for (kind, detail) in plan.events {
            let event = Event::about(*user, kind, reason.by, now).from(&reason.origin);
            change.event(Event { detail, name: Some(username.as_str().to_owned()), ..event });
        }
        if changes_identity {
            change.ask_anew(*user);
        }
        let own: Vec<_> = live.into_iter().filter(|session| session.user == *user).collect();
        let sessions = if disables { change.end_all(*user, &own, reason) } else { Vec::new() };
        let account = Box::new(Account { user: plan.after, ..before });
        Ok(Box::new(move |seq| Edited::Yes(account, Revoked { sessions, seq })))
    }
}

/// Reads an account, whose row is held from then on.
fn locked(user: UserId) -> QueryAs<'static, Postgres, AccountRow, PgArguments> {
    query_as(
        "SELECT id AS user_id, username, email, name, admin, disabled_at, created_at AS user_created_at,
             updated_at AS user_updated_at, must_change_password, last_login_at,
             EXISTS (SELECT 1 FROM second_factors WHERE user_id = users.id) AS second_factor
         FROM users WHERE id = $1 AND deleted_at IS NULL FOR UPDATE",
    )
    .bind(user)
}

/// Deletes a user.
pub(super) struct DeleteUser {
    pub(super) user: UserId,
    pub(super) reason: Reason,
}

impl Operation for DeleteUser {
    type Outcome = Deleted;

    async fn apply(&self, change: &mut Change<'_>) -> Result<GivenSeq<Deleted>> {
        let (Self { user, reason }, now) = (self, change.now());
        one_at_a_time(change).await?;
        let found: Option<AccountRow> = change.connection().row(locked(*user)).await?;
        let live = change.live_by_user(*user, reason.requested_by).await?;
        if !change.allows(&live, reason).await? {
            return Ok(Box::new(Deleted::NoSession));
        }
        let Some(before) = found.map(Account::from) else { return Ok(Box::new(|_| Deleted::NoUser)) };
        let User { username, admin, disabled_at, .. } = &before.user;
        if *admin && disabled_at.is_none() && !another_admin(change, *user).await? {
            return Ok(Box::new(|_| Deleted::LastAdmin));
        }
        second_factors::remove(change, *user).await?;
        // No username has an `@`, so the row is in no name's way.
        let erase = query(
            "UPDATE users SET deleted_at = $2, disabled_at = $2, updated_at = $2, auth_epoch = auth_epoch + 1,
                 username = 'deleted', username_key = '@' || id, email = NULL, email_key = NULL, name = 'deleted',
                 admin = false, password_hash = '!', last_login_at = NULL
             WHERE id = $1",
        );
        change.connection().execute(erase.bind(*user).bind(now)).await?;
        let event = Event::about(*user, EventKind::UserDeleted, reason.by, now).from(&reason.origin);
        change.event(Event { name: Some(username.as_str().to_owned()), ..event });
        let own: Vec<_> = live.into_iter().filter(|session| session.user == *user).collect();
        let sessions = change.end_all(*user, &own, reason);
        Ok(Box::new(move |seq| Deleted::Yes(Revoked { sessions, seq })))
    }
}
