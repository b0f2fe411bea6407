//! What the store does: rows are made, beaten for and deleted, revocations committed.

use crate::state::{Answer, Row, Standing, State, Stored};
use crate::{Action, Event, Mistake, Protocol};

impl Protocol {
    pub(crate) fn offer_store(&self, state: &State, actions: &mut Vec<Action>) {
        if self.setting.crashes && state.store.rows.iter().flatten().any(|row| row.now != row.durable) {
            actions.push(Action::Crash);
        }
        if self.setting.cuts && state.store.cut < state.store.head {
            actions.push(Action::Cut);
        }
        actions.push(Action::SetClock);
    }

    /// Everything that was not durable is lost.
    pub(crate) fn crash(&self, state: &mut State) {
        for row in state.store.rows.iter_mut().flatten() {
            row.now = row.durable;
        }
        self.note(state, Event::Crashed);
    }

    /// Nothing depends on the database's clock, unless by mistake.
    pub(crate) fn set_clock(&self, state: &mut State) {
        for replica in &mut state.replicas {
            if self.has(Mistake::ReapedByDatabaseClock) {
                replica.watches.iter_mut().flatten().for_each(|watch| watch.age = self.setting.lease);
            }
            if self.has(Mistake::TrustedByDatabaseClock) && replica.trust > 0 {
                replica.trust = self.setting.lease;
            }
        }
    }

    /// Makes a row: it has applied the newest number, and has not beaten yet.
    pub(crate) fn register(&self, state: &mut State, who: usize) {
        let head = state.store.head;
        let stored = Stored { beat: 0, applied: head };
        state.store.rows[who] = Some(Row { now: stored, durable: stored });
        state.replicas[who].standing = Standing::Joining(head);
    }

    /// Counts the beat up, stores the number that was applied when it was sent, durably, and reads the log.
    pub(crate) fn beat_committed(&self, state: &mut State, who: usize) {
        let (head, cut) = (state.store.head, state.store.cut);
        let Some(beat) = &mut state.replicas[who].beat else { return };
        let news = Answer::News { head, cut: cut > beat.applied };
        match &mut state.store.rows[who] {
            Some(row) => {
                row.now = Stored { beat: row.durable.beat.max(row.now.beat) + 1, applied: beat.applied };
                row.durable = row.now;
                beat.answer = Some(news);
            }
            None if self.has(Mistake::UncommittedRenewal) => beat.answer = Some(news),
            None => beat.answer = Some(Answer::Gone),
        }
    }

    /// The same, for a time: a crash undoes it.
    pub(crate) fn beat_committed_asynchronously(&self, state: &mut State, who: usize) {
        let before = state.store.rows[who];
        self.beat_committed(state, who);
        if let (Some(row), Some(before)) = (&mut state.store.rows[who], before) {
            row.durable = before.durable;
        }
    }

    /// Stores the number that a row has applied, which may or may not survive a crash. It is no sign of life.
    pub(crate) fn acknowledge(&self, state: &mut State, who: usize) {
        let applied = state.replicas[who].applied;
        if let Some(row) = &mut state.store.rows[who] {
            row.now.applied = applied;
            if !self.setting.crashes {
                row.durable.applied = applied;
            }
        }
    }

    /// Deletes a row that has not beaten since it was first seen, L ago.
    pub(crate) fn reap(&self, state: &mut State, who: usize, whom: usize) {
        state.replicas[who].watches[whom] = None;
        state.store.rows[whom] = None;
        if state.replicas[whom].standing == Standing::In {
            self.note(state, Event::Reaped);
        }
    }

    pub(crate) fn may_reap(&self, state: &State, who: usize, whom: usize) -> bool {
        let (Some(row), Some(watch)) = (state.store.rows[whom], state.replicas[who].watches[whom]) else {
            return false;
        };
        let same = watch.beat == row.now.beat || self.has(Mistake::ReapedWhateverItsBeat);
        same && (watch.age >= self.setting.lease || self.has(Mistake::ReaperDoesNotWait))
    }
}
