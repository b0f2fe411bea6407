//! Logins in every form, resumed ones, and refused ones.

use sessiond_needs::on_both_stores;

use super::*;

#[on_both_stores]
async fn every_form_of_login_begins_a_session_of_its_own(store: StoreKind) {
    let server = Server::start(store).await;
    let form = |name: &str, value: &str| {
        Serializer::new(String::new()).append_pair(name, value).append_pair("password", PASSWORD).finish()
    };
    let id = server.log_in(BOB).await.user;
    let mut asks: Vec<TestRequest> = [
        json!({"user": BOB, "password": PASSWORD}),
        json!({"username": BOB, "password": PASSWORD}),
        json!({"email": BOB_EMAIL, "password": PASSWORD}),
        json!({"user": BOB_EMAIL, "password": PASSWORD}),
        json!({"user": {"username": BOB}, "password": PASSWORD}),
        json!({"user": {"email": BOB_EMAIL}, "password": PASSWORD}),
        json!({"user": BOB, "password": PASSWORD, "code": "123456"}),
    ]
    .iter()
    .map(|body| post("/api/v1/login").json(body))
    .collect();
    asks.extend(
        [("user", BOB), ("username", BOB), ("email", BOB_EMAIL), ("user", BOB_EMAIL)]
            .map(|(name, value)| post("/api/v1/login").form(&form(name, value))),
    );
    let mut tokens = std::collections::BTreeSet::new();
    for ask in asks {
        let what = format!("{ask:?}");
        let reply = server.send(ask).await;
        let token = reply.json()["data"]["authToken"].as_str().expect(&what).to_owned();
        let me = user_json(&id, BOB, "");
        let body = format!(
            r#"{{"status":"success","data":{{"userId":"{id}","authToken":"{token}","me":{me}}},"success":true}}"#
        );
        assert_answer(&reply, 200, &body, &what);
        assert_eq!(token.len(), 43, "{what}");
        assert!(reply.all("set-cookie").is_empty(), "{what}");
        assert_eq!(server.check(&token).await, 200, "{what}");
        assert!(tokens.insert(token), "a token twice: {what}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn me_distinguishes_an_ordinary_user_from_an_admin_without_an_address(store: StoreKind) {
    let server = Server::start(store).await;
    for user in [BOB, ALICE] {
        let login = log_in(&server, user, CURL).await;
        let reply = server.send(get("/api/v1/me").by(&login)).await;
        assert_answer(&reply, 200, &user_json(&login.user, user, r#","success":true"#), user);
        let again = server.send(post("/api/v1/login").json(&json!({"resume": login.token}))).await;
        assert_eq!(again.json()["data"]["me"].to_string(), {
            let me: Value = serde_json::from_str(&user_json(&login.user, user, "")).expect("JSON");
            me.to_string()
        });
    }
    server.stop().await;
}

#[on_both_stores]
async fn resuming_returns_the_same_live_session(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = log_in(&server, BOB, CURL).await;
    let resume = || {
        let form = format!("resume={}", bob.token);
        [post("/api/v1/login").json(&json!({"resume": bob.token})), post("/api/v1/login").form(&form)]
    };
    for ask in resume() {
        let reply = server.send(ask).await;
        assert_eq!((reply.status, reply.json()["data"]["authToken"].as_str()), (200, Some(bob.token.as_str())));
        assert_eq!(reply.json()["data"]["userId"], json!(bob.user));
        assert!(reply.all("set-cookie").is_empty());
    }
    let list = server.send(get("/api/v1/sessions/list").by(&bob)).await.json();
    assert_eq!((&list["total"], &list["sessions"][0]["sessionId"]), (&json!(1), &json!(bob.session)));

    assert_answer(&server.send(post("/api/v1/logout").by(&bob)).await, 200, LOGGED_OUT, "logout");
    for ask in resume() {
        assert_answer(&server.send(ask).await, 401, UNAUTHORIZED, "resumed after logout");
    }
    server.stop().await;
}

#[on_both_stores]
async fn every_login_that_cannot_be_is_refused_alike(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = log_in(&server, BOB, CURL).await;
    let good = json!({"user": BOB, "password": PASSWORD}).to_string();
    let json_bodies = [
        json!({"user": BOB, "password": "wrong horse battery staple"}),
        json!({"user": "nobody", "password": PASSWORD}),
        json!({"user": "nobody@example.com", "password": PASSWORD}),
        json!({"username": BOB_EMAIL, "password": PASSWORD}),
        json!({"email": BOB, "password": PASSWORD}),
        json!({"user": {"username": "nobody"}, "password": PASSWORD}),
        json!({"user": {"email": BOB}, "password": PASSWORD}),
        json!({"user": {}, "password": PASSWORD}),
        json!({"user": [BOB], "password": PASSWORD}),
        json!({"user": BOB, "password": {"digest": "a".repeat(64), "algorithm": "sha-256"}}),
        json!({"user": BOB, "password": null}),
        json!({"user": BOB, "password": ""}),
        json!({"user": BOB, "password": "x".repeat(5000)}),
        json!({"user": BOB}),
        json!({"password": PASSWORD}),
        json!({"resume": "x".repeat(43)}),
        json!({"resume": "short"}),
        json!({"resume": ""}),
        json!({"resume": bob.session}),
        json!({"resume": 5}),
        json!([BOB, PASSWORD]),
        json!("text"),
        json!({}),
    ];
    let mut asks: Vec<TestRequest> = json_bodies.iter().map(|body| post("/api/v1/login").json(body)).collect();
    let raw: [(&str, &[u8]); 9] = [
        ("application/json", b""),
        ("application/json", b"{"),
        ("application/json", b"\xff\xfe"),
        ("application/json", b"user=bob&password=correct+horse+battery+staple"),
        ("application/x-www-form-urlencoded", b""),
        ("application/x-www-form-urlencoded", good.as_bytes()),
        ("application/x-www-form-urlencoded", b"user=bob&user=bob&password=correct+horse+battery+staple"),
        ("text/plain", good.as_bytes()),
        ("multipart/form-data; boundary=x", good.as_bytes()),
    ];
    asks.extend(raw.map(|(content_type, body)| post("/api/v1/login").body(content_type, body)));
    asks.push(post("/api/v1/login"));
    for ask in asks {
        let what = format!("{ask:?}");
        let reply = server.send(ask).await;
        assert_answer(&reply, 401, UNAUTHORIZED, &what);
        assert!(reply.all("set-cookie").is_empty(), "{what}");
    }
    let list = server.send(get("/api/v1/sessions/list").by(&bob)).await.json();
    assert_eq!(list["total"], 1, "nothing began");
    server.stop().await;
}

#[on_both_stores]
async fn a_login_neither_reads_nor_touches_cookies(store: StoreKind) {
    let server = Server::start(store).await;
    let old = log_in(&server, BOB, CURL).await;
    let conflict = format!("_me_sess={}; _me_sess=tossed", old.token);
    let whole = format!("_me_sess={}", old.token);
    for cookie in [whole.as_str(), "_me_sess=garbage", &conflict] {
        for (password, status) in [(PASSWORD, 200), ("wrong horse battery staple", 401)] {
            let body = json!({"user": BOB, "password": password});
            let reply = server.send(post("/api/v1/login").header("Cookie", cookie).json(&body)).await;
            assert_eq!((reply.status, reply.all("set-cookie").len()), (status, 0), "{cookie}");
        }
        let resume = post("/api/v1/login").header("Cookie", cookie).json(&json!({"resume": old.token}));
        assert!(server.send(resume).await.all("set-cookie").is_empty(), "{cookie}");
    }
    assert_eq!(alive(&server, [&old]).await, [true], "the cookie's session was not replaced");
    server.stop().await;
}
