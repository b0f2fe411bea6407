//! Servers whose connections to the database are cut, held up or delayed.

use std::time::Duration;

use futures_util::future::join_all;
use sessiond_needs::needs;
use sessiond_support::wait::{PATIENCE, until};

use crate::harness::fleet::{accepted, is_trusted, log_out, named, ops, serve_through, until_in_memory, until_trusted};
use crate::harness::load::Load;
use crate::harness::process::{Home, Process};
use crate::harness::proxy::{Direction, Proxy, Traffic};
use crate::harness::seed;
use crate::harness::{ALICE, StoreKind};

/// What the log says once a beat has failed.
const TROUBLE: &str = "the store fails";

/// Panics unless the disturbance is over: sessions begin and end as usual.
async fn assert_is_over(servers: &[&Process]) {
    until_trusted(servers).await;
    for (at, server) in servers.iter().enumerate() {
        let alice = server.log_in(ALICE).await;
        until_in_memory(servers, &alice.token).await;
        log_out(servers[(at + 1) % servers.len()], &alice.token).await;
        for server in servers {
            assert_eq!(server.check(&alice.token).await, 401);
        }
    }
}

#[needs(postgres)]
#[tokio::test]
async fn no_end_is_forgotten_while_connections_are_killed_again_and_again() {
    const KILL: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'sessiond'";
    let home = Home::new(StoreKind::Postgres);
    let (a, b, c) = tokio::join!(home.serve(), home.serve(), home.serve());
    let servers = [&a, &b, &c];
    let pairs = seed::sessions(&home.database.url(), 400).await;
    until_trusted(&servers).await;
    let load = Load::on(&servers, pairs);
    let (mut rounds, mut killed) = (0, 0);
    // Some seconds at least, and longer on a machine that is slow.
    until("enough was done meanwhile", async || {
        killed += home.database.number(KILL).await;
        rounds += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let tally = load.tally();
        rounds >= 8 && tally.ended > 40 && tally.refused > 200 && tally.accepted > 200 && tally.failed > 0
    })
    .await;
    assert!(killed > 24, "each server has several: {killed}");
    let states = load.end().await;
    assert_is_over(&servers).await;
    states.assert_true(&servers, &home.database).await;
}

#[needs(postgres)]
#[tokio::test]
async fn no_end_is_forgotten_while_answers_are_late_and_connections_break() {
    let home = Home::new(StoreKind::Postgres);
    let proxies = [
        Proxy::to(&home.database.url()).await,
        Proxy::to(&home.database.url()).await,
        Proxy::to(&home.database.url()).await,
    ];
    let servers = join_all(proxies.iter().map(async |proxy| serve_through(&home, &proxy.url()).await)).await;
    let servers: Vec<_> = servers.iter().collect();
    let pairs = seed::sessions(&home.database.url(), 400).await;
    until_trusted(&servers).await;
    let load = Load::on(&servers, pairs);
    proxies.iter().for_each(|proxy| proxy.set_traffic(Traffic::Faulty));
    tokio::time::sleep(Duration::from_secs(8)).await;
    until("all have enough trouble", async || {
        proxies.iter().all(|proxy| proxy.late() > 10 && proxy.broken() > 3)
            && servers.iter().all(|server| server.log().contains(TROUBLE))
    })
    .await;
    until("enough was done meanwhile", async || {
        let tally = load.tally();
        tally.ended > 5 && tally.refused > 20 && tally.accepted > 50 && tally.failed > 0
    })
    .await;
    proxies.iter().for_each(|proxy| proxy.set_traffic(Traffic::Undisturbed));
    let states = load.end().await;
    assert_is_over(&servers).await;
    states.assert_true(&servers, &home.database).await;
}

#[needs(postgres)]
#[tokio::test]
async fn a_server_whose_listening_connection_is_cut_again_and_again_accepts_nothing_that_ended() {
    let home = Home::new(StoreKind::Postgres);
    let cut = serve_through(&home, &named(&home.database.url(), "cut")).await;
    let other = home.serve().await;
    let servers = [&cut, &other];
    let mut pairs = seed::sessions::<2>(&home.database.url(), 200).await.into_iter();
    until_trusted(&servers).await;
    let (mut cuts, mut ended) = (0, 0);
    // Of its connections only one reads the rows.
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE application_name = 'cut' AND datname = current_database() AND query LIKE '%FROM replicas%'";
    let begin = std::time::Instant::now();
    while begin.elapsed() < Duration::from_secs(4) || cuts < 5 || ended < 5 {
        assert!(begin.elapsed() < PATIENCE, "{cuts} cuts, {ended} ended");
        let [kept, doomed] = pairs.next().expect("enough");
        for server in servers {
            for session in [&kept, &doomed] {
                assert_eq!(server.check(&session.token).await, 200);
            }
        }
        cuts += home.database.number(kill).await;
        log_out(&other, &doomed.token).await;
        ended += 1;
        assert_eq!(cut.check(&doomed.token).await, 401);
        assert_eq!(cut.check(&kept.token).await, 200, "from memory, or the store");
        assert_eq!(ops(&cut, "/readyz").await.status, 200);
    }
    assert_is_over(&servers[..1]).await;
}

#[needs(postgres)]
#[tokio::test]
async fn memory_that_is_not_believed_for_a_while_is_kept() {
    let home = Home::new(StoreKind::Postgres);
    let proxy = Proxy::to(&home.database.url()).await;
    // There is no other server that could reap it.
    let server = serve_through(&home, &proxy.url()).await;
    until_trusted(&[&server]).await;
    let alice = server.log_in(ALICE).await;
    until_in_memory(&[&server], &alice.token).await;
    proxy.set_traffic(Traffic::ListenersSilent(Direction::Both));
    until("it is not trusted", async || !is_trusted(&server).await).await;
    proxy.set_traffic(Traffic::Undisturbed);
    until_trusted(&[&server]).await;
    let read = accepted(&server, "store").await;
    assert_eq!((server.check(&alice.token).await, accepted(&server, "store").await), (200, read), "from memory");
}

#[needs(postgres)]
#[tokio::test]
async fn a_server_whose_listening_connection_hangs_reads_the_store_until_it_recovers() {
    join_all([Direction::Both, Direction::ToDatabase, Direction::ToServer].map(silent_for_a_while)).await;
}

async fn silent_for_a_while(direction: Direction) {
    let home = Home::new(StoreKind::Postgres);
    let proxy = Proxy::to(&home.database.url()).await;
    let (silenced, other) = (serve_through(&home, &proxy.url()).await, home.serve().await);
    let servers = [&silenced, &other];
    let pairs = seed::sessions::<2>(&home.database.url(), 3).await;
    until_trusted(&servers).await;
    for session in pairs.as_flattened() {
        until_in_memory(&servers, &session.token).await;
    }

    proxy.set_traffic(Traffic::ListenersSilent(direction));
    // It is still trusted, and other servers do not know that its connection hangs.
    let [[first_kept, first], [kept, doomed], [last_kept, last]] = &pairs[..] else { panic!("three") };
    log_out(&other, &first.token).await;
    assert_eq!(silenced.check(&first.token).await, 401, "{direction:?}");
    assert_eq!(silenced.check(&first_kept.token).await, 200);
    until("it is not trusted", async || !is_trusted(&silenced).await).await;
    assert!(proxy.held() > 0, "{direction:?}");
    let ready = ops(&silenced, "/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains("cache: not trusted, each check reads the store ("), "{}", ready.text());
    let before = (accepted(&silenced, "memory").await, accepted(&silenced, "store").await);
    for _ in 0..3 {
        assert_eq!(silenced.check(&kept.token).await, 200);
    }
    assert_eq!((accepted(&silenced, "memory").await, accepted(&silenced, "store").await), (before.0, before.1 + 3));
    log_out(&other, &doomed.token).await;
    assert_eq!(silenced.check(&doomed.token).await, 401, "{direction:?}");
    log_out(&silenced, &last.token).await;
    assert_eq!(other.check(&last.token).await, 401, "{direction:?}");
    assert!(!is_trusted(&silenced).await, "all the time");

    // What was held up arrives late.
    proxy.set_traffic(Traffic::Undisturbed);
    until_trusted(&servers).await;
    until_in_memory(&servers, &last_kept.token).await;
    for [kept, ended] in &pairs {
        assert_eq!(
            (silenced.check(&kept.token).await, silenced.check(&ended.token).await),
            (200, 401),
            "{direction:?}"
        );
    }
    assert_is_over(&servers[..1]).await;
}
