//! The real service, which does each step and is compared with the model.

use std::sync::Arc;

use sessiond::app::Core;
use sessiond::domain::clock::{Clock as _, ManualClock};
use sessiond::domain::entropy::SystemEntropy;
use sessiond::domain::id::UserId;
use sessiond::domain::principal::Principal;
use sessiond::domain::session::Client;
use sessiond::domain::text::LoginName;
use sessiond::domain::token::{Token, TokenKey};
use sessiond::service::limits::TriedFrom;
use sessiond::service::login::{FirstStep, LoggedIn, Login};
use sessiond::service::login_code::LoginCode;
use sessiond::service::password_change::Renewed;
use sessiond::service::sessions::Scope;
use sessiond::service::verify::Presented;
use sessiond::service::{Error, Result};
use sessiond::store::Revoked;
use sessiond_support::wait::until;

use super::factors::{Authenticator, assert_refused};
use super::model::{Code, Model, Person, Shown, Step};
use super::{USERS, ended};
use crate::harness::Database;

/// The real service.
pub(super) struct Real {
    pub(super) clock: Arc<ManualClock>,
    pub(super) core: Core,
    pub(super) users: [UserId; 2],
    pub(super) sessions: Vec<LoggedIn>,
    /// Tokens that sessions had before they were given others.
    pub(super) outdated: Vec<Token>,
    pub(super) authenticators: [Authenticator; 2],
    pub(super) database: Database,
}

impl Real {
    pub(super) fn presented(&self, session: usize, user: Option<UserId>) -> Presented {
        Presented { token: self.sessions[session].token.clone(), user }
    }

    async fn check(&self, session: usize) -> Result<Principal> {
        self.core.service.verify(&self.presented(session, None)).await
    }

    async fn log_in(
        &self,
        user: usize,
        password: String,
        replaces: Vec<Token>,
        code: Code,
        in_steps: bool,
    ) -> Result<LoggedIn> {
        self.forget_failures(user).await;
        let (name, client, from) = (LoginName::username(USERS[user]), Client::default(), TriedFrom::default());
        let code = self.authenticators[user].typed(code, self.clock.now());
        let in_one = if in_steps { None } else { code.clone() };
        let login = Login {
            name,
            password,
            code: in_one,
            remembered: false,
            replaces: replaces.clone(),
            new_password: None,
            client: client.clone(),
            from: from.clone(),
        };
        if !in_steps {
            return self.core.service.login(login).await;
        }
        match self.core.service.login_in_steps(login).await? {
            FirstStep::LoggedIn(logged_in) => Ok(*logged_in),
            FirstStep::CodeNeeded(token) => {
                let code = code.unwrap_or_default();
                let login = LoginCode { waiting: vec![token], code, replaces, client, from };
                self.core.service.complete_login(login).await
            }
        }
    }

    /// However many passwords were wrong, the model's next one is checked.
    pub(super) async fn forget_failures(&self, user: usize) {
        let operator = self.core.service.operator();
        let user = operator.user(USERS[user]).await.expect("a user");
        operator.unlock(&user).await.expect("a store");
    }

    /// Waits until the store knows what the model says was seen.
    pub(super) async fn settle(&self, model: &Model) {
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
    pub(super) async fn step(&mut self, model: &Model, after: &Model, step: &Step) {
        let (service, client) = (&self.core.service, Client::default());
        match *step {
            Step::LogIn { user, replaces, code, in_steps } => {
                self.settle(model).await;
                let replaces = replaces.and_then(|replaced| model.place(replaced));
                let replaces = replaces.map(|replaced| self.sessions[replaced].token.clone()).into_iter().collect();
                let shown = model.clone().show(user, code);
                match self.log_in(user, model.users[user].password(), replaces, code, in_steps).await {
                    Ok(logged_in) => {
                        assert!(!model.users[user].disabled && shown == Shown::Yes);
                        self.sessions.push(logged_in);
                    }
                    Err(Error::BadCredentials) => assert!(model.users[user].disabled),
                    Err(error) => {
                        assert!(!model.users[user].disabled);
                        assert_refused(&error, shown);
                    }
                }
            }
            Step::WrongPassword(user) => {
                let yesterdays = match model.users[user].password {
                    0 => String::from("never a password"),
                    changes => Person { password: changes - 1, ..Person::default() }.password(),
                };
                let refused = self.log_in(user, yesterdays, Vec::new(), Code::Shown(1), false).await;
                assert!(matches!(refused, Err(Error::BadCredentials)), "and the code is not used up");
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
                        assert!(right);
                        self.renewed(model, after, by, Some(renewed));
                    }
                    Err(error) => assert!(!right && matches!(error, Error::BadCredentials), "{error}"),
                }
            }
            Step::SetDisabled(user, disabled) => {
                let revoked = service.operator().set_disabled(self.users[user], disabled).await.expect("done");
                self.assert_applied(model, after, &revoked).await;
            }
            Step::ChangeFactor { by, change, code } => {
                let Some(by) = model.place(by) else { return };
                let Some(principal) = self.assert_check(model, by).await else { return };
                let removed = self.change_factor(model, by, change, code, &principal).await;
                self.renewed(model, after, by, removed);
            }
            Step::ConfirmFactor { by, code } => {
                let Some(by) = model.place(by) else { return };
                let Some(principal) = self.assert_check(model, by).await else { return };
                let confirmed = self.confirm_factor(model, by, code, &principal).await;
                self.renewed(model, after, by, confirmed);
            }
            Step::ResetFactor(user) => match service.operator().reset_second_factor(self.users[user]).await {
                Ok(revoked) => {
                    assert!(model.users[user].factor.is_some());
                    self.assert_applied(model, after, &revoked).await;
                }
                Err(error) => {
                    assert!(matches!(error, Error::NotFound) && model.users[user].factor.is_none(), "{error}")
                }
            },
            Step::Wait(span) => {
                self.settle(model).await;
                self.clock.advance(span);
            }
        }
    }

    /// A session goes on under a new token, if it got one, and others ended.
    fn renewed(&mut self, model: &Model, after: &Model, by: usize, renewed: Option<Renewed>) {
        let Some(renewed) = renewed else { return };
        assert_eq!(renewed.revoked, ended(model, after));
        self.outdated.push(std::mem::replace(&mut self.sessions[by].token, renewed.token));
    }

    /// A command answers only once the server has applied it.
    async fn assert_applied(&self, model: &Model, after: &Model, revoked: &Revoked) {
        assert_eq!(revoked.sessions.len(), ended(model, after));
        for session in (0..model.sessions.len()).filter(|&session| model.live(session) && !after.live(session)) {
            until("it is applied", async || self.check(session).await.is_err()).await;
        }
    }

    pub(super) async fn assert_check(&self, model: &Model, session: usize) -> Option<Principal> {
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
