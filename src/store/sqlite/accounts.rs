//! Reads about users as administrators see them.

use super::super::Result;
use super::super::rows::{AccountRow, UserRow};
use super::readers::Readers;
use crate::domain::clock::Timestamp;
use crate::domain::id::UserId;
use crate::domain::user::{Account, User};

/// The columns of an account.
pub(super) const ACCOUNT: &str =
    "SELECT id AS user_id, username, email, name, admin, disabled_at, created_at AS user_created_at,
         updated_at AS user_updated_at, must_change_password, last_login_at,
         EXISTS (SELECT 1 FROM second_factors WHERE user_id = users.id) AS second_factor
     FROM users WHERE id = ?1 AND deleted_at IS NULL";

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

/// A user.
pub(super) async fn account(readers: &Readers, user: UserId) -> Result<Option<Account>> {
    let found: Option<AccountRow> = readers.one(sqlx::query_as(ACCOUNT).bind(user)).await?;
    Ok(found.map(Account::from))
}

/// Users in the order in which they were made.
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
    let accounts: Vec<AccountRow> = readers.all(accounts.bind(at).bind(id).bind(limit)).await?;
    Ok(accounts.into_iter().map(Account::from).collect())
}
