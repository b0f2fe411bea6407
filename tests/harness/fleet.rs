//! Servers on a database of their own, or behind a proxy of their own, and what their operations listeners answer.

use std::time::{Duration, Instant};

use sessiond_support::wait::until;
use url::Url;

use crate::harness::database::Database;
use crate::harness::process::{Home, Process};
use crate::harness::{Reply, exchange, get, post};

/// Much longer than a logout may take, whatever happens to other servers.
pub const SOON: Duration = Duration::from_secs(5);

/// A place to run servers in, on a database that is there already.
pub fn home_at(url: &str) -> Home {
    Home { dir: tempfile::tempdir().expect("a directory"), database: Database::at(url) }
}

/// Starts a server that connects to the database by this URL.
pub async fn serve_through(home: &Home, url: &str) -> Process {
    let mut server = home.server();
    server.env("SESSIOND_DATABASE_URL", url).env("SESSIOND_TRUSTED_PROXIES", "none");
    Process::start(server).await
}

/// The same URL with an application name, by which the connections of a server are recognised.
pub fn named(url: &str, name: &str) -> String {
    let mut url = Url::parse(url).expect("a URL");
    url.query_pairs_mut().append_pair("application_name", name);
    url.into()
}

/// An answer of the operations listener.
pub async fn ops(server: &Process, target: &str) -> Reply {
    exchange(&server.ops, &get(target).bytes(&server.ops)).await
}

/// Whether it is ready, and answers checks from memory.
pub async fn is_trusted(server: &Process) -> bool {
    let ready = ops(server, "/readyz").await;
    ready.status == 200 && ready.text().contains("cache: trusted\n")
}

/// Waits until all of them are ready, and answer checks from memory.
pub async fn until_trusted(servers: &[&Process]) {
    for server in servers {
        until("memory is trusted", async || is_trusted(server).await).await;
    }
}

/// How many checks it has accepted out of `memory` or the `store`.
pub async fn accepted(server: &Process, source: &str) -> u64 {
    let name = format!("sessiond_checks_total{{result=\"accepted\",source=\"{source}\"}} ");
    let metrics = ops(server, "/metrics").await.text();
    metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
}

/// Checks a session until it is answered from memory.
pub async fn until_in_memory(servers: &[&Process], token: &str) {
    for server in servers {
        let before = accepted(server, "memory").await;
        until("it is in memory", async || {
            assert_eq!(server.check(token).await, 200);
            accepted(server, "memory").await > before
        })
        .await;
    }
}

/// Logs out; returns how long that took. Panics unless it is answered with success, and soon.
pub async fn log_out(server: &Process, token: &str) -> Duration {
    let begin = Instant::now();
    let logout = server.send(post("/api/v1/auth/logout").bearer(token)).await;
    assert_eq!(logout.status, 200, "{}", logout.text());
    let took = begin.elapsed();
    assert!(took < SOON, "{took:?}");
    took
}
