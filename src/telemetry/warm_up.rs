//! The metrics of sessions that are read into memory before they are checked.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// How a warm-up of the cache ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the label's values as they are exposed")]
pub enum Ending {
    /// Everything that it looks for was read.
    complete,
    /// The cache is full.
    full,
    /// The cache was cleared meanwhile.
    cleared,
    /// The store failed again and again.
    failing,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndingLabels {
    ending: Ending,
}

/// The metrics of the warm-up.
#[derive(Debug, Default)]
pub struct WarmUp {
    sessions: Counter,
    ended: Family<EndingLabels, Counter>,
}

impl WarmUp {
    /// Registers each metric at zero.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Sessions that were read into memory before they were checked";
        registry.register("cache_warmed_sessions", help, metrics.sessions.clone());
        let help = "Times that reading sessions into memory before they are checked has ended, by how";
        registry.register("cache_warm_ups", help, metrics.ended.clone());
        for ending in [Ending::complete, Ending::full, Ending::cleared, Ending::failing] {
            let _ = metrics.ended.get_or_create(&EndingLabels { ending });
        }
        metrics
    }

    /// Counts sessions that were put into the cache.
    pub fn kept(&self, sessions: u64) {
        self.sessions.inc_by(sessions);
    }

    /// How many there were since the start.
    pub fn sessions(&self) -> u64 {
        self.sessions.get()
    }

    /// Counts a warm-up that has ended.
    pub fn ended(&self, ending: Ending) {
        self.ended.get_or_create(&EndingLabels { ending }).inc();
    }
}
