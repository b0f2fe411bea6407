//! Operations on accounts: one is made, gets another password, is disabled or enabled.

use sqlx::Result;

use super::super::super::{Added, Changed, PasswordChange, Revoked};
use super::super::transaction::Transaction;
use super::Operation;
use super::throttles::lift;
use crate::domain::event::{Actor, Event, EventKind};
use crate::domain::id::UserId;
use crate::domain::password::PasswordHash;
use crate::domain::revocation::Reason;
use crate::domain::text::Email;
use crate::domain::user::NewUser;

/// Adds a user.
pub(crate) struct AddUser {
    pub id: UserId,
    pub user: NewUser,
    pub hash: PasswordHash,
    pub by: Actor,
}

impl Operation for AddUser {
    type Outcome = Added;

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<Added> {
        let (Self { id, user, hash, by }, now) = (self, transaction.now());
        let NewUser { username, email, name, admin } = user;
        let (username_key, email_key) = (username.key(), email.as_ref().map(Email::key));
        let taken: Option<bool> = sqlx::query_scalar(
            "SELECT username_key = ?1 FROM users WHERE username_key = ?1 OR email_key = ?2
             ORDER BY username_key = ?1 DESC LIMIT 1",
        )
        .bind(&username_key)
        .bind(&email_key)
        .fetch_optional(transaction.connection())
        .await?;
        match taken {
            Some(true) => return Ok(Added::UsernameTaken),
            Some(false) => return Ok(Added::EmailTaken),
            None => {}
        }
        sqlx::query(
            "INSERT INTO users (id, username, username_key, email, email_key, name, admin, password_hash, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)",
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
        .execute(transaction.connection())
        .await?;
        transaction.record(&[Event::about(*id, EventKind::UserCreated, *by, now)]).await?;
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
        let Self { change: PasswordChange { user, hash, auth_epoch, keep, lifts }, reason } = self;
        if !transaction.allows(reason).await? {
            return Ok(Changed::NoSession(transaction.seq()));
        }
        let now = transaction.now();
        // Users who change their own password must still be enabled, and must have been checked against the password in
        // force.
        let changed = sqlx::query(
            "UPDATE users SET password_hash = ?2, auth_epoch = auth_epoch + 1, updated_at = ?3
             WHERE id = ?1 AND (?4 IS NULL OR auth_epoch = ?4 AND disabled_at IS NULL)",
        )
        .bind(user)
        .bind(hash)
        .bind(now)
        .bind(auth_epoch)
        .execute(transaction.connection())
        .await?;
        if changed.rows_affected() == 0 {
            return Ok(Changed::Superseded);
        }
        lift(transaction, lifts).await?;
        let session = keep.as_ref().map(|renewal| renewal.session);
        let event = Event::about(*user, EventKind::PasswordChanged, reason.by, now);
        transaction.record(&[Event { session, ip: reason.ip.clone(), ..event }]).await?;
        if let Some(renewal) = keep {
            transaction.renew(*user, renewal, reason).await?;
        }
        transaction.end_all(*user, session, reason).await.map(Changed::Yes)
    }
}

/// Disables a user, or enables them again.
pub(crate) struct SetDisabled {
    pub user: UserId,
    pub disabled: bool,
    pub reason: Reason,
}

impl Operation for SetDisabled {
    type Outcome = Option<Revoked>;

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<Option<Revoked>> {
        let (Self { user, disabled, reason }, now) = (self, transaction.now());
        let sql = "UPDATE users SET disabled_at = ?2, auth_epoch = auth_epoch + 1, updated_at = ?3 WHERE id = ?1";
        let set = sqlx::query(sql).bind(user).bind(disabled.then_some(now)).bind(now);
        if set.execute(transaction.connection()).await?.rows_affected() == 0 {
            return Ok(None);
        }
        let kind = if *disabled { EventKind::UserDisabled } else { EventKind::UserEnabled };
        transaction.record(&[Event::about(*user, kind, reason.by, now)]).await?;
        if *disabled {
            transaction.end_all(*user, None, reason).await.map(Some)
        } else {
            Ok(Some(Revoked { sessions: Vec::new(), seq: transaction.seq() }))
        }
    }
}
