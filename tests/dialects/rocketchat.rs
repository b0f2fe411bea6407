//! Rocket.Chat's contract as its clients see it: every row, every refusal, byte by byte.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use form_urlencoded::Serializer;
use serde_json::{Value, json};
use sessiond_needs::on_both_stores;
use sha2::{Digest as _, Sha256};

use crate::harness::{
    ALICE, Ask, BOB, BOB_EMAIL, LoggedIn, PASSWORD, Reply, Server, StoreKind, ask, delete, get, post,
};

const SUCCESS: &str = r#"{"success":true}"#;
const LOGGED_OUT: &str = r#"{"status":"success","data":{"message":"You've been logged out!"}}"#;
const UNAUTHORIZED: &str = r#"{"success":false,"error":"Unauthorized","status":"error","message":"Unauthorized"}"#;
const NOT_LOGGED_IN: &str = r#"{"status":"error","message":"You must be logged in to do this."}"#;
const NOT_FOUND: &str = r#"{"success":false,"error":"Session not found"}"#;
const CLEARED: &str =
    "_me_sess=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";

const CHROME: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.1.2 Safari/537.36";
const FIREFOX: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0";
const CURL: &str = "curl/8.5.0";
const ODD: &str = "ac.me+sync[1]/2.4";

fn invalid(problem: &str) -> String {
    format!(r#"{{"success":false,"error":"{problem} [invalid-params]","errorType":"invalid-params"}}"#)
}

fn missing() -> String {
    invalid("must have required property 'sessionId'")
}

/// Holds an answer against its whole body.
#[track_caller]
fn assert_answer(reply: &Reply, status: u16, body: &str, what: &str) {
    assert_eq!((reply.status, reply.text().as_str()), (status, body), "{what}");
    assert_eq!(reply.header("content-type"), Some("application/json"), "{what}");
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{what}");
    assert_eq!(reply.header("www-authenticate").is_some(), status == 401, "{what}");
}

/// Logs in as this dialect's clients do.
async fn log_in(server: &Server, user: &str, agent: &str) -> LoggedIn {
    let ask = post("/api/v1/login").header("User-Agent", agent).json(&json!({"user": user, "password": PASSWORD}));
    let reply = server.send(ask).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let body = reply.json();
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).expect(pointer).to_owned();
    let (user, token) = (text("/data/userId"), text("/data/authToken"));
    let check = server.send(get("/verify").bearer(&token)).await;
    let session = check.header("remote-session-id").expect("a session").to_owned();
    LoggedIn { token, session, user }
}

/// Logs Bob in several times.
async fn several<const N: usize>(server: &Server) -> [LoggedIn; N] {
    let mut logins = Vec::new();
    for _ in 0..N {
        logins.push(log_in(server, BOB, CURL).await);
    }
    logins.try_into().expect("as many")
}

trait Present {
    /// Presents a login as this dialect's clients do.
    fn by(self, login: &LoggedIn) -> Ask;
}

impl Present for Ask {
    fn by(self, login: &LoggedIn) -> Ask {
        self.pair(&login.user, &login.token)
    }
}

/// Which of these sessions are alive.
async fn alive<const N: usize>(server: &Server, logins: [&LoggedIn; N]) -> [bool; N] {
    let mut alive = [false; N];
    for (alive, login) in alive.iter_mut().zip(logins) {
        let status = server.check(&login.token).await;
        assert!(matches!(status, 200 | 401), "{status}");
        *alive = status == 200;
    }
    alive
}

fn query(path: &str, pairs: &[(&str, &str)]) -> String {
    format!("{path}?{}", Serializer::new(String::new()).extend_pairs(pairs).finish())
}

fn user_json(id: &str, user: &str, tail: &str) -> String {
    let (emails, roles, email) = match user {
        ALICE => ("[]".into(), r#"["user","admin"]"#, String::new()),
        _ => (
            format!(r#"[{{"address":"{BOB_EMAIL}","verified":false}}]"#),
            r#"["user"]"#,
            format!(r#","email":"{BOB_EMAIL}""#),
        ),
    };
    format!(
        r#"{{"_id":"{id}","name":"{user}","username":"{user}","emails":{emails},"status":"online","active":true,"roles":{roles}{email}{tail}}}"#
    )
}

#[on_both_stores]
async fn every_form_of_login_begins_a_session_of_its_own(store: StoreKind) {
    let server = Server::start(store).await;
    let form = |name: &str, value: &str| {
        Serializer::new(String::new()).append_pair(name, value).append_pair("password", PASSWORD).finish()
    };
    let id = server.log_in(BOB).await.user;
    let mut asks: Vec<Ask> = [
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
async fn me_tells_an_ordinary_user_from_an_admin_without_an_address(store: StoreKind) {
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
    let mut asks: Vec<Ask> = json_bodies.iter().map(|body| post("/api/v1/login").json(body)).collect();
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

#[on_both_stores]
async fn logout_takes_whatever_body_clients_send(store: StoreKind) {
    let server = Server::start(store).await;
    let other = log_in(&server, BOB, CURL).await;
    let logout = || post("/api/v1/logout");
    for ask in [
        logout(),
        logout().header("Content-Type", "application/json"),
        logout().body("application/json", b""),
        logout().json(&json!({})),
        logout().body("application/json", b"{\"broken"),
        logout().form(""),
        logout().form("a=b"),
        logout().header("Content-Length", "0"),
        logout().body("text/plain", b"bye"),
    ] {
        let what = format!("{ask:?}");
        let bob = log_in(&server, BOB, CURL).await;
        let reply = server.send(ask.clone().by(&bob)).await;
        assert_answer(&reply, 200, LOGGED_OUT, &what);
        assert!(reply.all("set-cookie").is_empty(), "no cookie came: {what}");
        assert_eq!(alive(&server, [&bob, &other]).await, [false, true], "{what}");
        assert_answer(&server.send(ask.by(&bob)).await, 401, NOT_LOGGED_IN, &what);
    }
    server.stop().await;
}

#[on_both_stores]
async fn logout_clears_the_cookie_of_the_session_that_ended_and_no_other(store: StoreKind) {
    let server = Server::start(store).await;
    let [one, two, other] = several(&server).await;
    let by_cookie = server.send(post("/api/v1/logout").cookie(&one.token)).await;
    assert_answer(&by_cookie, 200, LOGGED_OUT, "by cookie");
    assert_eq!(by_cookie.all("set-cookie"), [CLEARED]);
    let beside_another = server.send(post("/api/v1/logout").by(&two).cookie(&other.token)).await;
    assert_answer(&beside_another, 200, LOGGED_OUT, "beside another's cookie");
    assert!(beside_another.all("set-cookie").is_empty());
    assert_eq!(alive(&server, [&one, &two, &other]).await, [false, false, true]);
    let with_both = server.send(post("/api/v1/logout").by(&other).cookie(&other.token)).await;
    assert_eq!((with_both.status, with_both.all("set-cookie")), (200, vec![CLEARED]));
    let refused = server.send(post("/api/v1/logout").cookie(&other.token)).await;
    assert_answer(&refused, 401, NOT_LOGGED_IN, "a browser, once more");
    assert_eq!(refused.all("set-cookie"), [CLEARED], "it ends up logged out either way");
    let refused = server.send(post("/api/v1/logout").by(&other).cookie(&other.token)).await;
    assert_eq!((refused.status, refused.all("set-cookie").len()), (401, 0), "no browser");
    server.stop().await;
}

#[on_both_stores]
async fn logout_by_get_needs_header_credentials_and_writes_no_cookie(store: StoreKind) {
    let server = Server::start(store).await;
    let [bob, two] = several(&server).await;
    let refused = server.send(get("/api/v1/logout").cookie(&bob.token)).await;
    assert_answer(&refused, 401, NOT_LOGGED_IN, "the cookie alone");
    assert!(refused.all("set-cookie").is_empty());
    let head = server.send(ask("HEAD", "/api/v1/logout").by(&bob)).await;
    assert_eq!((head.status, head.body.len(), head.header("allow")), (405, 0, Some("POST, GET")));
    assert_eq!(alive(&server, [&bob]).await, [true]);

    let by_pair = server.send(get("/api/v1/logout").by(&bob).cookie(&bob.token)).await;
    assert_answer(&by_pair, 200, LOGGED_OUT, "the pair");
    assert!(by_pair.all("set-cookie").is_empty());
    let by_bearer = server.send(get("/api/v1/logout").bearer(&two.token)).await;
    assert_answer(&by_bearer, 200, LOGGED_OUT, "a bearer");
    assert_eq!(alive(&server, [&bob, &two]).await, [false, false]);
    for ask in [get("/api/v1/logout").by(&bob), get("/api/v1/logout")] {
        let refused = server.send(ask).await;
        assert_answer(&refused, 401, NOT_LOGGED_IN, "once more");
        assert!(refused.all("set-cookie").is_empty());
    }
    server.stop().await;
}

#[on_both_stores]
async fn whoever_is_not_logged_in_is_told_so_in_the_same_words_everywhere(store: StoreKind) {
    let server = Server::start(store).await;
    let expired = log_in(&server, BOB, CURL).await;
    server.advance(Duration::from_hours(14 * 24));
    let (bob, alice, revoked) =
        (log_in(&server, BOB, CURL).await, log_in(&server, ALICE, CURL).await, log_in(&server, BOB, CURL).await);
    server.send(post("/api/v1/logout").by(&revoked)).await;
    let never = "A".repeat(43);
    let pairs = [
        None,
        Some((&bob.user, &never)),
        Some((&bob.user, &alice.token)),
        Some((&alice.user, &bob.token)),
        Some((&expired.user, &expired.token)),
        Some((&revoked.user, &revoked.token)),
    ];
    let huge = vec![b'x'; 9000];
    for ask in [
        post("/api/v1/logout"),
        post("/api/v1/logout").body("text/plain", &huge),
        get("/api/v1/logout"),
        get("/api/v1/me"),
        get("/api/v1/sessions/list"),
        get("/api/v1/sessions/list?unknown=1"),
        get(&query("/api/v1/sessions/info", &[("sessionId", &bob.session)])),
        get("/api/v1/sessions/info"),
        post("/api/v1/sessions/logout.me").json(&json!({"sessionId": bob.session})),
        post("/api/v1/sessions/logout.me").body("text/plain", &huge),
        post("/api/v1/sessions/logout.me").body("application/json", b"{"),
        post("/api/v1/users.logout"),
        post("/api/v1/users.logout").json(&json!({"userId": bob.user})),
        post("/api/v1/users.removeOtherTokens"),
        post("/api/v1/users.logoutOtherClients"),
    ] {
        for pair in pairs {
            let ask = pair.map_or_else(|| ask.clone(), |(user, token)| ask.clone().pair(user, token));
            assert_answer(&server.send(ask).await, 401, NOT_LOGGED_IN, &format!("{pair:?}"));
        }
    }
    assert_eq!(alive(&server, [&bob, &alice]).await, [true, true]);
    server.stop().await;
}

/// What a row says beside the session and the user.
fn row(login: &LoggedIn, device: &str, host: &str, at: &str, current: bool) -> String {
    let (session, user) = (&login.session, &login.user);
    format!(
        r#"{{"sessionId":"{session}","_id":"{session}","userId":"{user}","device":{device},"host":"{host}","ip":"127.0.0.1","loginAt":"{at}","current":{current}}}"#
    )
}

#[on_both_stores]
async fn a_list_shows_ones_own_live_sessions_newest_first(store: StoreKind) {
    let server = Server::start(store).await;
    let host = server.address();
    log_in(&server, ALICE, CHROME).await;
    let ended = log_in(&server, BOB, CHROME).await;
    server.send(post("/api/v1/logout").by(&ended)).await;
    let chrome = log_in(&server, BOB, CHROME).await;
    server.advance(Duration::from_millis(1500));
    let curl = log_in(&server, BOB, CURL).await;
    let newest = row(
        &curl,
        r#"{"type":"unknown","name":"curl","longVersion":"8.5.0","version":"8","os":{"name":"","version":""}}"#,
        &host,
        "2026-01-02T03:04:07.178Z",
        false,
    );
    let oldest = row(
        &chrome,
        r#"{"type":"desktop","name":"Chrome","longVersion":"126.0.1.2","version":"126","os":{"name":"Linux","version":""}}"#,
        &host,
        "2026-01-02T03:04:05.678Z",
        true,
    );
    let list = server.send(get("/api/v1/sessions/list").by(&chrome)).await;
    let body = format!(r#"{{"sessions":[{newest},{oldest}],"count":50,"offset":0,"total":2,"success":true}}"#);
    assert_answer(&list, 200, &body, "list");
    // One of them is the same row, and `success`.
    let info = query("/api/v1/sessions/info", &[("sessionId", &chrome.session)]);
    let body = format!(r#"{},"success":true}}"#, oldest.strip_suffix('}').expect("an object"));
    assert_answer(&server.send(get(&info).by(&chrome)).await, 200, &body, "info");
    let seen_by_curl = body.replace(r#""current":true"#, r#""current":false"#);
    assert_answer(&server.send(get(&info).by(&curl)).await, 200, &seen_by_curl, "from another session");
    server.stop().await;
}

/// Four sessions of Bob's, oldest first, a second apart.
async fn four(server: &Server) -> [LoggedIn; 4] {
    let mut logins = Vec::new();
    for agent in [CHROME, FIREFOX, CURL, ODD] {
        logins.push(log_in(server, BOB, agent).await);
        server.advance(Duration::from_secs(1));
    }
    logins.try_into().expect("four")
}

/// Which of the four a list holds, by their numbers, and its count, offset and total.
fn listed(reply: &Reply, logins: &[LoggedIn; 4]) -> (String, [Value; 3]) {
    let body = reply.json();
    assert_eq!((reply.status, &body["success"]), (200, &json!(true)), "{body}");
    let number = |row: &Value| logins.iter().position(|login| row["sessionId"] == json!(login.session)).expect("one");
    let numbers = body["sessions"].as_array().expect("rows").iter().map(|row| number(row).to_string()).collect();
    (numbers, ["count", "offset", "total"].map(|name| body[name].clone()))
}

#[on_both_stores]
async fn a_list_is_cut_into_pages(store: StoreKind) {
    let server = Server::start(store).await;
    let logins = four(&server).await;
    for (pairs, rows, count, offset) in [
        (&[][..], "3210", 50, 0),
        (&[("count", "2")], "32", 2, 0),
        (&[("count", "2"), ("offset", "1")], "21", 2, 1),
        (&[("count", "2"), ("offset", "3")], "0", 2, 3),
        (&[("offset", "4")], "", 50, 4),
        (&[("offset", "18446744073709551615")], "", 50, u64::MAX),
        (&[("count", "0")], "3210", 50, 0),
        (&[("count", "100")], "3210", 100, 0),
        (&[("count", "101")], "3210", 100, 0),
    ] {
        let reply = server.send(get(&query("/api/v1/sessions/list", pairs)).by(&logins[0])).await;
        let expected = (rows.to_owned(), [json!(count), json!(offset), json!(4)]);
        assert_eq!(listed(&reply, &logins), expected, "{pairs:?}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_filter_is_a_literal_piece_of_what_the_row_shows(store: StoreKind) {
    let server = Server::start(store).await;
    let logins = four(&server).await;
    let (session, user) = (logins[1].session.to_uppercase(), logins[0].user.to_lowercase());
    for (filter, rows) in [
        ("", "3210"),
        ("chrome", "0"),
        ("FIRE", "1"),
        ("cURL", "2"),
        ("desktop", "10"),
        ("unknown", "32"),
        ("linux", "0"),
        ("windows 10", "1"),
        ("ac.me+sync[1]", "3"),
        ("[1]", "3"),
        ("ac.m.", ""),
        ("c.rl", ""),
        (".*", ""),
        ("^", ""),
        ("(", ""),
        ("\\", ""),
        ("%", ""),
        ("_", ""),
        ("chrome|curl", ""),
        ("127.0.0.1", ""),
        (&session, "1"),
        (&user, "3210"),
    ] {
        let reply = server.send(get(&query("/api/v1/sessions/list", &[("filter", filter)])).by(&logins[0])).await;
        let expected = (rows.to_owned(), [json!(50), json!(0), json!(rows.len())]);
        assert_eq!(listed(&reply, &logins), expected, "{filter:?}");
    }
    // Filtered first, then cut.
    let cut = query("/api/v1/sessions/list", &[("filter", "desktop"), ("count", "1"), ("offset", "1")]);
    let reply = server.send(get(&cut).by(&logins[0])).await;
    assert_eq!(listed(&reply, &logins), (String::from("0"), [json!(1), json!(1), json!(2)]));
    server.stop().await;
}

#[on_both_stores]
async fn a_list_is_sorted_by_the_keys_there_are_and_refused_for_others(store: StoreKind) {
    let server = Server::start(store).await;
    let logins = four(&server).await;
    let list = |sort: &str| get(&query("/api/v1/sessions/list", &[("sort", sort)])).by(&logins[0]);
    for (sort, rows) in [
        ("{}", "3210"),
        (r#"{"loginAt":-1}"#, "3210"),
        (r#"{"loginAt":1}"#, "0123"),
        (r#"{"device.name":1}"#, "0132"),
        (r#"{"device.name":-1}"#, "2310"),
        (r#"{"device.os.name":1}"#, "3201"),
        (r#"{"device.os.name":-1}"#, "1032"),
        (r#"{"device.os.version":1}"#, "3201"),
        (r#"{"device.os.version":-1}"#, "1320"),
        (r#"{"device.os.version":1,"loginAt":1}"#, "0231"),
        (r#"{"device.os.name":-1,"device.name":1}"#, "1032"),
        (r#"{"device.os.name":-1,"device.name":-1}"#, "1023"),
    ] {
        let reply = server.send(list(sort)).await;
        assert_eq!(listed(&reply, &logins).0, rows, "{sort}");
    }
    let body = r#"{"success":false,"error":"error-invalid-sort-keys"}"#;
    for sort in [
        "",
        "{",
        "[]",
        "1",
        "loginAt",
        r#"{"loginAt":0}"#,
        r#"{"loginAt":2}"#,
        r#"{"loginAt":"1"}"#,
        r#"{"loginAt":true}"#,
        r#"{"token":1}"#,
        r#"{"ip":1}"#,
        r#"{"$where":1}"#,
        r#"{"loginAt":1,"host":1}"#,
        r#"{"loginAt":1,"loginAt":-1}"#,
        r#"{"loginat":1}"#,
    ] {
        assert_answer(&server.send(list(sort)).await, 400, body, sort);
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_query_that_is_not_in_the_contract_is_refused(store: StoreKind) {
    let server = Server::start(store).await;
    let (bob, alice) = (log_in(&server, BOB, CURL).await, log_in(&server, ALICE, CURL).await);
    let extra = invalid("must NOT have additional properties");
    let number = invalid("must be integer");
    let info = |id: &str| query("/api/v1/sessions/info", &[("sessionId", id)]);
    let both = query("/api/v1/sessions/info", &[("sessionId", &bob.session), ("userId", &bob.user)]);
    for (target, body) in [
        (query("/api/v1/sessions/list", &[("userId", &alice.user)]), &*extra),
        (query("/api/v1/sessions/list", &[("count", "1"), ("Count", "2")]), &extra),
        (query("/api/v1/sessions/list", &[("count", "x")]), &number),
        (query("/api/v1/sessions/list", &[("count", "-1")]), &number),
        (query("/api/v1/sessions/list", &[("offset", "1.5")]), &number),
        (query("/api/v1/sessions/list", &[("offset", "")]), &number),
        ("/api/v1/sessions/info".into(), &missing()),
        ("/api/v1/sessions/info?sessionid=x".into(), &missing()),
        (both, &extra),
        (info(&alice.session), NOT_FOUND),
        (info("23456789ABCDEFGHJ"), NOT_FOUND),
        (info("not an id"), NOT_FOUND),
        (info(""), NOT_FOUND),
        (info(&bob.token), NOT_FOUND),
    ] {
        assert_answer(&server.send(get(&target).by(&bob)).await, 400, body, &target);
    }
    server.stop().await;
}

#[on_both_stores]
async fn logout_me_ends_the_named_session_of_ones_own_and_no_other(store: StoreKind) {
    let server = Server::start(store).await;
    let [here, json_one, form_one, other] = four(&server).await;
    let form = format!("sessionId={}", form_one.session);
    for (ask, ended) in [
        (post("/api/v1/sessions/logout.me").json(&json!({"sessionId": json_one.session})), &json_one),
        (post("/api/v1/sessions/logout.me").form(&form), &form_one),
    ] {
        let reply = server.send(ask.clone().by(&here)).await;
        let body = format!(r#"{{"sessionId":"{}","success":true}}"#, ended.session);
        assert_answer(&reply, 200, &body, "ended");
        assert!(reply.all("set-cookie").is_empty());
        // It is dead however and wherever it is presented, and gone from the list.
        for target in ["/user", "/api/user", "/api/v1/me", "/api/v1/auth/session", "/verify"] {
            for ask in [get(target).by(ended), get(target).bearer(&ended.token), get(target).cookie(&ended.token)] {
                assert_eq!(server.send(ask).await.status, 401, "{target}");
            }
        }
        assert_answer(&server.send(ask.by(&here)).await, 400, NOT_FOUND, "once more");
        let info = query("/api/v1/sessions/info", &[("sessionId", &ended.session)]);
        assert_answer(&server.send(get(&info).by(&here)).await, 400, NOT_FOUND, "info");
    }
    let list = server.send(get("/api/v1/sessions/list").by(&here)).await.json();
    let ids: Vec<&Value> = list["sessions"].as_array().expect("rows").iter().map(|row| &row["_id"]).collect();
    assert_eq!(ids, [&json!(other.session), &json!(here.session)]);
    // Oneself, too.
    let own = post("/api/v1/sessions/logout.me").json(&json!({"sessionId": here.session}));
    let body = format!(r#"{{"sessionId":"{}","success":true}}"#, here.session);
    assert_answer(&server.send(own.clone().by(&here)).await, 200, &body, "oneself");
    assert_answer(&server.send(own.by(&here)).await, 401, NOT_LOGGED_IN, "oneself, once more");
    assert_eq!(alive(&server, [&here, &other]).await, [false, true]);
    server.stop().await;
}

#[on_both_stores]
async fn logout_me_clears_the_cookie_of_the_session_it_ends(store: StoreKind) {
    let server = Server::start(store).await;
    let [here, carried, other, _] = four(&server).await;
    let end = |login: &LoggedIn| post("/api/v1/sessions/logout.me").json(&json!({"sessionId": login.session}));
    let others = server.send(end(&other).cookie(&carried.token)).await;
    assert_eq!((others.status, others.all("set-cookie").len()), (200, 0), "another session's");
    let by_header = server.send(end(&carried).by(&here).cookie(&carried.token)).await;
    assert_eq!((by_header.status, by_header.all("set-cookie")), (200, vec![CLEARED]), "asked for by a header");
    let own = server.send(end(&here).cookie(&here.token)).await;
    assert_eq!((own.status, own.all("set-cookie")), (200, vec![CLEARED]), "one's own");
    server.stop().await;
}

#[on_both_stores]
async fn logout_me_tells_nobody_whether_somebody_elses_session_exists(store: StoreKind) {
    let server = Server::start(store).await;
    let (bob, alice) = (log_in(&server, BOB, CURL).await, log_in(&server, ALICE, CURL).await);
    let unknown = "23456789ABCDEFGHJ";
    let mut answers = Vec::new();
    // The admin gets no other answer.
    for (caller, id) in [(&bob, alice.session.as_str()), (&bob, unknown), (&alice, &bob.session), (&alice, unknown)] {
        let reply = server.send(post("/api/v1/sessions/logout.me").json(&json!({"sessionId": id})).by(caller)).await;
        assert_answer(&reply, 400, NOT_FOUND, id);
        let varies = |(name, _): &(String, String)| !matches!(name.as_str(), "x-request-id" | "date");
        answers.push(reply.headers.into_iter().filter(varies).collect::<Vec<_>>());
    }
    assert!(answers.iter().all(|headers| *headers == answers[0]), "{answers:?}");
    assert_eq!(alive(&server, [&bob, &alice]).await, [true, true]);
    server.stop().await;
}

#[on_both_stores]
async fn logout_me_says_what_is_wrong_with_a_body_and_ends_nothing(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = log_in(&server, BOB, CURL).await;
    let (extra, string) = (invalid("must NOT have additional properties"), invalid("must be string"));
    let with_extra = json!({"sessionId": bob.session, "all": true}).to_string();
    let good = json!({"sessionId": bob.session}).to_string();
    let twice = format!(r#"{{"sessionId":"{0}","sessionId":"{0}"}}"#, bob.session);
    let (json, form) = ("application/json", "application/x-www-form-urlencoded");
    let unsupported = r#"{"success":false,"error":"The content type is not supported"}"#;
    let large = format!(r#"{{"sessionId":"{}"}}"#, " ".repeat(8192));
    for (content_type, body, status, answer) in [
        (json, "", 400, missing().as_str()),
        (form, "", 400, &missing()),
        (json, "{}", 400, &missing()),
        (json, "{", 400, &missing()),
        (json, "[]", 400, &missing()),
        (json, "null", 400, &missing()),
        (json, r#"{"sessionid":"x"}"#, 400, &missing()),
        (json, &twice, 400, &missing()),
        (json, r#"{"sessionId":5}"#, 400, &string),
        (json, r#"{"sessionId":null}"#, 400, &string),
        (json, r#"{"sessionId":["x"]}"#, 400, &string),
        (json, r#"{"sessionId":{"$ne":null}}"#, 400, &string),
        (json, &with_extra, 400, &extra),
        (json, r#"{"sessionId":""}"#, 400, NOT_FOUND),
        (json, r#"{"sessionId":"not an id"}"#, 400, NOT_FOUND),
        ("text/plain", &good, 415, unsupported),
        ("application/jsonp", &good, 415, unsupported),
        (json, &large, 413, r#"{"success":false,"error":"The body is too large"}"#),
    ] {
        let ask = post("/api/v1/sessions/logout.me").body(content_type, body.as_bytes()).by(&bob);
        let what = format!("{content_type} {body}");
        assert_answer(&server.send(ask).await, status, answer, &what);
    }
    let nothing = post("/api/v1/sessions/logout.me").by(&bob);
    assert_answer(&server.send(nothing).await, 400, &missing(), "no body, no type");
    assert_eq!(alive(&server, [&bob]).await, [true]);
    server.stop().await;
}

#[on_both_stores]
async fn users_logout_ends_every_session_of_the_caller(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = log_in(&server, ALICE, CURL).await;
    let id = log_in(&server, BOB, CURL).await.user;
    let route = || post("/api/v1/users.logout");
    for ask in [
        route(),
        route().header("Content-Type", "application/json"),
        route().json(&json!({})),
        route().json(&json!({"userId": id})),
        route().form(&format!("userId={id}")),
    ] {
        let what = format!("{ask:?}");
        let [here, other] = several(&server).await;
        let reply = server.send(ask.by(&here).cookie(&other.token)).await;
        let body = format!(r#"{{"message":"User {id} has been logged out!","success":true}}"#);
        assert_answer(&reply, 200, &body, &what);
        assert_eq!(reply.all("set-cookie"), [CLEARED], "the cookie's session ended: {what}");
        assert_eq!(alive(&server, [&here, &other, &alice]).await, [false, false, true], "{what}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn users_logout_ends_nothing_when_it_is_asked_wrongly_or_for_somebody_else(store: StoreKind) {
    let server = Server::start(store).await;
    let (bob, alice) = (log_in(&server, BOB, CURL).await, log_in(&server, ALICE, CURL).await);
    let forbidden = r#"{"success":false,"error":"User does not have the permissions required for this action [error-unauthorized]"}"#;
    let somebody_else = json!({"userId": bob.user}).to_string();
    let unknown = json!({"userId": "23456789ABCDEFGHJ"}).to_string();
    let (json, object) = ("application/json", invalid("must be object"));
    for (content_type, body, status, answer) in [
        (json, somebody_else.as_str(), 403, forbidden),
        (json, &unknown, 403, forbidden),
        (json, r#"{"userId":""}"#, 403, forbidden),
        (json, "{", 400, &object),
        (json, "[]", 400, &object),
        (json, r#"{"userId":5}"#, 400, &invalid("must be string")),
        (json, r#"{"userId":null}"#, 400, &invalid("must be string")),
        (json, r#"{"all":true}"#, 400, &invalid("must NOT have additional properties")),
        ("text/plain", "{}", 415, r#"{"success":false,"error":"The content type is not supported"}"#),
    ] {
        let ask = post("/api/v1/users.logout").body(content_type, body.as_bytes()).by(&alice);
        assert_answer(&server.send(ask).await, status, answer, body);
        assert_eq!(alive(&server, [&bob, &alice]).await, [true, true], "{body}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn ending_the_others_keeps_this_session_alone(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = log_in(&server, ALICE, CURL).await;
    for path in ["/api/v1/users.removeOtherTokens", "/api/v1/users.logoutOtherClients"] {
        for ask in [post(path), post(path).json(&json!({})), post(path).form("a=b")] {
            let [here, other, carried] = several(&server).await;
            // 30 days after the beginning.
            let body = match path {
                "/api/v1/users.removeOtherTokens" => SUCCESS.to_owned(),
                _ => {
                    format!(r#"{{"token":"{}","tokenExpires":"2026-02-01T03:04:05.678Z","success":true}}"#, here.token)
                }
            };
            let reply = server.send(ask.by(&here).cookie(&carried.token)).await;
            assert_answer(&reply, 200, &body, path);
            assert_eq!(reply.all("set-cookie"), [CLEARED], "the cookie's session ended");
            assert_eq!(alive(&server, [&here, &other, &carried, &alice]).await, [true, false, false, true], "{path}");
            let again = server.send(post(path).by(&here).cookie(&here.token)).await;
            assert_answer(&again, 200, &body, "none left to end");
            assert!(again.all("set-cookie").is_empty(), "this one's cookie stays");
            let by_cookie = server.send(post(path).cookie(&here.token)).await;
            let tokenless = match path {
                "/api/v1/users.removeOtherTokens" => SUCCESS,
                _ => r#"{"tokenExpires":"2026-02-01T03:04:05.678Z","success":true}"#,
            };
            assert_answer(&by_cookie, 200, tokenless, "what HttpOnly hides, no answer shows");
            assert_eq!(alive(&server, [&here]).await, [true]);
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn no_token_and_no_hash_of_one_is_ever_shown(store: StoreKind) {
    let server = Server::start(store).await;
    let logins = four(&server).await;
    let here = &logins[0];
    let mut bodies = server.send(get("/api/v1/sessions/list").by(here)).await.text();
    for login in &logins {
        let info = query("/api/v1/sessions/info", &[("sessionId", &login.session)]);
        bodies += &server.send(get(&info).by(here)).await.text();
        bodies += &server.send(get("/api/v1/me").by(login)).await.text();
    }
    for login in &logins {
        assert!(bodies.contains(&login.session), "shown: {bodies}");
        let hash = Sha256::digest(&login.token);
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        for secret in [login.token.clone(), hex, STANDARD.encode(hash), URL_SAFE_NO_PAD.encode(hash)] {
            assert!(!bodies.contains(&secret), "{secret} in {bodies}");
            assert!(!bodies.contains(&secret[..20]), "a piece of {secret} in {bodies}");
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn what_there_is_not_is_refused_in_its_shape(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = log_in(&server, BOB, CURL).await;
    let (unknown, method) =
        (r#"{"success":false,"error":"Not found"}"#, r#"{"success":false,"error":"Method not allowed"}"#);
    let large = vec![b' '; 8193];
    for (ask, status, body, allow) in [
        (get("/api/v1/nothing"), 404, unknown, None),
        (get("/api/v1"), 404, unknown, None),
        (get("/api/v1/me/"), 404, unknown, None),
        (get("/api/v1/ME"), 404, unknown, None),
        (post("/api/v1/authx"), 404, unknown, None),
        (get("/api/v1/login"), 405, method, Some("POST")),
        (ask("PUT", "/api/v1/logout"), 405, method, Some("POST, GET")),
        (delete("/api/v1/me"), 405, method, Some("GET, HEAD")),
        (post("/api/v1/sessions/list"), 405, method, Some("GET, HEAD")),
        (post("/api/v1/sessions/info"), 405, method, Some("GET, HEAD")),
        (get("/api/v1/sessions/logout.me"), 405, method, Some("POST")),
        (get("/api/v1/users.logout"), 405, method, Some("POST")),
        (get("/api/v1/users.removeOtherTokens"), 405, method, Some("POST")),
        (get("/api/v1/users.logoutOtherClients"), 405, method, Some("POST")),
    ] {
        let what = format!("{ask:?}");
        // Known before any credential is.
        for ask in [ask.clone(), ask.by(&bob)] {
            let reply = server.send(ask).await;
            assert_answer(&reply, status, body, &what);
            assert_eq!(reply.header("allow"), allow, "{what}");
        }
    }
    for path in
        ["login", "logout", "sessions/logout.me", "users.logout", "users.removeOtherTokens", "users.logoutOtherClients"]
    {
        let ask = post(&format!("/api/v1/{path}")).body("application/json", &large).by(&bob);
        assert_answer(&server.send(ask).await, 413, r#"{"success":false,"error":"The body is too large"}"#, path);
    }
    assert_eq!(alive(&server, [&bob]).await, [true]);
    server.stop().await;
}

#[on_both_stores]
async fn head_answers_like_get_without_a_body(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = log_in(&server, BOB, CURL).await;
    let info = query("/api/v1/sessions/info", &[("sessionId", &bob.session)]);
    for target in ["/api/v1/me", "/api/v1/sessions/list", info.as_str()] {
        let (head, get) = (server.send(ask("HEAD", target).by(&bob)).await, server.send(get(target).by(&bob)).await);
        assert_eq!((head.status, head.body.len()), (200, 0), "{target}");
        for name in ["content-type", "content-length", "cache-control"] {
            assert_eq!((head.header(name), head.header(name).is_some()), (get.header(name), true), "{target} {name}");
        }
        assert_eq!(server.send(ask("HEAD", target)).await.status, 401, "{target}");
    }
    server.stop().await;
}
