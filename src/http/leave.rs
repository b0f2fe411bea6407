//! Logging out, for every dialect: ends the session a request presents, and says what becomes of the cookie.

use axum::extract::{FromRequestParts as _, Request};
use http::{HeaderMap, HeaderValue};

use super::client_address::Sender;
use super::cookie::{self, Found};
use super::credential::{self, Credential, Via};
use super::state::App;
use super::wire::{Dialect, Refused, discard};
use crate::domain::principal::Principal;
use crate::service::Error;
use crate::service::sessions::Scope;

/// Which logouts write the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clearing {
    /// Every one, and the refused ones of browsers: a POST in a dialect that knows the cookie.
    Always,
    /// Those that come with one, and the refused ones of browsers.
    IfCarried,
    /// None, and only header credentials count: a GET, which any page can have a browser send.
    Never,
}

/// Ends the session that `request` presents. Returns the `Set-Cookie` values that go with success.
///
/// # Errors
/// In the words of `D`; 401 clears the cookie of a browser, which then ends up logged out either way.
pub async fn leave<D: Dialect>(
    app: &App,
    request: Request,
    clearing: Clearing,
) -> Result<Vec<HeaderValue>, Refused<D>> {
    let (mut parts, body) = request.into_parts();
    let Ok(Sender(client)) = Sender::from_request_parts(&mut parts, app).await;
    let headers = &parts.headers;
    let refused = |error: Error, via: Via| {
        let clears = clearing != Clearing::Never && via == Via::Cookie && matches!(error, Error::NoSession);
        Refused::from(error).with_cookies(if clears { app.cookie.clear(headers) } else { Vec::new() })
    };
    let (presented, via) = match credential::read(headers, app.cookie.name()) {
        Credential::Presented(_, Via::Cookie) if clearing == Clearing::Never => {
            return Err(refused(Error::NoSession, Via::Cookie));
        }
        Credential::Presented(presented, via) => (presented, via),
        Credential::None => return Err(refused(Error::NoSession, Via::Cookie)),
        Credential::Invalid(via) => return Err(refused(Error::NoSession, via)),
    };
    if !http_body::Body::is_end_stream(&body) {
        // Only clients that may log out are told what is wrong with their body; its content does not matter.
        app.service.verify(&presented).await.map_err(|error| refused(error, via))?;
        discard(body, app.timeouts.body).await?;
    }
    let clears = match (clearing, cookie::find(headers, app.cookie.name())) {
        (Clearing::Never, _) | (Clearing::IfCarried, Found::Nothing) => false,
        (Clearing::Always | Clearing::IfCarried, _) if via == Via::Cookie => true,
        // A cookie that stands for another session, still alive, stays.
        (Clearing::Always | Clearing::IfCarried, _) => credential::cookie_principal(headers, app)
            .await?
            .is_none_or(|carried| carried.token_hash == presented.token.hash()),
    };
    app.service.logout(&presented, &client).await.map_err(|error| refused(error, via))?;
    Ok(if clears { app.cookie.clear(headers) } else { Vec::new() })
}

/// Whose session the cookie of a request stands for, before some sessions are ended.
pub struct Carried<'r> {
    headers: &'r HeaderMap,
    principal: Option<Principal>,
}

impl<'r> Carried<'r> {
    /// Looks at the cookie of a request.
    ///
    /// # Errors
    /// See [`credential::cookie_principal`].
    pub async fn by(headers: &'r HeaderMap, app: &App) -> Result<Self, Error> {
        Ok(Self { headers, principal: credential::cookie_principal(headers, app).await? })
    }

    /// `Set-Cookie` values for an answer that ended one session.
    pub fn after_one(&self, ended: crate::domain::id::SessionId, app: &App) -> Vec<HeaderValue> {
        self.cleared(self.principal.as_ref().is_some_and(|carried| carried.session_id() == ended), app)
    }

    /// `Set-Cookie` values for an answer that ended many of the caller's.
    pub fn after_many(&self, caller: &Principal, scope: Scope, app: &App) -> Vec<HeaderValue> {
        let ended = |carried: &Principal| match scope {
            Scope::All => true,
            Scope::Others => carried.session_id() != caller.session_id(),
        };
        let carried = self.principal.as_ref().filter(|carried| carried.user_id() == caller.user_id());
        self.cleared(carried.is_some_and(ended), app)
    }

    fn cleared(&self, ended: bool, app: &App) -> Vec<HeaderValue> {
        if ended { app.cookie.clear(self.headers) } else { Vec::new() }
    }
}
