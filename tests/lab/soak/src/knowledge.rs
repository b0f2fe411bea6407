//! What visitors know of sessions, and what an answer about one may therefore be.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use sessiond_support::random::Random;
use sessiond_support::token::Token;

/// How many sessions that have ended are asked about again.
const ENDED: usize = 20_000;
/// How far a server's clock may seem to be off, since a request takes a while: so much true time.
const MARGIN: Duration = Duration::from_secs(5);

/// A session that a visitor began.
pub struct Session {
    pub token: Token,
    /// When, on the server's clock.
    pub begun: Duration,
    /// How long it lasts there at most.
    pub life: Duration,
    /// When it was last used, there.
    pub used: Cell<Duration>,
    pub state: Cell<State>,
}

/// What is known of it, beside its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was used all the time, and has not been logged out.
    Live,
    /// A logout is under way, or its outcome is unknown.
    Unknown,
    /// A logout was answered.
    Ended,
}

/// What an answer to a check may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    Accepted,
    Refused,
    Either,
}

/// How long sessions live, on the server's clock.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    pub idle: Duration,
    pub absolute: Duration,
    /// How much of it passes in one true second.
    pub speed: f64,
}

/// All sessions that visitors know of.
pub struct Knowledge {
    pub lifetimes: Lifetimes,
    live: RefCell<Vec<Rc<Session>>>,
    /// Never used after their login; the oldest first.
    forgotten: RefCell<VecDeque<Rc<Session>>>,
    ended: RefCell<VecDeque<Rc<Session>>>,
}

impl Session {
    pub fn new(token: Token, begun: Duration, life: Duration) -> Rc<Self> {
        Rc::new(Self { token, begun, life, used: Cell::new(begun), state: Cell::new(State::Live) })
    }
}

impl Lifetimes {
    /// What a check may say of a session that is in use, whose state was known when it was asked.
    pub fn of_used(&self, session: &Session, state: State, asked: Duration, answered: Duration) -> Expected {
        if state == State::Ended || asked.saturating_sub(session.begun) > session.life + self.margin() {
            return Expected::Refused;
        }
        // A logout may have come in between.
        let lived = state == State::Live && session.state.get() == State::Live;
        if lived && self.is_young(session, answered) { Expected::Accepted } else { Expected::Either }
    }

    /// Whether a session that was never used must be over.
    pub fn is_over(&self, session: &Session, now: Duration) -> bool {
        now.saturating_sub(session.begun) > self.idle + self.margin()
    }

    /// Whether a session that is in use cannot have expired yet, by its age or because it was not used for long.
    pub fn is_young(&self, session: &Session, now: Duration) -> bool {
        let since = |then| now.saturating_sub(then) + self.margin();
        since(session.begun) < session.life && since(session.used.get()) < self.idle
    }

    fn margin(&self) -> Duration {
        MARGIN.mul_f64(self.speed)
    }
}

impl Knowledge {
    pub fn new(lifetimes: Lifetimes) -> Self {
        Self { lifetimes, live: RefCell::default(), forgotten: RefCell::default(), ended: RefCell::default() }
    }

    pub fn begin(&self, session: Rc<Session>) {
        self.live.borrow_mut().push(session);
    }

    pub fn forget(&self, session: Rc<Session>) {
        self.forgotten.borrow_mut().push_back(session);
    }

    pub fn live(&self) -> usize {
        self.live.borrow().len()
    }

    /// One that is in use.
    pub fn any_live(&self, random: &mut Random) -> Option<Rc<Session>> {
        let live = self.live.borrow();
        (!live.is_empty()).then(|| Rc::clone(&live[random.below(live.len())]))
    }

    /// One that is in use, to be logged out: no other visitor takes it any more.
    pub fn take_live(&self, random: &mut Random) -> Option<Rc<Session>> {
        let mut live = self.live.borrow_mut();
        let session = (!live.is_empty()).then(|| random.below(live.len())).map(|index| live.swap_remove(index))?;
        session.state.set(State::Unknown);
        Some(session)
    }

    /// One that has ended.
    pub fn any_ended(&self, random: &mut Random) -> Option<Rc<Session>> {
        let ended = self.ended.borrow();
        (!ended.is_empty()).then(|| Rc::clone(&ended[random.below(ended.len())]))
    }

    /// The oldest one that was never used, if its time must be over.
    pub fn take_forgotten(&self, now: Duration) -> Option<Rc<Session>> {
        let mut forgotten = self.forgotten.borrow_mut();
        let oldest = forgotten.front()?;
        let over = self.lifetimes.is_over(oldest, now);
        over.then(|| forgotten.pop_front())?
    }

    /// From now on it is refused.
    pub fn end(&self, session: Rc<Session>) {
        session.state.set(State::Ended);
        let mut ended = self.ended.borrow_mut();
        ended.push_back(session);
        if ended.len() > ENDED {
            ended.pop_front();
        }
    }

    /// It was refused for its age: it is in use no more.
    pub fn expire(&self, session: &Rc<Session>) {
        let mut live = self.live.borrow_mut();
        if let Some(index) = live.iter().position(|one| Rc::ptr_eq(one, session)) {
            let session = live.swap_remove(index);
            drop(live);
            self.end(session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIMES: Lifetimes =
        Lifetimes { idle: Duration::from_secs(600), absolute: Duration::from_secs(3600), speed: 1.0 };

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn an_answer_is_certain_unless_the_end_of_a_session_is_near_or_a_logout_is_under_way() {
        let session = Session::new([0; 43], seconds(100), LIFETIMES.absolute);
        let used = |state, asked, answered| LIFETIMES.of_used(&session, state, seconds(asked), seconds(answered));
        assert_eq!(used(State::Live, 200, 201), Expected::Accepted);
        assert_eq!(used(State::Live, 698, 699), Expected::Either, "not used for long");
        session.used.set(seconds(3600));
        assert_eq!(used(State::Live, 3690, 3691), Expected::Accepted);
        assert_eq!(used(State::Live, 3690, 3699), Expected::Either, "it may have expired meanwhile");
        assert_eq!(used(State::Live, 3702, 3703), Expected::Either, "clocks differ");
        assert_eq!(used(State::Live, 3706, 3707), Expected::Refused);
        session.state.set(State::Unknown);
        assert_eq!(used(State::Live, 200, 201), Expected::Either);
        assert_eq!(used(State::Unknown, 200, 201), Expected::Either);
        session.state.set(State::Ended);
        assert_eq!(used(State::Live, 200, 201), Expected::Either, "asked before it ended");
        assert_eq!(used(State::Ended, 200, 201), Expected::Refused);
    }

    #[test]
    fn a_session_is_logged_out_by_one_visitor_and_a_forgotten_one_is_asked_about_when_it_is_over() {
        let (knowledge, mut random) = (Knowledge::new(LIFETIMES), Random::seeded(7));
        knowledge.begin(Session::new([1; 43], seconds(0), LIFETIMES.absolute));
        let taken = knowledge.take_live(&mut random).expect("one");
        assert!(knowledge.take_live(&mut random).is_none() && knowledge.any_live(&mut random).is_none());
        knowledge.end(taken);
        assert_eq!(knowledge.any_ended(&mut random).expect("one").state.get(), State::Ended);

        knowledge.forget(Session::new([2; 43], seconds(0), LIFETIMES.absolute));
        assert!(knowledge.take_forgotten(seconds(604)).is_none());
        assert!(knowledge.take_forgotten(seconds(606)).is_some());

        let old = Session::new([3; 43], seconds(0), LIFETIMES.absolute);
        knowledge.begin(Rc::clone(&old));
        knowledge.expire(&old);
        assert_eq!((knowledge.live(), old.state.get()), (0, State::Ended));
    }
}
