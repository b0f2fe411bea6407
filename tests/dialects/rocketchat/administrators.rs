//! The routes for administrators: everybody's sessions, listed, shown and ended.

use serde_json::{Value, json};
use sessiond_needs::on_both_stores;

use super::*;

const LIST_ALL: &str = "/api/v1/sessions/list.all";
const INFO: &str = "/api/v1/sessions/info.admin";
const LOGOUT: &str = "/api/v1/sessions/logout";
const USERS_LOGOUT: &str = "/api/v1/users.logout";
const FORBIDDEN: &str =
    r#"{"success":false,"error":"User does not have the permissions required for this action [error-unauthorized]"}"#;

fn ending(session: &str) -> TestRequest {
    post(LOGOUT).json(&json!({"sessionId": session}))
}

#[on_both_stores]
async fn they_are_for_administrators_only(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (log_in(&server, ALICE, CHROME).await, log_in(&server, BOB, CURL).await);
    for request in [
        get(LIST_ALL),
        get(&query(INFO, &[("sessionId", &alice.session)])),
        ending(&alice.session),
        post(USERS_LOGOUT).json(&json!({"userId": alice.user})),
    ] {
        let target = request.target.clone();
        assert_answer(&server.send(request.clone()).await, 401, NOT_LOGGED_IN, &target);
        assert_answer(&server.send(request.by(&bob)).await, 403, FORBIDDEN, &target);
    }
    assert_eq!(alive(&server, [&alice, &bob]).await, [true, true]);
    server.stop().await;
}

#[on_both_stores]
async fn everybodys_sessions_are_listed_with_their_users(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = log_in(&server, BOB, CURL).await;
    server.advance(Duration::from_secs(1));
    let alice = log_in(&server, ALICE, CHROME).await;
    let listed = async |pairs: &[(&str, &str)]| -> (Vec<Value>, Value) {
        let body = server.send(get(&query(LIST_ALL, pairs)).by(&alice)).await.json();
        let rows = body["sessions"].as_array().expect("a list");
        (rows.iter().map(|row| row["sessionId"].clone()).collect(), body["total"].clone())
    };
    let (ids, total) = listed(&[]).await;
    assert_eq!((ids, total), (vec![json!(alice.session), json!(bob.session)], json!(2)));
    assert_eq!(listed(&[("sort", r#"{"loginAt":1}"#)]).await.0, [json!(bob.session), json!(alice.session)]);
    assert_eq!(listed(&[("filter", "CURL")]).await, (vec![json!(bob.session)], json!(1)));
    assert_eq!(listed(&[("offset", "1"), ("count", "1")]).await, (vec![json!(bob.session)], json!(2)));
    let body = server.send(get(LIST_ALL).by(&alice)).await.json();
    assert_eq!(body["sessions"][1]["_user"], json!({"username": BOB, "name": BOB}));
    assert_eq!((&body["sessions"][0]["current"], &body["sessions"][1]["current"]), (&json!(true), &json!(false)));
    server.stop().await;
}

#[on_both_stores]
async fn anybodys_session_is_shown_and_ended(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (log_in(&server, ALICE, CHROME).await, log_in(&server, BOB, CURL).await);
    let info = |session: &str| get(&query(INFO, &[("sessionId", session)])).by(&alice);
    let shown = server.send(info(&bob.session)).await.json();
    assert_eq!((&shown["userId"], &shown["_user"]["username"]), (&json!(bob.user), &json!(BOB)));
    let body = format!(r#"{{"sessionId":"{}","success":true}}"#, bob.session);
    assert_answer(&server.send(ending(&bob.session).by(&alice)).await, 200, &body, "ended");
    assert_eq!(alive(&server, [&alice, &bob]).await, [true, false]);
    for gone in [&bob.session, "23456789ABCDEFGHJ", "x"] {
        assert_answer(&server.send(ending(gone).by(&alice)).await, 400, NOT_FOUND, gone);
        assert_answer(&server.send(info(gone)).await, 400, NOT_FOUND, gone);
    }
    assert_answer(&server.send(post(LOGOUT).by(&alice)).await, 400, &missing(), "no body");
    server.stop().await;
}

#[on_both_stores]
async fn every_session_of_another_user_is_ended(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = log_in(&server, ALICE, CHROME).await;
    let [one, two] = [log_in(&server, BOB, CURL).await, log_in(&server, BOB, CHROME).await];
    let out = |user: &str| post(USERS_LOGOUT).json(&json!({"userId": user})).by(&alice);
    let body = format!(r#"{{"message":"User {} has been logged out!","success":true}}"#, one.user);
    assert_answer(&server.send(out(&one.user)).await, 200, &body, "another");
    assert_eq!(alive(&server, [&alice, &one, &two]).await, [true, false, false]);
    for nobody in ["23456789ABCDEFGHJ", "x"] {
        let body = r#"{"success":false,"error":"User not found"}"#;
        assert_answer(&server.send(out(nobody)).await, 400, body, nobody);
    }
    server.stop().await;
}
