//! Removes from a state what makes no difference any more, so that states which differ in nothing else are equal.

use crate::state::{State, Watch};
use crate::{Event, Mistake, Protocol};

impl Protocol {
    pub(crate) fn normalise(&self, state: &mut State) {
        self.renumber_beats(state);
        self.drop_loads(state);
        drop_logout(state);
        self.settle_the_revealed(state);
    }

    /// No answer waits for what is revealed, and it no longer matters which replica has applied it.
    fn settle_the_revealed(&self, state: &mut State) {
        let revealed = (1..=state.store.head).take_while(|number| state.is_revealed(*number)).last().unwrap_or(0);
        for number in 1..=state.store.head {
            if state.is_revealed(number) {
                state.replicas.iter_mut().for_each(|replica| replica.waits[usize::from(number) - 1] = None);
            }
        }
        state.replicas.iter_mut().for_each(|replica| replica.viewed = replica.viewed.max(revealed));
        for row in state.store.rows.iter_mut().flatten() {
            row.now.applied = row.now.applied.max(revealed);
            row.durable.applied = row.durable.applied.max(revealed);
        }
    }

    /// Only whether beats are equal matters: the durable one becomes 0, one that a crash would undo 1. A watch is for a
    /// beat that its row has, or may have again; of any other it says nothing.
    fn renumber_beats(&self, state: &mut State) {
        for (whom, row) in state.store.rows.iter_mut().enumerate() {
            let Some(row) = row else {
                state.replicas.iter_mut().for_each(|replica| replica.watches[whom] = None);
                continue;
            };
            let (durable, now) = (row.durable.beat, row.now.beat);
            let renumbered = |watch: Watch| match watch.beat {
                beat if beat == durable => Some(Watch { beat: 0, ..watch }),
                beat if beat == now => Some(Watch { beat: 1, ..watch }),
                _ => {
                    let decided = self.has(Mistake::ReapedWhateverItsBeat) && watch.age == self.setting.lease;
                    decided.then_some(Watch { beat: 2, ..watch })
                }
            };
            for replica in &mut state.replicas {
                replica.watches[whom] = replica.watches[whom].and_then(renumbered);
            }
            row.durable.beat = 0;
            row.now.beat = u8::from(now != durable);
        }
    }

    /// A load whose insert will be refused is as good as over: its answer is that of a check that began before.
    fn drop_loads(&self, state: &mut State) {
        for who in self.replicas() {
            let Some(load) = state.replicas[who].load else { continue };
            let cleared = load.cleared && !self.has(Mistake::LoadAcrossClear);
            let revoked = load.revoked && !self.has(Mistake::TicketIgnored);
            if cleared || revoked {
                state.replicas[who].load = None;
                if load.read {
                    self.note(state, Event::LoadRefused);
                }
            }
        }
    }
}

/// What a logout would reveal may be known already: its answer is that of a client which comes later.
fn drop_logout(state: &mut State) {
    state.logout = state.logout.filter(|logout| !state.is_known_revoked(logout.session));
}
