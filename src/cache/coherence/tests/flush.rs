//! Requests for a flush in the log: a login asks for last-seen times that replicas have in memory.

use std::sync::Arc;

use tokio::time::{Instant, sleep};

use super::super::{Coherence as _, LEASE};
use super::memory::{Memory, Touch};
use super::process::Process;
use super::{ms, token, until};
use crate::cache::sessions::tests::NOW;
use crate::domain::revocation::Seq;

/// Two processes, of which the first trusts its memory, and the second if it is `caching`. They know of two sessions, one of them seen lately at the second.
async fn one_seen_elsewhere(store: &Arc<Memory>, caching: bool) -> (Process, Process) {
    let mine = Process::trusted(store).await;
    let other = Process::start(store, caching);
    until(async || store.get(|state| state.rows.len()) == 2 && other.coherence.trusted() == caching).await;
    for process in [&mine, &other] {
        process.keep(token(1));
        process.keep(token(2));
    }
    other.see(&token(1), 5);
    (mine, other)
}

#[tokio::test(start_paused = true)]
async fn last_seen_times_that_are_asked_for_are_stored_before_that_is_acknowledged() {
    for (hinted, caching) in [(true, true), (false, true), (true, false)] {
        let store = Arc::new(Memory::default());
        let (mine, other) = one_seen_elsewhere(&store, caching).await;
        let seq = store.ask(vec![token(1), token(2), token(3)]);
        if hinted {
            store.hint.notify_waiters();
        }
        mine.coherence.flushed(seq).await.expect("flushed");
        let touched = store.get(|state| state.touched.clone());
        let [seen] = &touched[..] else { panic!("{touched:?}") };
        assert_eq!((seen.token_hash, seen.at), (token(1), NOW.after(ms(5))), "what was seen later than stored");
        assert!(other.knows(&token(1)) && mine.knows(&token(2)), "nothing has ended");
        let again = store.ask(vec![token(1)]);
        mine.coherence.flushed(again).await.expect("flushed");
        assert_eq!(store.get(|state| state.touched.len()), 1, "the store knows it by now");
    }
}

#[tokio::test(start_paused = true)]
async fn last_seen_times_that_cannot_be_stored_delay_the_others_a_little_and_nobodys_trust() {
    for (touch, most) in [(Touch::Fails, ms(350)), (Touch::Hangs, ms(350) + LEASE / 4)] {
        let store = Arc::new(Memory::default());
        let (mine, other) = one_seen_elsewhere(&store, true).await;
        store.set(|state| state.touch = touch);
        let seq = store.ask(vec![token(1)]);
        let ended = store.revoke(token(2));
        let began = Instant::now();
        mine.coherence.settled(ended).await.expect("settled");
        assert!(began.elapsed() < most, "{:?}", began.elapsed());
        assert!(!other.knows(&token(2)) && seq < ended);
        for _ in 0..2000 {
            assert!(mine.coherence.trusted() && other.coherence.trusted());
            sleep(ms(1)).await;
        }
        store.set(|state| state.touch = Touch::Works);
        let seq = store.ask(vec![token(1)]);
        mine.coherence.flushed(seq).await.expect("flushed");
        assert_eq!(store.get(|state| state.touched.len()), 1, "it was not forgotten");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_cut_off_delays_a_question_by_a_lease() {
    let store = Arc::new(Memory::default());
    let process = Process::trusted(&store).await;
    store.stranger(Seq(0));
    let seq = store.ask(vec![token(1)]);
    let began = Instant::now();
    process.coherence.flushed(seq).await.expect("flushed");
    assert!((LEASE..LEASE + ms(5)).contains(&began.elapsed()), "{:?}", began.elapsed());
}
