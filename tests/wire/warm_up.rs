//! A start: sessions of before are read into memory, and checks, logouts and stops go on as if they were not.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::iter;
use sessiond_needs::on_both_stores;
use sessiond_support::random::Random;
use sessiond_support::seed::Seeder;

use crate::harness::{ALICE, BOB, Server, StoreKind, post};

/// So many sessions that reading them takes a while.
const MANY: usize = 30_000;

/// A metric without labels, or with these.
async fn metric(server: &Server, name: &str) -> u64 {
    let metrics = server.ops("/metrics").await.text();
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or(0)
}

async fn warmed(server: &Server) -> u64 {
    metric(server, "sessiond_cache_warmed_sessions_total").await
}

async fn accepted(server: &Server, source: &str) -> u64 {
    metric(server, &format!("sessiond_checks_total{{result=\"accepted\",source=\"{source}\"}}")).await
}

/// A server that has just started on a store with many sessions, and their tokens, oldest first.
async fn starting_with_many(store: StoreKind) -> (Server, Vec<String>) {
    let server = Server::start(store).await;
    let mut seeder = Seeder::open(&server.database.url(), ALICE).await.expect("a store");
    let mut random = Random::seeded(7);
    let users: Vec<_> = (0..MANY).map(|number| seeder.user(format!("user{number}"), &mut random)).collect();
    let sessions: Vec<_> = users.iter().map(|user| seeder.session(user, &mut random)).collect();
    seeder.store(&users, &sessions).await.expect("stored");
    let tokens = sessions.iter().map(|session| String::from_utf8(session.token.to_vec()).expect("text")).collect();
    (server.restart("").await, tokens)
}

#[on_both_stores]
async fn after_a_start_the_first_check_of_a_session_is_answered_from_memory(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob, over) = (server.log_in(ALICE).await, server.log_in(BOB).await, server.log_in(BOB).await);
    assert_eq!(server.send(post("/api/v1/auth/logout").bearer(&over.token)).await.status, 200);
    let server = server.restart("").await;
    server.until_warm().await;
    assert_eq!(warmed(&server).await, 2);
    assert_eq!(metric(&server, "sessiond_cached_sessions").await, 2);
    for (token, status) in [(&alice.token, 200), (&bob.token, 200), (&over.token, 401)] {
        assert_eq!(server.check(token).await, status);
    }
    assert_eq!((accepted(&server, "memory").await, accepted(&server, "store").await), (2, 0));
    server.stop().await;
}

#[on_both_stores]
async fn where_nothing_is_answered_from_memory_nothing_is_read_into_it(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    let server = server.restart("cache = 'off'").await;
    for checks in 1..=20 {
        assert_eq!(server.check(&alice.token).await, 200);
        assert_eq!(accepted(&server, "store").await, checks);
    }
    assert_eq!(warmed(&server).await, 0);
    server.stop().await;
}

#[on_both_stores]
async fn a_logout_while_sessions_are_read_into_memory_is_final(store: StoreKind) {
    let (server, tokens) = starting_with_many(store).await;
    // From the newest on, as they are read.
    let doomed: Vec<_> = tokens.iter().rev().step_by(100).collect();
    let log_out = async |token: &String| {
        assert_eq!(server.send(post("/api/v1/auth/logout").bearer(token)).await.status, 200);
        assert_eq!(server.check(token).await, 401);
    };
    let before = warmed(&server).await;
    iter(&doomed).for_each_concurrent(16, async |token| log_out(token).await).await;
    assert!(before < MANY as u64 / 2, "it was hardly under way: {before}");
    server.until_warm().await;
    for token in &doomed {
        assert_eq!(server.check(token).await, 401);
    }
    let warmed = warmed(&server).await;
    assert!((MANY as u64 / 2..=MANY as u64).contains(&warmed), "{warmed}");
    let before = accepted(&server, "store").await;
    for token in tokens.iter().rev().skip(50).step_by(500) {
        assert_eq!(server.check(token).await, 200);
    }
    let asked = accepted(&server, "store").await - before;
    assert!(asked < 30, "of 60 that were not logged out, so many were not in memory: {asked}");
    server.stop().await;
}

#[on_both_stores]
async fn a_server_that_still_reads_sessions_into_memory_stops_at_once(store: StoreKind) {
    let (server, tokens) = starting_with_many(store).await;
    assert_eq!(server.check(&tokens[0]).await, 200, "it serves meanwhile");
    let read = warmed(&server).await;
    assert!(read < MANY as u64, "it has read all of them already");
    let begin = Instant::now();
    server.stop().await;
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}
