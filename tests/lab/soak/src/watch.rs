//! What a server looks like from outside, again and again: memory, descriptors, files, and that it says it is alive.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Pid;
use sessiond_support::http::send;

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
    pub connections: f64,
    /// Bytes; of the embedded store.
    pub write_ahead_log: Option<f64>,
    pub cached: f64,
}

/// The metrics of a server.
pub struct Metrics(String);

impl Metrics {
    /// As they are now.
    pub async fn read(ops: SocketAddr) -> Result<Self> {
        let (status, body) = get(ops, "/metrics").await?;
        ensure!(status == 200, "/metrics was answered with {status}");
        Ok(Self(body))
    }

    /// The sum of all series whose name, or whose name and labels, begin so.
    pub fn sum(&self, begin: &str) -> Option<f64> {
        let ends = |rest: &str| begin.ends_with('}') || rest.starts_with(['{', ' ']);
        let values = self.0.lines().filter(|line| line.strip_prefix(begin).is_some_and(ends));
        values.map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).reduce(|sum, value| Some(sum? + value?))?
    }

    /// The same where there must be one.
    pub fn one(&self, begin: &str) -> Result<f64> {
        self.sum(begin).with_context(|| format!("there is no metric {begin}"))
    }
}

/// The answer of the operators' listener.
pub async fn get(ops: SocketAddr, path: &str) -> Result<(u16, String)> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
    let answer = tokio::time::timeout(PATIENCE, send(ops, request.as_bytes())).await;
    let answer = answer.with_context(|| format!("{path} was not answered within {PATIENCE:?}"))??;
    let answer = String::from_utf8(answer)?;
    let status = answer.get(9..12).and_then(|status| status.parse().ok()).context("no status")?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no end of a head")?;
    Ok((status, body.to_owned()))
}

impl Look {
    /// Takes one now. The server must say that it is alive.
    pub async fn take(ops: SocketAddr, pid: Pid, begun: Instant) -> Result<Self> {
        let (status, _) = get(ops, "/livez").await?;
        ensure!(status == 200, "/livez was answered with {status}");
        let metrics = Metrics::read(ops).await?;
        let of_process = format!("/proc/{}", pid.as_raw_nonzero());
        let resident = std::fs::read_to_string(format!("{of_process}/statm"))?;
        let pages: f64 = resident.split(' ').nth(1).context("a short line in /proc")?.parse()?;
        Ok(Self {
            at: begun.elapsed(),
            resident: pages * rustix::param::page_size() as f64,
            descriptors: std::fs::read_dir(format!("{of_process}/fd"))?.count() as f64,
            connections: metrics.one("sessiond_connections")?,
            write_ahead_log: metrics.sum("sessiond_wal_bytes"),
            cached: metrics.one("sessiond_cached_sessions")?,
        })
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
pub async fn watch(scene: &Scene, ops: SocketAddr, pid: Pid, looks: Rc<RefCell<Vec<Look>>>) -> Result<()> {
    let begun = Instant::now();
    let mut line = Duration::ZERO;
    loop {
        tokio::time::sleep(EVERY).await;
        let look = Look::take(ops, pid, begun).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_added_up_over_their_labels_and_not_over_longer_names() {
        let metrics = Metrics("# TYPE a counter\na{b=\"1\"} 2\na{b=\"2\"} 3\na_more 9\nc 4\n".to_owned());
        assert_eq!((metrics.sum("a"), metrics.sum("c"), metrics.sum("d")), (Some(5.0), Some(4.0), None));
        assert_eq!(metrics.sum("a{b=\"2\"}"), Some(3.0));
        assert!(metrics.one("d").is_err());
    }
}
