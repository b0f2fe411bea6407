//! What a server looks like from outside, again and again: memory, descriptors, files, and that it says it is alive.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sessiond_support::ops::{self, Metrics};
use sessiond_support::sessiond::Server;

use crate::visitor::Scene;

/// How often it is looked at, and how often a line is printed.
const EVERY: Duration = Duration::from_secs(5);
const LINE: Duration = Duration::from_secs(60);
/// How long a look may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// One look.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub at: Duration,
    /// Bytes.
    pub resident: f64,
    pub descriptors: f64,
    /// Those of clients, and those to PostgreSQL.
    pub connections: f64,
    /// Bytes; of the embedded store.
    pub write_ahead_log: Option<f64>,
    pub cached: f64,
}

/// The answer of the operators' listener, which must not take long.
pub async fn get(ops: SocketAddr, path: &str) -> Result<(u16, String)> {
    in_time(path, ops::get(ops, path)).await
}

/// The metrics, which must not take long.
pub async fn metrics(ops: SocketAddr) -> Result<Metrics> {
    in_time("/metrics", Metrics::read(ops)).await
}

async fn in_time<T>(path: &str, asked: impl Future<Output = Result<T>>) -> Result<T> {
    let answered = tokio::time::timeout(PATIENCE, asked).await;
    answered.with_context(|| format!("{path} was not answered within {PATIENCE:?}"))?
}

impl Look {
    /// Takes one now. The server must say that it is alive.
    pub async fn take(server: &Server, begun: Instant) -> Result<Self> {
        let (status, _) = get(server.ops, "/livez").await?;
        ensure!(status == 200, "/livez was answered with {status}");
        let metrics = metrics(server.ops).await?;
        let of_process = format!("/proc/{}", server.process.pid().as_raw_nonzero());
        let resident = std::fs::read_to_string(format!("{of_process}/statm"))?;
        let write_ahead_log = metrics.sum("sessiond_wal_bytes");
        // A connection to PostgreSQL is opened when it is needed and closed when it is old. A file stays open.
        let to_the_store = match write_ahead_log {
            None => metrics.one("sessiond_store_connections")?,
            Some(_) => 0.0,
        };
        let pages: f64 = resident.split(' ').nth(1).context("a short line in /proc")?.parse()?;
        Ok(Self {
            at: begun.elapsed(),
            resident: pages * rustix::param::page_size() as f64,
            descriptors: std::fs::read_dir(format!("{of_process}/fd"))?.count() as f64,
            connections: metrics.one("sessiond_connections")? + to_the_store,
            write_ahead_log,
            cached: metrics.one("sessiond_cached_sessions")?,
        })
    }

    /// Descriptors that are no connections.
    pub fn other_descriptors(&self) -> f64 {
        self.descriptors - self.connections
    }

    /// One line.
    pub fn text(&self) -> String {
        let log = self.write_ahead_log.map(|bytes| format!(", log {:.1} MiB", mebibytes(bytes))).unwrap_or_default();
        format!(
            "{:5.0} s: {:.2} MiB, {} descriptors ({} connections), {} cached{log}",
            self.at.as_secs_f64(),
            mebibytes(self.resident),
            self.descriptors,
            self.connections,
            self.cached
        )
    }
}

/// Looks for ever.
pub async fn watch(scene: &Scene, server: &Server, looks: &RefCell<Vec<Look>>) -> Result<Infallible> {
    let begun = Instant::now();
    let mut line = Duration::ZERO;
    loop {
        tokio::time::sleep(EVERY).await;
        let look = Look::take(server, begun).await?;
        looks.borrow_mut().push(look);
        if look.at >= line {
            line += LINE;
            println!(
                "  {}; {} requests left, {} sessions in use",
                look.text(),
                scene.left.get(),
                scene.knowledge.live()
            );
        }
    }
}

pub fn mebibytes(bytes: f64) -> f64 {
    bytes / (1024.0 * 1024.0)
}
