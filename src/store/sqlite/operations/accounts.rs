//! Operations on accounts: one is made, is edited, gets another password, is deleted.

use sqlx::Result;

use super::super::super::edit::{Plan, created, password_event};
use super::super::super::rows::AccountRow;
use super::super::super::{Added, Addition, Changed, Deleted, Edited, Initial, PasswordChange, Revoked};
use super::super::transaction::Transaction;
use super::throttles::lift;
use super::{Operation, second_factors};
use crate::domain::event::{Event, EventKind};
use crate::domain::id::UserId;
use crate::domain::revocation::Reason;
use crate::domain::text::{Email, Username};
use crate::domain::throttle::ThrottleKey;
use crate::domain::user::{Account, NewUser, User, UserEdit};

/// Adds a user.
pub(crate) struct AddUser {
    pub addition: Addition,
    pub reason: Reason,
}

impl Operation for AddUser {
    type Outcome = Added;

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<Added> {
        let (Self { addition: Addition { id, user, password, lifts, first }, reason }, now) = (self, transaction.now());
        if !transaction.allows(reason).await? {
            return Ok(Added::NoSession(transaction.seq()));
        }
        if *first && sqlx::query_scalar(HAS_USERS).fetch_one(transaction.connection()).await? {
            return Ok(Added::NotFirst);
        }
        let Initial { hash, one_time } = password;
        let NewUser { username, email, name, admin } = user;
        let (username_key, email_key) = (username.key(), email.as_ref().map(Email::key));
        match taken(transaction, username, email_key.as_deref(), None).await? {
            Some(Taken::Username) => return Ok(Added::UsernameTaken),
            Some(Taken::Email) => return Ok(Added::EmailTaken),
            None => {}
        }
        sqlx::query(
            "INSERT INTO users (id, username, username_key, email, email_key, name, admin, password_hash, created_at, updated_at,
                 must_change_password, password_expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10, ?11)",
        )
        .bind(id)
        .bind(username)
        .bind(username_key)
        .bind(email)
        .bind(email_key)
        .bind(name)
        .bind(admin)
        .bind(hash)
        .bind(now)
        .bind(one_time.is_some())
        .bind(one_time.and_then(|one_time| one_time.expires_at))
        .execute(transaction.connection())
        .await?;
        lift(transaction, lifts).await?;
        transaction.record(&created(*id, user, reason.by, &reason.origin, now)).await?;
        Ok(Added::Yes(user.stored(*id, now)))
    }
}

/// Sets a password and ends the sessions that were opened with the old one.
pub(crate) struct ChangePassword {
    pub change: PasswordChange,
    pub reason: Reason,
}

impl Operation for ChangePassword {
    type Outcome = Changed;

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<Changed> {
        let Self { change: PasswordChange { user, hash, auth_epoch, proof, one_time, keep, lifts }, reason } = self;
        if !transaction.allows(reason).await? {
            return Ok(Changed::NoSession(transaction.seq()));
        }
        let now = transaction.now();
        // Users who change their own password must still be enabled, and must have been checked against the password in
        // force.
        let as_checked: Option<i64> = sqlx::query_scalar(
            "SELECT 1 FROM users
             WHERE id = ?1 AND deleted_at IS NULL AND (?2 IS NULL OR auth_epoch = ?2 AND disabled_at IS NULL)",
        )
        .bind(user)
        .bind(auth_epoch)
        .fetch_optional(transaction.connection())
        .await?;
        if as_checked.is_none() {
            return Ok(Changed::Superseded);
        }
        if let Some(proof) = proof {
            if !second_factors::prove(transaction, *user, proof).await? {
                return Ok(Changed::Unproven);
            }
            second_factors::record_recovery(transaction, *user, proof, None, &reason.origin).await?;
        }
        sqlx::query(
            "UPDATE users SET password_hash = ?2, auth_epoch = auth_epoch + 1, updated_at = ?3,
                 must_change_password = ?4, password_expires_at = ?5
             WHERE id = ?1",
        )
        .bind(user)
        .bind(hash)
        .bind(now)
        .bind(one_time.is_some())
        .bind(one_time.and_then(|one_time| one_time.expires_at))
        .execute(transaction.connection())
        .await?;
        lift(transaction, lifts).await?;
        let session = keep.as_ref().map(|renewal| renewal.session);
        let kind = password_event(*one_time);
        let event = Event::about(*user, kind, reason.by, now).from(&reason.origin);
        transaction.record(&[Event { session, ..event }]).await?;
        if let Some(renewal) = keep {
            transaction.renew(*user, renewal, reason).await?;
        }
        transaction.end_all(*user, session, reason).await.map(Changed::Yes)
    }
}

/// Whether there is any user, also one who was deleted. Rows of an import that is not done are none.
pub(crate) const HAS_USERS: &str = "SELECT EXISTS (SELECT 1 FROM users WHERE deleted_at IS NOT -1)";

/// The columns of an account.
pub(crate) const ACCOUNT: &str =
    "SELECT id AS user_id, username, email, name, admin, disabled_at, created_at AS user_created_at,
         updated_at AS user_updated_at, must_change_password, last_login_at,
         EXISTS (SELECT 1 FROM second_factors WHERE user_id = users.id) AS second_factor
     FROM users WHERE id = ?1 AND deleted_at IS NULL";

async fn account(transaction: &mut Transaction<'_>, user: UserId) -> Result<Option<Account>> {
    let found: Option<AccountRow> = sqlx::query_as(ACCOUNT).bind(user).fetch_optional(transaction.connection()).await?;
    Ok(found.map(Account::from))
}

/// Whether there is an administrator other than this user who can log in, and not just until a password expires.
async fn another_admin(transaction: &mut Transaction<'_>, user: UserId) -> Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM users
             WHERE admin AND disabled_at IS NULL AND deleted_at IS NULL AND password_hash <> '!' AND id <> ?1
                 AND password_expires_at IS NULL)",
    )
    .bind(user)
    .fetch_one(transaction.connection())
    .await
}

/// Which of a username and an address another user has. Nor may a username be the id of another user, by which commands and
/// filters name them, too.
async fn taken(
    transaction: &mut Transaction<'_>,
    username: &Username,
    email_key: Option<&str>,
    but: Option<UserId>,
) -> Result<Option<Taken>> {
    let id: Option<i64> = sqlx::query_scalar("SELECT 1 FROM users WHERE id = ?1 AND id IS NOT ?2")
        .bind(username)
        .bind(but)
        .fetch_optional(transaction.connection())
        .await?;
    if id.is_some() {
        return Ok(Some(Taken::Username));
    }
    let username: Option<bool> = sqlx::query_scalar(
        "SELECT username_key = ?1 FROM users WHERE (username_key = ?1 OR email_key = ?2) AND id IS NOT ?3
         ORDER BY username_key = ?1 DESC LIMIT 1",
    )
    .bind(username.key())
    .bind(email_key)
    .bind(but)
    .fetch_optional(transaction.connection())
    .await?;
    Ok(username.map(|username| if username { Taken::Username } else { Taken::Email }))
}

/// What is taken.
enum Taken {
    Username,
    Email,
}

/// Changes what is known of a user.
pub(crate) struct EditUser {
    pub user: UserId,
    pub edit: UserEdit,
    pub lifts: Vec<ThrottleKey>,
    pub reason: Reason,
}

impl Operation for EditUser {
    type Outcome = Edited;

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<Edited> {
        let (Self { user, edit, lifts, reason }, now) = (self, transaction.now());
        if !transaction.allows(reason).await? {
            return Ok(Edited::NoSession(transaction.seq()));
        }
        let Some(before) = account(transaction, *user).await? else { return Ok(Edited::NoUser) };
        let plan = Plan::new(&before.user, edit, now);
        let User { username, email, name, admin, disabled_at, updated_at, .. } = &plan.after;
        let (username_key, email_key) = (username.key(), email.as_ref().map(Email::key));
        match taken(transaction, username, email_key.as_deref(), Some(*user)).await? {
            Some(Taken::Username) => return Ok(Edited::UsernameTaken),
            Some(Taken::Email) => return Ok(Edited::EmailTaken),
            None => {}
        }
        if plan.removes_admin && !another_admin(transaction, *user).await? {
            return Ok(Edited::LastAdmin);
        }
        sqlx::query(
            "UPDATE users SET username = ?2, username_key = ?3, email = ?4, email_key = ?5, name = ?6, admin = ?7,
                 disabled_at = ?8, updated_at = ?9, auth_epoch = auth_epoch + ?10
             WHERE id = ?1",
        )
        .bind(user)
        .bind(username)
        .bind(username_key)
        .bind(email)
        .bind(email_key)
        .bind(name)
        .bind(admin)
        .bind(disabled_at)
        .bind(updated_at)
        .bind(plan.supersedes())
        .execute(transaction.connection())
        .await?;
        lift(transaction, lifts).await?;
        let named = Some(username.as_str().to_owned());
        let event = |(kind, detail)| {
            let event = Event::about(*user, kind, reason.by, now).from(&reason.origin);
            Event { detail, name: named.clone(), ..event }
        };
        transaction.record(&plan.events.iter().cloned().map(event).collect::<Vec<_>>()).await?;
        if plan.changes_identity() {
            transaction.ask_anew(*user);
        }
        let mut revoked = Revoked { sessions: Vec::new(), seq: transaction.seq() };
        if plan.disables() {
            revoked = transaction.end_all(*user, None, reason).await?;
        }
        Ok(Edited::Yes(Box::new(Account { user: plan.after, ..before }), revoked))
    }
}

/// Deletes a user.
pub(crate) struct DeleteUser {
    pub user: UserId,
    pub reason: Reason,
}

impl Operation for DeleteUser {
    type Outcome = Deleted;

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<Deleted> {
        let (Self { user, reason }, now) = (self, transaction.now());
        if !transaction.allows(reason).await? {
            return Ok(Deleted::NoSession(transaction.seq()));
        }
        let Some(before) = account(transaction, *user).await? else { return Ok(Deleted::NoUser) };
        let User { username, admin, disabled_at, .. } = &before.user;
        if *admin && disabled_at.is_none() && !another_admin(transaction, *user).await? {
            return Ok(Deleted::LastAdmin);
        }
        let revoked = transaction.end_all(*user, None, reason).await?;
        second_factors::remove(transaction, *user).await?;
        // No username has an `@`, so the row is in no name's way.
        sqlx::query(
            "UPDATE users SET deleted_at = ?2, disabled_at = ?2, updated_at = ?2, auth_epoch = auth_epoch + 1,
                 username = 'deleted', username_key = '@' || id, email = NULL, email_key = NULL, name = 'deleted',
                 admin = 0, password_hash = '!', last_login_at = NULL
             WHERE id = ?1",
        )
        .bind(user)
        .bind(now)
        .execute(transaction.connection())
        .await?;
        let event = Event::about(*user, EventKind::UserDeleted, reason.by, now).from(&reason.origin);
        transaction.record(&[Event { name: Some(username.as_str().to_owned()), ..event }]).await?;
        Ok(Deleted::Yes(revoked))
    }
}
