//! Operations on second factors: one is set up, proven, removed, and waited for; and many are put under another key.

use sqlx::{Encode, Result, Sqlite, Type};

use super::super::super::second_factor::PENDING_LOGINS;
use super::super::super::{
    FactorAct, FactorChange, FactorChanged, PendingLogin, Replacement, Replacements, Reseal, Resealed, Revoked,
    SecretsOf,
};
use super::super::revocations::json;
use super::super::transaction::Transaction;
use super::Operation;
use crate::domain::event::{Actor, Event, EventKind, Origin};
use crate::domain::id::{SessionId, UserId};
use crate::domain::revocation::Reason;
use crate::domain::second_factor::proof::Proof;
use crate::domain::second_factor::sealed::RecoveryHash;
use crate::domain::token::TokenHash;

/// Judges a proof and uses it up. If it does not hold, nothing is changed.
pub(super) async fn prove(transaction: &mut Transaction<'_>, user: UserId, proof: &Proof) -> Result<bool> {
    match proof {
        Proof::NoFactor => {
            let factor: Option<i64> = sqlx::query_scalar("SELECT 1 FROM second_factors WHERE user_id = ?1")
                .bind(user)
                .fetch_optional(transaction.connection())
                .await?;
            Ok(factor.is_none())
        }
        Proof::Step(step) => {
            let sql = "UPDATE second_factors SET last_step = ?2 WHERE user_id = ?1 AND last_step < ?2";
            let used = sqlx::query(sql).bind(user).bind(step).execute(transaction.connection()).await?;
            Ok(used.rows_affected() == 1)
        }
        Proof::Recovery(hashes) => {
            let sql = "DELETE FROM recovery_codes WHERE user_id = ?1 AND hash IN (SELECT value FROM json_each(?2))";
            let used = sqlx::query(sql).bind(user).bind(listed(hashes)?).execute(transaction.connection()).await?;
            Ok(used.rows_affected() > 0)
        }
        Proof::UsedUp => Ok(true),
    }
}

/// Records that a recovery code was used, if that is what the proof was.
pub(super) async fn record_recovery(
    transaction: &mut Transaction<'_>,
    user: UserId,
    proof: &Proof,
    session: Option<SessionId>,
    origin: &Origin,
) -> Result<()> {
    if !matches!(proof, Proof::Recovery(_)) {
        return Ok(());
    }
    let event = Event::about(user, EventKind::RecoveryCodeUsed, Actor::User(user), transaction.now()).from(origin);
    transaction.record(&[Event { session, ..event }]).await
}

/// Whether a login waits for a code, and is not over.
pub(super) async fn is_pending(transaction: &mut Transaction<'_>, token: TokenHash, user: UserId) -> Result<bool> {
    let now = transaction.now();
    let pending: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM pending_logins WHERE token_hash = ?1 AND user_id = ?2 AND expires_at > ?3")
            .bind(token)
            .bind(user)
            .bind(now)
            .fetch_optional(transaction.connection())
            .await?;
    Ok(pending.is_some())
}

/// Ends a login that waited for a code.
pub(super) async fn end_pending(transaction: &mut Transaction<'_>, token: TokenHash) -> Result<()> {
    let end = sqlx::query("DELETE FROM pending_logins WHERE token_hash = ?1").bind(token);
    end.execute(transaction.connection()).await.map(drop)
}

/// Changes a user's second factor.
pub(crate) struct ChangeSecondFactor {
    pub change: FactorChange,
    pub reason: Reason,
}

impl Operation for ChangeSecondFactor {
    type Outcome = FactorChanged;

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<FactorChanged> {
        let Self { change: FactorChange { user, auth_epoch, proof, keep, act }, reason } = self;
        if !transaction.allows(reason).await? {
            return Ok(FactorChanged::NoSession(transaction.seq()));
        }
        let as_checked: Option<i64> = sqlx::query_scalar(
            "SELECT 1 FROM users WHERE id = ?1 AND (auth_epoch = ?2 AND disabled_at IS NULL OR ?2 IS NULL)",
        )
        .bind(user)
        .bind(auth_epoch)
        .fetch_optional(transaction.connection())
        .await?;
        if as_checked.is_none() {
            return Ok(FactorChanged::Superseded);
        }
        // What is missing is noticed before the proof is used up.
        if let Some(refused) = missing(transaction, *user, act).await? {
            return Ok(refused);
        }
        if let Some(proof) = proof
            && !prove(transaction, *user, proof).await?
        {
            return Ok(FactorChanged::Unproven);
        }
        make(transaction, *user, act).await?;
        let (now, session) = (transaction.now(), keep.as_ref().map(|renewal| renewal.session));
        if let Some(proof) = proof {
            record_recovery(transaction, *user, proof, session, &reason.origin).await?;
        }
        let event = Event::about(*user, act.event(), reason.by, now).from(&reason.origin);
        transaction.record(&[Event { session, ..event }]).await?;
        if !act.ends_sessions() {
            return Ok(FactorChanged::Yes(Revoked { sessions: Vec::new(), seq: transaction.seq() }));
        }
        let raise = sqlx::query("UPDATE users SET auth_epoch = auth_epoch + 1, updated_at = ?2 WHERE id = ?1");
        raise.bind(user).bind(now).execute(transaction.connection()).await?;
        if let Some(renewal) = keep {
            transaction.renew(*user, renewal, reason).await?;
        }
        transaction.end_all(*user, session, reason).await.map(FactorChanged::Yes)
    }
}

/// What an act needs and does not find.
async fn missing(transaction: &mut Transaction<'_>, user: UserId, act: &FactorAct) -> Result<Option<FactorChanged>> {
    let (found, otherwise): (Option<i64>, _) = match act {
        FactorAct::Start(..) => return Ok(None),
        FactorAct::Confirm { enrolment, begun_after, .. } => {
            let sql = "SELECT 1 FROM second_factor_enrolments WHERE user_id = ?1 AND id = ?2 AND started_at > ?3";
            let found = sqlx::query_scalar(sql).bind(user).bind(enrolment).bind(begun_after);
            (found.fetch_optional(transaction.connection()).await?, FactorChanged::EnrolmentOver)
        }
        FactorAct::RenewRecoveryCodes(_) | FactorAct::Remove => {
            let found = sqlx::query_scalar("SELECT 1 FROM second_factors WHERE user_id = ?1").bind(user);
            (found.fetch_optional(transaction.connection()).await?, FactorChanged::NoFactor)
        }
        FactorAct::RemoveIfSealed(secret) => {
            let found = sqlx::query_scalar("SELECT 1 FROM second_factors WHERE user_id = ?1 AND secret = ?2");
            let found = found.bind(user).bind(secret);
            (found.fetch_optional(transaction.connection()).await?, FactorChanged::NoFactor)
        }
    };
    Ok(if found.is_some() { None } else { Some(otherwise) })
}

async fn make(transaction: &mut Transaction<'_>, user: UserId, act: &FactorAct) -> Result<()> {
    let now = transaction.now();
    match act {
        FactorAct::Start(id, secret) => {
            sqlx::query(
                "INSERT INTO second_factor_enrolments (user_id, id, secret, started_at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (user_id) DO UPDATE
                 SET id = excluded.id, secret = excluded.secret, started_at = excluded.started_at",
            )
            .bind(user)
            .bind(id)
            .bind(secret)
            .bind(now)
            .execute(transaction.connection())
            .await?;
        }
        FactorAct::Confirm { enrolment: _, begun_after: _, step, recovery } => {
            sqlx::query(
                "INSERT INTO second_factors (user_id, secret, last_step, confirmed_at)
                 SELECT user_id, secret, ?2, ?3 FROM second_factor_enrolments WHERE user_id = ?1
                 ON CONFLICT (user_id) DO UPDATE
                 SET secret = excluded.secret, last_step = excluded.last_step, confirmed_at = excluded.confirmed_at",
            )
            .bind(user)
            .bind(step)
            .bind(now)
            .execute(transaction.connection())
            .await?;
            let over = sqlx::query("DELETE FROM second_factor_enrolments WHERE user_id = ?1").bind(user);
            over.execute(transaction.connection()).await?;
            replace_recovery_codes(transaction, user, recovery).await?;
        }
        FactorAct::RenewRecoveryCodes(recovery) => replace_recovery_codes(transaction, user, recovery).await?,
        FactorAct::Remove | FactorAct::RemoveIfSealed(_) => remove(transaction, user).await?,
    }
    Ok(())
}

/// Removes all there is about a user's second factor.
pub(super) async fn remove(transaction: &mut Transaction<'_>, user: UserId) -> Result<()> {
    for sql in [
        "DELETE FROM second_factors WHERE user_id = ?1",
        "DELETE FROM second_factor_enrolments WHERE user_id = ?1",
        "DELETE FROM recovery_codes WHERE user_id = ?1",
        "DELETE FROM pending_logins WHERE user_id = ?1",
    ] {
        sqlx::query(sql).bind(user).execute(transaction.connection()).await?;
    }
    Ok(())
}

async fn replace_recovery_codes(
    transaction: &mut Transaction<'_>,
    user: UserId,
    hashes: &[RecoveryHash],
) -> Result<()> {
    let old = sqlx::query("DELETE FROM recovery_codes WHERE user_id = ?1").bind(user);
    old.execute(transaction.connection()).await?;
    let new = "INSERT INTO recovery_codes (hash, user_id) SELECT value, ?1 FROM json_each(?2)";
    sqlx::query(new).bind(user).bind(listed(hashes)?).execute(transaction.connection()).await.map(drop)
}

fn listed(hashes: &[RecoveryHash]) -> Result<String> {
    json(&hashes.iter().map(RecoveryHash::as_str).collect::<Vec<_>>())
}

/// Keeps a login that waits for a code.
pub(crate) struct AddPendingLogin {
    pub token: TokenHash,
    pub login: PendingLogin,
}

impl Operation for AddPendingLogin {
    type Outcome = ();

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<()> {
        let Self { token, login: PendingLogin { user, auth_epoch, remembered, expires_at } } = self;
        sqlx::query(
            "DELETE FROM pending_logins WHERE token_hash IN
                 (SELECT token_hash FROM pending_logins WHERE user_id = ?1 ORDER BY expires_at DESC LIMIT -1 OFFSET ?2)",
        )
        .bind(user)
        .bind(PENDING_LOGINS - 1)
        .execute(transaction.connection())
        .await?;
        sqlx::query(
            "INSERT INTO pending_logins (token_hash, user_id, auth_epoch, remembered, expires_at)
             SELECT ?1, id, ?3, ?4, ?5 FROM users WHERE id = ?2",
        )
        .bind(token)
        .bind(user)
        .bind(auth_epoch)
        .bind(remembered)
        .bind(expires_at)
        .execute(transaction.connection())
        .await
        .map(drop)
    }
}

/// Puts secrets or recovery codes under another key.
impl Operation for Reseal {
    type Outcome = Resealed;

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<Resealed> {
        let replaced = match &self.what {
            Replacements::Secrets(SecretsOf::Enrolments, secrets) => {
                let sql = "UPDATE second_factor_enrolments SET secret = ?3 WHERE user_id = ?1 AND secret = ?2";
                replace(transaction, sql, secrets).await?
            }
            Replacements::Secrets(SecretsOf::Factors, secrets) => {
                let sql = "UPDATE second_factors SET secret = ?3 WHERE user_id = ?1 AND secret = ?2";
                replace(transaction, sql, secrets).await?
            }
            Replacements::RecoveryCodes(codes) => {
                let sql = "UPDATE recovery_codes SET hash = ?3 WHERE user_id = ?1 AND hash = ?2";
                replace(transaction, sql, codes).await?
            }
        };
        let event = self.event(replaced, transaction.now());
        Ok(Resealed { replaced, event: transaction.count_in_event(self.event, &event).await? })
    }
}

/// Replaces those that are what they were. Returns how many.
async fn replace<T>(transaction: &mut Transaction<'_>, sql: &'static str, them: &[Replacement<T>]) -> Result<u64>
where
    T: for<'q> Encode<'q, Sqlite> + Type<Sqlite> + Sync,
{
    let mut replaced = 0;
    for Replacement { user, old, new } in them {
        let update = sqlx::query(sql).bind(user).bind(old).bind(new);
        replaced += update.execute(transaction.connection()).await?.rows_affected();
    }
    Ok(replaced)
}
