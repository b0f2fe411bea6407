//! How far the opening of a store is, for those who ask meanwhile: it may have to wait for its database, or migrate.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a server waits at its start for a database that is not there yet.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Where whoever opens a store says how far that is. Its `Display` is what readiness tells.
#[derive(Clone, Debug, Default)]
pub struct Opening(Arc<Mutex<Stage>>);

#[derive(Clone, Debug, Default)]
pub(super) enum Stage {
    /// Under way.
    #[default]
    Opening,
    /// The database is not there yet, and has been waited for since then.
    Waiting { why: String, since: Instant },
    /// Another process holds the lock of migrations.
    Locked,
    /// The tables are brought up to date.
    Migrating,
}

impl Opening {
    /// Says how far it is.
    pub(super) fn is(&self, stage: Stage) {
        *self.0.lock() = stage;
    }
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0.lock() {
            Stage::Opening => write!(f, "opening"),
            Stage::Waiting { why, since } => {
                let (so_far, most) = (since.elapsed().min(PATIENCE).as_secs(), PATIENCE.as_secs());
                write!(f, "waiting for the database ({why}), {so_far} s of {most} s")
            }
            Stage::Locked => write!(f, "waiting for another process that migrates the database"),
            Stage::Migrating => write!(f, "migrating"),
        }
    }
}
