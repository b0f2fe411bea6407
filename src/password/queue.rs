//! Jobs for a fixed number of workers: one for each idle worker, and a bounded number beyond that.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};

/// The queue between requests and workers.
pub(super) struct Queue<J> {
    workers: usize,
    capacity: usize,
    state: Mutex<State<J>>,
    changed: Condvar,
}

struct State<J> {
    jobs: VecDeque<J>,
    /// The number of workers that have a job.
    busy: usize,
    closed: bool,
}

impl<J> Queue<J> {
    /// Makes a queue for `workers` workers, in which `capacity` jobs may wait when all of them are busy.
    pub(super) fn new(workers: usize, capacity: usize) -> Self {
        let state = State { jobs: VecDeque::new(), busy: 0, closed: false };
        Self { workers, capacity, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Hands a job in; false when every worker has one and enough wait already. A worker counts from the beginning, even
    /// before its thread runs.
    pub(super) fn push(&self, job: J) -> bool {
        let mut state = self.state.lock();
        let idle = self.workers.saturating_sub(state.busy);
        if state.closed || state.jobs.len() >= idle.saturating_add(self.capacity) {
            return false;
        }
        state.jobs.push_back(job);
        self.changed.notify_one();
        true
    }

    /// Works until the queue is closed and empty. What `work` returns is the answer: it is given once the worker counts
    /// as idle again, so that a client that has its answer can ask again at once.
    pub(super) fn serve(&self, mut work: impl FnMut(J) -> Box<dyn FnOnce()>) {
        while let Some(job) = self.take() {
            let answer = work(job);
            self.state.lock().busy -= 1;
            answer();
        }
    }

    fn take(&self) -> Option<J> {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                state.busy += 1;
                return Some(job);
            }
            if state.closed {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    /// How many jobs no worker has begun.
    pub(super) fn waiting(&self) -> usize {
        self.state.lock().jobs.len()
    }

    /// Takes no more jobs, and has the workers end when none is left.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }
}
