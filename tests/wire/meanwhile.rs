//! What happens between a request's head and its body: a session that was ended meanwhile changes nothing any more.

use serde_json::{Value, json};
use sessiond_needs::on_both_stores;
use sessiond_support::wait::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::dialects::openapi;
use crate::harness::{ALICE, BOB, LoggedIn, PASSWORD, Reply, Server, StoreKind, TestRequest, ask, delete, post};

/// How many credentials were found good so far.
async fn accepted(server: &Server) -> u64 {
    let metrics = server.ops("/metrics").await.text();
    let line =
        metrics.lines().find(|line| line.starts_with("sessiond_checks_total{result=\"accepted\",source=\"memory\"}"));
    line.and_then(|line| line.rsplit(' ').next()).and_then(|count| count.parse().ok()).expect("a count")
}

/// Sends a request but the last byte of its body; runs `meanwhile` once its credential was checked; sends the rest.
async fn interrupted(server: &Server, ask: TestRequest, meanwhile: impl AsyncFnOnce()) -> Reply {
    let (method, target) = (ask.method.clone(), ask.target.clone());
    let bytes = ask.bytes(&server.address());
    let (last, most) = bytes.split_last().expect("a body");
    let before = accepted(server).await;
    let mut stream = TcpStream::connect(server.address()).await.expect("a connection");
    stream.write_all(most).await.expect("sent");
    until("the credential was checked", async || accepted(server).await > before).await;
    meanwhile().await;
    stream.write_all(&[*last]).await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    let reply = Reply::parse(&answer);
    openapi::check(&method, &target, &reply);
    reply
}

#[on_both_stores]
async fn a_user_who_is_logged_out_while_they_send_a_body_changes_nothing(store: StoreKind) {
    let server = Server::start(store).await;
    let others = server.log_in(BOB).await;
    let requests: [(&str, Value); 5] = [
        ("/api/v1/users.logout", json!({})),
        ("/api/v1/users.removeOtherTokens", json!({})),
        ("/api/v1/users.logoutOtherClients", json!({})),
        ("/api/v1/sessions/logout.me", json!({"sessionId": others.session})),
        ("/api/v1/auth/password", json!({"current_password": PASSWORD, "new_password": "chosen by a thief"})),
    ];
    for (path, body) in requests {
        let LoggedIn { token, user, .. } = server.log_in(BOB).await;
        assert_eq!(server.check(&token).await, 200, "in memory from now on");
        let reply = interrupted(&server, post(path).pair(&user, &token).json(&body), async || {
            let logout = server.send(post("/api/v1/auth/logout").bearer(&token)).await;
            assert_eq!(logout.status, 200);
        })
        .await;
        assert_eq!(reply.status, 401, "{path}: {}", reply.text());
        assert_eq!(server.check(&others.token).await, 200, "{path} ended a session");
    }
    server.log_in(BOB).await;
    server.stop().await;
}

#[on_both_stores]
async fn an_administrator_who_is_demoted_while_they_send_a_body_has_no_power_left(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    let users = "SELECT count(*) FROM users";
    let before = server.database.number(users).await;
    let user = |id: &str| format!("/api/v1/admin/users/{id}");
    let promote = async |admin: bool| {
        let edit = ask("PATCH", &user(&bob.user)).json(&json!({"admin": admin})).bearer(&alice.token);
        assert_eq!(server.send(edit).await.status, 200);
    };
    for request in [
        post("/api/v1/admin/users").json(&json!({"username": "carol", "admin": true})),
        ask("PATCH", &user(&alice.user)).json(&json!({"name": "Nobody"})),
        post("/api/v1/admin/sessions/revoke").json(&json!({"filter": {"all": true}, "expect": 99})),
        post("/api/v1/sessions/logout").json(&json!({"sessionId": alice.session})),
    ] {
        promote(true).await;
        assert_eq!(server.check(&bob.token).await, 200, "in memory from now on");
        let target = request.target.clone();
        let reply = interrupted(&server, request.pair(&bob.user, &bob.token), async || promote(false).await).await;
        assert_eq!(reply.status, 403, "{target}: {}", reply.text());
        assert_eq!(server.check(&alice.token).await, 200, "{target}");
    }
    assert_eq!(server.database.number(users).await, before);
    assert_eq!(server.database.number("SELECT count(*) FROM events WHERE kind = 'name_changed'").await, 0);
    server.stop().await;
}

#[on_both_stores]
async fn a_password_change_does_not_outlive_the_end_of_every_session(store: StoreKind) {
    let server = Server::start(store).await;
    let (thief, owner) = (server.log_in(BOB).await, server.log_in(BOB).await);
    assert_eq!(server.check(&thief.token).await, 200, "in memory from now on");
    let body = json!({"current_password": PASSWORD, "new_password": "chosen by a thief"});
    let change = post("/api/v1/auth/password").bearer(&thief.token).json(&body);
    let reply = interrupted(&server, change, async || {
        let all = server.send(delete("/api/v1/auth/sessions?scope=all").bearer(&owner.token)).await;
        assert_eq!(all.status, 200);
    })
    .await;
    assert_eq!(reply.status, 401, "{}", reply.text());
    server.log_in(BOB).await;
    server.stop().await;
}
