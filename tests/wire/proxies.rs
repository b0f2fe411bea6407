//! Behind real reverse proxies: whose address counts, and what they make of `Host`.

use serde_json::json;
use sessiond_needs::needs;
use sessiond_needs::on_both_stores;
use sessiond_support::wait::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use crate::harness::process::login;
use crate::harness::reverse_proxy::ReverseProxy;
use crate::harness::{BOB, PASSWORD, Reply, Server, StoreKind, TestRequest, exchange, get, post};

/// The proxies connect from the first of these; the second stands for a gateway before them.
const TRUSTING: &str = "trusted_proxies = ['127.0.0.1/32', '127.0.0.3/32']";
const GATEWAY: &str = "127.0.0.3";
const CLIENT: &str = "127.0.0.2";

/// Sends a request to `address` from another address of this machine.
async fn exchange_from(source: &str, address: &str, ask: &TestRequest) -> Reply {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(format!("{source}:0").parse().expect("an address")).expect("bound");
    let mut stream = socket.connect(address.parse().expect("an address")).await.expect("a connection");
    stream.write_all(&ask.bytes(address)).await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    Reply::parse(&answer)
}

/// The address that a session shows whose user logged in through `proxy` from `source`.
async fn shown(proxy: &ReverseProxy, source: &str, forwarded: &[&str]) -> String {
    let ask = forwarded.iter().fold(login(BOB, PASSWORD), |ask, line| ask.header("X-Forwarded-For", line));
    let reply = exchange_from(source, &proxy.address, &ask).await;
    assert_eq!(reply.status, 200, "{} {}", reply.text(), proxy.log());
    reply.json()["session"]["ip"].as_str().expect("an address").to_owned()
}

/// HAProxy, which forwards the address of its client in a line of its own.
async fn haproxy_before(backend: &str) -> ReverseProxy {
    ReverseProxy::haproxy(|address| {
        format!("frontend front\n  bind {address}\n  option forwardfor\n  default_backend back\nbackend back\n  server s {backend}\n")
    })
    .await
}

/// nginx, which forwards the address of its client as `forwarded` says.
async fn nginx_before(backend: &str, forwarded: &str) -> ReverseProxy {
    ReverseProxy::nginx(|address| {
        format!(
            "server {{ listen {address}; location / {{
                 proxy_pass http://{backend}; proxy_set_header Host $host; proxy_set_header X-Forwarded-For {forwarded};
             }} }}"
        )
    })
    .await
}

/// What is forwarded to the proxy, and what a session then shows when it came from the trusted gateway.
const FORWARDED: [(&[&str], &str); 9] = [
    (&[], GATEWAY),
    (&["203.0.113.9"], "203.0.113.9"),
    (&["203.0.113.9:5555"], "203.0.113.9"),
    (&["2001:db8::9"], "2001:db8::9"),
    (&["[2001:db8::9]"], "2001:db8::9"),
    (&["[2001:db8::9]:5555"], "2001:db8::9"),
    (&["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
    (&["6.6.6.6", "203.0.113.9"], "203.0.113.9"),
    (&["203.0.113.9", "nonsense"], GATEWAY),
];

/// Behind `proxy` what an unknown client forwards does not count, and what the trusted gateway forwards does.
async fn assert_finds_the_client(proxy: &ReverseProxy) {
    for (lines, address) in FORWARDED {
        assert_eq!(shown(proxy, GATEWAY, lines).await, address, "{lines:?}");
        assert_eq!(shown(proxy, CLIENT, lines).await, CLIENT, "{lines:?}");
    }
}

#[needs(haproxy)]
#[on_both_stores]
async fn behind_haproxy_which_adds_a_line_of_its_own_the_client_is_who_called_it(store: StoreKind) {
    let server = Server::with(store, TRUSTING).await;
    let proxy = haproxy_before(&server.address()).await;
    assert_finds_the_client(&proxy).await;
    server.stop().await;
}

#[needs(nginx)]
#[on_both_stores]
async fn behind_nginx_which_adds_to_the_line_the_client_is_who_called_it(store: StoreKind) {
    let server = Server::with(store, TRUSTING).await;
    let proxy = nginx_before(&server.address(), "$proxy_add_x_forwarded_for").await;
    assert_finds_the_client(&proxy).await;
    server.stop().await;
}

#[needs(nginx)]
#[on_both_stores]
async fn behind_nginx_which_writes_ports_or_brackets_the_client_is_who_called_it(store: StoreKind) {
    let server = Server::with(store, TRUSTING).await;
    for (forwarded, address) in [
        ("$remote_addr", CLIENT),
        ("$remote_addr:$remote_port", CLIENT),
        ("'6.6.6.6, $remote_addr:$remote_port'", CLIENT),
        ("[::ffff:$remote_addr]:$remote_port", CLIENT),
        ("[2001:db8::9]:$remote_port", "2001:db8::9"),
    ] {
        let proxy = nginx_before(&server.address(), forwarded).await;
        assert_eq!(shown(&proxy, CLIENT, &["6.6.6.6"]).await, address, "{forwarded}");
    }
    server.stop().await;
}

#[needs(nginx, haproxy)]
#[on_both_stores]
async fn behind_one_proxy_behind_another_the_client_is_who_called_the_first(store: StoreKind) {
    let server = Server::with(store, TRUSTING).await;
    let nginx = nginx_before(&server.address(), "$proxy_add_x_forwarded_for").await;
    assert_finds_the_client(&haproxy_before(&nginx.address).await).await;
    let haproxy = haproxy_before(&server.address()).await;
    assert_finds_the_client(&nginx_before(&haproxy.address, "$proxy_add_x_forwarded_for").await).await;
    server.stop().await;
}

/// Behind `proxy` our own page logs in, and a page that DNS rebinding moved here does not.
async fn assert_lets_only_our_page_log_in(proxy: &ReverseProxy, how: &str) {
    let page = |host: &str, origin: &str| {
        let login = post("/auth/login").json(&json!({"username": BOB, "password": PASSWORD}));
        login.header("Host", host).header("Origin", origin).header("Sec-Fetch-Site", "same-origin")
    };
    for (host, origin, status) in
        [("login.example", "https://login.example", 200), ("evil.example", "http://evil.example", 403)]
    {
        let reply = exchange(&proxy.address, &page(host, origin).bytes("")).await;
        assert_eq!(reply.status, status, "{how} {host} {origin}: {} {}", reply.text(), proxy.log());
    }
}

#[needs(nginx)]
#[on_both_stores]
async fn behind_nginx_our_own_page_logs_in_whatever_host_it_passes_on(store: StoreKind) {
    let server = Server::with(store, "public_url = 'https://login.example'").await;
    // The last is nginx's own default.
    for host in ["$host", "$http_host", "$proxy_host"] {
        let backend = server.address();
        let proxy = ReverseProxy::nginx(|address| {
            format!(
                "upstream my_sessiond {{ server {backend}; }}
                 server {{ listen {address}; location / {{ proxy_pass http://my_sessiond; proxy_set_header Host {host}; }} }}"
            )
        })
        .await;
        assert_lets_only_our_page_log_in(&proxy, host).await;
    }
    server.stop().await;
}

#[needs(haproxy)]
#[on_both_stores]
async fn behind_haproxy_our_own_page_logs_in(store: StoreKind) {
    let server = Server::with(store, "public_url = 'https://login.example'").await;
    assert_lets_only_our_page_log_in(&haproxy_before(&server.address()).await, "as it came").await;
    server.stop().await;
}

#[needs(haproxy)]
#[on_both_stores]
async fn haproxy_finds_out_that_a_server_is_ready_however_it_asks(store: StoreKind) {
    let server = Server::with(store, "ops_hosts = ['sessiond.internal']").await;
    let (public, ops) = (server.address(), server.ops_address());
    let ops = ops.rsplit_once(':').expect("a port").1;
    for (how, ready) in [
        ("option httpchk GET /readyz", true),
        // `OPTIONS /` is no question about readiness, and no success.
        ("option httpchk", false),
        // HAProxy adds no Host by itself, as HTTP/1.1 wants it.
        ("option httpchk\n  http-check send meth GET uri /readyz ver HTTP/1.1", false),
        ("option httpchk\n  http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host localhost", true),
        ("option httpchk\n  http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host sessiond.internal", true),
        ("option httpchk\n  http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host login.example", false),
    ] {
        let proxy = ReverseProxy::haproxy(|address| {
            format!(
                "frontend front\n  bind {address}\n  stats enable\n  stats uri /stats\n  default_backend back\n\
                 backend back\n  {how}\n  server s {public} check port {ops} inter 50ms fall 1 rise 1\n"
            )
        })
        .await;
        let outcome = if ready { "L7OK" } else { "L7STS" };
        until("it has asked", async || {
            let stats = exchange(&proxy.address, &get("/stats;csv").bytes("stats")).await.text();
            assert!(!stats.contains(if ready { "L7STS" } else { "L7OK" }), "{how}: {stats}");
            stats.contains(outcome)
        })
        .await;
    }
    server.stop().await;
}
