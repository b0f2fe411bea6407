//! One transaction that changes something: what it may do, and the audit and the log entry that it ends with.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, FromRow, query, query_as, query_as_with};
use tokio::time::Instant;
use tracing::{Instrument as _, info_span};

use super::super::{EventNumber, Renewal, Result};
use super::audit;
use super::connection::{Connection, failed};
use super::deadline::{with_deadline, with_deadline_of};
use super::pool::{Lease, Pool};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::event::{Event, EventKind};
use crate::domain::id::{SessionId, UserId};
use crate::domain::revocation::{Reason, Seq, Why};
use crate::domain::token::TokenHash;
use crate::telemetry::StoreWork;

/// How long an operation of many statements may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// What it means that the newest number of the log cannot be read.
pub(super) const NO_HEAD: &str = "the table coherence is empty";

/// A whole operation. Its outcome may hold a sequence number, which is only known at the end of the transaction.
pub(super) trait Operation: Sync {
    /// What the caller is answered.
    type Outcome: Send;

    /// Does it. An error undoes the transaction, or closes the connection, so that nothing of it is durable.
    fn apply(&self, change: &mut Change<'_>) -> impl Future<Output = Result<GivenSeq<Self::Outcome>>> + Send;
}

/// The outcome of an operation, once there is the sequence number that has to be settled before it is revealed.
pub(super) type GivenSeq<T> = Box<dyn FnOnce(Seq) -> T + Send>;

/// Runs an operation in a transaction. After an error it is unknown whether it was committed.
pub(super) async fn commit<O: Operation>(pool: &Pool, time: &Time, operation: O) -> Result<O::Outcome> {
    with_deadline(run(pool, time, operation)).instrument(info_span!("store commit")).await
}

/// The same for an operation of many statements, which a command waits for.
pub(super) async fn commit_patiently<O: Operation>(pool: &Pool, time: &Time, operation: O) -> Result<O::Outcome> {
    with_deadline_of(PATIENCE, run(pool, time, operation)).instrument(info_span!("store commit")).await
}

async fn run<O: Operation>(pool: &Pool, time: &Time, operation: O) -> Result<O::Outcome> {
    let mut lease = pool.take().await?;
    let begun = Instant::now();
    lease.connection.run("BEGIN").await?;
    let mut change = Change { lease, now: time.now(), ended: Ended::default() };
    match operation.apply(&mut change).await {
        Ok(outcome) => {
            let seq = change.commit().await?;
            pool.metrics.committed(StoreWork::changes, 1, begun.elapsed());
            Ok(outcome(seq))
        }
        Err(error) => {
            change.lease.roll_back().await;
            Err(error)
        }
    }
}

/// The clock that a change reads once it holds the locks that it needs.
#[derive(Clone)]
pub(super) struct Time {
    pub(super) clock: Arc<dyn Clock>,
    /// See [`Timing`](super::super::opening::Timing).
    pub(super) flush_interval: Duration,
}

/// When a change happens.
#[derive(Clone, Copy)]
pub(super) struct Now {
    pub(super) at: Timestamp,
    /// A session whose idle timeout passed before this cannot have been seen since. It is earlier by as much as a last-seen
    /// time may take until it is stored, which is also more than the clocks of two servers may be apart.
    pub(super) idle_since: Timestamp,
}

impl Time {
    /// Reads the clock.
    pub(super) fn now(&self) -> Now {
        let at = self.clock.now();
        Now { at, idle_since: at.before(self.flush_interval) }
    }
}

/// A transaction under way.
pub(super) struct Change<'p> {
    lease: Lease<'p>,
    now: Now,
    ended: Ended,
}

/// What the transaction has ended so far, and the audit events that it will write.
#[derive(Default)]
struct Ended {
    sessions: Vec<(Live, Tombstone)>,
    /// The tokens of those that caches remove one by one.
    tokens: Vec<TokenHash>,
    /// The users of whose sessions caches remove every one.
    users: Vec<UserId>,
    /// The sessions whose last-seen times replicas are asked to store.
    flush: Vec<TokenHash>,
    events: Vec<Event>,
}

/// Who ended a session and why, as stored.
struct Tombstone {
    by: String,
    why: &'static str,
}

/// A session that can be live, and stays what it is until this transaction ends it: its row is locked.
#[derive(Clone, Copy, FromRow)]
pub(super) struct Live {
    pub(super) number: i64,
    pub(super) id: SessionId,
    pub(super) token_hash: TokenHash,
    #[sqlx(rename = "user_id")]
    pub(super) user: UserId,
    /// It has expired, so it is not live; but a last-seen time may be on its way that would make it so, or the clock may run
    /// ahead. It is ended with the others, without an event, and is not part of the outcome.
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
        self.now.at
    }

    /// What statements of the transaction are run on.
    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.lease.connection
    }

    /// Locks the live sessions that `tokens` lead to. Every transaction locks in the order of numbers, so that no two wait
    /// for each other.
    pub(super) async fn live_by_token(&mut self, tokens: Vec<TokenHash>) -> Result<HashMap<TokenHash, Live>> {
        let Now { at, idle_since } = self.now;
        let live = query_as(
            "SELECT number, id, token_hash, user_id, idle_expires_at <= $2 AS over FROM sessions
             WHERE token_hash = ANY ($1) AND revoked_at IS NULL AND idle_expires_at > $3 AND expires_at > $2
             ORDER BY number FOR UPDATE",
        );
        let live: Vec<Live> = self.connection().rows(live.bind(tokens).bind(at).bind(idle_since)).await?;
        Ok(live.into_iter().map(|live| (live.token_hash, live)).collect())
    }

    /// Locks the live session of that id, if it belongs to `user` where one is named, and the one a change is asked for
    /// through.
    pub(super) async fn live_by_id(
        &mut self,
        id: SessionId,
        user: Option<UserId>,
        requested_by: Option<TokenHash>,
    ) -> Result<Vec<Live>> {
        let Now { at, idle_since } = self.now;
        let live = query_as(
            "SELECT number, id, token_hash, user_id, idle_expires_at <= $3 AS over FROM sessions
             WHERE (id = $1 AND ($5::text IS NULL OR user_id = $5) OR token_hash = $2)
                 AND revoked_at IS NULL AND idle_expires_at > $4 AND expires_at > $3
             ORDER BY number FOR UPDATE",
        );
        self.connection().rows(live.bind(id).bind(requested_by).bind(at).bind(idle_since).bind(user)).await
    }

    /// Locks those of these sessions that are live, and the one a change is asked for through.
    pub(super) async fn live_by_ids(
        &mut self,
        ids: Vec<SessionId>,
        requested_by: Option<TokenHash>,
    ) -> Result<Vec<Live>> {
        let Now { at, idle_since } = self.now;
        let live = query_as(
            "SELECT number, id, token_hash, user_id, idle_expires_at <= $3 AS over FROM sessions
             WHERE (id = ANY ($1) OR token_hash = $2)
                 AND revoked_at IS NULL AND idle_expires_at > $4 AND expires_at > $3
             ORDER BY number FOR UPDATE",
        );
        self.connection().rows(live.bind(ids).bind(requested_by).bind(at).bind(idle_since)).await
    }

    /// Locks every session of a user that was not revoked, and the one a change is asked for through. Those that expired long
    /// ago are among them, since they are live again where the clock ran ahead and is set right.
    pub(super) async fn live_by_user(&mut self, user: UserId, requested_by: Option<TokenHash>) -> Result<Vec<Live>> {
        let at = self.now.at;
        let live = query_as(
            "SELECT number, id, token_hash, user_id, idle_expires_at <= $3 OR expires_at <= $3 AS over FROM sessions
             WHERE (user_id = $1 AND NOT archived OR token_hash = $2) AND revoked_at IS NULL
             ORDER BY number FOR UPDATE",
        );
        self.connection().rows(live.bind(user).bind(requested_by).bind(at)).await
    }

    /// Whether a change may be made: one that a session asked for only while that session is live, which has to be among
    /// `live`, and one that takes an administrator only while its user is one. Others may always.
    pub(super) async fn allows(&mut self, live: &[Live], reason: &Reason) -> Result<bool> {
        let Some(requested_by) = reason.requested_by else { return Ok(true) };
        let Some(session) = live.iter().find(|session| session.is(requested_by)) else { return Ok(false) };
        if !reason.as_administrator {
            return Ok(true);
        }
        let admin = query_as("SELECT 1 FROM users WHERE id = $1 AND admin").bind(session.user);
        let admin: Option<(i32,)> = self.connection().row(admin).await?;
        Ok(admin.is_some())
    }

    /// Writes a line of the audit.
    pub(super) fn event(&mut self, event: Event) {
        self.ended.events.push(event);
    }

    /// Adds the count of `more` to the event of the act that it is a part of, which is written with the first part that
    /// changes something. Neither is about one user.
    pub(super) async fn count_in_event(
        &mut self,
        event: Option<EventNumber>,
        more: Event,
    ) -> Result<Option<EventNumber>> {
        let Event { at, kind, actor, ip, detail, actor_name, user_agent, request_id, count, .. } = more;
        if let Some(EventNumber(number)) = event {
            let add = query("UPDATE events SET count = count + $2 WHERE number = $1").bind(number).bind(count);
            self.connection().execute(add).await?;
            return Ok(event);
        }
        if count == 0 {
            return Ok(None);
        }
        let insert = query_as(
            "INSERT INTO events (at, kind, actor, ip, detail, actor_name, user_agent, request_id, count)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING number",
        )
        .bind(at)
        .bind(kind.as_str())
        .bind(actor.as_str().to_owned())
        .bind(ip)
        .bind(detail.map(Cow::into_owned))
        .bind(actor_name)
        .bind(user_agent)
        .bind(request_id)
        .bind(count);
        let (number,) = self.connection().one(insert, "an event has no number").await?;
        Ok(Some(EventNumber(number)))
    }

    /// Asks every replica to store when it saw these sessions.
    pub(super) fn flush(&mut self, sessions: &[TokenHash]) {
        self.ended.flush.extend(sessions);
    }

    /// Ends sessions, which caches remove one by one.
    pub(super) fn end(&mut self, sessions: &[Live], reason: &Reason) -> Vec<SessionId> {
        self.ended.tokens.extend(sessions.iter().map(|session| session.token_hash));
        self.bring_to_an_end(sessions, reason)
    }

    /// Gives a live session a new token, and the old token a tombstone of its own.
    pub(super) async fn renew(&mut self, session: &Live, renewal: &Renewal, reason: &Reason) -> Result<()> {
        let (Renewal { session: _, token_hash, tombstone, idle_until }, now) = (renewal, self.now.at);
        let renewed = query(
            "UPDATE sessions SET token_hash = $2, last_seen_at = greatest(last_seen_at, $3),
                 idle_expires_at = least(expires_at, greatest(idle_expires_at, $4))
             WHERE number = $1",
        );
        let renewed = renewed.bind(session.number).bind(*token_hash).bind(now).bind(*idle_until);
        self.connection().execute(renewed).await?;
        // It is made without a sequence number, and gets one with the other sessions that end, before the commit.
        let tombstone = query_as(
            "INSERT INTO sessions (id, token_hash, user_id, created_at, last_seen_at, idle_expires_at, expires_at,
                 remembered, ip, user_agent, host, archived)
             SELECT $2::text, $3::bytea, user_id, created_at, last_seen_at, idle_expires_at, expires_at,
                 remembered, ip, user_agent, host, true
             FROM sessions WHERE number = $1
             RETURNING number",
        )
        .bind(session.number)
        .bind(*tombstone)
        .bind(session.token_hash);
        let (number,) = self.connection().one(tombstone, "a session has no row for its old token").await?;
        let by = reason.by.as_str().to_owned();
        self.ended.tokens.push(session.token_hash);
        self.ended.sessions.push((Live { number, ..*session }, Tombstone { by, why: Why::Renewed.as_str() }));
        Ok(())
    }

    /// Ends sessions of one user, and has every cache ask anew about that user, whether or not there are any: a cache may have
    /// one that was archived while the clock of another server ran ahead.
    pub(super) fn end_all(&mut self, user: UserId, sessions: &[Live], reason: &Reason) -> Vec<SessionId> {
        self.ask_anew(user);
        self.end_found(user, sessions, reason)
    }

    /// The same, but does nothing where there are none.
    pub(super) fn end_found(&mut self, user: UserId, sessions: &[Live], reason: &Reason) -> Vec<SessionId> {
        if !sessions.is_empty() {
            self.ask_anew(user);
        }
        self.bring_to_an_end(sessions, reason)
    }

    fn bring_to_an_end(&mut self, sessions: &[Live], reason: &Reason) -> Vec<SessionId> {
        let Reason { by, requested_by: _, as_administrator: _, why, origin } = reason;
        let kind = why.event();
        let detail = (kind == EventKind::Revoked).then_some(Cow::Borrowed(why.as_str()));
        for session in sessions.iter().filter(|session| !session.over) {
            let event = Event::about(session.user, kind, *by, self.now.at).from(origin);
            self.ended.events.push(Event { session: Some(session.id), detail: detail.clone(), ..event });
        }
        self.end_without_events(sessions, reason)
    }

    /// Ends selected sessions, which caches remove one by one, without an event for each.
    pub(super) fn end_selected(&mut self, sessions: &[Live], reason: &Reason) -> Vec<SessionId> {
        self.ended.tokens.extend(sessions.iter().map(|session| session.token_hash));
        self.end_without_events(sessions, reason)
    }

    /// Has every cache ask anew about a user.
    pub(super) fn ask_anew(&mut self, user: UserId) {
        // A change is about one user, and may say so more than once.
        if self.ended.users.last() != Some(&user) {
            self.ended.users.push(user);
        }
    }

    fn end_without_events(&mut self, sessions: &[Live], reason: &Reason) -> Vec<SessionId> {
        for session in sessions {
            let tombstone = Tombstone { by: reason.by.as_str().to_owned(), why: reason.why.as_str() };
            self.ended.sessions.push((*session, tombstone));
        }
        sessions.iter().filter(|session| !session.over).map(|session| session.id).collect()
    }

    /// Writes what ended, and what is asked of replicas, under the next number, as the last step, and commits. Returns that
    /// number, or the newest where nothing is published.
    async fn commit(self) -> Result<Seq> {
        let Self { mut lease, now, ended } = self;
        let Ended { sessions, tokens, users, flush, events } = ended;
        let mut arguments = PgArguments::default();
        // A transaction that takes a number holds that row until its commit; one that takes none waits for no other. Each
        // timeline has numbers of its own, so that none is given out again where a server took over that lacks some commits.
        let sql = if sessions.is_empty() && users.is_empty() && flush.is_empty() {
            "WITH audit AS (
                 INSERT INTO events (at, kind, user_id, session_id, actor, ip, detail, name, actor_name, user_agent, request_id, count)
                 SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                     $8::text[], $9::text[], $10::text[], $11::text[], $12::bigint[]))
             SELECT seq FROM coherence"
        } else {
            let numbers: Vec<_> = sessions.iter().map(|(live, _)| live.number).collect();
            let by: Vec<_> = sessions.iter().map(|(_, tombstone)| tombstone.by.as_str()).collect();
            let why: Vec<_> = sessions.iter().map(|(_, tombstone)| tombstone.why).collect();
            let added = || {
                arguments.add(now.at)?;
                arguments.add(numbers)?;
                arguments.add(by)?;
                arguments.add(why)?;
                arguments.add(tokens)?;
                arguments.add(users)?;
                arguments.add(flush)
            };
            added().map_err(|error| failed(sqlx::Error::Encode(error)))?;
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
                 INSERT INTO events (at, kind, user_id, session_id, actor, ip, detail, name, actor_name, user_agent, request_id, count)
                 SELECT * FROM unnest($8::bigint[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[],
                     $15::text[], $16::text[], $17::text[], $18::text[], $19::bigint[]))
             SELECT seq, pg_notify('sessiond', '') IS NULL AS published FROM number"
        };
        audit::add(&mut arguments, &events).map_err(failed)?;
        let written: Result<Seq> =
            lease.connection.one(query_as_with(sql, arguments), NO_HEAD).await.map(|Numbered { seq }| seq);
        match written {
            Ok(seq) => {
                // COMMIT would roll back a transaction that has failed, without an error; this one has not failed.
                let committed = lease.connection.run("COMMIT").await;
                lease.give_back_if_sound();
                committed.map(|()| seq)
            }
            Err(error) => {
                lease.roll_back().await;
                Err(error)
            }
        }
    }
}

/// The sequence number that a transaction took, or the newest.
#[derive(FromRow)]
struct Numbered {
    seq: Seq,
}
