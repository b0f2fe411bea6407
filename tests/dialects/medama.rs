//! Medama's contract: login and logout without bodies, the user, and one shape for every refusal.

use std::time::Duration;

use serde_json::{Value, json};
use sessiond_needs::on_both_stores;

use crate::harness::{
    ALICE, BEGIN, BOB, BOB_EMAIL, PASSWORD, Reply, Server, StoreKind, TestRequest, ask, attributes,
    credentials_of_no_user, get, post,
};

const MOUNTS: [&str; 2] = ["", "/api"];

fn login(mount: &str, username: &str, password: &str) -> TestRequest {
    post(&format!("{mount}/auth/login")).json(&json!({"username": username, "password": password}))
}

async fn logged_in(server: &Server, username: &str) -> String {
    server.send(login("", username, PASSWORD)).await.cookie().expect("a cookie")
}

fn assert_refused(reply: &Reply, status: u16, message: &str) {
    assert_eq!((reply.status, reply.header("content-type")), (status, Some("application/json")), "{message}");
    assert_eq!(reply.json(), json!({"error": {"code": status, "message": message}}));
}

#[on_both_stores]
async fn a_login_sets_the_cookie_and_says_nothing_else(store: StoreKind) {
    let server = Server::start(store).await;
    for mount in MOUNTS {
        let reply = server.send(login(mount, BOB, PASSWORD)).await;
        assert_eq!((reply.status, reply.text().as_str(), reply.header("content-type")), (200, "", None));
        let token = reply.cookie().expect("a cookie");
        let line = format!("_me_sess={token}; Path=/; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(attributes(reply.session_cookie().expect("one cookie")), attributes(&line));
        let known = format!(
            "_me_sess_known={}; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=31536000",
            reply.known_browser().expect("another one")
        );
        assert_eq!(reply.all("set-cookie").len(), 2);
        assert_eq!(attributes(reply.all("set-cookie")[1]), attributes(&known), "which outlives the session");
        assert_eq!(token.len(), 43);
        assert_eq!(server.check(&token).await, 200);
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_logout_destroys_the_cookie_and_the_session(store: StoreKind) {
    let server = Server::start(store).await;
    let bare = |ask: TestRequest| ask;
    let dashboard = |ask: TestRequest| ask.header("Content-Type", "application/json");
    let empty = |ask: TestRequest| ask.json(&json!({}));
    for (mount, body) in
        [("", bare as fn(TestRequest) -> TestRequest), ("/api", bare), ("/api", dashboard), ("", empty)]
    {
        let token = logged_in(&server, BOB).await;
        let logout = || body(post(&format!("{mount}/auth/logout")).cookie(&token));
        let reply = server.send(logout()).await;
        assert_eq!((reply.status, reply.body.len(), reply.header("content-type")), (204, 0, None));
        assert!(reply.clears_exactly(), "{:?}", reply.headers);
        assert!(reply.header("x-api-commit").is_some());
        assert_eq!(server.check(&token).await, 401, "dead when it was answered");
        assert_refused(&server.send(get("/user").cookie(&token)).await, 401, "not logged in");
        let again = server.send(logout()).await;
        assert_refused(&again, 401, "not logged in");
        assert!(again.clears_exactly(), "{:?}", again.headers);
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_logout_without_a_live_session_is_401_and_clears_a_browsers_cookie(store: StoreKind) {
    let server = Server::start(store).await;
    let expired = logged_in(&server, BOB).await;
    server.advance(Duration::from_secs(24 * 60 * 60));
    let forged = "A".repeat(43);
    for cookie in [None, Some(expired.as_str()), Some(forged.as_str()), Some("garbage"), Some("")] {
        let bare = post("/auth/logout");
        let reply = server.send(cookie.map_or(bare.clone(), |cookie| bare.cookie(cookie))).await;
        assert_refused(&reply, 401, "not logged in");
        assert!(reply.clears_exactly(), "{cookie:?}: {:?}", reply.headers);
    }
    let bob = server.log_in(BOB).await;
    for header in [post("/auth/logout").bearer(&expired), post("/auth/logout").pair(&bob.user, &expired)] {
        let reply = server.send(header.cookie(&expired)).await;
        assert_refused(&reply, 401, "not logged in");
        assert!(reply.all("set-cookie").is_empty(), "header credentials are no browser's");
    }
    server.stop().await;
}

#[on_both_stores]
async fn bad_credentials_are_answered_alike(store: StoreKind) {
    let server = Server::start(store).await;
    server.disable(BOB).await;
    for (username, password) in credentials_of_no_user() {
        let reply = server.send(login("", username, &password)).await;
        assert_refused(&reply, 401, "invalid username or password");
        let names: Vec<_> = reply.headers.iter().map(|(name, _)| name.as_str()).collect();
        let usual = [
            "content-type",
            "x-api-commit",
            "x-request-id",
            "cache-control",
            "x-content-type-options",
            "referrer-policy",
            "www-authenticate",
            "content-length",
            "connection",
            "date",
        ];
        assert_eq!(names.len(), usual.len(), "{username} {password}: {names:?}");
        assert!(names.iter().all(|name| usual.contains(name)), "{username} {password}: {names:?}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_disabled_users_session_is_dead(store: StoreKind) {
    let server = Server::start(store).await;
    let token = logged_in(&server, BOB).await;
    server.disable(BOB).await;
    assert_refused(&server.send(get("/user").cookie(&token)).await, 401, "not logged in");
    assert_refused(&server.send(post("/auth/logout").cookie(&token)).await, 401, "not logged in");
    server.stop().await;
}

#[on_both_stores]
async fn an_unusable_body_is_400_without_a_parsers_words(store: StoreKind) {
    let server = Server::start(store).await;
    let object = "the body is not a JSON object";
    for (body, message) in [
        ("", object),
        ("{", object),
        ("[]", object),
        ("null", object),
        ("\"alice\"", object),
        ("username=alice&password=x", object),
        (r#"{"username":"alice","password":"correct horse battery staple"} x"#, object),
        (r#"{"username":"ali\u0000ce","password":"correct horse battery staple"}"#, object),
        (r#"{"username":"alice","password":"correct horse\u0000 battery staple"}"#, object),
        (r#"{"username":"bob","username":"alice","password":"correct horse battery staple"}"#, object),
        (r#"{"username":"alice","password":"x","password":"correct horse battery staple"}"#, object),
        ("{}", "username is required"),
        (r#"{"password":"correct horse battery staple"}"#, "username is required"),
        (r#"{"username":"alice"}"#, "password is required"),
        (r#"{"Username":"alice","Password":"correct horse battery staple"}"#, "username is required"),
        (r#"{"username":1,"password":"correct horse battery staple"}"#, "username must be a string"),
        (r#"{"username":null,"password":"correct horse battery staple"}"#, "username must be a string"),
        (r#"{"username":"alice","password":["correct horse battery staple"]}"#, "password must be a string"),
        (r#"{"username":"alice","password":{"a":"b"}}"#, "password must be a string"),
    ] {
        for mount in MOUNTS {
            let ask = post(&format!("{mount}/auth/login")).body("application/json", body.as_bytes());
            let reply = server.send(ask).await;
            assert_refused(&reply, 400, message);
            assert!(reply.all("set-cookie").is_empty(), "{body}");
        }
    }
    let reply =
        server.send(post("/auth/login").body("application/json", b"{\"username\":\"\xff\",\"password\":\"\"}")).await;
    assert_refused(&reply, 400, object);
    server.stop().await;
}

#[on_both_stores]
async fn only_json_of_a_reasonable_size_is_read(store: StoreKind) {
    let server = Server::start(store).await;
    let body = json!({"username": BOB, "password": PASSWORD}).to_string();
    for content_type in
        ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data", "application/jsonp", ""]
    {
        let reply = server.send(post("/auth/login").body(content_type, body.as_bytes())).await;
        assert_refused(&reply, 415, "send application/json");
    }
    assert_refused(&server.send(post("/auth/login")).await, 415, "send application/json");
    for content_type in ["application/json; charset=utf-8", "Application/JSON"] {
        assert_eq!(server.send(post("/auth/login").body(content_type, body.as_bytes())).await.status, 200);
    }
    let padded = |size: usize| format!("{body}{}", " ".repeat(size - body.len()));
    let sized = |size| post("/auth/login").body("application/json", padded(size).as_bytes());
    assert_eq!(server.send(sized(8 * 1024)).await.status, 200);
    assert_refused(&server.send(sized(8 * 1024 + 1)).await, 413, "the body is too large");
    server.stop().await;
}

#[on_both_stores]
async fn a_login_takes_every_spelling_of_a_name_and_ignores_unknown_keys(store: StoreKind) {
    let server = Server::start(store).await;
    for name in [BOB, "BoB", " bob ", "ｂｏｂ", "ＢＯＢ", BOB_EMAIL, "BOB@Example.COM"] {
        let extra =
            json!({"username": name, "password": PASSWORD, "remember": true, "transport": "token", "x": {"y": [1]}});
        let reply = server.send(post("/auth/login").json(&extra)).await;
        assert_eq!((reply.status, reply.body.len()), (200, 0), "{name}");
        assert!(!reply.session_cookie().expect("a cookie").contains("Max-Age"), "no session is remembered here");
        let token = reply.cookie().expect("a cookie");
        assert_eq!(server.send(get("/user").cookie(&token)).await.json()["username"], BOB, "{name}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn the_user_is_shown_as_the_dashboard_knows_them(store: StoreKind) {
    let server = Server::start(store).await;
    server.advance(Duration::from_secs(60));
    for username in [ALICE, BOB] {
        let token = logged_in(&server, username).await;
        for mount in MOUNTS {
            let target = format!("{mount}/user");
            let reply = server.send(get(&target).cookie(&token)).await;
            assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
            let born = BEGIN.seconds();
            let user =
                json!({"username": username, "settings": {"language": "en"}, "dateCreated": born, "dateUpdated": born});
            assert_eq!(reply.json(), user);
            assert!(reply.all("set-cookie").is_empty());
            let head = server.send(ask("HEAD", &target).cookie(&token)).await;
            assert_eq!((head.status, head.body.len()), (200, 0));
            for same in ["content-type", "content-length", "cache-control"] {
                assert_eq!(head.header(same), reply.header(same), "{same}");
            }
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn no_user_is_shown_without_a_live_session(store: StoreKind) {
    let server = Server::start(store).await;
    let dead = logged_in(&server, BOB).await;
    server.send(post("/auth/logout").cookie(&dead)).await;
    for mount in MOUNTS {
        let user = || get(&format!("{mount}/user"));
        for ask in [user(), user().cookie(&dead), user().bearer(&dead), user().cookie("garbage")] {
            let reply = server.send(ask).await;
            assert_refused(&reply, 401, "not logged in");
            assert!(reply.all("set-cookie").is_empty(), "a GET clears nothing");
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn unknown_paths_and_wrong_methods_are_refused_in_the_same_shape(store: StoreKind) {
    let server = Server::start(store).await;
    for path in
        ["/nothing", "/auth", "/auth/logout/", "/auth/Logout", "/api", "/api/", "/api/nothing", "/user/1", "/api/v10"]
    {
        for method in ["GET", "POST", "DELETE"] {
            assert_refused(&server.send(ask(method, path)).await, 404, "no such route");
        }
    }
    for mount in MOUNTS {
        for (path, right, wrong) in [
            ("/auth/login", "POST", &["GET", "PUT", "PATCH", "DELETE"][..]),
            ("/auth/logout", "POST", &["GET", "PUT", "DELETE"]),
            ("/user", "GET, HEAD", &["POST", "PUT", "DELETE", "PROPFIND"]),
        ] {
            for method in wrong {
                let reply = server.send(ask(method, &format!("{mount}{path}"))).await;
                assert_refused(&reply, 405, "method not allowed");
                assert_eq!(reply.header("allow"), Some(right), "{method} {path}");
            }
        }
        for changing in ["/auth/login", "/auth/logout"] {
            let reply = server.send(ask("HEAD", &format!("{mount}{changing}"))).await;
            assert_eq!((reply.status, reply.body.len(), reply.header("allow")), (405, 0, Some("POST")));
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_login_makes_a_new_token_and_ends_the_session_of_the_old_cookie(store: StoreKind) {
    let server = Server::start(store).await;
    let (first, bystander) = (logged_in(&server, BOB).await, logged_in(&server, BOB).await);
    // It ends whichever user it belongs to: the browser that logs in as Alice no longer has Bob's cookie.
    let second = server.send(login("", ALICE, PASSWORD).cookie(&first)).await.cookie().expect("a cookie");
    assert_ne!(first, second);
    assert_eq!(
        (server.check(&first).await, server.check(&second).await, server.check(&bystander).await),
        (401, 200, 200)
    );
    // A refused login does not end the old session, and a planted value never becomes a token.
    let refused = server.send(login("", ALICE, "wrong horse battery staple").cookie(&second)).await;
    assert_eq!((refused.status, server.check(&second).await), (401, 200));
    let planted = server.send(login("", ALICE, PASSWORD).cookie(&first)).await.cookie().expect("a cookie");
    assert!(planted != first && server.check(&first).await == 401);
    server.stop().await;
}

#[on_both_stores]
async fn two_live_cookies_stand_for_no_user_and_a_logout_or_a_login_ends_both(store: StoreKind) {
    let server = Server::start(store).await;
    let two = async || [logged_in(&server, BOB).await, logged_in(&server, ALICE).await];
    let both = |ask: TestRequest, [mine, tossed]: &[String; 2]| {
        ask.header("Host", "login.example.com").header("Cookie", &format!("_me_sess={tossed}; _me_sess={mine}"))
    };
    let (out, over) = (two().await, two().await);
    assert_refused(&server.send(both(get("/user"), &out)).await, 401, "not logged in");
    let logout = server.send(both(post("/auth/logout"), &out)).await;
    assert_eq!((logout.status, logout.body.len()), (204, 0));
    assert_refused(&server.send(both(post("/auth/logout"), &out)).await, 401, "not logged in");
    let login = server.send(both(login("", BOB, PASSWORD), &over)).await;
    assert_eq!(login.status, 200);
    for reply in [&logout, &login] {
        let lines = reply.all("set-cookie");
        let cleared = |domain: &str| lines.iter().any(|line| line.starts_with("_me_sess=;") && line.contains(domain));
        assert!(cleared("Domain=login.example.com") && cleared("Domain=example.com"), "{lines:?}");
    }
    assert!(!logout.all("set-cookie").last().expect("ours").contains("Domain"), "and the host's own");
    assert!(login.cookie().is_some(), "no user is locked out");
    for token in out.iter().chain(&over) {
        assert_eq!(server.check(token).await, 401);
    }
    server.stop().await;
}

#[on_both_stores]
async fn every_answer_is_stamped(store: StoreKind) {
    let server = Server::start(store).await;
    let token = logged_in(&server, BOB).await;
    let large = post("/auth/login").body("application/json", &[b' '; 9000]);
    let foreign = post("/auth/logout").header("Origin", "https://evil.example");
    let mut ids = std::collections::BTreeSet::new();
    for (ask, status) in [
        (login("", BOB, PASSWORD), 200),
        (get("/api/user").cookie(&token), 200),
        (ask("HEAD", "/user").cookie(&token), 200),
        (post("/auth/logout").cookie(&token), 204),
        (ask("OPTIONS", "/user"), 204),
        (post("/auth/login").json(&Value::Null), 400),
        (get("/user").without_host(), 400),
        (post("/auth/logout"), 401),
        (get("/user"), 401),
        (foreign, 403),
        (get("/nothing"), 404),
        (get("/auth/login"), 405),
        (large, 413),
        (post("/auth/login").form("username=bob"), 415),
        (get("/user").header("X-Large", &"x".repeat(32 * 1024)), 431),
    ] {
        let reply = server.send(ask.header("X-Request-Id", "theirs")).await;
        assert_eq!(reply.status, status, "{}", reply.text());
        for (name, value) in [
            ("x-api-commit", Some(sessiond::telemetry::COMMIT)),
            ("cache-control", Some("no-store")),
            ("x-content-type-options", Some("nosniff")),
            ("referrer-policy", Some("no-referrer")),
            ("www-authenticate", (status == 401).then_some("Session realm=\"sessiond\"")),
        ] {
            assert_eq!(reply.header(name), value, "{status} {name}");
        }
        let id = reply.header("x-request-id").expect("an id").to_owned();
        assert!(!id.is_empty() && id != "theirs", "{status}: no proxy is trusted");
        assert!(ids.insert(id), "{status}: each its own");
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_trusted_proxys_request_id_is_taken_over_when_it_is_fit(store: StoreKind) {
    let server = Server::with(store, "trusted_proxies = ['127.0.0.0/8']").await;
    let longest = "i".repeat(128);
    let id = async |theirs: &str| {
        let reply = server.send(get("/nothing").header("X-Request-Id", theirs)).await;
        reply.header("x-request-id").expect("an id").to_owned()
    };
    for fit in ["a", "req-1/2~", &longest] {
        assert_eq!(id(fit).await, fit);
    }
    for unfit in ["", "two words", "\u{e9}", &"i".repeat(129)] {
        assert_ne!(id(unfit).await, unfit);
    }
    server.stop().await;
}
