//! What operators see: log lines and metrics.
//!
//! `log` sets up the log, `lines` writes its lines, `causes` writes errors in them, and `notices` catches what PostgreSQL
//! says beside an answer. `metrics` holds the registry and counts requests and checks, `coherence` measures how replicas
//! follow each other, `configuration` whether it was read again, and `outage` says when the store fails, in the log and in the metrics. `traces` records spans and
//! hands them to a collector.

pub use self::metrics::{CheckResult, CheckSource, Connected, Metrics, RouteAnswers, ThrottledBy};

pub mod causes;
pub mod coherence;
pub mod configuration;
mod lines;
pub mod log;
mod metrics;
pub mod notices;
pub mod outage;
pub mod traces;

/// The commit this was built from; `development` when the build did not know.
pub const COMMIT: &str = env!("SESSIOND_COMMIT");
