//! Readiness and metrics say what answers checks.

use sessiond_needs::on_both_stores;

use crate::harness::{Server, StoreKind};

#[on_both_stores]
async fn readiness_says_what_answers_checks(store: StoreKind) {
    for (settings, cache, trusted) in
        [("", "cache: trusted", 1), ("cache = 'off'", "cache: off, each check reads the store", 0)]
    {
        let server = Server::with(store, settings).await;
        let ready = server.ops("/readyz").await;
        assert!(ready.status == 200 && ready.text().lines().any(|line| line == cache), "{}", ready.text());
        let (metrics, trusted) = (server.ops("/metrics").await.text(), format!("sessiond_cache_trusted {trusted}"));
        assert!(metrics.lines().any(|line| line == trusted), "{metrics}");
        server.stop().await;
    }
}
