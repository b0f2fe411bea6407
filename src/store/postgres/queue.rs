//! Logouts on their way to be committed together: those that come while a commit is under way share the next.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::super::{Logout, Result, Revoked, StoreError};
use super::change::commit;
use super::pool::{Pool, within};
use super::sessions::Logouts;
use crate::domain::clock::Clock;

/// The most in one transaction.
const MOST: usize = 256;
/// How many may wait.
const QUEUE: usize = 4096;

struct Waiting {
    logout: Logout,
    reply: oneshot::Sender<Result<Revoked>>,
}

/// The door to the task that commits them, which ends once this is closed and the queue is empty.
pub(super) struct Queue(Mutex<Option<Open>>);

struct Open {
    door: mpsc::Sender<Waiting>,
    task: JoinHandle<()>,
}

impl Queue {
    /// Starts the task.
    pub(super) fn start(pool: Arc<Pool>, clock: Arc<dyn Clock>) -> Self {
        let (door, queue) = mpsc::channel(QUEUE);
        #[expect(clippy::disallowed_methods, reason = "ends when the door is closed, and is waited for then")]
        let task = tokio::spawn(run(queue, pool, clock));
        Self(Mutex::new(Some(Open { door, task })))
    }

    /// Waits until a logout is durable.
    pub(super) async fn commit(&self, logout: Logout) -> Result<Revoked> {
        let closed = || StoreError::unreachable("the store is closed");
        let (reply, told) = oneshot::channel();
        let door = self.0.lock().as_ref().map(|open| open.door.clone()).ok_or_else(closed)?;
        door.try_send(Waiting { logout, reply }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => StoreError::too_slow(format!("{QUEUE} logouts wait to be committed")),
            mpsc::error::TrySendError::Closed(_) => closed(),
        })?;
        drop(door);
        within(async { told.await.map_err(|_| closed())? }).await
    }

    /// Fails once the task has ended.
    pub(super) fn lives(&self) -> Result<()> {
        let lives = self.0.lock().as_ref().is_some_and(|open| !open.task.is_finished());
        let ended = || StoreError::unreachable("the task that commits logouts has ended");
        lives.then_some(()).ok_or_else(ended)
    }

    /// Commits what is queued.
    pub(super) async fn close(&self) {
        let open = self.0.lock().take();
        if let Some(Open { door, task }) = open {
            drop(door);
            if task.await.is_err() {
                tracing::error!("the task that commits logouts did not end as it should");
            }
        }
    }
}

async fn run(mut queue: mpsc::Receiver<Waiting>, pool: Arc<Pool>, clock: Arc<dyn Clock>) {
    let mut waiting = Vec::new();
    while queue.recv_many(&mut waiting, MOST).await > 0 {
        // Whoever gave up was told that nobody knows; better that it is not done.
        waiting.retain(|waiting| !waiting.reply.is_closed());
        let (logouts, replies): (Vec<_>, Vec<_>) =
            waiting.drain(..).map(|Waiting { logout, reply }| (logout, reply)).unzip();
        if logouts.is_empty() {
            continue;
        }
        match commit(&pool, &*clock, Logouts(logouts)).await {
            Ok(revoked) => {
                for (reply, revoked) in replies.into_iter().zip(revoked) {
                    let _ = reply.send(Ok(revoked));
                }
            }
            Err(error) => {
                for reply in replies {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::address::Address;
    use super::super::gate::Gate;
    use super::*;
    use crate::domain::clock::SystemClock;

    #[tokio::test]
    async fn a_task_that_has_ended_is_noticed() {
        let address = Address::parse("postgres://sessiond@127.0.0.1/nothing_is_asked").expect("a URL");
        let pool = Arc::new(Pool::new(Gate::new(address, Arc::default()), 1));
        let queue = Queue::start(pool, Arc::new(SystemClock));
        queue.lives().expect("it waits");
        let task = queue.0.lock().as_ref().expect("open").task.abort_handle();
        task.abort();
        while !task.is_finished() {
            tokio::task::yield_now().await;
        }
        assert!(matches!(queue.lives(), Err(StoreError::Unreachable(_))));
    }
}
