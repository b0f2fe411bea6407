//! Watches whether commits wait for a standby, so that operators learn when an answered logout would be lost with a server.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::store::SharedStore;
use crate::telemetry::{Standbys, StoreMetrics};

/// How often it is looked at. It changes by hand, or when a server is lost.
const EVERY: Duration = Duration::from_secs(10);

/// Looks again and again until it is stopped, where the store can have standbys.
pub async fn watch(store: SharedStore, metrics: &StoreMetrics, stop: CancellationToken) {
    let mut before = None;
    loop {
        // Where the store fails, others say so, and what was known stays.
        match store.standbys().await {
            Ok(Some(now)) => note(&mut before, now, metrics),
            Ok(None) => return,
            Err(_) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// Sets the metrics, and logs a change.
fn note(before: &mut Option<bool>, now: Standbys, metrics: &StoreMetrics) {
    metrics.protected(now);
    match (before.replace(now.waits), now.waits) {
        (Some(true), false) => {
            tracing::warn!("commits wait for no standby any more: what is answered now is lost if the server is");
        }
        (Some(false), true) => tracing::info!("commits wait for a standby again"),
        (None | Some(true), true) | (None | Some(false), false) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Metrics, MetricsFormat, Readings, StoreKind};

    #[test]
    fn what_protects_commits_is_shown_and_what_may_not_be_read_is_not() {
        let metrics = Metrics::new(StoreKind::Postgres);
        let mut before = None;
        for (waits, synchronous, lines) in [
            (true, Some(2), ["sessiond_commits_wait_for_standby 1", "sessiond_synchronous_standbys{} 2"]),
            (false, Some(0), ["sessiond_commits_wait_for_standby 0", "sessiond_synchronous_standbys{} 0"]),
            (true, None, ["sessiond_commits_wait_for_standby 1", ""]),
        ] {
            note(&mut before, Standbys { waits, synchronous }, &metrics.stores);
            assert_eq!(before, Some(waits));
            let text = metrics.render(&Readings::default(), MetricsFormat::Prometheus);
            for line in lines.into_iter().filter(|line| !line.is_empty()) {
                assert!(text.lines().any(|shown| shown == line), "{line} in {text}");
            }
            assert_eq!(text.contains("sessiond_synchronous_standbys"), synchronous.is_some());
        }
    }
}
