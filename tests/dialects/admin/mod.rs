//! The administrators' API: who may use it, users, sessions of all users, and the audit.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use sessiond_needs::on_both_stores;

use crate::harness::{ALICE, BOB, LoggedIn, PASSWORD, Reply, Server, StoreKind, TestRequest, ask, delete, get, post};

mod events;
mod refused;
mod sessions;
mod users;

const USERS: &str = "/api/v1/admin/users";
const ALL_SESSIONS: &str = "/api/v1/admin/sessions";
const REVOKE: &str = "/api/v1/admin/sessions/revoke";
const EVENTS: &str = "/api/v1/admin/events";
const LOGIN: &str = "/api/v1/auth/login";
const NEW: &str = "a completely different one";
const MINUTE: Duration = Duration::from_mins(1);

fn patch(target: &str, body: &Value) -> TestRequest {
    ask("PATCH", target).json(body)
}

fn user(id: &str) -> String {
    format!("{USERS}/{id}")
}

fn assert_refused(reply: &Reply, status: u16, kind: &str) {
    let body = reply.json();
    assert_eq!((reply.status, &body["type"]), (status, &json!(kind)), "{body}");
}

/// Makes a user with the usual password; returns the id.
async fn add(server: &Server, admin: &LoggedIn, username: &str) -> String {
    let body = json!({"username": username, "password": PASSWORD});
    let reply = server.send(post(USERS).bearer(&admin.token).json(&body)).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    reply.json()["user"]["id"].as_str().expect("an id").to_owned()
}

/// Every route, with a body that it takes.
fn every_route(id: &str) -> Vec<TestRequest> {
    vec![
        get(USERS),
        post(USERS).json(&json!({"username": "new"})),
        get(&user(id)),
        patch(&user(id), &json!({"name": "New"})),
        delete(&user(id)),
        post(&format!("{}/password", user(id))),
        post(&format!("{}/unlock", user(id))),
        delete(&format!("{}/second-factor", user(id))),
        get(&format!("{}/sessions", user(id))),
        delete(&format!("{}/sessions", user(id))),
        get(ALL_SESSIONS),
        post(REVOKE).json(&json!({"filter": {"all": true}, "dry_run": true})),
        delete(&format!("{ALL_SESSIONS}/{id}")),
        get(EVENTS),
    ]
}

#[test]
fn no_route_is_forgotten() {
    let listed = |method: &str, target: &str| (method.to_owned(), target.replace("/x", "/{id}"));
    let known: BTreeSet<_> = every_route("x").iter().map(|ask| listed(&ask.method, &ask.target)).collect();
    let mounted = sessiond::http::routes().into_iter().filter(|route| route.path.starts_with("/api/v1/admin/"));
    let mounted = mounted.map(|route| (route.method.expect("a method").to_string(), route.path));
    assert_eq!(known, mounted.collect());
}

#[on_both_stores]
async fn only_administrators_get_in(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    for request in every_route(&alice.user) {
        let name = format!("{} {}", request.method, request.target);
        assert_refused(&server.send(request.clone()).await, 401, "authentication_error");
        let reply = server.send(request.bearer(&bob.token)).await;
        assert_refused(&reply, 403, "forbidden_error");
        assert_eq!(reply.json()["detail"], "Not allowed", "{name}");
    }
    assert_eq!(server.check(&alice.token).await, 200, "nothing was done");
    server.stop().await;
}

#[on_both_stores]
async fn an_administrator_who_is_demoted_is_out_at_once(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    let id = add(&server, &alice, "carol").await;
    let carol = server.log_in("carol").await;
    assert_eq!(server.send(get(USERS).bearer(&carol.token)).await.status, 403);
    for (admin, status) in [(true, 200), (false, 403), (true, 200)] {
        let edit = patch(&user(&id), &json!({"admin": admin})).bearer(&alice.token);
        assert_eq!(server.send(edit).await.json()["user"]["admin"], admin);
        assert_eq!(server.send(get(USERS).bearer(&carol.token)).await.status, status, "in the same session");
    }
    server.stop().await;
}

#[on_both_stores]
async fn what_gives_power_away_asks_for_a_fresh_login(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    let bobs = user(&bob.user);
    let password = format!("{bobs}/password");
    let giving = [
        post(USERS).json(&json!({"username": "new"})),
        patch(&bobs, &json!({"username": "robert"})),
        patch(&bobs, &json!({"email": "robert@example.com"})),
        patch(&bobs, &json!({"admin": true})),
        patch(&bobs, &json!({"disabled": false})),
        post(&password).json(&json!({"password": NEW})),
        post(&format!("{bobs}/unlock")),
        delete(&bobs),
    ];
    server.advance(15 * MINUTE - Duration::from_millis(1));
    assert_eq!(server.send(giving[3].clone().bearer(&alice.token)).await.status, 200, "just fresh");
    server.advance(Duration::from_millis(1));
    for request in giving {
        // What is done in a session does not make its login younger.
        assert_eq!(server.send(get(USERS).bearer(&alice.token)).await.status, 200);
        let reply = server.send(request.bearer(&alice.token)).await;
        assert_refused(&reply, 403, "reauthentication_required_error");
    }
    // What takes power away does not wait.
    for request in [
        patch(&bobs, &json!({"admin": false})),
        patch(&bobs, &json!({"name": "Bob"})),
        patch(&bobs, &json!({"disabled": true})),
        delete(&format!("{bobs}/sessions")),
        post(REVOKE).json(&json!({"filter": {"all": true}, "expect": 9})),
    ] {
        let reply = server.send(request.bearer(&alice.token)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let again = server.log_in(ALICE).await;
    assert_eq!(server.send(patch(&bobs, &json!({"disabled": false})).bearer(&again.token)).await.status, 200);
    server.stop().await;
}
