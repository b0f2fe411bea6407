//! What operators ask a server.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

use crate::http::Connection;

/// The status and the body of the answer to a request.
pub async fn get(ops: SocketAddr, path: &str) -> Result<(u16, String)> {
    // Such a connection carries one request.
    let mut connection = Connection::open(ops).await?;
    let status = connection.exchange(format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").as_bytes()).await?;
    Ok((status, String::from_utf8(connection.body().to_vec())?))
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

    /// The sum of all series whose name, or whose name and labels, are these.
    pub fn sum(&self, series: &str) -> Option<f64> {
        let ends = |rest: &str| series.ends_with('}') || rest.starts_with(['{', ' ']);
        let values = self.0.lines().filter(|line| line.strip_prefix(series).is_some_and(ends));
        values.map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).reduce(|sum, value| Some(sum? + value?))?
    }

    /// The same where there must be one.
    pub fn one(&self, series: &str) -> Result<f64> {
        self.sum(series).with_context(|| format!("there is no metric {series}"))
    }
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
