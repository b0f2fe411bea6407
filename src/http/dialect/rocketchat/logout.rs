//! Logging out, and ending other sessions.

use axum::extract::{Request, State};
use http::{Method, StatusCode};
use serde::Serialize;

use super::words::RocketChat;
use crate::domain::event::Asked;
use crate::domain::id::{SessionId, UserId};
use crate::domain::token::Token;
use crate::http::logout::{ClearCookie, log_out, revoke_all_of, revoke_any, revoke_many, revoke_one};
use crate::http::refusal::{Answer, Refusal, json, with_cookies};
use crate::http::request::body::{Payload, Unused};
use crate::http::request::client_address::Sender;
use crate::http::request::credential::{Caller, Cookies};
use crate::http::request::fields::Fields;
use crate::http::request::state::App;
use crate::service::Error;
use crate::service::sessions::Scope;

#[derive(Serialize)]
struct Success {
    success: bool,
}

const SUCCESS: Success = Success { success: true };

/// `POST /api/v1/logout`, and GET for a client library that uses it: with header credentials only, and no cookie written.
pub async fn logout(State(app): State<App>, request: Request) -> Answer<RocketChat> {
    #[derive(Serialize)]
    struct LoggedOut {
        status: &'static str,
        data: Message,
    }
    #[derive(Serialize)]
    struct Message {
        message: &'static str,
    }
    let clear_cookie = if request.method() == Method::GET { ClearCookie::Never } else { ClearCookie::IfSent };
    let cookies = log_out(&app, request, clear_cookie).await?;
    let shown = LoggedOut { status: "success", data: Message { message: "You've been logged out!" } };
    Ok(with_cookies(json(StatusCode::OK, &shown), cookies))
}

/// `POST /api/v1/sessions/logout.me`: ends one of one's own.
pub async fn logout_me(
    State(app): State<App>,
    caller: Caller<RocketChat>,
    Sender(client): Sender,
    cookies: Cookies,
    body: Payload<RocketChat>,
) -> Answer<RocketChat> {
    let session = session_id(&body)?;
    let cookies = revoke_one(&app, &caller.principal, session, &client, &cookies).await?;
    Ok(with_cookies(json(StatusCode::OK, &SessionLoggedOut::new(&session)), cookies))
}

/// `POST /api/v1/sessions/logout`: ends anybody's, for administrators.
pub async fn logout_any(
    State(app): State<App>,
    caller: Caller<RocketChat>,
    Sender(client): Sender,
    asked: Asked,
    cookies: Cookies,
    body: Payload<RocketChat>,
) -> Answer<RocketChat> {
    let admin = app.service.admin(&caller.principal, &client, &asked)?;
    let session = session_id(&body)?;
    let cookies = revoke_any(&app, &admin, session, &cookies).await?;
    Ok(with_cookies(json(StatusCode::OK, &SessionLoggedOut::new(&session)), cookies))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionLoggedOut<'s> {
    session_id: &'s str,
    success: bool,
}

impl<'s> SessionLoggedOut<'s> {
    fn new(session: &'s SessionId) -> Self {
        Self { session_id: session.as_str(), success: true }
    }
}

/// The session that a body names.
fn session_id(body: &Payload<RocketChat>) -> Result<SessionId, Refusal> {
    let mut fields = match fields(body) {
        // A body that cannot be read lacks its session id, as clients of this contract expect.
        Err(Refusal::Malformed) => Fields::default(),
        other => other?,
    };
    let id = fields.text("sessionId")?;
    fields.nothing_else()?;
    id.parse().map_err(|_| Error::NotFound.into())
}

/// The fields of a body. An empty body has none, whatever its content type.
fn fields(body: &Payload<RocketChat>) -> Result<Fields, Refusal> {
    if body.is_empty() { Ok(Fields::default()) } else { body.json_or_form() }
}

/// `POST /api/v1/users.logout`: ends every session of the caller. Another user's needs an admin.
pub async fn users_logout(
    State(app): State<App>,
    caller: Caller<RocketChat>,
    Sender(client): Sender,
    asked: Asked,
    cookies: Cookies,
    body: Payload<RocketChat>,
) -> Answer<RocketChat> {
    #[derive(Serialize)]
    struct LoggedOut {
        message: String,
        success: bool,
    }
    let mut fields = fields(&body)?;
    let wanted = fields.optional_text("userId")?;
    fields.nothing_else()?;
    let own = caller.principal.user_id();
    let (user, (_, cookies)) = match wanted.filter(|wanted| wanted != own.as_str()) {
        None => (own, revoke_many(&app, &caller.principal, Scope::All, &client, &cookies).await?),
        Some(other) => {
            let admin = app.service.admin(&caller.principal, &client, &asked)?;
            let unknown = || Refusal::BadRequest("User not found");
            let other: UserId = other.parse().map_err(|_| unknown())?;
            let revoked = revoke_all_of(&app, &admin, other, &cookies).await;
            let not_found = |error: Error| if matches!(error, Error::NotFound) { unknown() } else { error.into() };
            (other, revoked.map_err(not_found)?)
        }
    };
    let shown = LoggedOut { message: format!("User {user} has been logged out!"), success: true };
    Ok(with_cookies(json(StatusCode::OK, &shown), cookies))
}

/// `POST /api/v1/users.removeOtherTokens`: ends every session of the caller but this.
pub async fn remove_other_tokens(
    State(app): State<App>,
    caller: Caller<RocketChat>,
    Sender(client): Sender,
    cookies: Cookies,
    _: Unused<RocketChat>,
) -> Answer<RocketChat> {
    let (_, cookies) = revoke_many(&app, &caller.principal, Scope::Others, &client, &cookies).await?;
    Ok(with_cookies(json(StatusCode::OK, &SUCCESS), cookies))
}

/// `POST /api/v1/users.logoutOtherClients`: the same; the answer has the caller's token, if it came in a header, and its end.
pub async fn logout_other_clients(
    State(app): State<App>,
    caller: Caller<RocketChat>,
    Sender(client): Sender,
    cookies: Cookies,
    _: Unused<RocketChat>,
) -> Answer<RocketChat> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct LoggedOut<'t> {
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<&'t str>,
        token_expires: String,
        success: bool,
    }
    let (session, _) = app.service.current(&caller.principal).await?;
    let (_, cookies) = revoke_many(&app, &caller.principal, Scope::Others, &client, &cookies).await?;
    let token = caller.token.as_ref().map(Token::reveal);
    let shown = LoggedOut { token, token_expires: session.expiry.absolute.rfc3339(), success: true };
    Ok(with_cookies(json(StatusCode::OK, &shown), cookies))
}
