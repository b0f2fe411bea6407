//! Histograms that are recorded and read without a lock, so that a scrape holds up no request, and no request another.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// A histogram, to be shared: clones record into the same one.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    unit: Unit,
    /// The upper bounds of all buckets but the last, which has none.
    bounds: Box<[u64]>,
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// The unit in which values are kept. They are whole numbers, so that a sum is one atomic addition.
#[derive(Clone, Copy, Debug)]
enum Unit {
    /// Nanoseconds, which are exposed as seconds.
    Nanoseconds,
    /// Things, which are exposed as they are.
    Things,
}

impl Unit {
    /// A value as it is exposed.
    fn exposed(self, value: u64) -> f64 {
        match self {
            Self::Nanoseconds => Duration::from_nanos(value),
            Self::Things => Duration::from_secs(value),
        }
        .as_secs_f64()
    }
}

impl Histogram {
    /// A histogram of times, with these upper bounds in nanoseconds.
    pub(super) fn of_nanoseconds(bounds: &[u64]) -> Self {
        Self::new(Unit::Nanoseconds, bounds.into())
    }

    /// A histogram of times, with these upper bounds in microseconds.
    pub(super) fn of_microseconds(bounds: &[u64]) -> Self {
        Self::new(Unit::Nanoseconds, bounds.iter().map(|micros| micros.saturating_mul(1000)).collect())
    }

    /// A histogram of how many things there were, with these upper bounds.
    pub(super) fn of_sizes(bounds: &[u64]) -> Self {
        Self::new(Unit::Things, bounds.into())
    }

    fn new(unit: Unit, bounds: Box<[u64]>) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inner { unit, bounds, counts, sum: AtomicU64::new(0) }))
    }

    /// Records a time.
    pub(super) fn record(&self, took: Duration) {
        self.add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Records how many things there were.
    pub(super) fn record_size(&self, size: usize) {
        self.add(u64::try_from(size).unwrap_or(u64::MAX));
    }

    fn add(&self, value: u64) {
        let Inner { unit: _, bounds, counts, sum } = &*self.0;
        let bucket = bounds.partition_point(|bound| *bound < value);
        if let Some(count) = counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
            sum.fetch_add(value, Ordering::Relaxed);
        }
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let Inner { unit, bounds, counts, sum } = &*self.0;
        let bounds = bounds.iter().map(|bound| unit.exposed(*bound)).chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(counts.iter().map(|count| count.load(Ordering::Relaxed))).collect();
        // The sum of what was read, so that the last bucket and the count are one number.
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(unit.exposed(sum.load(Ordering::Relaxed)), count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    fn exposed(histogram: &Histogram) -> Vec<String> {
        let (mut registry, mut text) = (Registry::default(), String::new());
        registry.register("h", "A test's", histogram.clone());
        encode(&mut text, &registry).expect("a string");
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn a_time_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let times = Histogram::of_microseconds(&[10, 1_000]);
        for nanos in [0, 10_000, 10_001, 1_000_000, 1_000_001, 3_000_000_000] {
            times.record(Duration::from_nanos(nanos));
        }
        let expected = [
            "h_sum 3.002020002",
            "h_count 6",
            "h_bucket{le=\"0.00001\"} 2",
            "h_bucket{le=\"0.001\"} 4",
            "h_bucket{le=\"+Inf\"} 6",
        ];
        assert_eq!(exposed(&times), expected);
    }

    #[test]
    fn sizes_are_exposed_as_they_are() {
        let sizes = Histogram::of_sizes(&[1, 64]);
        for size in [1, 2, 64, 65] {
            sizes.record_size(size);
        }
        let expected = [
            "h_sum 132.0",
            "h_count 4",
            "h_bucket{le=\"1.0\"} 1",
            "h_bucket{le=\"64.0\"} 3",
            "h_bucket{le=\"+Inf\"} 4",
        ];
        assert_eq!(exposed(&sizes), expected);
    }
}
