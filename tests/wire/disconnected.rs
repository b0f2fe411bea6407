//! Revocations whose client does not wait for the answer: a page that goes aborts its `fetch`, and a proxy closes its side.

use std::time::Duration;

use serde_json::json;
use sessiond_needs::on_both_stores;
use sessiond_support::wait::until;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::harness::{BOB, LoggedIn, PASSWORD, Server, StoreKind, TestRequest, delete, get, post};

/// Sends a request and goes away without waiting for the answer.
async fn send_and_go(server: &Server, bytes: &[u8]) {
    let mut stream = TcpStream::connect(server.address()).await.expect("a connection");
    stream.write_all(bytes).await.expect("sent");
    // Long enough that the request is under way when the client disconnects. What follows must hold at any moment.
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// How a session that is about to end is asked to.
type Ending = fn(&LoggedIn, &LoggedIn) -> TestRequest;

/// Every route that ends sessions, and whether it ends the one it was asked through, or the other one.
const ENDINGS: [(&str, bool, Ending); 12] = [
    ("Medama", true, |own, _| post("/auth/logout").cookie(&own.token)),
    ("Medama under /api", true, |own, _| post("/api/auth/logout").bearer(&own.token)),
    ("Rocket.Chat", true, |own, _| post("/api/v1/logout").pair(&own.user, &own.token).json(&json!({}))),
    ("Rocket.Chat by GET", true, |own, _| get("/api/v1/logout").pair(&own.user, &own.token)),
    ("canonical", true, |own, _| post("/api/v1/auth/logout").bearer(&own.token)),
    ("logout.me", false, |own, other| {
        post("/api/v1/sessions/logout.me").pair(&own.user, &own.token).json(&json!({"sessionId": other.session}))
    }),
    ("users.logout", true, |own, _| post("/api/v1/users.logout").pair(&own.user, &own.token).json(&json!({}))),
    ("removeOtherTokens", false, |own, _| post("/api/v1/users.removeOtherTokens").bearer(&own.token)),
    ("logoutOtherClients", false, |own, _| post("/api/v1/users.logoutOtherClients").bearer(&own.token)),
    ("one of one's own", false, |own, other| {
        delete(&format!("/api/v1/auth/sessions/{}", other.session)).bearer(&own.token)
    }),
    ("all others", false, |own, _| delete("/api/v1/auth/sessions?scope=others").bearer(&own.token)),
    ("all", true, |own, _| delete("/api/v1/auth/sessions?scope=all").bearer(&own.token)),
];

#[on_both_stores]
async fn a_revocation_is_finished_even_if_its_client_disconnects(store: StoreKind) {
    let server = Server::start(store).await;
    for (name, ends_own, ending) in ENDINGS {
        let (own, other) = (server.log_in(BOB).await, server.log_in(BOB).await);
        assert_eq!(server.check(&own.token).await, 200, "in memory from now on");
        let busy = server.database.keep_writers_waiting().await;
        send_and_go(&server, &ending(&own, &other).bytes(&server.address())).await;
        drop(busy);
        let ended = if ends_own { &own } else { &other };
        until(&format!("{name} has ended it"), async || server.check(&ended.token).await == 401).await;
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_logout_is_done_even_if_its_body_never_comes(store: StoreKind) {
    let server = Server::start(store).await;
    for path in ["/auth/logout", "/api/v1/logout", "/api/v1/auth/logout"] {
        for framing in ["Content-Length: 20\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"] {
            let bob = server.log_in(BOB).await;
            let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n", bob.token);
            send_and_go(&server, (head + framing).as_bytes()).await;
            until("it has ended", async || server.check(&bob.token).await == 401).await;
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn what_depends_on_a_body_is_not_done_with_a_part_of_it(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = server.log_in(BOB).await;
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    for framing in [
        // Without the rest it would be a request for all sessions of the caller.
        format!("{form}Content-Length: 24\r\n\r\n"),
        format!("{form}Transfer-Encoding: chunked\r\n\r\n"),
    ] {
        let head = format!("POST /api/v1/users.logout HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n", bob.token);
        send_and_go(&server, (head + &framing).as_bytes()).await;
    }
    server.database_is_at_rest().await;
    assert_eq!(server.check(&bob.token).await, 200);
    server.stop().await;
}

#[on_both_stores]
async fn a_password_change_is_finished_even_if_its_client_disconnects(store: StoreKind) {
    let server = Server::start(store).await;
    let (own, other) = (server.log_in(BOB).await, server.log_in(BOB).await);
    let body = json!({"current_password": PASSWORD, "new_password": "a new one of Bob's own"});
    let change = post("/api/v1/auth/password").bearer(&own.token).json(&body);
    let busy = server.database.keep_writers_waiting().await;
    send_and_go(&server, &change.bytes(&server.address())).await;
    drop(busy);
    until("the other session has ended", async || server.check(&other.token).await == 401).await;
    server.stop().await;
}

#[on_both_stores]
async fn stopping_waits_for_a_revocation_whose_client_has_disconnected(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = server.log_in(BOB).await;
    assert_eq!(server.check(&bob.token).await, 200, "in memory from now on");
    let busy = server.database.keep_writers_waiting().await;
    send_and_go(&server, &post("/api/v1/auth/logout").bearer(&bob.token).bytes(&server.address())).await;
    let release = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(busy);
    };
    let (restarted, ()) = tokio::join!(server.restart(""), release);
    assert_eq!(restarted.check(&bob.token).await, 401);
    restarted.stop().await;
}
