//! `/password`: changing one's own.

use std::borrow::Cow;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::dialect::Pages;
use super::form_refusal::FormRefusal;
use super::render::{Reader, page_with_script, see_other};
use super::signed_in::SignedIn;
use super::texts::Texts;
use crate::domain::principal::Principal;
use crate::http::brand::Brand;
use crate::http::refusal::{Answer, with_cookies};
use crate::http::request::body::Payload;
use crate::http::request::client_address::Sender;
use crate::http::request::credential::Cookies;
use crate::http::request::state::App;
use crate::service::limits::TriedFrom;

#[derive(Template)]
#[template(path = "password.html", config = ".askama.toml")]
struct Form<'f> {
    t: &'static Texts,
    brand: &'f Brand,
    error: Option<Cow<'static, str>>,
    /// For password managers, which would otherwise not know whose password changes.
    username: &'f str,
    /// How many characters a password has to have.
    shortest: usize,
}

/// `GET /.well-known/change-password` (W3C): where password managers send people.
pub async fn well_known() -> Response {
    see_other("/password")
}

/// `GET /password`.
pub async fn form(State(app): State<App>, reader: Reader, SignedIn(caller): SignedIn) -> Answer<Pages> {
    Ok(shown(&app, &reader, &caller, StatusCode::OK, None))
}

fn shown(
    app: &App,
    reader: &Reader,
    caller: &Principal,
    status: StatusCode,
    error: Option<Cow<'static, str>>,
) -> Response {
    let (username, shortest) = (caller.identity.username(), app.service.shortest_password());
    page_with_script(status, &Form { t: reader.t, brand: &app.brand, error, username, shortest })
}

/// `POST /password`: ends every other session. This one goes on under a new token.
pub async fn change(
    State(app): State<App>,
    reader: Reader,
    SignedIn(caller): SignedIn,
    Sender(client): Sender,
    from: TriedFrom,
    cookies: Cookies,
    body: Payload<Pages>,
) -> Answer<Pages> {
    let mut fields = body.form()?;
    let (current, new) = (fields.text("current_password")?, fields.text("new_password")?);
    let shown = |status, error| shown(&app, &reader, &caller, status, error);
    match app.service.change_password(&caller, current, new, &client, &from).await {
        Ok(renewed) => {
            let to = format!("/sessions?password_changed=1&ended={}", renewed.revoked);
            Ok(with_cookies(see_other(&to), cookies.set_renewed(&renewed, &app.cookie)))
        }
        Err(error) => {
            let FormRefusal { status, words, retry } = FormRefusal::new(error, reader.t)?;
            Ok(retry.on(shown(status, Some(words))))
        }
    }
}
