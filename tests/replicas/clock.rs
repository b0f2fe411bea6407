//! A database whose clock is wrong, and set right while servers rely on it: no clock but a server's own decides anything.

use std::time::{Duration, Instant};

use sessiond_needs::needs;
use sessiond_support::postgres::{Options, Postgres};

use crate::harness::fleet::{accepted, home_at, log_out, ops, until_in_memory, until_trusted};
use crate::harness::load::Load;
use crate::harness::seed;
use crate::harness::{ALICE, get};

#[needs(initdb, faketime)]
#[tokio::test]
async fn nothing_changes_when_the_databases_clock_is_set_back_or_forward_by_an_hour() {
    let cluster = Postgres::start(Options { clock: true, ..Options::default() }).await.unwrap();
    let home = home_at(&cluster.url("postgres"));
    let seconds = async || home.database.number("SELECT extract(epoch FROM clock_timestamp())::bigint").await;
    let (a, b) = (home.serve().await, home.serve().await);
    let servers = [&a, &b];
    let alice = a.log_in(ALICE).await;
    let mut pairs = seed::sessions::<2>(&cluster.url("postgres"), 300).await;
    until_trusted(&servers).await;
    until_in_memory(&servers, &alice.token).await;
    let few = pairs.split_off(290);
    let load = Load::on(&servers, pairs);
    for ([kept, ended], difference) in few.iter().zip(["+3600", "-3600", "+0", "-7200", "+0"]) {
        let (before, from_memory) = (load.tally(), accepted(&a, "memory").await);
        let was = seconds().await;
        cluster.set_clock(difference).unwrap();
        assert!((seconds().await - was).abs() > 3500, "its clock was set");
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(1000) {
            for server in servers {
                assert_eq!(server.send(get("/verify").bearer(&alice.token)).await.status, 200, "{difference}");
                assert_eq!(server.check(&kept.token).await, 200, "{difference}");
            }
        }
        assert!(accepted(&a, "memory").await > from_memory, "{difference}");
        until_trusted(&servers).await;
        log_out(&b, &ended.token).await;
        assert_eq!((a.check(&ended.token).await, b.check(&ended.token).await), (401, 401), "{difference}");
        let since = load.tally();
        assert!(since.accepted > before.accepted && since.refused > before.refused, "{difference}: {since:?}");
    }
    let tally = load.tally();
    // It may be a slow machine.
    assert!(tally.ended > 20 && tally.failed <= tally.accepted / 100, "{tally:?}");
    load.end().await.assert_true(&servers, &home.database).await;
    for server in servers {
        assert_eq!(server.check(&alice.token).await, 200, "no session was ended");
        let metrics = ops(server, "/metrics").await.text();
        let clears: Vec<_> = metrics.lines().filter(|line| line.starts_with("sessiond_cache_clears_total{")).collect();
        assert!(!clears.is_empty() && clears.iter().all(|line| line.ends_with(" 0")), "nor forgotten: {clears:?}");
    }
}
