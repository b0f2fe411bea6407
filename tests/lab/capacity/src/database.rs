//! PostgreSQL: cores, a disk, the row of the counter, and the rows of the replicas.

use std::collections::VecDeque;

use crate::setting::Costs;

/// A piece of work for a core, of the process that serves this replica.
#[derive(Clone, Copy, Debug)]
pub enum Job {
    /// Locks the sessions of a batch.
    Lock { replica: usize, logouts: usize },
    /// Ends them under the next number, up to the flush.
    Revoke { replica: usize, logouts: usize },
    /// Wakes the replicas that listen, after the commit.
    Signal { replica: usize, seq: u64, listeners: usize },
    /// Passes a notification on to its replica.
    Wake { replica: usize },
    /// Counts a beat, up to the flush.
    Beat { replica: usize },
    /// Reads the newest number, the log and the rows.
    News { replica: usize, applied: u64 },
    /// Has the disk flush, which takes its own time.
    Flush,
    /// Stores what was applied, without waiting for the disk.
    Acknowledge { replica: usize, applied: u64 },
}

/// What a replica reads of the others.
#[derive(Clone, Copy, Debug)]
pub struct View {
    pub head: u64,
    /// What all others have applied.
    pub others: u64,
}

/// A commit that waits for the disk.
#[derive(Clone, Copy, Debug)]
pub enum Commit {
    Revoke { replica: usize },
    Beat { replica: usize },
}

pub struct Database {
    pub head: u64,
    /// What each replica's row says it has applied.
    pub applied: Vec<u64>,
    idle: usize,
    ready: VecDeque<Job>,
    /// The replicas that hold the counter or wait for it, in their order, and for how many logouts.
    counter: VecDeque<(usize, usize)>,
    flushing: Vec<Commit>,
    next_flush: Vec<Commit>,
}

impl Database {
    pub fn new(cores: usize, replicas: usize) -> Self {
        Self {
            head: 0,
            applied: vec![0; replicas],
            idle: cores,
            ready: VecDeque::new(),
            counter: VecDeque::new(),
            flushing: Vec::new(),
            next_flush: Vec::new(),
        }
    }

    pub fn ask(&mut self, job: Job) {
        self.ready.push_back(job);
    }

    /// The next job, if a core is idle; that one no longer is.
    pub fn begin(&mut self) -> Option<Job> {
        if self.idle == 0 {
            return None;
        }
        let job = self.ready.pop_front()?;
        self.idle -= 1;
        Some(job)
    }

    pub fn end(&mut self) {
        self.idle += 1;
    }

    /// What a replica sees that reads now.
    pub fn view(&self, replica: usize) -> View {
        let others = self.applied.iter().enumerate().filter(|(other, _)| *other != replica);
        View { head: self.head, others: others.map(|(_, applied)| *applied).fold(self.head, u64::min) }
    }

    /// Takes the counter, or waits for it.
    pub fn take_counter(&mut self, replica: usize, logouts: usize) {
        self.counter.push_back((replica, logouts));
        if self.counter.len() == 1 {
            self.ask(Job::Revoke { replica, logouts });
        }
    }

    /// Counts, and lets the next go on.
    pub fn count(&mut self) -> u64 {
        self.counter.pop_front();
        if let Some((replica, logouts)) = self.counter.front().copied() {
            self.ask(Job::Revoke { replica, logouts });
        }
        self.head += 1;
        self.head
    }

    /// Waits for the disk; returns whether a flush begins.
    pub fn commit(&mut self, commit: Commit) -> bool {
        self.next_flush.push(commit);
        self.begin_flush()
    }

    /// Ends a flush: returns what is durable now, and whether another flush begins.
    pub fn flushed(&mut self) -> (Vec<Commit>, bool) {
        let durable = std::mem::take(&mut self.flushing);
        (durable, self.begin_flush())
    }

    fn begin_flush(&mut self) -> bool {
        if !self.flushing.is_empty() || self.next_flush.is_empty() {
            return false;
        }
        self.flushing = std::mem::take(&mut self.next_flush);
        true
    }

    /// How many microseconds a job takes a core that begins now.
    pub fn cost(&self, job: Job, costs: &Costs) -> f64 {
        match job {
            Job::Lock { logouts, .. } => costs.lock + costs.lock_each * logouts as f64,
            Job::Revoke { logouts, .. } => costs.revoke + costs.revoke_each * logouts as f64,
            Job::Signal { listeners, .. } => costs.signal * listeners as f64,
            Job::Wake { .. } => costs.wake,
            Job::Beat { .. } => costs.beat,
            Job::Flush => costs.flush_cost,
            Job::News { applied, .. } => {
                costs.news
                    + costs.news_row * self.applied.len() as f64
                    + costs.news_number * self.head.saturating_sub(applied) as f64
            }
            Job::Acknowledge { .. } => costs.acknowledge,
        }
    }
}

impl Job {
    /// How many statements it is.
    pub fn statements(self) -> u64 {
        match self {
            Self::Lock { .. } | Self::Revoke { .. } => 2,
            Self::Signal { .. } | Self::Wake { .. } | Self::Flush => 0,
            Self::Beat { .. } | Self::Acknowledge { .. } => 1,
            Self::News { .. } => 3,
        }
    }
}
