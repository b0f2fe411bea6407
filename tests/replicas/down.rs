//! A database that is down under load makes for a few lines in the log, a few attempts to connect, and counts that add
//! up. One that only refuses further connections is still used over the open ones.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sessiond_needs::needs;
use sessiond_support::database::Connection;
use sessiond_support::postgres::{Options, Postgres};
use sessiond_support::wait::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::harness::fleet::{home_at, is_trusted, named, ops, serve_through, until_trusted};
use crate::harness::load::Load;
use crate::harness::process::{Home, Process, field};
use crate::harness::proxy::Proxy;
use crate::harness::{ALICE, get, post};
use crate::harness::{Database, StoreKind, seed};

/// How long a client waits between an answer and its next check. Together they are too many to wait for a database that does
/// not answer, and leave the machine to other tests.
const PAUSE: Duration = Duration::from_millis(5);

/// How many there are.
const CLIENTS: usize = 32;

/// Held by each test here that keeps the machine busy: they count what is done in a time, and would disturb each other.
static BUSY: Mutex<()> = Mutex::const_new(());

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
    let _busy = BUSY.lock().await;
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
    let sessions = seed::sessions::<1>(&cluster.url("postgres"), CLIENTS).await;
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
    // If each waited for the database, which may take a second, there would be one of each client in a second.
    assert!(failed > 10 * CLIENTS as u64 * outage.as_secs(), "refused at once: {failed} in {outage:?}");
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
    let _busy = BUSY.lock().await;
    let cluster = Postgres::start(Options::default()).await.unwrap();
    let home = home_at(&cluster.url("postgres"));
    let server = serve_through(&home, &cluster.url("postgres")).await;
    until_trusted(&[&server]).await;
    let sessions = seed::sessions::<1>(&cluster.url("postgres"), 16).await;
    cluster.freeze().unwrap();
    let checks = Checks::on(&server, sessions.into_iter().map(|[session]| session.token));
    // If each waited for its deadline, they would be 16 a second.
    until("it is known and answered at once", async || checks.failed() > 3_000).await;
    // If each probe waited for its deadline, a hundred would take a minute and a half.
    let probed = Instant::now();
    for _ in 0..100 {
        assert_eq!(ops(&server, "/readyz").await.status, 503);
    }
    assert!(probed.elapsed() < Duration::from_secs(20), "{:?}", probed.elapsed());
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
        let checks = join_all(checks).await;
        assert!(checks.iter().all(|status| *status == 200), "{checks:?}");
    }
    assert_eq!(ops(&server, "/readyz").await.status, 200);
    let (logout, again) = (post("/api/v1/auth/logout").bearer(&alice.token), get("/verify").bearer(&alice.token));
    assert_eq!((server.send(logout).await.status, server.send(again).await.status), (200, 401));
}

/// The most connections that a server may have.
const MOST: usize = 15;

/// Ten servers on a database, by whose names their connections are recognised.
async fn ten(home: &Home, url: &str) -> Vec<Process> {
    let begun = (0..10).map(async |number| serve_through(home, &named(url, &format!("server-{number}"))).await);
    let servers = join_all(begun).await;
    until_trusted(&servers.iter().collect::<Vec<_>>()).await;
    servers
}

/// The connections of these servers, as one more connection has seen them so far.
struct Seen {
    watch: Connection,
    /// When each began, in milliseconds since some moment, by server and process.
    begun: HashMap<(String, String), i64>,
    /// The most that one server had at a time.
    most: usize,
}

impl Seen {
    async fn begin(url: &str) -> Self {
        let watch = Connection::open(url).await.expect("connected");
        Self { watch, begun: HashMap::new(), most: 0 }
    }

    /// Looks once more. Returns how many there are.
    async fn look(&mut self) -> usize {
        let ours = "SELECT application_name, pid, (extract(epoch FROM backend_start) * 1000)::bigint
                    FROM pg_stat_activity WHERE application_name LIKE 'server-%'";
        let mut each = HashMap::<_, usize>::new();
        let rows = self.watch.rows(ours).await.expect("an answer");
        for row in &rows {
            let [Some(server), Some(process), Some(begun)] = &row[..] else { panic!("{row:?}") };
            *each.entry(server.clone()).or_default() += 1;
            self.begun.insert((server.clone(), process.clone()), begun.parse().expect("a number"));
        }
        self.most = self.most.max(each.into_values().max().unwrap_or_default());
        rows.len()
    }

    /// Waits until all servers are trusted, soon after the database came back, and sessions end again. None has opened more
    /// connections than it may have.
    async fn until_all_serve(&mut self, servers: &[&Process], load: &Load, back: Instant) {
        until("all are trusted", async || {
            self.look().await;
            join_all(servers.iter().map(|server| is_trusted(server))).await.iter().all(|trusted| *trusted)
        })
        .await;
        // On a quiet machine it is 3 s at most.
        assert!(back.elapsed() < Duration::from_secs(20), "{:?}", back.elapsed());
        let after = load.tally();
        until("sessions end again", async || {
            self.look().await;
            load.tally().ended > after.ended + 5
        })
        .await;
        assert!(self.most <= MOST, "{} connections of one server", self.most);
    }

    /// When the first connection of each server began, and when the last one of all did, from the very first one on.
    fn beginnings(&self) -> (Vec<i64>, i64) {
        let begin = self.begun.values().min().expect("some");
        let mut firsts = HashMap::<_, i64>::new();
        for ((server, _), begun) in &self.begun {
            let first = firsts.entry(server).or_insert(i64::MAX);
            *first = (*first).min(begun - begin);
        }
        (firsts.into_values().collect(), self.begun.values().max().expect("some") - begin)
    }
}

#[needs(initdb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_servers_come_back_from_an_outage_one_after_another_and_forget_no_logout() {
    const OUTAGE: Duration = Duration::from_secs(10);
    let _busy = BUSY.lock().await;
    let cluster = Postgres::start(Options::default()).await.unwrap();
    let url = cluster.url("postgres");
    let home = home_at(&url);
    let servers = ten(&home, &url).await;
    let all: Vec<_> = servers.iter().collect();
    let load = Load::of(2, &all, seed::sessions(&url, 500).await);
    for hangs in [false, true] {
        let before = load.tally();
        until("sessions end", async || load.tally().ended > before.ended + 5).await;
        if hangs {
            cluster.freeze().unwrap()
        } else {
            cluster.stop_immediately().await.unwrap()
        }
        tokio::time::sleep(OUTAGE).await;
        for server in &all {
            assert_eq!(ops(server, "/readyz").await.status, 503);
        }
        assert!(load.tally().failed > before.failed, "it was missed");
        if hangs {
            cluster.thaw().unwrap()
        } else {
            cluster.start_again().await.unwrap()
        }
        let back = Instant::now();
        let mut seen = Seen::begin(&url).await;
        seen.until_all_serve(&all, &load, back).await;
        // Where it hangs, each has one attempt under way, which is answered as soon as it goes on.
        if !hangs {
            let (firsts, last) = seen.beginnings();
            assert_eq!(firsts.len(), all.len());
            assert!(firsts.iter().max() >= Some(&200) && last >= 500, "all at once: {firsts:?}, the last at {last}");
        }
    }
    load.end().await.assert_true(&all, &Database::at(&url)).await;
}

#[needs(initdb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_servers_wait_for_room_in_a_full_database_with_a_few_lines_each() {
    /// In this time each that waits makes a dozen attempts.
    const FULL: Duration = Duration::from_secs(6);
    const REFUSED: &str = "too many clients already (53300)";
    let _busy = BUSY.lock().await;
    // All of them find room to start, however many connections each has at once.
    let cluster = Postgres::start(Options::with("max_connections = 160")).await.unwrap();
    let url = cluster.url("postgres");
    let home = home_at(&url);
    let servers = ten(&home, &url).await;
    let all: Vec<_> = servers.iter().collect();
    let load = Load::of(1, &all, seed::sessions(&url, 300).await);
    until("sessions end", async || load.tally().ended > 5).await;
    let lines = || all.iter().map(|server| server.log().lines().map(str::to_owned).collect::<Vec<_>>());
    let before: Vec<_> = lines().map(|lines| lines.len()).collect();

    // Others are quicker now and then, and take the place of what is cut.
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'server-%'";
    let (mut seen, mut others) = (Seen::begin(&url).await, Vec::new());
    until("there is no room", async || {
        while let Ok(another) = Connection::open(&url).await {
            others.push(another);
        }
        let few = seen.look().await < all.len();
        if !few {
            seen.watch.rows(cut).await.expect("cut");
        }
        few
    })
    .await;
    let refused = async || {
        let ready = join_all(all.iter().map(|server| ops(server, "/readyz"))).await;
        ready.iter().filter(|ready| ready.status == 503 && ready.text().contains(REFUSED)).count()
    };
    until("some are refused", async || refused().await >= 3).await;
    let full: Vec<_> = lines().map(|lines| lines.len()).collect();
    tokio::time::sleep(FULL).await;
    assert!(refused().await >= 3, "it is full all the time");
    for (lines, (full, before)) in lines().zip(full.into_iter().zip(&before)) {
        // Those that are served reap the others, once each, which register again once they are.
        let is_of_replicas =
            |line: &&String| line.contains("reaped a replica") || line.contains("registered among the replicas");
        let written = lines[full..].iter().filter(|line| !is_of_replicas(line)).count();
        assert!(written <= 4, "{written} lines: {lines:#?}");
        assert!(lines.len() - before <= 30, "{} lines: {lines:#?}", lines.len() - before);
    }
    let said = lines().zip(&before).filter(|(lines, before)| {
        let since = &lines[**before..];
        since.iter().any(|line| line.contains("the store fails"))
    });
    assert!(said.count() >= 3, "the cause is in the log");

    join_all(others.into_iter().map(Connection::close)).await;
    let back = Instant::now();
    seen.until_all_serve(&all, &load, back).await;
    load.end().await.assert_true(&all, &Database::at(&url)).await;
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
