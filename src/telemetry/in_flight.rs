//! What is under way, and since when: a bounded number of places that are taken and given back without a lock. And what is
//! merely counted while it lasts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Stands in a place where nothing is under way.
const FREE: u64 = 0;

/// The places, to be shared.
#[derive(Clone, Debug)]
pub struct InFlight(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    begin: Instant,
    /// For each place, when what is there began, in microseconds after `begin`, and one more, so that none is [`FREE`].
    since: Box<[AtomicU64]>,
}

/// Something under way, until it is dropped.
#[derive(Debug)]
pub struct Flight {
    of: Arc<Inner>,
    /// There is none where more is under way than there are places.
    place: Option<usize>,
}

impl InFlight {
    /// Makes so many places.
    pub fn new(places: usize) -> Self {
        let since = (0..places).map(|_| AtomicU64::new(FREE)).collect();
        Self(Arc::new(Inner { begin: Instant::now(), since }))
    }

    /// Begins something.
    pub fn begin(&self) -> Flight {
        let now = self.now().saturating_add(1);
        let take = |place: &AtomicU64| place.compare_exchange(FREE, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        Flight { of: Arc::clone(&self.0), place: self.0.since.iter().position(take) }
    }

    /// How many are under way.
    pub fn count(&self) -> usize {
        self.0.since.iter().filter(|since| since.load(Ordering::Relaxed) != FREE).count()
    }

    /// For how long the oldest has been under way; nothing where none is.
    pub fn oldest(&self) -> Duration {
        let begun = self.0.since.iter().map(|since| since.load(Ordering::Relaxed)).filter(|since| *since != FREE);
        let oldest = begun.min().map(|since| self.now().saturating_sub(since.saturating_sub(1)));
        Duration::from_micros(oldest.unwrap_or_default())
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.begin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(place) = self.place.and_then(|place| self.of.since.get(place)) {
            place.store(FREE, Ordering::Relaxed);
        }
    }
}

/// Something that is counted until it is dropped.
#[derive(Debug)]
pub struct Counted<'c>(&'c AtomicUsize);

impl<'c> Counted<'c> {
    /// Counts one more.
    pub fn begin(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_under_way_is_the_one_whose_age_is_shown() {
        let reads = InFlight::new(2);
        assert_eq!((reads.count(), reads.oldest()), (0, Duration::ZERO));
        let first = reads.begin();
        tokio::time::advance(Duration::from_secs(2)).await;
        let second = reads.begin();
        let beyond = reads.begin();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((reads.count(), reads.oldest()), (2, Duration::from_secs(3)));
        drop(first);
        assert_eq!((reads.count(), reads.oldest()), (1, Duration::from_secs(1)));
        drop(beyond);
        assert_eq!(reads.count(), 1, "it had no place to give back");
        drop(second);
        assert_eq!((reads.count(), reads.oldest()), (0, Duration::ZERO));
    }
}
