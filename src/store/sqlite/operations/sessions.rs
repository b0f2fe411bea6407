//! Operations on sessions: one begins, some end, others are seen, and what ended for good goes.

use rusqlite::Result;

use super::super::super::room::{Room, make_room};
use super::super::super::{Changed, Created, Logout, NewSession, Revoked, Target};
use super::super::batch::{Batch, Live};
use super::super::writer::Operation;
use crate::domain::clock::Timestamp;
use crate::domain::event::{Actor, Event, EventKind};
use crate::domain::revocation::{Reason, Why};
use crate::domain::session::{Client, Expiry, Seen, Session};
use crate::domain::token::TokenHash;

impl Operation for NewSession {
    type Outcome = Created;

    fn apply(&self, batch: &mut Batch<'_>) -> Result<Created> {
        let Self { session, token_hash, auth_epoch, cap, replaces, rehashed, flushed } = self;
        let (user, now) = (session.user_id, batch.now());
        let as_checked = batch.exists(
            "SELECT 1 FROM users WHERE id = ?1 AND auth_epoch = ?2 AND disabled_at IS NULL",
            (user, auth_epoch),
        )?;
        if !as_checked {
            return Ok(Created::Superseded);
        }
        let by = Actor::User(user);
        let ip = Some(session.client.ip.clone());
        let mut replaced = Vec::with_capacity(replaces.len());
        for token in replaces {
            replaced.extend(batch.live_by_token(token, None)?);
        }
        let mut live = batch.rows(
            "SELECT number, id, token_hash, user_id, last_seen_at FROM sessions
             WHERE user_id = ?1 AND archived = 0 AND revoked_at IS NULL AND idle_expires_at > ?2 AND expires_at > ?2
             ORDER BY last_seen_at DESC, number DESC",
            (user, now),
            |row| Ok((Live::read(row)?, row.get(4)?)),
        )?;
        live.retain(|(session, _)| !replaces.contains(&session.token_hash));
        let stored: Vec<_> = live.iter().map(|(session, seen)| (session.token_hash, *seen)).collect();
        let over = match make_room(&stored, cap.saturating_sub(1), *flushed) {
            Room::By(over) => over,
            // The only process that has any of this in memory is the one that asks.
            Room::Undecided(sessions) => return Ok(Created::Unflushed { sessions, seq: batch.seq() }),
        };
        batch.end(&replaced, &Reason { by, requested_by: None, why: Why::Replaced, ip: ip.clone() })?;
        live.retain(|(session, _)| over.contains(&session.token_hash));
        let over: Vec<_> = live.into_iter().map(|(session, _)| session).collect();
        batch.end(&over, &Reason { by: Actor::System, requested_by: None, why: Why::Cap, ip: None })?;
        // Each dead session is archived once, so lists stay as short as the cap and a login costs no more for it.
        batch.run(
            "UPDATE sessions SET archived = 1
             WHERE user_id = ?1 AND archived = 0
                 AND (revoked_at IS NOT NULL OR idle_expires_at <= ?2 OR expires_at <= ?2)",
            (user, now),
        )?;
        insert(batch, session, token_hash)?;
        if let Some(hash) = rehashed {
            batch.run("UPDATE users SET password_hash = ?2 WHERE id = ?1", (user, hash))?;
        }
        let (event, user_agent) =
            (Event::about(user, EventKind::LoginOk, by, now), Some(session.client.user_agent.clone()));
        batch.event(&Event { session: Some(session.id), ip, user_agent, ..event })?;
        Ok(Created::Yes(batch.seq()))
    }
}

fn insert(batch: &Batch<'_>, session: &Session, token: &TokenHash) -> Result<()> {
    let Session { id, user_id, created_at, last_seen_at, expiry, remembered, client } = session;
    let Expiry { idle, absolute } = expiry;
    let Client { ip, user_agent, host } = client;
    let inserted = batch.run(
        "INSERT INTO sessions (id, token_hash, user_id, created_at, last_seen_at, idle_expires_at, expires_at,
             remembered, ip, user_agent, host)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        (id, token, user_id, created_at, last_seen_at, idle, absolute, remembered, ip, user_agent, host),
    );
    inserted.map(|_| ())
}

impl Operation for Logout {
    type Outcome = Revoked;

    fn apply(&self, batch: &mut Batch<'_>) -> Result<Revoked> {
        let Self { token, user, ip } = self;
        let Some(live) = batch.live_by_token(token, *user)? else {
            return Ok(Revoked { sessions: Vec::new(), seq: batch.seq() });
        };
        let by = Actor::User(live.user);
        batch.end(&[live], &Reason { by, requested_by: None, why: Why::Logout, ip: ip.clone() })
    }
}

/// Ends sessions by id or by user.
pub(in crate::store::sqlite) struct Revoke {
    pub target: Target,
    pub reason: Reason,
}

impl Operation for Revoke {
    type Outcome = Changed;

    fn apply(&self, batch: &mut Batch<'_>) -> Result<Changed> {
        if !batch.allows(&self.reason)? {
            return Ok(Changed::NoSession(batch.seq()));
        }
        let revoked = match &self.target {
            Target::Id(session, user) => {
                let live = batch.rows(
                    "SELECT number, id, token_hash, user_id FROM sessions
                     WHERE id = ?1 AND (?2 IS NULL OR user_id = ?2)
                         AND revoked_at IS NULL AND idle_expires_at > ?3 AND expires_at > ?3",
                    (session, user, batch.now()),
                    Live::read,
                )?;
                batch.end(&live, &self.reason)
            }
            Target::All(user) => {
                batch.run("UPDATE users SET auth_epoch = auth_epoch + 1 WHERE id = ?1", [user])?;
                batch.end_all(*user, None, &self.reason)
            }
            Target::Others(user, keep) => batch.end_all(*user, Some(*keep), &self.reason),
        };
        revoked.map(Changed::Yes)
    }
}

/// Stores last-seen times.
pub(in crate::store::sqlite) struct Touch {
    pub seen: Vec<Seen>,
}

impl Operation for Touch {
    type Outcome = Vec<(TokenHash, Timestamp)>;

    fn apply(&self, batch: &mut Batch<'_>) -> Result<Self::Outcome> {
        let mut moved = Vec::with_capacity(self.seen.len());
        for Seen { token_hash, at, idle_until } in &self.seen {
            let deadline = batch.rows(
                "UPDATE sessions SET last_seen_at = max(last_seen_at, ?2),
                     idle_expires_at = min(expires_at, max(idle_expires_at, ?3))
                 WHERE token_hash = ?1 AND revoked_at IS NULL AND idle_expires_at > ?4 AND expires_at > ?4
                 RETURNING idle_expires_at",
                (token_hash, at, idle_until, batch.now()),
                |row| row.get(0),
            )?;
            moved.extend(deadline.into_iter().map(|deadline| (*token_hash, deadline)));
        }
        Ok(moved)
    }
}

/// Deletes what ended for good, and the log's entries every cache has long applied.
pub(in crate::store::sqlite) struct Purge {
    pub before: Timestamp,
    pub limit: u32,
}

impl Operation for Purge {
    type Outcome = u64;

    fn apply(&self, batch: &mut Batch<'_>) -> Result<u64> {
        let deleted = batch.run(
            "DELETE FROM sessions WHERE number IN
                 (SELECT number FROM sessions WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
            (self.before, self.limit),
        )?;
        batch.run(
            "DELETE FROM revocations WHERE seq IN (SELECT seq FROM revocations WHERE seq < (SELECT max(seq) FROM revocations)
                 ORDER BY seq LIMIT ?2) AND at < ?1",
            (self.before, self.limit),
        )?;
        Ok(deleted as u64)
    }
}

/// Deletes old events. They are numbered in the order in which they were written, give or take moments.
pub(in crate::store::sqlite) struct PurgeEvents {
    pub before: Timestamp,
    pub limit: u32,
}

impl Operation for PurgeEvents {
    type Outcome = u64;

    fn apply(&self, batch: &mut Batch<'_>) -> Result<u64> {
        let deleted = batch.run(
            "DELETE FROM events WHERE number IN (SELECT number FROM events WHERE number > 0 ORDER BY number LIMIT ?2) AND at < ?1",
            (self.before, self.limit),
        )?;
        Ok(deleted as u64)
    }
}
