//! The audit: who did what to whom, from where, when, and nothing that a client could forge.

use super::*;

async fn events(server: &Server, token: &str, query: &str) -> Vec<Value> {
    let reply = server.send(get(&format!("{EVENTS}{query}")).bearer(token)).await;
    assert_eq!(reply.status, 200, "{query}: {}", reply.text());
    reply.json()["events"].as_array().expect("a list").clone()
}

#[on_both_stores]
async fn an_act_names_its_actor_its_user_and_its_request(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    let edit = patch(&user(&bob.user), &json!({"username": "robert", "admin": true})).bearer(&alice.token);
    let reply = server.send(edit.header("User-Agent", "curl/8.5.0")).await;
    let id = reply.header("x-request-id").expect("an id").to_owned();
    let found = events(&server, &alice.token, "?limit=2").await;
    let event = |number: usize, kind: &str, detail: Value| {
        json!({
            "id": found[number]["id"], "at": server.now().rfc3339(), "kind": kind,
            "actor": {"type": "user", "id": alice.user, "username": ALICE},
            "user": {"id": bob.user, "username": "robert"},
            "ip": "127.0.0.1", "user_agent": "curl/8.5.0", "detail": detail, "request_id": id, "count": 1,
        })
    };
    assert_eq!(found, [event(0, "admin_granted", Value::Null), event(1, "user_renamed", json!(BOB))]);
    let logout = server.send(post("/api/v1/auth/logout").bearer(&bob.token)).await;
    let found = events(&server, &alice.token, "?limit=1").await;
    assert_eq!((&found[0]["kind"], &found[0]["session"]), (&json!("logout"), &json!(bob.session)));
    assert_eq!(found[0]["request_id"].as_str(), logout.header("x-request-id"));
    server.stop().await;
}

#[on_both_stores]
async fn events_are_filtered_and_paged(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    server.advance(MINUTE);
    let since = server.now().rfc3339();
    server.send(post(LOGIN).json(&json!({"username": BOB, "password": "wrong password"}))).await;
    server.send(post(LOGIN).json(&json!({"username": "eve", "password": "wrong password"}))).await;
    server.advance(MINUTE);
    let until = server.now().rfc3339();
    server.log_in(BOB).await;
    let kinds = async |query: &str| -> Vec<String> {
        let found = events(&server, &alice.token, query).await;
        found.iter().map(|event| event["kind"].as_str().expect("a kind").to_owned()).collect()
    };
    assert_eq!(kinds("?kind=login_failed").await.len(), 2);
    assert_eq!(kinds("?user=bob").await, ["login_ok", "login_failed", "login_ok", "user_created"]);
    assert_eq!(kinds(&format!("?user={}", bob.user)).await.len(), 4);
    assert_eq!(kinds("?user=nobody").await.len(), 0);
    assert_eq!(kinds(&format!("?since={since}&until={until}")).await, ["login_failed", "login_failed"]);
    assert_eq!(kinds(&format!("?since={until}")).await, ["login_ok"]);
    let all = events(&server, &alice.token, "").await;
    let (mut seen, mut query) = (Vec::new(), String::from("?limit=2"));
    loop {
        let page = server.send(get(&format!("{EVENTS}{query}")).bearer(&alice.token)).await.json();
        seen.extend(page["events"].as_array().expect("a list").clone());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, all);
    for query in ["?since=now", "?until=2026", "?actor=bob", "?kind=unheard_of"] {
        let reply = server.send(get(&format!("{EVENTS}{query}")).bearer(&alice.token)).await;
        assert_refused(&reply, 422, "validation_error");
    }
    server.stop().await;
}

#[on_both_stores]
async fn no_secret_is_in_the_audit(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    let password = format!("{}/password", user(&bob.user));
    let reply = server.send(post(&password).bearer(&alice.token)).await.json();
    let one_time = reply["one_time_password"].as_str().expect("a password").to_owned();
    let typed = "a password in the wrong field";
    server.send(post(LOGIN).json(&json!({"username": typed, "password": "x"}))).await;
    server.send(post(LOGIN).json(&json!({"username": typed, "password": "long enough but wrong"}))).await;
    let all = Value::from(events(&server, &alice.token, "?limit=100").await).to_string();
    for secret in [&one_time, PASSWORD, &alice.token, &bob.token, typed] {
        assert!(!all.contains(secret), "{all}");
    }
    server.stop().await;
}
