//! Rows as the database gives them, and what they mean. A row that means nothing is an error, never a default.

use std::str::FromStr;

use super::super::{Lookup, StoreError};
use crate::domain::clock::Timestamp;
use crate::domain::id::UserId;
use crate::domain::password::PasswordHash;
use crate::domain::revocation::Seq;
use crate::domain::session::{Client, Expiry, Session};
use crate::domain::text::{Email, Name, Username};
use crate::domain::user::{Credentials, User};

pub(super) struct UserRow {
    pub id: String,
    pub username: String,
    pub email: Option<String>,
    pub name: String,
    pub admin: i64,
    pub disabled_at: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
}

pub(super) struct CredentialsRow {
    pub id: String,
    pub username: String,
    pub email: Option<String>,
    pub name: String,
    pub admin: i64,
    pub disabled_at: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
    pub password_hash: String,
    pub auth_epoch: i64,
}

pub(super) struct SessionRow {
    pub id: String,
    pub user_id: String,
    pub created_at: i64,
    pub last_seen_at: i64,
    pub idle_expires_at: i64,
    pub expires_at: i64,
    pub remembered: i64,
    pub ip: String,
    pub user_agent: String,
    pub host: String,
}

pub(super) struct LookupRow {
    pub id: String,
    pub user_id: String,
    pub created_at: i64,
    pub last_seen_at: i64,
    pub idle_expires_at: i64,
    pub expires_at: i64,
    pub remembered: i64,
    pub ip: String,
    pub user_agent: String,
    pub host: String,
    pub revoked_at: Option<i64>,
    pub revoked_seq: Option<i64>,
    pub username: String,
    pub email: Option<String>,
    pub name: String,
    pub admin: i64,
    pub disabled_at: Option<i64>,
    pub user_created_at: i64,
    pub user_updated_at: i64,
}

/// Reads an identifier out of a column.
pub(super) fn id<I: FromStr>(text: &str) -> Result<I, StoreError> {
    text.parse().map_err(|_| StoreError::Inconsistent(format!("`{text}` is stored as an identifier")))
}

impl TryFrom<UserRow> for User {
    type Error = StoreError;

    fn try_from(row: UserRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: id::<UserId>(&row.id)?,
            username: Username::stored(row.username),
            email: row.email.map(Email::stored),
            name: Name::stored(row.name),
            admin: row.admin != 0,
            disabled_at: row.disabled_at.map(Timestamp::from_millis),
            created_at: Timestamp::from_millis(row.created_at),
            updated_at: Timestamp::from_millis(row.updated_at),
        })
    }
}

impl TryFrom<CredentialsRow> for Credentials {
    type Error = StoreError;

    fn try_from(row: CredentialsRow) -> Result<Self, StoreError> {
        let CredentialsRow { id, username, email, name, admin, disabled_at, created_at, updated_at, .. } = row;
        let user = UserRow { id, username, email, name, admin, disabled_at, created_at, updated_at };
        Ok(Self {
            user: user.try_into()?,
            password_hash: PasswordHash::new(row.password_hash),
            auth_epoch: row.auth_epoch,
        })
    }
}

impl TryFrom<SessionRow> for Session {
    type Error = StoreError;

    fn try_from(row: SessionRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: id(&row.id)?,
            user_id: id(&row.user_id)?,
            created_at: Timestamp::from_millis(row.created_at),
            last_seen_at: Timestamp::from_millis(row.last_seen_at),
            expiry: Expiry {
                idle: Timestamp::from_millis(row.idle_expires_at),
                absolute: Timestamp::from_millis(row.expires_at),
            },
            remembered: row.remembered != 0,
            client: Client { ip: row.ip, user_agent: row.user_agent, host: row.host },
        })
    }
}

impl TryFrom<LookupRow> for Lookup {
    type Error = StoreError;

    fn try_from(row: LookupRow) -> Result<Self, StoreError> {
        match (row.revoked_at, row.revoked_seq) {
            (None, None) => {}
            (Some(_), Some(seq)) => return Ok(Self::Revoked(Seq(seq))),
            (Some(_), None) | (None, Some(_)) => {
                return Err(StoreError::Inconsistent(format!("the tombstone of session {} is half written", row.id)));
            }
        }
        let user = UserRow {
            id: row.user_id.clone(),
            username: row.username,
            email: row.email,
            name: row.name,
            admin: row.admin,
            disabled_at: row.disabled_at,
            created_at: row.user_created_at,
            updated_at: row.user_updated_at,
        };
        let session = SessionRow {
            id: row.id,
            user_id: row.user_id,
            created_at: row.created_at,
            last_seen_at: row.last_seen_at,
            idle_expires_at: row.idle_expires_at,
            expires_at: row.expires_at,
            remembered: row.remembered,
            ip: row.ip,
            user_agent: row.user_agent,
            host: row.host,
        };
        Ok(Self::Found(Box::new((session.try_into()?, user.try_into()?))))
    }
}
