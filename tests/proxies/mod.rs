//! The examples of `examples/`, as they are, in front of the real server and a back end that answers with what it was sent.

use std::time::Duration;

use sessiond_needs::needs;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use self::deployment::{Deployment, FRONT_END, identity_of, port_of};
use self::example::{CADDY, ENVOY, Example, HAPROXY, NGINX, TRAEFIK, choose, port};
use crate::harness::back_end::{BackEnd, Told};
use crate::harness::process::login;
use crate::harness::{ALICE, BOB, PASSWORD, Reply, TestRequest, ask, exchange, get, post};

/// Makes a test of each case for each example.
macro_rules! through_every_proxy {
    ($($case:ident)+) => {
        $(mod $case {
            use super::*;

            #[needs(nginx)]
            #[tokio::test]
            async fn nginx() { super::$case(&NGINX).await; }

            #[needs(haproxy)]
            #[tokio::test]
            async fn haproxy() { super::$case(&HAPROXY).await; }

            #[needs(caddy)]
            #[tokio::test]
            async fn caddy() { super::$case(&CADDY).await; }

            #[needs(traefik)]
            #[tokio::test]
            async fn traefik() { super::$case(&TRAEFIK).await; }

            #[needs(envoy)]
            #[tokio::test]
            async fn envoy() { super::$case(&ENVOY).await; }
        })+
    };
}

mod choices;
mod deployment;
mod doctor;
mod example;

const PAGE: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const TARGET: &str = "/app/x?a=1&b=%26&c=+&d=%C3%A9&e=a%2Fb&return_to=z";
const UPLOAD: usize = 20 * 1024 * 1024;
/// More than the heads of three questions, and far less than an upload.
const HEADS: usize = 16 * 1024;

async fn what_is_allowed_arrives_unchanged_with_who_is_calling(example: &Example) {
    let deployment = Deployment::new(example).await;
    let bob = deployment.server.log_in(BOB).await;
    for method in ["GET", "POST", "DELETE"] {
        let told = deployment.pass(ask(method, TARGET).cookie(&bob.token).header("X-Kept", "yes")).await;
        assert_eq!((&told.0["method"], &told.0["target"]), (&method.into(), &TARGET.into()));
        assert_eq!(told.all("remote-"), identity_of(&bob), "{method}");
        assert_eq!(told.all("x-kept"), [("x-kept".into(), "yes".into())]);
        assert_eq!(told.all("cookie"), [("cookie".into(), format!("_me_sess={}", bob.token))]);
    }
    deployment.pass(get("/app/").bearer(&bob.token)).await;
    deployment.pass(get("/app/").pair(&bob.user, &bob.token)).await;
    deployment.stop().await;
}

async fn a_navigation_that_is_refused_is_sent_to_the_login_page(example: &Example) {
    let deployment = Deployment::new(example).await;
    let login = |url: &str| {
        let back: String =
            form_urlencoded::byte_serialize(format!("http://{}{url}", deployment.host).as_bytes()).collect();
        format!("http://{}/login?return_to={back}", deployment.host)
    };
    let evil = |name: &str| get(TARGET).header("Accept", PAGE).header(name, "evil.example");
    for name in ["X-Forwarded-Host", "X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Proto", "X-Original-URL"] {
        for spelling in [name.into(), name.replace('-', "_"), name.replace('-', ".")] {
            for request in [evil(&spelling), evil(&spelling).header(&spelling, "https://evil.example/")] {
                let reply = deployment.refuse(request).await;
                assert_eq!((reply.status, reply.header("location")), (302, Some(&*login(TARGET))), "{spelling}");
            }
        }
    }
    let referer = format!("http://{}/app/form?step=2", deployment.host);
    for (request, status, back) in [
        (get(TARGET).header("Accept", PAGE), 302, TARGET),
        (get(TARGET).header("Sec-Fetch-Mode", "navigate").header("Sec-Fetch-Dest", "document"), 302, TARGET),
        (
            post("/app/send").header("Sec-Fetch-Mode", "navigate").header("Referer", &referer).form("a=1"),
            303,
            "/app/form?step=2",
        ),
        (post("/app/send").header("Sec-Fetch-Mode", "navigate").form("a=1"), 303, "/"),
    ] {
        let reply = deployment.refuse(request.clone()).await;
        assert_eq!((reply.status, reply.header("location")), (status, Some(&*login(back))), "{request:?} {reply:?}");
    }
    deployment.stop().await;
}

async fn anything_else_that_is_refused_is_told_so(example: &Example) {
    let deployment = Deployment::new(example).await;
    for lines in [
        &[("Accept", "application/json, text/plain, */*")][..],
        &[("Accept", "text/event-stream")],
        &[("Accept", "text/html;q=0, */*")],
        &[("Accept", PAGE), ("X-Requested-With", "XMLHttpRequest")],
        &[("Accept", PAGE), ("Sec-Fetch-Mode", "cors")],
        &[("Accept", PAGE), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "serviceworker")],
        &[],
    ] {
        for method in ["GET", "POST", "OPTIONS"] {
            let request = ask(method, TARGET).header("Origin", FRONT_END);
            let reply = deployment.refuse(lines.iter().fold(request, |r, (name, value)| r.header(name, value))).await;
            assert_eq!((reply.status, reply.header("location")), (401, None), "{method} {lines:?}");
            assert_eq!(reply.json()["type"], "authentication_error", "{method} {lines:?}");
            for (name, value) in [
                ("content-type", "application/json"),
                ("www-authenticate", "Session realm=\"sessiond\""),
                ("access-control-allow-origin", FRONT_END),
                ("access-control-allow-credentials", "true"),
            ] {
                assert_eq!(reply.header(name), Some(value), "{method} {lines:?} {reply:?}");
            }
            assert!(reply.header("x-api-commit").is_some(), "{reply:?}");
        }
    }
    deployment.stop().await;
}

async fn the_pages_of_the_service_are_there_for_everybody(example: &Example) {
    let deployment = Deployment::new(example).await;
    let alice = deployment.server.log_in(ALICE).await;
    for (path, title) in [
        ("/sessions", "Your sessions"),
        ("/password", "Change password"),
        ("/second-factor", "Second factor"),
        ("/admin/users?q=alice", "Users"),
        ("/admin/sessions", "Sessions"),
    ] {
        let reply = deployment.send(get(path).header("Accept", PAGE).cookie(&alice.token)).await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        assert!(reply.text().contains(&format!("<h1>{title}</h1>")), "{path}: {}", reply.text());
    }
    let login = deployment.send(get("/login").header("Accept", PAGE)).await;
    assert!(login.status == 200 && login.text().contains("<h1>Sign in</h1>"), "{login:?}");
    for path in ["/sessions", "/password", "/second-factor", "/admin/users"] {
        let reply = deployment.send(get(path).header("Accept", PAGE)).await;
        let login = format!("/login?return_to={}", path.replace('/', "%2F"));
        assert_eq!((reply.status, reply.header("location")), (303, Some(&*login)), "{path}: {reply:?}");
    }
    // No login of this browser waits for a code.
    for request in [get("/login/code"), post("/login/code").form("code=123456")] {
        let reply = deployment.send(request.header("Accept", PAGE)).await;
        assert_eq!((reply.status, reply.header("location")), (303, Some("/login")), "{reply:?}");
    }
    assert_eq!(deployment.back_end.requests(), 0);
    deployment.stop().await;
}

async fn only_a_live_session_is_allowed(example: &Example) {
    let deployment = Deployment::new(example).await;
    let bob = deployment.server.log_in(BOB).await;
    let check = || get("/app/").cookie(&bob.token);
    for token in ["", "x", &"x".repeat(43)] {
        assert_eq!(deployment.refuse(get("/app/").cookie(token)).await.status, 401, "{token}");
    }
    deployment.pass(check()).await;
    deployment.server.advance(Duration::from_secs(31 * 24 * 60 * 60));
    assert_eq!(deployment.refuse(check()).await.status, 401, "expired");
    deployment.stop().await;
}

async fn after_a_logout_the_very_next_request_is_refused(example: &Example) {
    let deployment = Deployment::new(example).await;
    for _ in 0..5 {
        let bob = deployment.server.log_in(BOB).await;
        deployment.pass(get("/app/").cookie(&bob.token)).await;
        let who = deployment.send(get("/api/v1/auth/session").cookie(&bob.token)).await;
        assert_eq!((who.status, &who.json()["session"]["id"]), (200, &bob.session.clone().into()));
        let reply = deployment.send(post("/api/v1/auth/logout").cookie(&bob.token)).await;
        assert!(reply.status == 200 && reply.clears_exactly(), "{reply:?}");
        assert_eq!(deployment.refuse(get("/app/").cookie(&bob.token)).await.status, 401);
    }
    deployment.stop().await;
}

async fn no_client_says_itself_who_is_calling(example: &Example) {
    let deployment = Deployment::new(example).await;
    let bob = deployment.server.log_in(BOB).await;
    for name in ["Remote-User", "Remote-User-Id", "Remote-Name", "Remote-Email", "Remote-Groups", "Remote-Session-Id"] {
        // Some back ends take every sign that is no letter and no digit for the same.
        let spellings = ["-", "_", ".", "~", "+", "!", "|"].map(|sign| name.replace('-', sign));
        let spellings = spellings.into_iter().chain([name.to_lowercase(), name.to_uppercase()]);
        for spelling in spellings.chain([name.replacen('-', "_", 1), name.to_lowercase().replacen('-', ".", 1)]) {
            let once = get("/app/").cookie(&bob.token).header(&spelling, "evil");
            for request in [once.clone(), once.clone().header(&spelling, "worse"), once.header(&spelling, "")] {
                let told = deployment.pass(request).await;
                assert_eq!(told.all("remote-"), identity_of(&bob), "{spelling}");
            }
        }
    }
    for name in ["Remote-User", "remote-groups, Remote-Email", "Cookie"] {
        // What is named there is for the proxy alone, and must not take away what it adds.
        let reply = deployment.send(get("/app/").cookie(&bob.token).header("Connection", name)).await;
        if reply.status == 200 {
            let told = Told::from_reply(&reply);
            assert_eq!(told.all("remote-"), identity_of(&bob), "Connection: {name}");
            // The back end may be a proxy, too.
            let connection = told.all("connection");
            assert!(connection.iter().all(|(_, value)| value != name), "{connection:?}");
        } else {
            assert!(matches!(reply.status, 400 | 401), "Connection: {name}: {reply:?}");
        }
    }
    let spoofed = get("/app/").header("Remote-User", BOB).header("Remote_User", BOB);
    assert_eq!(deployment.refuse(spoofed).await.status, 401, "without a session");
    deployment.stop().await;
}

async fn cookies_of_other_applications_do_not_matter(example: &Example) {
    let deployment = Deployment::new(example).await;
    let bob = deployment.server.log_in(BOB).await;
    let other = "o".repeat(15_000);
    let cookies = format!("one={other}; _me_sess={}; two={other}", bob.token);
    let told = deployment.pass(get("/app/").header("Cookie", &cookies)).await;
    assert_eq!(told.all("cookie"), [("cookie".into(), cookies.clone())]);
    let reply = deployment.refuse(get("/app/").header("Cookie", &cookies.replace(&bob.token, "x"))).await;
    assert_eq!(reply.status, 401);
    deployment.stop().await;
}

async fn more_cookies_than_sessiond_takes_are_refused(example: &Example) {
    let deployment = Deployment::new(example).await;
    let bob = deployment.server.log_in(BOB).await;
    let cookies = format!("_me_sess={}; other={}", bob.token, "o".repeat(33_000));
    let reply = deployment.send(get("/app/").header("Cookie", &cookies)).await;
    assert_eq!((reply.status, deployment.back_end.requests()), (example.too_many_cookies, 0), "{reply:?}");
    deployment.stop().await;
}

async fn the_session_cookie_can_be_kept_from_the_back_end(example: &Example) {
    if !example.removes_cookie {
        let readme = std::fs::read_to_string(example.proxy.folder().join("README.md")).expect("a file");
        assert!(readme.contains("cannot remove one cookie"), "{readme}");
        return;
    }
    let deployment = Deployment::changed(example, |text| choose(&text, "keep the session cookie")).await;
    let bob = deployment.server.log_in(BOB).await;
    let ours = format!("_me_sess={}", bob.token);
    for (sent, kept) in [
        (format!("{ours}; a=1; b=%26=\"2\""), "a=1; b=%26=\"2\""),
        (format!("a=1; {ours}; b=2"), "a=1; b=2"),
        (format!("a=1; x_me_sess=2; {ours}"), "a=1; x_me_sess=2"),
        (format!("a=1;{ours};b=2"), "a=1;b=2"),
        (format!("a=1;\t{ours}; b=2"), "a=1; b=2"),
        // One that is left from a narrower path stands before the one that counts.
        (format!("_me_sess=old; a=1; {ours}; b=2"), "a=1; b=2"),
        (format!("a=1; {ours}; b=2; _me_sess=old"), "a=1; b=2"),
        (format!("_me_sess=old; {ours}; a=1"), "a=1"),
        // What a browser that has logged in before is known by.
        (format!("{ours}; _me_sess_known=1.2; a=1"), "a=1"),
        (format!("_me_sess_known=1.2; a=1; {ours}; _me_sess=old; _me_sess_known2=3"), "a=1; _me_sess_known2=3"),
    ] {
        let told = deployment.pass(get("/app/").header("Cookie", &sent)).await;
        assert_eq!(told.all("cookie"), [("cookie".into(), kept.into())], "{sent}");
    }
    let told = deployment.pass(get("/app/").cookie(&bob.token)).await;
    assert!(told.all("cookie").iter().all(|(_, value)| value.is_empty()), "{:?}", told.0);
    let many = format!("_me_sess=1; _me_sess=2; {ours}; _me_sess=4; _me_sess=5");
    let told = deployment.pass(get("/app/").header("Cookie", &many)).await;
    assert!(!told.0.to_string().contains(&bob.token), "{:?}", told.0);
    deployment.stop().await;
}

async fn without_sessiond_nothing_is_allowed(example: &Example) {
    let back_end = BackEnd::start().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let silent = silent.local_addr().map(|address| (address.port().to_string(), silent)).expect("bound");
    for (sessiond, status) in [(port(), Some(example.dead)), (silent.0, example.slow)] {
        let proxy = example.start([&port(), port_of(&back_end.address), &sessiond], |text| text).await;
        let request = get("/app/").header("Accept", PAGE).cookie(&"x".repeat(43)).bytes("localhost");
        let answer = exchange(&proxy.address, &request);
        match status {
            Some(status) => assert_eq!(answer.await.status, status),
            None => {
                let answer = tokio::time::timeout(Duration::from_secs(3), answer).await;
                assert!(answer.is_err(), "{answer:?}");
            }
        }
        assert_eq!(back_end.requests(), 0);
    }
}

async fn a_web_socket_is_opened_for_whoever_is_logged_in(example: &Example) {
    let deployment = Deployment::new(example).await;
    let bob = deployment.server.log_in(BOB).await;
    let mut open = shake_hands(&deployment, &bob.token).await;
    assert_eq!(open.0.status, 101, "{:?}", open.0);
    let told = Told::from_reply(&open.0);
    assert_eq!(told.all("remote-"), identity_of(&bob));
    assert_eq!(told.all("upgrade"), [("upgrade".into(), "websocket".into())]);
    assert_eq!(told.all("sec-websocket-key"), [("sec-websocket-key".into(), "dGhlIHNhbXBsZSBub25jZQ==".into())]);
    let mut echo = [0; 5];
    open.1.write_all(b"hello").await.expect("sent");
    open.1.read_exact(&mut echo).await.expect("an echo");
    assert_eq!(&echo, b"hello");

    deployment.server.send(post("/api/v1/auth/logout").bearer(&bob.token)).await;
    let before = deployment.back_end.requests();
    assert_eq!(shake_hands(&deployment, &bob.token).await.0.status, 401);
    assert_eq!(deployment.back_end.requests(), before);
    deployment.stop().await;
}

/// Asks for a WebSocket, and reads the head of the answer.
async fn shake_hands(deployment: &Deployment, token: &str) -> (Reply, TcpStream) {
    let head = format!(
        "GET /app/socket HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-Fetch-Mode: websocket\r\nCookie: _me_sess={token}\r\n\r\n",
        deployment.host
    );
    deployment.open_stream(head.as_bytes()).await
}

async fn no_other_protocol_is_spoken_past_the_proxy(example: &Example) {
    let deployment = Deployment::new(example).await;
    let bob = deployment.server.log_in(BOB).await;
    speak_http2(&deployment, &get("/app/").cookie(&bob.token)).await;
    deployment.stop().await;
}

/// Asks the back end to go on in HTTP/2 (RFC 7540 section 3.2). A proxy that lets it do so would see none of the requests that
/// follow, and a client could say in them who it is.
async fn speak_http2(deployment: &Deployment, request: &TestRequest) {
    let request = request.clone().header("Connection", "Upgrade, HTTP2-Settings");
    let request = request.header("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA");
    let websocket = |request: TestRequest| {
        request.header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    for lines in [&["h2c"][..], &["H2C"], &["h2c, websocket"], &["websocket, h2c"], &["h2c", "websocket"]] {
        let request = lines.iter().fold(request.clone(), |request, line| request.header("Upgrade", line));
        for request in [request.clone(), websocket(request)] {
            let (reply, _) = deployment.open_stream(&request.bytes(&deployment.host)).await;
            // The back end says what it was sent in a header where it was asked to go on in any other protocol.
            let upgrade = reply.header("told").map(|_| Told::from_reply(&reply).all("upgrade")).unwrap_or_default();
            assert!(upgrade.iter().all(|(_, value)| value == "websocket"), "{lines:?}: {reply:?}");
        }
    }
}

async fn events_arrive_while_their_stream_goes_on(example: &Example) {
    let deployment = Deployment::new(example).await;
    let bob = deployment.server.log_in(BOB).await;
    let request = get("/app/events").header("Accept", "text/event-stream").cookie(&bob.token);
    let (reply, mut stream) = deployment.open_stream(&request.bytes(&deployment.host)).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/event-stream")), "{reply:?}");
    assert_eq!(Told::from_reply(&reply).all("remote-"), identity_of(&bob));
    let events = async {
        let mut read = Vec::new();
        while !read.windows(11).any(|window| window == b"data: two\n\n") {
            read.push(stream.read_u8().await.expect("an event"));
        }
    };
    tokio::time::timeout(Duration::from_secs(10), events).await.expect("both in time");
    deployment.stop().await;
}

async fn a_login_comes_from_where_the_proxy_says(example: &Example) {
    let deployment = Deployment::new(example).await;
    for lines in [&["6.6.6.6"][..], &["6.6.6.6, 127.0.0.1"], &["6.6.6.6", "127.0.0.1"]] {
        let login = lines.iter().fold(login(BOB, PASSWORD), |login, line| login.header("X-Forwarded-For", line));
        let reply = deployment.send(login).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_ne!(reply.json()["session"]["ip"], "6.6.6.6", "{lines:?}");
    }
    deployment.stop().await;
}

async fn uploads_pass_whole_and_only_where_they_may(example: &Example) {
    let deployment = Deployment::new(example).await;
    let bob = deployment.server.log_in(BOB).await;
    let body = vec![b'u'; UPLOAD];
    let asked_before = deployment.asked();
    let upload = post("/app/upload").cookie(&bob.token);
    let told = deployment.pass(upload.clone().body("application/octet-stream", &body)).await;
    assert_eq!((&told.0["length"], told.all("remote-")), (&UPLOAD.into(), identity_of(&bob)));

    let head = upload.header("Transfer-Encoding", "chunked").bytes(&deployment.host);
    let chunk = [b"10000\r\n", &body[..0x10000], b"\r\n"].concat();
    let chunked = [head, chunk.repeat(UPLOAD / 0x10000), b"0\r\n\r\n".to_vec()].concat();
    let told = Told::from_reply(&exchange(&deployment.proxy.address, &chunked).await);
    assert_eq!((&told.0["length"], told.all("remote-")), (&UPLOAD.into(), identity_of(&bob)));

    let before = deployment.back_end.requests();
    let refused = post("/app/upload").body("application/octet-stream", &body);
    assert_eq!(deployment.send(refused).await.status, 401);
    assert_eq!(deployment.back_end.requests(), before);
    let asked = deployment.asked() - asked_before;
    assert!((1..HEADS).contains(&asked), "sessiond was sent {asked} bytes");
    deployment.stop().await;
}

through_every_proxy! {
    what_is_allowed_arrives_unchanged_with_who_is_calling
    a_navigation_that_is_refused_is_sent_to_the_login_page
    anything_else_that_is_refused_is_told_so
    the_pages_of_the_service_are_there_for_everybody
    only_a_live_session_is_allowed
    after_a_logout_the_very_next_request_is_refused
    no_client_says_itself_who_is_calling
    cookies_of_other_applications_do_not_matter
    more_cookies_than_sessiond_takes_are_refused
    the_session_cookie_can_be_kept_from_the_back_end
    without_sessiond_nothing_is_allowed
    a_web_socket_is_opened_for_whoever_is_logged_in
    no_other_protocol_is_spoken_past_the_proxy
    events_arrive_while_their_stream_goes_on
    a_login_comes_from_where_the_proxy_says
    uploads_pass_whole_and_only_where_they_may
}
