//! The opening of a store: what for, how far it is, since it may have to wait for its database or migrate, and why it failed.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{RevocationSink, StoreError};
use crate::config::DatabaseUrl;

/// What the process wants of the store.
#[derive(Clone)]
pub enum Role {
    /// To serve checks from memory: on an embedded store as the only process, which applies every revocation.
    Serve(Arc<dyn RevocationSink>),
    /// To run one command, beside a server perhaps.
    Command,
}

/// What the processes that share a store have agreed on, as far as the store has to know it.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long an answered beat keeps a cache trusted.
    pub lease: Duration,
    /// The longest that any process keeps last-seen times in memory before it stores them.
    pub flush_interval: Duration,
}

/// A store that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No store answers to such a URL.
    #[error(
        "database_url `{0}` names no store: write sqlite:// and a path, such as sqlite://sessiond.db, or postgres://user@host/database"
    )]
    UnknownScheme(DatabaseUrl),
    /// The URL names PostgreSQL, and cannot be understood.
    #[error("database_url cannot be used: {0}")]
    BadUrl(String),
    /// Another process serves from this file.
    #[error("{} is held by another running `sessiond serve` or `sessiond copy`: stop that one, or give this one a database of its own", .0.display())]
    AlreadyServed(PathBuf),
    /// What lies beside a database belongs to another one.
    #[error(
        "{} belongs to the database that was there before, and would be mixed into this one: if that one is given up, move it away, with its -shm, and start again", .0.display()
    )]
    OlderLog(PathBuf),
    /// Users were lost.
    #[error(
        "{path} was in use, and has no users now: it is a part of a database, such as a copy without its -wal. Restore a backup by `sessiond restore`; or, to begin anew with no users, remove {path} and {path}.lock",
        path = .0.display()
    )]
    Emptied(PathBuf),
    /// What is to be copied would be out of date.
    #[error("{} is a backup: bring it to life by `sessiond restore` first, which says what becomes of its sessions", .0.display())]
    NotRestored(PathBuf),
    /// The database was waited for at the start, for so many seconds.
    #[error("the database was waited for, for {0} s, and is still not there: {1}")]
    NotUp(u64, String),
    /// A part of what it is to hold is there.
    #[error(
        "the database holds an unfinished copy: start the same `sessiond copy` again, and it goes on from there until it is done"
    )]
    Unfinished,
    /// The store itself failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How long a server waits at its start for a database that is not there yet.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How far the opening is. Its `Display` is what readiness answers.
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
