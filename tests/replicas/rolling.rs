//! A rolling upgrade: three servers behind a real proxy are restarted one after the other, and no client notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sessiond_needs::needs;
use sessiond_support::port::free_port;
use sessiond_support::wait::until;
use tokio::task::JoinSet;

use crate::harness::fleet::ops;
use crate::harness::process::{Home, Process, logged_in, login};
use crate::harness::reverse_proxy::ReverseProxy;
use crate::harness::{PASSWORD, Reply, StoreKind, TestRequest, exchange, get, post};

/// Who asks at a time, and how often each checks a session between its login and its logout.
const CLIENTS: usize = 6;
const CHECKS: usize = 40;

/// Where a server listens, before and after it was restarted.
#[derive(Clone, Copy)]
struct Place {
    port: u16,
    ops: u16,
}

impl Place {
    fn new() -> Self {
        Self { port: free_port().expect("a port"), ops: free_port().expect("a port") }
    }

    /// Starts a server there, and waits until it may be sent clients.
    async fn serve(self, home: &Home) -> Process {
        let mut command = home.server();
        command.env("SESSIOND_LISTEN", format!("127.0.0.1:{}", self.port));
        command.env("SESSIOND_OPS_LISTEN", format!("127.0.0.1:{}", self.ops));
        command.env("SESSIOND_SHUTDOWN_DELAY", "1s");
        let process = Process::start(command).await;
        until("it is ready", async || ops(&process, "/readyz").await.status == 200).await;
        process
    }
}

/// nginx as the documentation says.
async fn nginx(places: [Place; 3]) -> ReverseProxy {
    let servers = places.map(|place| format!("server 127.0.0.1:{} fail_timeout=1s;", place.port)).join(" ");
    ReverseProxy::nginx(|address| {
        format!(
            "upstream sessiond {{ {servers} keepalive 16; keepalive_timeout 25s; }}
             server {{ listen {address}; location / {{
                 proxy_pass http://sessiond; proxy_http_version 1.1; proxy_set_header Connection '';
                 proxy_set_header Host $host;
             }} }}"
        )
    })
    .await
}

/// HAProxy, which asks every server whether it is ready.
async fn haproxy(places: [Place; 3]) -> ReverseProxy {
    let server = |place: Place| format!("  server s{0} 127.0.0.1:{0} check port {1}\n", place.port, place.ops);
    let servers = places.map(server).concat();
    ReverseProxy::haproxy(|address| {
        format!(
            "frontend front\n  bind {address}\n  default_backend sessiond\n\
             backend sessiond\n  option httpchk GET /readyz\n  default-server inter 200ms fall 1 rise 1\n{servers}"
        )
    })
    .await
}

/// A client: logs in, checks, logs out, is out, again and again. Panics at the first answer that is not as it should be.
async fn live(name: String, proxy: Arc<ReverseProxy>, enough: Arc<AtomicBool>) -> usize {
    let (address, mut lives) = (proxy.address.as_str(), 0);
    while !enough.load(Ordering::Relaxed) {
        let ask = async |wanted: u16, ask: TestRequest| -> Reply {
            let reply = exchange(address, &ask.bytes(address)).await;
            let said = || format!("{} {}: {}", ask.method, ask.target, String::from_utf8_lossy(&reply.body));
            assert_eq!(reply.status, wanted, "{}\n{}", said(), proxy.log());
            assert!(reply.header("X-Api-Commit").is_some(), "the proxy answered by itself: {}", said());
            reply
        };
        let me = logged_in(&ask(200, login(&name, PASSWORD)).await);
        for _ in 0..CHECKS {
            ask(200, get("/verify").bearer(&me.token)).await;
        }
        ask(200, post("/api/v1/auth/logout").bearer(&me.token)).await;
        ask(401, get("/verify").bearer(&me.token)).await;
        lives += 1;
    }
    lives
}

async fn restarted_one_after_the_other(behind: impl AsyncFnOnce([Place; 3]) -> ReverseProxy) {
    let home = Home::new(StoreKind::Postgres);
    let places = [Place::new(), Place::new(), Place::new()];
    let mut servers = Vec::new();
    for place in places {
        servers.push(place.serve(&home).await);
    }
    let proxy = Arc::new(behind(places).await);
    until("a server is found", async || exchange(&proxy.address, &get("/verify").bytes("front")).await.status == 401)
        .await;

    let enough = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        // More than five tries of one name at once would have to wait.
        let name = format!("client{client}");
        home.add_user(&name).await;
        clients.spawn(live(name, Arc::clone(&proxy), Arc::clone(&enough)));
    }
    for place in places {
        assert!(servers.remove(0).stop().await.success());
        let new = place.serve(&home).await;
        // Until the proxy has found it again.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        servers.push(new);
    }
    enough.store(true, Ordering::Relaxed);
    let lives: usize = clients.join_all().await.iter().sum();
    assert!(lives >= CLIENTS * 2, "only {lives} logins: {}", proxy.log());
    for server in servers {
        assert!(server.stop().await.success());
    }
}

#[needs(nginx)]
#[tokio::test]
async fn servers_behind_nginx_are_restarted_and_no_request_fails() {
    restarted_one_after_the_other(nginx).await;
}

#[needs(haproxy)]
#[tokio::test]
async fn servers_behind_haproxy_are_restarted_and_no_request_fails() {
    restarted_one_after_the_other(haproxy).await;
}
