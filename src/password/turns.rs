//! Jobs that need much memory take turns: one at a time in the process, while other jobs go on beside it.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The turn, and who waits for it.
pub(super) struct Turns<J> {
    capacity: usize,
    state: Mutex<State<J>>,
}

struct State<J> {
    taken: bool,
    /// When the turn was last given back, until that was asked.
    ended: Option<Instant>,
    waiting: VecDeque<J>,
}

/// What becomes of a job that needs the turn.
pub(super) enum Turn<J> {
    /// It is to be done now, and [`Turns::next`] is to be asked for what is done after it.
    Yours(J),
    /// Another worker has the turn, and will do it.
    Waits,
    /// Enough wait already.
    Full(J),
}

impl<J> Turns<J> {
    /// Makes the turn, for which `capacity` jobs may wait.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, state: Mutex::new(State { taken: false, ended: None, waiting: VecDeque::new() }) }
    }

    /// Takes the turn for a job, or has it wait. A worker never waits.
    pub(super) fn take(&self, job: J) -> Turn<J> {
        let mut state = self.state.lock();
        if !state.taken {
            state.taken = true;
            Turn::Yours(job)
        } else if state.waiting.len() < self.capacity {
            state.waiting.push_back(job);
            Turn::Waits
        } else {
            Turn::Full(job)
        }
    }

    /// The next job of the worker that has the turn; `None` gives it back.
    pub(super) fn next(&self) -> Option<J> {
        let mut state = self.state.lock();
        let next = state.waiting.pop_front();
        state.taken = next.is_some();
        if !state.taken {
            state.ended = Some(Instant::now());
        }
        next
    }

    /// Whether the turn was last given back before `then`. Says so once.
    pub(super) fn ended_before(&self, then: Instant) -> bool {
        let mut state = self.state.lock();
        let ended = !state.taken && state.ended.is_some_and(|ended| ended < then);
        if ended {
            state.ended = None;
        }
        ended
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_has_the_turn_and_does_what_waits_for_it() {
        let (turns, begun) = (Turns::new(2), Instant::now());
        assert!(matches!(turns.take(1), Turn::Yours(1)));
        assert!(matches!((turns.take(2), turns.take(3)), (Turn::Waits, Turn::Waits)));
        assert!(matches!(turns.take(4), Turn::Full(4)));
        assert_eq!(turns.waiting(), 2);
        assert_eq!(turns.next(), Some(2));
        assert!(matches!(turns.take(5), Turn::Waits));
        assert_eq!([turns.next(), turns.next(), turns.next()], [Some(3), Some(5), None]);
        let (before, after) = (begun, Instant::now() + Duration::from_secs(1));
        assert!(!turns.ended_before(before) && turns.ended_before(after) && !turns.ended_before(after));
        assert!(matches!(turns.take(6), Turn::Yours(6)));
        assert!(turns.next().is_none() && turns.ended_before(after));
    }
}
