//! A primary that is lost while sessions end, and the synchronous standby that takes its place.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sessiond::store::connect::Role;
use sessiond::telemetry::notices;
use sessiond_needs::needs;
use sessiond_support::postgres::{Options, Postgres};
use sessiond_support::wait::until;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use url::Url;

use crate::harness::fleet::{home_at, log_out, ops, serve_through, until_in_memory, until_trusted};
use crate::harness::fresh::open;
use crate::harness::load::Load;
use crate::harness::names::{ADDRESSES, by_name, open_doors, serve_by_name};
use crate::harness::process::{Home, Process, login};
use crate::harness::{ALICE, PASSWORD, delete, post};
use crate::harness::{Database, StoreKind, seed};

/// A server, and a standby that each of its commits waits for.
async fn with_a_standby() -> (Postgres, Postgres) {
    let primary = Postgres::start(Options::with("synchronous_standby_names = '*'")).await.unwrap();
    let standby = Postgres::follow(&primary, Options::with("synchronous_standby_names = ''")).await.unwrap();
    let synchronous = "SELECT sync_state FROM pg_stat_replication";
    until("it follows", async || {
        primary.rows("postgres", synchronous).await.unwrap() == [[Some(String::from("sync"))]]
    })
    .await;
    (primary, standby)
}

/// The URL that names both, and the primary first.
fn both_of(primary: &Postgres, standby: &Postgres) -> String {
    format!("postgres://sessiond@127.0.0.1:{},127.0.0.1:{}/postgres", primary.port(), standby.port())
}

/// Starts a server each of whose checks asks the database.
async fn serve_without_a_cache(home: &Home, url: &str) -> Process {
    let mut server = home.server();
    server.env("SESSIOND_DATABASE_URL", url).env("SESSIOND_CACHE", "off");
    Process::start(server).await
}

#[needs(initdb)]
#[tokio::test]
async fn no_answered_end_is_lost_when_a_standby_takes_over() {
    let (primary, standby) = with_a_standby().await;
    let both = both_of(&primary, &standby);
    let home = home_at(&primary.url("postgres"));
    let start = async || serve_through(&home, &both).await;
    let (a, b, c) = (start().await, start().await, start().await);
    let servers = [&a, &b, &c];
    let alice = a.log_in(ALICE).await;
    let pairs = seed::sessions(&primary.url("postgres"), 300).await;
    until_trusted(&servers).await;
    until_in_memory(&servers, &alice.token).await;

    let load = Load::on(&servers, pairs);
    until("sessions end", async || load.tally().ended > 30).await;
    primary.stop_immediately().await.unwrap();
    let at_the_end = load.tally();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    standby.promote().await.unwrap();
    assert!(load.tally().failed > at_the_end.failed, "it was missed");
    until_trusted(&servers).await;
    let again = load.tally();
    until("sessions end again", async || load.tally().ended > again.ended + 10).await;
    let states = load.end().await;
    states.assert_true(&servers, &Database::at(&standby.url("postgres"))).await;
    // No number is assigned that the lost primary may have assigned as well.
    let numbers = standby.rows("postgres", "SELECT seq >> 40 FROM coherence").await.unwrap();
    assert_eq!(numbers, [[Some(String::from("1"))]], "those of the second timeline");

    until_in_memory(&servers, &alice.token).await;
    let another = b.log_in(ALICE).await;
    log_out(&c, &alice.token).await;
    for server in servers {
        assert_eq!((server.check(&alice.token).await, server.check(&another.token).await), (401, 200));
        let metrics = ops(server, "/metrics").await.text();
        // The numbers go on where those of the second timeline begin, which is no gap.
        for (reason, times) in [("failover", 1), ("log_cut", 0)] {
            let cleared = format!("sessiond_cache_clears_total{{reason=\"{reason}\"}} {times}");
            assert!(metrics.lines().any(|line| line == cleared), "{cleared}: {metrics}");
        }
    }
}

/// Ends the wait of a logout for the standby, as an operator would do after its loss.
async fn give_up_the_wait_of_a_logout(primary: &Postgres) {
    let waits = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
                 WHERE wait_event = 'SyncRep' AND query LIKE 'WITH locked%'";
    let none = [[Some(String::from("0"))]];
    until("it waits for the standby", async || primary.rows("postgres", waits).await.unwrap() != none).await;
}

#[needs(initdb)]
#[tokio::test]
async fn a_commit_that_was_not_waited_for_on_the_standby_is_no_success() {
    let (primary, standby) = with_a_standby().await;
    let home = home_at(&primary.url("postgres"));
    let server = serve_through(&home, &primary.url("postgres")).await;
    until_trusted(&[&server]).await;
    let warned = || server.log().contains("canceling wait for synchronous replication");
    // On a busy machine the deadline may pass before the commit is seen to wait.
    for _ in 0..10 {
        let alice = server.log_in(ALICE).await;
        standby.freeze().unwrap();
        let logout = post("/api/v1/auth/logout").bearer(&alice.token);
        let (answer, ()) = tokio::join!(server.send(logout), give_up_the_wait_of_a_logout(&primary));
        assert!((500..600).contains(&answer.status), "{} {}", answer.status, answer.text());
        let tombstones = "SELECT count(*) FROM sessions WHERE revoked_at IS NOT NULL";
        assert_ne!(
            primary.rows("postgres", tombstones).await.unwrap(),
            [[Some(String::from("0"))]],
            "and it was committed here"
        );
        // What may be undone by a takeover is not said to have ended.
        let looks = Instant::now() + Duration::from_millis(1500);
        while Instant::now() < looks {
            assert_ne!(server.check(&alice.token).await, 401);
        }
        let again = server.send(post("/api/v1/auth/logout").bearer(&alice.token)).await;
        assert!((500..600).contains(&again.status), "{} {}", again.status, again.text());
        standby.thaw().unwrap();
        until("it is refused", async || server.check(&alice.token).await == 401).await;
        if warned() {
            return;
        }
    }
    panic!("no warning was logged: {}", server.log());
}

#[needs(initdb)]
#[tokio::test]
async fn an_end_that_the_new_primary_lacks_is_not_told_by_a_check_that_read_it_from_the_old_one() {
    let (primary, standby) = with_a_standby().await;
    let home = home_at(&primary.url("postgres"));
    let server = serve_without_a_cache(&home, &both_of(&primary, &standby)).await;
    let alice = server.log_in(ALICE).await;
    // As many changes as use all connections that there are for them.
    let others = seed::sessions::<1>(&primary.url("postgres"), 7).await;
    standby.rows("postgres", "ALTER SYSTEM SET primary_conninfo = ''").await.unwrap();
    standby.rows("postgres", "SELECT pg_reload_conf()").await.unwrap();
    until("the standby is cut off", async || {
        primary.rows("postgres", "SELECT 1 FROM pg_stat_replication").await.unwrap().is_empty()
    })
    .await;

    let logout = server.send(post("/api/v1/auth/logout").bearer(&alice.token));
    let (logout, ()) = tokio::join!(logout, give_up_the_wait_of_a_logout(&primary));
    assert!((500..600).contains(&logout.status), "{} {}", logout.status, logout.text());
    let ended = "SELECT count(*) FROM sessions WHERE revoked_at IS NOT NULL";
    let one = [[Some(String::from("1"))]];
    until("it is committed on the one", async || primary.rows("postgres", ended).await.unwrap() == one).await;
    standby.promote().await.unwrap();
    assert_ne!(standby.rows("postgres", ended).await.unwrap(), one, "and not on the other");

    // The check reads the end from the one, has to wait for a connection to make it durable, and gets one to the other.
    let all = others.iter().flatten().enumerate().map(async |(place, other)| {
        // The last of them finds the old primary gone.
        tokio::time::sleep(Duration::from_millis(if place == 6 { 600 } else { 0 })).await;
        server.send(delete("/api/v1/auth/sessions?scope=all").bearer(&other.token)).await.status
    });
    let check = async {
        tokio::time::sleep(Duration::from_millis(350)).await;
        server.check(&alice.token).await
    };
    let stop = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        primary.stop_immediately().await.unwrap();
    };
    let (_, check, ()) = tokio::join!(join_all(all), check, stop);
    // On a busy machine it may have read from the other one only.
    assert!([503, 200].contains(&check), "{check} {}", server.log());
    until("the other one is asked", async || {
        let check = server.check(&alice.token).await;
        assert_ne!(check, 401, "{}", server.log());
        check == 200
    })
    .await;
    log_out(&server, &alice.token).await;
}

#[needs(initdb)]
#[tokio::test]
async fn a_primary_that_was_overtaken_and_goes_on_is_not_asked_any_more() {
    let (primary, standby) = with_a_standby().await;
    let home = home_at(&primary.url("postgres"));
    let server = serve_without_a_cache(&home, &both_of(&primary, &standby)).await;
    let ended = server.log_in(ALICE).await;
    assert_eq!(server.check(&ended.token).await, 200);
    primary.freeze().unwrap();
    standby.promote().await.unwrap();
    until("it goes on with the other", async || server.check(&ended.token).await == 200).await;
    until("changes are made", async || server.send(login(ALICE, PASSWORD)).await.status == 200).await;
    let begun = server.log_in(ALICE).await;
    log_out(&server, &ended.token).await;

    // It is the first of the hosts, and answers as a primary does.
    primary.thaw().unwrap();
    let revoked = "SELECT pg_is_in_recovery(), count(revoked_at) FROM sessions";
    let answer = ["f", "0"].map(|text| Some(String::from(text)));
    until("it goes on", async || primary.rows("postgres", revoked).await.is_ok_and(|rows| rows == [answer.clone()]))
        .await;
    let disconnect =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'sessiond'";
    for _ in 0..10 {
        standby.rows("postgres", disconnect).await.unwrap();
        until("the database is back", async || {
            let (ended, begun) = (server.check(&ended.token).await, server.check(&begun.token).await);
            assert!(ended != 200 && begun != 401, "{ended} {begun}: the old one was asked");
            (ended, begun) == (401, 200)
        })
        .await;
    }
}

#[tokio::test]
async fn a_process_that_would_miss_such_a_warning_is_refused_with_a_sentence() {
    let database = Database::new(StoreKind::Postgres);
    let filtered = tracing_subscriber::registry().with(notices::layer()).with(LevelFilter::ERROR);
    let _guard = tracing::subscriber::set_default(filtered);
    let refused = open(&database, Role::Command).await.err().expect("refused").to_string();
    assert!(refused.contains("tracing subscriber lacks sessiond's layer"), "{refused}");
    assert!(database.is_untouched().await, "{:?}", database.tables().await);
}

/// A port where connections are neither accepted nor refused, as on a machine that is off.
struct UnresponsivePort {
    port: u16,
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl UnresponsivePort {
    async fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let listener = socket.listen(1).expect("listening");
        let address = listener.local_addr().expect("bound");
        let mut waiting = Vec::new();
        // No connection is accepted, until the queue is full.
        while let Ok(connected) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            waiting.push(connected.expect("connected"));
        }
        Self { port: address.port(), _listener: listener, _waiting: waiting }
    }
}

#[needs(postgres)]
#[tokio::test]
async fn a_host_that_does_not_answer_is_passed_over() {
    let home = Home::new(StoreKind::Postgres);
    let unresponsive = UnresponsivePort::new().await;
    let mut url = Url::parse(&home.database.url()).expect("a URL");
    let live = url.port().unwrap_or(5432);
    url.set_port(Some(unresponsive.port)).expect("a port");
    let hosts = format!("{}:{}", url.host_str().expect("a host"), live);
    let both =
        url.as_str().replacen(&format!(":{}/", unresponsive.port), &format!(":{},{hosts}/", unresponsive.port), 1);
    let server = serve_through(&home, &both).await;
    until_trusted(&[&server]).await;
    let alice = server.log_in(ALICE).await;
    until_in_memory(&[&server], &alice.token).await;
    log_out(&server, &alice.token).await;
}

/// What the log of a server says that has not found the database at its first attempt.
const WAITS: &str = "the database is not there yet";

#[needs(initdb, mount)]
#[tokio::test]
async fn of_a_name_with_two_addresses_the_primary_is_found_at_the_start_and_after_a_takeover() {
    let (primary, standby) = with_a_standby().await;
    let home = home_at(&primary.url("postgres"));
    let (port, [to_primary, _to_standby]) = open_doors([primary.port(), standby.port()]).await;
    let url = by_name(&primary.url("postgres"), port);
    let [first, second] = ADDRESSES;
    let orders = [[first, second], [second, first]];
    let mut servers = Vec::new();
    for order in orders {
        servers.push(serve_by_name(&home, &url, order).await);
    }
    let all: Vec<_> = servers.iter().map(|(server, _)| server).collect();
    until_trusted(&all).await;
    let ended = all[0].log_in(ALICE).await;
    let kept = all[1].log_in(ALICE).await;
    log_out(all[1], &ended.token).await;
    for server in &all {
        assert!(!server.log().contains(WAITS), "one address leads to a standby: {}", server.log());
        assert_eq!((server.check(&kept.token).await, server.check(&ended.token).await), (200, 401));
    }

    primary.stop_immediately().await.unwrap();
    to_primary.close().await;
    for server in &all {
        until("it is missed", async || ops(server, "/readyz").await.status == 503).await;
    }
    standby.promote().await.unwrap();
    let begun = Instant::now();
    until_trusted(&all).await;
    // An attempt is made within a second, and ends within another one; this machine may be busy.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let again = all[0].log_in(ALICE).await;
    log_out(all[0], &kept.token).await;
    for server in &all {
        assert_eq!((server.check(&again.token).await, server.check(&kept.token).await), (200, 401));
    }
    for order in orders {
        let (server, _hosts) = serve_by_name(&home, &url, order).await;
        assert!(!server.log().contains(WAITS), "one address refuses: {}", server.log());
        until_trusted(&[&server]).await;
        assert_eq!((server.check(&again.token).await, server.check(&kept.token).await), (200, 401));
    }
}

/// A server process that waits for a standby does not notice that its connection was closed.
#[needs(initdb)]
#[tokio::test]
async fn changes_that_wait_for_a_lost_standby_do_not_use_up_the_connections_of_the_database() {
    const ATTEMPTS: usize = 40;
    /// Those that make changes, and those that keep the replica's row.
    const AT_MOST: usize = 6 + 3;
    let database = Postgres::start(Options::default()).await.unwrap();
    let home = home_at(&database.url("postgres"));
    let server = serve_through(&home, &database.url("postgres")).await;
    until_trusted(&[&server]).await;
    let alice = server.log_in(ALICE).await;
    let standby = async |name: &str| {
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'");
        database.rows("postgres", &set).await.unwrap();
        database.rows("postgres", "SELECT pg_reload_conf()").await.unwrap();
    };
    standby("lost").await;
    let waiting = async || {
        let waits = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        database.rows("postgres", waits).await.unwrap().len()
    };
    until("changes wait", async || waiting().await > 0).await;
    for number in 0..ATTEMPTS {
        // Each of these is recorded, by a commit of its own.
        let refused = server.send(login(&format!("user{number}"), "not the password")).await;
        assert!(refused.status == 401 || refused.status >= 500, "{}", refused.status);
    }
    let left = waiting().await;
    assert!(left <= AT_MOST, "{left} of {ATTEMPTS}");
    assert_eq!(server.check(&alice.token).await, 200, "it is still answered");
    standby("").await;
    until("changes are made again", async || server.send(login(ALICE, PASSWORD)).await.status == 200).await;
    until("nothing waits", async || waiting().await == 0).await;
}
