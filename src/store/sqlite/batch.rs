//! One transaction for many operations: what they may do in it, and the log entry it ends with.

use rusqlite::{Connection, Params, Row, Transaction, TransactionBehavior};

use super::super::{Renewal, Revoked};
use super::revocations;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::event::{Event, EventKind};
use crate::domain::id::{SessionId, UserId};
use crate::domain::revocation::{Reason, Revocation, Seq, Why};
use crate::domain::token::TokenHash;

/// A transaction under way. Dropped, it is rolled back.
pub(super) struct Batch<'c> {
    transaction: Transaction<'c>,
    /// The log's newest number when the transaction began.
    head: Seq,
    /// When it began: decides what is live, and is stamped on what changes.
    now: Timestamp,
    /// What ended so far, under the number that the batch takes if anything does.
    ended: Revocation,
}

/// A live session, about to end.
pub(super) struct Live {
    number: i64,
    id: SessionId,
    /// What it is found by.
    pub(super) token_hash: TokenHash,
    /// Whose it is.
    pub(super) user: UserId,
}

impl Live {
    /// Reads `number, id, token_hash, user_id`.
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { number: row.get(0)?, id: row.get(1)?, token_hash: row.get(2)?, user: row.get(3)? })
    }
}

impl<'c> Batch<'c> {
    /// Begins, as the only writer, and reads the clock then: what expired while an operation waited is over.
    pub(super) fn begin(connection: &'c mut Connection, clock: &dyn Clock) -> rusqlite::Result<Self> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let now = clock.now();
        let head = revocations::head(&transaction)?;
        let ended = Revocation { seq: Seq(head.0 + 1), ..Revocation::default() };
        Ok(Self { transaction, head, now, ended })
    }

    /// When it began.
    pub(super) const fn now(&self) -> Timestamp {
        self.now
    }

    /// Runs a statement and returns how many rows it changed.
    pub(super) fn run(&self, sql: &'static str, params: impl Params) -> rusqlite::Result<usize> {
        self.transaction.prepare_cached(sql)?.execute(params)
    }

    /// Runs a statement that returns rows.
    pub(super) fn rows<T>(
        &self,
        sql: &'static str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        self.transaction.prepare_cached(sql)?.query_map(params, read)?.collect()
    }

    /// Whether a query finds anything.
    pub(super) fn exists(&self, sql: &'static str, params: impl Params) -> rusqlite::Result<bool> {
        self.transaction.prepare_cached(sql)?.exists(params)
    }

    /// Writes a line of the audit.
    pub(super) fn event(&self, event: &Event) -> rusqlite::Result<()> {
        let Event { at, kind, actor, user, session, ip, detail, name, user_agent, count } = event;
        self.run(
            "INSERT INTO events (at, kind, user_id, session_id, actor, ip, detail, name, user_agent, count)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            (at, kind.as_str(), user, session, actor.as_str(), ip, detail, name, user_agent, count),
        )
        .map(|_| ())
    }

    /// Once this number is settled, so is everything that has ended by now.
    pub(super) const fn seq(&self) -> Seq {
        if self.has_ended_anything() { self.ended.seq } else { self.head }
    }

    const fn has_ended_anything(&self) -> bool {
        !self.ended.sessions.is_empty() || !self.ended.users.is_empty()
    }

    /// Whether what was asked for through a session may be done: only while that is live. What is not asked for through
    /// any may.
    pub(super) fn allows(&self, reason: &Reason) -> rusqlite::Result<bool> {
        match &reason.requested_by {
            Some(requested_by) => self.live_by_token(requested_by, None).map(|live| live.is_some()),
            None => Ok(true),
        }
    }

    /// The session that a token leads to, if it is live and, where somebody is named, theirs.
    pub(super) fn live_by_token(&self, token: &TokenHash, user: Option<UserId>) -> rusqlite::Result<Option<Live>> {
        let found = self.rows(
            "SELECT number, id, token_hash, user_id FROM sessions
             WHERE token_hash = ?1 AND (?2 IS NULL OR user_id = ?2)
                 AND revoked_at IS NULL AND idle_expires_at > ?3 AND expires_at > ?3",
            (token, user, self.now),
            Live::read,
        );
        found.map(|mut live| live.pop())
    }

    /// Ends sessions, each for itself.
    pub(super) fn end(&mut self, live: &[Live], reason: &Reason) -> rusqlite::Result<Revoked> {
        self.ended.sessions.extend(live.iter().map(|session| session.token_hash));
        self.bring_to_an_end(live, reason)
    }

    /// Gives a live session of a user a new token, and the old token a tombstone of its own.
    pub(super) fn renew(&mut self, user: UserId, renewal: &Renewal, reason: &Reason) -> rusqlite::Result<()> {
        let Renewal { session, token_hash, tombstone, idle_until } = renewal;
        let live = self.rows(
            "SELECT number, id, token_hash, user_id FROM sessions
             WHERE id = ?1 AND user_id = ?2 AND revoked_at IS NULL AND idle_expires_at > ?3 AND expires_at > ?3",
            (session, user, self.now),
            Live::read,
        )?;
        for Live { number, token_hash: old, .. } in live {
            self.run(
                "UPDATE sessions SET token_hash = ?2, last_seen_at = max(last_seen_at, ?3),
                     idle_expires_at = min(expires_at, max(idle_expires_at, ?4))
                 WHERE number = ?1",
                (number, token_hash, self.now, idle_until),
            )?;
            self.run(
                "INSERT INTO sessions (id, token_hash, user_id, created_at, last_seen_at, idle_expires_at, expires_at,
                     remembered, ip, user_agent, host, revoked_at, revoked_by, revoked_why, revoked_seq, archived)
                 SELECT ?2, ?3, user_id, created_at, last_seen_at, idle_expires_at, expires_at,
                     remembered, ip, user_agent, host, ?4, ?5, ?6, ?7, 1
                 FROM sessions WHERE number = ?1",
                (number, tombstone, old, self.now, reason.by.as_str(), Why::Renewed.as_str(), self.ended.seq),
            )?;
            self.ended.sessions.push(old);
        }
        Ok(())
    }

    /// Ends every live session of a user but `keep`, and makes every cache ask anew about that user.
    pub(super) fn end_all(
        &mut self,
        user: UserId,
        keep: Option<SessionId>,
        reason: &Reason,
    ) -> rusqlite::Result<Revoked> {
        let live = self.rows(
            "SELECT number, id, token_hash, user_id FROM sessions
             WHERE user_id = ?1 AND archived = 0 AND id IS NOT ?2
                 AND revoked_at IS NULL AND idle_expires_at > ?3 AND expires_at > ?3",
            (user, keep, self.now),
            Live::read,
        )?;
        if !live.is_empty() {
            self.ended.users.push(user);
        }
        self.bring_to_an_end(&live, reason)
    }

    fn bring_to_an_end(&mut self, live: &[Live], reason: &Reason) -> rusqlite::Result<Revoked> {
        let Reason { by, requested_by: _, why, ip } = reason;
        let kind = why.event();
        let detail = (kind == EventKind::Revoked).then_some(why.as_str());
        for session in live {
            self.run(
                "UPDATE sessions SET revoked_at = ?2, revoked_by = ?3, revoked_why = ?4, revoked_seq = ?5
                 WHERE number = ?1",
                (session.number, self.now, by.as_str(), why.as_str(), self.ended.seq),
            )?;
            let event = Event::about(session.user, kind, *by, self.now);
            self.event(&Event { session: Some(session.id), ip: ip.clone(), detail, ..event })?;
        }
        Ok(Revoked { sessions: live.iter().map(|session| session.id).collect(), seq: self.seq() })
    }

    /// Writes what ended to the log, as the last step, and commits. After an error nobody can tell whether it did.
    pub(super) fn commit(self) -> rusqlite::Result<Option<Revocation>> {
        let numbered = self.has_ended_anything();
        if numbered {
            revocations::append(&self.transaction, &self.ended, self.now)?;
        }
        self.transaction.commit()?;
        Ok(numbered.then_some(self.ended))
    }
}
