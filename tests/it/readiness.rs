//! Readiness and metrics say what answers checks.

use crate::harness::Server;

#[tokio::test]
async fn readiness_says_what_answers_checks() {
    for (settings, cache, trusted) in
        [("", "cache: trusted", 1), ("cache = 'off'", "cache: off, each check reads the store", 0)]
    {
        let server = Server::with(settings).await;
        let ready = server.ops("/readyz").await;
        assert!(ready.status == 200 && ready.text().lines().any(|line| line == cache), "{}", ready.text());
        let (metrics, trusted) = (server.ops("/metrics").await.text(), format!("sessiond_cache_trusted {trusted}"));
        assert!(metrics.lines().any(|line| line == trusted), "{metrics}");
        server.stop().await;
    }
}
