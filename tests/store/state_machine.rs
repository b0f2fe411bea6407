//! The service against a model of it: random logins, checks, logouts, revocations, and hours going by.
//!
//! What is stored decides when a session is idle for too long, and a check is stored a moment after it was answered.
//! That moment is no part of the model: before time goes by (and before a login looks at the cap), the test waits
//! until what was seen is stored, so that the model is exact. It also says at its deadlines exactly.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::Config as Runs;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use sessiond::app::{Core, Environment, build};
use sessiond::config::Config;
use sessiond::domain::clock::{Clock as _, ManualClock, Timestamp};
use sessiond::domain::entropy::SystemEntropy;
use sessiond::domain::id::UserId;
use sessiond::domain::principal::Principal;
use sessiond::domain::session::Client;
use sessiond::domain::text::LoginName;
use sessiond::domain::token::{Token, TokenKey};
use sessiond::service::limits::TriedFrom;
use sessiond::service::login::{LoggedIn, Login};
use sessiond::service::sessions::Scope;
use sessiond::service::verify::Presented;
use sessiond::service::{Error, Result};
use sessiond::telemetry::notices;
use sessiond_needs::needs;
use sessiond_support::wait::until;
use tokio::runtime::Runtime;

use crate::harness::{BEGIN, Database, StoreKind};

const USERS: [&str; 2] = ["ann", "bob"];
const CAP: usize = 3;
const IDLE: Duration = Duration::from_secs(2 * 60 * 60);
const ABSOLUTE: Duration = Duration::from_secs(24 * 60 * 60);
/// A check is stored only when the last one stored is this long ago.
const FLUSH_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// What the service should know.
#[derive(Clone, Debug)]
struct Model {
    cached: bool,
    now: Timestamp,
    users: [Person; 2],
    /// In the order of their logins, dead ones included.
    sessions: Vec<Made>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Person {
    /// The number of password changes.
    password: usize,
    disabled: bool,
}

impl Person {
    fn password(&self) -> String {
        format!("password number {}", self.password)
    }
}

#[derive(Clone, Copy, Debug)]
struct Made {
    user: usize,
    at: Timestamp,
    seen: Timestamp,
    ended: bool,
}

/// What happens. Sessions are named by their place among all that were ever made, modulo their number.
#[derive(Clone, Debug)]
enum Step {
    LogIn { user: usize, replaces: Option<usize> },
    WrongPassword(usize),
    Check(usize),
    CheckNeverIssued,
    LogOut { session: usize, named: Option<usize> },
    Revoke { by: usize, session: usize },
    RevokeOthers(usize),
    RevokeAll(usize),
    ChangePassword { by: usize, right: bool },
    SetDisabled(usize, bool),
    Wait(Duration),
}

impl Model {
    fn live(&self, session: usize) -> bool {
        let Made { at, seen, ended, .. } = self.sessions[session];
        !ended && self.now < seen.after(IDLE) && self.now < at.after(ABSOLUTE)
    }

    fn place(&self, session: usize) -> Option<usize> {
        session.checked_rem(self.sessions.len())
    }

    fn live_sessions(&self, user: usize) -> Vec<usize> {
        (0..self.sessions.len()).filter(|&session| self.sessions[session].user == user && self.live(session)).collect()
    }

    /// A check of that session; says whether it is answered yes.
    fn check(&mut self, session: usize) -> bool {
        let live = self.live(session);
        let seen = &mut self.sessions[session].seen;
        if live && self.now.since(*seen) >= FLUSH_INTERVAL {
            *seen = self.now;
        }
        live
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
        prop_oneof![
            6 => (user.clone(), proptest::option::weighted(0.2, session.clone()))
                .prop_map(|(user, replaces)| Step::LogIn { user, replaces }),
            1 => user.clone().prop_map(Step::WrongPassword),
            6 => session.clone().prop_map(Step::Check),
            1 => Just(Step::CheckNeverIssued),
            3 => (session.clone(), proptest::option::weighted(0.3, user.clone()))
                .prop_map(|(session, named)| Step::LogOut { session, named }),
            2 => (session.clone(), session.clone()).prop_map(|(by, session)| Step::Revoke { by, session }),
            1 => session.clone().prop_map(Step::RevokeOthers),
            1 => session.clone().prop_map(Step::RevokeAll),
            1 => (session, any::<bool>()).prop_map(|(by, right)| Step::ChangePassword { by, right }),
            1 => (user, any::<bool>()).prop_map(|(user, disabled)| Step::SetDisabled(user, disabled)),
            5 => proptest::sample::select(vec![1, 59, 60, 61, 119, 120, 121, 12 * 60, 24 * 60, 3 * 24 * 60])
                .prop_map(|minutes| Step::Wait(Duration::from_secs(minutes * 60))),
        ]
        .boxed()
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        match *step {
            Step::LogIn { user, replaces } => {
                if state.users[user].disabled {
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
                state.sessions.push(Made { user, at: state.now, seen: state.now, ended: false });
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
                    state.sessions[by].seen = state.now;
                    state.end(|it, made| made.user == user && it != by);
                }
            }
            Step::SetDisabled(user, disabled) => {
                state.users[user].disabled = disabled;
                state.end(|_, made| disabled && made.user == user);
            }
            Step::Wait(span) => state.now = state.now.after(span),
        }
        state
    }
}

/// The real service.
struct Real {
    clock: Arc<ManualClock>,
    core: Core,
    users: [UserId; 2],
    sessions: Vec<LoggedIn>,
    /// Tokens that sessions had before they were given others.
    outdated: Vec<Token>,
    _database: Database,
}

impl Real {
    fn presented(&self, session: usize, user: Option<UserId>) -> Presented {
        Presented { token: self.sessions[session].token.clone(), user }
    }

    async fn check(&self, session: usize) -> Result<Principal> {
        self.core.service.verify(&self.presented(session, None)).await
    }

    async fn log_in(&self, user: usize, password: String, replaces: Vec<Token>) -> Result<LoggedIn> {
        self.forget_failures(user).await;
        let (name, client, from) = (LoginName::username(USERS[user]), Client::default(), TriedFrom::default());
        self.core
            .service
            .login(Login { name, password, code: None, remembered: false, replaces, new_password: None, client, from })
            .await
    }

    /// However many passwords were wrong, the model's next one is checked.
    async fn forget_failures(&self, user: usize) {
        let operator = self.core.service.operator();
        let user = operator.user(USERS[user]).await.expect("a user");
        operator.unlock(&user).await.expect("a store");
    }

    /// Waits until the store knows what the model says was seen.
    async fn settle(&self, model: &Model) {
        for user in 0..USERS.len() {
            let live_sessions = model.live_sessions(user);
            until("it is stored who was seen", async || {
                let stored = self.core.service.operator().sessions(self.users[user]).await.expect("a store");
                live_sessions.iter().all(|&session| {
                    let id = self.sessions[session].session.id;
                    stored.iter().any(|stored| stored.id == id && stored.last_seen_at == model.sessions[session].seen)
                })
            })
            .await;
        }
    }

    /// Does a step that takes the model from one state to the other. Panics when the answer is not the model's.
    async fn step(&mut self, model: &Model, after: &Model, step: &Step) {
        let (service, client) = (&self.core.service, Client::default());
        match *step {
            Step::LogIn { user, replaces } => {
                self.settle(model).await;
                let replaces = replaces.and_then(|replaced| model.place(replaced));
                let replaces = replaces.map(|replaced| self.sessions[replaced].token.clone()).into_iter().collect();
                match self.log_in(user, model.users[user].password(), replaces).await {
                    Ok(logged_in) => {
                        assert!(!model.users[user].disabled);
                        self.sessions.push(logged_in);
                    }
                    Err(error) => {
                        assert!(matches!(error, Error::BadCredentials) && model.users[user].disabled, "{error}")
                    }
                }
            }
            Step::WrongPassword(user) => {
                let yesterdays = match model.users[user].password {
                    0 => String::from("never a password"),
                    changes => Person { password: changes - 1, disabled: false }.password(),
                };
                assert!(matches!(self.log_in(user, yesterdays, Vec::new()).await, Err(Error::BadCredentials)));
            }
            Step::CheckNeverIssued => {
                let token = TokenKey::new([1; 32]).issue(&SystemEntropy).expect("entropy");
                assert!(matches!(service.verify(&Presented { token, user: None }).await, Err(Error::NoSession)));
            }
            Step::Check(session) => {
                let Some(session) = model.place(session) else { return };
                self.assert_check(model, session).await;
            }
            Step::LogOut { session, named } => {
                let Some(session) = model.place(session) else { return };
                let presented = self.presented(session, named.map(|named| self.users[named]));
                let answer = service.logout(&[presented], &client).await;
                let ended = model.live(session) && !after.live(session);
                assert!(if ended { answer.is_ok() } else { matches!(answer, Err(Error::NoSession)) }, "{answer:?}");
            }
            Step::Revoke { by, session } => {
                let (Some(by), Some(session)) = (model.place(by), model.place(session)) else { return };
                let Some(principal) = self.assert_check(model, by).await else { return };
                let answer = service.revoke(&principal, self.sessions[session].session.id, &client).await;
                let ended = model.live(session) && !after.live(session);
                assert!(if ended { answer.is_ok() } else { matches!(answer, Err(Error::NotFound)) }, "{answer:?}");
            }
            Step::RevokeOthers(by) | Step::RevokeAll(by) => {
                let Some(by) = model.place(by) else { return };
                let Some(principal) = self.assert_check(model, by).await else { return };
                let scope = if matches!(step, Step::RevokeAll(_)) { Scope::All } else { Scope::Others };
                let count = service.revoke_many(&principal, scope, &client).await.expect("done");
                assert_eq!(count, ended(model, after));
            }
            Step::ChangePassword { by, right } => {
                let Some(by) = model.place(by) else { return };
                let Some(principal) = self.assert_check(model, by).await else { return };
                let person = model.users[model.sessions[by].user];
                let current = if right { person.password() } else { String::from("never a password") };
                let new = Person { password: person.password + 1, ..person }.password();
                self.forget_failures(model.sessions[by].user).await;
                match service.change_password(&principal, current, new, &client, &TriedFrom::default()).await {
                    Ok(renewed) => {
                        assert_eq!((right, renewed.revoked), (true, ended(model, after)));
                        self.outdated.push(std::mem::replace(&mut self.sessions[by].token, renewed.token));
                    }
                    Err(error) => assert!(!right && matches!(error, Error::BadCredentials), "{error}"),
                }
            }
            Step::SetDisabled(user, disabled) => {
                let revoked = service.operator().set_disabled(self.users[user], disabled).await.expect("done");
                assert_eq!(revoked.sessions.len(), ended(model, after));
                // A command answers only once the server has applied it.
                for session in (0..model.sessions.len()).filter(|&session| model.live(session) && !after.live(session))
                {
                    until("it is applied", async || self.check(session).await.is_err()).await;
                }
            }
            Step::Wait(span) => {
                self.settle(model).await;
                self.clock.advance(span);
            }
        }
    }

    async fn assert_check(&self, model: &Model, session: usize) -> Option<Principal> {
        match self.check(session).await {
            Ok(principal) => {
                assert!(model.live(session), "session {session} is dead and was accepted");
                assert_eq!(principal.session_id(), self.sessions[session].session.id);
                assert_eq!(principal.user_id(), self.users[model.sessions[session].user]);
                Some(principal)
            }
            Err(error) => {
                assert!(matches!(error, Error::NoSession), "{error}");
                assert!(!model.live(session), "session {session} is alive and was refused");
                None
            }
        }
    }
}

fn ended(before: &Model, after: &Model) -> usize {
    (0..before.sessions.len()).filter(|&session| before.live(session) && !after.live(session)).count()
}

/// On PostgreSQL, or else on SQLite.
struct Service<const POSTGRES: bool>;

impl<const POSTGRES: bool> StateMachineTest for Service<POSTGRES> {
    type SystemUnderTest = (Runtime, Real, Model);
    type Reference = Model;

    fn init_test(model: &Model) -> (Runtime, Real, Model) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let database = Database::new(if POSTGRES { StoreKind::Postgres } else { StoreKind::Sqlite });
        let clock = Arc::new(ManualClock::new(BEGIN));
        // Remembered sessions, of which there are none here, decide how often last-seen times are stored: as often as
        // possible. A single cache entry a shard makes room now and then.
        let toml = format!(
            "database_url = '{}'\nremembered_idle = '1s'\nsessions_per_user = {CAP}\ncache_entries = 1\n\
             cache = '{}'\nsession_idle = '2h'\nsession_absolute = '24h'",
            database.url(),
            if model.cached { "on" } else { "off" },
        );
        let config = Config::new(&toml::from_str(&toml).expect("settings")).expect("a configuration");
        let environment = Environment { clock: clock.clone(), entropy: Arc::new(SystemEntropy) };
        let (core, users) = runtime.block_on(async {
            notices::install();
            let core = build(&config, true, environment).await.expect("built");
            let add = async |name| {
                let password = Person::default().password();
                core.service.operator().add_user(name, None, None, false, password).await.expect("a user").id
            };
            let users = [add(USERS[0]).await, add(USERS[1]).await];
            (core, users)
        });
        (runtime, Real { clock, core, users, sessions: vec![], outdated: vec![], _database: database }, model.clone())
    }

    /// Here `after` is the model's state after the step.
    fn apply((runtime, mut real, before): (Runtime, Real, Model), after: &Model, step: Step) -> (Runtime, Real, Model) {
        runtime.block_on(real.step(&before, after, &step));
        (runtime, real, after.clone())
    }

    fn check_invariants((runtime, real, _): &(Runtime, Real, Model), model: &Model) {
        runtime.block_on(async {
            assert_eq!(real.clock.now(), model.now);
            for session in (0..model.sessions.len()).filter(|&session| !model.live(session)) {
                real.assert_check(model, session).await;
            }
            for token in &real.outdated {
                let answer = real.core.service.verify(&Presented { token: token.clone(), user: None }).await;
                assert!(matches!(answer, Err(Error::NoSession)), "an outdated token was accepted: {answer:?}");
            }
            for user in 0..USERS.len() {
                // A list does not count as a check.
                let listed = real.core.service.operator().sessions(real.users[user]).await.expect("a store");
                let mut listed: Vec<_> = listed.iter().map(|session| session.id).collect();
                let mut live_sessions: Vec<_> =
                    model.live_sessions(user).iter().map(|&at| real.sessions[at].session.id).collect();
                listed.sort();
                live_sessions.sort();
                assert_eq!(listed, live_sessions);
            }
        });
    }

    fn teardown((runtime, real, _): (Runtime, Real, Model), _: Model) {
        runtime.block_on(real.core.close());
    }
}

/// A few, and as many as are asked for: PROPTEST_CASES=1000 is the long form.
fn runs() -> Runs {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    Runs { cases: asked.unwrap_or(16), failure_persistence: None, max_shrink_iters: 200, ..Runs::default() }
}

mod the_service_agrees_with_its_model {
    use super::*;

    prop_state_machine! {
        #![proptest_config(runs())]

        #[test]
        fn sqlite(sequential 1..40 => Service<false>);

        #[needs(postgres)]
        #[test]
        fn postgres(sequential 1..40 => Service<true>);
    }
}
