//! Live sessions that are read before they are checked.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;

use super::super::lookups::Lookups;
use super::super::{Ahead, Part, PartRead, Result};
use super::connection::failed;
use super::readers::Readers;
use super::revocations::from_json;
use crate::domain::clock::Timestamp;
use crate::domain::principal::{Identity, LiveSession};
use crate::domain::session::Expiry;
use crate::domain::token::TokenHash;

/// Reads on one connection of its own.
pub(super) struct Reader {
    readers: Readers,
    lookups: Arc<Lookups>,
}

impl Reader {
    /// Opens no connection yet. `readers` are one.
    pub(super) const fn new(readers: Readers, lookups: Arc<Lookups>) -> Self {
        Self { readers, lookups }
    }

    /// Closes the connection for good.
    pub(super) async fn end(&self) {
        self.readers.close().await;
    }
}

#[async_trait]
impl Ahead for Reader {
    async fn read(&self, part: &Part) -> Result<PartRead> {
        self.lookups.step_back().await;
        read(&self.readers, part).await
    }

    fn asked(&self) -> u64 {
        self.lookups.asked()
    }

    async fn close(&self) {
        self.readers.close_idle().await;
    }
}

/// Reads a part, in one row, since each row is a trip by itself.
async fn read(readers: &Readers, Part { before, rows, now, seen }: &Part) -> Result<PartRead> {
    let read = sqlx::query_as(
        "WITH part AS MATERIALIZED (
             SELECT number, token_hash, id, user_id, last_seen_at, idle_expires_at, expires_at, remembered,
                 revoked_at IS NULL AND archived = 0 AND idle_expires_at > ?3 AND expires_at > ?3 AS live
             FROM sessions WHERE number < ?1 ORDER BY number DESC LIMIT ?2)
         SELECT (SELECT min(number) FROM part), (SELECT coalesce(max(live AND last_seen_at < ?4), 0) FROM part),
             (SELECT json_group_array(json_array(hex(part.token_hash), part.id, part.user_id,
                  part.last_seen_at, part.idle_expires_at, part.expires_at, part.remembered,
                  u.username, u.name, coalesce(u.email, ''), u.admin))
              FROM part CROSS JOIN users AS u ON u.id = part.user_id
              WHERE part.live AND part.last_seen_at >= ?4 AND part.last_seen_at < ?5 AND u.disabled_at IS NULL)",
    );
    let read = read.bind(before.unwrap_or(i64::MAX)).bind(*rows).bind(*now).bind(seen.start).bind(seen.end);
    let read: Option<(Option<i64>, bool, String)> = readers.one(read).await?;
    let Some((next, earlier, sessions)) = read else { return Ok(PartRead::default()) };
    let rows: Vec<Row<'_>> = from_json(&sessions).map_err(failed)?;
    Ok(PartRead { sessions: rows.iter().filter_map(Row::session).collect(), earlier, next })
}

/// A session, in the order of the statement's columns.
#[derive(Deserialize)]
struct Row<'a> {
    token_hash: &'a str,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    user_id: Cow<'a, str>,
    last_seen_at: i64,
    idle_expires_at: i64,
    expires_at: i64,
    remembered: u8,
    #[serde(borrow)]
    username: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    email: Cow<'a, str>,
    admin: u8,
}

impl Row<'_> {
    fn session(&self) -> Option<LiveSession> {
        let texts = [&*self.username, &self.name, &self.email];
        let at = Timestamp::from_millis;
        Some(LiveSession {
            token_hash: TokenHash::from_hex(self.token_hash)?,
            identity: Identity::pack(self.user_id.parse().ok()?, self.id.parse().ok()?, self.admin != 0, texts),
            last_seen_at: at(self.last_seen_at),
            expiry: Expiry { idle: at(self.idle_expires_at), absolute: at(self.expires_at) },
            remembered: self.remembered != 0,
        })
    }
}
