//! A connection's timer, set once in a while rather than anew for every request.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use parking_lot::Mutex;

/// One timer of the runtime's, shared by every wait of one connection.
///
/// hyper makes a wait for each head it reads and drops it when the head is there, and each would go into the runtime's
/// timers and out again. Deadlines of a connection only move forward, so a timer that is not moved fires too early at
/// worst, and is then set to the deadline that holds by then.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedTimer(Arc<Mutex<Option<Pin<Box<tokio::time::Sleep>>>>>);

impl Timer for SharedTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Wait { timer: self.clone(), deadline: deadline.into() })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }
}

/// A wait for one deadline.
struct Wait {
    timer: SharedTimer,
    deadline: tokio::time::Instant,
}

impl Sleep for Wait {}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut timer = self.timer.0.lock();
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(self.deadline)));
        while timer.as_mut().poll(context).is_ready() {
            if timer.deadline() >= self.deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(self.deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_later_wait_rings_at_its_own_deadline_and_not_at_an_earlier_ones() {
        let timer = SharedTimer::default();
        let begin = tokio::time::Instant::now();
        let mut dropped = timer.sleep(Duration::from_secs(30));
        assert!(futures_util::poll!(dropped.as_mut()).is_pending());
        drop(dropped);
        tokio::time::advance(Duration::from_secs(20)).await;
        timer.sleep(Duration::from_secs(30)).await;
        assert_eq!(begin.elapsed().as_secs(), 50);
    }
}
