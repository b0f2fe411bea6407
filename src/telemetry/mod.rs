//! What operators see: log lines and metrics.
//!
//! `log` sets up the log, `lines` writes its lines, `causes` writes errors in them, and `notices` catches what PostgreSQL
//! says beside an answer. `metrics` has every metric and the registry, and `exposition` the text formats that they are exposed
//! in: `requests`, `passwords`, `coherence`, `configuration`, `warm_up`, `stores` and `process` are about what they are named
//! for, made of the `histogram` and of what is `in_flight`. `outage` says when the store fails, in the log and in the metrics.
//! `traces` records spans and hands them to a collector.

pub use self::exposition::MetricsFormat;
pub use self::in_flight::{Counted, Flight, InFlight};
pub use self::metrics::{CheckResult, CheckSource, Connected, Metrics, Readings};
pub use self::passwords::{HashKind, HashTimes, LoginResult, ThrottledBy};
pub use self::requests::{CheckTimes, DialectName, RouteAnswers};
pub use self::stores::{PoolName, PoolUse, PurgedRows, Standbys, StoreKind, StoreMetrics, StoreUse, StoreWork};

pub mod causes;
pub mod coherence;
pub mod configuration;
mod exposition;
mod histogram;
mod in_flight;
mod lines;
pub mod log;
mod metrics;
pub mod notices;
pub mod outage;
mod passwords;
mod process;
mod requests;
mod stores;
pub mod traces;
pub mod warm_up;

/// The commit this was built from; `development` when the build did not know.
pub const COMMIT: &str = env!("SESSIOND_COMMIT");
