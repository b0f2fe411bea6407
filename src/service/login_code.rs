//! The second step of a login on the pages: the code of a login that waits for it.

use std::time::Duration;

use super::limits::TriedFrom;
use super::login::{LoggedIn, login_result};
use super::{Error, Result, Service};
use crate::domain::second_factor::proof::Proof;
use crate::domain::session::Client;
use crate::domain::token::{Token, TokenHash};
use crate::domain::user::Credentials;
use crate::store::PendingLogin;
use crate::telemetry::LoginResult;

/// How long a login waits for its code.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// A code for a login that waits for it.
#[derive(Debug)]
pub struct LoginCode {
    /// The tokens by which the browser may be known whose login waits.
    pub waiting: Vec<Token>,
    /// The code as it was typed.
    pub code: String,
    /// The tokens that came along in the cookies which this login will overwrite.
    pub replaces: Vec<Token>,
    /// The address and user agent of the client.
    pub client: Client,
    /// Where the client is, for the limits on tries.
    pub from: TriedFrom,
}

impl Service {
    /// Has a login whose password was right wait for its code. Returns the token by which its browser is known.
    pub(super) async fn wait_for_code(&self, known: &Credentials, remembered: bool) -> Result<Token> {
        let token = self.token_key.issue(&*self.parts.entropy)?;
        let login = PendingLogin {
            user: known.user.id,
            auth_epoch: known.auth_epoch,
            remembered,
            expires_at: self.parts.clock.now().after(PATIENCE),
        };
        self.parts.store.add_pending_login(token.hash(), login).await?;
        Ok(token)
    }

    /// Whether a login waits for a code from who has one of these tokens.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn waits_for_code(&self, tokens: &[Token]) -> Result<bool> {
        Ok(self.waiting(tokens).await?.is_some())
    }

    /// The first login that waits, whose user may still log in as they were checked.
    async fn waiting(&self, tokens: &[Token]) -> Result<Option<(TokenHash, PendingLogin, Credentials)>> {
        let now = self.parts.clock.now();
        for token in tokens.iter().filter(|token| self.issued(token)) {
            let Some(login) = self.parts.store.pending_login(&token.hash()).await? else { continue };
            let known = self.parts.store.credentials_of(login.user).await?;
            let known = known.filter(|known| known.auth_epoch == login.auth_epoch && known.user.disabled_at.is_none());
            if let Some(known) = known.filter(|_| login.expires_at > now) {
                return Ok(Some((token.hash(), login, known)));
            }
        }
        Ok(None)
    }

    /// Completes a login that waits for its code.
    ///
    /// # Errors
    /// [`Error::SecondFactorRequired`] for a code that is missing or wrong: the login goes on waiting.
    /// [`Error::NoSession`] when none waits any more, and [`Error::Throttled`] after too many wrong ones.
    pub async fn complete_login(&self, login: LoginCode) -> Result<LoggedIn> {
        let completed = self.try_to_complete_login(login).await;
        let result = completed.as_ref().map_or_else(login_result, |_| LoginResult::accepted);
        self.parts.metrics.passwords.login(result);
        completed
    }

    async fn try_to_complete_login(&self, login: LoginCode) -> Result<LoggedIn> {
        let LoginCode { waiting, code, replaces, client, from } = login;
        let (pending, waiting, known) = self.waiting(&waiting).await?.ok_or(Error::NoSession)?;
        let proven = self.login_proof(&known.user, Some(&code), &client, &from).await?;
        let by_recovery_code = matches!(proven.proof, Some(Proof::Recovery(_)));
        let token = self.token_key.issue(&*self.parts.entropy)?;
        let browser = self.limits.browser_marks(known.user.id, &from, &*self.parts.entropy)?;
        let mut new = self.session_for(&known, &token, waiting.remembered, client)?;
        new.replaces = self.replaced(&replaces);
        new.pending = Some(pending);
        new.resets = self.limits.of_step_before(&known.user, &from);
        let seq = self.complete(&mut new, &known.user, None, proven).await?.ok_or(Error::NoSession)?;
        self.settled(seq).await?;
        Ok(LoggedIn { token, session: new.session, user: known.user, by_recovery_code, browser })
    }
}
