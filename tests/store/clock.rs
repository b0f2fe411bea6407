//! A server whose own clock runs ahead: what seems to be out of date is there once the clock is right, but for the sessions of
//! those who logged in meanwhile.

use std::time::Duration;

use sessiond::domain::clock::{Clock as _, SystemClock};
use sessiond_needs::{needs, on_both_stores};
use sessiond_support::process::set_clock;
use sessiond_support::wait::until;

use crate::harness::process::{Home, Process};
use crate::harness::{ALICE, BOB, Server, StoreKind, delete, post};

/// More than the idle timeout of sessions whose token is sent in a header, and less than their absolute one.
const AHEAD: Duration = Duration::from_hours(15 * 24);

#[needs(faketime)]
#[on_both_stores]
async fn a_start_with_a_clock_that_is_far_ahead_deletes_nothing(store: StoreKind) {
    const SESSIONS: &str = "SELECT count(*) FROM sessions";
    const EVENTS: &str = "SELECT count(*) FROM events";
    let home = Home::new(store);
    let server = home.serve().await;
    home.add_user(BOB).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    assert!(server.stop().await.success());
    let (sessions, events) = (home.database.number(SESSIONS).await, home.database.number(EVENTS).await);
    assert!(sessions > 0 && events > 0);

    // What the first one writes has the time of the wrong clock, and is there when the second one starts.
    for already in 0..2 {
        let mut wrong = home.server();
        set_clock(&mut wrong, "+1000d").unwrap();
        let server = Process::start(wrong).await;
        until("the jump is seen", async || server.log().contains("in case it is wrong")).await;
        assert_eq!(server.check(&bob.token).await, 401, "it seems to be over");
        server.log_in(ALICE).await;
        assert!(server.stop().await.success());
        assert_eq!(home.database.number(SESSIONS).await, sessions + already + 1);
        assert!(home.database.number(EVENTS).await > events);
    }

    let server = home.serve().await;
    assert_eq!(server.check(&bob.token).await, 200);
    assert_eq!(server.check(&alice.token).await, 401, "its user has logged in meanwhile");
    assert!(!server.log().contains("in case it is wrong"));
}

#[on_both_stores]
async fn what_a_login_found_over_is_over_once_all_of_its_user_have_ended(store: StoreKind) {
    // What is in memory is not looked at while the clock is ahead, and is believed afterwards.
    for in_memory in [true, false] {
        let mut server = Server::start(store).await;
        let (old, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
        assert_eq!((server.check(&old.token).await, server.check(&bob.token).await), (200, 200));
        server.advance(AHEAD);
        let new = server.log_in(ALICE).await;
        server.clock.set_back(AHEAD);
        if !in_memory {
            server = server.restart("").await;
            assert_eq!(server.check(&old.token).await, 401, "over for good");
        }
        assert_eq!(server.check(&new.token).await, 200);

        let all = server.send(delete("/api/v1/auth/sessions?scope=all").bearer(&new.token)).await;
        assert_eq!(all.status, 200, "{}", all.text());
        for ended in [&old, &new] {
            assert_eq!(server.check(&ended.token).await, 401, "in memory: {in_memory}");
        }
        assert_eq!(server.check(&bob.token).await, 200, "has not logged in meanwhile");
        server.stop().await;
    }
}

#[on_both_stores]
async fn what_seems_to_be_over_ends_with_all_of_its_users(store: StoreKind) {
    let server = Server::start(store).await;
    let (bob, other) = (server.log_in(BOB).await, server.log_in(ALICE).await);
    server.advance(AHEAD);
    assert_eq!((server.check(&bob.token).await, server.check(&other.token).await), (401, 401), "they seem to be over");
    let admin = server.log_in(ALICE).await;
    let ended = server.send(delete(&format!("/api/v1/admin/users/{}/sessions", bob.user)).bearer(&admin.token)).await;
    assert_eq!(ended.status, 200, "{}", ended.text());
    assert_eq!(ended.json()["revoked"], 0, "{}", ended.text());
    server.clock.set_back(AHEAD);
    assert_eq!(server.check(&bob.token).await, 401);
    assert_eq!(server.check(&admin.token).await, 200);
    server.stop().await;
}

#[on_both_stores]
async fn a_logout_ends_what_seems_to_be_over(store: StoreKind) {
    for (in_memory, with_body) in [(true, false), (false, false), (true, true), (false, true)] {
        let mut server = Server::start(store).await;
        let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
        assert_eq!((server.check(&alice.token).await, server.check(&bob.token).await), (200, 200));
        server.advance(AHEAD);
        let log_out = post("/api/v1/auth/logout").bearer(&alice.token);
        let log_out = if with_body { log_out.form("a=b") } else { log_out };
        for _ in 0..2 {
            assert_eq!(server.send(log_out.clone()).await.status, 401);
        }
        server.clock.set_back(AHEAD);
        if !in_memory {
            server = server.restart("").await;
        }
        let statuses = (server.check(&alice.token).await, server.check(&bob.token).await);
        assert_eq!(statuses, (401, 200), "in memory: {in_memory}, with a body: {with_body}");
        server.stop().await;
    }
}

#[on_both_stores]
async fn old_events_are_found_behind_those_of_a_clock_that_ran_ahead(store: StoreKind) {
    const DAY: i64 = 24 * 3600 * 1000;
    let home = Home::new(store);
    assert!(home.serve().await.stop().await.success());
    let now = SystemClock.now().millis();
    // In the order in which they were written: more than are looked at together, and behind them old ones and a young one.
    let ahead = std::iter::repeat_n(now + 1000 * DAY, 600);
    let times = ahead.chain(std::iter::repeat_n(now - 100 * DAY, 300)).chain([now - 2 * DAY]);
    let rows: Vec<_> = times.map(|at| format!("({at}, 'login_failed', 'anonymous')")).collect();
    home.database.execute(&format!("INSERT INTO events (at, kind, actor) VALUES {}", rows.join(","))).await;
    let old = format!("SELECT count(*) FROM events WHERE at < {}", now - 90 * DAY);
    let other = format!("SELECT count(*) FROM events WHERE at >= {}", now - 90 * DAY);
    let others = home.database.number(&other).await;
    assert_eq!((home.database.number(&old).await, others > 600), (300, true));
    let server = home.serve().await;
    until("they are deleted", async || home.database.number(&old).await == 0).await;
    assert_eq!(home.database.number(&other).await, others);
    assert!(server.stop().await.success());
}
