//! Folds the write-ahead log into the database beside the writer, so that no logout waits for it.
//!
//! SQLite by itself does this within a commit, every 1,000 pages, which then takes some 20 ms. A passive checkpoint on
//! another connection blocks no other. The log starts over once all of it is folded; under a load that never pauses the
//! writer does the small rest itself, at 16 MiB. The more often, the less each has to write, and the less a commit waits
//! for the disk meanwhile: at every 100 ms one logout in a hundred took 80 ms under full load, at every 25 ms 31.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::connection;
use crate::telemetry::outage::LogThrottle;

const EVERY: Duration = Duration::from_millis(25);
/// Fewer committed operations are not worth two fsyncs.
const WORTH_IT: usize = 250;

/// A task that checkpoints whenever enough was committed. It ends when this is dropped.
pub(super) struct Checkpointer {
    stop: oneshot::Sender<Infallible>,
    task: JoinHandle<()>,
}

impl Checkpointer {
    /// Starts it; `committed` counts operations.
    pub(super) fn start(path: PathBuf, committed: Arc<AtomicUsize>) -> Self {
        let (stop, stopped) = oneshot::channel();
        #[expect(clippy::disallowed_methods, reason = "ends when it is stopped, and is waited for then")]
        let task = tokio::spawn(run(path, committed, stopped));
        Self { stop, task }
    }

    /// Ends it, and waits until its connection is closed.
    pub(super) async fn stop(self) {
        drop(self.stop);
        // If it panicked, the writer has done its work since.
        let _ = self.task.await;
    }
}

async fn run(path: PathBuf, committed: Arc<AtomicUsize>, mut stopped: oneshot::Receiver<Infallible>) {
    let mut open = None;
    let mut done = 0;
    let mut failing = LogThrottle::default();
    while tokio::time::timeout(EVERY, &mut stopped).await.is_err() {
        let now = committed.load(Ordering::Relaxed);
        if now.wrapping_sub(done) < WORTH_IT {
            continue;
        }
        match fold(&path, &mut open).await {
            Ok(()) => done = now,
            Err(error) => {
                if failing.is_due() {
                    tracing::warn!(%error, "cannot checkpoint beside the writer; it will do so itself");
                }
                open = None;
            }
        }
    }
    if let Some(connection) = open {
        // The writer folds the rest when it closes.
        let _ = connection.close().await;
    }
}

/// Folds what is in the log once, as far as no reader still needs it.
pub(super) async fn checkpoint(path: &Path) -> sqlx::Result<()> {
    let mut open = None;
    let folded = fold(path, &mut open).await;
    if let Some(connection) = open {
        connection.close().await?;
    }
    folded
}

async fn fold(path: &Path, open: &mut Option<SqliteConnection>) -> sqlx::Result<()> {
    let connection = match open {
        Some(connection) => connection,
        None => open.insert(connection::beside_the_writer(path).await?),
    };
    sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(connection).await.map(drop)
}
