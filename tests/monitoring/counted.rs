//! What happens is counted and timed where it happens, on both stores.

use sessiond_needs::on_both_stores;
use sessiond_support::wait::until;

use super::scrape::{PROMETHEUS, scrape, sum};
use crate::harness::{ALICE, BOB, Server, StoreKind, get, post};

#[on_both_stores]
async fn logins_checks_and_logouts_leave_their_numbers(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    let wrong = serde_json::json!({"username": BOB, "password": "not the password"});
    assert_eq!(server.send(post("/api/v1/auth/login").json(&wrong)).await.status, 401);
    let mut accepted = 0.0;
    until("a check is answered from memory", async || {
        assert_eq!(server.check(&alice.token).await, 200);
        accepted += 1.0;
        let text = scrape(&server.ops_address(), PROMETHEUS).await;
        sum(&text, "sessiond_checks_total", &[("result", "accepted"), ("source", "memory")]) > 0.5
    })
    .await;
    assert_eq!(server.check("never issued").await, 401);
    assert_eq!(server.send(post("/api/v1/auth/logout").bearer(&bob.token)).await.status, 200);
    assert_eq!(server.check(&bob.token).await, 401);

    let text = scrape(&server.ops_address(), PROMETHEUS).await;
    let is = |name: &str, labels: &[(&str, &str)], value: f64| {
        assert!((sum(&text, name, labels) - value).abs() < 0.5, "{name} {labels:?}: {}", sum(&text, name, labels));
    };
    let more_than_nothing = |name: &str, labels: &[(&str, &str)]| {
        assert!(sum(&text, name, labels) > 0.0, "{name} {labels:?} is nothing");
    };
    is("sessiond_logins_total", &[("result", "accepted")], 2.0);
    is("sessiond_logins_total", &[("result", "refused")], 1.0);
    is("sessiond_password_wait_duration_seconds_count", &[], 3.0);
    is("sessiond_password_hash_duration_seconds_count", &[("kind", "current")], 3.0);
    more_than_nothing("sessiond_password_hash_duration_seconds_sum", &[("kind", "current")]);
    more_than_nothing("sessiond_password_workers", &[]);
    more_than_nothing("sessiond_password_queue_capacity", &[]);
    is("sessiond_checks_total", &[("result", "accepted")], accepted);
    is("sessiond_checks_total", &[("result", "accepted"), ("source", "memory")], 1.0);
    is("sessiond_checks_total", &[("result", "accepted"), ("source", "store")], accepted - 1.0);
    let verify = [("dialect", "verify"), ("route", "/verify")];
    is("sessiond_http_requests_total", &verify, accepted + 2.0);
    is("sessiond_http_requests_total", &[("dialect", "canonical"), ("route", "/api/v1/auth/login")], 3.0);
    let login = [("dialect", "canonical"), ("route", "/api/v1/auth/login")];
    is("sessiond_http_request_duration_seconds_count", &login, 3.0);
    is("sessiond_http_request_duration_seconds_count", &verify, 0.0);
    more_than_nothing("sessiond_check_duration_seconds_count", &[("source", "store")]);
    is("sessiond_store_commit_duration_seconds_count", &[("work", "logouts")], 1.0);
    is("sessiond_store_batch_size_sum", &[("work", "logouts")], 1.0);
    more_than_nothing("sessiond_store_commit_duration_seconds_sum", &[("work", "changes")]);
    more_than_nothing("sessiond_settled_seconds_count", &[]);
    more_than_nothing("sessiond_cache_capacity", &[]);
    more_than_nothing("sessiond_store_connections", &[("pool", "reads")]);
    more_than_nothing("sessiond_store_connections_max", &[("pool", "reads")]);
    is("sessiond_cached_sessions", &[], 1.0);
    let (started, memory) =
        (sum(&text, "process_start_time_seconds", &[]), sum(&text, "process_resident_memory_bytes", &[]));
    assert!(started > 1.7e9 && memory > 1e6, "{started}, {memory}");
    match store {
        StoreKind::Sqlite => more_than_nothing("sessiond_wal_bytes", &[]),
        StoreKind::Postgres => {
            more_than_nothing("sessiond_last_beat_age_seconds", &[]);
            more_than_nothing("sessiond_store_batch_size_sum", &[("work", "lookups")]);
        }
    }
    // By the test's clock, which stands at the beginning.
    until("everything out of date is deleted", async || {
        let text = scrape(&server.ops_address(), PROMETHEUS).await;
        sum(&text, "sessiond_purge_last_success_timestamp_seconds", &[]) > 1.7e9
    })
    .await;
    server.stop().await;
}

#[on_both_stores]
async fn a_cache_that_is_off_has_no_room_and_keeps_nothing(store: StoreKind) {
    let server = Server::with(store, "cache = 'off'").await;
    let alice = server.log_in(ALICE).await;
    assert_eq!(server.send(get("/verify").bearer(&alice.token)).await.status, 200);
    let text = scrape(&server.ops_address(), PROMETHEUS).await;
    for name in ["sessiond_cache_capacity", "sessiond_cached_sessions", "sessiond_cache_trusted"] {
        assert!(text.contains(&format!("\n{name} 0\n")), "{name}: {text}");
    }
    server.stop().await;
}
