//! A server that starts before its database does, or while another migrates, waits, and its readiness says so.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use sessiond_needs::needs;
use sessiond_support::database::Connection;
use sessiond_support::port::free_port;
use sessiond_support::postgres::{Options, Postgres};
use sessiond_support::wait::until;
use tokio::process::Command;

use crate::dialects::openapi;
use crate::harness::fleet::home_at;
use crate::harness::process::{Home, Process, attempt, finish, login};
use crate::harness::proxy::{End, Proxy};
use crate::harness::{ALICE, PASSWORD, Reply, StoreKind, get};

/// The key of the lock under which is migrated.
const MIGRATING: &str = "SELECT pg_advisory_lock(8315180193920146286)";

/// A server whose operations address is known before it logs it.
fn server(home: &Home) -> (Command, String) {
    let mut server = home.server();
    let ops = format!("127.0.0.1:{}", free_port().expect("a port"));
    server.env("SESSIOND_OPS_LISTEN", &ops);
    (server, ops)
}

/// What its operations listener answers, once it does.
async fn ask(ops: &str, target: &str) -> Reply {
    let mut reply = None;
    until("it answers", async || {
        reply = attempt(ops, &get(target)).await;
        reply.is_some()
    })
    .await;
    let reply = reply.expect("answered");
    openapi::check_ops("GET", target, &reply);
    reply
}

#[needs(initdb)]
#[tokio::test]
async fn a_database_that_is_not_up_yet_is_waited_for() {
    let cluster = Postgres::start(Options::with("fsync = on")).await.unwrap();
    cluster.stop_immediately().await.unwrap();
    let home = home_at(&cluster.url("postgres"));
    let (command, ops) = server(&home);
    let mut server = Process::begin(command);
    until("it waits", async || ask(&ops, "/readyz").await.text().contains("waiting for the database")).await;
    let ready = ask(&ops, "/readyz").await;
    assert_eq!((ready.status, ask(&ops, "/livez").await.status), (503, 200));
    assert!(ready.text().contains("refused") && ready.text().contains(" s of 30 s\n"), "{}", ready.text());
    assert!(ready.text().ends_with("server: starting\n"), "{}", ready.text());
    assert_eq!(ask(&ops, "/metrics").await.status, 503);
    for (host, status) in [("localhost", 503), ("evil.example", 400), ("a b", 400)] {
        let reply = attempt(&ops, &get("/readyz").header("Host", host)).await.expect("an answer");
        openapi::check_ops("GET", "/readyz", &reply);
        assert_eq!(reply.status, status, "{host}");
    }
    let mut check = home.command(&["healthcheck"]);
    check.env("SESSIOND_OPS_LISTEN", &ops);
    let refused = finish(check, "").await.refused().unwrap();
    assert!(refused.contains("not ready") && refused.contains("waiting for the database"), "{refused}");

    cluster.start_again().await.unwrap();
    server.until_it_serves().await;
    until("it is ready", async || ask(&ops, "/readyz").await.status == 200).await;
    let alice = server.log_in(ALICE).await;
    assert_eq!(server.check(&alice.token).await, 200);
    let log = server.log();
    assert_eq!(log.matches("the database is not there yet").count(), 1, "{log}");
    assert!(log.contains("the database is there"), "{log}");
}

#[needs(initdb)]
#[tokio::test]
async fn a_database_that_hangs_or_is_full_at_the_start_is_waited_for() {
    for full in [true, false] {
        let cluster = Postgres::start(Options::with("max_connections = 8")).await.unwrap();
        let mut all = Vec::new();
        if full {
            while let Ok(another) = Connection::open(&cluster.url("postgres")).await {
                all.push(another);
            }
        } else {
            cluster.freeze().unwrap();
        }
        let home = home_at(&cluster.url("postgres"));
        let (command, ops) = server(&home);
        let mut server = Process::begin(command);
        let why = if full { "53300" } else { "no connection within" };
        until("it waits", async || ask(&ops, "/readyz").await.text().contains(why)).await;
        all.clear();
        if !full {
            cluster.thaw().unwrap();
        }
        server.until_it_serves().await;
        server.log_in(ALICE).await;
    }
}

#[needs(postgres)]
#[tokio::test]
async fn a_database_that_is_lost_in_the_middle_of_the_start_is_waited_for() {
    const USERS: &str = "FROM users)";
    // What is asked first, while migrating, of a database that is up to date, and last, of one that has users.
    let asked = ["FROM pg_tables", "pg_try_advisory_xact_lock", "CREATE TABLE sessions", "INTO secrets", USERS];
    let ends = [End::Closed, End::Terminated];
    for (words, end) in asked.into_iter().flat_map(|words| ends.map(|end| (words, end))) {
        let home = Home::new(StoreKind::Postgres);
        if words == USERS {
            home.add_user(ALICE).await;
        }
        let proxy = Proxy::to(&home.database.url()).await;
        proxy.cut_off_at(words, end);
        let (mut command, _) = server(&home);
        command.env("SESSIOND_DATABASE_URL", proxy.url());
        let mut server = Process::begin(command);
        server.until_it_serves().await;
        assert!(proxy.has_cut_off(), "nothing has sent {words} ({end:?})");
        // A connection that the database has ended may fail one request more.
        until("it logs in", async || server.send(login(ALICE, PASSWORD)).await.status == 200).await;
    }
}

#[needs(initdb)]
#[tokio::test]
async fn one_that_does_not_come_up_is_given_up_and_commands_do_not_wait() {
    let home = home_at(&format!("postgres://sessiond@127.0.0.1:{}/postgres", free_port().expect("a port")));
    let begin = Instant::now();
    let (command, _) = server(&home);
    let mut server = Process::begin(command);
    let refused = home.run(&["session", "list", ALICE]).await.refused().unwrap();
    assert!(refused.contains("cannot be reached") && begin.elapsed() < Duration::from_secs(20), "{refused}");
    tokio::time::sleep(Duration::from_secs(25).saturating_sub(begin.elapsed())).await;
    assert!(server.lives(), "{}", server.log());
    assert_eq!(server.ended().await.code(), Some(1));
    let log = server.log();
    assert!(log.contains("sessiond: the database was waited for, for 30 s, and is still not there: "), "{log}");
    assert!(log.lines().count() <= 5, "{log}");
}

#[needs(initdb)]
#[tokio::test]
async fn what_does_not_pass_by_itself_is_refused_at_once() {
    let home = Home::new(StoreKind::Postgres);
    let url = home.database.url();
    for (url, word) in
        [(url.replace("/t_", "/that_was_never_made_"), "3D000"), (url.replace("sessiond@", "nobody@"), "28000")]
    {
        let (mut command, _) = server(&home);
        command.env("SESSIOND_DATABASE_URL", &url);
        let refused = finish(command, "").await.refused().unwrap();
        assert!(refused.contains(word) && !refused.contains("waited for"), "{refused}");
    }
}

#[needs(initdb)]
#[tokio::test]
async fn a_server_that_waits_for_its_database_ends_on_sigterm_at_once() {
    let home = home_at(&format!("postgres://sessiond@127.0.0.1:{}/postgres", free_port().expect("a port")));
    for signal in [Signal::TERM, Signal::INT] {
        let (command, ops) = server(&home);
        let mut server = Process::begin(command);
        until("it waits", async || ask(&ops, "/readyz").await.text().contains("waiting for the database")).await;
        let begin = Instant::now();
        server.signal(signal);
        assert_eq!(server.ended().await.code(), Some(0));
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    }
}

#[needs(postgres)]
#[tokio::test]
async fn a_server_says_that_another_migrates() {
    let home = Home::new(StoreKind::Postgres);
    let mut other = Connection::open(&home.database.url()).await.expect("connected");
    other.execute(MIGRATING).await.expect("locked");
    let (command, ops) = server(&home);
    let mut server = Process::begin(command);
    let waits = "store: waiting for another process that migrates the database\n";
    until("it waits", async || ask(&ops, "/readyz").await.text().contains(waits)).await;
    assert_eq!(ask(&ops, "/livez").await.status, 200);
    assert!(server.lives());
    drop(other);
    server.until_it_serves().await;
    until("it is ready", async || ask(&ops, "/readyz").await.status == 200).await;
}
