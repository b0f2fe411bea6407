//! A database that is down under load makes for a few lines in the log, a few attempts to connect, and counts that add
//! up. One that only refuses further connections is still used over the open ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sessiond_needs::needs;
use sessiond_support::database::Connection;
use sessiond_support::postgres::{Options, Postgres};
use sessiond_support::wait::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::fleet::{home_at, ops, serve_through, until_trusted};
use crate::harness::process::{Home, Process, field};
use crate::harness::proxy::Proxy;
use crate::harness::{ALICE, get, post};
use crate::harness::{StoreKind, seed};

/// How long a client waits between an answer and its next check. Together they are too many to wait for a database that does
/// not answer, and leave the machine to other tests.
const PAUSE: Duration = Duration::from_millis(5);

/// Clients that check sessions all the time.
struct Checks {
    shared: Arc<Counted>,
    tasks: JoinSet<()>,
}

#[derive(Default)]
struct Counted {
    accepted: AtomicU64,
    failed: AtomicU64,
    enough: AtomicBool,
}

impl Checks {
    fn on(server: &Process, tokens: impl IntoIterator<Item = String>) -> Self {
        let shared = Arc::new(Counted::default());
        let mut tasks = JoinSet::new();
        for token in tokens {
            tasks.spawn(check(server.listen.clone(), token, Arc::clone(&shared)));
        }
        Self { shared, tasks }
    }

    fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    fn failed(&self) -> u64 {
        self.shared.failed.load(Ordering::Relaxed)
    }

    async fn end(mut self) -> u64 {
        self.shared.enough.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no panic");
        }
        self.failed()
    }
}

async fn check(address: String, token: String, counted: Arc<Counted>) {
    let mut stream = TcpStream::connect(&address).await.expect("connected");
    let request = format!("GET /verify HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
    let mut answer = Vec::new();
    while !counted.enough.load(Ordering::Relaxed) {
        stream.write_all(request.as_bytes()).await.expect("sent");
        answer.clear();
        // No answer to it has a body.
        while !answer.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut answer).await.expect("answered"), 0);
        }
        match &answer[9..12] {
            b"200" => counted.accepted.fetch_add(1, Ordering::Relaxed),
            b"503" => counted.failed.fetch_add(1, Ordering::Relaxed),
            _ => panic!("{}", String::from_utf8_lossy(&answer)),
        };
        tokio::time::sleep(PAUSE).await;
    }
}

/// The line that says that the store is back.
fn over(log: &str) -> Option<String> {
    log.lines().find(|line| line.contains("the store answers again")).map(str::to_owned)
}

/// How many requests have failed by the metrics.
async fn failures(server: &Process) -> u64 {
    let metrics = ops(server, "/metrics").await.text();
    let counts = metrics.lines().filter(|line| line.starts_with("sessiond_store_failures_total{"));
    counts.map(|line| line.rsplit_once(' ').expect("a count").1.parse::<u64>().expect("a number")).sum()
}

/// The most in any second.
fn most_in_a_second(moments: &[Instant]) -> usize {
    let from =
        |begin: &Instant| moments.iter().filter(|at| **at >= *begin && **at - *begin < Duration::from_secs(1)).count();
    moments.iter().map(from).max().unwrap_or_default()
}

#[needs(initdb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_under_load_is_a_few_lines_and_attempts_its_counts_add_up_and_it_is_soon_over() {
    // Both at once, since each mostly waits.
    tokio::join!(outlives("on", Duration::from_secs(11)), outlives("off", Duration::from_secs(4)));
}

async fn outlives(cache: &str, outage: Duration) {
    let cluster = Postgres::start(Options::with("fsync = on")).await.unwrap();
    let home = home_at(&cluster.url("postgres"));
    let proxy = Proxy::to(&cluster.url("postgres")).await;
    let mut server = home.server();
    server.env("SESSIOND_DATABASE_URL", proxy.url()).env("SESSIOND_CACHE", cache);
    let server = Process::start(server).await;
    let sessions = seed::sessions::<1>(&cluster.url("postgres"), 32).await;
    let checks = Checks::on(&server, sessions.into_iter().map(|[session]| session.token));
    until("all are in memory", async || checks.accepted() > 2_000).await;
    let before = (server.log().lines().count(), proxy.connection_times().len());
    assert_eq!(checks.failed(), 0);

    cluster.stop_immediately().await.unwrap();
    let lost = Instant::now();
    until("it is logged", async || server.log().contains("the store fails")).await;
    tokio::time::sleep(outage.saturating_sub(lost.elapsed())).await;
    assert_eq!((ops(&server, "/readyz").await.status, ops(&server, "/livez").await.status), (503, 200));
    let (failed, accepted) = (checks.failed(), checks.accepted());
    assert!(failed > 5_000, "refused at once: {failed} in {outage:?}");
    let (written, came) = (server.log().lines().count() - before.0, proxy.connection_times().split_off(before.1));
    assert!((1..=20).contains(&written), "{written} lines: {}", server.log());
    assert!(most_in_a_second(&came) <= 20, "{} in {outage:?}", came.len());
    assert!(came.len() >= 5, "it is tried on: {}", came.len());

    cluster.start_again().await.unwrap();
    let back = Instant::now();
    until("checks are answered", async || checks.accepted() > accepted).await;
    // It is found within a second; this machine may be busy.
    assert!(back.elapsed() < Duration::from_secs(5), "{:?}", back.elapsed());
    until("it is over", async || over(&server.log()).is_some()).await;
    let failed = checks.end().await;
    let line = over(&server.log()).expect("over");
    assert_eq!((field(&line, "failed"), failures(&server).await), (failed.to_string(), failed), "{}", server.log());
    assert!(!server.log().contains("\"failed\""), "no request has a line of its own");
    let written = server.log().lines().count() - before.0;
    assert!(written <= 20, "{written} lines: {}", server.log());
    if cache == "on" {
        assert!(server.log().contains("the store still fails"), "{}", server.log());
    }
    assert_eq!(ops(&server, "/readyz").await.status, 200);
}

#[needs(initdb)]
#[tokio::test]
async fn a_database_that_hangs_is_not_waited_for_by_everybody() {
    let cluster = Postgres::start(Options::default()).await.unwrap();
    let home = home_at(&cluster.url("postgres"));
    let server = serve_through(&home, &cluster.url("postgres")).await;
    until_trusted(&[&server]).await;
    let sessions = seed::sessions::<1>(&cluster.url("postgres"), 16).await;
    cluster.freeze().unwrap();
    let checks = Checks::on(&server, sessions.into_iter().map(|[session]| session.token));
    // If each waited for its deadline, they would be 16 a second.
    until("it is known and answered at once", async || checks.failed() > 3_000).await;
    cluster.thaw().unwrap();
    let back = Instant::now();
    until("checks are answered", async || checks.accepted() > 100).await;
    assert!(back.elapsed() < Duration::from_secs(5), "{:?}", back.elapsed());
    until("it is over", async || over(&server.log()).is_some()).await;
    let failed = checks.end().await;
    assert_eq!(failures(&server).await, failed);
}

#[needs(initdb)]
#[tokio::test]
async fn a_database_that_takes_no_more_connections_serves_on_those_there_are() {
    let cluster = Postgres::start(Options::with("max_connections = 20")).await.unwrap();
    let home = home_at(&cluster.url("postgres"));
    let mut server = home.server();
    server.env("SESSIOND_CACHE", "off");
    let server = Process::start(server).await;
    let alice = server.log_in(ALICE).await;
    assert_eq!(server.check(&alice.token).await, 200, "there is a connection to read with now");
    let mut all = Vec::new();
    while let Ok(another) = Connection::open(&cluster.url("postgres")).await {
        all.push(another);
    }
    for _ in 0..5 {
        let checks = (0..24).map(|_| server.check(&alice.token));
        let checks = futures_util::future::join_all(checks).await;
        assert!(checks.iter().all(|status| *status == 200), "{checks:?}");
    }
    assert_eq!(ops(&server, "/readyz").await.status, 200);
    let (logout, again) = (post("/api/v1/auth/logout").bearer(&alice.token), get("/verify").bearer(&alice.token));
    assert_eq!((server.send(logout).await.status, server.send(again).await.status), (200, 401));
}

#[needs(initdb)]
#[tokio::test]
async fn a_database_that_can_only_be_read_is_not_ready() {
    let cluster = Postgres::start(Options::default()).await.unwrap();
    let home = home_at(&cluster.url("postgres"));
    let server = home.serve().await;
    assert_eq!(ops(&server, "/readyz").await.status, 200);
    for (set, status) in [("SET default_transaction_read_only = on", 503), ("RESET default_transaction_read_only", 200)]
    {
        cluster.rows("postgres", &format!("ALTER SYSTEM {set}")).await.unwrap();
        cluster.rows("postgres", "SELECT pg_reload_conf()").await.unwrap();
        until(set, async || ops(&server, "/readyz").await.status == status).await;
        let said = ops(&server, "/readyz").await.text();
        assert_eq!(said.starts_with("store: ready\n"), status == 200, "{said}");
    }
}

#[needs(initdb)]
#[tokio::test]
async fn a_database_whose_rows_are_locked_is_not_ready_until_they_are_let_go() {
    let cluster = Postgres::start(Options::default()).await.unwrap();
    let home = home_at(&cluster.url("postgres"));
    let server = home.serve().await;
    let mut other = Connection::open(&cluster.url("postgres")).await.expect("connected");
    other.execute("BEGIN; LOCK TABLE coherence IN ACCESS EXCLUSIVE MODE").await.expect("locked");
    until("it is not ready", async || ops(&server, "/readyz").await.status == 503).await;
    assert_eq!(ops(&server, "/livez").await.status, 200);
    other.execute("ROLLBACK").await.expect("let go");
    until("it is ready", async || ops(&server, "/readyz").await.status == 200).await;
}

#[needs(postgres)]
#[tokio::test]
async fn a_database_without_room_refuses_what_it_is_asked_on_the_connections_there_are() {
    const FULL: &str = "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = 'disk_full'; END $$;
        CREATE TRIGGER no_room BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION no_room()";
    let home = Home::new(StoreKind::Postgres);
    let proxy = Proxy::to(&home.database.url()).await;
    let server = serve_through(&home, &proxy.url()).await;
    let alice = server.log_in(ALICE).await;
    let logout = || post("/api/v1/auth/logout").bearer(&alice.token);
    home.database.execute(FULL).await;
    let before = proxy.connection_times().len();
    for _ in 0..100 {
        assert_eq!(server.send(logout()).await.status, 502);
    }
    assert!(
        proxy.connection_times().len() < before + 10,
        "{} and {before} connections",
        proxy.connection_times().len()
    );
    assert_eq!(server.check(&alice.token).await, 200, "none of it was done");
    home.database.execute("DROP TRIGGER no_room ON events").await;
    assert_eq!((server.send(logout()).await.status, server.check(&alice.token).await), (200, 401));
    until("it is over", async || over(&server.log()).is_some()).await;
    assert_eq!(field(&over(&server.log()).expect("over"), "failed"), "100");
}
