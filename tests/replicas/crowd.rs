//! The cap on a user's sessions with many servers: a session that was seen lately stays, whichever server has seen it.

use std::time::Duration;

use rustix::process::Signal;
use sessiond_needs::needs;
use sessiond_support::process::halt;
use sessiond_support::wait::until;
use tokio::process::Command;
use tokio::time::Instant;

use crate::harness::fleet::{SOON, until_in_memory, until_trusted};
use crate::harness::process::{Home, Process};
use crate::harness::{ALICE, LoggedIn, StoreKind, post};

/// A server that lets a user have so many sessions.
async fn serve(home: &Home, cap: usize) -> Process {
    Process::start(server(home, cap)).await
}

fn server(home: &Home, cap: usize) -> Command {
    let mut server = home.server();
    server.env("SESSIOND_SESSIONS_PER_USER", cap.to_string());
    server
}

/// The same, which answers no check from memory. Returns once it is registered.
async fn serve_without_cache(home: &Home, cap: usize) -> Process {
    let mut server = server(home, cap);
    server.env("SESSIOND_CACHE", "off");
    let server = Process::start(server).await;
    let rows = "SELECT count(*) FROM replicas WHERE NOT caching";
    until("it has a row", async || home.database.number(rows).await > 0).await;
    server
}

/// The status of a check that nothing else happens in the same millisecond as.
async fn check(server: &Process, session: &LoggedIn) -> u16 {
    let status = server.check(&session.token).await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    status
}

/// Fills up Alice's sessions at the first of these servers, and has all servers know all of them.
async fn filled(servers: &[&Process], cap: usize) -> Vec<LoggedIn> {
    until_trusted(servers).await;
    let mut sessions = Vec::new();
    for _ in 0..cap {
        sessions.push(servers[0].log_in(ALICE).await);
    }
    for session in &sessions {
        until_in_memory(servers, &session.token).await;
    }
    sessions
}

#[needs(postgres)]
#[tokio::test]
async fn a_session_seen_by_another_server_a_moment_ago_survives_and_the_one_not_seen_for_longest_ends() {
    const CAP: usize = 4;
    let home = Home::new(StoreKind::Postgres);
    let (a, b, c) = tokio::join!(serve(&home, CAP), serve(&home, CAP), serve(&home, CAP));
    let servers = [&a, &b, &c];
    let mut sessions = filled(&servers, CAP).await;
    for round in 0..12 {
        // All but one are seen, by servers that do not log in, and this time another one first.
        let unseen = sessions.remove(round % CAP);
        sessions.rotate_left(round % 3);
        for (at, session) in sessions.iter().enumerate() {
            assert_eq!(check(servers[(round + at) % 2 + 1], session).await, 200, "round {round}");
        }
        let newest = a.log_in(ALICE).await;
        for server in servers {
            assert_eq!(check(server, &unseen).await, 401, "round {round}");
            for session in &sessions {
                assert_eq!(check(server, session).await, 200, "round {round}");
            }
        }
        sessions.push(newest);
    }
}

#[needs(postgres)]
#[tokio::test]
async fn a_session_in_use_at_one_server_survives_a_script_that_logs_in_at_another() {
    let home = Home::new(StoreKind::Postgres);
    let (a, b) = tokio::join!(serve(&home, 2), serve(&home, 2));
    let jar = filled(&[&a, &b], 1).await.remove(0);
    for login in 0..12 {
        assert_eq!(b.check(&jar.token).await, 200, "{login}");
        a.log_in(ALICE).await;
    }
    assert_eq!(b.check(&jar.token).await, 200);
}

#[needs(postgres)]
#[tokio::test]
async fn a_session_in_use_at_a_server_without_cache_survives_too() {
    let home = Home::new(StoreKind::Postgres);
    let off = serve_without_cache(&home, 2).await;
    let on = serve(&home, 2).await;
    until_trusted(&[&on]).await;
    let jar = on.log_in(ALICE).await;
    for (at, other) in [(&off, &on), (&on, &off)].into_iter().cycle().take(8) {
        assert_eq!(check(at, &jar).await, 200);
        other.log_in(ALICE).await;
    }
    assert_eq!(off.check(&jar.token).await, 200);
    let log_out = post("/api/v1/auth/logout").bearer(&jar.token);
    halt(off.pid()).unwrap();
    let began = Instant::now();
    assert_eq!(on.send(log_out).await.status, 200);
    assert!(began.elapsed() < Duration::from_millis(600), "no logout waits for it: {:?}", began.elapsed());
    off.signal(Signal::CONT);
    assert_eq!(off.check(&jar.token).await, 401);
}

#[needs(postgres)]
#[tokio::test]
async fn a_frozen_server_delays_a_login_at_the_cap_and_does_not_prevent_it() {
    let home = Home::new(StoreKind::Postgres);
    let (server, frozen) = tokio::join!(serve(&home, 2), serve(&home, 2));
    let [first, second] = filled(&[&server, &frozen], 2).await.try_into().unwrap_or_else(|_| panic!("two"));
    assert_eq!(check(&server, &first).await, 200);
    halt(frozen.pid()).unwrap();
    for _ in 0..2 {
        let began = Instant::now();
        let newest = server.log_in(ALICE).await;
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        assert_eq!((check(&server, &newest).await, check(&server, &first).await), (200, 200));
    }
    assert_eq!((server.check(&first.token).await, server.check(&second.token).await), (200, 401));
    frozen.signal(Signal::CONT);
    until_trusted(&[&frozen]).await;
    assert_eq!((frozen.check(&first.token).await, frozen.check(&second.token).await), (200, 401));
}

#[needs(postgres)]
#[tokio::test]
async fn a_login_at_the_cap_asks_no_replica_where_stored_times_decide() {
    let home = Home::new(StoreKind::Postgres);
    let (a, b) = tokio::join!(serve(&home, 3), serve(&home, 3));
    let sessions = filled(&[&a, &b], 3).await;
    let asked = async || home.database.number("SELECT count(*) FROM revocations WHERE flush <> '{}'").await;
    assert_eq!(asked().await, 0, "below the cap");
    let old = format!("UPDATE sessions SET last_seen_at = last_seen_at - 3600000 WHERE id = '{}'", sessions[0].session);
    home.database.execute(&old).await;
    a.log_in(ALICE).await;
    assert_eq!((asked().await, b.check(&sessions[0].token).await), (0, 401), "it was stored long before all others");
    a.log_in(ALICE).await;
    assert_eq!(asked().await, 1, "and now it is not certain");
}
