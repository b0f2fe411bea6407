//! The queue of events.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::Time;

/// Things to come, the soonest first, and of those at one moment the one that was put in first.
pub struct Queue<T> {
    now: Time,
    count: u64,
    heap: BinaryHeap<Reverse<Entry<T>>>,
}

struct Entry<T> {
    at: Time,
    number: u64,
    what: T,
}

impl<T> Queue<T> {
    pub fn new() -> Self {
        Self { now: 0, count: 0, heap: BinaryHeap::new() }
    }

    /// The moment of what was taken out last.
    pub fn now(&self) -> Time {
        self.now
    }

    pub fn after(&mut self, span: Time, what: T) {
        self.at(self.now + span, what);
    }

    pub fn at(&mut self, at: Time, what: T) {
        self.count += 1;
        self.heap.push(Reverse(Entry { at: at.max(self.now), number: self.count, what }));
    }

    pub fn next(&mut self) -> Option<T> {
        let Reverse(Entry { at, what, .. }) = self.heap.pop()?;
        self.now = at;
        Some(what)
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for Entry<T> {}
