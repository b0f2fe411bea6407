//! How long sessions live: idle time, absolute time, and the cap.

use serde_json::json;
use sessiond_needs::on_both_stores;
use sessiond_support::wait::until;

use super::*;
use crate::harness::StoreKind;

/// Checks a session until that check has reached the store.
async fn seen(server: &Server, token: &str) {
    let stored = async {
        loop {
            let reply = server.send(get(SESSION).bearer(token)).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            if reply.json()["session"]["last_seen_at"] == server.now().rfc3339() {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), stored).await.expect("a stored last-seen time");
}

#[on_both_stores]
async fn a_session_ends_when_it_was_idle_for_too_long(store: StoreKind) {
    let server = Server::with(store, "remembered_idle = '5h'").await;
    for (remember, idle) in [(false, 2 * HOUR), (true, 5 * HOUR)] {
        let body = json!({"username": BOB, "password": PASSWORD, "remember": remember});
        let log_in = async || server.send(post(LOGIN).json(&body)).await.cookie().expect("a cookie");
        let (idler, used) = (log_in().await, log_in().await);
        server.advance(idle - MOMENT);
        seen(&server, &used).await;
        server.advance(MOMENT);
        assert_unauthenticated(&server.send(get(SESSION).cookie(&idler)).await);
        let reply = server.send(get(SESSION).cookie(&used)).await;
        assert_eq!(
            (reply.status, reply.json()["session"]["idle_expires_at"].clone()),
            (200, server.now().after(idle - MOMENT).rfc3339().into())
        );
        assert_eq!(listed(&server, &used, "").await.0.len(), 1, "what expired is not listed");
        assert_eq!(
            server.send(delete(&format!("{SESSIONS}?scope=all")).cookie(&used)).await.json(),
            json!({"revoked": 1})
        );
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_session_used_regularly_outlives_its_idle_time_and_never_its_absolute_time(store: StoreKind) {
    for (cache, absolute, step) in [
        ("on", DAY, 2 * HOUR - Duration::from_secs(60)),
        ("on", 5 * HOUR, 2 * HOUR - MOMENT),
        ("off", DAY, 2 * HOUR - MOMENT),
        ("off", 5 * HOUR, HOUR / 2),
    ] {
        let server =
            Server::with(store, &format!("cache = '{cache}'\nsession_absolute = '{}s'", absolute.as_secs())).await;
        let token = cookie_of(&server, BOB).await;
        let mut age = Duration::ZERO;
        while age + step < absolute {
            server.advance(step);
            age += step;
            seen(&server, &token).await;
        }
        assert!(age > 2 * HOUR, "past its idle time");
        let reply = server.send(get(SESSION).cookie(&token)).await.json();
        assert_eq!(reply["session"]["expires_at"], BEGIN.after(absolute).rfc3339());
        assert_eq!(reply["session"]["idle_expires_at"], BEGIN.after((age + 2 * HOUR).min(absolute)).rfc3339());
        server.advance(absolute - age - MOMENT);
        assert_eq!(server.check(&token).await, 200, "{cache} {step:?}: to the last moment");
        server.advance(MOMENT);
        assert_eq!(server.check(&token).await, 401, "{cache} {step:?}: and no longer");
        server.stop().await;
    }
}

#[on_both_stores]
async fn a_single_check_shortly_before_the_deadline_keeps_a_session(store: StoreKind) {
    for cache in ["on", "off"] {
        let server = Server::with(store, &format!("cache = '{cache}'")).await;
        let token = cookie_of(&server, BOB).await;
        server.advance(2 * HOUR - MOMENT);
        assert_eq!(server.check(&token).await, 200);
        let stored = "SELECT count(*) FROM sessions WHERE last_seen_at > created_at";
        until("it is stored", async || server.database.number(stored).await == 1).await;
        server.advance(HOUR);
        assert_eq!(server.check(&token).await, 200, "{cache}");
        server.stop().await;
    }
}

#[on_both_stores]
async fn one_session_too_many_ends_the_one_not_seen_for_longest(store: StoreKind) {
    let server = Server::with(store, "sessions_per_user = 3\ncache = 'off'").await;
    let alice = server.log_in(ALICE).await;
    let mut bobs = Vec::new();
    for _ in 0..3 {
        bobs.push(server.log_in(BOB).await);
        server.advance(HOUR);
    }
    seen(&server, &bobs[0].token).await;
    let fourth = server.log_in(BOB).await;
    let all = [&bobs[0], &bobs[1], &bobs[2], &fourth, &alice];
    assert_eq!(alive(&server, &all).await, [true, false, true, true, true]);
    assert_eq!(listed(&server, &fourth.token, "").await.0.len(), 3);
    server.stop().await;
}
