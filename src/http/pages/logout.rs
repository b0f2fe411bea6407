//! `/logout`: asks, and then signs out. Applications link to it.

use askama::Template;
use axum::extract::{Request, State};
use http::StatusCode;

use super::assets::{ASSETS, Assets};
use super::dialect::Pages;
use super::render::{Reader, page, see_other};
use super::texts::Texts;
use crate::http::logout::{ClearCookie, log_out};
use crate::http::refusal::{Answer, Refused, with_cookies};
use crate::http::request::credential::Caller;
use crate::http::request::state::App;

/// A question, with the safe way first.
#[derive(Template)]
#[template(path = "confirm.html", config = ".askama.toml")]
pub(super) struct Confirm<'c> {
    pub t: &'static Texts,
    pub assets: &'static Assets,
    pub sentence: &'static str,
    pub button: &'static str,
    pub revoke: Option<&'c str>,
    pub back: &'static str,
}

/// Where a person lands who has signed out.
pub(super) const SIGNED_OUT: &str = "/login?signed_out=1";

/// `GET /logout`. Changes nothing, since any page can have a browser ask for it.
pub async fn form(reader: Reader, caller: Result<Caller<Pages>, Refused<Pages>>) -> Answer<Pages> {
    if caller.is_err() {
        return Ok(see_other("/login"));
    }
    let t = reader.texts;
    let (sentence, button) = (t.sign_out_means, t.sign_out);
    Ok(page(StatusCode::OK, &Confirm { t, assets: &ASSETS, sentence, button, revoke: None, back: "/sessions" }))
}

/// `POST /logout`. Without a live session it ends in the same place.
pub async fn sign_out(State(app): State<App>, request: Request) -> Answer<Pages> {
    match log_out::<Pages>(&app, request, ClearCookie::Always).await {
        Ok(cookies) => Ok(with_cookies(see_other(SIGNED_OUT), cookies)),
        Err(refused) if refused.is_no_session() => Ok(with_cookies(see_other(SIGNED_OUT), refused.into_cookies())),
        Err(refused) => Err(refused),
    }
}
