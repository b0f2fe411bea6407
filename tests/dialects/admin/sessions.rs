//! Sessions of all users: listed, filtered, counted, and ended one by one or many at once.

use super::*;

async fn listed(server: &Server, token: &str, query: &str) -> (Vec<String>, Option<String>) {
    let reply = server.send(get(&format!("{ALL_SESSIONS}{query}")).bearer(token)).await;
    assert_eq!(reply.status, 200, "{query}: {}", reply.text());
    let page = reply.json();
    let sessions = page["sessions"].as_array().expect("a list").iter();
    let ids = sessions.map(|session| session["id"].as_str().expect("an id").to_owned()).collect();
    (ids, page["next_cursor"].as_str().map(str::to_owned))
}

async fn log_in_with(server: &Server, user: &str, agent: &str) -> (String, String) {
    let body = json!({"username": user, "password": PASSWORD, "transport": "token"});
    let reply = server.send(post(LOGIN).json(&body).header("User-Agent", agent)).await.json();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&reply["session"]["id"]), text(&reply["token"]))
}

/// Writes live sessions of a user into the database, whose tokens nobody knows.
async fn seed(server: &Server, user: &str, count: usize) {
    let columns = "id, token_hash, user_id, created_at, last_seen_at, idle_expires_at, expires_at, remembered, ip, user_agent, host";
    let (rows, padded, random, no) = match server.database.kind() {
        StoreKind::Sqlite => (
            format!("WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})"),
            "printf('%017d', n)",
            "randomblob(32)",
            "0",
        ),
        StoreKind::Postgres => (
            format!("WITH numbers AS (SELECT generate_series(1, {count}) AS n)"),
            "lpad(n::text, 17, '0')",
            "sha256(random()::text::bytea)",
            "false",
        ),
    };
    let (now, later) = (server.now().millis(), server.now().after(MINUTE).millis());
    let sql = format!(
        "INSERT INTO sessions ({columns}) {rows} SELECT replace(replace({padded}, '0', 'A'), '1', 'B'), {random}, '{user}',
             {now}, {now}, {later}, {later}, {no}, '192.0.2.7', 'seeded', 'host' FROM numbers"
    );
    server.database.execute(&sql).await;
}

fn revoke(filter: Value, expect: usize) -> TestRequest {
    post(REVOKE).json(&json!({"filter": filter, "expect": expect}))
}

async fn count(server: &Server, token: &str, filter: Value) -> Value {
    server.send(post(REVOKE).bearer(token).json(&json!({"filter": filter, "dry_run": true}))).await.json()
}

#[on_both_stores]
async fn every_session_is_listed_newest_first_and_filtered(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    server.advance(MINUTE);
    let (first, _) = log_in_with(&server, BOB, "Firefox/140.0").await;
    server.advance(MINUTE);
    let between = server.now().rfc3339();
    let (second, token) = log_in_with(&server, BOB, "curl/8.5.0").await;
    let dead = server.log_in(BOB).await;
    server.send(post("/api/v1/auth/logout").bearer(&dead.token)).await;
    let reply = server.send(get(ALL_SESSIONS).bearer(&alice.token)).await.json();
    assert_eq!(reply["sessions"][0]["user"], json!({"id": dead.user, "username": BOB}));
    assert!(!reply.to_string().contains(&token));
    let all = [&second, &first, &alice.session].map(String::clone);
    for (query, found) in [
        ("", &all[..]),
        ("?user=bob", &all[..2]),
        (&format!("?user={}", dead.user), &all[..2]),
        ("?user=bob@EXAMPLE.com", &all[..2]),
        ("?user=nobody", &[]),
        ("?ip=127.0.0.1", &all[..]),
        ("?ip=127.0.0.0/8", &all[..]),
        ("?ip=192.0.2.0/24", &[]),
        ("?user_agent=FIREFOX", &all[1..2]),
        ("?user_agent=%25", &[]),
        (&format!("?before={between}"), &all[1..]),
        (&format!("?user=bob&before={between}"), &all[1..2]),
        ("?limit=1", &all[..1]),
    ] {
        assert_eq!(listed(&server, &alice.token, query).await.0, found, "{query}");
    }
    for query in ["?ip=here", "?before=yesterday", "?before=2026-01-02", "?who=bob"] {
        let reply = server.send(get(&format!("{ALL_SESSIONS}{query}")).bearer(&alice.token)).await;
        assert_refused(&reply, 422, "validation_error");
    }
    server.stop().await;
}

#[on_both_stores]
async fn pages_of_sessions_neither_skip_nor_repeat(store: StoreKind) {
    let server = Server::start(store).await;
    let mut all = vec![server.log_in(ALICE).await];
    for _ in 0..8 {
        all.push(server.log_in(BOB).await);
    }
    let token = all[0].token.clone();
    let (mut seen, mut query) = (Vec::new(), String::from("?limit=3"));
    loop {
        let (ids, cursor) = listed(&server, &token, &query).await;
        assert_eq!(ids.len(), 3);
        seen.extend(ids);
        // One that was shown and one that was not.
        let Some(cursor) = cursor else { break };
        query = format!("?limit=3&cursor={cursor}");
        server.log_in(BOB).await;
    }
    let expected: Vec<_> = all.iter().rev().map(|login| login.session.clone()).collect();
    assert_eq!(seen, expected);
    server.stop().await;
}

#[on_both_stores]
async fn one_session_and_all_of_a_user_are_ended(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, one, two) = (server.log_in(ALICE).await, server.log_in(BOB).await, server.log_in(BOB).await);
    let of_bob = format!("{}/sessions", user(&one.user));
    let shown = server.send(get(&of_bob).bearer(&alice.token)).await.json();
    assert_eq!(shown["sessions"].as_array().map(Vec::len), Some(2));
    let end = |id: &str| delete(&format!("{ALL_SESSIONS}/{id}")).bearer(&alice.token);
    assert_eq!(server.send(end(&one.session)).await.json(), json!({"revoked": 1}));
    assert_eq!((server.check(&one.token).await, server.check(&two.token).await), (401, 200));
    for gone in [&one.session, "23456789ABCDEFGHJ", "x"] {
        assert_refused(&server.send(end(gone)).await, 404, "not_found_error");
    }
    assert_eq!(server.send(delete(&of_bob).bearer(&alice.token)).await.json(), json!({"revoked": 1}));
    assert_eq!(server.check(&two.token).await, 401);
    for nobodys in ["23456789ABCDEFGHJ", "x"] {
        for request in [get(&format!("{}/sessions", user(nobodys))), delete(&format!("{}/sessions", user(nobodys)))] {
            assert_refused(&server.send(request.bearer(&alice.token)).await, 404, "not_found_error");
        }
    }
    // One's own, by the cookie, which is cleared.
    let own = delete(&format!("{ALL_SESSIONS}/{}", alice.session)).cookie(&alice.token);
    let reply = server.send(own).await;
    assert_eq!((reply.status, reply.all("set-cookie").is_empty()), (200, false));
    assert_eq!(server.check(&alice.token).await, 401);
    server.stop().await;
}

#[on_both_stores]
async fn those_that_fit_are_counted_first_and_then_ended(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    let (_, firefox) = log_in_with(&server, BOB, "Firefox/140.0").await;
    let (_, curl) = log_in_with(&server, BOB, "curl/8.5.0").await;
    let fox = || json!({"user_agent": "firefox"});
    assert_eq!(count(&server, &alice.token, fox()).await, json!({"count": 1}));
    assert_eq!(count(&server, &alice.token, json!({"all": true})).await, json!({"count": 2}), "not one's own");
    assert_eq!(count(&server, &alice.token, json!({"user": "nobody"})).await, json!({"count": 0}));
    assert_refused(&server.send(revoke(fox(), 0).bearer(&alice.token)).await, 409, "conflict_error");
    assert_eq!(server.check(&firefox).await, 200);
    assert_eq!(server.send(revoke(fox(), 1).bearer(&alice.token)).await.json(), json!({"revoked": 1}));
    assert_eq!((server.check(&firefox).await, server.check(&curl).await), (401, 200));
    for body in [
        json!({"filter": {}, "dry_run": true}),
        json!({"filter": {}, "expect": 9}),
        json!({"filter": {"all": true, "user": "bob"}, "expect": 9}),
        json!({"filter": {"all": true, "user": "nobody"}, "expect": 9}),
        json!({"filter": {"all": false}, "expect": 9}),
        json!({"filter": {"all": true}}),
        json!({"filter": {"all": true}, "expect": -1}),
        json!({"filter": {"all": true}, "expect": 9, "force": true}),
        json!({"filter": {"ip": "x"}, "expect": 9}),
        json!({"filter": {"browser": "x"}, "expect": 9}),
        json!({"expect": 9}),
    ] {
        let reply = server.send(post(REVOKE).bearer(&alice.token).json(&body)).await;
        assert_refused(&reply, 422, "validation_error");
    }
    assert_eq!(server.check(&curl).await, 200, "nothing was done");
    assert_eq!(server.send(revoke(json!({"all": true}), 1).bearer(&alice.token)).await.json(), json!({"revoked": 1}));
    assert_eq!((server.check(&curl).await, server.check(&alice.token).await), (401, 200));
    let events = server.send(get(&format!("{EVENTS}?kind=revoked")).bearer(&alice.token)).await.json();
    let acts: Vec<_> = events["events"].as_array().expect("a list").iter().map(|event| &event["count"]).collect();
    assert_eq!(acts, [1, 1], "an event for each act");
    server.stop().await;
}

#[on_both_stores]
async fn everybody_is_out_in_one_act_and_one_event(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    // More than one transaction takes.
    let bob = server.log_in(BOB).await;
    seed(&server, &bob.user, 1_234).await;
    assert_eq!(count(&server, &alice.token, json!({"all": true})).await, json!({"count": 1_235}));
    let reply = server.send(revoke(json!({"all": true}), 2_000).bearer(&alice.token)).await;
    assert_eq!(reply.json(), json!({"revoked": 1_235}));
    assert_eq!((server.check(&bob.token).await, server.check(&alice.token).await), (401, 200));
    let events = server.send(get(&format!("{EVENTS}?kind=revoked")).bearer(&alice.token)).await.json();
    let events = events["events"].as_array().expect("a list").clone();
    assert_eq!((events.len(), &events[0]["count"], &events[0]["actor"]["username"]), (1, &json!(1_235), &json!(ALICE)));
    server.stop().await;
}
