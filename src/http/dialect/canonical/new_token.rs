//! How the new token of a session that goes on reaches its caller.

use http::HeaderValue;
use serde::Serialize;

use super::words::Canonical;
use crate::http::logout::CookieSessions;
use crate::http::request::credential::{Caller, Cookies};
use crate::http::request::state::App;
use crate::service::Error;
use crate::service::password_change::Renewed;
use crate::service::sessions::Scope;

/// What is answered to a change that gave the caller's session a new token.
#[derive(Debug, Serialize)]
pub struct Changed<'t> {
    /// How many other sessions ended.
    pub revoked: usize,
    /// The new token, where it travels in a header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<&'t str>,
}

/// How the caller's token travels, and so how the new one does.
pub enum Travels<'r> {
    /// In the cookie alone.
    InCookie(&'r Cookies),
    /// With the sessions of the cookies that came along, which end as any other.
    InHeader(&'r Caller<Canonical>, CookieSessions<'r>),
}

impl<'r> Travels<'r> {
    /// Looks it up before sessions end.
    pub async fn before(caller: &'r Caller<Canonical>, cookies: &'r Cookies, app: &App) -> Result<Self, Error> {
        if caller.token.is_none() {
            return Ok(Self::InCookie(cookies));
        }
        Ok(Self::InHeader(caller, CookieSessions::from_cookies(cookies, app).await?))
    }

    /// What is answered, and the `Set-Cookie` values that go with it.
    pub fn under_new_token<'t>(&self, renewed: &'t Renewed, app: &App) -> (Changed<'t>, Vec<HeaderValue>) {
        let revoked = renewed.revoked;
        match self {
            Self::InCookie(cookies) => (Changed { revoked, token: None }, cookies.set_renewed(renewed, &app.cookie)),
            Self::InHeader(caller, in_cookies) => {
                let lines = in_cookies.after_many(&caller.principal, Scope::All, app);
                (Changed { revoked, token: Some(renewed.token.reveal()) }, lines)
            }
        }
    }
}
