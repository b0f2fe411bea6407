//! One transaction that changes something: what it may do, and the audit and the log entry that it ends with.

use std::collections::HashMap;

use futures_util::future::{join, try_join_all};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::super::{Renewal, Result};
use super::columns::{Columns, NO_HEAD};
use super::connection::Params;
use super::pool::{Lease, Pool, within};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::event::{Event, EventKind};
use crate::domain::id::{SessionId, UserId};
use crate::domain::revocation::{Reason, Seq, Why};
use crate::domain::token::TokenHash;

/// A whole operation. What it comes to may tell a number, which is only known at the end of the transaction.
pub(super) trait Operation: Sync {
    /// What it comes to.
    type Outcome: Send;

    /// Does it. An error undoes the transaction, or closes the connection, so that nothing of it is durable.
    fn apply(&self, change: &mut Change<'_>) -> impl Future<Output = Result<Told<Self::Outcome>>> + Send;
}

/// What an operation comes to, given the number to be settled before anybody is told.
pub(super) type Told<T> = Box<dyn FnOnce(Seq) -> T + Send>;

/// Runs an operation in a transaction. After an error nobody can tell whether it was committed.
pub(super) async fn commit<O: Operation>(pool: &Pool, clock: &dyn Clock, operation: O) -> Result<O::Outcome> {
    within(async {
        let mut change = Change { lease: pool.take().await?, begun: false, now: clock.now(), ended: Ended::default() };
        match operation.apply(&mut change).await {
            Ok(told) => Ok(told(change.commit().await?)),
            Err(error) => {
                change.lease.roll_back().await;
                Err(error)
            }
        }
    })
    .await
}

/// A transaction under way.
pub(super) struct Change<'p> {
    lease: Lease<'p>,
    begun: bool,
    now: Timestamp,
    ended: Ended,
}

/// What ended so far, and what is to be said about it.
#[derive(Default)]
struct Ended {
    sessions: Vec<(Live, Tombstone)>,
    /// Which of them are told to caches one by one.
    tokens: Vec<TokenHash>,
    /// Whose sessions are in doubt as a whole.
    users: Vec<UserId>,
    /// Of which sessions replicas are to store when they saw them.
    flush: Vec<TokenHash>,
    events: Vec<Event>,
}

/// Who ended a session and why, as stored.
struct Tombstone {
    by: String,
    why: &'static str,
}

/// A session that can be live, and stays what it is until this transaction ends it: its row is locked.
#[derive(Clone, Copy)]
pub(super) struct Live {
    pub(super) number: i64,
    pub(super) id: SessionId,
    pub(super) token_hash: TokenHash,
    pub(super) user: UserId,
    /// Its idle timeout has just passed, so it is not live; but a last-seen time may be on its way that would make it so.
    /// It is ended with the others, and nobody is told.
    pub(super) over: bool,
}

impl Live {
    /// Whether this is the live session of that token.
    pub(super) fn is(&self, token: TokenHash) -> bool {
        !self.over && self.token_hash == token
    }
}

impl Change<'_> {
    /// When it began.
    pub(super) const fn now(&self) -> Timestamp {
        self.now
    }

    /// Runs a statement. The first one takes the transaction's beginning along.
    pub(super) async fn query(&mut self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>> {
        let connection = &self.lease.connection;
        if std::mem::replace(&mut self.begun, true) {
            return connection.query(sql, params).await;
        }
        connection.prepared(sql).await?;
        let (begun, rows) = join(connection.run("BEGIN"), connection.query(sql, params)).await;
        begun?;
        rows
    }

    /// Runs statements that do not depend on one another's answers, in their order.
    pub(super) async fn execute_all(&mut self, statements: &[(&'static str, Params<'_>)]) -> Result<()> {
        let connection = &self.lease.connection;
        for (sql, _) in statements {
            connection.prepared(sql).await?;
        }
        if !std::mem::replace(&mut self.begun, true) {
            connection.run("BEGIN").await?;
        }
        try_join_all(statements.iter().map(|(sql, params)| connection.execute(sql, params))).await.map(drop)
    }

    /// Locks the live sessions that `tokens` lead to, each only if it belongs to the user at the same place in `users`,
    /// where one is named. Everybody locks in the order of numbers, so nobody waits for two who wait for each other.
    pub(super) async fn live_by_token(
        &mut self,
        tokens: &[TokenHash],
        users: &[Option<UserId>],
    ) -> Result<HashMap<TokenHash, Live>> {
        let now = self.now;
        let rows = self
            .query(
                "SELECT s.number, s.id, s.token_hash, s.user_id, s.idle_expires_at <= $3
                 FROM unnest($1::bytea[], $2::text[]) AS asked (token_hash, user_id)
                 JOIN sessions AS s ON s.token_hash = asked.token_hash
                 WHERE (asked.user_id IS NULL OR asked.user_id = s.user_id)
                     AND s.revoked_at IS NULL AND s.idle_expires_at > $4 AND s.expires_at > $3
                 ORDER BY s.number FOR UPDATE OF s",
                &[&tokens, &users, &now, &just_now(now)],
            )
            .await?;
        rows.iter().map(|row| live(row).map(|live| (live.token_hash, live))).collect()
    }

    /// Locks the live session of that id, if it belongs to `user` where one is named, and the one a change is asked for
    /// through.
    pub(super) async fn live_by_id(
        &mut self,
        id: SessionId,
        user: Option<UserId>,
        requested_by: Option<TokenHash>,
    ) -> Result<Vec<Live>> {
        let now = self.now;
        let rows = self
            .query(
                "SELECT number, id, token_hash, user_id, idle_expires_at <= $3 FROM sessions
                 WHERE (id = $1 AND ($5::text IS NULL OR user_id = $5) OR token_hash = $2)
                     AND revoked_at IS NULL AND idle_expires_at > $4 AND expires_at > $3
                 ORDER BY number FOR UPDATE",
                &[&id, &requested_by, &now, &just_now(now), &user],
            )
            .await?;
        rows.iter().map(live).collect()
    }

    /// Locks every live session of a user, and the one a change is asked for through.
    pub(super) async fn live_by_user(&mut self, user: UserId, requested_by: Option<TokenHash>) -> Result<Vec<Live>> {
        let now = self.now;
        let rows = self
            .query(
                "SELECT number, id, token_hash, user_id, idle_expires_at <= $3 FROM sessions
                 WHERE (user_id = $1 AND NOT archived OR token_hash = $2)
                     AND revoked_at IS NULL AND idle_expires_at > $4 AND expires_at > $3
                 ORDER BY number FOR UPDATE",
                &[&user, &requested_by, &now, &just_now(now)],
            )
            .await?;
        rows.iter().map(live).collect()
    }

    /// Writes a line of the audit.
    pub(super) fn event(&mut self, event: Event) {
        self.ended.events.push(event);
    }

    /// Asks every replica to store when it saw these sessions.
    pub(super) fn flush(&mut self, sessions: &[TokenHash]) {
        self.ended.flush.extend(sessions);
    }

    /// Ends sessions, each for itself.
    pub(super) fn end(&mut self, sessions: &[Live], reason: &Reason) -> Vec<SessionId> {
        self.ended.tokens.extend(sessions.iter().map(|session| session.token_hash));
        self.bring_to_an_end(sessions, reason)
    }

    /// Gives a live session a new token, and the old token a tombstone of its own.
    pub(super) async fn renew(&mut self, session: &Live, renewal: &Renewal, reason: &Reason) -> Result<()> {
        let (Renewal { session: _, token_hash, tombstone, idle_until }, now) = (renewal, self.now);
        self.query(
            "UPDATE sessions SET token_hash = $2, last_seen_at = greatest(last_seen_at, $3),
                 idle_expires_at = least(expires_at, greatest(idle_expires_at, $4))
             WHERE number = $1",
            &[&session.number, token_hash, &now, idle_until],
        )
        .await?;
        // Whoever reads sees it with its number, which it gets with the others that end.
        let rows = self
            .query(
                "INSERT INTO sessions (id, token_hash, user_id, created_at, last_seen_at, idle_expires_at, expires_at,
                     remembered, ip, user_agent, host, archived)
                 SELECT $2::text, $3::bytea, user_id, created_at, last_seen_at, idle_expires_at, expires_at,
                     remembered, ip, user_agent, host, true
                 FROM sessions WHERE number = $1
                 RETURNING number",
                &[&session.number, tombstone, &session.token_hash],
            )
            .await?;
        let number = Columns::of_first(&rows, "a session has no row for its old token")?.next()?;
        let by = reason.by.as_str().to_owned();
        self.ended.tokens.push(session.token_hash);
        self.ended.sessions.push((Live { number, ..*session }, Tombstone { by, why: Why::Renewed.as_str() }));
        Ok(())
    }

    /// Ends sessions of one user, and makes every cache ask anew about all of theirs.
    pub(super) fn end_all(&mut self, user: UserId, sessions: &[Live], reason: &Reason) -> Vec<SessionId> {
        if !sessions.is_empty() {
            self.ended.users.push(user);
        }
        self.bring_to_an_end(sessions, reason)
    }

    fn bring_to_an_end(&mut self, sessions: &[Live], reason: &Reason) -> Vec<SessionId> {
        let Reason { by, requested_by: _, why, ip } = reason;
        let kind = why.event();
        let detail = (kind == EventKind::Revoked).then_some(why.as_str());
        for session in sessions {
            let tombstone = Tombstone { by: by.as_str().to_owned(), why: why.as_str() };
            self.ended.sessions.push((*session, tombstone));
            if session.over {
                continue;
            }
            let event = Event::about(session.user, kind, *by, self.now);
            self.ended.events.push(Event { session: Some(session.id), ip: ip.clone(), detail, ..event });
        }
        sessions.iter().filter(|session| !session.over).map(|session| session.id).collect()
    }

    /// Writes what ended, and what is asked of replicas, under the next number, as the last step, and commits, in one round
    /// trip. Returns that number, or the newest where there is nothing to tell replicas.
    async fn commit(self) -> Result<Seq> {
        let Self { lease, begun, now, ended } = self;
        let Ended { sessions, tokens, users, flush, events } = ended;
        let numbers: Vec<_> = sessions.iter().map(|(live, _)| live.number).collect();
        let by: Vec<_> = sessions.iter().map(|(_, tombstone)| tombstone.by.as_str()).collect();
        let why: Vec<_> = sessions.iter().map(|(_, tombstone)| tombstone.why).collect();
        let audit = Audit::new(&events);
        let audit_alone = audit.params();
        let connection = &lease.connection;
        // Whoever takes a number holds the row until the commit; whoever takes none waits for nobody. Each timeline has numbers
        // of its own, so that none is given out again where another server took over that had not heard of all.
        let (sql, params): (_, Params<'_>) = if sessions.is_empty() && flush.is_empty() {
            (
                "WITH audit AS (
                     INSERT INTO events (at, kind, user_id, session_id, actor, ip, detail, name, user_agent, count)
                     SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                         $8::text[], $9::text[], $10::bigint[]))
                 SELECT seq FROM coherence",
                &audit_alone,
            )
        } else {
            (
                "WITH number AS (
                     UPDATE coherence SET seq = 1 + greatest(seq,
                         (('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint - 1) << 40)
                     RETURNING seq),
                 tombstones AS (
                     UPDATE sessions AS s SET revoked_at = $1, revoked_by = e.by, revoked_why = e.why, revoked_seq = number.seq
                     FROM unnest($2::bigint[], $3::text[], $4::text[]) AS e (number, by, why), number
                     WHERE s.number = e.number),
                 entry AS (
                     INSERT INTO revocations (seq, at, sessions, users, flush)
                     SELECT number.seq, $1, $5, $6, $7 FROM number),
                 audit AS (
                     INSERT INTO events (at, kind, user_id, session_id, actor, ip, detail, name, user_agent, count)
                     SELECT * FROM unnest($8::bigint[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[],
                         $15::text[], $16::text[], $17::bigint[]))
                 SELECT seq, pg_notify('sessiond', '') FROM number",
                &[
                    &now, &numbers, &by, &why, &tokens, &users, &flush, &audit.at, &audit.kind, &audit.user,
                    &audit.session, &audit.actor, &audit.ip, &audit.detail, &audit.name, &audit.user_agent, &audit.count,
                ],
            )
        };
        connection.prepared(sql).await?;
        let (rows, committed) = if begun {
            join(connection.query(sql, params), connection.run("COMMIT")).await
        } else {
            (connection.query(sql, params).await, Ok(()))
        };
        // Of a transaction that failed, COMMIT makes a rollback without a word.
        if committed.is_ok() {
            lease.give_back_if_sound();
        }
        let rows = rows?;
        committed?;
        Columns::of_first(&rows, NO_HEAD)?.next()
    }
}

/// Longer ago than this no session has become idle for too long that could still be seen: the longest that a last-seen time
/// may be on its way, and that the clocks of two servers may be apart.
fn just_now(now: Timestamp) -> Timestamp {
    const MOST: i64 = 5 * 60 * 1000;
    Timestamp::from_millis(now.millis().saturating_sub(MOST))
}

/// Reads `number, id, token_hash, user_id`, and whether it is over.
fn live(row: &Row) -> Result<Live> {
    let mut columns = Columns::of(row);
    let (number, id, token_hash) = (columns.next()?, columns.next()?, columns.next()?);
    Ok(Live { number, id, token_hash, user: columns.next()?, over: columns.next()? })
}

/// Events, column by column.
#[derive(Default)]
pub(super) struct Audit<'e> {
    at: Vec<Timestamp>,
    kind: Vec<&'static str>,
    user: Vec<Option<UserId>>,
    session: Vec<Option<SessionId>>,
    actor: Vec<&'e str>,
    ip: Vec<Option<&'e str>>,
    detail: Vec<Option<&'static str>>,
    name: Vec<Option<&'e str>>,
    user_agent: Vec<Option<&'e str>>,
    count: Vec<i64>,
}

impl<'e> Audit<'e> {
    pub(super) fn new(events: &'e [Event]) -> Self {
        let mut audit = Self::default();
        for Event { at, kind, actor, user, session, ip, detail, name, user_agent, count } in events {
            audit.at.push(*at);
            audit.kind.push(kind.as_str());
            audit.user.push(*user);
            audit.session.push(*session);
            audit.actor.push(actor.as_str());
            audit.ip.push(ip.as_deref());
            audit.detail.push(*detail);
            audit.name.push(name.as_deref());
            audit.user_agent.push(user_agent.as_deref());
            audit.count.push(*count);
        }
        audit
    }

    /// The columns in the order in which they are inserted.
    pub(super) fn params(&self) -> [&(dyn ToSql + Sync); 10] {
        let Self { at, kind, user, session, actor, ip, detail, name, user_agent, count } = self;
        [at, kind, user, session, actor, ip, detail, name, user_agent, count]
    }
}
