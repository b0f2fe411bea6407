//! `/login/code`: the second step of signing in, where a second factor is set.

use std::borrow::Cow;

use askama::Template;
use axum::extract::State;
use http::{HeaderMap, StatusCode, Uri};

use super::dialect::Pages;
use super::form_refusal::FormRefusal;
use super::login::{go_on, with_return_to};
use super::render::{Reader, page_with_script, see_other};
use super::texts::Texts;
use crate::http::brand::Brand;
use crate::http::refusal::{Answer, with_cookies};
use crate::http::request::body::Payload;
use crate::http::request::client_address::Sender;
use crate::http::request::credential::Cookies;
use crate::http::request::fields::Fields;
use crate::http::request::return_to::said;
use crate::http::request::state::App;
use crate::service::Error;
use crate::service::limits::TriedFrom;
use crate::service::login_code::LoginCode;

#[derive(Template)]
#[template(path = "login_code.html", config = ".askama.toml")]
struct Form<'f> {
    t: &'static Texts,
    brand: &'f Brand,
    error: Option<Cow<'static, str>>,
    return_to: &'f str,
    /// The page that asks for the password again.
    back: String,
}

impl<'f> Form<'f> {
    fn new(reader: &Reader, app: &'f App, error: Option<Cow<'static, str>>, return_to: &'f str) -> Self {
        Self { t: reader.t, brand: &app.brand, error, return_to, back: with_return_to("/login", return_to) }
    }
}

/// `GET /login/code`: the form, if a login of this browser waits.
pub async fn form(State(app): State<App>, reader: Reader, headers: HeaderMap, uri: Uri) -> Answer<Pages> {
    let return_to = said(Fields::from_query(uri.query())?.optional_text("return_to")?);
    if !app.service.waits_for_code(&app.cookie.waiting(&headers)).await? {
        return Ok(see_other(&with_return_to("/login", &return_to)));
    }
    Ok(page_with_script(StatusCode::OK, &Form::new(&reader, &app, None, &return_to)))
}

/// `POST /login/code`.
pub async fn sign_in(
    State(app): State<App>,
    reader: Reader,
    Sender(client): Sender,
    from: TriedFrom,
    headers: HeaderMap,
    cookies: Cookies,
    body: Payload<Pages>,
) -> Answer<Pages> {
    let mut fields = body.form()?;
    let code = fields.optional_text("code")?.unwrap_or_default();
    let return_to = said(fields.optional_text("return_to")?);
    let again =
        |status, error: Cow<'static, str>| page_with_script(status, &Form::new(&reader, &app, Some(error), &return_to));
    let waiting = app.cookie.waiting(&headers);
    let login = LoginCode { waiting, code, replaces: cookies.tokens(), client, from };
    match app.service.complete_login(login).await {
        Ok(logged_in) => Ok(go_on(&logged_in, &return_to, &cookies, vec![app.cookie.set_waiting(None)], &reader, &app)),
        Err(error @ (Error::SecondFactorRequired { .. } | Error::Throttled(_) | Error::Overloaded)) => {
            let FormRefusal { status, words, retry } = FormRefusal::new(error, reader.t)?;
            Ok(retry.on(again(status, words)))
        }
        // It took too long, or was completed in another tab.
        Err(Error::NoSession) => {
            let login = see_other(&with_return_to("/login", &return_to));
            Ok(with_cookies(login, vec![app.cookie.set_waiting(None)]))
        }
        Err(error) => Err(error.into()),
    }
}
