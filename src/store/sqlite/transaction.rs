//! One transaction for many operations: what they may do in it, and the log entry it ends with.

use sqlx::sqlite::SqliteConnection;
use sqlx::{FromRow, Result};

use super::super::{EventNumber, Renewal, Revoked};
use super::revocations::{self, json};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::event::{Event, EventKind};
use crate::domain::id::{SessionId, UserId};
use crate::domain::revocation::{Reason, Revocation, Seq, Why};
use crate::domain::token::TokenHash;

/// A transaction under way. After an error its owner rolls it back.
pub(super) struct Transaction<'c> {
    connection: &'c mut SqliteConnection,
    /// The log's newest number when the transaction began.
    head: Seq,
    /// When it began: decides what is live, and is stamped on what changes.
    now: Timestamp,
    /// The sessions that ended so far. If there are any, the transaction takes a number.
    ended: Revocation,
}

/// A live session, about to end.
#[derive(FromRow)]
pub(super) struct Live {
    number: i64,
    id: SessionId,
    /// The hash of its token.
    pub(super) token_hash: TokenHash,
    /// Its stored last-seen time.
    pub(super) last_seen_at: Timestamp,
}

impl<'c> Transaction<'c> {
    /// Begins, as the only writer, and then reads the clock, so that a session that expired while an operation waited
    /// is over.
    pub(super) async fn begin(connection: &'c mut SqliteConnection, clock: &dyn Clock) -> Result<Self> {
        let head: Seq = sqlx::query_scalar("BEGIN IMMEDIATE; SELECT coalesce(max(seq), 0) FROM revocations")
            .fetch_one(&mut *connection)
            .await?;
        let ended = Revocation { seq: Seq(head.0 + 1), ..Revocation::default() };
        Ok(Self { connection, head, now: clock.now(), ended })
    }

    /// When it began.
    pub(super) const fn now(&self) -> Timestamp {
        self.now
    }

    /// The connection, to run a statement on.
    pub(super) const fn connection(&mut self) -> &mut SqliteConnection {
        self.connection
    }

    /// Writes lines of the audit.
    pub(super) async fn record(&mut self, events: &[Event]) -> Result<()> {
        let rows = events.iter().map(|event| {
            let Event { at, kind, actor, user, session, ip, detail, name, actor_name, user_agent, request_id, count } =
                event;
            let (user, session) = (user.as_ref().map(UserId::as_str), session.as_ref().map(SessionId::as_str));
            let what = (at.millis(), kind.as_str(), user, session, actor.as_str());
            (what, ip, detail, name, actor_name, user_agent, request_id, count)
        });
        sqlx::query(
            "INSERT INTO events (at, kind, user_id, session_id, actor, ip, detail, name, actor_name, user_agent, request_id,
                 count)
             SELECT value ->> '$[0][0]', value ->> '$[0][1]', value ->> '$[0][2]', value ->> '$[0][3]', value ->> '$[0][4]',
                 value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7
             FROM jsonb_each(?1)",
        )
        .bind(json(&rows.collect::<Vec<_>>())?)
        .execute(&mut *self.connection)
        .await
        .map(drop)
    }

    /// Adds the count of `more` to the event of the act that it is a part of, which is written with the first part that
    /// changes something. Neither is about one user.
    pub(super) async fn count_in_event(
        &mut self,
        event: Option<EventNumber>,
        more: &Event,
    ) -> Result<Option<EventNumber>> {
        let Event { at, kind, actor, ip, detail, actor_name, user_agent, request_id, count, .. } = more;
        if let Some(EventNumber(number)) = event {
            let add = sqlx::query("UPDATE events SET count = count + ?2 WHERE number = ?1").bind(number).bind(count);
            add.execute(&mut *self.connection).await?;
            return Ok(event);
        }
        if *count == 0 {
            return Ok(None);
        }
        let number = sqlx::query_scalar(
            "INSERT INTO events (at, kind, actor, ip, detail, actor_name, user_agent, request_id, count)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) RETURNING number",
        )
        .bind(at)
        .bind(kind.as_str())
        .bind(actor.as_str())
        .bind(ip)
        .bind(detail.as_deref())
        .bind(actor_name)
        .bind(user_agent)
        .bind(request_id)
        .bind(count)
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(Some(EventNumber(number)))
    }

    /// The number with which everything is settled that has ended by now.
    pub(super) const fn seq(&self) -> Seq {
        if self.has_ended_anything() { self.ended.seq } else { self.head }
    }

    const fn has_ended_anything(&self) -> bool {
        !self.ended.sessions.is_empty() || !self.ended.users.is_empty()
    }

    /// Whether a change may be made: one that a session asked for only while that session is live, and one that takes an
    /// administrator only while its user is one. Others may always.
    pub(super) async fn allows(&mut self, reason: &Reason) -> Result<bool> {
        let Some(requested_by) = &reason.requested_by else { return Ok(true) };
        let Some(session) = self.live_by_token(requested_by).await? else { return Ok(false) };
        if !reason.as_administrator {
            return Ok(true);
        }
        let admin = "SELECT admin FROM users WHERE id = (SELECT user_id FROM sessions WHERE number = ?1)";
        let admin: Option<bool> =
            sqlx::query_scalar(admin).bind(session.number).fetch_optional(&mut *self.connection).await?;
        Ok(admin == Some(true))
    }

    /// The session that a token leads to, if it is live.
    pub(super) async fn live_by_token(&mut self, token: &TokenHash) -> Result<Option<Live>> {
        sqlx::query_as(
            "SELECT number, id, token_hash, last_seen_at FROM sessions
             WHERE token_hash = ?1 AND revoked_at IS NULL AND idle_expires_at > ?2 AND expires_at > ?2",
        )
        .bind(token)
        .bind(self.now)
        .fetch_optional(&mut *self.connection)
        .await
    }

    /// The session of that id, if it is live and, where a user is named, theirs.
    pub(super) async fn live_by_id(&mut self, session: SessionId, user: Option<UserId>) -> Result<Option<Live>> {
        sqlx::query_as(
            "SELECT number, id, token_hash, last_seen_at FROM sessions
             WHERE id = ?1 AND (?2 IS NULL OR user_id = ?2)
                 AND revoked_at IS NULL AND idle_expires_at > ?3 AND expires_at > ?3",
        )
        .bind(session)
        .bind(user)
        .bind(self.now)
        .fetch_optional(&mut *self.connection)
        .await
    }

    /// Those of these sessions that are live.
    pub(super) async fn live_by_ids(&mut self, sessions: &[SessionId]) -> Result<Vec<Live>> {
        sqlx::query_as(
            "SELECT number, id, token_hash, last_seen_at FROM sessions
             WHERE id IN (SELECT value FROM json_each(?1))
                 AND revoked_at IS NULL AND idle_expires_at > ?2 AND expires_at > ?2",
        )
        .bind(json(&sessions.iter().map(SessionId::as_str).collect::<Vec<_>>())?)
        .bind(self.now)
        .fetch_all(&mut *self.connection)
        .await
    }

    /// A user's live sessions, the one seen last first.
    pub(super) async fn live_by_user(&mut self, user: UserId) -> Result<Vec<Live>> {
        sqlx::query_as(
            "SELECT number, id, token_hash, last_seen_at FROM sessions
             WHERE user_id = ?1 AND archived = 0 AND revoked_at IS NULL AND idle_expires_at > ?2 AND expires_at > ?2
             ORDER BY last_seen_at DESC, number DESC",
        )
        .bind(user)
        .bind(self.now)
        .fetch_all(&mut *self.connection)
        .await
    }

    /// Ends sessions one by one.
    pub(super) async fn end(&mut self, live: &[Live], reason: &Reason) -> Result<Revoked> {
        self.ended.sessions.extend(live.iter().map(|session| session.token_hash));
        self.write_tombstones(live, reason, true).await
    }

    /// Ends selected sessions one by one, without an event for each.
    pub(super) async fn end_selected(&mut self, live: &[Live], reason: &Reason) -> Result<Revoked> {
        self.ended.sessions.extend(live.iter().map(|session| session.token_hash));
        self.write_tombstones(live, reason, false).await
    }

    /// Has every cache ask anew about a user.
    pub(super) fn ask_anew(&mut self, user: UserId) {
        // An operation is about one user, and may say so more than once.
        if self.ended.users.last() != Some(&user) {
            self.ended.users.push(user);
        }
    }

    /// Ends every session of a user but `keep`, and has every cache ask anew about that user, whether or not one is found: a
    /// cache may have one that was archived while the clock ran ahead.
    pub(super) async fn end_all(&mut self, user: UserId, keep: Option<SessionId>, reason: &Reason) -> Result<Revoked> {
        self.ask_anew(user);
        self.end_found(user, keep, reason).await
    }

    /// The same, but does nothing where no session is found. Those that have expired are ended as well, without an event and
    /// not as a part of the outcome, since they are live again where the clock ran ahead and is set right.
    pub(super) async fn end_found(
        &mut self,
        user: UserId,
        keep: Option<SessionId>,
        reason: &Reason,
    ) -> Result<Revoked> {
        let mut live = self.live_by_user(user).await?;
        live.retain(|session| Some(session.id) != keep);
        let expired = sqlx::query(
            "UPDATE sessions SET revoked_at = ?4, revoked_by = ?5, revoked_why = ?6, revoked_seq = ?3
             WHERE user_id = ?1 AND archived = 0 AND revoked_at IS NULL AND id IS NOT ?2
                 AND (idle_expires_at <= ?4 OR expires_at <= ?4)",
        )
        .bind(user)
        .bind(keep)
        .bind(self.ended.seq)
        .bind(self.now)
        .bind(reason.by.as_str())
        .bind(reason.why.as_str())
        .execute(&mut *self.connection)
        .await?;
        if !live.is_empty() || expired.rows_affected() > 0 {
            self.ask_anew(user);
        }
        self.write_tombstones(&live, reason, true).await
    }

    async fn write_tombstones(&mut self, live: &[Live], reason: &Reason, one_by_one: bool) -> Result<Revoked> {
        let revoked = Revoked { sessions: live.iter().map(|session| session.id).collect(), seq: self.seq() };
        if live.is_empty() {
            return Ok(revoked);
        }
        let Reason { by, requested_by: _, as_administrator: _, why, origin } = reason;
        let kind = why.event();
        sqlx::query(
            "UPDATE sessions SET revoked_at = ?2, revoked_by = ?3, revoked_why = ?4, revoked_seq = ?5
             WHERE number IN (SELECT value FROM json_each(?1));
             INSERT INTO events (at, kind, user_id, session_id, actor, ip, detail, actor_name, user_agent, request_id)
             SELECT ?2, ?6, user_id, id, ?3, ?7, ?8, ?9, ?10, ?11 FROM sessions
             WHERE ?12 AND number IN (SELECT value FROM json_each(?1))",
        )
        .bind(json(&live.iter().map(|session| session.number).collect::<Vec<_>>())?)
        .bind(self.now)
        .bind(by.as_str())
        .bind(why.as_str())
        .bind(self.ended.seq)
        .bind(kind.as_str())
        .bind(&origin.ip)
        .bind((kind == EventKind::Revoked).then_some(why.as_str()))
        .bind(&origin.actor_name)
        .bind(&origin.user_agent)
        .bind(&origin.request_id)
        .bind(one_by_one)
        .execute(&mut *self.connection)
        .await?;
        Ok(revoked)
    }

    /// Gives a live session of a user a new token, and the old token a tombstone of its own.
    pub(super) async fn renew(&mut self, user: UserId, renewal: &Renewal, reason: &Reason) -> Result<()> {
        let Renewal { session, token_hash, tombstone, idle_until } = renewal;
        let Some(Live { number, token_hash: old, .. }) = self.live_by_id(*session, Some(user)).await? else {
            return Ok(());
        };
        sqlx::query(
            "UPDATE sessions SET token_hash = ?2, last_seen_at = max(last_seen_at, ?3),
                 idle_expires_at = min(expires_at, max(idle_expires_at, ?4))
             WHERE number = ?1",
        )
        .bind(number)
        .bind(token_hash)
        .bind(self.now)
        .bind(idle_until)
        .execute(&mut *self.connection)
        .await?;
        sqlx::query(
            "INSERT INTO sessions (id, token_hash, user_id, created_at, last_seen_at, idle_expires_at, expires_at,
                 remembered, ip, user_agent, host, revoked_at, revoked_by, revoked_why, revoked_seq, archived)
             SELECT ?2, ?3, user_id, created_at, last_seen_at, idle_expires_at, expires_at,
                 remembered, ip, user_agent, host, ?4, ?5, ?6, ?7, 1
             FROM sessions WHERE number = ?1",
        )
        .bind(number)
        .bind(tombstone)
        .bind(old)
        .bind(self.now)
        .bind(reason.by.as_str())
        .bind(Why::Renewed.as_str())
        .bind(self.ended.seq)
        .execute(&mut *self.connection)
        .await?;
        self.ended.sessions.push(old);
        Ok(())
    }

    /// Writes what ended to the log, as the last step, and commits. After an error the outcome is unknown.
    pub(super) async fn commit(self) -> Result<Option<Revocation>> {
        if !self.has_ended_anything() {
            sqlx::query("COMMIT").execute(self.connection).await?;
            return Ok(None);
        }
        sqlx::query("INSERT INTO revocations (seq, at, what) VALUES (?1, ?2, ?3); COMMIT")
            .bind(self.ended.seq)
            .bind(self.now)
            .bind(revocations::written(&self.ended)?)
            .execute(self.connection)
            .await?;
        Ok(Some(self.ended))
    }
}
