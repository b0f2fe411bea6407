//! Logouts that come at about the same time: one statement, one round trip and one commit for all of them.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::{FromRow, query_as};
use tokio::time::Instant;

use super::super::batch::{Batches, Commit, Pending, Queue, commit_and_answer};
use super::super::{Logout, Result, Revoked};
use super::change::{NO_HEAD, Now, Time};
use super::pool::Pool;
use crate::domain::id::SessionId;
use crate::domain::revocation::Seq;
use crate::telemetry::StoreWork;

/// A logout, and where what it ended goes.
type Waiting = Pending<Logout, Revoked>;

/// Where logouts wait for the task that commits them.
pub(super) type Logouts = Queue<Waiting>;

/// Starts the task.
pub(super) fn start(pool: Arc<Pool>, time: Time) -> Logouts {
    Queue::start(|batches| run(batches, Committer { pool, time }))
}

/// Ends the sessions of a batch.
struct Committer {
    pool: Arc<Pool>,
    time: Time,
}

#[async_trait]
impl Commit<Logout, Revoked> for Committer {
    async fn commit(&mut self, batch: &[Waiting]) -> Result<Vec<Revoked>> {
        let begun = Instant::now();
        let revoked = end(&self.pool, &self.time, batch.iter().map(|waiting| &waiting.work)).await?;
        self.pool.metrics.committed(StoreWork::logouts, batch.len(), begun.elapsed());
        Ok(revoked)
    }
}

async fn run(mut batches: Batches<Waiting>, mut committer: Committer) {
    while let Some(mut batch) = batches.next().await {
        // The client of one that was given up was answered that the outcome is unknown: it need not be done any more.
        batch.retain(|waiting| !waiting.is_given_up());
        if batch.is_empty() {
            continue;
        }
        commit_and_answer(batch, &mut committer).await;
    }
}

/// What ended: each at its place among the logouts, counted from one.
#[derive(FromRow)]
struct Ended {
    seq: Seq,
    places: Vec<i64>,
    ids: Vec<SessionId>,
}

/// Ends the sessions in one statement, which commits itself, and says what each of the logouts came to, in their order.
///
/// All sessions are locked before the number is taken, in the order of their own numbers, as everywhere. It is `count` that
/// sees to it: `EXISTS` would be sure after the first one.
async fn end<'l>(
    pool: &Pool,
    time: &Time,
    logouts: impl ExactSizeIterator<Item = &'l Logout> + Clone,
) -> Result<Vec<Revoked>> {
    let tokens: Vec<_> = logouts.clone().map(|logout| logout.token).collect();
    let users: Vec<_> = logouts.clone().map(|logout| logout.user).collect();
    let addresses: Vec<_> = logouts.clone().map(|logout| logout.ip.clone()).collect();
    let requests: Vec<_> = logouts.clone().map(|logout| logout.request_id.clone()).collect();
    let Now { at, .. } = time.now();
    let ended = query_as(
        "WITH locked AS MATERIALIZED (
             SELECT s.number, s.token_hash, s.user_id, w.ip, w.request_id, w.place,
                 -- It is ended, too, since it would be live again if the clock ran ahead and is set right, or by a last-seen time that
                 -- is on its way. It is not part of the outcome.
                 s.idle_expires_at <= $4 OR s.expires_at <= $4 AS over,
                 -- what cannot be read is no reason to end anything, and the answer is read after the commit
                 CASE WHEN length(s.id) = 17 THEN s.id ELSE (s.number || ' has no id')::bigint::text END AS id
             FROM unnest($1::bytea[], $2::text[], $3::text[], $5::text[])
                 WITH ORDINALITY AS w (token_hash, user_id, ip, request_id, place)
             JOIN sessions AS s ON s.token_hash = w.token_hash AND (w.user_id IS NULL OR w.user_id = s.user_id)
             WHERE s.revoked_at IS NULL
             ORDER BY s.number, w.place FOR UPDATE OF s),
         ended AS MATERIALIZED ( -- of several logouts of one session the first that may ends it
             SELECT DISTINCT ON (number) number, id, token_hash, user_id, over, ip, request_id, place
             FROM locked ORDER BY number, place),
         number AS (
             UPDATE coherence SET seq = 1 + greatest(seq,
                 (('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint - 1) << 40)
             WHERE (SELECT count(*) FROM ended) > 0
             RETURNING seq),
         tombstones AS (
             UPDATE sessions AS s
             SET revoked_at = $4, revoked_by = e.user_id, revoked_why = 'logout', revoked_seq = n.seq
             FROM ended AS e, number AS n WHERE s.number = e.number),
         entry AS (
             INSERT INTO revocations (seq, at, sessions, users)
             SELECT seq, $4, array(SELECT token_hash FROM ended), array[]::text[] FROM number),
         audit AS (
             INSERT INTO events (at, kind, user_id, session_id, actor, ip, request_id)
             SELECT $4, 'logout', user_id, id, user_id, ip, request_id FROM ended WHERE NOT over)
         SELECT seq, array(SELECT place FROM ended WHERE NOT over ORDER BY number) AS places,
             array(SELECT id FROM ended WHERE NOT over ORDER BY number) AS ids,
             pg_notify('sessiond', '') IS NULL AS published
         FROM number",
    )
    .bind(tokens)
    .bind(users)
    .bind(addresses)
    .bind(at)
    .bind(requests);
    let Ended { seq, places, ids } = pool
        .with(async |connection| match connection.row(ended).await? {
            Some(ended) => Ok(ended),
            None => {
                // Not in the same statement, which does not see a rival's tombstone that it has waited for.
                let (seq,) = connection.one(query_as("SELECT seq FROM coherence"), NO_HEAD).await?;
                Ok(Ended { seq, places: Vec::new(), ids: Vec::new() })
            }
        })
        .await?;
    let mut revoked = vec![Revoked { sessions: Vec::new(), seq }; logouts.len()];
    for (place, id) in places.into_iter().zip(ids) {
        let at = usize::try_from(place - 1).ok();
        if let Some(revoked) = at.and_then(|at| revoked.get_mut(at)) {
            revoked.sessions.push(id);
        }
    }
    Ok(revoked)
}
