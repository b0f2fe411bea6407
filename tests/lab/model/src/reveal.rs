//! Answers that reveal a revocation: each waits until it is settled.

use crate::state::{Logout, Revocation, State, bit};
use crate::{Action, Event, Mistake, Protocol};

impl Protocol {
    pub(crate) fn offer_reveal(&self, state: &State, who: usize, actions: &mut Vec<Action>) {
        let replica = &state.replicas[who];
        for whom in self.replicas().filter(|whom| *whom != who) {
            let Some(row) = state.store.rows[whom] else { continue };
            if replica.watches[whom].is_none_or(|watch| watch.beat != row.now.beat) {
                actions.push(Action::Watch(who, whom));
            }
            if self.may_reap(state, who, whom) {
                actions.push(Action::Reap(who, whom));
            }
        }
        for what in self.setting.revocations {
            if !state.store.log.contains(&Some(*what)) {
                actions.push(Action::Revoke(who, *what));
            }
        }
        self.offer_logout(state, who, actions);
        for number in (1..=state.store.head).filter(|number| !state.is_revealed(*number)) {
            match replica.waits[usize::from(number) - 1] {
                None => actions.push(Action::Retry(who, number)),
                Some(_) if self.settled(state, who, number) => actions.push(Action::Reveal(who, number)),
                Some(_) => {}
            }
        }
        if self.all_applied(state, who).is_some_and(|all| all > replica.viewed) {
            actions.push(Action::Look(who));
        }
    }

    /// A logout that ends something is a `Revoke`. Here it is overtaken between its snapshot and the lock of its row.
    fn offer_logout(&self, state: &State, who: usize, actions: &mut Vec<Action>) {
        match state.logout {
            None if !self.setting.rivals => {}
            None => {
                let live = (0..self.setting.sessions).filter(|session| state.store.tombstone(*session).is_none());
                actions.extend(live.map(|session| Action::LogoutBegun(who, session)));
            }
            Some(logout) if logout.who != who => {}
            Some(Logout { ended_nothing: true, .. }) => actions.push(Action::HeadRead(who)),
            Some(Logout { session, .. }) => {
                if state.store.tombstone(session).is_some() {
                    actions.push(Action::LogoutEndedNothing(who));
                }
            }
        }
    }

    /// Takes the snapshot that the whole statement reads.
    pub(crate) fn logout_begun(&self, state: &mut State, who: usize, session: u8) {
        let seen = if self.has(Mistake::HeadFromTheSameStatement) { state.store.head } else { 0 };
        state.logout = Some(Logout { who, session, seen, ended_nothing: false });
    }

    /// Finds, with the lock of the row, the tombstone that its snapshot does not have.
    pub(crate) fn logout_ended_nothing(&self, state: &mut State, who: usize) {
        let Some(logout) = &mut state.logout else { return };
        logout.ended_nothing = true;
        let Logout { session, seen, .. } = *logout;
        if self.has(Mistake::HeadFromTheSameStatement) {
            // The answer says that the session is dead, once the head that was seen is settled.
            if (seen == 0 || self.settled(state, who, seen))
                && let Some(number) = state.store.tombstone(session)
            {
                state.revealed |= bit(number);
            }
            state.logout = None;
        }
    }

    /// Reads the head in a statement of its own, so that it is no less than the tombstone's number, and waits for it.
    pub(crate) fn head_read(&self, state: &mut State, who: usize) {
        state.logout = None;
        self.wait(state, who, state.store.head);
        self.note(state, Event::EndedNothing);
    }

    /// Commits a revocation under the next number, and begins to wait until that is settled.
    pub(crate) fn revoke(&self, state: &mut State, who: usize, what: Revocation) {
        state.store.log[usize::from(state.store.head)] = Some(what);
        state.store.head += 1;
        self.wait(state, who, state.store.head);
    }

    /// Finds a tombstone, and begins to wait until that is settled.
    pub(crate) fn retry(&self, state: &mut State, who: usize, number: u8) {
        if self.has(Mistake::RetryDoesNotWait) {
            state.revealed |= bit(number);
        } else {
            self.wait(state, who, number);
        }
        self.note(state, Event::Retried);
    }

    pub(crate) fn wait(&self, state: &mut State, who: usize, number: u8) {
        state.replicas[who].waits[usize::from(number) - 1].get_or_insert(0);
    }

    /// Keeps the lowest number that every row has applied. A row that is registered later starts from no less, so an
    /// old view is as good.
    pub(crate) fn look(&self, state: &mut State, who: usize) {
        if let Some(all) = self.all_applied(state, who) {
            let viewed = &mut state.replicas[who].viewed;
            *viewed = all.max(*viewed);
        }
    }

    /// The number that every row has applied. A process that has a row expects to see at least its own; for others, no
    /// rows means no caches.
    fn all_applied(&self, state: &State, who: usize) -> Option<u8> {
        let least = state.store.rows.iter().flatten().map(|row| row.now.applied).min();
        if self.serves(who) { least } else { least.or(Some(state.store.head)) }
    }

    /// Whether no check that begins from now on accepts what `number` ended: every cache is known to have applied it,
    /// or L has passed since it was committed, and with it all trust from a beat that did not return it.
    pub(crate) fn settled(&self, state: &State, who: usize, number: u8) -> bool {
        self.settled_by_rows(state, who, number) || self.settled_by_time(state, who, number)
    }

    pub(crate) fn settled_by_rows(&self, state: &State, who: usize, number: u8) -> bool {
        let replica = &state.replicas[who];
        let applied = !self.serves(who) || replica.applied >= number;
        applied && (replica.viewed >= number || self.has(Mistake::OwnCacheIsEnough))
    }

    fn settled_by_time(&self, state: &State, who: usize, number: u8) -> bool {
        let enough = if self.has(Mistake::WaitTooShort) { self.setting.lease - 1 } else { self.setting.lease };
        state.replicas[who].waits[usize::from(number) - 1].is_some_and(|age| age >= enough)
    }

    /// Answers: from now on a client knows of this number, and of all before it, whose tombstones an answer that waited
    /// for this one may have revealed.
    pub(crate) fn reveal(&self, state: &mut State, who: usize, number: u8) {
        let event = match (self.settled_by_rows(state, who, number), self.settled_by_time(state, who, number)) {
            (true, false) => Event::AnsweredByRows,
            (false, true) => Event::AnsweredByTime,
            _ => Event::Answered,
        };
        (1..=number).for_each(|number| state.revealed |= bit(number));
        self.note(state, event);
    }
}
