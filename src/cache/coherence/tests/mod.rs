//! The rules of coherence, against a small store in memory whose clocks and failures the tests control.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, advance, sleep};

use self::memory::{Memory, ROUND_TRIP};
use self::process::Process;
use super::{BootClock as _, Coherence as _, Embedded, LEASE};
use crate::cache::sessions::tests::cache;
use crate::domain::revocation::{Revocation, Seq};
use crate::domain::token::TokenHash;
use crate::store::RevocationSink as _;

mod flush;
mod memory;
mod process;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Lets time pass until it holds.
async fn until(condition: impl AsyncFn() -> bool) {
    for _ in 0..10_000 {
        if condition().await {
            return;
        }
        sleep(ms(1)).await;
    }
    panic!("waited in vain");
}

fn token(number: u8) -> TokenHash {
    TokenHash::from_bytes([number; 32])
}

fn number(seq: i64) -> Revocation {
    Revocation { seq: Seq(seq), ..Revocation::default() }
}

fn embedded() -> Embedded {
    Embedded::new(Arc::new(cache(1)), true, Arc::default())
}

#[tokio::test]
async fn embedded_what_was_applied_is_settled_at_once() {
    let coherence = embedded();
    coherence.apply(&number(3));
    assert!(coherence.settled(Seq(3)).await.is_ok());
    assert!(coherence.trusted() && coherence.untrusted_reason().is_none());
}

#[tokio::test]
async fn embedded_what_was_not_applied_yet_is_waited_for() {
    let coherence = embedded();
    let (settled, ()) = tokio::join!(coherence.settled(Seq(1)), async {
        tokio::task::yield_now().await;
        coherence.apply(&number(1));
    });
    assert!(settled.is_ok());
}

#[tokio::test(start_paused = true)]
async fn embedded_what_is_never_applied_is_an_error_and_not_an_answer() {
    assert!(embedded().settled(Seq(1)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn trust_begins_with_the_first_beat_and_lasts_while_beats_are_answered() {
    let store = Arc::new(Memory::default());
    let process = Process::start(&store, true);
    assert_eq!(process.coherence.untrusted_reason().as_deref(), Some("no beat has been answered yet"));
    process.until_trusted().await;
    for _ in 0..5000 {
        sleep(ms(1)).await;
        assert!(process.coherence.trusted());
    }
    let beats = store.get(|state| state.beats);
    assert!((15..17).contains(&beats), "three a second: {beats}");
    assert_eq!(store.get(|state| state.reads), 0, "and nothing but beats");
}

#[tokio::test(start_paused = true)]
async fn trust_lapses_without_answers_and_comes_back_with_the_cache_as_it_was() {
    let store = Arc::new(Memory::default());
    let process = Process::trusted(&store).await;
    process.keep(token(1));
    store.set(|state| state.down = true);
    let down = Instant::now();
    until(async || !process.coherence.trusted()).await;
    assert!((ms(560)..=ms(901)).contains(&down.elapsed()), "{:?}", down.elapsed());
    assert!(process.coherence.untrusted_reason().expect("a reason").contains("down"));
    sleep(ms(5000)).await;
    assert!(!process.coherence.trusted());
    store.set(|state| state.down = false);
    process.until_trusted().await;
    assert!(process.knows(&token(1)), "it missed nothing");
}

#[tokio::test(start_paused = true)]
async fn trust_counts_from_before_the_beat_was_sent() {
    let store = Arc::new(Memory::default());
    store.set(|state| state.slow = ms(400));
    let process = Process::start(&store, true);
    let sent = process.clock.now() + ROUND_TRIP;
    process.until_trusted().await;
    assert!(process.clock.now() >= sent + ms(402));
    store.set(|state| state.down = true);
    until(async || !process.coherence.trusted()).await;
    let lasted = process.clock.now().saturating_sub(sent);
    assert!((ms(895)..=ms(905)).contains(&lasted), "of a lease from before it was sent: {lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_suspended_process_is_not_trusted_when_it_wakes() {
    let store = Arc::new(Memory::default());
    let process = Process::trusted(&store).await;
    *process.clock.asleep.lock() += ms(1000);
    assert!(!process.coherence.trusted());
    process.until_trusted().await;
}

#[tokio::test(start_paused = true)]
async fn a_late_beat_changes_nothing_and_gives_no_trust() {
    let store = Arc::new(Memory::default());
    let process = Process::trusted(&store).await;
    process.keep(token(1));
    store.set(|state| state.slow = ms(500));
    store.revoke(token(2));
    sleep(ms(3000)).await;
    assert!(!process.coherence.trusted());
    assert!(process.knows(&token(1)) && process.metric("sessiond_revocations_applied_total 0"));
    store.set(|state| state.slow = ms(0));
    process.until_trusted().await;
    assert!(process.knows(&token(1)) && process.metric("sessiond_revocations_applied_total 1"));
}

#[tokio::test(start_paused = true)]
async fn a_beat_that_leaves_the_log_unread_gives_no_trust() {
    let store = Arc::new(Memory::default());
    let process = Process::trusted(&store).await;
    process.keep(token(9));
    store.set(|state| state.down = true);
    until(async || !process.coherence.trusted()).await;
    store.revoke_times(50, token(1));
    let last = store.revoke(token(9));
    store.set(|state| (state.down, state.page) = (false, Some(1)));
    until(async || {
        assert!(!process.coherence.trusted() || !process.knows(&token(9)));
        process.coherence.trusted()
    })
    .await;
    assert_eq!(store.get(|state| state.rows.values().map(|(_, applied)| *applied).min()), Some(last));
    assert!(process.metric("sessiond_revocations_applied_total 51"));
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_gone_ends_trust_and_empties_the_cache_and_another_is_made() {
    let store = Arc::new(Memory::default());
    let process = Process::trusted(&store).await;
    process.keep(token(1));
    store.set(|state| state.rows.clear());
    until(async || !process.coherence.trusted()).await;
    process.until_trusted().await;
    assert!(!process.knows(&token(1)));
    assert_eq!(store.get(|state| state.rows.len()), 1);
    assert!(process.metric("sessiond_cache_clears_total{reason=\"row_gone\"} 1"));
}

#[tokio::test(start_paused = true)]
async fn a_row_whose_making_was_not_confirmed_is_made_again() {
    let store = Arc::new(Memory::default());
    store.set(|state| state.mute = true);
    let process = Process::start(&store, true);
    sleep(ms(250)).await;
    assert!(!process.coherence.trusted());
    assert_eq!(store.get(|state| state.rows.len()), 1, "of three attempts");
    store.revoke(token(1));
    store.set(|state| state.mute = false);
    process.until_trusted().await;
    assert_eq!(store.get(|state| state.rows.values().map(|(_, applied)| *applied).collect::<Vec<_>>()), [Seq(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_load_across_the_loss_of_the_row_is_not_kept() {
    let store = Arc::new(Memory::default());
    let process = Process::trusted(&store).await;
    store.set(|state| state.rows.clear());
    until(async || !process.coherence.trusted()).await;
    process.keep(token(1));
    process.until_trusted().await;
    assert!(!process.knows(&token(1)));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_was_cut_empties_the_cache() {
    for cut in [2, 3] {
        let store = Arc::new(Memory::default());
        let process = Process::trusted(&store).await;
        process.keep(token(9));
        store.revoke_times(3, token(1));
        store.set(|state| state.log.drain(..cut).count());
        until(async || !process.knows(&token(9))).await;
        process.until_trusted().await;
        process.keep(token(9));
        sleep(ms(2000)).await;
        assert!(process.knows(&token(9)) && process.metric("sessiond_cache_clears_total{reason=\"log_cut\"} 1"));
        assert!(store.get(|state| state.rows.values().all(|(_, applied)| *applied == Seq(3))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_went_back_empties_the_cache_and_the_numbers_follow() {
    let store = Arc::new(Memory::default());
    let process = Process::trusted(&store).await;
    store.revoke_times(9, token(1));
    until(async || process.coherence.settled.has_reached(Seq(9))).await;
    process.keep(token(2));
    store.set(|state| {
        state.log.truncate(4);
        state.head = Seq(4);
        state.rows.values_mut().for_each(|(_, applied)| *applied = Seq(4));
    });
    until(async || !process.knows(&token(2))).await;
    process.until_trusted().await;
    assert!(process.metric("sessiond_cache_clears_total{reason=\"head_went_back\"} 1"));
    process.keep(token(2));
    assert!(process.knows(&token(2)));
    assert!(!process.coherence.durable.has_reached(Seq(5)), "it is to be assigned again");
    let again = store.revoke(token(2));
    assert_eq!(again, Seq(5));
    process.coherence.settled(again).await.expect("settled");
    assert!(!process.knows(&token(2)), "a number given out again is applied again");
}

#[tokio::test(start_paused = true)]
async fn numbers_that_another_server_gave_out_twice_are_not_taken_for_those_applied() {
    let store = Arc::new(Memory::default());
    let process = Process::trusted(&store).await;
    store.revoke_times(3, token(1));
    until(async || process.coherence.settled.has_reached(Seq(3))).await;
    process.keep(token(2));
    store.set(|state| {
        state.timeline += 1;
        state.log.truncate(2);
        state.head = Seq(2);
    });
    // Number 3 for the second time, and one more, before the process looks.
    store.revoke(token(2));
    store.revoke(token(1));
    until(async || !process.knows(&token(2))).await;
    process.until_trusted().await;
    assert!(process.metric("sessiond_cache_clears_total{reason=\"failover\"} 1"));
}

#[tokio::test(start_paused = true)]
async fn the_first_number_after_a_failover_is_the_next_one_and_its_second_is_not() {
    for (skipped, clears) in [(0, 0), (1, 1)] {
        let store = Arc::new(Memory::default());
        let process = Process::trusted(&store).await;
        store.revoke_times(3, token(1));
        store.set(|state| state.timeline = 2);
        until(async || process.metric("sessiond_cache_clears_total{reason=\"failover\"} 1")).await;
        process.until_trusted().await;
        process.keep(token(9));
        store.set(|state| state.head = Seq(Seq::first_of(2).0 - 1 + skipped));
        let last = (store.revoke(token(2)), store.revoke(token(3))).1;
        until(async || process.coherence.settled.has_reached(last)).await;
        assert_eq!(process.knows(&token(9)), clears == 0);
        assert!(process.metric(&format!("sessiond_cache_clears_total{{reason=\"log_cut\"}} {clears}")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_number_is_settled_once_every_row_has_applied_it() {
    let store = Arc::new(Memory::default());
    let (mine, other) = (Process::trusted(&store).await, Process::trusted(&store).await);
    other.keep(token(1));
    mine.keep(token(1));
    let seq = store.revoke(token(1));
    store.hint.notify_waiters();
    let began = Instant::now();
    mine.coherence.settled(seq).await.expect("settled");
    assert!(began.elapsed() < ms(20), "{:?}", began.elapsed());
    assert!(!mine.knows(&token(1)) && !other.knows(&token(1)));
    sleep(ms(10)).await;
    let reads = store.get(|state| state.reads);
    mine.coherence.settled(seq).await.expect("settled");
    sleep(ms(100)).await;
    assert_eq!(store.get(|state| state.reads), reads, "nothing waits, nothing reads");
}

#[tokio::test(start_paused = true)]
async fn without_a_hint_a_number_is_settled_by_the_next_beats() {
    let store = Arc::new(Memory::default());
    let (mine, other) = (Process::trusted(&store).await, Process::trusted(&store).await);
    other.keep(token(1));
    let seq = store.revoke(token(1));
    let began = Instant::now();
    mine.coherence.settled(seq).await.expect("settled");
    assert!(!other.knows(&token(1)) && began.elapsed() < ms(400), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_row_that_never_applies_it_delays_a_number_by_a_lease() {
    let store = Arc::new(Memory::default());
    let process = Process::trusted(&store).await;
    let seq = store.revoke(token(1));
    let began = Instant::now();
    // It beats, and does not read.
    let lagging = store.stranger(Seq(0));
    let beating = async {
        loop {
            store.set(|state| state.rows.get_mut(&lagging).expect("a row").0 += 1);
            sleep(ms(300)).await;
        }
    };
    tokio::select! {
        () = beating => {}
        settled = process.coherence.settled(seq) => settled.expect("settled"),
    }
    assert!((LEASE..LEASE + ms(5)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_down_a_number_is_settled_after_a_lease() {
    let store = Arc::new(Memory::default());
    let process = Process::trusted(&store).await;
    store.revoke(token(1));
    store.set(|state| state.down = true);
    let began = Instant::now();
    process.coherence.settled(Seq(1)).await.expect("settled");
    assert!(began.elapsed() >= LEASE && !process.coherence.trusted());
}

#[tokio::test(start_paused = true)]
async fn a_number_that_was_only_read_is_made_durable_once_for_all_who_need_it() {
    let store = Arc::new(Memory::default());
    let process = Process::trusted(&store).await;
    let seqs = [1, 2, 3].map(|number| store.revoke(token(number)));
    for settled in futures_util::future::join_all(seqs.map(|seq| process.coherence.settled_as_read(seq))).await {
        settled.expect("settled");
    }
    assert_eq!(store.get(|state| state.made_durable), 2, "one for the first, and one for all that came meanwhile");
    process.coherence.settled_as_read(seqs[2]).await.expect("settled");
    assert_eq!(store.get(|state| state.made_durable), 2, "that is known from now on");
    store.revoke(token(4));
    sleep(LEASE).await;
    process.coherence.settled_as_read(Seq(4)).await.expect("settled");
    assert_eq!(store.get(|state| state.made_durable), 2, "beats make durable what was applied before them");
}

#[tokio::test(start_paused = true)]
async fn a_number_that_was_only_read_is_not_settled_while_commits_are_not_answered() {
    let store = Arc::new(Memory::default());
    let process = Process::trusted(&store).await;
    let seq = store.revoke(token(1));
    // What is committed waits for a standby, and what is read does not.
    store.set(|state| state.slow = LEASE);
    for _ in 0..2 {
        process.coherence.settled_as_read(seq).await.expect_err("it may be undone");
    }
    process.coherence.settled(seq).await.expect("a commit of this number was answered here");
    process.coherence.settled_as_read(seq).await.expect("so it is durable");
    store.set(|state| state.slow = Duration::ZERO);
    process.coherence.settled_as_read(store.revoke(token(2))).await.expect("settled");
}

/// A process on the first timeline, and three numbers: one that it knows to be durable, and two that it only reads there, since
/// commits wait for a standby; and what has another server take over, without the last of them.
async fn with_one_that_is_not_durable() -> (Arc<Memory>, Process, [Seq; 3], impl Fn()) {
    let store = Arc::new(Memory::default());
    let process = Process::trusted(&store).await;
    let durable = store.revoke(token(1));
    until(async || process.coherence.durable.has_reached(durable)).await;
    store.set(|state| state.slow = LEASE);
    let (held, read) = (store.revoke(token(2)), store.revoke(token(2)));
    sleep(LEASE).await;
    process.coherence.settled_as_read(read).await.expect_err("it may be undone");
    let take_over = {
        let store = Arc::clone(&store);
        move || {
            store.set(|state| {
                (state.timeline, state.slow) = (2, Duration::ZERO);
                state.log.retain(|entry| entry.seq <= held);
                state.head = Seq(Seq::first_of(2).0 - 1);
            });
            store.revoke(token(3));
        }
    };
    (store, process, [durable, held, read], take_over)
}

#[tokio::test(start_paused = true)]
async fn a_number_that_was_read_before_a_takeover_is_not_made_durable_by_the_one_that_took_over() {
    // The process asks the new primary before its next beat, and then after it.
    let (store, process, [durable, held, read], take_over) = with_one_that_is_not_durable().await;
    store.set(|state| state.down = true);
    sleep(LEASE).await;
    take_over();
    store.set(|state| state.down = false);
    process.coherence.settled_as_read(read).await.expect_err("it may be lacking there");
    process.coherence.settled_as_read(held).await.expect("it has this one");
    process.coherence.settled_as_read(read).await.expect_err("it may be lacking there");
    store.set(|state| state.log.clear());
    process.coherence.settled_as_read(durable).await.expect("it was durable before");
    process.until_trusted().await;
    process.coherence.settled_as_read(read).await.expect_err("it may be lacking there");
    process.coherence.settled_as_read(Seq::first_of(2)).await.expect("it was assigned there");
    sleep(LEASE * 4).await;
    process.coherence.settled_as_read(read).await.expect("a read that begins now finds what the new primary has");
}

#[tokio::test(start_paused = true)]
async fn a_number_that_was_read_before_a_takeover_is_not_settled_by_what_comes_after_it() {
    // Its own commit is the first that it knows of the new primary.
    let (_, process, [_, held, read], take_over) = with_one_that_is_not_durable().await;
    take_over();
    process.coherence.settled(Seq::first_of(2)).await.expect("committed here");
    process.coherence.settled_as_read(read).await.expect_err("it may be lacking there");
    process.coherence.settled_as_read(held).await.expect("it has this one");

    // It waits behind one that has asked the primary before.
    let (_, process, [.., read], take_over) = with_one_that_is_not_durable().await;
    let (before, after) = tokio::join!(process.coherence.settled_as_read(read), async {
        sleep(LEASE / 2).await;
        take_over();
        process.coherence.settled_as_read(read).await
    });
    before.expect_err("it may be undone");
    after.expect_err("it may be lacking there");
}

#[tokio::test(start_paused = true)]
async fn a_beat_that_another_server_answers_makes_nothing_durable_that_was_read_before() {
    let store = Arc::new(Memory::default());
    let process = Process::trusted(&store).await;
    // It is read and applied, but no beat was answered since.
    let read = store.revoke(token(1));
    store.hint.notify_waiters();
    until(async || process.coherence.settled.has_reached(read)).await;
    assert!(!process.coherence.durable.has_reached(read));
    store.set(|state| {
        state.timeline = 2;
        state.log.clear();
        state.head = Seq(Seq::first_of(2).0 - 1);
    });
    process.until_trusted().await;
    sleep(LEASE).await;
    process.coherence.settled_as_read(read).await.expect_err("it may be lacking there");
}

#[tokio::test(start_paused = true)]
async fn many_who_wait_share_the_reads() {
    let store = Arc::new(Memory::default());
    let process = Process::trusted(&store).await;
    store.stranger(Seq(0));
    let seq = store.revoke(token(1));
    let all = (0..100).map(|_| process.coherence.settled(seq));
    futures_util::future::join_all(all).await;
    let reads = store.get(|state| state.reads);
    assert!((100..400).contains(&reads), "one every few milliseconds, for a lease: {reads}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_row_is_given_up_after_a_lease() {
    let store = Arc::new(Memory::default());
    let process = Process::trusted(&store).await;
    let dead = store.stranger(Seq(0));
    let seen = Instant::now();
    until(async || !store.has(dead)).await;
    assert!((LEASE..ms(1700)).contains(&seen.elapsed()), "{:?}", seen.elapsed());
    assert!(process.coherence.trusted() && process.metric("sessiond_replicas_reaped_total 1"));
    assert_eq!(store.get(|state| state.rows.len()), 1, "not oneself");
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_nobody_is_given_up_at_once() {
    let store = Arc::new(Memory::default());
    let _process = Process::trusted(&store).await;
    let quiet = store.stranger(Seq(0));
    sleep(ms(600)).await;
    store.set(|state| state.down = true);
    sleep(ms(10_000)).await;
    store.set(|state| state.down = false);
    sleep(ms(900)).await;
    assert!(store.has(quiet));
    until(async || !store.has(quiet)).await;
}

#[tokio::test(start_paused = true)]
async fn a_hint_leads_to_hearing_and_acknowledging_without_a_beat() {
    let store = Arc::new(Memory::default());
    let process = Process::trusted(&store).await;
    process.keep(token(1));
    let beats = store.get(|state| state.beats);
    sleep(ms(50)).await;
    store.revoke(token(1));
    store.hint.notify_one();
    sleep(ms(10)).await;
    assert!(!process.knows(&token(1)));
    assert_eq!(store.get(|state| (state.beats, state.acknowledged)), (beats, 1));
}

#[tokio::test(start_paused = true)]
async fn what_a_beat_heard_is_acknowledged_without_waiting_for_the_next() {
    let store = Arc::new(Memory::default());
    let _process = Process::trusted(&store).await;
    store.revoke(token(1));
    until(async || store.get(|state| state.acknowledged) == 1).await;
    assert_eq!(store.get(|state| state.beats), 2);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_hints_does_not_keep_the_beats_away() {
    let store = Arc::new(Memory::default());
    let process = Process::trusted(&store).await;
    let beats = store.get(|state| state.beats);
    for _ in 0..3000 {
        store.hint.notify_one();
        sleep(ms(1)).await;
        assert!(process.coherence.trusted());
    }
    assert!(store.get(|state| state.beats) >= beats + 8);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_is_not_trusted_and_has_no_row() {
    let store = Arc::new(Memory::default());
    let process = Process::trusted(&store).await;
    let coherence = process.coherence.clone();
    process.stop().await;
    assert!(!coherence.trusted() && store.get(|state| state.rows.is_empty()));
    assert_eq!(coherence.untrusted_reason().as_deref(), Some("stopping"));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_unasked_ends_the_trust() {
    let store = Arc::new(Memory::default());
    let mut process = Process::trusted(&store).await;
    process.task.shutdown().await;
    assert_eq!(process.coherence.untrusted_reason().as_deref(), Some("the task that beats has ended"));
}

/// A process that answers no check from memory, once it has a row.
async fn uncached(store: &Arc<Memory>) -> Process {
    let rows = store.get(|state| state.rows.len());
    let process = Process::start(store, false);
    until(async || store.get(|state| state.rows.len()) > rows).await;
    process
}

#[tokio::test(start_paused = true)]
async fn without_a_cache_nothing_is_believed_and_others_are_waited_for() {
    let store = Arc::new(Memory::default());
    let (uncached, other) = (uncached(&store).await, Process::trusted(&store).await);
    other.keep(token(1));
    for _ in 0..2000 {
        assert!(!uncached.coherence.trusted() && !uncached.coherence.is_caching());
        sleep(ms(1)).await;
    }
    let seq = store.revoke(token(1));
    uncached.coherence.settled(seq).await.expect("settled");
    assert!(!other.knows(&token(1)));
}

#[tokio::test(start_paused = true)]
async fn no_revocation_waits_for_a_process_without_a_cache() {
    let store = Arc::new(Memory::default());
    for caching in [false, true] {
        let process = if caching { Process::trusted(&store).await } else { uncached(&store).await };
        let lagging = store.stranger(Seq(0));
        store.set(|state| state.uncached.insert(lagging));
        let began = Instant::now();
        for _ in 0..10 {
            let seq = store.revoke(token(1));
            process.coherence.settled(seq).await.expect("settled");
        }
        assert!(began.elapsed() < ms(200), "{:?}", began.elapsed());
        let asked = store.ask(vec![token(1)]);
        process.coherence.flushed(asked).await.expect("flushed");
        assert!(began.elapsed() >= LEASE, "a question does");
        let reads = store.get(|state| state.reads);
        advance(ms(100)).await;
        assert_eq!(store.get(|state| state.reads), reads, "nothing waits, nothing reads");
        process.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_cache_a_silent_row_is_given_up_too() {
    let store = Arc::new(Memory::default());
    let uncached = uncached(&store).await;
    let dead = store.stranger(Seq(0));
    let seq = store.revoke(token(1));
    uncached.coherence.settled(seq).await.expect("settled");
    until(async || !store.has(dead)).await;
}
