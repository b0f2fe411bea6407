//! Operations on sessions: one begins, some end.

use futures_util::future::try_join;

use super::super::room::{Room, make_room};
use super::super::{Changed, Created, Logout, NewSession, Result, Revoked, Target};
use super::change::{Change, Operation, Told};
use super::columns;
use super::connection::Params;
use super::pool::{Pool, within};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::event::{Actor, Event, EventKind};
use crate::domain::id::SessionId;
use crate::domain::revocation::{Reason, Why};
use crate::domain::session::{Client, Expiry, Seen, Session};
use crate::domain::token::TokenHash;

impl Operation for NewSession {
    type Outcome = Created;

    async fn apply(&self, change: &mut Change<'_>) -> Result<Told<Created>> {
        let Self { session, token_hash, auth_epoch, cap, replaces, rehashed, flushed } = self;
        let (user, now) = (session.user_id, change.now());
        // Held to the end, so that neither the epoch nor the number of sessions changes meanwhile.
        let as_checked = change
            .query(
                "SELECT 1 FROM users WHERE id = $1 AND auth_epoch = $2 AND disabled_at IS NULL FOR NO KEY UPDATE",
                &[&user, auth_epoch],
            )
            .await?;
        if as_checked.is_empty() {
            return Ok(Box::new(|_| Created::Superseded));
        }
        let by = Actor::User(user);
        let ip = Some(session.client.ip.clone());
        let live = change
            .query(
                "SELECT token_hash, last_seen_at FROM sessions
                 WHERE user_id = $1 AND NOT archived AND revoked_at IS NULL AND idle_expires_at > $2 AND expires_at > $2
                     AND token_hash <> ALL ($3)
                 ORDER BY last_seen_at DESC, number DESC",
                &[&user, &now, replaces],
            )
            .await?;
        let live = live.iter().map(columns::token_and_time).collect::<Result<Vec<_>>>()?;
        let mut doomed = match make_room(&live, cap.saturating_sub(1), *flushed) {
            Room::By(over) => over,
            Room::Undecided(sessions) => {
                change.flush(&sessions);
                return Ok(Box::new(|seq| Created::Unflushed { sessions, seq }));
            }
        };
        doomed.extend(replaces);
        if !doomed.is_empty() {
            // The replaced ones may be anybody's: their tokens were presented.
            let mut live = change.live_by_token(&doomed, &vec![None; doomed.len()]).await?;
            let replaced: Vec<_> = replaces.iter().filter_map(|token| live.remove(token)).collect();
            change.end(&replaced, &Reason { by, requested_by: None, why: Why::Replaced, ip: ip.clone() });
            let over: Vec<_> = doomed.iter().filter_map(|token| live.remove(token)).collect();
            change.end(&over, &Reason { by: Actor::System, requested_by: None, why: Why::Cap, ip: None });
        }
        let Session { id, user_id, created_at, last_seen_at, expiry, remembered, client } = session;
        let Expiry { idle, absolute } = expiry;
        let Client { ip: from, user_agent, host } = client;
        change
            .execute_all(&[
                (
                    // Each dead session is archived once, so lists stay as short as the cap and a login costs no more for it.
                    "UPDATE sessions SET archived = true
                     WHERE user_id = $1 AND NOT archived
                         AND (revoked_at IS NOT NULL OR idle_expires_at <= $2 OR expires_at <= $2)",
                    &[&user, &now],
                ),
                (
                    "INSERT INTO sessions (id, token_hash, user_id, created_at, last_seen_at, idle_expires_at, expires_at,
                         remembered, ip, user_agent, host)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                    &[id, token_hash, user_id, created_at, last_seen_at, idle, absolute, remembered, from, user_agent, host],
                ),
                ("UPDATE users SET password_hash = $2 WHERE id = $1 AND $2::text IS NOT NULL", &[&user, rehashed]),
            ])
            .await?;
        let event = Event::about(user, EventKind::LoginOk, by, now);
        change.event(Event { session: Some(session.id), ip, user_agent: Some(user_agent.clone()), ..event });
        Ok(Box::new(Created::Yes))
    }
}

/// Logouts that are committed together.
pub(super) struct Logouts(pub(super) Vec<Logout>);

impl Operation for Logouts {
    type Outcome = Vec<Revoked>;

    async fn apply(&self, change: &mut Change<'_>) -> Result<Told<Vec<Revoked>>> {
        let (tokens, users): (Vec<_>, Vec<_>) = self.0.iter().map(|logout| (logout.token, logout.user)).unzip();
        let mut live = change.live_by_token(&tokens, &users).await?;
        let mut ended = Vec::with_capacity(self.0.len());
        for Logout { token, user, ip } in &self.0 {
            // Of several logouts of one session the first ends it.
            let mine = live.get(token).is_some_and(|session| user.is_none_or(|user| user == session.user));
            let session = if mine { live.remove(token) } else { None };
            ended.push(session.map_or_else(Vec::new, |session| {
                let by = Actor::User(session.user);
                change.end(&[session], &Reason { by, requested_by: None, why: Why::Logout, ip: ip.clone() })
            }));
        }
        Ok(Box::new(|seq| ended.into_iter().map(|sessions| Revoked { sessions, seq }).collect()))
    }
}

/// Ends sessions by id or by user.
pub(super) struct Revoke {
    pub(super) target: Target,
    pub(super) reason: Reason,
}

impl Operation for Revoke {
    type Outcome = Changed;

    async fn apply(&self, change: &mut Change<'_>) -> Result<Told<Changed>> {
        let Self { target, reason } = self;
        // The user before the sessions, as everywhere.
        if let Target::All(user) = target {
            change.query("SELECT 1 FROM users WHERE id = $1 FOR NO KEY UPDATE", &[user]).await?;
        }
        let live = match target {
            Target::Id(session, user) => change.live_by_id(*session, *user, reason.requested_by).await?,
            Target::All(user) | Target::Others(user, _) => change.live_by_user(*user, reason.requested_by).await?,
        };
        if reason.requested_by.is_some_and(|requested_by| !live.iter().any(|session| session.is(requested_by))) {
            return Ok(Box::new(Changed::NoSession));
        }
        let of = |wanted: &dyn Fn(&super::change::Live) -> bool| {
            live.iter().copied().filter(|s| wanted(s)).collect::<Vec<_>>()
        };
        let ended = match target {
            Target::Id(id, user) => {
                let wanted = of(&|session| session.id == *id && user.is_none_or(|user| user == session.user));
                change.end(&wanted, reason)
            }
            Target::All(user) => {
                change.query("UPDATE users SET auth_epoch = auth_epoch + 1 WHERE id = $1", &[user]).await?;
                change.end_all(*user, &of(&|session| session.user == *user), reason)
            }
            Target::Others(user, keep) => {
                change.end_all(*user, &of(&|session| session.user == *user && session.id != *keep), reason)
            }
        };
        Ok(revoked(ended))
    }
}

/// That a change was made, and ended this.
pub(super) fn revoked(sessions: Vec<SessionId>) -> Told<Changed> {
    Box::new(|seq| Changed::Yes(Revoked { sessions, seq }))
}

/// Moves the last-seen times of live sessions forward; returns those that were, and until when each may now be idle.
pub(super) async fn touch(pool: &Pool, clock: &dyn Clock, seen: &[Seen]) -> Result<Vec<(TokenHash, Timestamp)>> {
    const LOCK: &str = "SELECT 1 FROM sessions
         WHERE token_hash = ANY ($1) AND revoked_at IS NULL AND NOT archived ORDER BY number FOR UPDATE";
    const MOVE: &str = "UPDATE sessions AS s SET last_seen_at = greatest(s.last_seen_at, seen.at),
             idle_expires_at = least(s.expires_at, greatest(s.idle_expires_at, seen.idle_until))
         FROM (SELECT token_hash, max(at) AS at, max(idle_until) AS idle_until
               FROM unnest($1::bytea[], $2::bigint[], $3::bigint[]) AS each (token_hash, at, idle_until)
               GROUP BY token_hash) AS seen
         WHERE s.token_hash = seen.token_hash
             AND s.revoked_at IS NULL AND NOT s.archived AND s.idle_expires_at > $4 AND s.expires_at > $4
         RETURNING s.token_hash, s.idle_expires_at";
    let tokens: Vec<_> = seen.iter().map(|seen| seen.token_hash).collect();
    let at: Vec<_> = seen.iter().map(|seen| seen.at).collect();
    let idle_until: Vec<_> = seen.iter().map(|seen| seen.idle_until).collect();
    within(async {
        let lease = pool.take().await?;
        let connection = &lease.connection;
        connection.prepared(LOCK).await?;
        connection.prepared(MOVE).await?;
        try_join(connection.run("BEGIN"), connection.query(LOCK, &[&tokens])).await?;
        // The time is read once their rows are held: what ended while they were waited for stays so.
        let now = clock.now();
        let params: Params<'_> = &[&tokens, &at, &idle_until, &now];
        let (rows, ()) = try_join(connection.query(MOVE, params), connection.run("COMMIT")).await?;
        lease.give_back();
        rows.iter().map(columns::token_and_time).collect()
    })
    .await
}
