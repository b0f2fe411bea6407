//! Courses of events that must be possible, so that no property holds merely because nothing happens.

use stateright::Property;

use crate::Protocol;
use crate::state::State;

/// Something that happens in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Event {
    Crashed,
    Reaped,
    FoundGone,
    FoundCut,
    Registered,
    Ended,
    Trusted,
    /// Entries of the log came, but not up to the head.
    Behind,
    /// Trust ended by itself, and something is in the cache.
    Lapsed,
    LoadRefused,
    CheckRefused,
    Retried,
    /// A logout found that a rival had ended its session, and has read the head.
    EndedNothing,
    /// Because every row had applied the log, and before L had passed.
    AnsweredByRows,
    /// Because L had passed, and for no other reason.
    AnsweredByTime,
    /// For both reasons.
    Answered,
}

/// A course of events, with any others in between.
#[derive(Debug)]
pub struct Witness {
    /// What it shows.
    pub name: &'static str,
    /// What happens, in this order.
    pub course: &'static [Event],
}

/// Courses of events that must be possible.
pub const WITNESSES: &[Witness] = &[
    Witness {
        name: "a logout is answered by acknowledgements, before L",
        course: &[Event::Trusted, Event::AnsweredByRows],
    },
    Witness { name: "a logout is answered by the passing of L", course: &[Event::Trusted, Event::AnsweredByTime] },
    Witness {
        name: "a replica that was reaped comes back and is trusted",
        course: &[Event::Trusted, Event::Reaped, Event::FoundGone, Event::Registered, Event::Trusted],
    },
    Witness { name: "a lapsed cache is trusted again", course: &[Event::Lapsed, Event::Trusted] },
    Witness {
        name: "a process ends, another registers in its place and is trusted",
        course: &[Event::Trusted, Event::Ended, Event::Registered, Event::Trusted],
    },
    Witness {
        name: "a replica for which the log was cut is trusted again",
        course: &[Event::Trusted, Event::FoundCut, Event::Trusted],
    },
    Witness { name: "a replica catches up in two answers", course: &[Event::Behind, Event::Trusted] },
    Witness { name: "a crash loses an acknowledgement", course: &[Event::Crashed, Event::AnsweredByRows] },
    Witness { name: "a load is refused by its ticket", course: &[Event::LoadRefused, Event::Trusted] },
    Witness {
        name: "a check is refused and its answer waits",
        course: &[Event::Trusted, Event::CheckRefused, Event::AnsweredByTime],
    },
    Witness {
        name: "a logout ends nothing, reads the head in a second statement, and its answer waits",
        course: &[Event::Trusted, Event::EndedNothing, Event::AnsweredByTime],
    },
    Witness {
        name: "a logout is repeated and its answer waits",
        course: &[Event::Trusted, Event::Retried, Event::AnsweredByTime],
    },
];

/// States that must be possible in every setting.
pub(crate) fn everywhere() -> [Property<Protocol>; 5] {
    [
        Property::sometimes("memory answers a check", |model: &Protocol, state: &State| {
            model.sessions(state).any(|(trusted, session)| trusted && state.store.tombstone(session).is_none())
        }),
        Property::sometimes("memory accepts what is revoked and not yet revealed", |model: &Protocol, state| {
            model.sessions(state).any(|(trusted, session)| {
                trusted && state.store.tombstone(session).is_some() && !state.is_known_revoked(session)
            })
        }),
        Property::sometimes("memory holds what is known to be revoked, untrusted", |model: &Protocol, state| {
            model.sessions(state).any(|(trusted, session)| !trusted && state.is_known_revoked(session))
        }),
        Property::sometimes("a revocation is settled by the rows while an answer waits", |model: &Protocol, state| {
            model
                .waits(state)
                .any(|(who, number, age)| age < model.setting.lease && model.settled_by_rows(state, who, number))
        }),
        Property::sometimes("a revocation is settled by time only", |model: &Protocol, state| {
            model
                .waits(state)
                .any(|(who, number, age)| age == model.setting.lease && !model.settled_by_rows(state, who, number))
        }),
    ]
}

impl Protocol {
    /// Counts an event, if it is the next one that is looked for.
    pub(crate) fn note(&self, state: &mut State, event: Event) {
        let next = self.witness.and_then(|witness| witness.course.get(usize::from(state.witnessed)));
        if next == Some(&event) {
            state.witnessed += 1;
        }
    }

    /// The contents of the caches, and whether they are trusted.
    fn sessions<'a>(&self, state: &'a State) -> impl Iterator<Item = (bool, u8)> + use<'a> {
        let sessions = self.setting.sessions;
        state.replicas.iter().flat_map(move |replica| {
            let remembered = (0..sessions).filter(|session| replica.remembers(*session));
            remembered.map(|session| (replica.trust > 0, session))
        })
    }

    /// Which processes wait for which number, and for how long.
    fn waits<'a>(&self, state: &'a State) -> impl Iterator<Item = (usize, u8, u8)> + use<'a> {
        self.replicas().flat_map(move |who| {
            let waits = (1..).zip(state.replicas[who].waits);
            waits.filter_map(move |(number, age)| Some((who, number, age?)))
        })
    }
}
