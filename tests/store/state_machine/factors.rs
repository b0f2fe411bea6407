//! What the users of the real service have of second factors, and the steps that change them.

use sessiond::domain::clock::{Clock as _, Timestamp};
use sessiond::domain::principal::Principal;
use sessiond::domain::second_factor::SecretText;
use sessiond::domain::session::Client;
use sessiond::service::Error;
use sessiond::service::limits::TriedFrom;
use sessiond::service::password_change::Renewed;
use sessiond::service::second_factor::{Confirmed, Present, Started};

use super::USERS;
use super::model::{Change, Code, Model, Shown};
use super::real::Real;
use crate::harness::authenticator::{STEP, code};

/// What a user has at hand.
#[derive(Default)]
pub(super) struct Authenticator {
    /// The secret in force.
    secret: Option<String>,
    /// The id and the secret of the newest enrolment.
    begun: Option<(String, String)>,
    recovery: Vec<String>,
    /// A recovery code of an earlier set.
    outdated: Option<String>,
}

impl Authenticator {
    /// What is typed for a code of the factor in force.
    pub(super) fn typed(&self, which: Code, now: Timestamp) -> Option<String> {
        match which {
            Code::Absent => None,
            Code::Recovery(number) => Some(self.recovery.get(number).cloned().unwrap_or_else(|| String::from("none"))),
            Code::Outdated => Some(self.outdated.clone().unwrap_or_else(|| String::from("none"))),
            Code::Shown(_) | Code::Far => Some(shown(self.secret.as_deref(), which, now)),
        }
    }

    /// The same for the first code of an enrolment, which is never a recovery code.
    fn first(&self, which: Code, now: Timestamp) -> String {
        match which {
            Code::Shown(_) | Code::Far => shown(self.begun.as_ref().map(|(_, secret)| secret.as_str()), which, now),
            Code::Absent | Code::Recovery(_) | Code::Outdated => self.typed(which, now).unwrap_or_default(),
        }
    }

    fn new_codes(&mut self, codes: &[SecretText]) {
        let new = codes.iter().map(|code| code.reveal().to_owned()).collect();
        self.outdated = std::mem::replace(&mut self.recovery, new).pop().or(self.outdated.take());
    }
}

/// What an authenticator with this secret shows.
fn shown(secret: Option<&str>, which: Code, now: Timestamp) -> String {
    let Some(secret) = secret else { return String::from("123456") };
    let at = |drift: i64| {
        let span = STEP * u32::try_from(drift.unsigned_abs()).expect("few");
        code(secret, if drift < 0 { now.before(span) } else { now.after(span) })
    };
    match which {
        Code::Shown(drift) => at(drift),
        Code::Far | Code::Absent | Code::Recovery(_) | Code::Outdated => {
            // Once in a great while it is that of a step that is near.
            let near = [-1, 0, 1].map(at);
            [at(2), at(-2)].into_iter().find(|code| !near.contains(code)).expect("one of two")
        }
    }
}

/// Panics unless it is how a code is refused that shows this.
pub(super) fn assert_refused(error: &Error, code: Shown) {
    let as_expected = match code {
        Shown::Yes => false,
        Shown::No => matches!(error, Error::SecondFactorRequired { wrong: false }),
        Shown::Wrong => matches!(error, Error::SecondFactorRequired { wrong: true }),
    };
    assert!(as_expected, "{error} for a code that is {code:?}");
}

impl Real {
    /// Changes the second factor of the session's user. Panics when the answer is not the model's.
    pub(super) async fn change_factor(
        &mut self,
        model: &Model,
        by: usize,
        change: Change,
        code: Code,
        principal: &Principal,
    ) -> Option<Renewed> {
        let user = model.sessions[by].user;
        self.forget_failures(user).await;
        let (service, client, from) = (&self.core.service, Client::default(), TriedFrom::default());
        let authenticator = &mut self.authenticators[user];
        let present =
            Present { password: model.users[user].password(), code: authenticator.typed(code, self.clock.now()) };
        let answer = match change {
            Change::Start => {
                let started = service.start_second_factor(principal, present, &client, &from).await;
                started.map(|Started { enrolment, secret, uri: _ }| {
                    authenticator.begun = Some((enrolment.to_string(), secret.reveal().to_owned()));
                    None
                })
            }
            Change::NewRecoveryCodes => {
                let renewed = service.renew_recovery_codes(principal, present, &client, &from).await;
                renewed.map(|codes| {
                    authenticator.new_codes(&codes);
                    None
                })
            }
            Change::Removal => service.remove_second_factor(principal, present, &client, &from).await.map(Some),
        };
        let (shown, in_force) = (model.clone().show(user, code), model.users[user].factor.is_some());
        match answer {
            Ok(renewed) => {
                assert!(shown == Shown::Yes && (in_force || change == Change::Start));
                renewed
            }
            Err(Error::NotFound) => {
                assert!(!in_force && change != Change::Start);
                None
            }
            Err(error) => {
                assert_refused(&error, shown);
                None
            }
        }
    }

    /// Confirms the newest enrolment of the session's user, whatever became of it.
    pub(super) async fn confirm_factor(
        &mut self,
        model: &Model,
        by: usize,
        code: Code,
        principal: &Principal,
    ) -> Option<Renewed> {
        let user = model.sessions[by].user;
        self.forget_failures(user).await;
        let authenticator = &mut self.authenticators[user];
        let typed = authenticator.first(code, self.clock.now());
        let begun = authenticator.begun.clone();
        let enrolment = begun.as_ref().map_or("none", |(id, _)| id.as_str());
        let (client, from) = (Client::default(), TriedFrom::default());
        let confirmed = self.core.service.confirm_second_factor(principal, enrolment, &typed, &client, &from).await;
        match (confirmed, model.confirms(user, code)) {
            (Ok(Confirmed { recovery_codes, renewed }), Some(true)) => {
                authenticator.new_codes(&recovery_codes);
                authenticator.secret = begun.map(|(_, secret)| secret);
                Some(renewed)
            }
            (Err(Error::SecondFactorRequired { wrong: true }), Some(false)) | (Err(Error::Conflict(_)), None) => None,
            (answer, expected) => panic!("{:?} where the model says {expected:?}", answer.map(drop)),
        }
    }

    /// Panics unless the store holds the second factors that the model has.
    pub(super) async fn assert_factors(&self, model: &Model) {
        let stored = self.database.rows(
            "SELECT u.username, f.last_step, (SELECT count(*) FROM recovery_codes AS c WHERE c.user_id = u.id)
             FROM second_factors AS f JOIN users AS u ON u.id = f.user_id ORDER BY u.username",
        );
        let expected = USERS.iter().zip(&model.users).filter_map(|(name, person)| {
            let factor = person.factor?;
            let texts = [(*name).to_owned(), factor.last_step.to_string(), factor.recovery.count_ones().to_string()];
            Some(texts.map(Some).to_vec())
        });
        assert_eq!(stored.await, expected.collect::<Vec<_>>());
    }
}
