//! The metrics of the configuration: whether it could be read again, when, and whether servers are configured alike.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::domain::clock::Timestamp;

/// The metrics of the configuration.
#[derive(Clone, Debug)]
pub struct Configuration {
    hash: Gauge,
    last_succeeded: Gauge,
    last_success: Gauge,
}

impl Configuration {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let gauge = |registry: &mut Registry, name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let hash = gauge(
            registry,
            "config_hash",
            "A number that is equal on servers that are configured alike; secrets and addresses do not count",
        );
        let last_succeeded = gauge(
            registry,
            "config_last_reload_successful",
            "1 if the configuration was taken when it was read last, at the start or at SIGHUP, else 0",
        );
        let last_success = Gauge::default();
        registry.register_with_unit(
            "config_last_reload_success_timestamp",
            "When it was last taken, in Unix time",
            Unit::Seconds,
            last_success.clone(),
        );
        Self { hash, last_succeeded, last_success }
    }

    /// A configuration with this hash is in force since `at`.
    pub fn taken(&self, hash: u64, at: Timestamp) {
        self.hash.set(i64::try_from(hash).unwrap_or_default());
        self.last_succeeded.set(1);
        self.last_success.set(at.seconds());
    }

    /// One was refused, so that the former one stays in force.
    pub fn refused(&self) {
        self.last_succeeded.set(0);
    }
}
