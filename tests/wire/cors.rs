//! Which pages may read answers, refusals included: those of listed origins, and no others.

use serde_json::json;
use sessiond_needs::on_both_stores;

use crate::harness::{BOB, PASSWORD, Reply, Server, StoreKind, TestRequest, ask, delete, get, post};

const LISTED: [&str; 2] = ["https://app.example", "http://localhost:5173"];
const SETTINGS: &str =
    "cors_origins = ['https://app.example', 'http://localhost:5173']\npublic_url = 'https://login.example'";
const OTHERS: [&str; 8] = [
    "https://evil.example",
    "null",
    "https://login.example",
    "https://app.example.evil.example",
    "http://app.example",
    "https://app.example:8443",
    "https://APP.example",
    "*",
];
const EXPOSED: &str = "X-Api-Commit, X-Request-Id, Retry-After, RateLimit, RateLimit-Policy";

fn preflight(path: &str, origin: &str, method: &str) -> TestRequest {
    ask("OPTIONS", path)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", method)
        .header("Access-Control-Request-Headers", "content-type,x-auth-token,x-user-id")
        .header("Sec-Fetch-Site", "cross-site")
        .header("Sec-Fetch-Mode", "cors")
}

fn assert_readable_by(reply: &Reply, origin: Option<&str>, what: &str) {
    let headers = ["access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers"];
    let expected = origin.map_or([None; 3], |origin| [Some(origin), Some("true"), Some(EXPOSED)]);
    assert_eq!(headers.map(|name| reply.header(name)), expected, "{what}");
    let vary = reply.all("vary").join(", ");
    assert!(vary.split(", ").any(|name| name == "Origin"), "{what}: caches keep the origins apart: {vary}");
    assert!(!reply.headers.iter().any(|(_, value)| value == "*"), "{what}");
}

/// One request for every status that a page may have to read.
async fn asks(server: &Server) -> Vec<(TestRequest, u16)> {
    let login = || post("/api/v1/auth/login");
    let mut asks = Vec::new();
    for path in ["/auth/logout", "/api/v1/auth/logout", "/api/v1/logout"] {
        let token = server.log_in(BOB).await.token;
        asks.push((post(path).bearer(&token), if path == "/auth/logout" { 204 } else { 200 }));
        asks.push((post(path).bearer(&"A".repeat(43)), 401));
    }
    let bob = server.log_in(BOB).await;
    asks.extend([
        (get("/user").cookie(&bob.token), 200),
        (ask("HEAD", "/user").cookie(&bob.token), 200),
        (get("/user"), 401),
        (get("/verify").cookie(&bob.token), 200),
        (get("/verify"), 401),
        (get("/nothing"), 404),
        (get("/api/v1/nothing"), 404),
        (delete("/api/v1/auth/sessions/garbage").bearer(&bob.token), 404),
        (delete("/user"), 405),
        (ask("HEAD", "/api/v1/logout"), 405),
        (get("/user").without_host(), 400),
        (get("/user").header("Host", "a b"), 400),
        (ask("CONNECT", "/user"), 405),
        (post("/user").header("Transfer-Encoding", "gzip, chunked"), 501),
        (ask("OPTIONS", "/nothing"), 204),
        (get("/user").header("X-Large", &"x".repeat(32 * 1024)), 431),
        (delete("/api/v1/auth/sessions").bearer(&bob.token), 422),
        // Header credentials say nothing about whose page it is, and let the others past the check of the place.
        (login().bearer(&bob.token).json(&json!([])), 400),
        (login().bearer(&bob.token).body("text/plain", b"x"), 415),
        (login().bearer(&bob.token).body("application/json", &[b' '; 9000]), 413),
        (login().bearer(&bob.token).json(&json!({})), 422),
        (login().bearer(&bob.token).json(&json!({"username": BOB, "password": "wrong password"})), 401),
    ]);
    asks
}

#[on_both_stores]
async fn every_answer_is_readable_by_listed_origins_only(store: StoreKind) {
    let server = Server::with(store, SETTINGS).await;
    for origin in LISTED.into_iter().chain(OTHERS) {
        for (ask, status) in asks(&server).await {
            let what = format!("{origin} {ask:?}");
            let reply = server.send(ask.header("Origin", origin)).await;
            assert_eq!(reply.status, status, "{what}: {}", reply.text());
            assert_readable_by(&reply, LISTED.contains(&origin).then_some(origin), &what);
        }
    }
    for (ask, status) in asks(&server).await {
        let what = format!("{ask:?}");
        let reply = server.send(ask).await;
        assert_eq!(reply.status, status, "{what}");
        assert_readable_by(&reply, None, &what);
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_preflight_answers_listed_origins_what_they_may_send(store: StoreKind) {
    let server = Server::with(store, SETTINGS).await;
    for (path, method) in [
        ("/auth/login", "POST"),
        ("/api/user", "GET"),
        ("/api/v1/logout", "POST"),
        ("/api/v1/auth/logout", "POST"),
        ("/api/v1/auth/sessions?scope=all", "DELETE"),
        ("/api/v1/auth/sessions/garbage", "DELETE"),
    ] {
        for origin in LISTED.into_iter().chain(OTHERS) {
            let reply = server.send(preflight(path, origin, method)).await;
            assert_eq!((reply.status, reply.body.len(), reply.all("set-cookie").len()), (204, 0, 0), "{path}");
            assert!(reply.header("x-api-commit").is_some());
            assert_readable_by(&reply, LISTED.contains(&origin).then_some(origin), path);
            if LISTED.contains(&origin) {
                assert_eq!(reply.header("access-control-allow-methods"), Some("GET, POST, PATCH, DELETE"));
                assert_eq!(reply.header("access-control-allow-headers"), Some("content-type,x-auth-token,x-user-id"));
            } else {
                let permission =
                    ["access-control-allow-methods", "access-control-allow-headers", "access-control-max-age"];
                assert_eq!(permission.map(|name| reply.header(name)), [None; 3], "{origin}");
            }
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_listed_origin_may_send_whatever_headers_its_preflight_asks_for(store: StoreKind) {
    let server = Server::with(store, SETTINGS).await;
    let (longest, too_long) = (format!("x-{}", "a".repeat(2046)), format!("x-{}", "a".repeat(2047)));
    let many = vec!["x-one"; 300].join(",");
    for (asked, allowed) in [
        ("traceparent", true),
        ("baggage, sentry-trace, traceparent", true),
        ("content-type,x-2fa-code", true),
        ("X-Odd!#$%&'*+-.^_`|~09", true),
        (longest.as_str(), true),
        (many.as_str(), true),
        (too_long.as_str(), false),
        ("", false),
        (",", false),
        ("traceparent,", false),
        ("a,,b", false),
        ("a b", false),
        ("a:b", false),
        ("a;b", false),
        ("a/b", false),
        ("\"a\"", false),
        ("x-\u{e4}", false),
        ("*", false),
        ("content-type, *", false),
    ] {
        for (path, origin) in [
            ("/auth/login", LISTED[0]),
            ("/api/v1/auth/nothing", LISTED[1]),
            ("/auth/login", OTHERS[0]),
            ("/x", "null"),
        ] {
            let ask = ask("OPTIONS", path).header("Origin", origin).header("Access-Control-Request-Method", "POST");
            let reply = server.send(ask.header("Access-Control-Request-Headers", asked)).await;
            let wanted = (allowed && LISTED.contains(&origin)).then_some(asked);
            assert_eq!((reply.status, reply.header("access-control-allow-headers")), (204, wanted), "{origin} {asked}");
            assert_readable_by(&reply, LISTED.contains(&origin).then_some(origin), path);
        }
    }
    // Two lines are nothing that a browser sends.
    let ask = preflight("/auth/login", LISTED[0], "POST").header("Access-Control-Request-Headers", "traceparent");
    let reply = server.send(ask).await;
    assert_eq!((reply.status, reply.header("access-control-allow-headers")), (204, None));
    server.stop().await;
}

#[on_both_stores]
async fn a_preflight_to_where_there_is_nothing_is_answered_so_that_the_404_can_be_read(store: StoreKind) {
    let server = Server::with(store, SETTINGS).await;
    for path in ["/nothing", "/api/v1/nothing", "/api/v1/auth/nothing", "/api/v1/auth/sessions/a/b", "*"] {
        for origin in [LISTED[0], OTHERS[0]] {
            let listed = LISTED.contains(&origin).then_some(origin);
            let reply = server.send(preflight(path, origin, "POST")).await;
            assert_eq!((reply.status, reply.body.len(), reply.all("set-cookie").len()), (204, 0, 0), "{path}");
            let methods = listed.map(|_| "GET, POST, PATCH, DELETE");
            assert_eq!(reply.header("access-control-allow-methods"), methods, "{path}");
            assert_readable_by(&reply, listed, path);
            let reply = server.send(post(path).header("Origin", origin)).await;
            assert_eq!(reply.status, 404, "{path}");
            assert_readable_by(&reply, listed, path);
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_refused_page_of_another_origin_reads_nothing_and_a_listed_one_logs_in(store: StoreKind) {
    let server = Server::with(store, SETTINGS).await;
    let login = |origin: &str| {
        let body = json!({"username": BOB, "password": PASSWORD});
        post("/auth/login").json(&body).header("Origin", origin).header("Sec-Fetch-Site", "cross-site")
    };
    for (origin, status) in [(LISTED[0], 200), (LISTED[1], 200), (OTHERS[0], 403), ("null", 403), (OTHERS[3], 403)] {
        let reply = server.send(login(origin)).await;
        assert_eq!((reply.status, reply.cookie().is_some()), (status, status == 200), "{origin}");
        assert_readable_by(&reply, (status == 200).then_some(origin), origin);
    }
    server.stop().await;
}

#[on_both_stores]
async fn two_origins_are_refused(store: StoreKind) {
    let server = Server::with(store, SETTINGS).await;
    let reply = server.send(get("/user").header("Origin", LISTED[0]).header("Origin", LISTED[1])).await;
    assert_readable_by(&reply, None, "two origins");
    server.stop().await;
}

#[on_both_stores]
async fn without_listed_origins_no_page_reads_and_answers_do_not_vary(store: StoreKind) {
    let server = Server::start(store).await;
    for origin in LISTED.into_iter().chain(OTHERS) {
        for ask in [get("/user").header("Origin", origin), preflight("/auth/login", origin, "POST")] {
            let reply = server.send(ask).await;
            for name in ["access-control-allow-origin", "access-control-allow-credentials", "vary"] {
                assert_eq!(reply.header(name), None, "{origin} {name}");
            }
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn options_on_verify_is_a_check_and_no_preflight(store: StoreKind) {
    let server = Server::with(store, SETTINGS).await;
    let bob = server.log_in(BOB).await;
    for origin in [LISTED[0], OTHERS[0]] {
        let refused = server.send(preflight("/verify", origin, "GET")).await;
        let allowed = server.send(preflight("/verify", origin, "GET").cookie(&bob.token)).await;
        assert_eq!((refused.status, refused.header("remote-user")), (401, None));
        assert_eq!((allowed.status, allowed.header("remote-user")), (200, Some(BOB)));
        for reply in [refused, allowed] {
            let words = ["access-control-allow-methods", "access-control-allow-headers", "allow"];
            assert_eq!(words.map(|name| reply.header(name)), [None; 3], "{origin}");
            assert_readable_by(&reply, LISTED.contains(&origin).then_some(origin), "/verify");
        }
        // Never a success for an unknown path under it.
        let unknown = server.send(preflight("/verify/nothing", origin, "GET").cookie(&bob.token)).await;
        assert_eq!(unknown.status, 404);
    }
    server.stop().await;
}
