//! Operators see whether commits wait for a standby, and the log says when they do not any more.

use sessiond_needs::needs;
use sessiond_support::postgres::{Options, Postgres};
use sessiond_support::wait::until;

use super::scrape::{PROMETHEUS, scrape, sum};
use crate::harness::fleet::{home_at, serve_through};

#[needs(initdb)]
#[tokio::test]
async fn commits_that_wait_for_no_standby_any_more_are_shown_and_logged() {
    // As Patroni does without `synchronous_mode_strict` when the last standby is gone.
    let primary = Postgres::start(Options::with("synchronous_standby_names = '*'")).await.unwrap();
    let _standby = Postgres::follow(&primary, Options::with("synchronous_standby_names = ''")).await.unwrap();
    let url = primary.url("postgres");
    let home = home_at(&url);
    let server = serve_through(&home, &url).await;
    let shown = async |name: &str| sum(&scrape(&server.ops, PROMETHEUS).await, name, &[]);
    let waits = async || shown("sessiond_commits_wait_for_standby").await > 0.5;
    until("commits wait", async || waits().await && shown("sessiond_synchronous_standbys").await > 0.5).await;
    let words = "commits wait for no standby any more";
    assert!(!server.log().contains(words), "{}", server.log());
    primary.rows("postgres", "ALTER SYSTEM SET synchronous_standby_names = ''").await.unwrap();
    primary.rows("postgres", "SELECT pg_reload_conf()").await.unwrap();
    until("commits do not wait", async || !waits().await).await;
    until("that is logged", async || server.log().contains(words)).await;
    primary.rows("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'").await.unwrap();
    primary.rows("postgres", "SELECT pg_reload_conf()").await.unwrap();
    until("commits wait again", waits).await;
    until("that is logged, too", async || server.log().contains("commits wait for a standby again")).await;
    assert_eq!(server.log().matches(words).count(), 1);
    assert!(server.stop().await.success());
}
