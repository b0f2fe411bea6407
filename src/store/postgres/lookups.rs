//! What tokens lead to, many by one statement and one round trip.

use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row as _, query_as};

use super::super::lookups::Found;
use super::super::rows::LookupRow;
use super::super::{Lookup, Result};
use super::connection::failed;
use super::pool::Pool;
use crate::domain::token::TokenHash;

/// Finds what the tokens lead to. What was archived is over, whatever the clock says by now.
pub(super) async fn find(pool: &Pool, tokens: Vec<TokenHash>) -> Result<Found> {
    let sessions = query_as(
        "SELECT s.token_hash, s.revoked_at, s.revoked_seq,
             s.id, s.user_id, s.created_at, s.last_seen_at,
             CASE WHEN s.archived THEN 0 ELSE s.idle_expires_at END AS idle_expires_at, s.expires_at,
             s.remembered, s.ip, s.user_agent, s.host,
             u.username, u.email, u.name, u.admin, u.disabled_at, u.created_at AS user_created_at,
             u.updated_at AS user_updated_at
         FROM sessions AS s JOIN users AS u ON u.id = s.user_id
         WHERE s.token_hash = ANY ($1)",
    );
    let found: Vec<FoundRow> = pool.rows(sessions.bind(tokens)).await?;
    Ok(found.into_iter().map(|FoundRow { token_hash, lookup }| (token_hash, lookup)).collect())
}

/// A row, which may make no sense.
struct FoundRow {
    token_hash: TokenHash,
    lookup: Result<Lookup>,
}

impl FromRow<'_, PgRow> for FoundRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let lookup = LookupRow::from_row(row).map(|LookupRow(lookup)| lookup).map_err(failed);
        Ok(Self { token_hash: row.try_get("token_hash")?, lookup })
    }
}
