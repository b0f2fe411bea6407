//! The counters of failed tries: one try is booked on several in one statement, given back, or all about a name are lifted.
//!
//! Every statement locks counters in the order of their kinds, the most special first, so that no two wait for each other.

use std::sync::LazyLock;

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{FromRow, Postgres, query, query_as};

use super::super::{Booked, Result, StoreError};
use super::change::{Change, GivenSeq, Operation, Time};
use super::connection::Connection;
use super::pool::Pool;
use crate::domain::clock::Timestamp;
use crate::domain::event::Event;
use crate::domain::throttle::{Counted, Counter, MEMORY, STOP, Tally, ThrottleKey};

/// The wait in milliseconds after each number of failures up to the stop, if there is one, of one kind of counter after the other
/// in the order of their numbers: the statement looks up what `domain` has decided.
static WAITS: LazyLock<Vec<Option<i64>>> = LazyLock::new(|| {
    let waits = Counted::ALL.iter().flat_map(|counted| (1..=STOP).map(|failures| counted.wait_after(failures)));
    waits.map(|wait| i64::try_from(wait.as_millis()).ok().filter(|wait| *wait > 0)).collect()
});
/// How often a try is booked again that met others which were booked, and lifted, in the same moment.
const ATTEMPTS: usize = 3;

/// What came of a statement that books a try.
#[derive(FromRow)]
struct Attempt {
    /// The end of the latest wait, where there was one before.
    until: Option<Timestamp>,
    /// Whether the first counter took it.
    first: bool,
    /// The kinds of the other counters that took it.
    others: Vec<i16>,
}

/// Counts a try on every counter, the most special first, unless it must wait by one of them.
pub(super) async fn book(pool: &Pool, time: &Time, counters: &[Counter]) -> Result<Booked> {
    for _ in 0..ATTEMPTS {
        let at = time.now().at;
        let booked = pool.with(async |connection| book_once(connection, counters, at).await).await?;
        if let Some(booked) = booked {
            return Ok(booked);
        }
    }
    Err(StoreError::too_slow("a try could not be counted beside so many others"))
}

async fn book_once(connection: &mut Connection, counters: &[Counter], at: Timestamp) -> Result<Option<Booked>> {
    // A counter that is new to this statement may have been made by another one that it waits for. The statement then does
    // not change it, by which one sees that it refuses; as the first is changed before all others, that is seen in time.
    let attempt = query_as(
        "WITH wanted AS MATERIALIZED (
             SELECT key, about, counted, place
             FROM unnest($1::bytea[], $2::bytea[], $3::smallint[]) WITH ORDINALITY AS each (key, about, counted, place)),
         waiting AS MATERIALIZED (
             SELECT max(until) AS until FROM throttles WHERE key = ANY ($1) AND until > $4 AND counted IN (0, 1, 2, 5)),
         first AS (
             INSERT INTO throttles AS t (key, about, counted, failures, until, forget_at)
             SELECT w.key, w.about, w.counted, 1, coalesce($4::bigint + ($5::bigint[])[w.counted * $6::int + 1], 0), $4::bigint + $7::bigint
             FROM wanted AS w, waiting WHERE w.place = 1 AND waiting.until IS NULL
             ON CONFLICT (key) DO UPDATE SET
                 failures = CASE WHEN t.forget_at <= $4 THEN 1 ELSE t.failures + 1 END,
                 until = coalesce($4 + ($5::bigint[])[t.counted * $6::int
                     + CASE WHEN t.forget_at <= $4 THEN 1 ELSE least(t.failures + 1, $6)::int END], 0),
                 forget_at = $4 + $7::bigint
             WHERE t.until <= $4
             RETURNING counted),
         others AS (
             INSERT INTO throttles AS t (key, about, counted, failures, until, forget_at)
             SELECT w.key, w.about, w.counted, 1, coalesce($4::bigint + ($5::bigint[])[w.counted * $6::int + 1], 0), $4::bigint + $7::bigint
             FROM wanted AS w, first WHERE w.place > 1 ORDER BY w.place
             ON CONFLICT (key) DO UPDATE SET
                 failures = CASE WHEN t.forget_at <= $4 THEN 1 ELSE t.failures + 1 END,
                 until = coalesce($4 + ($5::bigint[])[t.counted * $6::int
                     + CASE WHEN t.forget_at <= $4 THEN 1 ELSE least(t.failures + 1, $6)::int END], 0),
                 forget_at = $4 + $7::bigint
             WHERE t.until <= $4
             RETURNING counted)
         SELECT waiting.until, (SELECT count(*) FROM first) > 0 AS first, array(SELECT counted FROM others) AS others
         FROM waiting",
    )
    .bind(keys(counters))
    .bind(counters.iter().map(|counter| counter.about).collect::<Vec<_>>())
    .bind(counters.iter().map(|counter| counter.counted.number()).collect::<Vec<_>>())
    .bind(at)
    .bind(WAITS.as_slice())
    .bind(i32::try_from(STOP).unwrap_or(i32::MAX))
    .bind(i64::try_from(MEMORY.as_millis()).unwrap_or(i64::MAX));
    let Attempt { until, first, others } = connection.one(attempt, "a try was booked without an answer").await?;
    if let Some(until) = until {
        return Ok(Some(Booked::Waiting { until }));
    }
    let (took, refused): (Vec<_>, Vec<_>) = counters
        .iter()
        .enumerate()
        .partition(|(place, counter)| if *place == 0 { first } else { others.contains(&counter.counted.number()) });
    if refused.iter().all(|(_, counter)| !counter.counted.refuses()) {
        return Ok(Some(Booked::Yes { at, stopped: !refused.is_empty() }));
    }
    // One began to wait in this moment. Nothing may have changed then.
    let took: Vec<_> = took.into_iter().map(|(_, counter)| counter.key).collect();
    if !took.is_empty() {
        connection.execute(taking_back(took, at)).await?;
    }
    let waiting =
        query_as("SELECT max(until) FROM throttles WHERE key = ANY ($1) AND until > $2 AND counted IN (0, 1, 2, 5)");
    let (until,): (Option<Timestamp>,) =
        connection.one(waiting.bind(keys(counters)).bind(at), "a maximum has no row").await?;
    Ok(until.map(|until| Booked::Waiting { until }))
}

/// The end of the latest wait, where a try must wait by one of the counters.
pub(super) async fn waiting(pool: &Pool, counters: &[Counter], now: Timestamp) -> Result<Option<Timestamp>> {
    let waiting =
        query_as("SELECT max(until) FROM throttles WHERE key = ANY ($1) AND until > $2 AND counted IN (0, 1, 2, 5)");
    let until: Option<(Option<Timestamp>,)> = pool.row(waiting.bind(keys(counters)).bind(now)).await?;
    Ok(until.and_then(|(until,)| until))
}

/// The counter whose wait ends last, of those under these keys that have one.
pub(super) async fn longest_wait(pool: &Pool, keys: &[ThrottleKey], now: Timestamp) -> Result<Option<Tally>> {
    let longest = query_as(
        "SELECT failures, until, forget_at FROM throttles WHERE key = ANY ($1) AND until > $2 ORDER BY until DESC LIMIT 1",
    );
    let longest: Option<(i64, Timestamp, Timestamp)> = pool.row(longest.bind(keys.to_vec()).bind(now)).await?;
    Ok(longest.map(|(failures, until, forget_at)| Tally { failures, until, forget_at }))
}

/// Takes a try back that was booked at a time and did not fail.
pub(super) async fn give_back(pool: &Pool, counters: &[Counter], at: Timestamp) -> Result<()> {
    pool.execute(taking_back(keys(counters), at)).await.map(drop)
}

fn taking_back(keys: Vec<ThrottleKey>, at: Timestamp) -> Query<'static, Postgres, PgArguments> {
    query(
        "WITH locked AS MATERIALIZED (
             SELECT key, failures FROM throttles WHERE key = ANY ($1) ORDER BY counted, key FOR UPDATE),
         gone AS (DELETE FROM throttles AS t USING locked AS l WHERE t.key = l.key AND l.failures <= 1)
         UPDATE throttles AS t SET failures = t.failures - 1,
             until = CASE WHEN t.forget_at = $2::bigint + $3::bigint THEN 0 ELSE t.until END
         FROM locked AS l WHERE t.key = l.key AND l.failures > 1",
    )
    .bind(keys)
    .bind(at)
    .bind(i64::try_from(MEMORY.as_millis()).unwrap_or(i64::MAX))
}

fn keys(counters: &[Counter]) -> Vec<ThrottleKey> {
    counters.iter().map(|counter| counter.key).collect()
}

/// Deletes every counter about names and accounts.
pub(super) struct Lift {
    pub(super) about: Vec<ThrottleKey>,
    pub(super) event: Event,
}

impl Operation for Lift {
    type Outcome = bool;

    async fn apply(&self, change: &mut Change<'_>) -> Result<GivenSeq<bool>> {
        let lifted = lift(change, &self.about).await?;
        change.event(Event { at: change.now(), ..self.event.clone() });
        Ok(Box::new(move |_| lifted))
    }
}

/// The same as part of a change. Returns whether there was one.
pub(super) async fn lift(change: &mut Change<'_>, about: &[ThrottleKey]) -> Result<bool> {
    if about.is_empty() {
        return Ok(false);
    }
    let lift = query(
        "WITH locked AS MATERIALIZED (
             SELECT key FROM throttles WHERE about = ANY ($1) ORDER BY counted, key FOR UPDATE)
         DELETE FROM throttles AS t USING locked AS l WHERE t.key = l.key",
    );
    Ok(change.connection().execute(lift.bind(about.to_vec())).await? > 0)
}

/// Deletes counters that are not needed any more. Every replica purges, and skips what another one is deleting.
pub(super) async fn purge(pool: &Pool, before: Timestamp, now: Timestamp, limit: u32) -> Result<u64> {
    let purge = query(
        "DELETE FROM throttles WHERE key = ANY (ARRAY
             (SELECT key FROM throttles
              WHERE forget_at <= $1 AND (forget_at <= $2 OR until <= $2 AND counted NOT IN (3, 5))
              ORDER BY forget_at LIMIT $3 FOR UPDATE SKIP LOCKED))",
    );
    pool.execute(purge.bind(before).bind(now).bind(i64::from(limit))).await
}
