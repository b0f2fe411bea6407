//! Servers behind PgBouncer: where it lends processes for a session all is as without it, and else they refuse to start.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use sessiond_needs::needs;
use sessiond_support::database::Connection;
use sessiond_support::process;
use sessiond_support::wait::until;
use tokio::task::JoinSet;

use crate::harness::fleet::{home_at, log_out, ops, serve_through, until_in_memory, until_trusted};
use crate::harness::pgbouncer::PgBouncer;
use crate::harness::process::{Home, Process, finish, login};
use crate::harness::{ALICE, PASSWORD, StoreKind, get, post, seed};

/// What a refusal names.
const TRANSACTION: &str = "pool_mode = transaction";
const STATEMENT: &str = "pool_mode = statement";

#[needs(postgres, pgbouncer)]
#[tokio::test]
async fn where_sessions_are_pooled_replicas_do_all_that_they_do_without_a_pooler() {
    const NEW: &str = "a new password that is long enough";
    let home = Home::new(StoreKind::Postgres);
    let bouncer = PgBouncer::before(&home.database.url(), "session", "").await;
    let url = bouncer.same_database();
    let (a, b) = (serve_through(&home, &url).await, serve_through(&home, &url).await);
    let servers = [&a, &b];
    until_trusted(&servers).await;
    let (mine, other) = (a.log_in(ALICE).await, b.log_in(ALICE).await);
    for session in [&mine, &other] {
        until_in_memory(&servers, &session.token).await;
    }
    let listed = b.send(get("/api/v1/auth/sessions").bearer(&mine.token)).await.json();
    assert_eq!(listed["sessions"].as_array().map(Vec::len), Some(2), "{listed}");

    let body = json!({"current_password": PASSWORD, "new_password": NEW});
    let changed = b.send(post("/api/v1/auth/password").bearer(&mine.token).json(&body)).await;
    assert_eq!((changed.status, &changed.json()["revoked"]), (200, &json!(1)), "{}", changed.text());
    for server in servers {
        assert_eq!((server.check(&mine.token).await, server.check(&other.token).await), (401, 401));
        assert_eq!(server.send(login(ALICE, PASSWORD)).await.status, 401);
        assert_eq!(server.send(login(ALICE, NEW)).await.status, 200);
    }

    // Notifications arrive: without them each of these would take up to a third of a second.
    let mut sessions = seed::sessions::<8>(&url, 60).await.into_iter();
    until("eight logouts in a row are quick", async || {
        for session in sessions.next().expect("enough") {
            until_in_memory(&[&b], &session.token).await;
            let took = log_out(&a, &session.token).await;
            assert_eq!(b.check(&session.token).await, 401);
            if took > Duration::from_millis(100) {
                return false;
            }
        }
        true
    })
    .await;
}

#[needs(postgres, pgbouncer)]
#[tokio::test]
async fn where_sessions_are_pooled_the_contract_of_the_store_holds() {
    let home = Home::new(StoreKind::Postgres);
    let bouncer = PgBouncer::before(&home.database.url(), "session", "").await;
    let mut contract = process::command(std::env::current_exe().expect("a path"));
    contract.args(["store::contract", "--skip", "::sqlite"]);
    contract.env(sessiond_machine::POSTGRES_URL, bouncer.url("postgres"));
    let report = finish(contract, "").await.done().unwrap();
    let passed = report.lines().filter(|line| line.ends_with("::postgres ... ok")).count();
    assert!(passed > 50, "{report}");
}

/// Clients that keep a pool busy, each for as long as this lives.
async fn busy(url: &str, clients: usize) -> JoinSet<()> {
    let mut busy = JoinSet::new();
    for client in 0..clients {
        let mut connection = Connection::open(url).await.expect("connected");
        busy.spawn(async move {
            loop {
                let asked = connection.rows(&format!("SELECT pg_sleep({})", client as f32 / 1000.0)).await;
                asked.expect("answered");
            }
        });
    }
    busy
}

#[needs(postgres, pgbouncer)]
#[tokio::test]
async fn where_transactions_or_statements_are_pooled_the_service_refuses_to_start() {
    const TAKES_TURNS: &str = "server_round_robin = 1";
    for (mode, names, settings, clients) in [
        ("transaction", TRANSACTION, "", 0),
        ("transaction", TRANSACTION, "", 7),
        ("transaction", TRANSACTION, TAKES_TURNS, 4),
        ("transaction", TRANSACTION, "default_pool_size = 1", 0),
        ("statement", STATEMENT, "", 0),
        ("statement", STATEMENT, TAKES_TURNS, 7),
    ] {
        let home = Home::new(StoreKind::Postgres);
        let bouncer = PgBouncer::before(&home.database.url(), mode, settings).await;
        let url = bouncer.same_database();
        let _busy = busy(&url, clients).await;
        let behind = home_at(&url);
        let begin = Instant::now();
        let refusals = [
            finish(behind.server(), "").await.refused().unwrap(),
            behind.run(&["session", "list", ALICE]).await.refused().unwrap(),
        ];
        let case = format!("{mode}, {settings}, {clients} clients");
        for refused in refusals {
            assert!(refused.contains(names) && refused.contains("set pool_mode = session"), "{case}: {refused}");
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{case}: it was waited for");
        assert!(home.database.is_untouched().await, "{case}");
        // Other clients of the pool do not inherit anything.
        let limits = sessiond_support::database::rows(&url, "SHOW statement_timeout").await.unwrap();
        assert_eq!(limits, [[Some(String::from("0"))]], "{case}");
    }
}

/// A server behind a pooler of sessions, whose memory is trusted.
async fn served_behind_a_pooler() -> (Home, PgBouncer, Process) {
    let home = Home::new(StoreKind::Postgres);
    let bouncer = PgBouncer::before(&home.database.url(), "session", "").await;
    let server = serve_through(&home, &bouncer.same_database()).await;
    until_trusted(&[&server]).await;
    (home, bouncer, server)
}

#[needs(postgres, pgbouncer)]
#[tokio::test]
async fn a_pooler_that_pools_transactions_later_is_not_served_through() {
    let (home, bouncer, server) = served_behind_a_pooler().await;
    let alice = server.log_in(ALICE).await;
    until_in_memory(&[&server], &alice.token).await;
    bouncer.change_mode("transaction");
    until_refused(&home, &server, "").await;
    assert_eq!(ops(&server, "/readyz").await.status, 503);
    until("memory is not trusted any more", async || server.check(&alice.token).await == 503).await;
    until("it is logged", async || server.log().contains(TRANSACTION)).await;
    bouncer.change_mode("session");
    until_trusted(&[&server]).await;
    assert_eq!(server.check(&alice.token).await, 200);
}

/// Disconnects what fits the condition and has people log in, until the server refuses to be behind its pooler.
async fn until_refused(home: &Home, server: &Process, condition: &str) {
    let disconnect = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() {condition}"
    );
    // Not all the time: a connection that is ended while it looks for a pooler finds none.
    let mut disconnected = None::<Instant>;
    until("it is refused", async || {
        if disconnected.is_none_or(|then| then.elapsed() > Duration::from_secs(5)) {
            home.database.number(&disconnect).await;
            disconnected = Some(Instant::now());
        }
        join_all((0..4).map(|_| server.send(login(ALICE, PASSWORD)))).await;
        ops(server, "/readyz").await.text().contains(TRANSACTION)
    })
    .await;
}

/// The connection that has the beats keeps its process, so that nothing has the others checked but what fails on them.
#[needs(postgres, pgbouncer)]
#[tokio::test]
async fn a_pooler_that_pools_transactions_later_is_found_by_statements_that_are_not_there() {
    let (home, bouncer, server) = served_behind_a_pooler().await;
    server.log_in(ALICE).await;
    bouncer.change_mode("transaction");
    until_refused(&home, &server, "AND query NOT LIKE '%replicas%'").await;
}

/// Every connection is checked where a pooler may be, and one that is none is never taken for one.
#[needs(postgres, pgbouncer)]
#[tokio::test]
async fn a_pooler_of_sessions_is_never_refused() {
    let home = Home::new(StoreKind::Postgres);
    let bouncer = PgBouncer::before(&home.database.url(), "session", "server_round_robin = 1").await;
    let url = bouncer.same_database();
    let _busy = busy(&url, 5).await;
    let behind = home_at(&url);
    behind.add_user(ALICE).await;
    for _ in 0..4 {
        let lists = (0..4).map(|_| behind.run(&["session", "list", ALICE]));
        for list in join_all(lists).await {
            list.done().unwrap();
        }
    }
}
