//! `/password`: changing one's own.

use std::borrow::Cow;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::dialect::Pages;
use super::render::{Reader, page_with_script, see_other};
use super::signed_in::SignedIn;
use super::texts::Texts;
use crate::http::brand::Brand;
use crate::http::refusal::{Answer, with_cookies, with_retry, with_wait};
use crate::http::request::body::Payload;
use crate::http::request::client_address::Sender;
use crate::http::request::credential::Cookies;
use crate::http::request::state::App;
use crate::service::Error;
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
    let (username, shortest) = (caller.identity.username(), app.service.shortest_password());
    Ok(page_with_script(StatusCode::OK, &Form { t: reader.t, brand: &app.brand, error: None, username, shortest }))
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
    let again = |status, error: Cow<'static, str>| {
        let (username, shortest) = (caller.identity.username(), app.service.shortest_password());
        page_with_script(status, &Form { t: reader.t, brand: &app.brand, error: Some(error), username, shortest })
    };
    match app.service.change_password(&caller, current, new, &client, &from).await {
        Ok(renewed) => {
            let lines = cookies.set(&renewed.token, renewed.session.remembered.then_some(renewed.left), &app);
            Ok(with_cookies(see_other(&format!("/sessions?password_changed=1&ended={}", renewed.revoked)), lines))
        }
        Err(Error::BadCredentials) => Ok(again(StatusCode::UNAUTHORIZED, reader.t.wrong_current_password.into())),
        Err(Error::Invalid { field: _, why }) => {
            Ok(again(StatusCode::UNPROCESSABLE_ENTITY, (reader.t.unusable_password)(why)))
        }
        Err(Error::Overloaded) => Ok(with_retry(again(StatusCode::SERVICE_UNAVAILABLE, reader.t.overloaded.into()))),
        Err(Error::Throttled(wait)) => {
            let words = reader.t.too_many_tries(wait).into();
            Ok(with_wait(again(StatusCode::TOO_MANY_REQUESTS, words), wait))
        }
        Err(error) => Err(error.into()),
    }
}
