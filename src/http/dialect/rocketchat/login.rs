//! Logging in, and asking who the caller is.

use axum::extract::State;
use http::StatusCode;
use serde::Serialize;

use super::words::RocketChat;
use crate::domain::text::{self, LoginName};
use crate::domain::token::Token;
use crate::domain::user::User;
use crate::http::refusal::{Answer, json};
use crate::http::request::body::Payload;
use crate::http::request::client_address::Sender;
use crate::http::request::credential::Caller;
use crate::http::request::fields::Fields;
use crate::http::request::second_factor::CodeHeader;
use crate::http::request::state::App;
use crate::service::Error;
use crate::service::limits::TriedFrom;
use crate::service::login::Login;
use crate::service::verify::Presented;

#[derive(Serialize)]
struct Me<'u> {
    #[serde(rename = "_id")]
    id: &'u str,
    name: &'u str,
    username: &'u str,
    emails: Vec<Email<'u>>,
    status: &'static str,
    active: bool,
    roles: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'u str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    success: Option<bool>,
}

#[derive(Serialize)]
struct Email<'u> {
    address: &'u str,
    verified: bool,
}

impl<'u> Me<'u> {
    fn from_user(user: &'u User) -> Self {
        let email = user.email.as_ref().map(text::Email::as_str);
        let admin = user.admin.then_some("admin");
        Self {
            id: user.id.as_str(),
            name: user.name.as_str(),
            username: user.username.as_str(),
            emails: email.map(|address| Email { address, verified: false }).into_iter().collect(),
            status: "online",
            active: user.disabled_at.is_none(),
            roles: ["user"].into_iter().chain(admin).collect(),
            email,
            success: None,
        }
    }
}

/// `POST /api/v1/login`: a new session, or the one a `resume` token stands for. Neither reads nor touches cookies.
pub async fn login(
    State(app): State<App>,
    Sender(client): Sender,
    from: TriedFrom,
    CodeHeader(in_header): CodeHeader,
    body: Payload<RocketChat>,
) -> Answer<RocketChat> {
    #[derive(Serialize)]
    struct LoggedIn<'l> {
        status: &'static str,
        data: Data<'l>,
        success: bool,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Data<'l> {
        user_id: &'l str,
        auth_token: &'l str,
        me: Me<'l>,
    }
    let wanted = body.json_or_form().ok().and_then(wanted).ok_or(Error::BadCredentials)?;
    let (token, user) = match wanted {
        Wanted::New { name, password, code } => {
            // It touches no cookies, so a browser is not known to it either.
            let (from, code) = (TriedFrom { browser: Vec::new(), ..from }, code.or(in_header));
            let (replaces, new_password) = (Vec::new(), None);
            let login = Login { name, password, code, remembered: true, replaces, new_password, client, from };
            let logged_in = app.service.login(login).await?;
            (logged_in.token, logged_in.user)
        }
        Wanted::Resume(token) => {
            let presented = Presented { token, user: None };
            let unauthorized = |error| if matches!(error, Error::NoSession) { Error::BadCredentials } else { error };
            let principal = app.service.verify(&presented).await.map_err(unauthorized)?;
            let (_, user) = app.service.current(&principal).await.map_err(unauthorized)?;
            (presented.token, user)
        }
    };
    let data = Data { user_id: user.id.as_str(), auth_token: token.reveal(), me: Me::from_user(&user) };
    Ok(json(StatusCode::OK, &LoggedIn { status: "success", data, success: true }))
}

enum Wanted {
    New { name: LoginName, password: String, code: Option<String> },
    Resume(Token),
}

/// Reads a login in any of its forms. `None` for anything else, which is refused like a wrong password.
fn wanted(mut fields: Fields) -> Option<Wanted> {
    if let Some(mut totp) = fields.group("totp") {
        let code = totp.text("code").ok()?;
        return new_login(totp.group("login")?, Some(code));
    }
    if fields.has_text("resume") {
        return Token::parse(fields.text("resume").ok()?.as_bytes()).map(Wanted::Resume);
    }
    let code = fields.optional_text("code").ok()?;
    new_login(fields, code)
}

/// Reads a login by name and password.
fn new_login(mut fields: Fields, code: Option<String>) -> Option<Wanted> {
    let name = if fields.has_text("user") {
        LoginName::either(&fields.text("user").ok()?)
    } else if fields.has_text("username") {
        LoginName::username(&fields.text("username").ok()?)
    } else if fields.has_text("email") {
        LoginName::email(&fields.text("email").ok()?)
    } else {
        let mut user = fields.group("user")?;
        match user.optional_text("username").ok()? {
            Some(username) => LoginName::username(&username),
            None => LoginName::email(&user.text("email").ok()?),
        }
    };
    Some(Wanted::New { name, password: fields.text("password").ok()?, code })
}

/// `GET /api/v1/me`: the caller.
pub async fn me(State(app): State<App>, caller: Caller<RocketChat>) -> Answer<RocketChat> {
    let (_, user) = app.service.current(&caller.principal).await?;
    Ok(json(StatusCode::OK, &Me { success: Some(true), ..Me::from_user(&user) }))
}
