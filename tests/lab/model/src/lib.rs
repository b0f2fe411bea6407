//! A model of how replicas keep their caches coherent, small enough for every run of it to be explored.
//!
//! The words are those of `src/cache/coherence` and `src/store/replicas.rs`: *beat*, *applied*, *settled*, *reap*,
//! *ticket*. One [`Action`] is one step that nothing can come between; a call to the store takes several, so that
//! anything may happen while it is under way, or it may be lost. A replica that is frozen is one that takes no step.
//!
//! **Time** is one clock of a few ticks, and only ages are kept: since a beat was sent, since a wait or a watch began,
//! until trust ends. The program measures each on a replica's own monotonic clock. Such clocks differ a little in rate,
//! and the margin is there for that: trust, which lasts `L - margin` on its holder's clock, is over before L has passed
//! on any other. Here it lasts the whole of L, so the model gives it no less than the program does.
//!
//! **The store** commits one step at a time: a revocation takes its number under a row lock, as its last step. What was
//! committed durably survives a crash; an `acknowledge` may not.
//!
//! **Numbers.** Only whether two beats are equal matters, so they are kept as small as that allows, and whatever can
//! no longer make a difference is forgotten (`normalise.rs`). That makes the runs finite without an end in time.

mod action;
mod check;
mod mistake;
mod normalise;
mod replica;
mod reveal;
mod setting;
mod state;
mod store;
mod witness;

use stateright::{Model, Property};

pub use self::action::Action;
pub use self::mistake::Mistake;
pub use self::setting::{Role, SERVER, SERVER_AND_CACHE, SETTINGS, Setting, TWO_CACHES, TWO_REVOCATIONS, TWO_SERVERS};
pub use self::state::{Answer, Beat, Load, Logout, Replica, Revocation, Row, Standing, State, Store, Stored, Watch};
pub use self::witness::{Event, WITNESSES, Witness};

/// The name of the property that must always hold.
pub const FINAL: &str = "no check that begins after a revocation is revealed accepts the session";

/// The protocol in a setting, with one mistake or none.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// The processes that take part, and what may happen.
    pub setting: Setting,
    /// What is done wrong.
    pub mistake: Option<Mistake>,
    /// What is looked for.
    pub witness: Option<&'static Witness>,
}

impl Protocol {
    /// The protocol as it is meant.
    pub fn correct(setting: Setting) -> Self {
        Self { setting, mistake: None, witness: None }
    }

    /// The protocol with a mistake planted, and nothing else changed.
    pub fn mistaken(setting: Setting, mistake: Mistake) -> Self {
        Self { mistake: Some(mistake), ..Self::correct(setting) }
    }

    /// The protocol as it is meant, looking for a course of events.
    pub fn witness(setting: Setting, witness: &'static Witness) -> Self {
        Self { witness: Some(witness), ..Self::correct(setting) }
    }

    fn has(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    fn replicas(&self) -> impl Iterator<Item = usize> + use<> {
        0..self.setting.roles.len()
    }

    fn serves(&self, who: usize) -> bool {
        self.setting.roles[who] != Role::Stands
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.accepted_revoked {
            return;
        }
        actions.push(Action::Tick);
        self.offer_store(state, actions);
        for who in self.replicas() {
            if self.serves(who) {
                self.offer_replica(state, who, actions);
                self.offer_check(state, who, actions);
            }
            if self.setting.roles[who] != Role::Caches {
                self.offer_reveal(state, who, actions);
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Tick => self.tick(&mut state),
            Action::Crash => self.crash(&mut state),
            Action::SetClock => self.set_clock(&mut state),
            Action::Cut => state.store.cut = state.store.head,
            Action::Register(who) => self.register(&mut state, who),
            Action::JoinAnswered(who) => self.join_answered(&mut state, who),
            Action::JoinLost(who) => state.replicas[who].standing = Standing::Out,
            Action::BeatSent(who) => self.beat_sent(&mut state, who),
            Action::BeatCommitted(who) => self.beat_committed(&mut state, who),
            Action::BeatCommittedAsynchronously(who) => self.beat_committed_asynchronously(&mut state, who),
            Action::BeatAnswered(who, up_to) => self.beat_answered(&mut state, who, up_to),
            Action::BeatLost(who) => state.replicas[who].beat = None,
            Action::Apply(who, up_to) => self.apply_news(&mut state, who, up_to),
            Action::Acknowledge(who) => self.acknowledge(&mut state, who),
            Action::Deregister(who) => self.deregister(&mut state, who),
            Action::Die(who) => self.die(&mut state, who),
            Action::Watch(who, whom) => state.watch(who, whom),
            Action::Reap(who, whom) => self.reap(&mut state, who, whom),
            Action::Revoke(who, what) => self.revoke(&mut state, who, what),
            Action::LogoutBegun(who, session) => self.logout_begun(&mut state, who, session),
            Action::LogoutEndedNothing(who) => self.logout_ended_nothing(&mut state, who),
            Action::HeadRead(who) => self.head_read(&mut state, who),
            Action::Retry(who, number) => self.retry(&mut state, who, number),
            Action::Look(who) => self.look(&mut state, who),
            Action::Reveal(who, number) => self.reveal(&mut state, who, number),
            Action::LoadBegun(who, session) => self.load_begun(&mut state, who, session),
            Action::LoadRead(who) => self.load_read(&mut state, who),
            Action::LoadKept(who) => self.load_kept(&mut state, who),
            Action::CheckBegun(who, session) => state.replicas[who].check = Some(session),
            Action::CheckAnswered(who) => state.check_answered(who),
        }
        self.normalise(&mut state);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![Property::always(FINAL, |_, state: &State| !state.accepted_revoked)];
        match self.witness {
            Some(witness) => {
                properties.push(Property::sometimes(witness.name, |model: &Self, state| {
                    model.witness.is_some_and(|witness| usize::from(state.witnessed) == witness.course.len())
                }));
            }
            None => properties.extend(witness::everywhere()),
        }
        properties
    }
}
