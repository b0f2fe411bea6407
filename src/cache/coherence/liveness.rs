//! Which replicas are alive: one whose row has not changed for a lease, on the clock of the process that watches, is not.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::contract::LEASE;
use crate::domain::id::ReplicaId;
use crate::domain::revocation::Seq;
use crate::store::{News, Replica, Replicas, Result};

/// The longest time without a look after which a row may still be said to have been watched.
const GAP: Duration = Duration::from_nanos_u128(LEASE.as_nanos() / 2);

/// What was seen of each row, on the clock of the process that watches.
#[derive(Default)]
pub struct Watch {
    /// The beat of each row, and since when it has been the same.
    rows: HashMap<ReplicaId, (i64, Duration)>,
    last: Duration,
}

impl Watch {
    /// Records all rows, as they were read at some time between `sent` and `answered`. Returns those that have not
    /// beaten for a lease. After a gap the watch begins anew, since every row is silent while the store is down.
    pub fn silent(&mut self, sent: Duration, answered: Duration, rows: &[Replica]) -> Vec<Replica> {
        let gap = answered.saturating_sub(self.last) > GAP;
        self.last = answered;
        let before = std::mem::take(&mut self.rows);
        let since = |row: &Replica| match before.get(&row.id) {
            Some((beat, since)) if *beat == row.beat && !gap => *since,
            Some(_) | None => answered,
        };
        self.rows = rows.iter().map(|row| (row.id, (row.beat, since(row)))).collect();
        rows.iter().filter(|row| sent.saturating_sub(since(row)) >= LEASE).copied().collect()
    }
}

/// Watches the rows of all replicas for a lease. Returns what was read last, and the rows that were silent.
///
/// # Errors
/// When the store fails.
pub async fn watch(replicas: &dyn Replicas) -> Result<(News, Vec<Replica>)> {
    // Only the newest number is needed, and no entry of the log.
    let newest = Seq(i64::MAX);
    let (mut watch, began) = (Watch::default(), Instant::now());
    loop {
        let sent = began.elapsed();
        let news = replicas.news(newest).await?;
        let silent = watch.silent(sent, began.elapsed(), &news.replicas);
        if sent > LEASE {
            return Ok((news, silent));
        }
        tokio::time::sleep(GAP / 2).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entropy::SystemEntropy;

    /// Looks at a row at these intervals in milliseconds, with the beat of each look. Returns after how many looks it
    /// was found silent.
    fn silent_after(every: &[u64], beat: impl Fn(i64) -> i64) -> Option<usize> {
        let id = ReplicaId::random(&SystemEntropy).expect("entropy");
        let mut watch = Watch::default();
        let mut now = Duration::from_secs(1000);
        every.iter().zip(0..).position(|(pause, look)| {
            now += Duration::from_millis(*pause);
            let row = Replica { id, beat: beat(look), applied: Seq(0), caching: true };
            !watch.silent(now, now + Duration::from_millis(5), &[row]).is_empty()
        })
    }

    #[test]
    fn a_row_is_silent_after_a_lease_of_watching() {
        assert_eq!(silent_after(&[100; 20], |_| 7), Some(11), "the first answer came a little later");
    }

    #[test]
    fn a_row_that_beats_is_not_silent() {
        assert_eq!(silent_after(&[100; 100], |look| look / 9), None);
    }

    #[test]
    fn a_gap_begins_the_watch_anew() {
        assert_eq!(silent_after(&[[400, 400, 600]; 20].concat(), |_| 7), None);
        assert_eq!(silent_after(&[400, 400, 5000, 400, 400, 400], |_| 7), Some(5));
    }
}
