//! What the service should know, and what becomes of it: the model.

use std::time::Duration;

use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;
use sessiond::domain::clock::Timestamp;
use sessiond::domain::second_factor::recovery::CODES;

use super::{ABSOLUTE, CAP, FLUSH_INTERVAL, IDLE, USERS};
use crate::harness::BEGIN;

/// How long an enrolment waits for its first code.
const ENROLMENT: Duration = Duration::from_mins(10);
/// How many seconds a code is shown.
const STEP: i64 = 30;

/// What the service should know.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) cached: bool,
    pub(super) now: Timestamp,
    pub(super) users: [Person; 2],
    /// In the order of their logins, dead ones included.
    pub(super) sessions: Vec<Made>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Person {
    /// The number of password changes.
    pub(super) password: usize,
    pub(super) disabled: bool,
    pub(super) factor: Option<Factor>,
    /// When the enrolment was started that waits for its first code.
    pub(super) begun: Option<Timestamp>,
}

/// A second factor in force.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factor {
    /// The newest step of which a code was used.
    pub(super) last_step: i64,
    /// A bit for each recovery code that is not used.
    pub(super) recovery: u16,
}

/// A second factor of which a code of this step was used, with all its recovery codes.
const fn fresh(last_step: i64) -> Factor {
    Factor { last_step, recovery: (1 << CODES) - 1 }
}

impl Person {
    pub(super) fn password(&self) -> String {
        format!("password number {}", self.password)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    pub(super) user: usize,
    pub(super) at: Timestamp,
    /// As it is stored.
    pub(super) seen: Timestamp,
    /// As it is in memory.
    pub(super) checked: Timestamp,
    pub(super) ended: bool,
}

/// What is typed where a code is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Code {
    Absent,
    /// What the authenticator shows so many steps from now, which is one at most.
    Shown(i64),
    /// What it shows two steps from now.
    Far,
    /// The recovery code with this number, whether or not it was used.
    Recovery(usize),
    /// One of an earlier set, if there was one.
    Outdated,
}

/// What a user asks for with a code of the second factor in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// An enrolment, which asks for a code only where a factor is in force.
    Start,
    NewRecoveryCodes,
    Removal,
}

/// Whether a code shows that a user has the second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Yes,
    /// There is no code.
    No,
    /// It is wrong.
    Wrong,
}

/// What happens. Sessions are named by their place among all that were ever made, modulo their number.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// On the pages, in two steps.
    LogIn {
        user: usize,
        replaces: Option<usize>,
        code: Code,
        in_steps: bool,
    },
    WrongPassword(usize),
    Check(usize),
    CheckNeverIssued,
    LogOut {
        session: usize,
        named: Option<usize>,
    },
    Revoke {
        by: usize,
        session: usize,
    },
    RevokeOthers(usize),
    RevokeAll(usize),
    ChangePassword {
        by: usize,
        right: bool,
    },
    SetDisabled(usize, bool),
    ChangeFactor {
        by: usize,
        change: Change,
        code: Code,
    },
    ConfirmFactor {
        by: usize,
        code: Code,
    },
    ResetFactor(usize),
    Wait(Duration),
}

impl Model {
    pub(super) fn live(&self, session: usize) -> bool {
        let Made { at, seen, ended, .. } = self.sessions[session];
        !ended && self.now < seen.after(IDLE) && self.now < at.after(ABSOLUTE)
    }

    pub(super) fn place(&self, session: usize) -> Option<usize> {
        session.checked_rem(self.sessions.len())
    }

    pub(super) fn live_sessions(&self, user: usize) -> Vec<usize> {
        (0..self.sessions.len()).filter(|&session| self.sessions[session].user == user && self.live(session)).collect()
    }

    /// A check of that session; says whether it is answered yes.
    fn check(&mut self, session: usize) -> bool {
        let live = self.live(session);
        let made = &mut self.sessions[session];
        if live {
            made.checked = self.now;
        }
        if live && self.now.since(made.seen) >= FLUSH_INTERVAL {
            made.seen = self.now;
        }
        live
    }

    /// Uses a code up, if it shows that the user has the second factor, or the user has none.
    pub(super) fn show(&mut self, user: usize, code: Code) -> Shown {
        let step = self.now.seconds().div_euclid(STEP);
        let Some(factor) = &mut self.users[user].factor else { return Shown::Yes };
        let right = match code {
            Code::Absent => return Shown::No,
            Code::Shown(drift) => step + drift > factor.last_step,
            Code::Recovery(number) => factor.recovery & 1 << number != 0,
            Code::Far | Code::Outdated => false,
        };
        match code {
            Code::Shown(drift) if right => factor.last_step = step + drift,
            Code::Recovery(number) => factor.recovery &= !(1 << number),
            Code::Absent | Code::Shown(_) | Code::Far | Code::Outdated => {}
        }
        if right { Shown::Yes } else { Shown::Wrong }
    }

    /// Whether the code is the first one of an enrolment that waits for it still: nothing where none does. It is not used up.
    pub(super) fn confirms(&self, user: usize, code: Code) -> Option<bool> {
        let waits = self.users[user].begun.is_some_and(|begun| self.now < begun.after(ENROLMENT));
        waits.then_some(matches!(code, Code::Shown(_)))
    }

    /// Ends the other sessions of a user; the one that asked goes on under a new token.
    fn renew(&mut self, by: usize) {
        let user = self.sessions[by].user;
        self.sessions[by] = Made { seen: self.now, checked: self.now, ..self.sessions[by] };
        self.end(|it, made| made.user == user && it != by);
    }

    fn end(&mut self, which: impl Fn(usize, &Made) -> bool) {
        for session in 0..self.sessions.len() {
            if self.live(session) && which(session, &self.sessions[session]) {
                self.sessions[session].ended = true;
            }
        }
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        any::<bool>()
            .prop_map(|cached| Self { cached, now: BEGIN, users: Default::default(), sessions: vec![] })
            .boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        let user = 0..USERS.len();
        let session = 0..64_usize;
        let code = || {
            prop_oneof![
                1 => Just(Code::Absent),
                6 => (-1..=1_i64).prop_map(Code::Shown),
                1 => Just(Code::Far),
                3 => (0..CODES).prop_map(Code::Recovery),
                1 => Just(Code::Outdated),
            ]
        };
        let change =
            prop_oneof![4 => Just(Change::Start), 1 => Just(Change::NewRecoveryCodes), 1 => Just(Change::Removal)];
        prop_oneof![
            8 => (user.clone(), proptest::option::weighted(0.2, session.clone()), code(), any::<bool>())
                .prop_map(|(user, replaces, code, in_steps)| Step::LogIn { user, replaces, code, in_steps }),
            1 => user.clone().prop_map(Step::WrongPassword),
            6 => session.clone().prop_map(Step::Check),
            1 => Just(Step::CheckNeverIssued),
            3 => (session.clone(), proptest::option::weighted(0.3, user.clone()))
                .prop_map(|(session, named)| Step::LogOut { session, named }),
            2 => (session.clone(), session.clone()).prop_map(|(by, session)| Step::Revoke { by, session }),
            1 => session.clone().prop_map(Step::RevokeOthers),
            1 => session.clone().prop_map(Step::RevokeAll),
            1 => (session.clone(), any::<bool>()).prop_map(|(by, right)| Step::ChangePassword { by, right }),
            1 => (user.clone(), any::<bool>()).prop_map(|(user, disabled)| Step::SetDisabled(user, disabled)),
            6 => (session.clone(), change, code()).prop_map(|(by, change, code)| Step::ChangeFactor { by, change, code }),
            6 => (session, code()).prop_map(|(by, code)| Step::ConfirmFactor { by, code }),
            1 => user.prop_map(Step::ResetFactor),
            5 => proptest::sample::select(vec![1, 59, 60, 61, 119, 120, 121, 12 * 60, 24 * 60, 3 * 24 * 60])
                .prop_map(|minutes| Step::Wait(Duration::from_secs(minutes * 60))),
            3 => proptest::sample::select(vec![29, 30, 9 * 60 + 59, 10 * 60])
                .prop_map(|seconds| Step::Wait(Duration::from_secs(seconds))),
        ]
        .boxed()
    }

    /// A login over the cap has what is in memory stored first. Whether that is there still is for the cache to decide, and
    /// not part of the model.
    fn preconditions(state: &Self, step: &Step) -> bool {
        let Step::LogIn { user, .. } = step else { return true };
        let live = state.live_sessions(*user);
        live.len() < CAP || live.iter().all(|&session| state.sessions[session].checked == state.sessions[session].seen)
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        match *step {
            Step::LogIn { user, replaces, code, in_steps: _ } => {
                if state.users[user].disabled || state.show(user, code) != Shown::Yes {
                    return state;
                }
                if let Some(replaced) = replaces.and_then(|replaced| state.place(replaced)) {
                    state.end(|session, _| session == replaced);
                }
                let mut live_sessions = state.live_sessions(user);
                live_sessions.sort_by_key(|&session| (state.sessions[session].seen, session));
                for over in live_sessions.iter().take((live_sessions.len() + 1).saturating_sub(CAP)) {
                    state.sessions[*over].ended = true;
                }
                let now = state.now;
                state.sessions.push(Made { user, at: now, seen: now, checked: now, ended: false });
            }
            Step::WrongPassword(_) | Step::CheckNeverIssued => {}
            Step::Check(session) => {
                state.place(session).map(|session| state.check(session));
            }
            Step::LogOut { session, named } => {
                if let Some(session) = state.place(session)
                    && named.is_none_or(|named| named == state.sessions[session].user)
                {
                    state.end(|it, _| it == session);
                }
            }
            Step::Revoke { by, session } => {
                if let (Some(by), Some(session)) = (state.place(by), state.place(session))
                    && state.check(by)
                    && state.sessions[by].user == state.sessions[session].user
                {
                    state.end(|it, _| it == session);
                }
            }
            Step::RevokeOthers(by) | Step::RevokeAll(by) => {
                if let Some(by) = state.place(by).filter(|&by| state.check(by)) {
                    let (user, all) = (state.sessions[by].user, matches!(step, Step::RevokeAll(_)));
                    state.end(|it, made| made.user == user && (all || it != by));
                }
            }
            Step::ChangePassword { by, right } => {
                if let Some(by) = state.place(by).filter(|&by| state.check(by) && right) {
                    let user = state.sessions[by].user;
                    state.users[user].password += 1;
                    state.renew(by);
                }
            }
            Step::SetDisabled(user, disabled) => {
                state.users[user].disabled = disabled;
                state.end(|_, made| disabled && made.user == user);
            }
            Step::ChangeFactor { by, change, code } => {
                if let Some(by) = state.place(by).filter(|&by| state.check(by))
                    && let user = state.sessions[by].user
                    && (state.users[user].factor.is_some() || change == Change::Start)
                    && state.show(user, code) == Shown::Yes
                {
                    let (person, now) = (&mut state.users[user], state.now);
                    match change {
                        Change::Start => person.begun = Some(now),
                        Change::NewRecoveryCodes => person.factor = person.factor.map(|old| fresh(old.last_step)),
                        Change::Removal => {
                            *person = Person { factor: None, begun: None, ..*person };
                            state.renew(by);
                        }
                    }
                }
            }
            Step::ConfirmFactor { by, code } => {
                if let Some(by) = state.place(by).filter(|&by| state.check(by))
                    && let (user, Code::Shown(drift)) = (state.sessions[by].user, code)
                    && state.confirms(user, code) == Some(true)
                {
                    let factor = fresh(state.now.seconds().div_euclid(STEP) + drift);
                    state.users[user] = Person { factor: Some(factor), begun: None, ..state.users[user] };
                    state.renew(by);
                }
            }
            Step::ResetFactor(user) => {
                if state.users[user].factor.is_some() {
                    state.users[user] = Person { factor: None, begun: None, ..state.users[user] };
                    state.end(|_, made| made.user == user);
                }
            }
            Step::Wait(span) => state.now = state.now.after(span),
        }
        state
    }
}
