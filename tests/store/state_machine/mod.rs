//! The service against a model of it: random logins, checks, logouts, revocations, second factors, and
//! hours going by.
//!
//! What is stored decides when a session is idle for too long, and a check is stored a moment after it was answered.
//! That moment is no part of the model: before time goes by (and before a login looks at the cap), the test waits
//! until what was seen is stored, so that the model is exact. It also says at its deadlines exactly.

use std::sync::Arc;
use std::time::Duration;

use proptest::test_runner::Config as Runs;
use proptest_state_machine::{StateMachineTest, prop_state_machine};
use sessiond::app::{Environment, build};
use sessiond::config::Config;
use sessiond::domain::clock::{Clock as _, ManualClock};
use sessiond::domain::entropy::SystemEntropy;
use sessiond::service::Error;
use sessiond::service::verify::Presented;
use sessiond::telemetry::notices;
use sessiond_needs::needs;
use tokio::runtime::Runtime;

use self::factors::Authenticator;
use self::model::{Model, Person, Step};
use self::real::Real;
use crate::harness::{BEGIN, Database, StoreKind};

mod factors;
mod model;
mod real;

const USERS: [&str; 2] = ["ann", "bob"];
const CAP: usize = 3;
const IDLE: Duration = Duration::from_secs(2 * 60 * 60);
const ABSOLUTE: Duration = Duration::from_secs(24 * 60 * 60);
/// A check is stored only when the last one stored is this long ago.
const FLUSH_INTERVAL: Duration = Duration::from_secs(5 * 60);

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
        let authenticators = [(), ()].map(|()| Authenticator::default());
        let real = Real { clock, core, users, sessions: vec![], outdated: vec![], authenticators, database };
        (runtime, real, model.clone())
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
            real.assert_factors(model).await;
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
        fn sqlite(sequential 1..50 => Service<false>);

        #[needs(postgres)]
        #[test]
        fn postgres(sequential 1..50 => Service<true>);
    }
}
