//! Reads about second factors: what is in force, set up and waited for, and all of it page by page.

use super::super::rows::{EnrolmentRow, FactorRow, PendingLoginRow};
use super::super::{Enrolment, Factor, PendingLogin, Result, SecretsOf};
use super::readers::Readers;
use crate::domain::id::UserId;
use crate::domain::second_factor::sealed::{KeyId, RecoveryHash, SealedSecret};
use crate::domain::token::TokenHash;

/// A user's second factor, if one is in force.
pub(super) async fn in_force(readers: &Readers, user: UserId) -> Result<Option<Factor>> {
    let factor = sqlx::query_as(
        "SELECT secret, last_step, confirmed_at,
             (SELECT count(*) FROM recovery_codes WHERE user_id = ?1) AS recovery_codes
         FROM second_factors WHERE user_id = ?1",
    );
    let found: Option<FactorRow> = readers.one(factor.bind(user)).await?;
    Ok(found.map(Factor::from))
}

/// The second factor that a user has begun to set up.
pub(super) async fn enrolment(readers: &Readers, user: UserId) -> Result<Option<Enrolment>> {
    let enrolment = sqlx::query_as("SELECT id, secret, started_at FROM second_factor_enrolments WHERE user_id = ?1");
    let found: Option<EnrolmentRow> = readers.one(enrolment.bind(user)).await?;
    Ok(found.map(Enrolment::from))
}

/// The names of the keys of those in force.
pub(super) async fn keys(readers: &Readers) -> Result<Vec<KeyId>> {
    // One look-up for each.
    let keys = sqlx::query_as(
        "WITH RECURSIVE keys (name) AS (
             SELECT min(substr(secret, 1, 8)) FROM second_factors
             UNION ALL
             SELECT (SELECT min(substr(secret, 1, 8)) FROM second_factors WHERE substr(secret, 1, 8) > keys.name)
             FROM keys WHERE keys.name IS NOT NULL)
         SELECT name FROM keys WHERE name IS NOT NULL",
    );
    let keys: Vec<(KeyId,)> = readers.all(keys).await?;
    Ok(keys.into_iter().map(|(key,)| key).collect())
}

/// The login that waits for a code, by its token.
pub(super) async fn pending_login(readers: &Readers, token: &TokenHash) -> Result<Option<PendingLogin>> {
    let login =
        sqlx::query_as("SELECT user_id, auth_epoch, remembered, expires_at FROM pending_logins WHERE token_hash = ?1");
    let found: Option<PendingLoginRow> = readers.one(login.bind(token)).await?;
    Ok(found.map(PendingLogin::from))
}

/// A page of secrets.
pub(super) async fn secrets(
    readers: &Readers,
    of: SecretsOf,
    after: Option<UserId>,
    limit: u32,
) -> Result<Vec<(UserId, SealedSecret)>> {
    let sql = match of {
        SecretsOf::Enrolments => {
            "SELECT user_id, secret FROM second_factor_enrolments WHERE user_id > coalesce(?1, '') ORDER BY user_id LIMIT ?2"
        }
        SecretsOf::Factors => {
            "SELECT user_id, secret FROM second_factors WHERE user_id > coalesce(?1, '') ORDER BY user_id LIMIT ?2"
        }
    };
    readers.all(sqlx::query_as(sql).bind(after).bind(limit)).await
}

/// A page of recovery codes.
pub(super) async fn recovery_hashes(
    readers: &Readers,
    after: Option<RecoveryHash>,
    limit: u32,
) -> Result<Vec<(UserId, RecoveryHash)>> {
    let hashes = "SELECT user_id, hash FROM recovery_codes WHERE hash > coalesce(?1, '') ORDER BY hash LIMIT ?2";
    readers.all(sqlx::query_as(hashes).bind(after).bind(limit)).await
}
