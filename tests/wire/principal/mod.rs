//! One rule says who is calling, on every route: the header pair, else a bearer, else the cookie.

use std::time::Duration;

use serde_json::{Value, json};
use sessiond_needs::on_both_stores;

use self::cases::{AS_ALICE, AS_BOB, CASES, ENDED_BY_A_LOGOUT, Present, THEIRS};
use crate::harness::{
    ALICE, BOB, LoggedIn, PASSWORD, Reply, Server, StoreKind, TestRequest, ask, delete, exchange, get, post,
};

mod cases;
mod trusted;

/// A route that needs a principal.
struct Route {
    method: &'static str,
    path: &'static str,
    /// Makes it succeed, given the caller's session id.
    fill: fn(TestRequest, session: &str) -> TestRequest,
    /// When it succeeds.
    status: u16,
    /// Whether it ends the session it came through.
    ends: bool,
}

const ROUTES: [Route; 20] = [
    reads("/user"),
    reads("/api/user"),
    reads("/api/v1/me"),
    reads("/api/v1/sessions/list"),
    Route {
        fill: |_, session| get(&format!("/api/v1/sessions/info?sessionId={session}")),
        ..reads("/api/v1/sessions/info")
    },
    reads("/api/v1/auth/session"),
    reads("/api/v1/auth/sessions"),
    reads("/verify"),
    Route { status: 204, ..ends("/auth/logout") },
    Route { status: 204, ..ends("/api/auth/logout") },
    ends("/api/v1/logout"),
    Route { method: "GET", ..ends("/api/v1/logout") },
    Route { fill: |ask, session| ask.json(&json!({"sessionId": session})), ..ends("/api/v1/sessions/logout.me") },
    ends("/api/v1/users.logout"),
    Route { ends: false, ..ends("/api/v1/users.removeOtherTokens") },
    Route { ends: false, ..ends("/api/v1/users.logoutOtherClients") },
    ends("/api/v1/auth/logout"),
    Route { fill: |ask, _| ask.json(&passwords(PASSWORD, NEW)), ends: false, ..ends("/api/v1/auth/password") },
    Route { method: "DELETE", fill: |_, _| delete("/api/v1/auth/sessions?scope=all"), ..ends("/api/v1/auth/sessions") },
    Route {
        method: "DELETE",
        fill: |_, session| delete(&format!("/api/v1/auth/sessions/{session}")),
        ..ends("/api/v1/auth/sessions/{id}")
    },
];

const NEW: &str = "a completely different one";

const LOGINS: [(&str, &str); 4] =
    [("POST", "/auth/login"), ("POST", "/api/auth/login"), ("POST", "/api/v1/login"), ("POST", "/api/v1/auth/login")];

const fn reads(path: &'static str) -> Route {
    Route { method: "GET", path, fill: |ask, _| ask, status: 200, ends: false }
}

const fn ends(path: &'static str) -> Route {
    Route { method: "POST", path, fill: |ask, _| ask, status: 200, ends: true }
}

/// The new token that came with a new password.
fn renewed(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.cookie().or_else(|| reply.json()["token"].as_str().map(str::to_owned)).expect("a new token")
}

fn passwords(current: &str, new: &str) -> Value {
    json!({"current_password": current, "new_password": new})
}

impl Route {
    fn ask(&self, session: &str) -> TestRequest {
        (self.fill)(ask(self.method, self.path), session)
    }

    /// Its answer to a client that is not logged in.
    fn refusal(&self) -> &'static str {
        if self.path == "/verify" {
            ""
        } else if self.path.starts_with("/api/v1/auth/") {
            r#"{"code":401,"detail":"Authentication failed","type":"authentication_error"}"#
        } else if self.path.starts_with("/api/v1/") {
            r#"{"status":"error","message":"You must be logged in to do this."}"#
        } else {
            r#"{"error":{"code":401,"message":"not logged in"}}"#
        }
    }
}

/// The routes that say who is calling, and where.
const WHO: [(&str, Option<&str>); 5] = [
    ("/user", Some("/username")),
    ("/api/user", Some("/username")),
    ("/api/v1/me", Some("/username")),
    ("/api/v1/auth/session", Some("/user/username")),
    ("/verify", None),
];

fn who(reply: &Reply, pointer: Option<&str>) -> Option<String> {
    match (reply.status, pointer) {
        (200, Some(pointer)) => reply.json().pointer(pointer).and_then(Value::as_str).map(str::to_owned),
        (200, None) => reply.header("remote-user").map(str::to_owned),
        (401, _) => None,
        (status, _) => panic!("{status}: {}", reply.text()),
    }
}

/// The sessions that a test's requests present.
struct World {
    bob: LoggedIn,
    alice: LoggedIn,
    /// Another one of Bob's.
    second: LoggedIn,
    revoked: LoggedIn,
    replaced: LoggedIn,
    expired: LoggedIn,
}

impl World {
    async fn of(server: &Server) -> Self {
        let expired = server.log_in(BOB).await;
        server.advance(Duration::from_hours(14 * 24));
        let (revoked, replaced) = (server.log_in(BOB).await, server.log_in(ALICE).await);
        assert_eq!(server.send(post("/api/v1/logout").bearer(&revoked.token)).await.status, 200);
        let login = post("/auth/login").json(&json!({"username": ALICE, "password": PASSWORD}));
        assert_eq!(server.send(login.cookie(&replaced.token)).await.status, 200);
        let (bob, alice, second) = (server.log_in(BOB).await, server.log_in(ALICE).await, server.log_in(BOB).await);
        Self { bob, alice, second, revoked, replaced, expired }
    }
}

/// The form of a token, never issued.
fn never() -> String {
    "A".repeat(43)
}

/// So many different tokens of that form.
fn never_issued(count: u8) -> Vec<String> {
    (b'a'..).take(count.into()).map(|letter| format!("{}A", char::from(letter).to_string().repeat(42))).collect()
}

/// A cookie header with these values of the session cookie.
fn cookies(values: &[&str]) -> String {
    values.iter().map(|value| format!("_me_sess={value}")).collect::<Vec<_>>().join("; ")
}

#[on_both_stores]
async fn every_dialect_takes_a_caller_for_the_same_one(store: StoreKind) {
    let server = Server::start(store).await;
    let world = World::of(&server).await;
    for (case, present, everywhere, on_verify) in CASES {
        for (path, pointer) in WHO {
            let reply = server.send(present(get(path), &world)).await;
            let expected = if path == "/verify" { on_verify } else { everywhere };
            assert_eq!(who(&reply, pointer).as_deref(), expected, "{case}: {path}");
            assert!(reply.all("set-cookie").is_empty(), "{case}: {path}");
        }
    }
    server.stop().await;
}

fn is_page(path: &str) -> bool {
    let pages = [
        "/",
        "/login",
        "/login/code",
        "/logout",
        "/sessions",
        "/password",
        "/second-factor",
        "/.well-known/change-password",
        "/assets/{name}",
    ];
    pages.contains(&path) || path == "/admin" || path.starts_with("/admin/")
}

#[test]
fn no_route_is_forgotten_here() {
    let mut mounted: Vec<_> = sessiond::http::routes()
        .iter()
        .map(|route| (route.method.as_ref().map_or("GET", http::Method::as_str).to_owned(), route.path.clone()))
        .collect();
    // Pages have tests of their own, and so have the checks of proxies, second factors and what is for administrators.
    let for_administrators = ["/api/v1/sessions/list.all", "/api/v1/sessions/info.admin", "/api/v1/sessions/logout"];
    let is_elsewhere = |path: &str| {
        let administration = path.starts_with("/api/v1/admin/") || for_administrators.contains(&path);
        let second_factor = path.starts_with("/api/v1/auth/second-factor");
        path.starts_with("/verify/") || is_page(path) || administration || second_factor
    };
    mounted.retain(|(_, path)| !is_elsewhere(path));
    let ours = ROUTES.iter().map(|route| (route.method, route.path)).chain(LOGINS);
    let mut ours: Vec<_> = ours.map(|(method, path)| (method.to_owned(), path.to_owned())).collect();
    mounted.sort();
    ours.sort();
    assert_eq!(ours, mounted);
}

#[on_both_stores]
async fn whom_the_rule_refuses_no_route_lets_in(store: StoreKind) {
    let server = Server::start(store).await;
    let world = World::of(&server).await;
    for (case, present, everywhere, on_verify) in CASES {
        for route in &ROUTES {
            if (if route.path == "/verify" { on_verify } else { everywhere }).is_some() {
                continue;
            }
            let logs_out = route.method == "POST" && route.path.ends_with("/logout");
            if logs_out && ENDED_BY_A_LOGOUT.contains(&case) {
                continue;
            }
            let what = format!("{case}: {} {}", route.method, route.path);
            let reply = server.send(present(route.ask(&world.bob.session), &world)).await;
            assert_eq!((reply.status, reply.text().as_str()), (401, route.refusal()), "{what}");
            assert_eq!(reply.header("www-authenticate"), Some("Session realm=\"sessiond\""), "{what}");
        }
    }
    for login in [&world.bob, &world.alice] {
        assert_eq!(server.check(&login.token).await, 200, "nothing ended");
    }
    server.stop().await;
}

#[on_both_stores]
async fn every_route_takes_a_session_however_it_is_presented(store: StoreKind) {
    let server = Server::start(store).await;
    // Alice's credentials come along where they do not count.
    let ways: [(&str, Present); 3] = [
        ("pair", |ask, w| ask.pair(&w.bob.user, &w.bob.token).bearer(&w.alice.token).cookie(&w.alice.token)),
        ("bearer", |ask, w| ask.bearer(&w.bob.token).cookie(&w.alice.token)),
        ("cookie", |ask, w| ask.bearer(THEIRS).cookie(&w.bob.token)),
    ];
    let mut world = World::of(&server).await;
    for route in &ROUTES {
        for (way, present) in ways {
            let what = format!("{way}: {} {}", route.method, route.path);
            let reply = server.send(present(route.ask(&world.bob.session), &world)).await;
            // A page of another site can have a browser send a GET with the cookie.
            if (way, route.method, route.path) == ("cookie", "GET", "/api/v1/logout") {
                assert_eq!((reply.status, reply.text().as_str()), (401, route.refusal()), "{what}");
                continue;
            }
            assert_eq!(reply.status, route.status, "{what}: {}", reply.text());
            if route.path == "/api/v1/auth/password" {
                let old = std::mem::replace(&mut world.bob.token, renewed(&reply));
                assert_eq!(server.check(&old).await, 401, "{what}");
            }
            assert_eq!(server.check(&world.bob.token).await, if route.ends { 401 } else { 200 }, "{what}");
            if route.path == "/api/v1/auth/password" {
                let back = post(route.path).json(&passwords(NEW, PASSWORD)).bearer(&world.bob.token);
                world.bob.token = renewed(&server.send(back).await);
            }
            if route.ends {
                world.bob = server.log_in(BOB).await;
            }
        }
    }
    assert_eq!(server.check(&world.alice.token).await, 200, "nothing of hers ended");
    server.stop().await;
}

#[on_both_stores]
async fn no_answer_holds_a_token_that_came_in_a_cookie(store: StoreKind) {
    let server = Server::start(store).await;
    let mut world = World::of(&server).await;
    let keeps = |reply: &Reply, token: &str, what: &str| {
        let headers = reply.headers.iter().map(|(name, value)| format!("{name}: {value}"));
        let holds = |text: &String| text.contains(token);
        assert!(!headers.chain([reply.text()]).any(|text| holds(&text)), "{what}: {reply:?}");
    };
    let ways: [(&str, Present); 5] = [
        ("alone", |ask, w| ask.cookie(&w.bob.token)),
        ("beside junk", |ask, w| ask.cookie("junk").cookie(&w.bob.token)),
        ("beside a stale one", |ask, w| ask.cookie(&w.bob.token).cookie(&w.revoked.token)),
        ("beside another live one", |ask, w| ask.cookie(&w.bob.token).cookie(&w.second.token)),
        ("beside a bearer", |ask, w| ask.cookie(&w.bob.token).bearer(&w.second.token)),
    ];
    for route in &ROUTES {
        for (way, present) in ways {
            let what = format!("{} {} {way}", route.method, route.path);
            for ask in [route.ask(&world.bob.session), ask(route.method, route.path).body("text/plain", b"odd")] {
                let reply = server.send(present(ask, &world)).await;
                for token in [&world.bob.token, &world.revoked.token] {
                    keeps(&reply, token, &what);
                }
                if route.path == "/api/v1/auth/password" && reply.status == 200 {
                    let back = post(route.path).json(&passwords(NEW, PASSWORD)).bearer(&renewed(&reply));
                    assert_eq!(server.send(back).await.status, 200, "{what}");
                }
            }
            for login in [&mut world.bob, &mut world.second] {
                if server.check(&login.token).await != 200 {
                    *login = server.log_in(BOB).await;
                }
            }
        }
    }
    for (_, path) in LOGINS {
        for password in [PASSWORD, "wrong horse battery staple"] {
            let body = json!({"username": BOB, "user": BOB, "password": password});
            let reply = server.send(post(path).json(&body).cookie(&world.bob.token)).await;
            keeps(&reply, &world.bob.token, path);
        }
        world.bob = server.log_in(BOB).await;
    }
    server.stop().await;
}

#[on_both_stores]
async fn any_dialects_session_can_be_presented_any_way_to_any_dialect(store: StoreKind) {
    let server = Server::start(store).await;
    let id = server.log_in(BOB).await.user;
    let both = json!({"username": BOB, "password": PASSWORD});
    for path in ["/auth/login", "/api/auth/login", "/api/v1/login", "/api/v1/auth/login"] {
        let reply = server.send(post(path).json(&both)).await;
        let token = reply.cookie().or_else(|| reply.json()["data"]["authToken"].as_str().map(str::to_owned));
        let token = token.expect("a token");
        for (asked, pointer) in WHO {
            for ask in [get(asked).pair(&id, &token), get(asked).bearer(&token), get(asked).cookie(&token)] {
                let what = format!("from {path}: {ask:?}");
                assert_eq!(who(&server.send(ask).await, pointer).as_deref(), AS_BOB, "{what}");
            }
        }
    }
    server.stop().await;
}

/// Sends a request with a header line of raw bytes.
async fn send_raw(server: &Server, ask: &TestRequest, line: &[u8]) -> Reply {
    let bytes = ask.bytes(&server.address());
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").expect("a request line") + 2;
    let (first, rest) = bytes.split_at(end);
    exchange(&server.address(), &[first, line, b"\r\n", rest].concat()).await
}

#[on_both_stores]
async fn neighbours_of_any_bytes_do_not_hide_the_cookie(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = server.log_in(BOB).await;
    let cookie = format!("_me_sess={}", bob.token);
    let cookie = cookie.as_bytes();
    for (before, after) in [
        (&b"name=\xff\xfe; "[..], &b""[..]),
        (b"caf\xe9=1; ", b"; \x80\x81"),
        ("größe=ü; ".as_bytes(), "; 猫=猫".as_bytes()),
        (b"; ;;=; ", b"; =;;"),
        (b"a=\"b; ", b"; c\""),
        (b"{\"json\": 1, \"x\": [2]}; ", b"; flag"),
        (b"a=b=c; _me_sess; ", b"; _ME_SESS=x"),
        (b"%5Fme_sess=x; ", b"; \"_me_sess\"=x"),
        (b"x=%3B_me_sess%3Dy; ", b""),
    ] {
        let line = [b"Cookie: ", before, cookie, after].concat();
        for (path, pointer) in WHO {
            let reply = send_raw(&server, &get(path), &line).await;
            assert_eq!(who(&reply, pointer).as_deref(), AS_BOB, "{path} {}", line.escape_ascii());
        }
    }
    for (before, after) in [(&b"\xa0"[..], &b""[..]), (b"", b"\xa0"), (b"\xef\xbb\xbf", b""), (b"", b"\xff")] {
        let line = [b"Cookie: _me_sess=", before, bob.token.as_bytes(), after].concat();
        for (path, pointer) in WHO {
            let reply = send_raw(&server, &get(path), &line).await;
            assert_eq!(who(&reply, pointer), None, "{path} {}", line.escape_ascii());
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn verify_takes_only_the_credentials_it_is_set_to(store: StoreKind) {
    let cases: [(&str, Present); 3] = [
        ("cookie", |ask, w| ask.cookie(&w.bob.token)),
        ("headers", |ask, w| ask.pair(&w.bob.user, &w.bob.token)),
        ("bearer", |ask, w| ask.bearer(&w.bob.token)),
    ];
    for setting in ["cookie", "headers", "bearer", "cookie,bearer"] {
        let kinds: Vec<&str> = setting.split(',').collect();
        let server = Server::with(store, &format!("verify_credentials = {kinds:?}")).await;
        let world = World::of(&server).await;
        for (kind, present) in cases {
            let taken = kinds.contains(&kind);
            let status = server.send(present(get("/verify"), &world)).await.status;
            assert_eq!(status, if taken { 200 } else { 401 }, "{kind} with {setting}");
            // What is not looked at spoils nothing, and is not looked at for anything else.
            if !taken && kinds.contains(&"cookie") {
                let beside = server.send(present(get("/verify"), &world).cookie(&world.alice.token)).await;
                assert_eq!(beside.header("remote-user"), AS_ALICE, "{kind} beside a cookie with {setting}");
            }
        }
        for (path, pointer) in &WHO[..4] {
            let reply = server.send(get(path).bearer(&world.bob.token)).await;
            assert_eq!(who(&reply, *pointer).as_deref(), AS_BOB, "the setting is for /verify only: {path}");
        }
        server.stop().await;
    }
}

const ATTRIBUTES: &str = "HttpOnly; SameSite=Lax; Secure; Path=/";
const CLEARED: &str = "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";

/// The line that clears the cookie for a domain, or for this host only.
fn cleared(domain: Option<&str>) -> String {
    let domain = domain.map(|domain| format!("; Domain={domain}")).unwrap_or_default();
    format!("_me_sess=; {ATTRIBUTES}{domain}; {CLEARED}")
}

#[on_both_stores]
async fn without_cookie_tossing_one_line_sets_or_clears_the_cookie(store: StoreKind) {
    for (setting, domain) in [("", None), ("cookie_domain = 'example.com'", Some("example.com"))] {
        let server = Server::with(store, setting).await;
        let body = json!({"username": BOB, "password": PASSWORD});
        let from = |ask: TestRequest| ask.header("Host", "login.example.com");
        let mut in_cookie: Option<String> = None;
        for (log_in, log_out) in [
            ("/auth/login", "/auth/logout"),
            ("/api/auth/login", "/api/auth/logout"),
            ("/api/v1/auth/login", "/api/v1/auth/logout"),
            ("/api/v1/auth/login", "/api/v1/logout"),
        ] {
            let ask = from(post(log_in).json(&body));
            let ask = in_cookie.iter().fold(ask, |ask, old| ask.header("Cookie", &cookies(&[old, old])));
            let reply = server.send(ask).await;
            let token = reply.cookie().expect("a cookie");
            let attributes = domain.map(|domain| format!("; Domain={domain}")).unwrap_or_default();
            assert_eq!(reply.session_cookies(), [format!("_me_sess={token}; {ATTRIBUTES}{attributes}")], "{log_in}");
            let known = format!("_me_sess_known={}; ", reply.known_browser().expect("beside it"));
            let line = format!("{known}{ATTRIBUTES}; Max-Age=31536000{attributes}");
            let all = reply.all("set-cookie");
            assert_eq!(crate::harness::attributes(all[1]), crate::harness::attributes(&line), "{log_in}");
            if let Some(old) = in_cookie.replace(token.clone()) {
                assert_eq!(server.check(&old).await, 401, "the login took its place");
            }
            // The next login replaces this one; a logout needs one that nothing else ends.
            let other = server.log_in(BOB).await;
            let reply = server.send(from(post(log_out).cookie(&other.token))).await;
            assert_eq!(reply.all("set-cookie"), [cleared(domain)], "{log_out}");
            assert_eq!((server.check(&other.token).await, server.check(&token).await), (401, 200), "{log_out}");
        }
        server.stop().await;
    }
}
