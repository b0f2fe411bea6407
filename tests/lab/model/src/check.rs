//! Checks: from memory where that is trusted, else from the store, which fills the memory.

use crate::state::{Load, State, bit};
use crate::{Action, Event, Mistake, Protocol, Role};

impl Protocol {
    pub(crate) fn offer_check(&self, state: &State, who: usize, actions: &mut Vec<Action>) {
        let replica = &state.replicas[who];
        match replica.load {
            None => {
                let asked = |session: &u8| replica.trust == 0 || !replica.remembers(*session);
                // A load that begins later finds the tombstone: that is a `Retry`.
                let live = (0..self.setting.sessions).filter(|session| state.store.tombstone(*session).is_none());
                actions.extend(live.filter(asked).map(|session| Action::LoadBegun(who, session)));
            }
            Some(Load { read: false, .. }) => actions.push(Action::LoadRead(who)),
            Some(Load { read: true, .. }) => actions.push(Action::LoadKept(who)),
        }
        match replica.check {
            // Checks that began before may accept: only these can go wrong.
            None => {
                let trusted = replica.trust > 0 || self.has(Mistake::UntrustedLookUp);
                let revoked = (0..self.setting.sessions).filter(|session| trusted && state.is_known_revoked(*session));
                actions.extend(revoked.map(|session| Action::CheckBegun(who, session)));
            }
            Some(_) => actions.push(Action::CheckAnswered(who)),
        }
    }

    /// Takes a ticket.
    pub(crate) fn load_begun(&self, state: &mut State, who: usize, session: u8) {
        let replica = &mut state.replicas[who];
        replica.load = Some(Load { session, revoked: false, cleared: false, read: false });
    }

    /// Reads the store: a live session is on its way into the cache, a dead one a refusal that waits.
    pub(crate) fn load_read(&self, state: &mut State, who: usize) {
        let Some(load) = &mut state.replicas[who].load else { return };
        match state.store.tombstone(load.session) {
            None => load.read = true,
            Some(number) => {
                state.replicas[who].load = None;
                if self.has(Mistake::RefusalDoesNotWait) {
                    state.revealed |= bit(number);
                } else if self.setting.roles[who] != Role::Caches {
                    self.wait(state, who, number);
                }
                self.note(state, Event::CheckRefused);
            }
        }
    }

    /// Inserts what was read. A load is dropped, and its insert refused with it, when the cache is cleared or the
    /// session revoked here after the ticket was taken.
    pub(crate) fn load_kept(&self, state: &mut State, who: usize) {
        let replica = &mut state.replicas[who];
        if let Some(load) = replica.load.take() {
            replica.cache |= bit(load.session);
        }
    }
}

impl State {
    /// Accepts what is in the cache; anything else is read from the store, which refuses it.
    pub fn check_answered(&mut self, who: usize) {
        let replica = &mut self.replicas[who];
        if let Some(session) = replica.check.take() {
            self.accepted_revoked = replica.remembers(session);
        }
    }
}
