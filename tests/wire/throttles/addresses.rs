//! Limits by address: only where the address is known, only for failures, and only for whose it is.

use super::*;

/// No password is as long as this, so that it costs no hash.
fn impossible(number: usize) -> TestRequest {
    login(&format!("nobody{number}"), &"x".repeat(1025))
}

/// How many failures go through, each with a name of its own.
async fn failures(server: &Server, ask: impl Fn(TestRequest) -> TestRequest) -> usize {
    for number in 0..130 {
        let reply = server.send(ask(login(&format!("somebody{number}"), WRONG))).await;
        if reply.status == 429 {
            return number;
        }
        assert_eq!(reply.status, 401, "{}", reply.text());
        // The others are not worth a hash, and are counted all the same.
        for number in 0..9 {
            assert_eq!(server.send(ask(impossible(number))).await.status, 401);
        }
    }
    130
}

#[on_both_stores]
async fn an_address_that_is_not_known_is_not_limited(store: StoreKind) {
    let server = Server::start(store).await;
    for number in 0..150 {
        assert_eq!(server.send(impossible(number)).await.status, 401);
    }
    let spoofed = |ask: TestRequest| ask.header("X-Forwarded-For", "203.0.113.1");
    assert_eq!(server.send(spoofed(login("nobody", WRONG))).await.status, 401);
    server.log_in(ALICE).await;
    server.stop().await;
    // Where a proxy does not say for whom it asks, there is no address to limit.
    let server = Server::with(store, "trusted_proxies = ['127.0.0.1']").await;
    for forwarded in ["", "unknown", "127.0.0.1"] {
        let ask = |ask: TestRequest| if forwarded.is_empty() { ask } else { ask.header("X-Forwarded-For", forwarded) };
        for number in 0..120 {
            assert_eq!(server.send(ask(impossible(number))).await.status, 401);
        }
        assert_eq!(server.send(ask(login("nobody", WRONG))).await.status, 401, "{forwarded}");
        server.forget_failures().await;
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_peer_is_limited_where_there_are_no_proxies(store: StoreKind) {
    let server = Server::with(store, "trusted_proxies = 'none'").await;
    let spoofing = std::sync::atomic::AtomicUsize::new(0);
    let ask = |ask: TestRequest| {
        let number = spoofing.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        ask.header("X-Forwarded-For", &format!("203.0.113.{}", number % 250))
    };
    assert_eq!(failures(&server, ask).await, 10, "a hundred failures, whatever it says where it comes from");
    let refused = server.send(login(ALICE, PASSWORD)).await;
    assert_eq!(wait(&refused), 6);
    server.advance(SECOND * 5);
    assert_eq!(wait(&server.send(login(ALICE, PASSWORD)).await), 1);
    server.advance(SECOND);
    server.log_in(ALICE).await;
    let metrics = server.ops("/metrics").await.text();
    assert!(metrics.contains("sessiond_logins_throttled_total{by=\"address\"} 3"), "{metrics}");
    server.stop().await;
}

#[on_both_stores]
async fn no_client_can_charge_another(store: StoreKind) {
    let server = Server::with(store, "trusted_proxies = ['127.0.0.1']").await;
    let (victim, attacker) = ("203.0.113.9", "2001:db8:1:2::7");
    let attack = |ask: TestRequest| ask.header("X-Forwarded-For", &format!("{victim}, {attacker}"));
    assert_eq!(failures(&server, attack).await, 10);
    let by_victim = |ask: TestRequest| ask.header("X-Forwarded-For", victim);
    assert_eq!(server.send(by_victim(login(ALICE, PASSWORD))).await.status, 200);
    let neighbour = |ask: TestRequest| ask.header("X-Forwarded-For", "2001:db8:1:2:ffff::1");
    assert_eq!(wait(&server.send(neighbour(login(ALICE, PASSWORD))).await), 6, "the same block of addresses");
    let next = |ask: TestRequest| ask.header("X-Forwarded-For", "2001:db8:1:3::7");
    assert_eq!(server.send(next(login(ALICE, PASSWORD))).await.status, 200);
    server.stop().await;
}

#[on_both_stores]
async fn right_passwords_cost_an_address_nothing(store: StoreKind) {
    let server = Server::with(store, "trusted_proxies = 'none'").await;
    for number in 0..130 {
        let name = if number % 2 == 0 { ALICE } else { BOB };
        assert_eq!(server.send(login(name, PASSWORD)).await.status, 200, "{number}");
    }
    server.stop().await;
}
