//! Operations on the counters of failed tries: one try is booked on several, given back, or all about a name are lifted.

use std::borrow::Borrow;
use std::collections::HashMap;

use data_encoding::HEXLOWER;
use sqlx::{FromRow, Result};

use super::super::super::Booked;
use super::super::revocations::json;
use super::super::transaction::Transaction;
use super::Operation;
use crate::domain::clock::Timestamp;
use crate::domain::event::Event;
use crate::domain::throttle::{Counter, Tally, ThrottleKey};

/// Counts a try on every counter, unless it must wait by one of them.
pub(crate) struct Book(pub Vec<Counter>);

impl Operation for Book {
    type Outcome = Booked;

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<Booked> {
        let (Self(counters), at) = (self, transaction.now());
        let tallies = tallies(transaction, counters).await?;
        let before: Vec<_> = counters.iter().map(|counter| (counter, tallies.get(&counter.key).copied())).collect();
        let waits = |tally: &Option<Tally>| tally.is_some_and(|tally| tally.until > at);
        let asked = before.iter().filter(|(counter, tally)| counter.counted.refuses() && waits(tally));
        if let Some(until) = asked.filter_map(|(_, tally)| tally.map(|tally| tally.until)).max() {
            return Ok(Booked::Waiting { until });
        }
        let stopped = before.iter().any(|(_, tally)| waits(tally));
        let counted = before.into_iter().filter(|(_, tally)| !waits(tally));
        keep(transaction, counted.map(|(counter, tally)| (counter, Tally::booked(tally, counter.counted, at)))).await?;
        Ok(Booked::Yes { at, stopped })
    }
}

/// Takes a try back that was booked at a time and did not fail.
pub(crate) struct GiveBack {
    pub counters: Vec<Counter>,
    pub at: Timestamp,
}

impl Operation for GiveBack {
    type Outcome = ();

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<()> {
        let tallies = tallies(transaction, &self.counters).await?;
        let (mut kept, mut gone) = (Vec::new(), Vec::new());
        for counter in &self.counters {
            match tallies.get(&counter.key).map(|before| before.given_back(self.at)) {
                Some(Some(tally)) => kept.push((counter, tally)),
                Some(None) => gone.push(counter.key),
                None => {}
            }
        }
        keep(transaction, kept).await?;
        reset(transaction, &gone).await
    }
}

/// Deletes every counter about names and accounts.
pub(crate) struct Lift {
    pub about: Vec<ThrottleKey>,
    pub event: Event,
}

impl Operation for Lift {
    type Outcome = bool;

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<bool> {
        let lifted = lift(transaction, &self.about).await?;
        let at = transaction.now();
        transaction.record(&[Event { at, ..self.event.clone() }]).await?;
        Ok(lifted)
    }
}

/// Deletes counters that are not needed any more.
pub(crate) struct PurgeThrottles {
    pub before: Timestamp,
    pub limit: u32,
}

impl Operation for PurgeThrottles {
    type Outcome = u64;

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<u64> {
        let now = transaction.now();
        let deleted = sqlx::query(
            "DELETE FROM throttles WHERE key IN
                 (SELECT key FROM throttles
                  WHERE forget_at <= ?1 AND (forget_at <= ?2 OR until <= ?2 AND counted NOT IN (3, 5))
                  ORDER BY forget_at LIMIT ?3)",
        )
        .bind(self.before)
        .bind(now)
        .bind(self.limit)
        .execute(transaction.connection())
        .await?;
        Ok(deleted.rows_affected())
    }
}

/// Deletes every counter about names and accounts, as part of a change. Returns whether there was one.
pub(super) async fn lift(transaction: &mut Transaction<'_>, about: &[ThrottleKey]) -> Result<bool> {
    let mut lifted = false;
    for about in about {
        let lift = sqlx::query("DELETE FROM throttles WHERE about = ?1").bind(about);
        lifted |= lift.execute(transaction.connection()).await?.rows_affected() > 0;
    }
    Ok(lifted)
}

/// Deletes counters, as part of a change.
async fn reset(transaction: &mut Transaction<'_>, keys: &[ThrottleKey]) -> Result<()> {
    let reset = sqlx::query("DELETE FROM throttles WHERE key IN (SELECT unhex(value) FROM json_each(?1))");
    reset.bind(listed(keys)?).execute(transaction.connection()).await.map(drop)
}

/// Keys as a list for `json_each`, whose values are read with `unhex`.
pub(crate) fn listed(keys: impl IntoIterator<Item = impl Borrow<ThrottleKey>>) -> Result<String> {
    json(&keys.into_iter().map(|key| hex(key.borrow())).collect::<Vec<_>>())
}

fn hex(key: &ThrottleKey) -> String {
    HEXLOWER.encode(key.as_bytes())
}

/// A counter as it is stored.
#[derive(FromRow)]
pub(crate) struct TallyRow {
    key: ThrottleKey,
    failures: i64,
    until: Timestamp,
    forget_at: Timestamp,
}

impl TallyRow {
    /// The counter's key, and its state.
    pub(crate) const fn into_parts(self) -> (ThrottleKey, Tally) {
        let Self { key, failures, until, forget_at } = self;
        (key, Tally { failures, until, forget_at })
    }
}

/// What is stored of these counters, of each that has failures.
async fn tallies(transaction: &mut Transaction<'_>, counters: &[Counter]) -> Result<HashMap<ThrottleKey, Tally>> {
    let rows: Vec<TallyRow> = sqlx::query_as(
        "SELECT key, failures, until, forget_at FROM throttles WHERE key IN (SELECT unhex(value) FROM json_each(?1))",
    )
    .bind(listed(counters.iter().map(|counter| counter.key))?)
    .fetch_all(transaction.connection())
    .await?;
    Ok(rows.into_iter().map(TallyRow::into_parts).collect())
}

/// Stores what each of these counters has come to.
async fn keep<'c>(
    transaction: &mut Transaction<'_>,
    counted: impl IntoIterator<Item = (&'c Counter, Tally)>,
) -> Result<()> {
    let rows = counted.into_iter().map(|(Counter { key, about, counted }, Tally { failures, until, forget_at })| {
        (hex(key), hex(about), counted.number(), failures, until.millis(), forget_at.millis())
    });
    sqlx::query(
        "INSERT INTO throttles (key, about, counted, failures, until, forget_at)
         SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4, value ->> 5
         FROM jsonb_each(?1) WHERE true
         ON CONFLICT (key) DO UPDATE
         SET failures = excluded.failures, until = excluded.until, forget_at = excluded.forget_at",
    )
    .bind(json(&rows.collect::<Vec<_>>())?)
    .execute(transaction.connection())
    .await
    .map(drop)
}

#[cfg(test)]
mod tests {
    use crate::domain::throttle::Counted;

    #[test]
    fn the_numbers_in_the_statements_are_those_of_an_account_of_codes_and_of_what_refuses() {
        assert_eq!((Counted::Account.number(), Counted::Code.number()), (3, 5));
        assert!(Counted::ALL.iter().all(|counted| counted.refuses() == [0, 1, 2, 5].contains(&counted.number())));
    }
}
