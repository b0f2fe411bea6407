//! What the head of a request must be like before any route is looked for: its host, its size, its target, its codings.

use serde_json::{Value, json};
use sessiond::telemetry::COMMIT;
use sessiond_needs::on_both_stores;

use crate::dialects::openapi;
use crate::harness::{BOB, PASSWORD, Reply, Server, StoreKind, TestRequest, ask, exchange, get, post};

/// One unknown path of each owner.
const NOWHERE: [&str; 4] = ["/nothing", "/api/v1/nothing", "/api/v1/auth/nothing", "/verify/nothing"];
/// One known path of each owner.
const ROUTES: [&str; 4] = ["/user", "/api/v1/me", "/api/v1/auth/session", "/verify"];

/// The refusal in the words of the path's owner.
fn assert_refused(reply: &Reply, path: &str, status: u16, words: &str, kind: &str) {
    assert_eq!((reply.status, reply.header("x-api-commit")), (status, Some(COMMIT)), "{path} {words}");
    assert_eq!(reply.header("connection"), Some("close"), "{path} {words}");
    if path.starts_with("/verify") {
        assert_eq!(reply.text(), "", "{path}");
        return;
    }
    let lower = |value: &Value| value.as_str().expect("words").to_lowercase();
    let (body, words) = (reply.json(), words.to_lowercase());
    if path.starts_with("/api/v1/auth/") {
        assert_eq!((lower(&body["detail"]), &body["type"]), (words, &json!(kind)), "{path}");
    } else if path.starts_with("/api/v1/") {
        assert_eq!((lower(&body["error"]), &body["success"]), (words, &json!(false)), "{path}");
    } else {
        assert_eq!((lower(&body["error"]["message"]), &body["error"]["code"]), (words, &json!(status)), "{path}");
    }
}

fn assert_bad(reply: &Reply, path: &str, words: &str) {
    assert_refused(reply, path, 400, words, "invalid_request_error");
}

#[on_both_stores]
async fn a_request_names_one_host_or_is_refused_in_its_owners_words(store: StoreKind) {
    let server = Server::start(store).await;
    for path in NOWHERE.into_iter().chain(ROUTES) {
        assert_bad(&server.send(get(path).without_host()).await, path, "the Host header is missing");
        let twice = get(path).header("Host", "a").header("Host", "a");
        assert_bad(&server.send(twice).await, path, "there is more than one Host header");
        for none in [
            "",
            "a b",
            "a, b",
            "a,b",
            "user@a",
            "user:word@a",
            "a/b",
            "http://a",
            "a?b",
            "a#b",
            "a..b",
            ".a",
            "a%2e",
            "\u{e4}",
            "*",
            "<a>",
            "a:b",
            "a:-1",
            "a:65536",
            "a:80:80",
            ":80",
            "::1",
            "[::1",
            "[::1]a",
            "[a]",
            "[]",
            "[::1%25eth0]",
        ] {
            assert_bad(&server.send(get(path).header("Host", none)).await, path, "the Host header names no host");
        }
        let old = exchange(&server.address(), format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await;
        assert!([401, 404].contains(&old.status), "{path}: {}", old.status);
    }
    for none in ["", "a b", "user@127.0.0.1", "127.0.0.1,127.0.0.1", "[::1", "localhost:x"] {
        let reply = exchange(&server.ops_address(), &get("/livez").header("Host", none).bytes("")).await;
        openapi::check_ops("GET", "/livez", &reply);
        assert_bad(&reply, "/livez", "the Host header names no host");
    }
    server.stop().await;
}

#[on_both_stores]
async fn whatever_host_a_client_really_sends_is_answered(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = server.log_in(BOB).await;
    for host in [
        "localhost",
        "localhost:8080",
        "LOGIN.Example",
        "login.example.",
        "login.example.:443",
        "my_service:80",
        "192.0.2.1",
        "192.0.2.1:8080",
        "[::1]",
        "[2001:DB8::1]:8080",
        "xn--nxasmq6b.example",
        "a",
    ] {
        for path in ["/user", "/verify"] {
            assert_eq!(server.send(get(path).header("Host", host).bearer(&bob.token)).await.status, 200, "{host}");
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn operations_are_answered_at_addresses_localhost_and_configured_names_only(store: StoreKind) {
    let server = Server::with(store, "ops_hosts = ['sessiond', 'Metrics.Example.']").await;
    let send = async |ask: TestRequest| {
        let reply = exchange(&server.ops_address(), &ask.bytes("")).await;
        openapi::check_ops(&ask.method, &ask.target, &reply);
        reply
    };
    for path in ["/livez", "/readyz", "/metrics"] {
        for host in [
            "127.0.0.1",
            "127.0.0.1:9090",
            "10.1.2.3:1",
            "[::1]:9090",
            "[2001:db8::1]",
            "localhost",
            "LocalHost:9090",
            "sessiond",
            "SESSIOND:9090",
            "metrics.example",
            "metrics.example.:80",
        ] {
            assert_eq!(send(get(path).header("Host", host)).await.status, 200, "{path} {host}");
        }
        // The name of a page that DNS rebinding made resolve to this address.
        for host in [
            "evil.example",
            "evil.example:9090",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.1",
            "sessiond.evil.example",
            "x.metrics.example",
            "ops",
        ] {
            let words = "the Host header names no address, not localhost and none of ops_hosts";
            let reply = send(get(path).header("Host", host)).await;
            assert_bad(&reply, path, words);
            let reply = send(get(&format!("http://{host}{path}")).header("Host", "127.0.0.1")).await;
            assert_bad(&reply, path, words);
        }
        // Balancers ask so; browsers do not.
        let old = exchange(&server.ops_address(), format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await;
        assert_eq!(old.status, 200, "{path}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn an_absolute_target_is_the_same_route_and_its_host_the_one_that_counts(store: StoreKind) {
    let server = Server::with(store, "public_url = 'https://login.example'").await;
    let bob = server.log_in(BOB).await;
    let target = |path: &str| format!("http://{}{path}", server.address());
    assert_eq!(server.send(get(&target("/user")).bearer(&bob.token)).await.json()["username"], BOB);
    assert_eq!(server.send(get(&target("/verify")).bearer(&bob.token)).await.status, 200);
    assert_eq!(server.send(get(&target("/api/v1/auth/nothing"))).await.json()["type"], "not_found_error");
    for path in ROUTES {
        assert_bad(&server.send(get(&target(path)).without_host()).await, path, "the Host header is missing");
        let reply = server.send(get(&target(path)).header("Host", "a b")).await;
        assert_bad(&reply, path, "the Host header names no host");
        for none in ["user@a", "user:word@login.example", "a..b", "a:x", "a:99999", "a%41", "[::1]x"] {
            let reply = exchange(&server.address(), &get(&format!("http://{none}{path}")).bytes("a")).await;
            // What the HTTP library cannot read as a target it refuses by itself.
            assert_eq!(reply.status, 400, "{path} {none}");
            if reply.header("x-api-commit").is_some() {
                assert_bad(&reply, path, "the request's target names no host");
            }
        }
    }
    let login = json!({"user": BOB, "password": PASSWORD});
    for (asked, host, status) in [
        ("login.example", "evil.example", 200),
        ("login.example:443", "a", 200),
        ("evil.example", "login.example", 403),
    ] {
        let login = post(&format!("http://{asked}/api/v1/login")).json(&login).header("Host", host);
        let reply = server.send(login.header("Sec-Fetch-Site", "same-origin")).await;
        assert_eq!(reply.status, status, "{asked} {host}");
        if status == 200 {
            let (user, token) = (&reply.json()["data"]["userId"], &reply.json()["data"]["authToken"]);
            let (user, token) = (user.as_str().expect("an id"), token.as_str().expect("a token"));
            let list = server.send(get("/api/v1/sessions/list").pair(user, token)).await.json();
            let mine = list["sessions"].as_array().expect("sessions").iter().find(|session| session["current"] == true);
            assert_eq!(mine.expect("its own")["host"], asked);
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_target_that_is_neither_a_path_nor_absolute_is_refused(store: StoreKind) {
    let server = Server::start(store).await;
    for method in ["GET", "POST", "OPTIONS"] {
        for target in ["a", "a:80", "localhost", "user@a"] {
            let reply = exchange(&server.address(), &ask(method, target).bytes("a")).await;
            assert_bad(&reply, "/", "the request's target is not a path");
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn connect_is_a_method_that_nothing_takes(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = server.log_in(BOB).await;
    for target in ["login.example:443", "a:80", "*"].into_iter().chain(NOWHERE).chain(ROUTES) {
        for credential in ["", &bob.token] {
            let reply = server.send(ask("CONNECT", target).bearer(credential)).await;
            let path = if target.starts_with('/') { target } else { "/" };
            assert_refused(&reply, path, 405, "method not allowed", "method_not_allowed_error");
            assert!(reply.header("allow").is_some_and(|allowed| !allowed.contains("CONNECT")), "{target}");
        }
    }
    let reply = exchange(&server.ops_address(), &ask("CONNECT", "127.0.0.1:22").bytes("127.0.0.1")).await;
    assert_refused(&reply, "/", 405, "method not allowed", "method_not_allowed_error");
    // What comes after it is the tunnel's, and no request.
    let smuggled = "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\nGET /verify HTTP/1.1\r\nHost: a\r\n\r\n";
    let reply = exchange(&server.address(), smuggled.as_bytes()).await;
    assert_eq!((reply.status, reply.text().matches("HTTP/1.1").count()), (405, 0));
    server.stop().await;
}

#[on_both_stores]
async fn a_transfer_coding_other_than_chunked_is_refused_before_the_body_is_read(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = server.log_in(BOB).await;
    let words = "the transfer coding is not supported";
    for path in NOWHERE.into_iter().chain(ROUTES).chain(["/auth/logout", "/api/v1/logout", "/api/v1/auth/logout"]) {
        for codings in [
            &["gzip, chunked"][..],
            &["gzip", "chunked"],
            &["GZIP,Chunked"],
            &["identity, chunked"],
            &["deflate, gzip, chunked"],
            &["x, chunked"],
            &["chunked;q=1, chunked"],
            &["\"chunked\", chunked"],
            &["chunked, gzip", "chunked"],
        ] {
            let ask = codings
                .iter()
                .fold(post(path).bearer(&bob.token), |ask, coding| ask.header("Transfer-Encoding", coding));
            // No body follows, and a request behind it is none.
            let mut bytes = ask.bytes("a");
            bytes.extend(b"0\r\n\r\nGET /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
            let reply = exchange(&server.address(), &bytes).await;
            openapi::check("POST", path, &reply);
            assert_refused(&reply, path, 501, words, "not_implemented_error");
        }
        for twice in [&["chunked, chunked"][..], &["chunked", "chunked"], &[", chunked"]] {
            let ask =
                twice.iter().fold(post(path).bearer(&bob.token), |ask, coding| ask.header("Transfer-Encoding", coding));
            assert_bad(&server.send(ask).await, path, "the body is chunked more than once");
        }
    }
    let known = post("/api/v1/nothing").header("Transfer-Encoding", "Chunked");
    assert_eq!(server.send(known).await.status, 404, "its case does not matter");
    assert_eq!(server.check(&bob.token).await, 200, "no refusal did anything");
    server.stop().await;
}

#[on_both_stores]
async fn a_head_over_32_kib_is_refused_by_us_and_over_100_headers_by_the_http_library(store: StoreKind) {
    let server = Server::start(store).await;
    // Host and Connection are two of them.
    let many = |count: usize, path: &str| (2..count).fold(get(path), |ask, at| ask.header(&format!("X-{at}"), "y"));
    let large = |size: usize, path: &str| get(path).header("Cookie", &"x".repeat(size));
    let words = "too many or too large headers";
    let kind = "request_header_fields_too_large_error";
    for path in NOWHERE {
        assert_eq!(server.send(many(100, path)).await.status, 404, "{path}");
        let reply = exchange(&server.address(), &many(101, path).bytes("a")).await;
        assert_eq!((reply.status, reply.header("x-api-commit")), (431, None), "{path}");
        assert_eq!(server.send(large(32 * 1024 - 200, path)).await.status, 404, "{path}");
        for size in [32 * 1024, 60 * 1024] {
            assert_refused(&server.send(large(size, path)).await, path, 431, words, kind);
            let target = format!("{path}?{}", "x".repeat(size));
            assert_refused(&server.send(get(&target)).await, path, 431, words, kind);
            let target = format!("http://{}{path}", "x".repeat(size));
            assert_refused(&server.send(get(&target)).await, path, 431, words, kind);
        }
        // At the edge of its buffer the HTTP library refuses by itself, if it was not read in one go.
        assert_eq!(exchange(&server.address(), &large(64 * 1024, path).bytes("a")).await.status, 431, "{path}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn the_cookies_of_other_applications_do_not_spoil_a_check(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = server.log_in(BOB).await;
    let others: Vec<_> = (0..40).map(|at| format!("other{at}={}", "x".repeat(700))).collect();
    let cookies = format!("{}; _me_sess={}; {}", others[..20].join("; "), bob.token, others[20..].join("; "));
    assert!(cookies.len() > 28_000);
    assert_eq!(server.send(get("/verify").header("Cookie", &cookies)).await.status, 200);
    server.stop().await;
}

#[on_both_stores]
async fn how_large_a_head_may_be_is_a_setting(store: StoreKind) {
    for (max_head, fits) in [(4096, 3800), (20_000, 19_700), (61_440, 61_100)] {
        let server = Server::with(store, &format!("max_head = {max_head}")).await;
        for (address, path, fine) in [(server.address(), "/user", 401), (server.ops_address(), "/livez", 200)] {
            for (size, status) in [(fits, fine), (max_head, 431)] {
                let ask = get(path).header("X-Large", &"x".repeat(size));
                let reply = exchange(&address, &ask.bytes("127.0.0.1")).await;
                assert_eq!((reply.status, reply.header("x-api-commit")), (status, Some(COMMIT)), "{max_head} {size}");
            }
        }
        server.stop().await;
    }
}
