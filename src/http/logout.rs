//! Logging out, for every dialect: ends the sessions that a request presents, and decides whether to clear the cookie.

use axum::extract::{FromRequestParts as _, Request};
use http::HeaderValue;

use super::refusal::{Dialect, Refused};
use super::request::body::discard;
use super::request::client_address::Sender;
use super::request::credential::{self, Cookies, Credential, Via};
use super::request::state::App;
use crate::domain::id::{SessionId, UserId};
use crate::domain::principal::Principal;
use crate::domain::session::Client;
use crate::service::Error;
use crate::service::admin::Admin;
use crate::service::sessions::Scope;

/// Which logouts clear the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClearCookie {
    /// Every one that succeeds, and those of browsers that are refused: a POST in a dialect that knows the cookie.
    Always,
    /// Those that succeed and came with a cookie, and those of browsers that are refused.
    IfSent,
    /// No logout, and only header credentials count: a GET, which any page can have a browser send.
    Never,
}

/// Ends the session that `request` presents in a header, or every one that it presents in cookies. Returns the
/// `Set-Cookie` values that go with success.
///
/// # Errors
/// In the words of `D`; 401 clears the cookie of a browser, which then ends up logged out either way.
pub async fn log_out<D: Dialect>(
    app: &App,
    request: Request,
    clear_cookie: ClearCookie,
) -> Result<Vec<HeaderValue>, Refused<D>> {
    let (mut parts, body) = request.into_parts();
    let Ok(Sender(client)) = Sender::from_request_parts(&mut parts, app).await;
    let cookies = Cookies::from_parts(&parts, app);
    let refused = |error: Error, via: Via| {
        let clears = clear_cookie != ClearCookie::Never && via == Via::Cookie && matches!(error, Error::NoSession);
        Refused::from(error).with_cookies(if clears { cookies.clear(&app.cookie) } else { Vec::new() })
    };
    let (presented, via) = match credential::read(&parts.headers, app.cookie.name(), |token| app.service.issued(token))
    {
        Credential::Presented(presented, Via::Header) => (vec![presented], Via::Header),
        Credential::Invalid(Via::Header) => return Err(refused(Error::NoSession, Via::Header)),
        Credential::None
        | Credential::Invalid(Via::Cookie)
        | Credential::Presented(_, Via::Cookie)
        | Credential::Several(_) => {
            let counts = clear_cookie != ClearCookie::Never;
            (if counts { cookies.presented() } else { Vec::new() }, Via::Cookie)
        }
    };
    if !http_body::Body::is_end_stream(&body) {
        // Only clients that may log out learn what is wrong with their body. Its content does not matter.
        let live = app.service.live_principals(&presented).await.map_err(|error| refused(error, via))?;
        if !live.is_empty() {
            discard(body).await?;
        }
    }
    let clears = match (clear_cookie, via) {
        (ClearCookie::Never, _) => false,
        (ClearCookie::IfSent, _) if !cookies.were_sent() => false,
        (ClearCookie::Always | ClearCookie::IfSent, Via::Cookie) => true,
        (ClearCookie::Always | ClearCookie::IfSent, Via::Header) => {
            let in_cookies = app.service.live_principals(&cookies.presented()).await?;
            let ends = |live: &Principal| presented.iter().any(|ours| ours.token.hash() == live.token_hash);
            // The cookies stay if all of them stand for other live sessions.
            in_cookies.is_empty() || in_cookies.iter().any(ends)
        }
    };
    app.service.logout(&presented, &client).await.map_err(|error| refused(error, via))?;
    if via == Via::Cookie && cookies.too_many() {
        // The sessions that were looked up have ended, but there may be more.
        return Err(refused(Error::NoSession, via));
    }
    Ok(if clears { cookies.clear(&app.cookie) } else { Vec::new() })
}

/// Ends one session of the caller's. Returns the `Set-Cookie` values that go with success.
///
/// # Errors
/// When the service refuses, and as [`CookieSessions::from_cookies`].
pub async fn revoke_one(
    app: &App,
    caller: &Principal,
    session: SessionId,
    client: &Client,
    cookies: &Cookies,
) -> Result<Vec<HeaderValue>, Error> {
    let in_cookies = CookieSessions::from_cookies(cookies, app).await?;
    app.service.revoke(caller, session, client).await?;
    Ok(in_cookies.cleared(|live| live.session_id() == session, app))
}

/// Ends many sessions of the caller's. Returns how many, and the `Set-Cookie` values that go with success.
///
/// # Errors
/// As [`revoke_one`].
pub async fn revoke_many(
    app: &App,
    caller: &Principal,
    scope: Scope,
    client: &Client,
    cookies: &Cookies,
) -> Result<(usize, Vec<HeaderValue>), Error> {
    let in_cookies = CookieSessions::from_cookies(cookies, app).await?;
    let revoked = app.service.revoke_many(caller, scope, client).await?;
    Ok((revoked, in_cookies.after_many(caller, scope, app)))
}

/// Ends one session of any user, for an administrator. Returns the `Set-Cookie` values that go with success.
///
/// # Errors
/// As [`revoke_one`].
pub async fn revoke_any(
    app: &App,
    powers: &Admin<'_>,
    session: SessionId,
    cookies: &Cookies,
) -> Result<Vec<HeaderValue>, Error> {
    let in_cookies = CookieSessions::from_cookies(cookies, app).await?;
    powers.revoke_session(session).await?;
    Ok(in_cookies.cleared(|live| live.session_id() == session, app))
}

/// Ends every session of a user, for an administrator. Returns how many, and the `Set-Cookie` values that go with success.
///
/// # Errors
/// As [`revoke_one`].
pub async fn revoke_all_of(
    app: &App,
    powers: &Admin<'_>,
    user: UserId,
    cookies: &Cookies,
) -> Result<(usize, Vec<HeaderValue>), Error> {
    let in_cookies = CookieSessions::from_cookies(cookies, app).await?;
    let revoked = powers.revoke_sessions_of(user).await?;
    Ok((revoked, in_cookies.cleared(|live| live.user_id() == user, app)))
}

/// The live sessions that the cookies of a request stand for, looked up before a request ends sessions.
pub struct CookieSessions<'r> {
    cookies: &'r Cookies,
    principals: Vec<Principal>,
}

impl<'r> CookieSessions<'r> {
    /// Looks up the cookies of a request, whatever else it presents.
    ///
    /// # Errors
    /// When the store fails. No session may be ended then, since it is unknown whether the cookie would have to be
    /// cleared.
    pub async fn from_cookies(cookies: &'r Cookies, app: &App) -> Result<Self, Error> {
        let principals = app.service.live_principals(&cookies.presented()).await?;
        Ok(Self { cookies, principals })
    }

    /// The `Set-Cookie` values for an answer that ended many of the caller's sessions.
    pub fn after_many(&self, caller: &Principal, scope: Scope, app: &App) -> Vec<HeaderValue> {
        let ended = |live: &Principal| match scope {
            Scope::All => true,
            Scope::Others => live.session_id() != caller.session_id(),
        };
        self.cleared(|live| live.user_id() == caller.user_id() && ended(live), app)
    }

    /// The `Set-Cookie` values for an answer that ended the sessions that `ended` says.
    pub fn cleared(&self, ended: impl Fn(&Principal) -> bool, app: &App) -> Vec<HeaderValue> {
        if self.principals.iter().any(ended) { self.cookies.clear(&app.cookie) } else { Vec::new() }
    }
}
