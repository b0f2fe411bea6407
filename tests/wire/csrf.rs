//! Where a change may come from: requests exactly as a browser sends them from other sites, and from where they may.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};
use sessiond::http::routes;
use sessiond_needs::on_both_stores;

use crate::harness::{ALICE, BOB, LoggedIn, PASSWORD, Reply, Server, StoreKind, TestRequest, ask, exchange, post};

const FORM: &str = "application/x-www-form-urlencoded";
const LOGOUTS: [&str; 4] = ["/auth/logout", "/api/auth/logout", "/api/v1/logout", "/api/v1/auth/logout"];
const LOGINS: [&str; 4] = ["/auth/login", "/api/auth/login", "/api/v1/login", "/api/v1/auth/login"];

type Headers = &'static [(&'static str, &'static str)];

/// The headers that Chromium sends from a page of another site, by what the page does.
const FOREIGN: &[(&str, Headers)] = &[
    (
        "a form",
        &[
            ("Origin", "https://evil.example"),
            ("Referer", "https://evil.example/"),
            ("Upgrade-Insecure-Requests", "1"),
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Mode", "navigate"),
            ("Sec-Fetch-User", "?1"),
            ("Sec-Fetch-Dest", "document"),
        ],
    ),
    (
        "a form in a sandboxed frame, or after a redirect",
        &[
            ("Origin", "null"),
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Mode", "navigate"),
            ("Sec-Fetch-Dest", "iframe"),
        ],
    ),
    (
        "a fetch without CORS, or a beacon",
        &[
            ("Origin", "https://evil.example"),
            ("Referer", "https://evil.example/"),
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Mode", "no-cors"),
            ("Sec-Fetch-Dest", "empty"),
        ],
    ),
    (
        "a fetch with CORS",
        &[
            ("Origin", "https://evil.example"),
            ("Referer", "https://evil.example/"),
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Mode", "cors"),
            ("Sec-Fetch-Dest", "empty"),
        ],
    ),
    (
        "a neighbouring host's form",
        &[
            ("Origin", "https://neighbour.example"),
            ("Referer", "https://neighbour.example/"),
            ("Sec-Fetch-Site", "same-site"),
            ("Sec-Fetch-Mode", "navigate"),
            ("Sec-Fetch-Dest", "document"),
        ],
    ),
    ("a request that hides its origin", &[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")]),
    ("an old browser's form", &[("Origin", "https://evil.example"), ("Referer", "https://evil.example/")]),
    ("an old browser's sandboxed form", &[("Origin", "null")]),
    ("two answers to one question", &[("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")]),
    ("two origins", &[("Origin", "https://app.example"), ("Origin", "https://evil.example")]),
];

const SETTINGS: &str = "cors_origins = ['https://app.example']\npublic_url = 'https://login.example'";

fn with(ask: TestRequest, headers: Headers) -> TestRequest {
    headers.iter().fold(ask, |ask, (name, value)| ask.header(name, value))
}

/// Every route that can set, clear or end something, with `session` where an id goes.
fn changing(session: &str) -> Vec<(Method, String)> {
    let change = |method: &Method| method != Method::GET;
    let route = |route: routes::Route| {
        Some((route.method.filter(change)?, route.path.replace("{id}", session).replace("{act}", "delete")))
    };
    let mut all: Vec<_> = routes().into_iter().filter_map(route).collect();
    all.push((Method::DELETE, "/api/v1/auth/sessions?scope=all".into()));
    all
}

/// The refusal in the words of the path's dialect.
fn assert_wrong_place(reply: &Reply, path: &str, why: &str) {
    assert!(reply.all("set-cookie").is_empty(), "{why}: {path}");
    let pages = ["/login", "/login/code", "/logout", "/sessions", "/password", "/second-factor"];
    if pages.contains(&path) || path.starts_with("/admin/") {
        let page = reply.text();
        assert_eq!((reply.status, page.contains("asked for by another site")), (403, true), "{why}: {path}: {page}");
        return;
    }
    let body = if path.starts_with("/api/v1/auth/") || path.starts_with("/api/v1/admin/") {
        json!({"code": 403, "detail": "Cross-site request refused", "type": "forbidden_error"})
    } else if path.starts_with("/api/v1/") {
        let error = "Cross-site request refused [error-not-allowed]";
        json!({"success": false, "error": error, "errorType": "error-not-allowed"})
    } else {
        json!({"error": {"code": 403, "message": "cross-site request refused"}})
    };
    assert_eq!((reply.status, reply.json()), (403, body), "{why}: {path}");
}

/// A body with all that any of the routes would act on.
fn tempting(session: &str) -> Value {
    json!({
        "username": ALICE, "user": ALICE, "password": PASSWORD, "sessionId": session,
        "current_password": PASSWORD, "new_password": "a completely different one",
    })
}

#[tokio::test]
async fn the_mount_table_holds_every_change_of_all_three_dialects() {
    let paths: BTreeSet<_> = changing("{id}").into_iter().map(|(method, path)| format!("{method} {path}")).collect();
    let known = LOGINS.iter().chain(&LOGOUTS).map(|path| format!("POST {path}")).chain(
        [
            "POST /api/v1/auth/password",
            "DELETE /api/v1/auth/sessions",
            "DELETE /api/v1/auth/sessions/{id}",
            "POST /api/v1/sessions/logout.me",
            "POST /api/v1/users.logout",
            "POST /api/v1/users.removeOtherTokens",
            "POST /api/v1/users.logoutOtherClients",
        ]
        .map(String::from),
    );
    for known in known {
        assert!(paths.contains(&known), "{known}");
    }
}

#[on_both_stores]
async fn another_site_can_change_nothing_with_or_without_the_cookie(store: StoreKind) {
    for settings in ["", SETTINGS] {
        let server = Server::with(store, settings).await;
        let (mine, other) = (server.log_in(BOB).await, server.log_in(BOB).await);
        for (method, path) in changing(&other.session) {
            for (why, headers) in FOREIGN {
                let bare = with(ask(method.as_str(), &path), headers);
                let body = tempting(&other.session);
                // What a form and a fetch can send without asking first, and what they cannot.
                let bodies = [
                    bare.clone().form("username=alice&user=alice&password=correct+horse+battery+staple"),
                    bare.clone().body("text/plain;charset=UTF-8", body.to_string().as_bytes()),
                    bare.clone().json(&body),
                    bare,
                ];
                for ask in bodies {
                    assert_wrong_place(&server.send(ask.clone()).await, &path, why);
                    assert_wrong_place(&server.send(ask.cookie(&mine.token)).await, &path, why);
                }
            }
        }
        assert_eq!((server.check(&mine.token).await, server.check(&other.token).await), (200, 200));
        let login = json!({"username": BOB, "password": PASSWORD});
        assert_eq!(server.send(post("/auth/login").json(&login)).await.status, 200, "and the password is the old one");
        server.stop().await;
    }
}

#[on_both_stores]
async fn a_link_an_image_and_a_head_from_another_site_change_nothing(store: StoreKind) {
    let server = Server::start(store).await;
    let (mine, other) = (server.log_in(BOB).await, server.log_in(BOB).await);
    let navigation: Headers = &[
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-User", "?1"),
        ("Sec-Fetch-Dest", "document"),
        ("Accept", "text/html"),
        ("Upgrade-Insecure-Requests", "1"),
        ("Referer", "https://evil.example/"),
    ];
    let image: Headers = &[
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "no-cors"),
        ("Sec-Fetch-Dest", "image"),
        ("Referer", "https://evil.example/"),
    ];
    let typed: Headers = &[("Sec-Fetch-Site", "none"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")];
    let paths: BTreeSet<_> =
        routes().iter().map(|route| route.path.replace("{id}", &other.session).replace("{act}", "delete")).collect();
    for path in paths {
        let query = format!(
            "{path}?scope=all&sessionId={}&username=alice&password=correct+horse+battery+staple",
            other.session
        );
        for method in ["GET", "HEAD", "OPTIONS"] {
            for headers in [navigation, image, typed, &[]] {
                for bare in [with(ask(method, &path), headers), with(ask(method, &query), headers)] {
                    for ask in [bare.clone(), bare.cookie(&mine.token)] {
                        let reply = server.send(ask).await;
                        assert!(reply.all("set-cookie").is_empty(), "{method} {path}");
                    }
                }
            }
        }
    }
    assert_eq!((server.check(&mine.token).await, server.check(&other.token).await), (200, 200));
    server.stop().await;
}

#[on_both_stores]
async fn a_get_logs_out_by_header_only_and_never_writes_the_cookie(store: StoreKind) {
    let server = Server::start(store).await;
    let mine = server.log_in(BOB).await;
    let dead = "A".repeat(43);
    let get = || ask("GET", "/api/v1/logout");
    for ask in
        [get(), get().cookie(&mine.token), get().cookie(&dead), get().pair(&mine.user, &dead).cookie(&mine.token)]
    {
        let reply = server.send(ask).await;
        let body = json!({"status": "error", "message": "You must be logged in to do this."});
        assert_eq!((reply.status, reply.json()), (401, body));
        assert!(reply.all("set-cookie").is_empty());
    }
    let head = || ask("HEAD", "/api/v1/logout");
    for head in [head(), head().cookie(&mine.token), head().pair(&mine.user, &mine.token)] {
        let reply = server.send(head).await;
        assert_eq!((reply.status, reply.body.len(), reply.all("set-cookie").len()), (405, 0, 0));
        assert_eq!(reply.header("allow"), Some("POST, GET"));
    }
    assert_eq!(server.check(&mine.token).await, 200);
    let cookie = server.log_in(BOB).await;
    for (ask, ended) in [
        (get().pair(&mine.user, &mine.token).cookie(&cookie.token), &mine),
        (get().bearer(&cookie.token).cookie(&cookie.token), &cookie),
    ] {
        let reply = server.send(ask).await;
        let body = json!({"status": "success", "data": {"message": "You've been logged out!"}});
        assert_eq!((reply.status, reply.json()), (200, body));
        assert!(reply.all("set-cookie").is_empty());
        assert_eq!(server.check(&ended.token).await, 401);
    }
    server.stop().await;
}

/// Origins that may make changes, by the header that names them.
const OURS: &[(&str, Headers)] = &[
    (
        "our own page",
        &[("Origin", "https://login.example"), ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Mode", "cors")],
    ),
    ("a person", &[("Sec-Fetch-Site", "none"), ("Sec-Fetch-Mode", "navigate")]),
    ("our own page in an old browser", &[("Origin", "https://login.example")]),
    (
        "a listed origin",
        &[("Origin", "https://app.example"), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "cors")],
    ),
    (
        "a listed neighbour",
        &[("Origin", "https://app.example"), ("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "cors")],
    ),
    ("a listed origin in an old browser", &[("Origin", "https://app.example")]),
    ("no browser", &[]),
    ("no browser, with a referer", &[("Referer", "https://evil.example/")]),
];

#[on_both_stores]
async fn a_change_from_where_it_may_come_is_made(store: StoreKind) {
    let server = Server::with(store, SETTINGS).await;
    for (why, headers) in OURS {
        for path in LOGOUTS {
            let mine = server.log_in(BOB).await;
            let reply = server.send(with(post(path), headers).cookie(&mine.token)).await;
            assert!(matches!(reply.status, 200 | 204) && reply.clears_exactly(), "{why}: {path}");
            assert_eq!(server.check(&mine.token).await, 401, "{why}: {path}");
        }
        for path in LOGINS {
            let body = json!({"username": BOB, "password": PASSWORD});
            let reply = server.send(with(post(path), headers).json(&body)).await;
            assert_eq!((reply.status, reply.cookie().is_some()), (200, path != "/api/v1/login"), "{why}: {path}");
        }
        let mine = server.log_in(BOB).await;
        for (method, path) in changing(&mine.session) {
            assert_ne!(server.send(with(ask(method.as_str(), &path), headers)).await.status, 403, "{why}: {path}");
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_header_credential_may_come_from_anywhere(store: StoreKind) {
    let server = Server::start(store).await;
    for (why, headers) in FOREIGN {
        for path in LOGOUTS {
            let pair = |ask: TestRequest, login: &LoggedIn| ask.pair(&login.user, &login.token);
            let bearer = |ask: TestRequest, login: &LoggedIn| ask.bearer(&login.token);
            for present in [pair as fn(TestRequest, &LoggedIn) -> TestRequest, bearer] {
                let mine = server.log_in(BOB).await;
                let reply = server.send(present(with(post(path), headers), &mine)).await;
                assert!(matches!(reply.status, 200 | 204), "{why}: {path} {}", reply.text());
                assert_eq!(server.check(&mine.token).await, 401, "{why}: {path}");
            }
        }
    }
    let mine = server.log_in(BOB).await;
    let (_, form) = FOREIGN[0];
    for theirs in ["Bearer theirs", "Basic Ym9iOmJvYg=="] {
        let ask = with(post("/auth/logout"), form).header("Authorization", theirs).cookie(&mine.token);
        assert_wrong_place(&server.send(ask).await, "/auth/logout", "another application's credential is none of ours");
    }
    assert_eq!(server.check(&mine.token).await, 200);
    server.stop().await;
}

#[on_both_stores]
async fn without_a_public_url_our_origin_is_the_host_of_the_request(store: StoreKind) {
    let server = Server::start(store).await;
    for (origin, may) in [
        ("https://login.example:8443", true),
        ("http://login.example:8443", true),
        ("https://login.example", false),
        ("https://login.example:8443.evil.example", false),
        ("https://evil.example", false),
        ("null", false),
        ("", false),
    ] {
        let mine = server.log_in(BOB).await;
        let ask =
            post("/auth/logout").header("Host", "login.example:8443").header("Origin", origin).cookie(&mine.token);
        assert_eq!(server.send(ask).await.status, if may { 204 } else { 403 }, "{origin}");
        assert_eq!(server.check(&mine.token).await, if may { 401 } else { 200 }, "{origin}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn with_a_public_url_the_host_of_the_request_does_not_matter(store: StoreKind) {
    let server = Server::with(store, SETTINGS).await;
    let mine = server.log_in(BOB).await;
    for origin in
        ["https://evil.example", "http://login.example", "https://login.example:8443", "https://app.example.evil"]
    {
        let host = origin.rsplit('/').next().expect("a host");
        let ask = post("/auth/logout").header("Host", host).header("Origin", origin).cookie(&mine.token);
        assert_wrong_place(&server.send(ask).await, "/auth/logout", origin);
    }
    assert_eq!(server.check(&mine.token).await, 200);
    server.stop().await;
}

#[on_both_stores]
async fn with_a_public_url_the_same_origin_is_that_one_by_whatever_name_a_page_was_moved_here(store: StoreKind) {
    for (public, host, ours) in [
        ("https://login.example", "login.example", true),
        ("https://login.example", "LOGIN.example:443", true),
        ("https://login.example", "login.example:80", false),
        ("https://login.example", "login.example:8443", false),
        ("https://login.example", "login.example.evil.example", false),
        ("https://login.example", "evil.example", false),
        ("https://login.example", "127.0.0.1", false),
        ("https://login.example", "localhost:443", false),
        ("https://login.example:8443", "login.example:8443", true),
        ("https://login.example:8443", "login.example", false),
        ("http://localhost:8080", "localhost:8080", true),
        ("http://localhost:8080", "localhost", false),
        ("http://localhost", "localhost:80", true),
        ("https://[2001:db8::1]", "[2001:DB8::1]", true),
    ] {
        let server = Server::with(store, &format!("cookie_secure = false\npublic_url = '{public}'")).await;
        let login = json!({"username": BOB, "password": PASSWORD});
        // What a browser sends along from a page at that host.
        let page = |ask: TestRequest, origin: &str| {
            ask.header("Host", host).header("Origin", origin).header("Sec-Fetch-Site", "same-origin")
        };
        let theirs = format!("http://{host}");
        for path in LOGINS {
            let reply = server.send(page(post(path).json(&login), &theirs)).await;
            if ours {
                assert_eq!(reply.status, 200, "{public} {host} {path}");
            } else {
                assert_wrong_place(&reply, path, host);
            }
            // A proxy that sends a name of its own instead of the one it was asked by.
            assert_eq!(server.send(page(post(path).json(&login), public)).await.status, 200, "{public} {host} {path}");
        }
        let without_origin = post("/auth/login").json(&login).header("Host", host);
        let without_origin = server.send(without_origin.header("Sec-Fetch-Site", "same-origin")).await;
        assert_eq!(without_origin.status, if ours { 200 } else { 403 }, "{public} {host}");
        server.stop().await;
    }
}

#[on_both_stores]
async fn with_a_public_url_a_request_of_no_host_is_not_of_the_same_origin(store: StoreKind) {
    let server = Server::with(store, SETTINGS).await;
    let request = |more: &str| format!("POST /auth/logout HTTP/1.0\r\nSec-Fetch-Site: same-origin\r\n{more}\r\n");
    let reply = exchange(&server.address(), request("").as_bytes()).await;
    assert_wrong_place(&reply, "/auth/logout", "no host");
    let reply = exchange(&server.address(), request("Host: login.example\r\n").as_bytes()).await;
    assert_eq!(reply.status, 401);
    server.stop().await;
}

#[on_both_stores]
async fn a_wrong_place_is_refused_after_the_route_and_before_all_else(store: StoreKind) {
    let server = Server::start(store).await;
    let (_, form) = FOREIGN[0];
    for (method, path, status) in [
        ("POST", "/nothing", 404),
        ("POST", "/api/v1/auth/nothing", 404),
        ("POST", "/user", 405),
        ("DELETE", "/api/v1/auth/login", 405),
        ("POST", "/api/v1/auth/password", 403),
        ("POST", "/auth/login", 403),
    ] {
        let ask = with(ask(method, path), form).cookie("garbage").body(FORM, &[b'x'; 9000]);
        let reply = server.send(ask).await;
        assert_eq!((reply.status, reply.all("set-cookie").len()), (status, 0), "{method} {path}");
    }
    server.stop().await;
}
