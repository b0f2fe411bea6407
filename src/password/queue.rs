//! Jobs for a fixed number of workers: one for each idle worker, and a bounded number beyond that, of which no client and
//! no account may hold so many that others find no place.
//!
//! Jobs wait in lanes, one for each client, from which workers take in turn. A client with as many jobs waiting as places are
//! free gets no further place: a single client gets half of the places, four get a fifth each, and there is always a free one
//! for a client that has none waiting, until there are as many clients as places.

use std::collections::{HashMap, VecDeque};

use parking_lot::{Condvar, Mutex};

/// Who waits, as two numbers that are the same for the same client and the same account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// The client, where it is known.
    pub client: Option<u64>,
    /// The account or the name that is tried.
    pub name: Option<u64>,
}

impl Share {
    /// Jobs of clients that are not known wait in one lane for each name that they try.
    fn lane(self) -> Lane {
        self.client.map_or(Lane::Name(self.name), Lane::Client)
    }

    /// What must not hold too many places: the client, and the name.
    fn holders(self) -> impl Iterator<Item = Holder> {
        self.client.map(Holder::Client).into_iter().chain(self.name.map(Holder::Name))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Lane {
    Client(u64),
    Name(Option<u64>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Holder {
    Client(u64),
    Name(u64),
}

/// The queue between requests and workers.
pub(super) struct Queue<J> {
    workers: usize,
    capacity: usize,
    state: Mutex<State<J>>,
    changed: Condvar,
}

struct State<J> {
    /// The jobs that wait, by lane, in the order in which they came.
    lanes: HashMap<Lane, VecDeque<(J, Share)>>,
    /// The lanes that have jobs, in the order in which they are served.
    turns: VecDeque<Lane>,
    /// How many places are taken, by a job or for one.
    taken: usize,
    /// How many of them are whose.
    held: HashMap<Holder, usize>,
    /// How many jobs wait.
    waiting: usize,
    /// The number of workers that have a job.
    busy: usize,
    closed: bool,
}

impl<J> Queue<J> {
    /// Makes a queue for `workers` workers, in which `capacity` jobs may wait when all of them are busy.
    pub(super) fn new(workers: usize, capacity: usize) -> Self {
        let state = State {
            lanes: HashMap::new(),
            turns: VecDeque::new(),
            taken: 0,
            held: HashMap::new(),
            waiting: 0,
            busy: 0,
            closed: false,
        };
        Self { workers, capacity, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Whether there is no place now for a client with this share.
    pub(super) fn is_full_for(&self, share: Share) -> bool {
        !self.state.lock().has_place(share, self.workers, self.capacity)
    }

    /// Takes a place for a job that is handed in later. False when every worker has a job and enough wait already, in all or
    /// under this share. A worker counts from the beginning, even before its thread runs.
    pub(super) fn take_place(&self, share: Share) -> bool {
        let mut state = self.state.lock();
        if state.closed || !state.has_place(share, self.workers, self.capacity) {
            return false;
        }
        state.taken += 1;
        share.holders().for_each(|holder| *state.held.entry(holder).or_default() += 1);
        true
    }

    /// Gives back a place that no job was handed in for.
    pub(super) fn give_back(&self, share: Share) {
        self.state.lock().free(share);
    }

    /// Hands in the job that a place was taken for.
    pub(super) fn push(&self, job: J, share: Share) {
        let mut state = self.state.lock();
        let lane = share.lane();
        let jobs = state.lanes.entry(lane).or_default();
        let is_new = jobs.is_empty();
        jobs.push_back((job, share));
        if is_new {
            state.turns.push_back(lane);
        }
        state.waiting += 1;
        self.changed.notify_one();
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
            if let Some((job, share)) = state.next() {
                state.free(share);
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
        self.state.lock().waiting
    }

    /// Takes no more jobs, and has the workers end after the last one.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }
}

impl<J> State<J> {
    /// Whether a place is free, and under this share fewer are held than are free.
    fn has_place(&self, share: Share, workers: usize, capacity: usize) -> bool {
        let places = workers.saturating_sub(self.busy).saturating_add(capacity);
        let free = places.saturating_sub(self.taken);
        let held = |holder| self.held.get(&holder).copied().unwrap_or_default();
        free > 0 && share.holders().all(|holder| held(holder) < free)
    }

    /// The next job: the first of the lane whose turn it is.
    fn next(&mut self) -> Option<(J, Share)> {
        let lane = self.turns.pop_front()?;
        let jobs = self.lanes.get_mut(&lane)?;
        let next = jobs.pop_front();
        if jobs.is_empty() {
            self.lanes.remove(&lane);
        } else {
            self.turns.push_back(lane);
        }
        self.waiting -= usize::from(next.is_some());
        next
    }

    fn free(&mut self, share: Share) {
        self.taken = self.taken.saturating_sub(1);
        for holder in share.holders() {
            if let Some(held) = self.held.get_mut(&holder) {
                *held -= 1;
                if *held == 0 {
                    self.held.remove(&holder);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(client: u64, name: u64) -> Share {
        Share { client: Some(client), name: Some(name) }
    }

    /// How many places a share gets until it is refused.
    fn fill(queue: &Queue<u64>, share: impl Fn(u64) -> Share) -> usize {
        (0..1000).take_while(|number| queue.take_place(share(*number))).count()
    }

    #[test]
    fn one_client_gets_half_of_the_places_and_beside_several_there_is_one_for_each_that_comes_later() {
        let queue = Queue::new(0, 64);
        assert_eq!(fill(&queue, |name| of(1, name)), 32);
        assert_eq!(fill(&queue, |name| of(2, 1000 + name)), 16);
        assert_eq!(fill(&queue, |name| of(3, 2000 + name)), 8);
        for client in 4..12 {
            assert!(queue.take_place(of(client, 3000 + client)), "{client}");
        }
        assert!(!queue.take_place(of(99, 9999)) && queue.is_full_for(of(99, 9999)), "64 are taken");
        queue.give_back(of(1, 0));
        assert!(!queue.take_place(of(1, 0)) && queue.take_place(of(99, 9999)));
    }

    #[test]
    fn a_name_that_is_tried_from_many_addresses_gets_no_more_than_a_client() {
        let queue = Queue::new(0, 64);
        assert_eq!(fill(&queue, |client| of(client, 1)), 32);
        assert_eq!(fill(&queue, |name| Share { client: None, name: Some(100 + name) }), 32, "where no client is known");
    }

    #[test]
    fn clients_are_served_in_turn() {
        let queue = Queue::new(1, 16);
        for (job, client) in [(11, 1), (12, 1), (13, 1), (21, 2), (22, 2), (31, 3)] {
            assert!(queue.take_place(of(client, job)));
            queue.push(job, of(client, job));
        }
        queue.close();
        let mut served = Vec::new();
        queue.serve(|job| {
            served.push(job);
            Box::new(|| ())
        });
        assert_eq!(served, [11, 21, 31, 12, 22, 13]);
        let state = queue.state.lock();
        assert!(state.held.is_empty() && state.lanes.is_empty() && state.taken == 0 && state.waiting == 0);
    }

    #[test]
    fn a_place_that_is_given_back_is_free_again() {
        let queue: Queue<u64> = Queue::new(0, 1);
        for _ in 0..3 {
            assert!(queue.take_place(of(1, 1)) && !queue.take_place(of(2, 2)));
            queue.give_back(of(1, 1));
        }
    }
}
