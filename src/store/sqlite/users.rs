//! Looks users up: what they log in with, and what is known of them.

use super::super::rows::{AccountRow, CredentialsRow, ExportedUserRow, UserRow};
use super::super::{ExportedUser, Result};
use super::operations::accounts::{ACCOUNT, HAS_USERS};
use super::readers::Readers;
use crate::domain::clock::Timestamp;
use crate::domain::id::UserId;
use crate::domain::password::PasswordHash;
use crate::domain::text::LoginName;
use crate::domain::user::{Account, Credentials, User};

/// What a name that was typed logs in with, if a user has it.
pub(super) async fn credentials(readers: &Readers, name: &LoginName) -> Result<Option<Credentials>> {
    let (username, email) = match name.clone() {
        LoginName::Username(key) => (Some(key), None),
        LoginName::Email(key) => (None, Some(key)),
        LoginName::Impossible(_) => return Ok(None),
    };
    let credentials = sqlx::query_as(
        "SELECT id AS user_id, username, email, name, admin, disabled_at, created_at AS user_created_at,
             updated_at AS user_updated_at, password_hash, auth_epoch, must_change_password, password_expires_at
         FROM users WHERE (username_key = ?1 OR email_key = ?2) AND deleted_at IS NULL",
    );
    let found: Option<CredentialsRow> = readers.one(credentials.bind(username).bind(email)).await?;
    Ok(found.map(Credentials::from))
}

/// What a user logs in with.
pub(super) async fn credentials_of(readers: &Readers, user: UserId) -> Result<Option<Credentials>> {
    let credentials = sqlx::query_as(
        "SELECT id AS user_id, username, email, name, admin, disabled_at, created_at AS user_created_at,
             updated_at AS user_updated_at, password_hash, auth_epoch, must_change_password, password_expires_at
         FROM users WHERE id = ?1 AND deleted_at IS NULL",
    );
    let found: Option<CredentialsRow> = readers.one(credentials.bind(user)).await?;
    Ok(found.map(Credentials::from))
}

/// At most `limit` users with their hashes and second factors, in the order of their ids.
pub(super) async fn to_export(readers: &Readers, after: Option<UserId>, limit: u32) -> Result<Vec<ExportedUser>> {
    let users = sqlx::query_as(
        "SELECT u.id AS user_id, u.username, u.email, u.name, u.admin, u.disabled_at, u.created_at AS user_created_at,
             u.updated_at AS user_updated_at, u.password_hash, u.auth_epoch, u.must_change_password,
             u.password_expires_at, f.secret AS totp_secret
         FROM users AS u LEFT JOIN second_factors AS f ON f.user_id = u.id
         WHERE u.deleted_at IS NULL AND u.id > coalesce(?1, '') ORDER BY u.id LIMIT ?2",
    );
    let found: Vec<ExportedUserRow> = readers.all(users.bind(after).bind(limit)).await?;
    Ok(found.into_iter().map(ExportedUser::from).collect())
}

/// The first hash of the kinds that were made elsewhere, from a text on.
pub(super) async fn foreign_hash(readers: &Readers, from: &str) -> Result<Option<PasswordHash>> {
    // The first condition is that of the index.
    let first =
        sqlx::query_as("SELECT min(password_hash) FROM users WHERE password_hash >= 'a' AND password_hash >= ?1");
    let found: Option<(Option<PasswordHash>,)> = readers.one(first.bind(from.to_owned())).await?;
    Ok(found.and_then(|(hash,)| hash))
}

/// Whether there is an administrator who can log in, and not just until a password expires.
pub(super) async fn has_administrator(readers: &Readers) -> Result<bool> {
    let any = sqlx::query_as(
        "SELECT EXISTS (SELECT 1 FROM users
             WHERE admin AND disabled_at IS NULL AND deleted_at IS NULL AND password_hash <> '!'
                 AND password_expires_at IS NULL)",
    );
    let found: Option<(bool,)> = readers.one(any).await?;
    Ok(found.is_some_and(|(any,)| any))
}

/// Whether there is any user, also one who was deleted.
pub(super) async fn has_users(readers: &Readers) -> Result<bool> {
    let found = readers.one(sqlx::query_as(HAS_USERS)).await?;
    Ok(found.is_some_and(|(any,)| any))
}

/// Every user, by username.
pub(super) async fn users(readers: &Readers) -> Result<Vec<User>> {
    let users = sqlx::query_as(
        "SELECT id AS user_id, username, email, name, admin, disabled_at, created_at AS user_created_at,
             updated_at AS user_updated_at
         FROM users WHERE deleted_at IS NULL ORDER BY username_key",
    );
    let users: Vec<UserRow> = readers.all(users).await?;
    Ok(users.into_iter().map(User::from).collect())
}

/// A user as administrators see them.
pub(super) async fn account(readers: &Readers, user: UserId) -> Result<Option<Account>> {
    let found: Option<AccountRow> = readers.one(sqlx::query_as(ACCOUNT).bind(user)).await?;
    Ok(found.map(Account::from))
}

/// Some users in the order in which they were made.
pub(super) async fn accounts(
    readers: &Readers,
    after: Option<(Timestamp, UserId)>,
    limit: u32,
) -> Result<Vec<Account>> {
    let accounts = sqlx::query_as(
        "SELECT id AS user_id, username, email, name, admin, disabled_at, created_at AS user_created_at,
             updated_at AS user_updated_at, must_change_password, last_login_at,
             EXISTS (SELECT 1 FROM second_factors WHERE user_id = users.id) AS second_factor
         FROM users WHERE deleted_at IS NULL AND (created_at, id) > (?1, ?2)
         ORDER BY created_at, id LIMIT ?3",
    );
    let (at, id) = after.map_or((Timestamp::MIN, String::new()), |(at, id)| (at, id.to_string()));
    let accounts = accounts.bind(at).bind(id).bind(limit);
    let accounts: Vec<AccountRow> = readers.all(accounts).await?;
    Ok(accounts.into_iter().map(Account::from).collect())
}
