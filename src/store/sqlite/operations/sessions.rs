//! Operations on sessions: creating, revoking, touching and purging them.

use sqlx::Result;

use super::super::super::room::{Room, make_room};
use super::super::super::{
    Changed, Created, EventNumber, EventPurge, EventsPurged, NewSession, Selected, SelectedEnd, Target, selected_end,
};
use super::super::revocations::json;
use super::super::transaction::Transaction;
use super::Operation;
use super::second_factors::{end_pending, is_pending, prove, record_recovery};
use super::throttles::listed;
use crate::domain::clock::Timestamp;
use crate::domain::event::{Actor, Event, EventKind, Origin};
use crate::domain::revocation::{Reason, Why};
use crate::domain::session::{Client, Expiry, Seen, Session};
use crate::domain::token::TokenHash;

impl Operation for NewSession {
    type Outcome = Created;

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<Created> {
        let Self {
            session,
            token_hash: _,
            auth_epoch,
            cap,
            replaces,
            rehashed: _,
            proof,
            pending,
            resets: _,
            unflushed,
        } = self;
        let (user, now) = (session.user_id, transaction.now());
        let as_checked: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM users WHERE id = ?1 AND auth_epoch = ?2 AND disabled_at IS NULL")
                .bind(user)
                .bind(auth_epoch)
                .fetch_optional(transaction.connection())
                .await?;
        if as_checked.is_none() {
            return Ok(Created::Superseded);
        }
        if let Some(token) = pending
            && !is_pending(transaction, *token, user).await?
        {
            return Ok(Created::Superseded);
        }
        let by = Actor::User(user);
        let origin = session.client.origin();
        let mut replaced = Vec::with_capacity(replaces.len());
        for token in replaces {
            replaced.extend(transaction.live_by_token(token).await?);
        }
        let mut live = transaction.live_by_user(user).await?;
        live.retain(|session| !replaces.contains(&session.token_hash));
        let stored: Vec<_> = live.iter().map(|session| (session.token_hash, session.last_seen_at)).collect();
        let over = match make_room(&stored, cap.saturating_sub(1), *unflushed) {
            Room::By(over) => over,
            // The only process that has last-seen times in memory is the one that asks.
            Room::Undecided(sessions) => return Ok(Created::Unflushed { sessions, seq: transaction.seq() }),
        };
        // Nothing was changed before, and nothing that follows is refused.
        if !prove(transaction, user, proof).await? {
            return Ok(Created::Unproven);
        }
        if let Some(token) = pending {
            end_pending(transaction, *token).await?;
        }
        transaction.end(&replaced, &Reason::unasked(by, Why::Replaced, origin.clone())).await?;
        live.retain(|session| over.contains(&session.token_hash));
        transaction.end(&live, &over_the_cap()).await?;
        insert(transaction, self).await?;
        let event = Event::about(user, EventKind::LoginOk, by, now).from(&origin);
        transaction.record(&[Event { session: Some(session.id), ..event }]).await?;
        record_recovery(transaction, user, proof, Some(session.id), &origin).await?;
        Ok(Created::Yes(transaction.seq()))
    }
}

/// Inserts the session, and notes the login with its user. What the tries that led to it counted is reset.
async fn insert(transaction: &mut Transaction<'_>, new: &NewSession) -> Result<()> {
    let Session { id, user_id, created_at, last_seen_at, expiry, remembered, client } = &new.session;
    let Expiry { idle, absolute } = expiry;
    let Client { ip, user_agent, host, request_id: _ } = client;
    // Each dead session is archived once, so lists stay as short as the cap and a login costs no more for it. The parameters
    // are called `$n`, since the driver (sqlx 0.9) leaves later ones unset where statements of one text skip numbers of `?n`.
    sqlx::query(
        "UPDATE sessions SET archived = 1
         WHERE user_id = $3 AND archived = 0
             AND (revoked_at IS NOT NULL OR idle_expires_at <= $12 OR expires_at <= $12);
         INSERT INTO sessions (id, token_hash, user_id, created_at, last_seen_at, idle_expires_at, expires_at,
             remembered, ip, user_agent, host)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);
         UPDATE users SET last_login_at = $12, password_hash = coalesce($13, password_hash) WHERE id = $3;
         DELETE FROM throttles WHERE key IN (SELECT unhex(value) FROM json_each($14))",
    )
    .bind(id)
    .bind(new.token_hash)
    .bind(user_id)
    .bind(created_at)
    .bind(last_seen_at)
    .bind(idle)
    .bind(absolute)
    .bind(remembered)
    .bind(ip)
    .bind(user_agent)
    .bind(host)
    .bind(transaction.now())
    .bind(&new.rehashed)
    .bind(listed(&new.resets)?)
    .execute(transaction.connection())
    .await
    .map(drop)
}

/// Why the sessions over the cap end.
fn over_the_cap() -> Reason {
    Reason::unasked(Actor::System, Why::Cap, Origin::default())
}

/// Ends sessions by id or by user.
pub(crate) struct Revoke {
    pub target: Target,
    pub reason: Reason,
}

impl Operation for Revoke {
    type Outcome = Changed;

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<Changed> {
        let Self { target, reason } = self;
        if !transaction.allows(reason).await? {
            return Ok(Changed::NoSession(transaction.seq()));
        }
        let revoked = match target {
            Target::Id(session, user) => {
                let live: Vec<_> = transaction.live_by_id(*session, *user).await?.into_iter().collect();
                transaction.end(&live, reason).await
            }
            Target::All(user) => {
                let raise = sqlx::query("UPDATE users SET auth_epoch = auth_epoch + 1 WHERE id = ?1").bind(user);
                raise.execute(transaction.connection()).await?;
                transaction.end_all(*user, None, reason).await
            }
            Target::Others(user, keep) => transaction.end_found(*user, Some(*keep), reason).await,
        };
        revoked.map(Changed::Yes)
    }
}

/// Ends selected sessions.
pub(crate) struct RevokeSelected {
    pub selected: Selected,
    pub reason: Reason,
}

impl Operation for RevokeSelected {
    type Outcome = SelectedEnd;

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<SelectedEnd> {
        let Self { selected: Selected { sessions, event }, reason } = self;
        if !transaction.allows(reason).await? {
            return Ok(SelectedEnd { changed: Changed::NoSession(transaction.seq()), event: *event });
        }
        let live = transaction.live_by_ids(sessions).await?;
        let revoked = transaction.end_selected(&live, reason).await?;
        let ended = selected_end(reason, revoked.sessions.len(), transaction.now());
        let event = transaction.count_in_event(*event, &ended).await?;
        Ok(SelectedEnd { changed: Changed::Yes(revoked), event })
    }
}

/// Stores last-seen times.
pub(crate) struct Touch {
    pub seen: Vec<Seen>,
}

impl Operation for Touch {
    type Outcome = Vec<(TokenHash, Timestamp)>;

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<Self::Outcome> {
        let now = transaction.now();
        let seen = self.seen.iter();
        let seen = seen.map(|seen| (seen.token_hash.to_hex(), seen.at.millis(), seen.idle_until.millis()));
        sqlx::query_as(
            "UPDATE sessions SET last_seen_at = max(last_seen_at, seen.at),
                 idle_expires_at = min(expires_at, max(idle_expires_at, seen.idle_until))
             FROM (SELECT unhex(value ->> 0) AS token_hash, max(value ->> 1) AS at, max(value ->> 2) AS idle_until
                 FROM jsonb_each(?1) GROUP BY 1) AS seen
             WHERE sessions.token_hash = seen.token_hash
                 AND revoked_at IS NULL AND archived = 0 AND idle_expires_at > ?2 AND expires_at > ?2
             RETURNING token_hash, idle_expires_at",
        )
        .bind(json(&seen.collect::<Vec<_>>())?)
        .bind(now)
        .fetch_all(transaction.connection())
        .await
    }
}

/// Deletes sessions whose tombstones are not needed any more, log entries that every cache has long applied, and what was
/// begun and not finished.
pub(crate) struct Purge {
    pub before: Timestamp,
    pub limit: u32,
}

impl Operation for Purge {
    type Outcome = u64;

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<u64> {
        let deleted = sqlx::query(
            "DELETE FROM sessions WHERE number IN
                 (SELECT number FROM sessions WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
        )
        .bind(self.before)
        .bind(self.limit)
        .execute(transaction.connection())
        .await?;
        // They are small, and there may be more of them than sessions that expire, such as those of users who were edited.
        sqlx::query(
            "DELETE FROM revocations WHERE seq IN (SELECT seq FROM revocations WHERE seq < (SELECT max(seq) FROM revocations)
                 ORDER BY seq LIMIT 16 * ?2) AND at < ?1",
        )
        .bind(self.before)
        .bind(self.limit)
        .execute(transaction.connection())
        .await?;
        for sql in [
            "DELETE FROM pending_logins WHERE token_hash IN
                 (SELECT token_hash FROM pending_logins WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
            "DELETE FROM second_factor_enrolments WHERE user_id IN
                 (SELECT user_id FROM second_factor_enrolments WHERE started_at < ?1 ORDER BY started_at LIMIT ?2)",
        ] {
            sqlx::query(sql).bind(self.before).bind(self.limit).execute(transaction.connection()).await?;
        }
        Ok(deleted.rows_affected())
    }
}

/// Deletes old events.
pub(crate) struct PurgeEvents(pub EventPurge);

impl Operation for PurgeEvents {
    type Outcome = EventsPurged;

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<EventsPurged> {
        let EventPurge { before, after: EventNumber(after), limit } = self.0;
        let looked = sqlx::query_as(
            "SELECT count(*), count(*) FILTER (WHERE at < ?2), max(number)
             FROM (SELECT number, at FROM events WHERE number > ?1 ORDER BY number LIMIT ?3)",
        );
        let looked = looked.bind(after).bind(before).bind(limit).fetch_one(transaction.connection()).await?;
        let (looked, old, last): (i64, i64, Option<i64>) = looked;
        if old == 0 {
            return Ok(self.0.outcome(0, looked, last));
        }
        let delete = sqlx::query("DELETE FROM events WHERE number > ?1 AND number <= ?2 AND at < ?3");
        let deleted = delete.bind(after).bind(last).bind(before).execute(transaction.connection()).await?;
        Ok(self.0.outcome(deleted.rows_affected(), looked, last))
    }
}
