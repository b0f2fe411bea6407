//! A server whose own clock is wrong when it starts: what a wrong clock takes for out of date is there once it is right.

use sessiond_needs::{needs, on_both_stores};
use sessiond_support::process::set_clock;
use sessiond_support::wait::until;

use crate::harness::process::{Home, Process};
use crate::harness::{ALICE, StoreKind};

#[needs(faketime)]
#[on_both_stores]
async fn a_start_with_a_clock_that_is_far_ahead_deletes_nothing(store: StoreKind) {
    const SESSIONS: &str = "SELECT count(*) FROM sessions";
    const EVENTS: &str = "SELECT count(*) FROM events";
    let home = Home::new(store);
    let server = home.serve().await;
    let alice = server.log_in(ALICE).await;
    assert!(server.stop().await.success());
    let (sessions, events) = (home.database.number(SESSIONS).await, home.database.number(EVENTS).await);
    assert!(sessions > 0 && events > 0);

    // What the first one writes has the time of the wrong clock, and is there when the second one starts.
    for already in 0..2 {
        let mut wrong = home.server();
        set_clock(&mut wrong, "+1000d").unwrap();
        let server = Process::start(wrong).await;
        until("the jump is seen", async || server.log().contains("in case it is wrong")).await;
        assert_eq!(server.check(&alice.token).await, 401, "it seems to be over");
        server.log_in(ALICE).await;
        assert!(server.stop().await.success());
        assert_eq!(home.database.number(SESSIONS).await, sessions + already + 1);
        assert!(home.database.number(EVENTS).await > events);
    }

    let server = home.serve().await;
    assert_eq!(server.check(&alice.token).await, 200);
    assert!(!server.log().contains("in case it is wrong"));
}
