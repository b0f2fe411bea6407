//! Operations on accounts: one is made, gets another password, is disabled or enabled.

use rusqlite::Result;

use super::super::super::{Added, Changed, PasswordChange, Revoked};
use super::super::batch::Batch;
use super::super::writer::Operation;
use crate::domain::event::{Actor, Event, EventKind};
use crate::domain::id::UserId;
use crate::domain::password::PasswordHash;
use crate::domain::revocation::Reason;
use crate::domain::text::Email;
use crate::domain::user::NewUser;

/// Adds a user.
pub(in crate::store::sqlite) struct AddUser {
    pub id: UserId,
    pub user: NewUser,
    pub hash: PasswordHash,
    pub by: Actor,
}

impl Operation for AddUser {
    type Outcome = Added;

    fn apply(&self, batch: &mut Batch<'_>) -> Result<Added> {
        let (Self { id, user, hash, by }, now) = (self, batch.now());
        let NewUser { username, email, name, admin } = user;
        let (username_key, email_key) = (username.key(), email.as_ref().map(Email::key));
        if batch.exists("SELECT 1 FROM users WHERE username_key = ?1", [&username_key])? {
            return Ok(Added::UsernameTaken);
        }
        if batch.exists("SELECT 1 FROM users WHERE email_key = ?1", [&email_key])? {
            return Ok(Added::EmailTaken);
        }
        batch.run(
            "INSERT INTO users (id, username, username_key, email, email_key, name, admin, password_hash, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)",
            (id, username, username_key, email, email_key, name, admin, hash, now),
        )?;
        batch.event(&Event::about(*id, EventKind::UserCreated, *by, now))?;
        Ok(Added::Yes(user.stored(*id, now)))
    }
}

/// Sets a password and ends what was opened with the old one.
pub(in crate::store::sqlite) struct ChangePassword {
    pub change: PasswordChange,
    pub reason: Reason,
}

impl Operation for ChangePassword {
    type Outcome = Changed;

    fn apply(&self, batch: &mut Batch<'_>) -> Result<Changed> {
        let Self { change: PasswordChange { user, hash, auth_epoch, keep }, reason } = self;
        if !batch.allows(reason)? {
            return Ok(Changed::NoSession(batch.seq()));
        }
        // Whoever changes their own password must still be allowed to: enabled, and checked against today's password.
        let changed = batch.run(
            "UPDATE users SET password_hash = ?2, auth_epoch = auth_epoch + 1, updated_at = ?3
             WHERE id = ?1 AND (?4 IS NULL OR auth_epoch = ?4 AND disabled_at IS NULL)",
            (user, hash, batch.now(), auth_epoch),
        )?;
        if changed == 0 {
            return Ok(Changed::Superseded);
        }
        let event = Event::about(*user, EventKind::PasswordChanged, reason.by, batch.now());
        let session = keep.as_ref().map(|renewal| renewal.session);
        batch.event(&Event { session, ip: reason.ip.clone(), ..event })?;
        if let Some(renewal) = keep {
            batch.renew(*user, renewal, reason)?;
        }
        batch.end_all(*user, session, reason).map(Changed::Yes)
    }
}

/// Disables a user, or enables them again.
pub(in crate::store::sqlite) struct SetDisabled {
    pub user: UserId,
    pub disabled: bool,
    pub reason: Reason,
}

impl Operation for SetDisabled {
    type Outcome = Option<Revoked>;

    fn apply(&self, batch: &mut Batch<'_>) -> Result<Option<Revoked>> {
        let (Self { user, disabled, reason }, now) = (self, batch.now());
        let changed = batch.run(
            "UPDATE users SET disabled_at = ?2, auth_epoch = auth_epoch + 1, updated_at = ?3 WHERE id = ?1",
            (user, disabled.then_some(now), now),
        )?;
        if changed == 0 {
            return Ok(None);
        }
        let kind = if *disabled { EventKind::UserDisabled } else { EventKind::UserEnabled };
        batch.event(&Event::about(*user, kind, reason.by, now))?;
        if *disabled {
            batch.end_all(*user, None, reason).map(Some)
        } else {
            Ok(Some(Revoked { sessions: Vec::new(), seq: batch.seq() }))
        }
    }
}
