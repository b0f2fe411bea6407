//! Folds the write-ahead log into the database beside the writer, so that no logout waits for it.
//!
//! SQLite by itself does this within a commit, every 1,000 pages, which then takes some 20 ms. A passive checkpoint on
//! another connection blocks nobody. The log starts over once all of it is folded; under a load that never pauses the
//! writer does the small rest itself, at 16 MiB.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use super::connection;
use crate::telemetry::outage::Seldom;

const EVERY: Duration = Duration::from_millis(100);
/// Fewer committed operations are not worth two fsyncs.
const WORTH_IT: usize = 250;

/// A thread that checkpoints whenever enough was committed. It ends when this is dropped.
pub(super) struct Checkpointer {
    stop: Sender<Infallible>,
    thread: JoinHandle<()>,
}

impl Checkpointer {
    /// Starts it; `committed` counts operations.
    pub(super) fn start(path: PathBuf, committed: Arc<AtomicUsize>) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name(String::from("checkpointer"))
            .spawn(move || run(&path, &committed, &stopped))?;
        Ok(Self { stop, thread })
    }

    /// Ends it, and waits until its connection is closed.
    pub(super) fn stop(self) {
        drop(self.stop);
        // If it panicked, the writer has done its work since.
        let _ = self.thread.join();
    }
}

fn run(path: &Path, committed: &AtomicUsize, stopped: &Receiver<Infallible>) {
    let mut connection = None;
    let mut done = 0;
    let mut said = Seldom::default();
    while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
        let now = committed.load(Ordering::Relaxed);
        if now.wrapping_sub(done) < WORTH_IT {
            continue;
        }
        match checkpoint(path, &mut connection) {
            Ok(()) => done = now,
            Err(error) => {
                if said.now() {
                    tracing::warn!(%error, "cannot checkpoint beside the writer; it will do so itself");
                }
                connection = None;
            }
        }
    }
}

/// Folds what is in the log, as far as no reader still needs it.
pub(super) fn checkpoint(path: &Path, open: &mut Option<Connection>) -> rusqlite::Result<()> {
    let connection = match open {
        Some(connection) => connection,
        None => open.insert(connection::beside_the_writer(path)?),
    };
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}
