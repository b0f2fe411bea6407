//! Group commit, for both databases: what is asked for at about the same time is committed together, and one task does it.
//!
//! Nothing is delayed to fill a batch. What arrives while one batch is committed makes up the next one. Before a batch is
//! taken, the task yields for as long as the queue grows, since operations that are about to be queued can share its commit:
//! of 64 clients that ask again at once, a single yield would get 47 into the next batch, and this gets 63.

use async_trait::async_trait;
use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, yield_now};

use super::{Result, StoreError};

/// The most in one batch: bounds how long an operation waits for the others in its batch.
pub(super) const MOST: usize = 256;
/// The most operations that wait; more are shed.
const QUEUE: usize = 4096;

/// Something to be committed, and where its outcome goes.
pub(super) struct Pending<T, O> {
    /// What is to be done.
    pub(super) work: T,
    reply: oneshot::Sender<Result<O>>,
}

impl<T, O> Pending<T, O> {
    /// Wraps `work`, and returns where its outcome will come.
    pub(super) fn new(work: T) -> (Self, oneshot::Receiver<Result<O>>) {
        let (reply, outcome) = oneshot::channel();
        (Self { work, reply }, outcome)
    }

    /// Whether the outcome is not waited for any more: the deadline has passed, so it was answered that it is unknown.
    pub(super) fn is_given_up(&self) -> bool {
        self.reply.is_closed()
    }

    /// Hands out the outcome. What was committed stays committed, also if it is not waited for any more.
    pub(super) fn answer(self, outcome: Result<O>) {
        let _ = self.reply.send(outcome);
    }
}

/// Commits what is in a batch.
#[async_trait]
pub(super) trait Commit<T, O> {
    /// Commits all of it together, and returns the outcomes in the same order.
    async fn commit(&mut self, batch: &[Pending<T, O>]) -> Result<Vec<O>>;
}

/// Has a batch committed and answers. Where it makes no sense as a whole, what is in it is tried again one by one, so that
/// only that fails which makes none.
pub(super) async fn commit_and_answer<T, O>(batch: Vec<Pending<T, O>>, by: &mut impl Commit<T, O>) {
    match by.commit(&batch).await {
        Ok(outcomes) => batch.into_iter().zip(outcomes).for_each(|(pending, outcome)| pending.answer(Ok(outcome))),
        Err(StoreError::Inconsistent(error)) if batch.len() > 1 => {
            tracing::error!(%error, "a batch failed; trying what is in it one by one");
            for pending in batch {
                let outcome = by.commit(std::slice::from_ref(&pending)).await.and_then(|mut outcomes| {
                    outcomes.pop().ok_or_else(|| StoreError::inconsistent("something was committed without an outcome"))
                });
                pending.answer(outcome);
            }
        }
        Err(error) => batch.into_iter().for_each(|pending| pending.answer(Err(error.clone()))),
    }
}

/// Where work waits to be committed.
pub(super) struct Queue<W>(RwLock<Option<Open<W>>>);

struct Open<W> {
    sender: mpsc::Sender<W>,
    task: JoinHandle<()>,
}

impl<W: Send + 'static> Queue<W> {
    /// Starts the task that commits, which ends once the queue is closed, or dropped, and empty.
    pub(super) fn start<F>(commit: impl FnOnce(Batches<W>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(QUEUE);
        #[expect(clippy::disallowed_methods, reason = "ends when the queue is closed, and is waited for then")]
        let task = tokio::spawn(commit(Batches { receiver, first: None }));
        Self(RwLock::new(Some(Open { sender, task })))
    }

    /// Queues `work`, unless too much waits already.
    pub(super) fn push(&self, work: W) -> Result<()> {
        let open = self.0.read();
        let Open { sender, .. } = open.as_ref().ok_or_else(closed)?;
        sender.try_send(work).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => {
                StoreError::too_slow(format!("{QUEUE} operations wait to be committed"))
            }
            mpsc::error::TrySendError::Closed(_) => closed(),
        })
    }

    /// Queues `work` as the kind of work that `queued` makes of it, and waits for its outcome.
    pub(super) async fn ask<T, O>(&self, work: T, queued: impl FnOnce(Pending<T, O>) -> W) -> Result<O> {
        let (pending, outcome) = Pending::new(work);
        self.push(queued(pending))?;
        outcome.await.map_err(|_| closed())?
    }

    /// Fails once the task has ended.
    pub(super) fn check(&self) -> Result<()> {
        let runs = self.0.read().as_ref().is_some_and(|open| !open.task.is_finished());
        runs.then_some(()).ok_or_else(closed)
    }

    /// Lets the task commit what is queued, and waits until it has ended.
    pub(super) async fn close(&self) {
        let open = self.0.write().take();
        if let Some(Open { sender, task }) = open {
            drop(sender);
            if let Err(error) = task.await {
                tracing::error!(%error, "the task that commits did not end as it should");
            }
        }
    }
}

/// The error for a queue whose task has ended.
fn closed() -> StoreError {
    StoreError::unreachable("the store is closed, or the task that commits has ended")
}

/// The end of the queue at which the task takes batches.
pub(super) struct Batches<W> {
    receiver: mpsc::Receiver<W>,
    /// What the next batch begins with, if it was received already.
    first: Option<W>,
}

impl<W> Batches<W> {
    /// The next batch, or none once the queue is closed and empty. Dropped before it is ready, it loses nothing.
    pub(super) async fn next(&mut self) -> Option<Vec<W>> {
        if self.first.is_none() {
            self.first = Some(self.receiver.recv().await?);
        }
        let mut length = self.receiver.len();
        loop {
            yield_now().await;
            let grown = self.receiver.len();
            if grown == length || grown >= MOST {
                break;
            }
            length = grown;
        }
        let mut batch: Vec<_> = self.first.take().into_iter().collect();
        while batch.len() < MOST
            && let Ok(work) = self.receiver.try_recv()
        {
            batch.push(work);
        }
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    /// A queue whose task doubles numbers, a batch each time it is let go.
    fn doubling(go: &Arc<Semaphore>) -> Queue<Pending<usize, usize>> {
        let go = Arc::clone(go);
        Queue::start(|mut batches: Batches<Pending<usize, usize>>| async move {
            while let Some(batch) = batches.next().await {
                go.acquire().await.expect("open").forget();
                for pending in batch {
                    assert_ne!(pending.work, usize::MAX, "a test's own panic");
                    let doubled = pending.work * 2;
                    pending.answer(Ok(doubled));
                }
            }
        })
    }

    #[tokio::test]
    async fn those_who_ask_at_once_share_a_batch() {
        let go = Arc::new(Semaphore::new(0));
        let queue = doubling(&go);
        let mut outcomes = Vec::new();
        for number in 0..MOST {
            let (pending, outcome) = Pending::new(number);
            queue.push(pending).expect("room");
            outcomes.push(outcome);
        }
        go.add_permits(1);
        for (number, outcome) in outcomes.into_iter().enumerate() {
            assert_eq!(outcome.await.expect("answered").expect("done"), 2 * number);
        }
        queue.close().await;
        assert_eq!(go.available_permits(), 0, "one batch");
    }

    #[tokio::test]
    async fn a_full_queue_sheds_at_once_and_what_is_in_it_is_committed_before_the_end() {
        let go = Arc::new(Semaphore::new(0));
        let queue = doubling(&go);
        let (mut queued, mut shed) = (Vec::new(), 0);
        for number in 0..=MOST + QUEUE {
            let (pending, outcome) = Pending::new(number);
            match queue.push(pending) {
                Ok(()) => queued.push((number, outcome)),
                Err(error) => {
                    assert!(matches!(error, StoreError::TooSlow(_)), "{error}");
                    shed += 1;
                }
            }
        }
        assert!((1..=MOST + 1).contains(&shed), "{shed}");
        go.add_permits(QUEUE);
        queue.close().await;
        for (number, mut outcome) in queued {
            assert_eq!(outcome.try_recv().expect("answered").expect("done"), 2 * number);
        }
        let (late, _) = Pending::new(1);
        assert!(matches!(queue.push(late), Err(StoreError::Unreachable(_))));
    }

    #[tokio::test]
    async fn a_task_that_has_ended_is_noticed_at_once() {
        let queue = doubling(&Arc::new(Semaphore::new(1)));
        queue.check().expect("it runs");
        let (pending, outcome) = Pending::new(usize::MAX);
        queue.push(pending).expect("room");
        outcome.await.expect_err("it panicked");
        while queue.check().is_ok() {
            yield_now().await;
        }
        let (late, _) = Pending::new(1);
        assert!(matches!(queue.push(late), Err(StoreError::Unreachable(_))));
    }

    #[tokio::test]
    async fn a_batch_that_is_given_up_while_it_is_gathered_loses_nothing() {
        let (sender, receiver) = mpsc::channel(4);
        let mut batches = Batches { receiver, first: None };
        sender.try_send(1).expect("room");
        tokio::select! {
            biased;
            _ = batches.next() => unreachable!("it steps back at least once"),
            () = std::future::ready(()) => {}
        }
        sender.try_send(2).expect("room");
        assert_eq!(batches.next().await, Some(vec![1, 2]));
    }
}
