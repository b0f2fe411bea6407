//! A replica: its queue of logouts, the answers that wait for others to apply one, and the task that keeps its row.

use std::collections::VecDeque;

use crate::Time;

/// The most logouts in one transaction.
const MOST: usize = 256;

/// What the task that keeps the row does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    Beat,
    Read,
    Sleep(Time),
}

#[derive(Default)]
pub struct Replica {
    /// When each logout came that waits to be committed.
    pub queue: VecDeque<Time>,
    /// Those that are under way.
    pub batch: Vec<Time>,
    /// Those that are committed, by number, and since when they wait for others to apply it.
    waiting: VecDeque<(u64, Time, Vec<Time>)>,
    settled: u64,
    pub applied: u64,
    /// Whether the task waits for an answer.
    pub busy: bool,
    /// Whether a notification came after which nothing was read yet.
    pub hinted: bool,
    /// When to beat next.
    pub due: Time,
    /// The earliest time of the next read of the rows while answers wait.
    pub again: Time,
    /// When the task is to wake up at the latest.
    pub alarm: Option<Time>,
}

impl Replica {
    /// The next batch, where none is under way.
    pub fn take_batch(&mut self) -> Option<usize> {
        if !self.batch.is_empty() || self.queue.is_empty() {
            return None;
        }
        let count = self.queue.len().min(MOST);
        self.batch.extend(self.queue.drain(..count));
        Some(count)
    }

    /// Adds the batch's logouts to those that wait; returns them where no replica has to be waited for.
    pub fn committed(&mut self, seq: u64, now: Time) -> Vec<Time> {
        let batch = std::mem::take(&mut self.batch);
        if self.settled >= seq {
            return batch;
        }
        self.waiting.push_back((seq, now, batch));
        Vec::new()
    }

    /// All replicas have applied `seq`: returns the logouts that waited for it.
    pub fn settle(&mut self, seq: u64) -> Vec<Time> {
        self.settled = self.settled.max(seq);
        self.release(|waiting, _| waiting <= seq)
    }

    /// Returns the logouts that have waited since then or longer.
    pub fn lapse(&mut self, since: Time) -> Vec<Time> {
        self.release(|_, waits| waits <= since)
    }

    fn release(&mut self, over: impl Fn(u64, Time) -> bool) -> Vec<Time> {
        let mut released = Vec::new();
        while let Some((_, _, batch)) = self.waiting.pop_front_if(|(seq, since, _)| over(*seq, *since)) {
            released.extend(batch);
        }
        released
    }

    /// Chooses what to do while nothing is under way. A beat that is due comes first.
    pub fn turn(&mut self, now: Time) -> Turn {
        let waited_for = !self.waiting.is_empty();
        if now >= self.due {
            Turn::Beat
        } else if std::mem::take(&mut self.hinted) || waited_for && now >= self.again {
            Turn::Read
        } else {
            Turn::Sleep(if waited_for { self.due.min(self.again) } else { self.due })
        }
    }
}
