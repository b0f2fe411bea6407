//! Checks that must ask the store at about the same time: one statement and one round trip for many of them.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row as _, query_as};

use super::super::batch::{Batches, Pending, Queue};
use super::super::rows::LookupRow;
use super::super::{Lookup, Result};
use super::connection::failed;
use super::pool::Pool;
use crate::domain::token::TokenHash;
use crate::telemetry::StoreWork;

/// The most batches that are asked for at a time, each on a connection of its own. With one, a connection that hangs
/// would hold up every check; the more there are, the fewer checks share a round trip.
const AT_A_TIME: usize = 3;

/// A token that is looked up, and where the answer goes.
type Waiting = Pending<TokenHash, Lookup>;

/// Where look-ups wait for the task that asks.
pub(super) type Lookups = Queue<Waiting>;

/// Starts the task.
pub(super) fn start(pool: Arc<Pool>) -> Lookups {
    Queue::start(|batches| run(batches, pool))
}

async fn run(mut batches: Batches<Waiting>, pool: Arc<Pool>) {
    let mut asked = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(()) = asked.next() => {}
            batch = batches.next(), if asked.len() < AT_A_TIME => match batch {
                Some(batch) => asked.push(answer(&pool, batch)),
                None => break,
            },
        }
    }
    while asked.next().await.is_some() {}
}

/// Looks up all tokens of a batch and answers each.
async fn answer(pool: &Pool, mut batch: Vec<Waiting>) {
    batch.retain(|waiting| !waiting.is_given_up());
    if batch.is_empty() {
        return;
    }
    let tokens: Vec<_> = batch.iter().map(|waiting| waiting.work).collect();
    pool.metrics.asked(StoreWork::lookups, tokens.len());
    match find(pool, tokens).await {
        Ok(found) => {
            for waiting in batch {
                let lookup = found.get(&waiting.work).cloned().unwrap_or(Ok(Lookup::Missing));
                waiting.answer(lookup);
            }
        }
        Err(error) => batch.into_iter().for_each(|waiting| waiting.answer(Err(error.clone()))),
    }
}

/// What the tokens lead to; the ones that lead nowhere are left out.
async fn find(pool: &Pool, tokens: Vec<TokenHash>) -> Result<HashMap<TokenHash, Result<Lookup>>> {
    let sessions = query_as(
        "SELECT s.token_hash, s.revoked_at, s.revoked_seq,
             s.id, s.user_id, s.created_at, s.last_seen_at, s.idle_expires_at, s.expires_at,
             s.remembered, s.ip, s.user_agent, s.host,
             u.username, u.email, u.name, u.admin, u.disabled_at, u.created_at AS user_created_at,
             u.updated_at AS user_updated_at
         FROM sessions AS s JOIN users AS u ON u.id = s.user_id
         WHERE s.token_hash = ANY ($1)",
    );
    let found: Vec<Found> = pool.rows(sessions.bind(tokens)).await?;
    Ok(found.into_iter().map(|Found { token_hash, lookup }| (token_hash, lookup)).collect())
}

/// A row. One that makes no sense fails the check of its own session, and not those that were asked for beside it.
struct Found {
    token_hash: TokenHash,
    lookup: Result<Lookup>,
}

impl FromRow<'_, PgRow> for Found {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let lookup = LookupRow::from_row(row).map(|LookupRow(lookup)| lookup).map_err(failed);
        Ok(Self { token_hash: row.try_get("token_hash")?, lookup })
    }
}
