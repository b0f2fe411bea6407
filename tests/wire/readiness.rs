//! Readiness and metrics say what answers checks.

use sessiond_needs::on_both_stores;

use crate::harness::{Server, StoreKind, exchange, get};

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

#[on_both_stores]
async fn probes_are_answered_without_tls_where_https_is_required(store: StoreKind) {
    let settings =
        "public_url = 'https://login.example.com'\ntrusted_proxies = ['127.0.0.1', '::1']\nrequire_https = true";
    let server = Server::with(store, settings).await;
    let plain = |path: &str| get(path).header("X-Forwarded-Proto", "http");
    for path in ["/livez", "/readyz", "/metrics"] {
        let reply = exchange(&server.ops_address(), &plain(path).bytes(&server.ops_address())).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    }
    assert_eq!(server.send(plain("/api/v1/auth/session")).await.status, 426, "what clients ask");
    server.stop().await;
}
