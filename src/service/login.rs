//! Logging in.

use futures_util::future::try_join;

use super::limits::{TriedFrom, Whose};
use super::second_factor::Proven;
use super::throttle::Try;
use super::{Error, Parts, Result, Service};
use crate::cache::touch::store_seen;
use crate::domain::id::{SessionId, UserId};
use crate::domain::password::Typed;
use crate::domain::revocation::Seq;
use crate::domain::second_factor::proof::Proof;
use crate::domain::session::{Client, MOST_UNFLUSHED, Session};
use crate::domain::text::LoginName;
use crate::domain::throttle::BrowserMark;
use crate::domain::token::{Token, TokenHash};
use crate::domain::user::{Credentials, User};
use crate::password::{HashError, Verdict};
use crate::store::{Created, NewSession};
use crate::telemetry::LoginResult;

/// A request to log in.
#[derive(Debug)]
pub struct Login {
    /// The username or e-mail address that was typed.
    pub name: LoginName,
    /// The password that was typed, of any length.
    pub password: String,
    /// The code of the second factor that was typed, if one was.
    pub code: Option<String>,
    /// Whether the session is to outlive the browser, or travels in headers.
    pub remembered: bool,
    /// The tokens that came along in the cookies which this login will overwrite.
    pub replaces: Vec<Token>,
    /// The password that takes the place of a one-time password.
    pub new_password: Option<String>,
    /// The address and user agent of the client.
    pub client: Client,
    /// Where the client is, for the limits on tries.
    pub from: TriedFrom,
}

/// The result of a login.
#[derive(Debug)]
pub struct LoggedIn {
    /// The session's token, which is shown now and never again.
    pub token: Token,
    /// The new session.
    pub session: Session,
    /// The user who logged in.
    pub user: User,
    /// Whether a recovery code was used up.
    pub by_recovery_code: bool,
    /// For a browser to keep: from now on, its tries are counted apart from those of strangers.
    pub browser: Vec<BrowserMark>,
}

/// What came of a login on a page.
#[derive(Debug)]
pub enum FirstStep {
    /// A session.
    LoggedIn(Box<LoggedIn>),
    /// The password was right. A code is waited for, from who has this token.
    CodeNeeded(Token),
}

impl Service {
    /// Checks a password and begins a session. Always a new token (OWASP ASVS 7.2.4).
    ///
    /// # Errors
    /// [`Error::BadCredentials`] for every refusal alike; [`Error::Throttled`] after too many, and [`Error::Overloaded`] when
    /// too many wait, both at once;
    /// [`Error::SecondFactorRequired`] when the password was right, and a code is missing or wrong, and then
    /// [`Error::PasswordChangeRequired`] and [`Error::Invalid`] for a password that has to be changed.
    pub async fn login(&self, login: Login) -> Result<LoggedIn> {
        match self.first_step(login, false).await? {
            FirstStep::LoggedIn(logged_in) => Ok(*logged_in),
            FirstStep::CodeNeeded(_) => Err(Error::SecondFactorRequired { wrong: false }),
        }
    }

    /// The same in two steps: where a code is needed and none was given, the login waits for it. One with a password that
    /// has to be changed does not wait, since the password is needed again.
    ///
    /// # Errors
    /// As [`Self::login`].
    pub async fn login_in_steps(&self, login: Login) -> Result<FirstStep> {
        self.first_step(login, true).await
    }

    async fn first_step(&self, login: Login, may_wait: bool) -> Result<FirstStep> {
        let step = self.try_first_step(login, may_wait).await;
        self.parts.metrics.passwords.login(match &step {
            Ok(FirstStep::LoggedIn(_)) => LoginResult::accepted,
            Ok(FirstStep::CodeNeeded(_)) => LoginResult::incomplete,
            Err(error) => login_result(error),
        });
        step
    }

    async fn try_first_step(&self, login: Login, may_wait: bool) -> Result<FirstStep> {
        let Login { name, password, code, remembered, replaces, new_password, client, from } = login;
        self.refuse_address(from.address)?;
        let admission = self.admit(&name, &from)?;
        // A name that no user can have is not looked up, and costs the same as an unknown one.
        let known = match name {
            LoginName::Impossible(_) => None,
            LoginName::Username(_) | LoginName::Email(_) => self.parts.store.credentials(&name).await?,
        };
        let user = known.as_ref().map(|known| &known.user);
        // What can be no user's password, known or not, costs no hash, so it must cost the store next to nothing either, or
        // strangers could fill the disk.
        let Some(password) = Typed::new(password) else {
            self.failed_without_hash(from.address);
            self.refusals.impossible_login(&name, user, &client, self.parts.clock.now()).await?;
            return Err(Error::BadCredentials);
        };
        // A disabled user is treated as an unknown one: every refusal is the same work.
        let enabled = known.as_ref().filter(|known| known.user.disabled_at.is_none());
        let hash = enabled.map(|known| known.password_hash.clone());
        let one_time = enabled.and_then(|known| known.one_time);
        let typed = one_time.map(|_| password.clone());
        let whose = Whose::Name(&name, user.map(|user| user.id));
        let (verdict, tried) = self.check_password(whose, &from, password, hash, Some(admission)).await?;
        self.log_unusable_hash(&verdict, user.map(|user| user.id));
        let now = self.parts.clock.now();
        let expired = one_time.is_some_and(|one_time| one_time.has_expired(now));
        let (Some(known), Verdict::Right { rehashed }, false) = (&known, verdict, expired) else {
            self.refusals.login(&name, user, &client, now).await?;
            return Err(Error::BadCredentials);
        };
        let mut proven = match self.login_proof(&known.user, code.as_deref(), &client, &from).await {
            Ok(proven) => proven,
            // A right password with a wrong code has failed.
            Err(error @ Error::SecondFactorRequired { wrong: true }) => return Err(error),
            Err(Error::SecondFactorRequired { wrong: false }) if may_wait && one_time.is_none() => {
                tried.give_back().await;
                return Ok(FirstStep::CodeNeeded(self.wait_for_code(known, remembered).await?));
            }
            Err(error) => {
                tried.give_back().await;
                return Err(error);
            }
        };
        let proof = proven.proof.clone();
        let by_recovery_code = matches!(proof, Some(Proof::Recovery(_)));
        let changed = match self.change_at_first_use(known, typed.as_ref(), new_password, &client, &tried, proof).await
        {
            Ok(changed) => changed,
            // What was tried has failed.
            Err(error @ Error::SecondFactorRequired { .. }) => return Err(error),
            Err(error) => {
                tried.give_back().await;
                proven.give_back().await;
                return Err(error);
            }
        };
        if changed.is_some() {
            proven.proof = Some(Proof::UsedUp);
        }
        let rehashed = rehashed.filter(|_| changed.is_none());
        let known = changed.as_ref().unwrap_or(known);
        let token = self.token_key.issue(&*self.parts.entropy)?;
        let browser = self.limits.browser_marks(known.user.id, &from, &*self.parts.entropy)?;
        let mut new = self.session_for(known, &token, remembered, client)?;
        new.replaces = self.replaced(&replaces);
        new.rehashed = rehashed;
        match self.complete(&mut new, &known.user, Some(tried), proven).await? {
            Some(seq) => {
                self.settled(seq).await?;
                let user = known.user.clone();
                let logged_in = LoggedIn { token, session: new.session, user, by_recovery_code, browser };
                Ok(FirstStep::LoggedIn(Box::new(logged_in)))
            }
            None => {
                let now = new.session.created_at;
                self.refusals.login(&name, Some(&known.user), &new.session.client, now).await?;
                Err(Error::BadCredentials)
            }
        }
    }

    /// A session that begins now.
    pub(super) fn session_for(
        &self,
        known: &Credentials,
        token: &Token,
        remembered: bool,
        client: Client,
    ) -> Result<NewSession> {
        let now = self.parts.clock.now();
        let session = Session {
            id: SessionId::random(&*self.parts.entropy)?,
            user_id: known.user.id,
            created_at: now,
            last_seen_at: now,
            expiry: self.parts.lifetimes.of(remembered).begin(now),
            remembered,
            client,
        };
        Ok(NewSession {
            session,
            token_hash: token.hash(),
            auth_epoch: known.auth_epoch,
            cap: self.parts.sessions_per_user.get(),
            replaces: Vec::new(),
            rehashed: None,
            proof: Proof::NoFactor,
            pending: None,
            resets: Vec::new(),
            unflushed: Some(MOST_UNFLUSHED),
        })
    }

    /// The sessions that end for a new one: those whose tokens were issued here.
    pub(super) fn replaced(&self, tokens: &[Token]) -> Vec<TokenHash> {
        tokens.iter().filter(|old| self.issued(old)).map(Token::hash).collect()
    }

    /// Makes the session of tries that were right, of a password and of a code, which resets their counters. `None`: it was
    /// superseded, and has failed.
    pub(super) async fn complete(
        &self,
        new: &mut NewSession,
        user: &User,
        tried: Option<Try<'_>>,
        proven: Proven<'_>,
    ) -> Result<Option<Seq>> {
        let Proven { proof, tried: code } = proven;
        let tries: Vec<_> = tried.into_iter().chain(code).collect();
        new.proof = proof.unwrap_or(Proof::NoFactor);
        new.resets.extend(tries.iter().flat_map(|tried| tried.resets(user.id)));
        new.resets.sort_unstable_by_key(|key| *key.as_bytes());
        new.resets.dedup();
        match self.create_session(new).await {
            Ok(Created::Yes(seq)) => {
                tries.into_iter().for_each(Try::succeeded);
                Ok(Some(seq))
            }
            Ok(Created::Superseded) => Ok(None),
            // The code was used meanwhile.
            Ok(Created::Unproven) => self.wrong_code(user, None, &new.session.client).await,
            Ok(Created::Unflushed { .. }) => Err(Error::Bug("flushed, and still not decided".into())),
            Err(error) => {
                for tried in tries {
                    tried.give_back().await;
                }
                Err(error)
            }
        }
    }

    /// Makes a session. Where another one of the user has to make room, and the memory of replicas decides which was not
    /// seen for longest, they store that first.
    pub(super) async fn create_session(&self, new: &mut NewSession) -> Result<Created> {
        let Parts { store, lifetimes, clock, .. } = &self.parts;
        let (sessions, seq) = match store.create_session(new.clone()).await? {
            Created::Unflushed { sessions, seq } => (sessions, seq),
            created @ (Created::Yes(_) | Created::Superseded | Created::Unproven) => return Ok(created),
        };
        let others = async { Ok(self.parts.coherence.flushed(seq).await?) };
        try_join(self.flush(&sessions), others).await?;
        // The session begins when its login is answered, which is after the wait for other replicas.
        let (now, session) = (clock.now(), &mut new.session);
        session.created_at = now;
        session.last_seen_at = now;
        session.expiry = lifetimes.of(session.remembered).begin(now);
        new.unflushed = None;
        Ok(store.create_session(new.clone()).await?)
    }

    /// Stores when this process saw these sessions, where the store does not know it.
    async fn flush(&self, sessions: &[TokenHash]) -> Result<()> {
        let Parts { store, cache, .. } = &self.parts;
        let seen = cache.unstored(sessions);
        if !seen.is_empty() {
            store_seen(&**store, cache, &seen).await?;
        }
        Ok(())
    }

    /// Logs once which user has a stored hash that is never computed, so that an operator can set a new password.
    pub(super) fn log_unusable_hash(&self, verdict: &Verdict, user: Option<UserId>) {
        let (Verdict::Unusable { why }, Some(user)) = (verdict, user) else { return };
        if self.unusable.lock().insert(user) {
            tracing::warn!(user = user.as_str(), "a stored hash {why}: set the user a new password");
        }
    }

    /// Counts a password that was refused because the queue was full.
    pub(super) fn hashed<T>(&self, result: std::result::Result<T, HashError>) -> Result<T> {
        result.map_err(|error| {
            if matches!(error, HashError::Overloaded) {
                self.parts.metrics.passwords.shed();
            }
            error.into()
        })
    }
}

/// What came of a login that did not begin a session, for the metrics.
pub(super) const fn login_result(error: &Error) -> LoginResult {
    match error {
        Error::BadCredentials | Error::NoSession | Error::SecondFactorRequired { wrong: true } => LoginResult::refused,
        Error::SecondFactorRequired { wrong: false } | Error::PasswordChangeRequired | Error::Invalid { .. } => {
            LoginResult::incomplete
        }
        Error::Throttled(_) => LoginResult::throttled,
        Error::Overloaded => LoginResult::shed,
        Error::Forbidden
        | Error::NotFound
        | Error::ReauthenticationRequired
        | Error::Conflict(_)
        | Error::StoreUnreachable(_)
        | Error::StoreTooSlow(_)
        | Error::Bug(_) => LoginResult::failed,
    }
}
