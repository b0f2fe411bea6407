//! What only the embedded store has: a sink that is given revocations at once, shared commits, files, locks, and their
//! failures.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::Signal;
use sessiond::cache::TIMING;
use sessiond::cache::coherence::{Confirmed, confirm};
use sessiond::config::DatabaseUrl;
use sessiond::domain::entropy::SystemEntropy;
use sessiond::domain::revocation::{Revocation, Why};
use sessiond::domain::user::UserEdit;
use sessiond::store::connect::{ConnectError, Role, connect};
use sessiond::store::{Edited, RevocationSink, StoreError, Target};
use sessiond_support::wait::until;

use crate::harness::fresh::{Fresh, RecordingSink, because, clock, logout_of, made, on_a_fresh_store, open, token};
use crate::harness::process::serving;
use crate::harness::process::{Home, field, finish};
use crate::harness::{ALICE, BOB, Database, Server, StoreKind, delete, get, post};
use crate::wire::outage::{TOO_SLOW, UNREACHABLE, assert_is_over, assert_words, checks, logins, logouts, send_all};

mod files;
mod trouble;

/// A slow sink that records whether a logout was answered before it was done.
#[derive(Default)]
struct Slow {
    answered: AtomicBool,
    too_late: AtomicBool,
}

impl RevocationSink for Slow {
    fn apply(&self, revocation: &Revocation) {
        let begin = Instant::now();
        while !revocation.sessions.is_empty() && begin.elapsed() < Duration::from_millis(100) {
            self.too_late.fetch_or(self.answered.load(Ordering::SeqCst), Ordering::SeqCst);
            std::thread::yield_now();
        }
    }

    fn clear(&self) {
        panic!("only this test changes these files");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_logout_is_answered_before_the_sink_has_applied_it() {
    let (slow, clock, database) = (Arc::new(Slow::default()), clock(), Database::new(StoreKind::Sqlite));
    let (url, role) = (DatabaseUrl::new(database.url()), Role::Serve(slow.clone()));
    let store = connect(&url, role, TIMING, clock.clone(), &SystemEntropy).await.expect("a store");
    let fresh = Fresh { store, clock, sink: Arc::default(), database };
    let ann = fresh.user("ann").await;
    let id = fresh.session(ann, 1).await;
    fresh.revoke(Target::Id(id, None)).await;
    slow.answered.store(true, Ordering::SeqCst);
    fresh.store.close().await;
    assert!(!slow.too_late.load(Ordering::SeqCst));
}

/// The numbers that the sink was given, from the start on.
fn applied_numbers(fresh: &Fresh) -> Vec<i64> {
    fresh.sink.all().iter().map(|revocation| revocation.seq.0).collect()
}

#[tokio::test]
async fn the_sink_gets_every_number_once_from_the_newest_at_the_start_on() {
    let fresh = Fresh::new(StoreKind::Sqlite).await;
    let ann = fresh.user("ann").await;
    for number in 0..40 {
        fresh.session(ann, number).await;
    }
    let logouts = (0..30).map(async |number| {
        // Not all in one batch.
        for _ in 0..number * 3 {
            tokio::task::yield_now().await;
        }
        fresh.logout(logout_of(number)).await
    });
    join_all(logouts).await;
    let newest = fresh.revoke(Target::All(ann)).await.seq;
    assert_eq!(applied_numbers(&fresh), (0..=newest.0).collect::<Vec<_>>());
    fresh.store.close().await;
    let Fresh { store, database, .. } = fresh;
    drop(store);

    let fresh = Fresh::over(database).await;
    assert_eq!(applied_numbers(&fresh), [newest.0]);
    fresh.store.close().await;
}

#[tokio::test]
async fn many_logouts_at_once_share_commits() {
    on_a_fresh_store(StoreKind::Sqlite, async |fresh| {
        let ann = fresh.user("ann").await;
        fresh.sessions(ann, 0..100).await;
        join_all((0..100).map(|number| fresh.logout(logout_of(number)))).await;
        let numbers = fresh.numbers().await;
        assert!(numbers.len() < 50, "{numbers:?}");
    })
    .await;
}

#[tokio::test]
async fn a_server_applies_what_a_command_beside_it_ends_and_acknowledges_it() {
    on_a_fresh_store(StoreKind::Sqlite, async |fresh| {
        let ann = fresh.user("ann").await;
        let id = fresh.session(ann, 1).await;
        fresh.session(ann, 2).await;
        let beside = fresh.beside().await;

        let one = made(beside.revoke(Target::Id(id, None), because(Why::Operator)).await.expect("a store"));
        assert_eq!(confirm(&*beside, one.seq).await.expect("a store"), Confirmed::Applied);
        assert_eq!((fresh.newest().await.seq, fresh.newest().await.sessions), (one.seq, vec![token(1)]));
        let all = made(beside.revoke(Target::All(ann), because(Why::Operator)).await.expect("a store"));
        assert_eq!(confirm(&*beside, all.seq).await.expect("a store"), Confirmed::Applied);
        assert_eq!((fresh.newest().await.seq, fresh.newest().await.users), (all.seq, vec![ann]));

        fresh.store.close().await;
        drop(beside);
    })
    .await;
}

#[tokio::test]
async fn a_command_that_ends_nothing_is_confirmed_after_the_server_ended_something() {
    on_a_fresh_store(StoreKind::Sqlite, async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        fresh.session(ann, 1).await;
        fresh.logout(logout_of(1)).await;
        let beside = fresh.beside().await;
        let edit = UserEdit { disabled: Some(true), ..UserEdit::default() };
        let edited = beside.edit_user(bob, edit, Vec::new(), because(Why::Disabled)).await.expect("a store");
        let Edited::Yes(_, disabled) = edited else { panic!("{edited:?}") };
        assert_eq!(confirm(&*beside, disabled.seq).await.expect("a store"), Confirmed::Applied);
        beside.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_command_is_confirmed_by_a_server_busy_with_logouts() {
    on_a_fresh_store(StoreKind::Sqlite, async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        let beside = fresh.beside().await;
        for number in 0..5 {
            fresh.session(ann, number).await;
            let id = fresh.session(bob, 100 + number).await;
            let ended = made(beside.revoke(Target::Id(id, None), because(Why::Operator)).await.expect("a store"));
            fresh.logout(logout_of(number)).await;
            assert_eq!(confirm(&*beside, ended.seq).await.expect("a store"), Confirmed::Applied);
        }
        assert_eq!(applied_numbers(fresh), (0..=10).collect::<Vec<_>>(), "in order, whichever process ended them");
        beside.close().await;
    })
    .await;
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}

#[tokio::test]
async fn a_second_server_on_the_same_file_is_refused_with_a_sentence() {
    let home = Home::new(StoreKind::Sqlite);
    let server = home.serve().await;
    let sentence = finish(home.server(), "").await.refused().unwrap();
    assert!(sentence.contains("held by another running `sessiond serve`"), "{sentence}");
    assert_eq!(server.send(get("/verify")).await.status, 401, "the first one serves on");
    assert_eq!(server.stop().await.code(), Some(0));
    assert_eq!(home.serve().await.stop().await.code(), Some(0), "the file is free again");
}

#[tokio::test]
async fn a_command_takes_no_servers_lock() {
    let home = Home::new(StoreKind::Sqlite);
    home.run(&["migrate"]).await.done().unwrap();
    assert!(home.database.path().exists() && !home.database.dir().join("test.db.lock").exists());
}

#[tokio::test]
async fn a_stopped_server_has_not_confirmed_and_refuses_once_it_goes_on() {
    let (home, server) = serving(StoreKind::Sqlite).await;
    let bob = server.log_in(BOB).await;
    assert_eq!(server.check(&bob.token).await, 200);
    server.signal(Signal::STOP);
    let unconfirmed = home.run(&["session", "revoke", &bob.session]).await.refused().unwrap();
    assert_eq!(unconfirmed, "sessiond: committed; the running server has not confirmed\n");
    server.signal(Signal::CONT);
    until("the session is dead", async || server.check(&bob.token).await == 401).await;
}

#[tokio::test]
async fn replicas_lists_the_server_and_says_whether_it_is_alive() {
    let (home, server) = serving(StoreKind::Sqlite).await;
    let listed = home.run(&["replicas"]).await.done().unwrap();
    let words: Vec<_> = listed.split_whitespace().collect();
    assert!(matches!(words[..], [_, "serving", "beat", _, "applied", _, "lag", "-"]), "{listed}");
    let bob = server.log_in(BOB).await;
    home.run(&["session", "revoke", &bob.session]).await.done().unwrap();
    let listed = home.run(&["replicas"]).await.done().unwrap();
    assert!(listed.starts_with(words[0]) && listed.contains("  applied 1  "), "{listed}");

    server.kill().await;
    let listed = home.run(&["replicas"]).await.done().unwrap();
    assert!(listed.starts_with(&format!("{}  silent ", words[0])), "{listed}");
    let server = home.serve().await;
    let listed = home.run(&["replicas"]).await.done().unwrap();
    assert!(!listed.contains(words[0]) && listed.contains("  serving  "), "{listed}");
    server.stop().await;
    assert_eq!(home.run(&["replicas"]).await.done().unwrap(), "");
}
