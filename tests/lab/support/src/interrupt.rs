//! Ends a long run in good order when its user interrupts it.

use anyhow::{Result, bail};
use tokio::signal::unix::{SignalKind, signal};

/// Drops `work` on a signal, which ends every child process and removes every file that it holds.
pub async fn until_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        done = work => done,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
    }
}
