//! Folds the write-ahead log into the database beside the writer, so that no logout waits for it.
//!
//! SQLite by itself does this within a commit, every 1,000 pages, which then takes some 20 ms. A passive checkpoint on
//! another connection blocks nobody. The log starts over once all of it is folded; under a load that never pauses the
//! writer does the small rest itself, at 16 MiB.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio_util::sync::CancellationToken;

use super::options;

const EVERY: Duration = Duration::from_millis(100);
/// Fewer committed operations are not worth two fsyncs.
const WORTH_IT: usize = 250;

/// Checkpoints whenever enough was committed, until told to stop.
pub(super) async fn run(path: PathBuf, committed: Arc<AtomicUsize>, stop: CancellationToken) {
    let mut connection: Option<SqliteConnection> = None;
    let mut done = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(EVERY) => {}
        }
        let now = committed.load(Ordering::Relaxed);
        if now.wrapping_sub(done) < WORTH_IT {
            continue;
        }
        match checkpoint(&path, &mut connection).await {
            Ok(()) => done = now,
            Err(error) => {
                tracing::warn!(%error, "cannot checkpoint beside the writer; it will do so itself");
                connection = None;
            }
        }
    }
    if let Some(connection) = connection {
        // Whoever closes last folds the rest.
        let _ = connection.close().await;
    }
}

async fn checkpoint(path: &std::path::Path, open: &mut Option<SqliteConnection>) -> sqlx::Result<()> {
    let connection = match open.take() {
        Some(connection) => connection,
        None => options(path).connect().await?,
    };
    sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(open.insert(connection)).await.map(|_| ())
}
