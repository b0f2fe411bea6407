//! Operations on second factors: one is set up, proven, removed, and waited for; and many are put under another key.

use sqlx::{query, query_as};

use super::super::rows::{EnrolmentRow, FactorRow, PendingLoginRow};
use super::super::second_factor::PENDING_LOGINS;
use super::super::{
    Enrolment, Factor, FactorAct, FactorChange, FactorChanged, PendingLogin, Replacement, Replacements, Reseal,
    Resealed, Result, Revoked, SecretsOf,
};
use super::change::{Change, GivenSeq, Operation};
use super::pool::Pool;
use crate::domain::clock::Timestamp;
use crate::domain::event::{Actor, Event, EventKind, Origin};
use crate::domain::id::{SessionId, UserId};
use crate::domain::revocation::Reason;
use crate::domain::second_factor::proof::Proof;
use crate::domain::second_factor::sealed::{KeyId, RecoveryHash, SealedSecret};
use crate::domain::token::TokenHash;

/// Judges a proof and uses it up, under the lock of the user. If it does not hold, nothing is changed.
pub(super) async fn prove(change: &mut Change<'_>, user: UserId, proof: &Proof) -> Result<bool> {
    match proof {
        Proof::NoFactor => has_factor(change, user).await.map(|has| !has),
        Proof::Step(step) => {
            let used = query("UPDATE second_factors SET last_step = $2 WHERE user_id = $1 AND last_step < $2");
            Ok(change.connection().execute(used.bind(user).bind(*step)).await? == 1)
        }
        Proof::Recovery(hashes) => {
            let used = query("DELETE FROM recovery_codes WHERE user_id = $1 AND hash = ANY ($2)");
            Ok(change.connection().execute(used.bind(user).bind(hashes.clone())).await? > 0)
        }
        Proof::UsedUp => Ok(true),
    }
}

async fn has_factor(change: &mut Change<'_>, user: UserId) -> Result<bool> {
    let factor = query_as("SELECT 1 FROM second_factors WHERE user_id = $1").bind(user);
    let factor: Option<(i32,)> = change.connection().row(factor).await?;
    Ok(factor.is_some())
}

/// Records that a recovery code was used, if that is what the proof was.
pub(super) fn record_recovery(
    change: &mut Change<'_>,
    user: UserId,
    proof: &Proof,
    session: Option<SessionId>,
    origin: &Origin,
) {
    if matches!(proof, Proof::Recovery(_)) {
        let event = Event::about(user, EventKind::RecoveryCodeUsed, Actor::User(user), change.now()).from(origin);
        change.event(Event { session, ..event });
    }
}

/// Whether a login waits for a code, and is not over.
pub(super) async fn is_pending(change: &mut Change<'_>, token: TokenHash, user: UserId) -> Result<bool> {
    let pending =
        query_as("SELECT 1 FROM pending_logins WHERE token_hash = $1 AND user_id = $2 AND expires_at > $3 FOR UPDATE");
    let pending = pending.bind(token).bind(user).bind(change.now());
    let pending: Option<(i32,)> = change.connection().row(pending).await?;
    Ok(pending.is_some())
}

/// Ends a login that waited for a code.
pub(super) async fn end_pending(change: &mut Change<'_>, token: TokenHash) -> Result<()> {
    let end = query("DELETE FROM pending_logins WHERE token_hash = $1").bind(token);
    change.connection().execute(end).await.map(drop)
}

/// Changes a user's second factor.
pub(super) struct ChangeSecondFactor {
    pub(super) change: FactorChange,
    pub(super) reason: Reason,
}

impl Operation for ChangeSecondFactor {
    type Outcome = FactorChanged;

    async fn apply(&self, change: &mut Change<'_>) -> Result<GivenSeq<FactorChanged>> {
        let Self { change: FactorChange { user, auth_epoch, proof, keep, act }, reason } = self;
        // The user before the sessions, as everywhere, and held to the end.
        let known = query_as("SELECT auth_epoch, disabled_at FROM users WHERE id = $1 FOR NO KEY UPDATE");
        let known: Option<(i64, Option<Timestamp>)> = change.connection().row(known.bind(*user)).await?;
        let live = change.live_by_user(*user, reason.requested_by).await?;
        if !change.allows(&live, reason).await? {
            return Ok(Box::new(FactorChanged::NoSession));
        }
        let Some((epoch, disabled)) = known else { return Ok(Box::new(|_| FactorChanged::Superseded)) };
        if auth_epoch.is_some_and(|checked| checked != epoch || disabled.is_some()) {
            return Ok(Box::new(|_| FactorChanged::Superseded));
        }
        // What is missing is noticed before the proof is used up.
        if let Some(refused) = missing(change, *user, act).await? {
            return Ok(Box::new(|_| refused));
        }
        if let Some(proof) = proof
            && !prove(change, *user, proof).await?
        {
            return Ok(Box::new(|_| FactorChanged::Unproven));
        }
        make(change, *user, act).await?;
        let (now, kept) = (change.now(), keep.as_ref().map(|renewal| renewal.session));
        if let Some(proof) = proof {
            record_recovery(change, *user, proof, kept, &reason.origin);
        }
        let event = Event::about(*user, act.event(), reason.by, now).from(&reason.origin);
        change.event(Event { session: kept, ..event });
        if !act.ends_sessions() {
            return Ok(Box::new(|seq| FactorChanged::Yes(Revoked { sessions: Vec::new(), seq })));
        }
        let raise = query("UPDATE users SET auth_epoch = auth_epoch + 1, updated_at = $2 WHERE id = $1");
        change.connection().execute(raise.bind(*user).bind(now)).await?;
        let (kept, others): (Vec<_>, Vec<_>) =
            live.into_iter().filter(|session| session.user == *user).partition(|session| Some(session.id) == kept);
        for (session, renewal) in kept.iter().filter(|session| !session.over).zip(keep) {
            change.renew(session, renewal, reason).await?;
        }
        let sessions = change.end_all(*user, &others, reason);
        Ok(Box::new(|seq| FactorChanged::Yes(Revoked { sessions, seq })))
    }
}

/// What an act needs and does not find.
async fn missing(change: &mut Change<'_>, user: UserId, act: &FactorAct) -> Result<Option<FactorChanged>> {
    let (found, otherwise) = match act {
        FactorAct::Start(..) => return Ok(None),
        FactorAct::Confirm { enrolment, begun_after, .. } => {
            let found =
                query_as("SELECT 1 FROM second_factor_enrolments WHERE user_id = $1 AND id = $2 AND started_at > $3");
            let found = found.bind(user).bind(*enrolment).bind(*begun_after);
            let found: Option<(i32,)> = change.connection().row(found).await?;
            (found.is_some(), FactorChanged::EnrolmentOver)
        }
        FactorAct::RenewRecoveryCodes(_) | FactorAct::Remove => {
            (has_factor(change, user).await?, FactorChanged::NoFactor)
        }
        FactorAct::RemoveIfSealed(secret) => {
            let found = query_as("SELECT 1 FROM second_factors WHERE user_id = $1 AND secret = $2");
            let found: Option<(i32,)> = change.connection().row(found.bind(user).bind(secret.clone())).await?;
            (found.is_some(), FactorChanged::NoFactor)
        }
    };
    Ok(if found { None } else { Some(otherwise) })
}

async fn make(change: &mut Change<'_>, user: UserId, act: &FactorAct) -> Result<()> {
    let now = change.now();
    match act {
        FactorAct::Start(id, secret) => {
            let start = query(
                "INSERT INTO second_factor_enrolments (user_id, id, secret, started_at) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (user_id) DO UPDATE
                 SET id = excluded.id, secret = excluded.secret, started_at = excluded.started_at",
            );
            let start = start.bind(user).bind(*id).bind(secret.clone()).bind(now);
            change.connection().execute(start).await?;
        }
        FactorAct::Confirm { enrolment: _, begun_after: _, step, recovery } => {
            let confirm = query(
                "INSERT INTO second_factors (user_id, secret, last_step, confirmed_at)
                 SELECT user_id, secret, $2, $3 FROM second_factor_enrolments WHERE user_id = $1
                 ON CONFLICT (user_id) DO UPDATE
                 SET secret = excluded.secret, last_step = excluded.last_step, confirmed_at = excluded.confirmed_at",
            );
            change.connection().execute(confirm.bind(user).bind(*step).bind(now)).await?;
            let over = query("DELETE FROM second_factor_enrolments WHERE user_id = $1").bind(user);
            change.connection().execute(over).await?;
            replace_recovery_codes(change, user, recovery).await?;
        }
        FactorAct::RenewRecoveryCodes(recovery) => replace_recovery_codes(change, user, recovery).await?,
        FactorAct::Remove | FactorAct::RemoveIfSealed(_) => remove(change, user).await?,
    }
    Ok(())
}

/// Removes all there is about a user's second factor.
pub(super) async fn remove(change: &mut Change<'_>, user: UserId) -> Result<()> {
    for sql in [
        "DELETE FROM second_factors WHERE user_id = $1",
        "DELETE FROM second_factor_enrolments WHERE user_id = $1",
        "DELETE FROM recovery_codes WHERE user_id = $1",
        "DELETE FROM pending_logins WHERE user_id = $1",
    ] {
        change.connection().execute(query(sql).bind(user)).await?;
    }
    Ok(())
}

async fn replace_recovery_codes(change: &mut Change<'_>, user: UserId, hashes: &[RecoveryHash]) -> Result<()> {
    let old = query("DELETE FROM recovery_codes WHERE user_id = $1").bind(user);
    change.connection().execute(old).await?;
    let new = query("INSERT INTO recovery_codes (hash, user_id) SELECT unnest($2::text[]), $1");
    change.connection().execute(new.bind(user).bind(hashes.to_vec())).await.map(drop)
}

/// Keeps a login that waits for a code.
pub(super) struct AddPendingLogin {
    pub(super) token: TokenHash,
    pub(super) login: PendingLogin,
}

impl Operation for AddPendingLogin {
    type Outcome = ();

    async fn apply(&self, change: &mut Change<'_>) -> Result<GivenSeq<()>> {
        let Self { token, login: PendingLogin { user, auth_epoch, remembered, expires_at } } = self;
        // So that of many at once no more are kept.
        let lock = query("SELECT 1 FROM users WHERE id = $1 FOR NO KEY UPDATE");
        change.connection().execute(lock.bind(*user)).await?;
        let room = query(
            "DELETE FROM pending_logins WHERE token_hash = ANY (ARRAY
                 (SELECT token_hash FROM pending_logins WHERE user_id = $1 ORDER BY expires_at DESC OFFSET $2))",
        );
        change.connection().execute(room.bind(*user).bind(PENDING_LOGINS - 1)).await?;
        let add = query(
            "INSERT INTO pending_logins (token_hash, user_id, auth_epoch, remembered, expires_at)
             SELECT $1, id, $3, $4, $5 FROM users WHERE id = $2",
        );
        let add = add.bind(*token).bind(*user).bind(*auth_epoch).bind(*remembered).bind(*expires_at);
        change.connection().execute(add).await?;
        Ok(Box::new(|_| ()))
    }
}

/// Puts secrets or recovery codes under another key.
impl Operation for Reseal {
    type Outcome = Resealed;

    async fn apply(&self, change: &mut Change<'_>) -> Result<GivenSeq<Resealed>> {
        // What is under way for one of them is over then: no confirmation brings a secret into force as it was before.
        let lock = query("SELECT 1 FROM users WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE");
        change.connection().execute(lock.bind(self.what.users())).await?;
        let replaced = match &self.what {
            Replacements::Secrets(SecretsOf::Enrolments, secrets) => {
                let (users, old, new) = columns(secrets);
                let replace = query(
                    "UPDATE second_factor_enrolments AS e SET secret = w.new
                     FROM unnest($1::text[], $2::bytea[], $3::bytea[]) AS w (user_id, old, new)
                     WHERE e.user_id = w.user_id AND e.secret = w.old",
                );
                change.connection().execute(replace.bind(users).bind(old).bind(new)).await?
            }
            Replacements::Secrets(SecretsOf::Factors, secrets) => {
                let (users, old, new) = columns(secrets);
                let replace = query(
                    "UPDATE second_factors AS f SET secret = w.new
                     FROM unnest($1::text[], $2::bytea[], $3::bytea[]) AS w (user_id, old, new)
                     WHERE f.user_id = w.user_id AND f.secret = w.old",
                );
                change.connection().execute(replace.bind(users).bind(old).bind(new)).await?
            }
            Replacements::RecoveryCodes(codes) => {
                let (users, old, new) = columns(codes);
                let replace = query(
                    "UPDATE recovery_codes AS c SET hash = w.new
                     FROM unnest($1::text[], $2::text[], $3::text[]) AS w (user_id, old, new)
                     WHERE c.user_id = w.user_id AND c.hash = w.old",
                );
                change.connection().execute(replace.bind(users).bind(old).bind(new)).await?
            }
        };
        let event = change.count_in_event(self.event, self.event(replaced, change.now())).await?;
        Ok(Box::new(move |_| Resealed { replaced, event }))
    }
}

/// Replacements, column by column.
fn columns<T: Clone>(them: &[Replacement<T>]) -> (Vec<UserId>, Vec<T>, Vec<T>) {
    let (old, new) = them.iter().map(|one| (one.old.clone(), one.new.clone())).unzip();
    (them.iter().map(|one| one.user).collect(), old, new)
}

/// A user's second factor, if one is in force.
pub(super) async fn in_force(readers: &Pool, user: UserId) -> Result<Option<Factor>> {
    let factor = query_as(
        "SELECT secret, last_step, confirmed_at,
             (SELECT count(*) FROM recovery_codes WHERE user_id = $1) AS recovery_codes
         FROM second_factors WHERE user_id = $1",
    );
    let found: Option<FactorRow> = readers.row(factor.bind(user)).await?;
    Ok(found.map(Factor::from))
}

/// The second factor that a user has begun to set up.
pub(super) async fn enrolment(readers: &Pool, user: UserId) -> Result<Option<Enrolment>> {
    let enrolment = query_as("SELECT id, secret, started_at FROM second_factor_enrolments WHERE user_id = $1");
    let found: Option<EnrolmentRow> = readers.row(enrolment.bind(user)).await?;
    Ok(found.map(Enrolment::from))
}

/// The names of the keys of those in force.
pub(super) async fn keys(readers: &Pool) -> Result<Vec<KeyId>> {
    // One look-up for each.
    let keys = query_as(
        "WITH RECURSIVE keys (name) AS (
             (SELECT substr(secret, 1, 8) FROM second_factors ORDER BY substr(secret, 1, 8) LIMIT 1)
             UNION ALL
             SELECT (SELECT substr(secret, 1, 8) FROM second_factors WHERE substr(secret, 1, 8) > keys.name
                 ORDER BY substr(secret, 1, 8) LIMIT 1)
             FROM keys WHERE keys.name IS NOT NULL)
         SELECT name FROM keys WHERE name IS NOT NULL",
    );
    let keys: Vec<(KeyId,)> = readers.rows(keys).await?;
    Ok(keys.into_iter().map(|(key,)| key).collect())
}

/// The login that waits for a code, by its token.
pub(super) async fn pending_login(readers: &Pool, token: TokenHash) -> Result<Option<PendingLogin>> {
    let login =
        query_as("SELECT user_id, auth_epoch, remembered, expires_at FROM pending_logins WHERE token_hash = $1");
    let found: Option<PendingLoginRow> = readers.row(login.bind(token)).await?;
    Ok(found.map(PendingLogin::from))
}

/// A page of secrets.
pub(super) async fn secrets(
    readers: &Pool,
    of: SecretsOf,
    after: Option<UserId>,
    limit: u32,
) -> Result<Vec<(UserId, SealedSecret)>> {
    let sql = match of {
        SecretsOf::Enrolments => {
            "SELECT user_id, secret FROM second_factor_enrolments WHERE user_id > coalesce($1, '') ORDER BY user_id LIMIT $2"
        }
        SecretsOf::Factors => {
            "SELECT user_id, secret FROM second_factors WHERE user_id > coalesce($1, '') ORDER BY user_id LIMIT $2"
        }
    };
    readers.rows(query_as(sql).bind(after).bind(i64::from(limit))).await
}

/// A page of recovery codes.
pub(super) async fn recovery_hashes(
    readers: &Pool,
    after: Option<RecoveryHash>,
    limit: u32,
) -> Result<Vec<(UserId, RecoveryHash)>> {
    let hashes = "SELECT user_id, hash FROM recovery_codes WHERE hash > coalesce($1, '') ORDER BY hash LIMIT $2";
    readers.rows(query_as(hashes).bind(after).bind(i64::from(limit))).await
}
