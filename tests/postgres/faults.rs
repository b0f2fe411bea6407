//! A database server that is down, or hangs: refused in each dialect's words, and over when it is back.

use crate::cluster::Cluster;
use crate::harness::{BOB, Server};
use crate::outage::{TOO_SLOW, UNREACHABLE, assert_is_over, assert_words, checks, logins, logouts, send_all};
use crate::process::until;

/// A server on a cluster that it may lose, with Bob logged in and in nobody's memory.
async fn serving(cluster: &Cluster) -> (Server, crate::harness::LoggedIn) {
    let toml = format!("database_url = '{}'", cluster.url("postgres"));
    let server = Server::with(&toml).await;
    let bob = server.log_in(BOB).await;
    (server.restart(&toml).await, bob)
}

#[tokio::test]
#[cfg_attr(not(has_initdb), ignore = "needs initdb and pg_ctl of PostgreSQL 15 or newer")]
async fn a_server_that_is_down_is_an_unreachable_store_until_it_is_back() {
    let cluster = Cluster::start("fsync = on").await;
    let (server, bob) = serving(&cluster).await;
    cluster.stop_immediately().await;

    assert_words(&send_all(&server, logouts(&bob)).await, &UNREACHABLE[..3]);
    assert_words(&send_all(&server, logins()).await, &UNREACHABLE[..3]);
    assert_words(&send_all(&server, checks(&bob)).await, &UNREACHABLE);
    assert_eq!(server.ops("/readyz").await.status, 503);
    assert_eq!(server.ops("/livez").await.status, 200);

    cluster.start_again().await;
    until("it is ready", async || server.ops("/readyz").await.status == 200).await;
    assert_eq!(server.check(&bob.token).await, 200, "still alive");
    assert_is_over(&server, &bob).await;
    server.stop().await;
}

#[tokio::test]
#[cfg_attr(not(has_initdb), ignore = "needs initdb and pg_ctl of PostgreSQL 15 or newer")]
async fn a_server_that_hangs_is_too_slow_until_it_goes_on() {
    let cluster = Cluster::start("").await;
    let (server, bob) = serving(&cluster).await;
    cluster.freeze();

    assert_words(&send_all(&server, logins()).await, &TOO_SLOW[..3]);
    assert_words(&send_all(&server, checks(&bob)).await, &TOO_SLOW);
    assert_eq!(server.ops("/readyz").await.status, 503);

    cluster.thaw();
    until("it is ready", async || server.ops("/readyz").await.status == 200).await;
    assert_eq!(server.check(&bob.token).await, 200, "still alive");
    assert_is_over(&server, &bob).await;
    server.stop().await;
}
