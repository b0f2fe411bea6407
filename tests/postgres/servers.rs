//! Many servers on one database: processes that come, are stopped, and are killed.

use rustix::process::Signal;

use crate::cli::serving;
use crate::harness::{ALICE, BOB, post};
use crate::process::{Home, until};

#[tokio::test]
async fn a_logout_answered_by_one_server_is_refused_by_every_other() {
    let home = Home::new();
    let servers = [home.serve().await, home.serve().await, home.serve().await];
    for round in 0..15 {
        let alice = servers[round % 3].log_in(ALICE).await;
        for server in &servers {
            assert_eq!(server.check(&alice.token).await, 200, "and kept in memory");
        }
        let logout = servers[(round + 1) % 3].send(post("/api/v1/auth/logout").bearer(&alice.token)).await;
        assert_eq!(logout.status, 200, "{}", logout.text());
        for server in &servers {
            assert_eq!(server.check(&alice.token).await, 401, "round {round}");
        }
    }
}

#[tokio::test]
async fn what_was_ended_beside_a_stopped_server_is_refused_as_soon_as_it_goes_on() {
    let (home, server) = serving().await;
    let bob = server.log_in(BOB).await;
    assert_eq!(server.check(&bob.token).await, 200, "and kept in memory");
    server.signal(Signal::STOP);
    let revoked = home.run(&["session", "revoke", &bob.session]).await.done();
    assert_eq!(revoked, "1 session ended\n");
    server.signal(Signal::CONT);
    assert_eq!(server.check(&bob.token).await, 401);
}

#[tokio::test]
async fn replicas_lists_every_server_until_it_was_silent_for_a_while() {
    let home = Home::new();
    let (first, second) = (home.serve().await, home.serve().await);
    let listed = async || home.run(&["replicas"]).await.done();
    let both = listed().await;
    assert_eq!((both.lines().count(), both.matches("  beating  beat ").count()), (2, 2), "{both}");
    second.kill().await;
    until("it is given up", async || listed().await.lines().count() == 1).await;
    let left = listed().await;
    assert!(left.contains("  beating  ") && left.contains("  lag 0"), "{left}");
    first.stop().await;
    assert_eq!(listed().await, "", "whoever stops says so");
}
