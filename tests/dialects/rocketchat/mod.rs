//! Rocket.Chat's contract as its clients see it: every row, every refusal, byte by byte.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use form_urlencoded::Serializer;
use serde_json::{Value, json};
use sessiond_needs::on_both_stores;
use sha2::{Digest as _, Sha256};

use crate::harness::{
    ALICE, BOB, BOB_EMAIL, LoggedIn, PASSWORD, Reply, Server, StoreKind, TestRequest, ask, delete, get, post,
};

mod administrators;
mod endings;
mod lists;
mod logins;

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

/// Compares an answer's whole body.
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
    fn by(self, login: &LoggedIn) -> TestRequest;
}

impl Present for TestRequest {
    fn by(self, login: &LoggedIn) -> TestRequest {
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

/// Four sessions of Bob's, oldest first, a second apart.
async fn four(server: &Server) -> [LoggedIn; 4] {
    let mut logins = Vec::new();
    for agent in [CHROME, FIREFOX, CURL, ODD] {
        logins.push(log_in(server, BOB, agent).await);
        server.advance(Duration::from_secs(1));
    }
    logins.try_into().expect("four")
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
async fn a_client_that_is_not_logged_in_gets_the_same_words_everywhere(store: StoreKind) {
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
