//! The contract of `dyn Replicas`: what processes that share a store know of one another and of what was revoked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sessiond::cache::coherence::{Confirmed, confirm};
use sessiond::domain::entropy::SystemEntropy;
use sessiond::domain::id::ReplicaId;
use sessiond::domain::revocation::{Revocation, Seq, Why};
use sessiond::domain::session::Seen;
use sessiond::store::connect::Role;
use sessiond::store::{Lookup, NewSession, Replica, Replicas, SharedStore, Target};
use sessiond_needs::needs;
use sessiond_support::database::Connection;
use sessiond_support::wait::until;
use tokio::task::JoinSet;

use crate::harness::fresh::{
    Fresh, IDLE, RecordingSink, because, later, login_of, logout_of, made, on_a_fresh_store, open, token,
};
use crate::harness::{BEGIN, StoreKind};

fn shared(fresh: &Fresh) -> Arc<dyn Replicas> {
    fresh.store.shared().expect("many may serve from it")
}

fn new_id() -> ReplicaId {
    ReplicaId::random(&SystemEntropy).expect("entropy")
}

/// Another process that serves from the same database.
async fn another(fresh: &Fresh) -> SharedStore {
    open(&fresh.database, Role::Serve(Arc::new(RecordingSink::default()))).await.expect("a store")
}

async fn replicas(fresh: &Fresh) -> Vec<Replica> {
    let mut replicas = fresh.store.replicas().await.expect("a store");
    replicas.sort_by_key(|replica| replica.id);
    replicas
}

async fn replica(fresh: &Fresh, id: ReplicaId) -> Option<Replica> {
    replicas(fresh).await.into_iter().find(|replica| replica.id == id)
}

/// A user with these sessions.
async fn sessions(fresh: &Fresh, numbers: std::ops::Range<u64>) {
    let ann = fresh.user("ann").await;
    for number in numbers {
        fresh.session(ann, number).await;
    }
}

fn numbers(revocations: &[Revocation]) -> Vec<i64> {
    revocations.iter().map(|revocation| revocation.seq.0).collect()
}

#[needs(postgres)]
#[tokio::test]
async fn a_replica_that_registers_has_applied_the_newest_number() {
    on_a_fresh_store(StoreKind::Postgres, async |fresh| {
        sessions(fresh, 1..2).await;
        let [first, second] = [new_id(), new_id()];
        assert_eq!(shared(fresh).register(first, true).await.expect("a store"), Seq(0));
        fresh.logout(logout_of(1)).await;
        assert_eq!(shared(fresh).register(second, true).await.expect("a store"), Seq(1));
        assert_eq!(replica(fresh, first).await.expect("there").applied, Seq(0));
        assert_eq!(replica(fresh, second).await.expect("there").applied, Seq(1));
        // As after an attempt whose outcome is unknown.
        assert_eq!(shared(fresh).register(first, true).await.expect("a store"), Seq(1));
        assert_eq!(replica(fresh, first).await.expect("there").applied, Seq(1));
        assert_eq!(replicas(fresh).await.len(), 2);
    })
    .await;
}

#[needs(postgres)]
#[tokio::test]
async fn a_beat_counts_up_stores_what_was_applied_and_brings_what_came_after_it() {
    on_a_fresh_store(StoreKind::Postgres, async |fresh| {
        sessions(fresh, 1..4).await;
        let id = new_id();
        shared(fresh).register(id, true).await.expect("a store");
        let before = replica(fresh, id).await.expect("there");
        for number in 1..4 {
            fresh.logout(logout_of(number)).await;
        }
        let news = shared(fresh).beat(id, Seq(1)).await.expect("a store").expect("there");
        assert_eq!((news.head, numbers(&news.revocations)), (Seq(3), vec![2, 3]));
        let ended: Vec<_> = news.revocations.iter().flat_map(|revocation| revocation.sessions.clone()).collect();
        assert_eq!(ended, [token(2), token(3)]);
        assert_eq!(news.replicas, [Replica { id, beat: before.beat + 1, applied: Seq(1), caching: true }]);
        assert_eq!(news.replicas, replicas(fresh).await, "stored");

        let news = shared(fresh).beat(id, Seq(3)).await.expect("a store").expect("there");
        assert_eq!((news.head, news.revocations.len()), (Seq(3), 0));
        assert_eq!(news.replicas, [Replica { id, beat: before.beat + 2, applied: Seq(3), caching: true }]);
    })
    .await;
}

#[needs(postgres)]
#[tokio::test]
async fn the_beat_of_a_deleted_row_is_none_and_does_not_restore_it() {
    on_a_fresh_store(StoreKind::Postgres, async |fresh| {
        let (id, other) = (new_id(), new_id());
        shared(fresh).register(id, true).await.expect("a store");
        shared(fresh).register(other, true).await.expect("a store");
        shared(fresh).deregister(id).await.expect("a store");
        assert!(shared(fresh).beat(id, Seq(0)).await.expect("a store").is_none());
        shared(fresh).acknowledge(id, Seq(7)).await.expect("a store");
        assert_eq!(replicas(fresh).await.iter().map(|replica| replica.id).collect::<Vec<_>>(), [other]);
        shared(fresh).deregister(id).await.expect("twice is fine");
    })
    .await;
}

#[needs(postgres)]
#[tokio::test]
async fn reading_news_changes_nothing_and_names_whole_users() {
    on_a_fresh_store(StoreKind::Postgres, async |fresh| {
        sessions(fresh, 1..3).await;
        let id = new_id();
        shared(fresh).register(id, true).await.expect("a store");
        let before = replicas(fresh).await;
        let ann = fresh.found(1).await.1.id;
        fresh.revoke(Target::All(ann)).await;
        let news = shared(fresh).news(Seq(0)).await.expect("a store");
        assert_eq!((news.head, numbers(&news.revocations)), (Seq(1), vec![1]));
        assert_eq!(news.revocations[0].users, [ann]);
        assert_eq!((&news.replicas, before), (&replicas(fresh).await, news.replicas.clone()));
        assert!(shared(fresh).news(Seq(1)).await.expect("a store").revocations.is_empty());
    })
    .await;
}

#[needs(postgres)]
#[tokio::test]
async fn what_is_acknowledged_is_read_by_others_and_is_no_sign_of_life() {
    on_a_fresh_store(StoreKind::Postgres, async |fresh| {
        let (id, beside) = (new_id(), another(fresh).await);
        shared(fresh).register(id, true).await.expect("a store");
        let before = replica(fresh, id).await.expect("there");
        shared(fresh).acknowledge(id, Seq(5)).await.expect("a store");
        let news = beside.shared().expect("shared").news(Seq(0)).await.expect("a store");
        assert_eq!(news.replicas, [Replica { applied: Seq(5), ..before }]);
        // It may arrive late, behind a beat with a higher number.
        shared(fresh).acknowledge(id, Seq(4)).await.expect("a store");
        assert_eq!(replica(fresh, id).await.expect("there").applied, Seq(5), "never back");
        beside.close().await;
    })
    .await;
}

#[needs(postgres)]
#[tokio::test]
async fn no_replica_is_reaped_that_has_beaten_since() {
    on_a_fresh_store(StoreKind::Postgres, async |fresh| {
        let (alive, dead) = (new_id(), new_id());
        for id in [alive, dead] {
            shared(fresh).register(id, true).await.expect("a store");
        }
        let (read_alive, read_dead) =
            (replica(fresh, alive).await.expect("there"), replica(fresh, dead).await.expect("there"));
        shared(fresh).beat(alive, Seq(0)).await.expect("a store").expect("there");
        shared(fresh).acknowledge(dead, Seq(1)).await.expect("a store");
        for read in [read_alive, read_dead] {
            shared(fresh).reap(read).await.expect("a store");
        }
        assert!(replica(fresh, alive).await.is_some(), "it lost against the beat");
        assert!(replica(fresh, dead).await.is_none(), "an acknowledgement is no sign of life");
        shared(fresh).reap(read_dead).await.expect("twice is fine");
    })
    .await;
}

#[needs(postgres)]
#[tokio::test]
async fn of_a_reaping_and_a_beat_at_once_one_wins() {
    on_a_fresh_store(StoreKind::Postgres, async |fresh| {
        let beside = another(fresh).await;
        for _ in 0..30 {
            let id = new_id();
            shared(fresh).register(id, true).await.expect("a store");
            let read = replica(fresh, id).await.expect("there");
            let (mine, others) = (shared(fresh), beside.shared().expect("shared"));
            let (beaten, reaped) = tokio::join!(mine.beat(id, Seq(0)), others.reap(read));
            reaped.expect("a store");
            let there = replica(fresh, id).await.is_some();
            assert_eq!(beaten.expect("a store").is_some(), there, "whether the row is there");
        }
        beside.close().await;
    })
    .await;
}

#[needs(postgres)]
#[tokio::test]
async fn a_revocation_by_another_is_hinted_at() {
    on_a_fresh_store(StoreKind::Postgres, async |fresh| {
        let beside = another(fresh).await;
        sessions(fresh, 0..90).await;
        let (mine, mut number) = (shared(fresh), 0);
        mine.news(Seq(0)).await.expect("a store");
        // A hint for the beginning may be left.
        while tokio::time::timeout(Duration::from_millis(50), mine.hint()).await.is_ok() {}
        loop {
            assert!(number < 90, "never");
            beside.logout(logout_of(number)).await.expect("a store");
            number += 1;
            if tokio::time::timeout(Duration::from_millis(100), mine.hint()).await.is_ok() {
                break;
            }
        }
        assert_eq!(mine.news(Seq(0)).await.expect("a store").head.0, i64::try_from(number).expect("few"));
        beside.close().await;
    })
    .await;
}

#[needs(postgres)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_have_no_gap_and_no_number_is_read_before_its_tombstones() {
    const EACH: u64 = 150;
    let fresh = Fresh::new(StoreKind::Postgres).await;
    let bob = fresh.user("bob").await;
    // As many for each user as may be.
    for hundred in 0..2 * EACH / 100 {
        let user = fresh.user(&format!("user{hundred}")).await;
        fresh.sessions(user, hundred * 100..(hundred + 1) * 100).await;
    }
    let mut writers = JoinSet::new();
    for (at, store) in (0..).zip([another(&fresh).await, another(&fresh).await]) {
        writers.spawn(async move {
            let mut seqs = BTreeSet::new();
            // Revocations in a batch, one by one, for the cap, and of whole users.
            for five in 0..EACH / 5 {
                let first = at * EACH + five * 5;
                let batch = join_all((first..first + 3).map(|number| store.logout(logout_of(number)))).await;
                seqs.extend(batch.into_iter().map(|revoked| revoked.expect("a store").seq));
                let last = store.lookup(&token(first + 3)).await.expect("a store");
                let Lookup::Found(found) = last else { panic!("{last:?}") };
                let one = store.revoke(Target::Id(found.0.id, None), because(Why::Operator)).await.expect("a store");
                seqs.insert(made(one).seq);
                let new = NewSession { replaces: vec![token(first + 4)], ..login_of(bob, 10_000 + first) };
                store.create_session(new).await.expect("a store");
            }
            store.close().await;
            seqs
        });
    }

    let (reader, mut read, mut finished) = (shared(&fresh), Seq(0), false);
    let mut seqs = BTreeSet::new();
    while !finished {
        // Once all have ended, one more read sees everything.
        finished = loop {
            match writers.try_join_next() {
                Some(ended) => seqs.extend(ended.expect("no panic")),
                None => break writers.is_empty(),
            }
        };
        let news = reader.news(read).await.expect("a store");
        assert_eq!(numbers(&news.revocations), (read.0 + 1..).take(news.revocations.len()).collect::<Vec<_>>());
        for Revocation { seq, sessions, .. } in news.revocations {
            for session in sessions {
                let state = fresh.store.lookup(&session).await.expect("a store");
                assert!(matches!(state, Lookup::Revoked(of) if of == seq), "{seq:?} was read and this is {state:?}");
            }
            read = seq;
        }
    }
    assert_eq!(reader.news(read).await.expect("a store").head, read, "up to the end");
    assert!(seqs.iter().all(|seq| (Seq(1)..=read).contains(seq)));
    assert_eq!(fresh.audit().await["logout"], usize::try_from(2 * EACH / 5 * 3).expect("few"));
    assert!(fresh.states(0..2 * EACH).await.iter().all(|state| *state == "revoked"));
    fresh.store.close().await;
}

#[needs(postgres)]
#[tokio::test]
async fn what_was_answered_is_in_news_asked_for_afterwards() {
    on_a_fresh_store(StoreKind::Postgres, async |fresh| {
        let beside = another(fresh).await;
        sessions(fresh, 0..40).await;
        for number in 0..40 {
            let ended = beside.logout(logout_of(number)).await.expect("a store");
            let news = shared(fresh).news(Seq(ended.seq.0 - 1)).await.expect("a store");
            assert_eq!((news.head, numbers(&news.revocations)), (ended.seq, vec![ended.seq.0]));
        }
        beside.close().await;
    })
    .await;
}

#[needs(postgres)]
#[tokio::test]
async fn a_log_longer_than_an_answer_is_read_in_pieces_without_a_gap() {
    on_a_fresh_store(StoreKind::Postgres, async |fresh| {
        fresh.store.close().await;
        fresh
            .database
            .execute(
                "INSERT INTO revocations (seq, at, sessions, users) SELECT n, 0, '{}', '{}' FROM generate_series(1, 5000) AS n;
                 UPDATE coherence SET seq = 5000",
            )
            .await;
        let store = another(fresh).await;
        let (mut read, shared) = (Vec::new(), store.shared().expect("shared"));
        loop {
            let news = shared.news(Seq(read.last().copied().unwrap_or(0))).await.expect("a store");
            assert_eq!(news.head, Seq(5000));
            if news.revocations.is_empty() {
                break;
            }
            read.extend(numbers(&news.revocations));
        }
        assert_eq!(read, (1..=5000).collect::<Vec<_>>());
        store.close().await;
    })
    .await;
}

#[needs(postgres)]
#[tokio::test]
async fn a_command_waits_for_everybody_who_serves() {
    on_a_fresh_store(StoreKind::Postgres, async |fresh| {
        sessions(fresh, 1..2).await;
        let [quick, slow] = [new_id(), new_id()];
        for id in [quick, slow] {
            shared(fresh).register(id, true).await.expect("a store");
        }
        let command = fresh.beside().await;
        let ended = command.logout(logout_of(1)).await.expect("a store");
        shared(fresh).acknowledge(quick, ended.seq).await.expect("a store");
        let mut confirmed = std::pin::pin!(confirm(&*command, ended.seq));
        let early = tokio::time::timeout(Duration::from_millis(200), &mut confirmed).await;
        assert!(early.is_err(), "one has not applied it: {early:?}");
        shared(fresh).acknowledge(slow, ended.seq).await.expect("a store");
        assert_eq!(confirmed.await.expect("a store"), Confirmed::Applied);
        command.close().await;
    })
    .await;
}

#[needs(postgres)]
#[tokio::test]
async fn what_a_replica_has_not_applied_is_kept_in_the_log() {
    on_a_fresh_store(StoreKind::Postgres, async |fresh| {
        sessions(fresh, 1..4).await;
        let id = new_id();
        shared(fresh).register(id, true).await.expect("a store");
        for number in 1..4 {
            fresh.logout(logout_of(number)).await;
        }
        shared(fresh).acknowledge(id, Seq(1)).await.expect("a store");
        fresh.store.purge(later(1_000_000), 100).await.expect("a store");
        let news = shared(fresh).news(Seq(1)).await.expect("a store");
        assert_eq!((news.head, numbers(&news.revocations)), (Seq(3), vec![2, 3]));
    })
    .await;
}

#[needs(postgres)]
#[tokio::test]
async fn a_last_seen_time_that_waits_for_a_lock_past_the_deadline_revives_no_session() {
    on_a_fresh_store(StoreKind::Postgres, async |fresh| {
        sessions(fresh, 1..2).await;
        let mut lock = Connection::open(&fresh.database.url()).await.expect("connected");
        lock.execute("BEGIN; SELECT 1 FROM sessions FOR UPDATE").await.expect("locked");
        fresh.wait_until(later(99));
        let seen = Seen { token_hash: token(1), at: later(99), idle_until: later(199) };
        let meanwhile = async {
            let waits =
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
            until("it waits", async || fresh.database.number(waits).await == 1).await;
            fresh.wait_until(BEGIN.after(IDLE));
            lock.execute("COMMIT").await.expect("released");
        };
        let (moved, ()) = tokio::join!(fresh.store.touch(vec![seen]), meanwhile);
        let moved = moved.expect("a store");
        assert!(moved.is_empty(), "it was over when its turn came: {moved:?}");
    })
    .await;
}

#[needs(postgres)]
#[tokio::test]
async fn a_session_seen_by_another_in_its_last_moment_is_ended_with_the_others() {
    on_a_fresh_store(StoreKind::Postgres, async |fresh| {
        sessions(fresh, 1..2).await;
        let ann = fresh.found(1).await.1.id;
        let mut other = Connection::open(&fresh.database.url()).await.expect("connected");
        let seen = format!("BEGIN; UPDATE sessions SET idle_expires_at = {}", BEGIN.after(IDLE * 2).millis());
        other.execute(&seen).await.expect("on its way");
        fresh.wait_until(BEGIN.after(IDLE));
        let meanwhile = async {
            let waits =
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
            until("it waits", async || fresh.database.number(waits).await == 1).await;
            other.execute("COMMIT").await.expect("stored");
        };
        let (revoked, ()) = tokio::join!(fresh.revoke(Target::All(ann)), meanwhile);
        assert_eq!(revoked.sessions.len(), 1);
        assert!(matches!(fresh.lookup(1).await, Lookup::Revoked(_)));
    })
    .await;
}

#[needs(postgres)]
#[tokio::test]
async fn a_session_that_became_idle_just_now_is_ended_for_good_and_not_counted() {
    on_a_fresh_store(StoreKind::Postgres, async |fresh| {
        sessions(fresh, 1..2).await;
        let ann = fresh.found(1).await.1.id;
        fresh.wait_until(BEGIN.after(IDLE));
        assert!(fresh.revoke(Target::All(ann)).await.sessions.is_empty(), "it was over");
        let ended = "SELECT count(*) FROM sessions WHERE revoked_at IS NOT NULL";
        assert_eq!(fresh.database.number(ended).await, 1, "and comes not back, whatever another's clock says");
        let query = "SELECT count(*) FROM events WHERE kind = 'revoked'";
        assert_eq!(fresh.database.number(query).await, 0);
    })
    .await;
}

#[needs(postgres)]
#[tokio::test]
async fn the_log_is_read_by_its_index_though_it_was_short_when_that_was_planned() {
    on_a_fresh_store(StoreKind::Postgres, async |fresh| {
        let reader = another(fresh).await;
        for _ in 0..20 {
            reader.shared().expect("shared").news(Seq(0)).await.expect("a store");
        }
        // Its changes become visible once it is closed.
        reader.close().await;
        drop(reader);
        let query = "SELECT idx_scan FROM pg_stat_user_tables WHERE relname = 'revocations'";
        until("the reads are counted", async || fresh.database.number(query).await >= 20).await;
        // Making the index goes through the table once.
        let scans = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'revocations'";
        assert!(fresh.database.number(scans).await <= 1);
    })
    .await;
}
