//! What HTTP itself demands, and what slow, large and broken requests get: over raw TCP, against the real server.

use std::collections::HashSet;
use std::net::IpAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Method, Request};
use serde_json::json;
use sessiond::app::{self, Core, Environment};
use sessiond::config::{Config, Settings};
use sessiond::http::dialect::canonical::Canonical;
use sessiond::http::dialect::medama::Medama;
use sessiond::http::dialect::rocketchat::RocketChat;
use sessiond::http::refusal::Dialect;
use sessiond::http::request::client_address::FromPeer;
use sessiond::http::request::state::{App, Timeouts};
use sessiond::http::routes::Routes;
use sessiond::http::verify::StatusOnly;
use sessiond::http::{ops_routes, routes, service_in_dialect};
use sessiond::telemetry::{COMMIT, Metrics};
use sessiond_needs::on_both_stores;
use sessiond_support::wait::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::dialects::openapi;
use crate::harness::process::{Home, Process};
use crate::harness::{ALICE, BOB, Database, PASSWORD, Reply, Server, StoreKind, ask, delete, exchange, get, post};

mod connections;

/// Every route that reads a body, and whether it wants a session first.
const READERS: [(&str, bool); 12] = [
    ("/auth/login", false),
    ("/auth/logout", true),
    ("/api/auth/login", false),
    ("/api/auth/logout", true),
    ("/api/v1/login", false),
    ("/api/v1/logout", true),
    ("/api/v1/sessions/logout.me", true),
    ("/api/v1/users.logout", true),
    ("/api/v1/users.removeOtherTokens", true),
    ("/api/v1/users.logoutOtherClients", true),
    ("/api/v1/auth/login", false),
    ("/api/v1/auth/logout", true),
];
/// Longer than anything here takes, so that a test that hangs fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection that stays open, and what came over it and was not read yet.
pub struct Wire {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    pub async fn to(address: &str) -> Self {
        Self { stream: TcpStream::connect(address).await.expect("a connection"), buffer: Vec::new() }
    }

    pub async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("sent");
    }

    /// Reads more; false at the end.
    pub async fn more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await.expect("not silent for so long");
        read.unwrap_or_default() > 0
    }

    /// The next answer, as long as its head says.
    pub async fn reply(&mut self) -> Reply {
        loop {
            let end = self.buffer.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(head) = end.map(|end| end + 4) {
                let reply = Reply::parse(&self.buffer[..head]);
                let length = reply.header("content-length").map_or(0, |length| length.parse().expect("a length"));
                if self.buffer.len() >= head + length {
                    let rest = self.buffer.split_off(head + length);
                    return Reply::parse(&std::mem::replace(&mut self.buffer, rest));
                }
            }
            assert!(self.more().await, "it ended after {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    /// Waits until the server closes, and returns what it still sent.
    pub async fn end(mut self) -> Vec<u8> {
        while self.more().await {}
        self.buffer
    }
}

/// A login's head and body, as far as one sends them.
fn login(more_headers: &str) -> (String, String) {
    let body = json!({"username": BOB, "password": PASSWORD, "transport": "token"}).to_string();
    let length = body.len();
    let head = format!(
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{more_headers}\r\n"
    );
    (head, body)
}

#[on_both_stores]
async fn every_answer_says_which_build_gave_it_and_has_a_name(store: StoreKind) {
    let server = Server::with(store, "cors_origins = ['https://app.example']").await;
    let (public, ops) = (server.address(), server.ops_address());
    let large = format!("X: {}\r\n", "y".repeat(32 * 1024));
    let mut names = HashSet::new();
    for (address, line, headers, status) in [
        (&public, "GET /user", "", 401),
        (&public, "GET /nothing", "", 404),
        (&public, "PUT /user", "", 405),
        (&public, "POST /auth/login", "Content-Length: 8193\r\n", 413),
        (&public, "POST /auth/login", "Content-Length: 0\r\n", 415),
        (&public, "POST /auth/login", "Sec-Fetch-Site: cross-site\r\n", 403),
        (&public, "GET /user", "Host: b\r\n", 400),
        (&public, "GET /user", large.as_str(), 431),
        (&public, "GET /user", "Transfer-Encoding: gzip, chunked\r\n", 501),
        (&public, "CONNECT /user", "", 405),
        (&public, "OPTIONS /nothing", "", 204),
        (&public, "OPTIONS /auth/logout", "Origin: https://app.example\r\n", 204),
        (&public, "OPTIONS /auth/logout", "Origin: https://evil.example\r\n", 204),
        (&public, "GET /verify", "", 401),
        (&ops, "GET /livez", "", 200),
        (&ops, "GET /readyz", "", 200),
        (&ops, "GET /metrics", "", 200),
        (&ops, "GET /nothing", "", 404),
        (&ops, "POST /livez", "", 405),
        (&ops, "GET /livez", "Host: b\r\n", 400),
        (&ops, "GET /livez", large.as_str(), 431),
    ] {
        let reply = exchange(
            address,
            format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n").as_bytes(),
        )
        .await;
        assert_eq!((reply.status, reply.header("x-api-commit")), (status, Some(COMMIT)), "{line} {headers}");
        let name = reply.header("x-request-id").expect("a name").to_owned();
        assert!(!name.is_empty() && names.insert(name), "{line}");
        let (method, path) = line.split_once(' ').expect("two words");
        let check = if address == &ops { openapi::check_ops } else { openapi::check };
        check(method, path, &reply);
    }
    let (head, body) = login("Connection: close\r\n");
    let reply = exchange(&public, (head + &body).as_bytes()).await;
    assert_eq!((reply.status, reply.header("x-api-commit")), (200, Some(COMMIT)));
    server.stop().await;
}

#[on_both_stores]
async fn a_body_over_8_kib_is_refused_wherever_one_is_read(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = server.log_in(BOB).await;
    let announced = "Content-Length: 8193\r\n\r\n".to_owned();
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n2001\r\n{}\r\n0\r\n\r\n", "x".repeat(8193));
    for (path, needs_session) in READERS.into_iter().chain([("/api/v1/auth/password", true)]) {
        for framing in [&announced, &chunked] {
            let send = async |credential: &str| {
                let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{credential}");
                let reply = exchange(&server.address(), (head + framing).as_bytes()).await;
                openapi::check("POST", path, &reply);
                reply.status
            };
            assert_eq!(send(&format!("Authorization: Bearer {}\r\n", bob.token)).await, 413, "{path}");
            assert_eq!(send("").await, if needs_session { 401 } else { 413 }, "{path}");
        }
    }
    assert_eq!(server.check(&bob.token).await, 200, "no refusal did anything");
    let largest = format!("{{\"username\":\"{BOB}\",\"password\":\"{PASSWORD}\",\"transport\":\"token\"");
    let largest = format!("{largest}{}}}", " ".repeat(8 * 1024 - 1 - largest.len()));
    assert_eq!(largest.len(), 8 * 1024);
    assert_eq!(server.send(post("/api/v1/auth/login").body("application/json", largest.as_bytes())).await.status, 200);
    server.stop().await;
}

#[on_both_stores]
async fn of_several_refusals_the_first_in_order_is_given(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = server.log_in(BOB).await;
    let huge = "x".repeat(9000);
    let (wrong_place, none) = (("Sec-Fetch-Site", "cross-site"), ("X-Nothing", ""));
    let cookie = format!("_me_sess={}", bob.token);
    let password = "/api/v1/auth/password";
    for (method, path, host, place, who, kind, body, status) in [
        ("POST", "/api/v1/auth/nothing", "", wrong_place, "", "text/plain", huge.as_str(), 400),
        ("POST", "/api/v1/auth/nothing", "a", wrong_place, "", "text/plain", huge.as_str(), 404),
        ("PUT", password, "a", wrong_place, "", "text/plain", huge.as_str(), 405),
        ("POST", password, "a", wrong_place, "", "text/plain", huge.as_str(), 403),
        ("POST", password, "a", wrong_place, cookie.as_str(), "text/plain", huge.as_str(), 403),
        ("POST", password, "a", none, "", "text/plain", huge.as_str(), 401),
        ("POST", password, "a", none, cookie.as_str(), "text/plain", huge.as_str(), 413),
        ("POST", password, "a", none, cookie.as_str(), "text/plain", "{", 415),
        ("POST", password, "a", none, cookie.as_str(), "application/json", "{", 400),
        ("POST", password, "a", none, cookie.as_str(), "application/json", "{}", 422),
    ] {
        let request = ask(method, path).header(place.0, place.1).header("Cookie", who).body(kind, body.as_bytes());
        let request = if host.is_empty() { request.without_host() } else { request };
        assert_eq!(server.send(request).await.status, status, "{method} {path} {host} {place:?} {who} {kind}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_body_that_stalls_is_refused_in_time_and_after_401(store: StoreKind) {
    let server = Server::impatient(store, Timeouts { body: Duration::from_millis(100), ..Timeouts::default() }).await;
    let bob = server.log_in(BOB).await;
    for (path, needs_session) in READERS.into_iter().chain([("/api/v1/auth/password", true)]) {
        for framing in ["Content-Length: 20\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"] {
            let send = async |credential: &str| {
                let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{credential}");
                // The connection ends by itself: the rest of such a body is not waited for.
                let reply = exchange(&server.address(), (head + framing).as_bytes()).await;
                openapi::check("POST", path, &reply);
                assert_eq!(reply.header("x-api-commit"), Some(COMMIT), "{path}");
                let closes = reply.header("connection") == Some("close");
                assert!(closes || reply.status != 408, "{path}: a proxy must not send another request behind it");
                reply.status
            };
            assert_eq!(send(&format!("Authorization: Bearer {}\r\n", bob.token)).await, 408, "{path}");
            assert_eq!(send("").await, if needs_session { 401 } else { 408 }, "{path}");
        }
    }
    assert_eq!(server.check(&bob.token).await, 200, "no refusal did anything");
    server.stop().await;
}

#[on_both_stores]
async fn a_body_in_broken_chunks_is_malformed_in_each_dialect(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = server.log_in(BOB).await;
    for (path, _) in READERS {
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n", bob.token);
        let request = head
            + "Connection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n";
        let reply = exchange(&server.address(), request.as_bytes()).await;
        openapi::check("POST", path, &reply);
        assert_eq!(reply.status, 400, "{path}");
    }
    assert_eq!(server.check(&bob.token).await, 200, "no refusal did anything");
    server.stop().await;
}

#[on_both_stores]
async fn head_answers_like_get_without_a_body(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = server.log_in(BOB).await;
    let mut seen = 0;
    for route in routes().iter().filter(|route| route.method.as_ref().is_none_or(|method| method == Method::GET)) {
        for authenticated in [false, true] {
            let with = |method| {
                let ask = ask(method, &route.path);
                if authenticated { ask.bearer(&bob.token) } else { ask }
            };
            let head = server.send(with("HEAD")).await;
            assert_eq!(head.body, b"", "{}", route.path);
            if route.path == "/api/v1/logout" {
                assert_eq!((head.status, head.header("allow")), (405, Some("POST, GET")));
                continue;
            }
            let get = server.send(with("GET")).await;
            assert_eq!(head.status, get.status, "{}", route.path);
            assert_eq!(head.header("content-type"), get.header("content-type"), "{}", route.path);
            assert_eq!(head.header("remote-user"), get.header("remote-user"), "{}", route.path);
            seen += 1;
        }
    }
    assert!(seen >= 16, "{seen}");
    assert_eq!(server.check(&bob.token).await, 200);
    for route in ops_routes() {
        let reply = exchange(&server.ops_address(), &ask("HEAD", &route.path).bytes("localhost")).await;
        assert_eq!((reply.status, reply.body.len()), (200, 0), "{}", route.path);
        openapi::check_ops("HEAD", &route.path, &reply);
    }
    server.stop().await;
}

#[on_both_stores]
async fn ambiguous_framing_is_refused_and_the_connection_closed(store: StoreKind) {
    let server = Server::start(store).await;
    let inner = "GET /verify HTTP/1.1\r\nHost: a\r\n\r\n";
    for headers in [
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: +5\r\n\r\nhello",
        "Content-Length: 5x\r\n\r\nhello",
        "Transfer-Encoding: gzip\r\n\r\n",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "X: a\r\n folded\r\n\r\n",
        "X : a\r\n\r\n",
        "X: a\0b\r\n\r\n",
        "no colon\r\n\r\n",
    ] {
        let mut wire = Wire::to(&server.address()).await;
        wire.send(&format!("POST /auth/logout HTTP/1.1\r\nHost: a\r\n{headers}{inner}")).await;
        let said = wire.end().await;
        assert_eq!(Reply::parse(&said).status, 400, "{headers:?}");
        let answers = said.windows(9).filter(|window| *window == b"HTTP/1.1 ").count();
        assert_eq!(answers, 1, "{headers:?} smuggled a request");
    }
    server.stop().await;
}

#[on_both_stores]
async fn chunks_win_over_a_length_and_nothing_after_them_is_answered(store: StoreKind) {
    let server = Server::start(store).await;
    for framing in
        [["Content-Length: 5", "Transfer-Encoding: chunked"], ["Transfer-Encoding: chunked", "Content-Length: 5"]]
    {
        let mut wire = Wire::to(&server.address()).await;
        let framing = framing.join("\r\n");
        let inner = "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n";
        wire.send(&format!("POST /user HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n0\r\n\r\n{inner}")).await;
        // RFC 9112 section 6.1: it may be answered, and the connection must close after that.
        assert_eq!(wire.reply().await.status, 405, "{framing}");
        assert!(wire.end().await.is_empty(), "{framing}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_path_that_only_resembles_a_route_is_unknown(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    for path in [
        "/auth%2flogin",
        "/auth%2Flogin",
        "/auth/../user",
        "/./user",
        "//user",
        "/user/",
        "/%75ser",
        "/user;x",
        "/USER",
        "*",
        "/api/v1/../user",
        "/api/v1/auth/..%2fsession",
        "/api/v1/auth/session/",
        "/api/v1/auth//session",
        "/verify/",
        "/verify/../user",
    ] {
        assert_eq!(server.send(ask("GET", path).bearer(&alice.token)).await.status, 404, "{path}");
    }
    for id in ["%2e%2e", "..", "a%2Fb", "%ff", "%00", "%", "x"] {
        let reply = server.send(delete(&format!("/api/v1/auth/sessions/{id}")).bearer(&alice.token)).await;
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (404, r#"{"code":404,"detail":"Not found","type":"not_found_error"}"#),
            "{id}"
        );
    }
    server.stop().await;
}

/// The answer of a handler that panics, in dialect `D`, through the whole stack.
async fn panic_in<D: Dialect>(app: &App, path: &str) -> Reply {
    let routes = Routes::<D>::default().get("/panics", async || -> &'static str { panic!("a secret of ours") });
    let request = Request::get("/panics").header("Host", "localhost").body(Body::empty()).expect("a request");
    let peer = IpAddr::from([127, 0, 0, 1]);
    let response = service_in_dialect(app, routes).oneshot(FromPeer { peer, request }).await.expect("an answer");
    let (parts, sent) = response.into_parts();
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), value.to_str().expect("text").to_owned())
    };
    let headers = parts.headers.iter().map(header).collect();
    let sent = axum::body::to_bytes(sent, 10_000).await.expect("a body");
    let reply = Reply { status: parts.status.as_u16(), headers, body: sent.to_vec() };
    openapi::check("GET", path, &reply);
    reply
}

#[on_both_stores]
async fn a_panic_is_a_stamped_500_in_the_owners_words(store: StoreKind) {
    let database = Database::new(store);
    let settings: Settings = toml::from_str(&format!("database_url = '{}'", database.url())).expect("settings");
    let config = Config::new(&settings).expect("a configuration");
    let Core { service, .. } = app::build(&config, true, Environment::default()).await.expect("built");
    let app = App::new(service, &config.http, Timeouts::default(), Arc::new(Metrics::default()));
    for (reply, body) in [
        (panic_in::<Medama>(&app, "/user").await, r#"{"error":{"code":500,"message":"internal server error"}}"#),
        (panic_in::<RocketChat>(&app, "/api/v1/me").await, r#"{"success":false,"error":"Internal server error"}"#),
        (
            panic_in::<Canonical>(&app, "/api/v1/auth/session").await,
            r#"{"code":500,"detail":"Internal server error","type":"internal_server_error"}"#,
        ),
        (panic_in::<StatusOnly>(&app, "/verify").await, ""),
    ] {
        assert_eq!((reply.status, reply.text().as_str(), reply.header("x-api-commit")), (500, body, Some(COMMIT)));
    }
}
