//! What a replica that serves from memory does: it registers, beats, applies and deregisters.

use crate::state::{Answer, Beat, Replica, Standing, State};
use crate::{Action, Event, Mistake, Protocol};

impl Protocol {
    /// Lets time pass.
    pub(crate) fn tick(&self, state: &mut State) {
        let mut lapsed = false;
        for replica in &mut state.replicas {
            lapsed |= replica.trust == 1 && replica.cache != 0;
            replica.trust = replica.trust.saturating_sub(1);
            let beat = replica.beat.iter_mut().map(|beat| &mut beat.age);
            let watches = replica.watches.iter_mut().flatten().map(|watch| &mut watch.age);
            for age in beat.chain(watches).chain(replica.waits.iter_mut().flatten()) {
                *age = self.setting.lease.min(*age + 1);
            }
        }
        if lapsed {
            self.note(state, Event::Lapsed);
        }
    }

    pub(crate) fn offer_replica(&self, state: &State, who: usize, actions: &mut Vec<Action>) {
        let (replica, row) = (&state.replicas[who], state.store.rows[who]);
        match replica.standing {
            Standing::Out if row.is_none() => actions.push(Action::Register(who)),
            Standing::Out => {}
            Standing::Joining(_) => actions.extend([Action::JoinAnswered(who), Action::JoinLost(who)]),
            Standing::In => {
                self.offer_beat(state, who, actions);
                actions.extend((replica.applied + 1..=state.store.head).map(|up_to| Action::Apply(who, up_to)));
                if row.is_some_and(|row| row.now.applied != replica.applied) {
                    actions.push(Action::Acknowledge(who));
                }
                if self.setting.restarts {
                    actions.push(Action::Deregister(who));
                }
            }
        }
        if self.setting.restarts {
            actions.push(Action::Die(who));
        }
    }

    fn offer_beat(&self, state: &State, who: usize, actions: &mut Vec<Action>) {
        match state.replicas[who].beat {
            None => actions.push(Action::BeatSent(who)),
            Some(Beat { answer: None, .. }) => {
                actions.extend([Action::BeatCommitted(who), Action::BeatLost(who)]);
                if self.has(Mistake::AsynchronousBeat) {
                    actions.push(Action::BeatCommittedAsynchronously(who));
                }
            }
            Some(Beat { answer: Some(answer), applied, .. }) => {
                match answer {
                    Answer::Gone => actions.push(Action::BeatAnswered(who, 0)),
                    // Perhaps not up to the head: an answer has its bounds.
                    Answer::News { head, .. } => {
                        actions.extend(((applied + 1).min(head)..=head).map(|up_to| Action::BeatAnswered(who, up_to)));
                    }
                }
                actions.push(Action::BeatLost(who));
            }
        }
    }

    /// Starts at the head that the new row starts at, with an empty cache: what was loaded until now may be older.
    pub(crate) fn join_answered(&self, state: &mut State, who: usize) {
        let replica = &mut state.replicas[who];
        let Standing::Joining(head) = replica.standing else { return };
        replica.standing = Standing::In;
        if !std::mem::take(&mut replica.keeps_cache) {
            replica.clear();
        }
        replica.applied = head;
        self.note(state, Event::Registered);
    }

    /// Reads the clock, then sends.
    pub(crate) fn beat_sent(&self, state: &mut State, who: usize) {
        let replica = &mut state.replicas[who];
        replica.beat = Some(Beat { age: 0, applied: replica.applied, answer: None });
        if self.has(Mistake::TrustedWhenSent) {
            replica.trust = self.setting.lease;
        }
    }

    /// Applies the log and, if nothing is left to apply, trusts the cache until L after the clock was read.
    pub(crate) fn beat_answered(&self, state: &mut State, who: usize, up_to: u8) {
        let replica = &mut state.replicas[who];
        let Some(Beat { age, answer: Some(answer), .. }) = replica.beat.take() else { return };
        let head = match answer {
            Answer::Gone => {
                self.row_gone(replica);
                self.note(state, Event::FoundGone);
                return;
            }
            Answer::News { head, cut: true } if !self.has(Mistake::CutNotNoticed) => {
                replica.trust = 0;
                replica.clear();
                replica.applied = replica.applied.max(head);
                self.note(state, Event::FoundCut);
                return;
            }
            Answer::News { head, .. } => head,
        };
        if self.has(Mistake::LogPullDropped) {
            replica.applied = replica.applied.max(head);
        } else if answer == (Answer::News { head, cut: true }) {
            // Only by mistake: what is left of the log is applied.
            replica.apply_after(state.store.cut.max(replica.applied), &state.store, up_to);
        } else if !self.has(Mistake::RenewedWithoutTheLog) {
            replica.apply(&state.store, up_to);
        }
        let heedless = self.has(Mistake::RenewedWithoutTheLog) || self.has(Mistake::TrustedBehindTheHead);
        let left = if self.has(Mistake::TrustedFromTheAnswer) { self.setting.lease } else { self.setting.lease - age };
        if replica.applied >= head || heedless {
            replica.trust = replica.trust.max(left);
            self.note(state, Event::Trusted);
        } else {
            self.note(state, Event::Behind);
        }
    }

    /// Stops trusting at once. The cache is cleared here and again when the new row is there, for checks go on.
    fn row_gone(&self, replica: &mut Replica) {
        replica.trust = 0;
        replica.standing = Standing::Out;
        if !self.has(Mistake::RevivedLeaseKeepsCache) {
            replica.clear();
        }
        replica.keeps_cache = self.has(Mistake::RevivedLeaseKeepsCache) || self.has(Mistake::ClearedBeforeTheJoinOnly);
    }

    /// Applies what was read, which gives no trust.
    pub(crate) fn apply_news(&self, state: &mut State, who: usize, up_to: u8) {
        let replica = &mut state.replicas[who];
        let cut = state.store.cut;
        if cut <= replica.applied || up_to < cut {
            // Where the log has been cut, this was read before.
            replica.apply(&state.store, up_to);
        } else if self.has(Mistake::CutNotNoticed) {
            replica.apply_after(cut, &state.store, up_to);
        } else {
            replica.trust = 0;
            replica.clear();
            replica.applied = up_to;
        }
    }

    /// Stops trusting the cache, then deregisters and ends.
    pub(crate) fn deregister(&self, state: &mut State, who: usize) {
        state.store.rows[who] = None;
        if !self.has(Mistake::DeregisteredWhileTrusted) {
            self.die(state, who);
        }
    }

    /// Ends. The process that takes its place has an empty cache and no row.
    pub(crate) fn die(&self, state: &mut State, who: usize) {
        state.replicas[who] = Replica::default();
        state.logout = state.logout.filter(|logout| logout.who != who);
        self.note(state, Event::Ended);
    }
}
