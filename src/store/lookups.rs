//! Checks that must ask the store at about the same time: one read for many of them, for both databases.
//!
//! Nothing is delayed to fill a batch: what is asked for while reads are under way makes up the next one.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;

use super::batch::{Batches, Pending, Queue};
use super::{Lookup, Result};
use crate::domain::token::TokenHash;
use crate::telemetry::{StoreMetrics, StoreWork};

/// A token that is looked up, and where the answer goes.
type Waiting = Pending<TokenHash, Lookup>;

/// What tokens lead to; the ones that lead nowhere are left out. A row that makes no sense fails the check of its own
/// session, and not those that were asked for beside it.
pub(super) type Found = HashMap<TokenHash, Result<Lookup>>;

/// The task that looks tokens up, and where they wait for it.
pub(super) struct Lookups {
    queue: Queue<Waiting>,
    /// How many were asked for, and how many of these were answered or given up.
    progress: watch::Sender<Progress>,
}

#[derive(Clone, Copy, Default)]
struct Progress {
    asked: u64,
    answered: u64,
}

impl Lookups {
    /// Starts the task. It has at most `at_a_time` reads under way: with one, a connection that hangs would hold up every
    /// check; the more there are, the fewer checks share a read.
    pub(super) fn start<F>(
        at_a_time: usize,
        metrics: Arc<StoreMetrics>,
        find: impl Fn(Vec<TokenHash>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Found>> + Send,
    {
        let queue = Queue::start(move |batches| async move { run(batches, at_a_time, &metrics, &find).await });
        Self { queue, progress: watch::Sender::default() }
    }

    /// Looks a token up, together with what others ask for. It is for the caller to say for how long to wait.
    pub(super) async fn ask(&self, token: TokenHash) -> Result<Lookup> {
        self.progress.send_if_modified(|progress| {
            progress.asked += 1;
            false
        });
        let _answered = Answered(&self.progress);
        self.queue.ask(token, std::convert::identity).await
    }

    /// Returns once as many look-ups are over as wait now, so that what is less urgent comes after them.
    pub(super) async fn step_back(&self) {
        let asked = self.progress.borrow().asked;
        // This fails only when the other end is dropped, and that is held here.
        let _ = self.progress.subscribe().wait_for(|progress| progress.answered >= asked).await;
    }

    /// How many were asked for so far.
    pub(super) fn asked(&self) -> u64 {
        self.progress.borrow().asked
    }

    /// Fails once the task has ended.
    pub(super) fn check(&self) -> Result<()> {
        self.queue.check()
    }

    /// Answers what is asked for already, and ends the task.
    pub(super) async fn close(&self) {
        self.queue.close().await;
    }
}

/// Counts a look-up as over when it is dropped, however it ends.
struct Answered<'l>(&'l watch::Sender<Progress>);

impl Drop for Answered<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|progress| progress.answered += 1);
    }
}

async fn run<F>(
    mut batches: Batches<Waiting>,
    at_a_time: usize,
    metrics: &StoreMetrics,
    find: &impl Fn(Vec<TokenHash>) -> F,
) where
    F: Future<Output = Result<Found>>,
{
    let mut asked = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(()) = asked.next() => {}
            batch = batches.next(), if asked.len() < at_a_time => match batch {
                Some(batch) => asked.push(answer(metrics, find, batch)),
                None => break,
            },
        }
    }
    while asked.next().await.is_some() {}
}

/// Looks up all tokens of a batch and answers each.
async fn answer<F>(metrics: &StoreMetrics, find: &impl Fn(Vec<TokenHash>) -> F, mut batch: Vec<Waiting>)
where
    F: Future<Output = Result<Found>>,
{
    batch.retain(|waiting| !waiting.is_given_up());
    if batch.is_empty() {
        return;
    }
    let tokens: Vec<_> = batch.iter().map(|waiting| waiting.work).collect();
    metrics.asked(StoreWork::lookups, tokens.len());
    match find(tokens).await {
        Ok(found) => {
            for waiting in batch {
                let lookup = found.get(&waiting.work).cloned().unwrap_or(Ok(Lookup::Missing));
                waiting.answer(lookup);
            }
        }
        Err(error) => batch.into_iter().for_each(|waiting| waiting.answer(Err(error.clone()))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;
    use futures_util::future::join_all;
    use tokio::sync::Semaphore;

    use super::super::StoreError;
    use super::*;
    use crate::domain::revocation::Seq;

    const AT_A_TIME: usize = 2;

    fn token(number: u8) -> TokenHash {
        TokenHash::from_bytes([number; 32])
    }

    /// Look-ups of a store where even numbers lead to a tombstone of that number and 1 to nonsense. Each read waits for a
    /// permit, and is counted.
    fn lookups(go: &Arc<Semaphore>) -> (Lookups, Arc<AtomicUsize>) {
        let (go, reads) = (Arc::clone(go), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&reads);
        let find = move |tokens: Vec<TokenHash>| {
            counted.fetch_add(1, Ordering::Relaxed);
            let go = Arc::clone(&go);
            async move {
                go.acquire().await.map_err(|_| StoreError::unreachable("down"))?.forget();
                let found = tokens.into_iter().filter_map(|token| match token.as_bytes()[0] {
                    1 => Some((token, Err(StoreError::inconsistent("odd")))),
                    number if number % 2 == 0 => Some((token, Ok(Lookup::Revoked(Seq(number.into()))))),
                    _ => None,
                });
                Ok(found.collect())
            }
        };
        (Lookups::start(AT_A_TIME, Arc::default(), find), reads)
    }

    /// Lets every task run until none has anything to do.
    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn those_who_ask_at_once_share_a_read_and_each_gets_its_own_answer() {
        let go = Arc::new(Semaphore::new(1));
        let (lookups, reads) = lookups(&go);
        let answers = join_all((0..100).map(async |number| (number, lookups.ask(token(number)).await))).await;
        for (number, answer) in answers {
            match (number, answer) {
                (1, Err(error)) => assert!(matches!(error, StoreError::Inconsistent(_)), "{error}"),
                (_, Ok(Lookup::Revoked(seq))) => assert_eq!(seq, Seq(number.into())),
                (_, Ok(Lookup::Missing)) => assert!(number % 2 == 1, "{number}"),
                (_, other) => panic!("{number}: {other:?}"),
            }
        }
        assert_eq!(reads.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn what_is_asked_for_during_reads_makes_up_one_more_and_none_is_waited_for() {
        let go = Arc::new(Semaphore::new(0));
        let (lookups, reads) = lookups(&go);
        let ask = async |number| lookups.ask(token(number)).await.map(drop);
        let (first, second) = (ask(2), ask(4));
        let mut under_way = Box::pin(async { tokio::join!(first, second) });
        assert!(under_way.as_mut().now_or_never().is_none());
        settle().await;
        assert_eq!(reads.load(Ordering::Relaxed), 1, "one alone is not kept waiting for others");
        let mut later = Box::pin(join_all((6..36).map(ask)));
        assert!(later.as_mut().now_or_never().is_none());
        settle().await;
        assert_eq!(reads.load(Ordering::Relaxed), AT_A_TIME);
        let mut latest = Box::pin(join_all((40..99).map(ask)));
        assert!(latest.as_mut().now_or_never().is_none());
        settle().await;
        assert_eq!(reads.load(Ordering::Relaxed), AT_A_TIME, "it waits for one of these to end");
        go.add_permits(3);
        let (under_way, later, latest) = tokio::join!(under_way, later, latest);
        let all = later.into_iter().chain(latest).chain([under_way.0, under_way.1]);
        assert_eq!(all.flatten().count(), 2 + 30 + 59);
        assert_eq!(reads.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn a_read_that_fails_fails_all_that_share_it_by_its_kind_and_the_next_one_is_made() {
        let go = Arc::new(Semaphore::new(0));
        let (lookups, reads) = lookups(&go);
        go.close();
        for error in join_all((0..9).map(|number| lookups.ask(token(number)))).await {
            assert!(matches!(error, Err(StoreError::Unreachable(_))), "{error:?}");
        }
        lookups.ask(token(2)).await.expect_err("down still");
        assert_eq!(reads.load(Ordering::Relaxed), 2);
        lookups.check().expect("it goes on");
        lookups.close().await;
        assert!(matches!(lookups.ask(token(2)).await, Err(StoreError::Unreachable(_))));
    }

    #[tokio::test]
    async fn what_steps_back_waits_for_the_look_ups_before_it_and_not_for_later_ones() {
        let go = Arc::new(Semaphore::new(0));
        let (lookups, _) = lookups(&go);
        lookups.step_back().await;
        let mut first = Box::pin(lookups.ask(token(2)));
        assert!(first.as_mut().now_or_never().is_none());
        settle().await;
        assert_eq!(lookups.asked(), 1);
        let mut back = Box::pin(lookups.step_back());
        assert!(back.as_mut().now_or_never().is_none());
        let mut later = Box::pin(lookups.ask(token(4)));
        assert!(later.as_mut().now_or_never().is_none());
        // Given up, it is over too.
        drop(first);
        back.as_mut().await;
        assert!(later.as_mut().now_or_never().is_none(), "the read is still under way");
        go.add_permits(2);
        later.await.expect("found");
        lookups.step_back().await;
        assert_eq!(lookups.asked(), 2);
    }
}
