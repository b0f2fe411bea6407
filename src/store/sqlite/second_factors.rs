//! Looks second factors up, and logins that wait for a code.

use super::super::rows::{EnrolmentRow, FactorRow, PendingLoginRow};
use super::super::{Enrolment, Factor, PendingLogin, Result};
use super::readers::Readers;
use crate::domain::id::UserId;
use crate::domain::second_factor::sealed::KeyId;
use crate::domain::token::TokenHash;

/// A user's second factor in force.
pub(super) async fn factor(readers: &Readers, user: UserId) -> Result<Option<Factor>> {
    let factor = sqlx::query_as(
        "SELECT secret, last_step, confirmed_at,
             (SELECT count(*) FROM recovery_codes WHERE user_id = ?1) AS recovery_codes
         FROM second_factors WHERE user_id = ?1",
    );
    let found: Option<FactorRow> = readers.one(factor.bind(user)).await?;
    Ok(found.map(Factor::from))
}

/// A user's second factor that waits for its first code.
pub(super) async fn enrolment(readers: &Readers, user: UserId) -> Result<Option<Enrolment>> {
    let enrolment = sqlx::query_as("SELECT id, secret, started_at FROM second_factor_enrolments WHERE user_id = ?1");
    let found: Option<EnrolmentRow> = readers.one(enrolment.bind(user)).await?;
    Ok(found.map(Enrolment::from))
}

/// The keys under which secrets are encrypted.
pub(super) async fn keys(readers: &Readers) -> Result<Vec<KeyId>> {
    let keys = sqlx::query_as("SELECT DISTINCT substr(secret, 1, 8) FROM second_factors");
    let keys: Vec<(KeyId,)> = readers.all(keys).await?;
    Ok(keys.into_iter().map(|(key,)| key).collect())
}

/// The login that waits for its code under a token.
pub(super) async fn pending_login(readers: &Readers, token: &TokenHash) -> Result<Option<PendingLogin>> {
    let login =
        sqlx::query_as("SELECT user_id, auth_epoch, remembered, expires_at FROM pending_logins WHERE token_hash = ?1");
    let found: Option<PendingLoginRow> = readers.one(login.bind(token)).await?;
    Ok(found.map(PendingLogin::from))
}
