//! The canonical contract: logins, logouts, and every refusal in its envelope.
//!
//! `sessions` lists and ends sessions, `password` changes one; `lifetime` waits until sessions end by themselves.

use std::time::Duration;

use serde_json::{Value, json};
use sessiond_needs::on_both_stores;

use crate::harness::{
    ALICE, BEGIN, BOB, BOB_EMAIL, LoggedIn, PASSWORD, Reply, Server, StoreKind, TestRequest, ask, attributes,
    credentials_of_no_user, delete, get, post,
};

mod lifetime;
mod password;
mod sessions;

const LOGIN: &str = "/api/v1/auth/login";
const LOGOUT: &str = "/api/v1/auth/logout";
const SESSION: &str = "/api/v1/auth/session";
const SESSIONS: &str = "/api/v1/auth/sessions";
const CHANGE: &str = "/api/v1/auth/password";
const NEW: &str = "a completely different one";
const CHROME: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MOMENT: Duration = Duration::from_millis(1);

fn login(username: &str, password: &str) -> TestRequest {
    post(LOGIN).json(&json!({"username": username, "password": password}))
}

async fn cookie_of(server: &Server, username: &str) -> String {
    server.send(login(username, PASSWORD)).await.cookie().expect("a cookie")
}

fn one(id: &str) -> TestRequest {
    delete(&format!("{SESSIONS}/{id}"))
}

fn change(current: &str, new: &str) -> TestRequest {
    post(CHANGE).json(&json!({"current_password": current, "new_password": new}))
}

fn assert_answer(reply: &Reply, status: u16, body: &Value) {
    assert_eq!((reply.status, reply.header("content-type")), (status, Some("application/json")), "{}", reply.text());
    assert_eq!(&reply.json(), body);
}

fn assert_refused(reply: &Reply, status: u16, kind: &str, detail: &str) {
    assert_answer(reply, status, &json!({"code": status, "detail": detail, "type": kind}));
    assert!(reply.cookie().is_none());
}

fn assert_unauthenticated(reply: &Reply) {
    assert_refused(reply, 401, "authentication_error", "Authentication failed");
    assert_eq!(reply.header("www-authenticate"), Some("Session realm=\"sessiond\""));
}

fn assert_invalid(reply: &Reply, loc: [&str; 2], msg: &str, kind: &str) {
    let errors = json!([{"loc": loc, "msg": msg, "type": kind}]);
    let detail = format!("{}: {msg}", loc[1]);
    assert_answer(reply, 422, &json!({"code": 422, "detail": detail, "type": "validation_error", "errors": errors}));
    assert!(reply.all("set-cookie").is_empty());
}

async fn alive(server: &Server, sessions: &[&LoggedIn]) -> Vec<bool> {
    let mut alive = Vec::new();
    for session in sessions {
        alive.push(server.check(&session.token).await == 200);
    }
    alive
}

/// The ids on one page of one's sessions, and where the next begins.
async fn listed(server: &Server, token: &str, query: &str) -> (Vec<String>, Option<String>) {
    let reply = server.send(get(&format!("{SESSIONS}{query}")).bearer(token)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let page = reply.json();
    let ids = page["sessions"].as_array().expect("sessions").iter();
    (
        ids.map(|row| row["id"].as_str().expect("an id").to_owned()).collect(),
        page["next_cursor"].as_str().map(str::to_owned),
    )
}

#[on_both_stores]
async fn a_cookie_login_keeps_the_token_out_of_the_body(store: StoreKind) {
    let server = Server::start(store).await;
    for extra in [json!({}), json!({"transport": "cookie"}), json!({"remember": false, "unknown": 1})] {
        let mut body = json!({"username": BOB_EMAIL, "password": PASSWORD});
        body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        let reply = server.send(post(LOGIN).json(&body).header("User-Agent", CHROME)).await;
        let token = reply.cookie().expect("a cookie");
        let line = format!("_me_sess={token}; Path=/; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(attributes(reply.session_cookie().expect("one cookie")), attributes(&line));
        assert!(!reply.text().contains(&token));
        let shown = reply.json();
        let id = |pointer| shown.pointer(pointer).and_then(Value::as_str).filter(|id| id.len() == 17).expect("an id");
        let begin = "2026-01-02T03:04:05.678Z";
        let whole = json!({
            "user": {
                "id": id("/user/id"), "username": BOB, "email": BOB_EMAIL, "name": BOB,
                "admin": false, "created_at": begin,
            },
            "session": {
                "id": id("/session/id"), "created_at": begin, "last_seen_at": begin,
                "expires_at": "2026-01-03T03:04:05.678Z", "idle_expires_at": "2026-01-02T05:04:05.678Z",
                "current": true, "ip": "127.0.0.1", "user_agent": CHROME,
                "device": {"type": "desktop", "name": "Chrome", "os": "Linux"},
            },
        });
        assert_answer(&reply, 200, &whole);
        assert_answer(&server.send(get(SESSION).cookie(&token)).await, 200, &whole);
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_token_login_shows_the_token_and_neither_reads_nor_writes_cookies(store: StoreKind) {
    let server = Server::start(store).await;
    let in_cookie = cookie_of(&server, ALICE).await;
    let body = json!({"username": ALICE, "password": PASSWORD, "transport": "token"});
    let reply = server.send(post(LOGIN).json(&body).cookie(&in_cookie)).await;
    assert!(reply.all("set-cookie").is_empty());
    let mut shown = reply.json();
    let token = shown.as_object_mut().expect("an object").remove("token").expect("a token");
    let token = token.as_str().expect("text").to_owned();
    assert_eq!((reply.status, token.len(), server.check(&in_cookie).await), (200, 43, 200));
    assert_eq!((&shown["user"]["email"], &shown["user"]["admin"]), (&Value::Null, &json!(true)));
    let expiry = |name: &str| shown["session"][name].clone();
    assert_eq!(expiry("expires_at"), BEGIN.after(30 * DAY).rfc3339());
    assert_eq!(expiry("idle_expires_at"), BEGIN.after(14 * DAY).rfc3339());
    let user = shown["user"]["id"].as_str().expect("an id");
    for ask in [get(SESSION).bearer(&token), get(SESSION).pair(user, &token), get(SESSION).cookie(&token)] {
        assert_answer(&server.send(ask).await, 200, &shown);
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_remembered_login_outlives_the_browser(store: StoreKind) {
    let server = Server::with(store, "remembered_idle = '3d'\nremembered_absolute = '10d'").await;
    let json = post(LOGIN).json(&json!({"username": BOB, "password": PASSWORD, "remember": true}));
    let form =
        post(LOGIN).form("username=bob&password=correct+horse%20battery+staple&remember=true&grant_type=password");
    for ask in [json, form] {
        let reply = server.send(ask).await;
        let line =
            format!("_me_sess={}; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=864000", reply.cookie().unwrap());
        assert_eq!(attributes(reply.session_cookie().unwrap()), attributes(&line));
        let session = &reply.json()["session"];
        assert_eq!(session["expires_at"], BEGIN.after(10 * DAY).rfc3339());
        assert_eq!(session["idle_expires_at"], BEGIN.after(3 * DAY).rfc3339());
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_form_logs_in_like_json(store: StoreKind) {
    let server = Server::start(store).await;
    for (form, name) in [
        ("username=bob&password=correct+horse+battery+staple", BOB),
        ("grant_type=password&username=bob%40example.com&password=correct%20horse%20battery%20staple&scope=&x=1", BOB),
        ("username=ALICE&password=correct+horse+battery+staple&remember=false&transport=cookie", ALICE),
    ] {
        let reply = server.send(post(LOGIN).form(form)).await;
        assert_eq!((reply.status, &reply.json()["user"]["username"]), (200, &json!(name)), "{form}");
        assert_eq!(server.check(&reply.cookie().expect("a cookie")).await, 200);
    }
    let token =
        server.send(post(LOGIN).form("username=bob&password=correct+horse+battery+staple&transport=token")).await;
    assert_eq!((token.json()["token"].as_str().map(str::len), token.all("set-cookie").len()), (Some(43), 0));
    server.stop().await;
}

#[on_both_stores]
async fn bad_credentials_are_answered_alike(store: StoreKind) {
    let server = Server::start(store).await;
    server.disable(BOB).await;
    for (username, password) in credentials_of_no_user() {
        let reply = server.send(login(username, &password)).await;
        assert_unauthenticated(&reply);
        assert!(reply.all("set-cookie").is_empty());
    }
    assert_unauthenticated(&server.send(post(LOGIN).form("username=alice&password=wrong+password")).await);
    server.stop().await;
}

#[on_both_stores]
async fn what_is_not_a_login_is_distinguished(store: StoreKind) {
    let server = Server::start(store).await;
    let malformed = "The request cannot be read";
    let (json, form) = ("application/json", "application/x-www-form-urlencoded");
    for (content_type, body) in [
        (json, ""),
        (json, "{"),
        (json, "username=bob"),
        (json, r#"{"username":"bob","username":"alice","password":"correct horse battery staple"}"#),
        (json, r#"{"username":"a\u0000","password":"correct horse battery staple"}"#),
        (form, "username=bob&username=alice&password=correct+horse+battery+staple"),
        (form, "username=bob%00&password=correct+horse+battery+staple"),
        (form, "username=%ff&password=correct+horse+battery+staple"),
    ] {
        let reply = server.send(post(LOGIN).body(content_type, body.as_bytes())).await;
        assert_refused(&reply, 400, "invalid_request_error", malformed);
    }
    for content_type in ["text/plain", "multipart/form-data; boundary=x", "application/xml"] {
        let reply = server.send(post(LOGIN).body(content_type, b"{}")).await;
        assert_refused(&reply, 415, "unsupported_media_type_error", "The content type is not supported");
    }
    let reply = server.send(post(LOGIN).body(json, &[b' '; 8 * 1024 + 1])).await;
    assert_refused(&reply, 413, "payload_too_large_error", "The body is too large");
    server.stop().await;
}

#[on_both_stores]
async fn a_well_formed_and_wrong_login_names_the_field(store: StoreKind) {
    let server = Server::start(store).await;
    let missing = ("Field required", "missing");
    let text = ("Must be a string", "string_type");
    let flag = ("Must be true or false", "bool_type");
    for (body, field, (msg, kind)) in [
        (json!({}), "username", missing),
        (json!({"username": BOB}), "password", missing),
        (json!({"password": PASSWORD}), "username", missing),
        (json!({"username": 1, "password": PASSWORD}), "username", text),
        (json!({"username": BOB, "password": null}), "password", text),
        (json!({"username": BOB, "password": ["x"]}), "password", text),
        (json!({"username": BOB, "password": PASSWORD, "remember": "yes"}), "remember", flag),
        (json!({"username": BOB, "password": PASSWORD, "remember": 1}), "remember", flag),
        (json!({"username": BOB, "password": PASSWORD, "transport": true}), "transport", text),
        (
            json!({"username": BOB, "password": PASSWORD, "transport": "Token"}),
            "transport",
            ("Must be one of cookie, token", "enum"),
        ),
        (
            json!({"username": BOB, "password": PASSWORD, "grant_type": "refresh_token"}),
            "grant_type",
            ("Must be one of password", "enum"),
        ),
    ] {
        assert_invalid(&server.send(post(LOGIN).json(&body)).await, ["body", field], msg, kind);
    }
    for (form, field, (msg, kind)) in [
        ("", "username", missing),
        ("username=bob", "password", missing),
        ("username=bob&password=x&remember=1", "remember", flag),
        ("username=bob&password=x&grant_type=", "grant_type", ("Must be one of password", "enum")),
    ] {
        assert_invalid(&server.send(post(LOGIN).form(form)).await, ["body", field], msg, kind);
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_login_ends_the_session_of_the_cookie_it_overwrites(store: StoreKind) {
    let server = Server::start(store).await;
    let first = cookie_of(&server, BOB).await;
    let second = server.send(login(BOB, PASSWORD).cookie(&first)).await.cookie().expect("a cookie");
    assert_ne!(first, second);
    assert_eq!((server.check(&first).await, server.check(&second).await), (401, 200));
    server.stop().await;
}

#[on_both_stores]
async fn a_logout_has_a_json_body_and_ends_the_session(store: StoreKind) {
    let server = Server::start(store).await;
    for body in [None, Some("{}"), Some("not json"), Some(r#"{"a":1}"#)] {
        let token = cookie_of(&server, BOB).await;
        let logout = || {
            let logout = post(LOGOUT).cookie(&token);
            body.map_or(logout.clone(), |body| logout.body("application/json", body.as_bytes()))
        };
        let reply = server.send(logout()).await;
        assert_answer(&reply, 200, &json!({"detail": "Logged out"}));
        assert!(reply.clears_exactly(), "{:?}", reply.headers);
        assert_eq!(server.check(&token).await, 401);
        let again = server.send(logout()).await;
        assert_unauthenticated(&again);
        assert!(again.clears_exactly(), "{:?}", again.headers);
    }
    let unauthenticated = server.send(post(LOGOUT)).await;
    assert_unauthenticated(&unauthenticated);
    assert!(unauthenticated.clears_exactly());
    server.stop().await;
}

#[on_both_stores]
async fn a_logout_with_too_large_a_body_ends_nothing(store: StoreKind) {
    let server = Server::start(store).await;
    let token = cookie_of(&server, BOB).await;
    let large = |ask: TestRequest| ask.body("text/plain", &[b'x'; 8 * 1024 + 1]);
    let reply = server.send(large(post(LOGOUT).cookie(&token))).await;
    assert_refused(&reply, 413, "payload_too_large_error", "The body is too large");
    assert_eq!((reply.all("set-cookie").len(), server.check(&token).await), (0, 200));
    let unauthenticated = server.send(large(post(LOGOUT))).await;
    assert_unauthenticated(&unauthenticated);
    assert!(unauthenticated.clears_exactly());
    server.stop().await;
}

#[on_both_stores]
async fn a_logout_by_header_keeps_the_cookie_of_another_live_session(store: StoreKind) {
    let server = Server::start(store).await;
    let (mine, cookie) = (server.log_in(BOB).await, server.log_in(BOB).await);
    let logout = || post(LOGOUT).pair(&mine.user, &mine.token).cookie(&cookie.token);
    let reply = server.send(logout()).await;
    assert_answer(&reply, 200, &json!({"detail": "Logged out"}));
    assert!(reply.all("set-cookie").is_empty());
    assert_eq!(alive(&server, &[&mine, &cookie]).await, [false, true]);
    let again = server.send(logout()).await;
    assert_unauthenticated(&again);
    assert!(again.all("set-cookie").is_empty(), "and there is no falling back to the cookie");
    assert_eq!(alive(&server, &[&cookie]).await, [true]);
    let own = server.send(post(LOGOUT).bearer(&cookie.token).cookie(&cookie.token)).await;
    assert!(own.clears_exactly(), "the cookie stood for the session that ended");
    server.stop().await;
}

#[on_both_stores]
async fn a_cookie_that_cannot_be_looked_up_stops_the_change_and_stays(store: StoreKind) {
    let server = Server::start(store).await;
    let (mine, other, unreadable) = (server.log_in(BOB).await, server.log_in(BOB).await, server.log_in(BOB).await);
    let spoil = format!("UPDATE sessions SET id = 'spoilt' WHERE id = '{}'", unreadable.session);
    server.database.execute(&spoil).await;
    let server = server.restart("").await;
    let user_logout = post("/api/v1/users.logout");
    for ask in [
        post(LOGOUT),
        post("/auth/logout"),
        one(&other.session),
        delete("/api/v1/auth/sessions?scope=all"),
        user_logout,
    ] {
        let reply = server.send(ask.clone().bearer(&mine.token).cookie(&unreadable.token)).await;
        assert_eq!((reply.status, reply.all("set-cookie").len()), (500, 0), "{ask:?}");
    }
    assert_eq!(alive(&server, &[&mine, &other]).await, [true, true]);
    server.stop().await;
}

#[on_both_stores]
async fn nothing_is_revealed_without_a_live_session(store: StoreKind) {
    let server = Server::start(store).await;
    let dead = server.log_in(BOB).await;
    server.send(post(LOGOUT).bearer(&dead.token)).await;
    let large = vec![b'x'; 9000];
    let routes = [
        get(SESSION),
        get(SESSIONS),
        get("/api/v1/auth/sessions?limit=x&cursor=x"),
        change(PASSWORD, NEW),
        post(CHANGE),
        post(CHANGE).body("text/plain", &large),
        delete(SESSIONS),
        delete("/api/v1/auth/sessions?scope=all"),
        one(&dead.session),
        one("garbage"),
        one("%ff"),
    ];
    for route in routes {
        for ask in [route.clone(), route.clone().cookie(&dead.token), route.clone().pair(&dead.user, &dead.token)] {
            let reply = server.send(ask).await;
            assert_unauthenticated(&reply);
            assert!(reply.all("set-cookie").is_empty(), "only a logout clears");
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn unknown_routes_and_wrong_methods_are_refused_in_the_envelope(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = server.log_in(BOB).await;
    for path in [
        "/api/v1/auth",
        "/api/v1/auth/",
        "/api/v1/auth/nothing",
        "/api/v1/auth/sessions/a/b",
        "/api/v1/auth/login/",
        "/api/v1/admin/nothing",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let reply = server.send(ask(method, path).bearer(&bob.token)).await;
            assert_refused(&reply, 404, "not_found_error", "No such route");
        }
    }
    for (path, right, wrong) in [
        (LOGIN, "POST", ["GET", "PUT", "DELETE"]),
        (LOGOUT, "POST", ["GET", "PUT", "DELETE"]),
        (CHANGE, "POST", ["GET", "PUT", "DELETE"]),
        (SESSION, "GET, HEAD", ["POST", "PUT", "DELETE"]),
        (SESSIONS, "GET, HEAD, DELETE", ["POST", "PUT", "PATCH"]),
        ("/api/v1/auth/sessions/x", "DELETE", ["GET", "POST", "PUT"]),
    ] {
        for method in wrong {
            let reply = server.send(ask(method, path).cookie(&bob.token)).await;
            assert_refused(&reply, 405, "method_not_allowed_error", "Method not allowed");
            assert_eq!(reply.header("allow"), Some(right), "{method} {path}");
            assert!(reply.all("set-cookie").is_empty());
        }
        let head = server.send(ask("HEAD", path).bearer(&bob.token)).await;
        assert_eq!((head.status, head.body.len()), (if right.starts_with("GET") { 200 } else { 405 }, 0), "{path}");
    }
    assert_eq!(alive(&server, &[&bob]).await, [true]);
    server.stop().await;
}
