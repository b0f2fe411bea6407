//! Deletes what is out of date, a batch at a time.

use std::sync::atomic::{AtomicI64, Ordering};

use sqlx::{FromRow, query, query_as};

use super::super::{EventNumber, EventPurge, EventsPurged, Result};
use super::pool::Pool;
use crate::domain::clock::Timestamp;

/// How far the purge of sessions that is under way has deleted.
pub(super) struct Purges {
    /// Their absolute expiry.
    sessions: AtomicI64,
}

/// How many rows were deleted, and the last one's key.
#[derive(FromRow)]
struct Gone {
    deleted: i64,
    last: Option<i64>,
}

impl Purges {
    /// None has deleted anything yet.
    pub(super) const fn new() -> Self {
        Self { sessions: AtomicI64::new(i64::MIN) }
    }

    /// Deletes sessions that expired before a time, and what nothing needs any more: entries of the log, enrolments, and
    /// logins that waited for a code. Returns how many sessions.
    pub(super) async fn sessions(&self, pool: &Pool, before: Timestamp, limit: u32) -> Result<u64> {
        // Every replica purges, and skips the rows that another one is deleting. A batch goes on where the last one ended:
        // the index leads through what is deleted until it is vacuumed.
        let sessions = query_as(
            "WITH gone AS (
                 DELETE FROM sessions WHERE number = ANY (ARRAY
                     (SELECT number FROM sessions WHERE expires_at >= $1 AND expires_at < $2
                      ORDER BY expires_at LIMIT $3 FOR UPDATE SKIP LOCKED))
                 RETURNING expires_at)
             SELECT count(*) AS deleted, max(expires_at) AS last FROM gone",
        );
        let sessions = sessions.bind(self.sessions.load(Ordering::Relaxed)).bind(before).bind(i64::from(limit));
        let Gone { deleted, last } = pool.with(async |c| c.one(sessions, "a count has no row").await).await?;
        let all_gone = deleted < i64::from(limit);
        self.sessions.store(last.filter(|_| !all_gone).unwrap_or(i64::MIN), Ordering::Relaxed);
        // Entries that a replica has not applied yet are kept, or it would have to clear its cache. They are small, and there may
        // be more of them than sessions that expire, such as those of users who were edited.
        let entries = query(
            "DELETE FROM revocations WHERE seq = ANY (ARRAY
                 (SELECT seq FROM revocations
                  WHERE at < $1 AND seq <= (SELECT coalesce(min(applied), 9223372036854775807) FROM replicas)
                  ORDER BY seq LIMIT 16 * $2 FOR UPDATE SKIP LOCKED))",
        );
        pool.execute(entries.bind(before).bind(i64::from(limit))).await?;
        for sql in [
            "DELETE FROM pending_logins WHERE token_hash = ANY (ARRAY
                 (SELECT token_hash FROM pending_logins WHERE expires_at < $1
                  ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
            "DELETE FROM second_factor_enrolments WHERE user_id = ANY (ARRAY
                 (SELECT user_id FROM second_factor_enrolments WHERE started_at < $1
                  ORDER BY started_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
        ] {
            pool.execute(query(sql).bind(before).bind(i64::from(limit))).await?;
        }
        Ok(u64::try_from(deleted).unwrap_or_default())
    }
}

/// What is known of the events that were looked at.
#[derive(FromRow)]
struct SomeEvents {
    looked: i64,
    deleted: i64,
    last: Option<i64>,
}

/// Deletes old events. Every replica does, and skips the rows that another one is deleting.
pub(super) async fn events(pool: &Pool, purge: EventPurge) -> Result<EventsPurged> {
    let EventPurge { before, after: EventNumber(after), limit } = purge;
    let looked = query_as(
        "WITH batch AS MATERIALIZED (SELECT number, at FROM events WHERE number > $1 ORDER BY number LIMIT $3),
         gone AS (
             DELETE FROM events WHERE number = ANY (ARRAY (
                 SELECT number FROM events WHERE number = ANY (ARRAY (SELECT number FROM batch WHERE at < $2))
                 ORDER BY number FOR UPDATE SKIP LOCKED))
             RETURNING number)
         SELECT count(*) AS looked, (SELECT count(*) FROM gone) AS deleted, max(number) AS last FROM batch",
    );
    let looked = looked.bind(after).bind(before).bind(i64::from(limit));
    let SomeEvents { looked, deleted, last } = pool.with(async |c| c.one(looked, "a count has no row").await).await?;
    Ok(purge.outcome(u64::try_from(deleted).unwrap_or_default(), looked, last))
}
