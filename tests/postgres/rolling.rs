//! A new version comes: three servers behind a real proxy are restarted one after the other, and no client notices.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::cluster::free_port;
use crate::harness::{ALICE, Ask, PASSWORD, Reply, exchange, get, post};
use crate::process::{Home, Process, logged_in, login, until};

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
        Self { port: free_port(), ops: free_port() }
    }

    /// Starts a server there, and waits until it may be sent clients.
    async fn serve(self, home: &Home) -> Process {
        let mut command = home.server();
        command.env("SESSIOND_LISTEN", format!("127.0.0.1:{}", self.port));
        command.env("SESSIOND_OPS_LISTEN", format!("127.0.0.1:{}", self.ops));
        command.env("SESSIOND_SHUTDOWN_DELAY", "1s");
        let process = Process::start(command).await;
        until("it is ready", async || exchange(&process.ops, &get("/readyz").bytes("ops")).await.status == 200).await;
        process
    }
}

/// A proxy that runs; killed when dropped.
struct Proxy {
    address: String,
    log: PathBuf,
    _dir: TempDir,
    _child: Child,
}

impl Proxy {
    async fn start(program: &str, arguments: &[&str], configuration: impl FnOnce(&str, &str) -> String) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let address = format!("127.0.0.1:{}", free_port());
        let file = dir.path().join("configuration");
        let folder = dir.path().to_str().expect("UTF-8");
        std::fs::write(&file, configuration(&address, folder)).expect("written");
        let log = dir.path().join("log");
        let errors = std::fs::File::create(&log).expect("a file");
        let mut command = Command::new(program);
        command.args(arguments).arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let child = command.kill_on_drop(true).spawn().expect(program);
        let proxy = Self { address, log, _dir: dir, _child: child };
        until("the proxy listens", async || TcpStream::connect(&proxy.address).await.is_ok()).await;
        proxy
    }

    /// nginx as the documentation says.
    async fn nginx(places: [Place; 3]) -> Self {
        let servers = places.map(|place| format!("server 127.0.0.1:{} fail_timeout=1s;", place.port)).join(" ");
        Self::start("nginx", &["-e", "stderr", "-c"], |address, folder| {
            let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|of| format!("{of}_temp_path {folder}/{of};"))
                .join(" ");
            format!(
                "daemon off; master_process off; pid {folder}/pid; error_log stderr; events {{ worker_connections 512; }}
                 http {{ access_log off; {temporary}
                     upstream sessiond {{ {servers} keepalive 16; keepalive_timeout 25s; }}
                     server {{ listen {address}; location / {{
                         proxy_pass http://sessiond; proxy_http_version 1.1; proxy_set_header Connection '';
                         proxy_set_header Host $host;
                     }} }} }}"
            )
        })
        .await
    }

    /// HAProxy, which asks every server whether it is ready.
    async fn haproxy(places: [Place; 3]) -> Self {
        let server = |place: Place| format!("  server s{0} 127.0.0.1:{0} check port {1}\n", place.port, place.ops);
        let servers = places.map(server).concat();
        Self::start("haproxy", &["-db", "-f"], |address, _| {
            format!(
                "defaults\n  mode http\n  timeout connect 2s\n  timeout client 30s\n  timeout server 30s\n  option redispatch\n\
                 frontend front\n  bind {address}\n  default_backend sessiond\n\
                 backend sessiond\n  option httpchk GET /readyz\n  default-server inter 200ms fall 1 rise 1\n{servers}"
            )
        })
        .await
    }
}

/// A client: logs in, checks, logs out, is out, again and again. Panics at the first answer that is not as it should be.
async fn live(address: String, log: PathBuf, enough: Arc<AtomicBool>) -> usize {
    let mut lives = 0;
    while !enough.load(Ordering::Relaxed) {
        let ask = async |wanted: u16, ask: Ask| -> Reply {
            let reply = exchange(&address, &ask.bytes(&address)).await;
            let said = || format!("{} {}: {}", ask.method, ask.target, String::from_utf8_lossy(&reply.body));
            assert_eq!(reply.status, wanted, "{}\n{}", said(), std::fs::read_to_string(&log).unwrap_or_default());
            assert!(reply.header("X-Api-Commit").is_some(), "the proxy answered by itself: {}", said());
            reply
        };
        let me = logged_in(&ask(200, login(ALICE, PASSWORD)).await);
        for _ in 0..CHECKS {
            ask(200, get("/verify").bearer(&me.token)).await;
        }
        ask(200, post("/api/v1/auth/logout").bearer(&me.token)).await;
        ask(401, get("/verify").bearer(&me.token)).await;
        lives += 1;
    }
    lives
}

async fn restarted_one_after_the_other(behind: impl AsyncFnOnce([Place; 3]) -> Proxy) {
    let home = Home::new();
    let places = [Place::new(), Place::new(), Place::new()];
    let mut servers = Vec::new();
    for place in places {
        servers.push(place.serve(&home).await);
    }
    let proxy = behind(places).await;
    until("a server is found", async || {
        exchange(&proxy.address, &get("/verify").bytes("front")).await.status == 401
    })
    .await;

    let enough = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(live(proxy.address.clone(), proxy.log.clone(), Arc::clone(&enough)));
    }
    for place in places {
        assert!(servers.remove(0).stop().await.success());
        let new = place.serve(&home).await;
        // Until the proxy has found it again.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        servers.push(new);
    }
    enough.store(true, Ordering::Relaxed);
    let log = || std::fs::read_to_string(&proxy.log).unwrap_or_default();
    let lives: usize = clients.join_all().await.iter().sum();
    assert!(lives >= CLIENTS * 2, "only {lives} logins: {}", log());
    for server in servers {
        assert!(server.stop().await.success());
    }
}

#[sessiond_needs::needs(nginx)]
#[tokio::test]
async fn servers_behind_nginx_are_restarted_and_no_request_fails() {
    restarted_one_after_the_other(Proxy::nginx).await;
}

#[sessiond_needs::needs(haproxy)]
#[tokio::test]
async fn servers_behind_haproxy_are_restarted_and_no_request_fails() {
    restarted_one_after_the_other(Proxy::haproxy).await;
}
