//! Operations on the counters of failed tries: one try is booked on several, given back, or all about a name are lifted.

use sqlx::{FromRow, Result};

use super::super::super::Booked;
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
        let mut before = Vec::with_capacity(counters.len());
        for counter in counters {
            before.push((counter, tally(transaction, counter.key).await?));
        }
        let waits = |tally: &Option<Tally>| tally.is_some_and(|tally| tally.until > at);
        let asked = before.iter().filter(|(counter, tally)| counter.counted.refuses() && waits(tally));
        if let Some(until) = asked.filter_map(|(_, tally)| tally.map(|tally| tally.until)).max() {
            return Ok(Booked::Waiting { until });
        }
        let stopped = before.iter().any(|(_, tally)| waits(tally));
        for (counter, tally) in before.into_iter().filter(|(_, tally)| !waits(tally)) {
            keep(transaction, counter, Tally::booked(tally, counter.counted, at)).await?;
        }
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
        for counter in &self.counters {
            let Some(before) = tally(transaction, counter.key).await? else { continue };
            match before.given_back(self.at) {
                Some(tally) => keep(transaction, counter, tally).await?,
                None => reset(transaction, &[counter.key]).await?,
            }
        }
        Ok(())
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
pub(super) async fn reset(transaction: &mut Transaction<'_>, keys: &[ThrottleKey]) -> Result<()> {
    for key in keys {
        let reset = sqlx::query("DELETE FROM throttles WHERE key = ?1").bind(key);
        reset.execute(transaction.connection()).await?;
    }
    Ok(())
}

/// A counter as it is stored.
#[derive(FromRow)]
pub(crate) struct TallyRow {
    failures: i64,
    until: Timestamp,
    forget_at: Timestamp,
}

impl From<TallyRow> for Tally {
    fn from(TallyRow { failures, until, forget_at }: TallyRow) -> Self {
        Self { failures, until, forget_at }
    }
}

async fn tally(transaction: &mut Transaction<'_>, key: ThrottleKey) -> Result<Option<Tally>> {
    let row = sqlx::query_as("SELECT failures, until, forget_at FROM throttles WHERE key = ?1").bind(key);
    let row: Option<TallyRow> = row.fetch_optional(transaction.connection()).await?;
    Ok(row.map(Tally::from))
}

async fn keep(transaction: &mut Transaction<'_>, counter: &Counter, tally: Tally) -> Result<()> {
    let Tally { failures, until, forget_at } = tally;
    sqlx::query(
        "INSERT INTO throttles (key, about, counted, failures, until, forget_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (key) DO UPDATE SET failures = ?4, until = ?5, forget_at = ?6",
    )
    .bind(counter.key)
    .bind(counter.about)
    .bind(counter.counted.number())
    .bind(failures)
    .bind(until)
    .bind(forget_at)
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
