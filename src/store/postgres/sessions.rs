//! Operations on sessions: one begins, some end.

use sqlx::{FromRow, query, query_as};

use super::super::room::{Room, make_room};
use super::super::{Changed, Created, NewSession, Result, Revoked, Selected, SelectedEnd, Target, selected_end};
use super::change::{Change, GivenSeq, Live, Operation, Time};
use super::deadline::with_deadline;
use super::pool::Pool;
use super::second_factors::{end_pending, is_pending, prove, record_recovery};
use crate::domain::clock::Timestamp;
use crate::domain::event::{Actor, Event, EventKind, Origin};
use crate::domain::id::SessionId;
use crate::domain::revocation::{Reason, Why};
use crate::domain::session::{Client, Expiry, Seen, Session};
use crate::domain::token::TokenHash;

impl Operation for NewSession {
    type Outcome = Created;

    async fn apply(&self, change: &mut Change<'_>) -> Result<GivenSeq<Created>> {
        let Self { session, token_hash, auth_epoch, cap, replaces, rehashed, proof, pending, resets, unflushed } = self;
        let (user, now) = (session.user_id, change.now());
        // Held to the end, so that neither the epoch nor the number of sessions changes meanwhile.
        let as_checked =
            query_as("SELECT 1 FROM users WHERE id = $1 AND auth_epoch = $2 AND disabled_at IS NULL FOR NO KEY UPDATE");
        let as_checked: Option<(i32,)> = change.connection().row(as_checked.bind(user).bind(*auth_epoch)).await?;
        if as_checked.is_none() {
            return Ok(Box::new(|_| Created::Superseded));
        }
        if let Some(token) = pending
            && !is_pending(change, *token, user).await?
        {
            return Ok(Box::new(|_| Created::Superseded));
        }
        let by = Actor::User(user);
        let origin = session.client.origin();
        let live = query_as(
            "SELECT token_hash, last_seen_at FROM sessions
             WHERE user_id = $1 AND NOT archived AND revoked_at IS NULL AND idle_expires_at > $2 AND expires_at > $2
                 AND token_hash <> ALL ($3)
             ORDER BY last_seen_at DESC, number DESC",
        );
        let live: Vec<(TokenHash, Timestamp)> =
            change.connection().rows(live.bind(user).bind(now).bind(replaces.clone())).await?;
        let mut doomed = match make_room(&live, cap.saturating_sub(1), *unflushed) {
            Room::By(over) => over,
            Room::Undecided(sessions) => {
                change.flush(&sessions);
                return Ok(Box::new(|seq| Created::Unflushed { sessions, seq }));
            }
        };
        // Nothing was changed before, and nothing that follows is refused.
        if !prove(change, user, proof).await? {
            return Ok(Box::new(|_| Created::Unproven));
        }
        if let Some(token) = pending {
            end_pending(change, *token).await?;
        }
        doomed.extend(replaces);
        if !doomed.is_empty() {
            // The replaced sessions may be other users': presenting their tokens is enough.
            let mut live = change.live_by_token(doomed.clone()).await?;
            let replaced: Vec<_> = replaces.iter().filter_map(|token| live.remove(token)).collect();
            change.end(&replaced, &Reason::unasked(by, Why::Replaced, origin.clone()));
            let over: Vec<_> = doomed.iter().filter_map(|token| live.remove(token)).collect();
            change.end(&over, &Reason::unasked(Actor::System, Why::Cap, Origin::default()));
        }
        let Session { id, user_id, created_at, last_seen_at, expiry, remembered, client } = session;
        let Expiry { idle, absolute } = expiry;
        let Client { ip, user_agent, host, request_id: _ } = client;
        // Each dead session is archived once, so lists stay as short as the cap and a login costs no more for it.
        let insert = query(
            "WITH archived AS (
                 UPDATE sessions SET archived = true
                 WHERE user_id = $3 AND NOT archived
                     AND (revoked_at IS NOT NULL OR idle_expires_at <= $12 OR expires_at <= $12)),
             login AS (UPDATE users SET last_login_at = $12, password_hash = coalesce($13::text, password_hash) WHERE id = $3),
             counters AS MATERIALIZED (
                 SELECT key FROM throttles WHERE key = ANY ($14) ORDER BY counted, key FOR UPDATE),
             reset AS (DELETE FROM throttles AS t USING counters AS c WHERE t.key = c.key)
             INSERT INTO sessions (id, token_hash, user_id, created_at, last_seen_at, idle_expires_at, expires_at,
                 remembered, ip, user_agent, host)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(*id)
        .bind(*token_hash)
        .bind(*user_id)
        .bind(*created_at)
        .bind(*last_seen_at)
        .bind(*idle)
        .bind(*absolute)
        .bind(*remembered)
        .bind(ip.clone())
        .bind(user_agent.clone())
        .bind(host.clone())
        .bind(now)
        .bind(rehashed.clone())
        .bind(resets.clone());
        change.connection().execute(insert).await?;
        let event = Event::about(user, EventKind::LoginOk, by, now).from(&origin);
        change.event(Event { session: Some(session.id), ..event });
        record_recovery(change, user, proof, Some(session.id), &origin);
        Ok(Box::new(Created::Yes))
    }
}

/// Ends sessions by id or by user.
pub(super) struct Revoke {
    pub(super) target: Target,
    pub(super) reason: Reason,
}

impl Operation for Revoke {
    type Outcome = Changed;

    async fn apply(&self, change: &mut Change<'_>) -> Result<GivenSeq<Changed>> {
        let Self { target, reason } = self;
        // The user before the sessions, as everywhere.
        if let Target::All(user) = target {
            let lock = query("SELECT 1 FROM users WHERE id = $1 FOR NO KEY UPDATE");
            change.connection().execute(lock.bind(*user)).await?;
        }
        let live = match target {
            Target::Id(session, user) => change.live_by_id(*session, *user, reason.requested_by).await?,
            Target::All(user) | Target::Others(user, _) => change.live_by_user(*user, reason.requested_by).await?,
        };
        if !change.allows(&live, reason).await? {
            return Ok(Box::new(Changed::NoSession));
        }
        let of = |wanted: &dyn Fn(&Live) -> bool| live.iter().copied().filter(|s| wanted(s)).collect::<Vec<_>>();
        let ended = match target {
            Target::Id(id, user) => {
                let wanted = of(&|session| session.id == *id && user.is_none_or(|user| user == session.user));
                change.end(&wanted, reason)
            }
            Target::All(user) => {
                let outdate = query("UPDATE users SET auth_epoch = auth_epoch + 1 WHERE id = $1");
                change.connection().execute(outdate.bind(*user)).await?;
                change.end_all(*user, &of(&|session| session.user == *user), reason)
            }
            Target::Others(user, keep) => {
                change.end_found(*user, &of(&|session| session.user == *user && session.id != *keep), reason)
            }
        };
        Ok(revoked(ended))
    }
}

/// Ends selected sessions.
pub(super) struct RevokeSelected {
    pub(super) selected: Selected,
    pub(super) reason: Reason,
}

impl Operation for RevokeSelected {
    type Outcome = SelectedEnd;

    async fn apply(&self, change: &mut Change<'_>) -> Result<GivenSeq<SelectedEnd>> {
        let Self { selected: Selected { sessions, event }, reason } = self;
        let event = *event;
        let live = change.live_by_ids(sessions.clone(), reason.requested_by).await?;
        if !change.allows(&live, reason).await? {
            return Ok(Box::new(move |seq| SelectedEnd { changed: Changed::NoSession(seq), event }));
        }
        let wanted: Vec<_> = live.into_iter().filter(|session| sessions.contains(&session.id)).collect();
        let ended = change.end_selected(&wanted, reason);
        let event = change.count_in_event(event, selected_end(reason, ended.len(), change.now())).await?;
        Ok(Box::new(move |seq| SelectedEnd { changed: Changed::Yes(Revoked { sessions: ended, seq }), event }))
    }
}

/// The outcome of a change that was made and ended these sessions.
pub(super) fn revoked(sessions: Vec<SessionId>) -> GivenSeq<Changed> {
    Box::new(|seq| Changed::Yes(Revoked { sessions, seq }))
}

/// A session that was touched, and its new idle deadline.
#[derive(FromRow)]
struct Moved {
    token_hash: TokenHash,
    idle_expires_at: Timestamp,
}

/// Moves the last-seen times of live sessions forward; returns the sessions that were live, with their new idle deadlines.
pub(super) async fn touch(pool: &Pool, time: &Time, seen: &[Seen]) -> Result<Vec<(TokenHash, Timestamp)>> {
    let tokens: Vec<_> = seen.iter().map(|seen| seen.token_hash).collect();
    let at: Vec<_> = seen.iter().map(|seen| seen.at).collect();
    let idle_until: Vec<_> = seen.iter().map(|seen| seen.idle_until).collect();
    let lock = query(
        "SELECT 1 FROM sessions
         WHERE token_hash = ANY ($1) AND revoked_at IS NULL AND NOT archived ORDER BY number FOR UPDATE",
    );
    let moved = query_as(
        "UPDATE sessions AS s SET last_seen_at = greatest(s.last_seen_at, seen.at),
             idle_expires_at = least(s.expires_at, greatest(s.idle_expires_at, seen.idle_until))
         FROM (SELECT token_hash, max(at) AS at, max(idle_until) AS idle_until
               FROM unnest($1::bytea[], $2::bigint[], $3::bigint[]) AS each (token_hash, at, idle_until)
               GROUP BY token_hash) AS seen
         WHERE s.token_hash = seen.token_hash
             AND s.revoked_at IS NULL AND NOT s.archived AND s.idle_expires_at > $4 AND s.expires_at > $4
         RETURNING s.token_hash, s.idle_expires_at",
    );
    with_deadline(async {
        let mut lease = pool.take().await?;
        let connection = &mut lease.connection;
        connection.run("BEGIN").await?;
        connection.execute(lock.bind(tokens.clone())).await?;
        // The time is read once their rows are held: what ended while they were waited for stays so.
        let moved = moved.bind(tokens).bind(at).bind(idle_until).bind(time.now().at);
        let moved: Vec<Moved> = connection.rows(moved).await?;
        connection.run("COMMIT").await?;
        lease.give_back();
        Ok(moved.into_iter().map(|Moved { token_hash, idle_expires_at }| (token_hash, idle_expires_at)).collect())
    })
    .await
}
