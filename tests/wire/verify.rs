//! The neutral check: a status and identity headers, never a body.

use sessiond_needs::on_both_stores;

use crate::harness::{ALICE, BOB, Server, StoreKind, ask, get};

#[on_both_stores]
async fn a_live_session_is_allowed_with_every_identity_header(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = server.log_in(BOB).await;
    let reply = server.send(get("/verify").bearer(&bob.token)).await;
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    for (name, value) in [
        ("remote-user", BOB),
        ("remote-user-id", &bob.user),
        ("remote-name", BOB),
        ("remote-email", "bob@example.com"),
        ("remote-groups", "-"),
        ("remote-session-id", &bob.session),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
    assert!(reply.all("set-cookie").is_empty());
    server.stop().await;
}

#[on_both_stores]
async fn an_absent_value_is_a_dash_and_an_admin_is_in_a_group(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    let reply = server.send(get("/verify").cookie(&alice.token)).await;
    assert_eq!(reply.header("remote-email"), Some("-"));
    assert_eq!(reply.header("remote-groups"), Some("admin"));
    server.stop().await;
}

#[on_both_stores]
async fn it_answers_any_method_alike(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = server.log_in(BOB).await;
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"] {
        let reply =
            server.send(ask(method, "/verify").cookie(&bob.token).header("Origin", "https://evil.example")).await;
        assert_eq!((reply.status, reply.header("remote-user")), (200, Some(BOB)), "{method}");
        assert_eq!(server.send(ask(method, "/verify")).await.status, 401, "{method}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn an_applications_own_headers_do_not_spoil_a_good_cookie(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = server.log_in(BOB).await;
    let theirs = get("/verify").cookie(&bob.token).header("Authorization", "Bearer theirs").header("X-Auth-Token", "x");
    assert_eq!(server.send(theirs).await.status, 200);
    server.stop().await;
}
