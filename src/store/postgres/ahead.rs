//! Live sessions that are read before they are checked.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row as _, query_as};

use super::super::lookups::Lookups;
use super::super::{Ahead, Part, PartRead, Result};
use super::pool::Pool;
use crate::domain::clock::Timestamp;
use crate::domain::id::{SessionId, UserId};
use crate::domain::principal::{Identity, LiveSession};
use crate::domain::session::Expiry;
use crate::domain::token::TokenHash;

/// Reads on one connection of its own.
pub(super) struct Reader {
    pool: Arc<Pool>,
    lookups: Arc<Lookups>,
}

impl Reader {
    /// Opens no connection yet. `pool` is for one.
    pub(super) const fn new(pool: Arc<Pool>, lookups: Arc<Lookups>) -> Self {
        Self { pool, lookups }
    }

    /// Closes the connection for good.
    pub(super) fn end(&self) {
        self.pool.close();
    }
}

#[async_trait]
impl Ahead for Reader {
    async fn read(&self, part: &Part) -> Result<PartRead> {
        self.lookups.step_back().await;
        read(&self.pool, part).await
    }

    fn asked(&self) -> u64 {
        self.lookups.asked()
    }

    async fn close(&self) {
        self.pool.forget();
    }
}

/// Reads a part. Each user is looked up: where most of a table could be wanted, all of it would be read.
async fn read(pool: &Pool, Part { before, rows, now, seen }: &Part) -> Result<PartRead> {
    let read = query_as(
        "WITH part AS MATERIALIZED (
             SELECT number, token_hash, id, user_id, last_seen_at, idle_expires_at, expires_at, remembered,
                 revoked_at IS NULL AND NOT archived AND idle_expires_at > $3 AND expires_at > $3 AS live
             FROM sessions WHERE number < $1 ORDER BY number DESC LIMIT $2)
         SELECT ends.next, ends.earlier, part.token_hash, part.id, part.last_seen_at, part.idle_expires_at,
             part.expires_at, part.remembered, u.id AS user_id, u.username, u.name, u.email, u.admin
         FROM (SELECT min(number) AS next, coalesce(bool_or(live AND last_seen_at < $4), false) AS earlier FROM part) AS ends
         LEFT JOIN (part CROSS JOIN LATERAL (
             SELECT id, username, name, email, admin FROM users
             WHERE id = part.user_id AND disabled_at IS NULL OFFSET 0) AS u)
         ON part.live AND part.last_seen_at >= $4 AND part.last_seen_at < $5",
    );
    let read = read.bind(before.unwrap_or(i64::MAX)).bind(i64::from(*rows)).bind(*now).bind(seen.start).bind(seen.end);
    let rows: Vec<AheadRow> = pool.rows(read).await?;
    let mut read = PartRead::default();
    for AheadRow { next, earlier, session } in rows {
        (read.next, read.earlier) = (next, earlier);
        read.sessions.extend(session);
    }
    Ok(read)
}

/// Where the next part begins, whether there were earlier sessions, and a session that makes sense, if there is one.
struct AheadRow {
    next: Option<i64>,
    earlier: bool,
    session: Option<LiveSession>,
}

impl FromRow<'_, PgRow> for AheadRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let (next, earlier) = (row.try_get(0)?, row.try_get(1)?);
        Ok(Self { next, earlier, session: session(row).ok() })
    }
}

/// The session in a row.
fn session(row: &PgRow) -> sqlx::Result<LiveSession> {
    let token_hash: TokenHash = row.try_get(2)?;
    let id: SessionId = row.try_get(3)?;
    let last_seen_at: Timestamp = row.try_get(4)?;
    let expiry = Expiry { idle: row.try_get(5)?, absolute: row.try_get(6)? };
    let remembered = row.try_get(7)?;
    let user_id: UserId = row.try_get(8)?;
    let texts: [&str; 3] = [row.try_get(9)?, row.try_get(10)?, row.try_get::<Option<_>, _>(11)?.unwrap_or_default()];
    let identity = Identity::pack(user_id, id, row.try_get(12)?, texts);
    Ok(LiveSession { token_hash, identity, last_seen_at, expiry, remembered })
}
