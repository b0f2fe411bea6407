//! `/logout`: asks, and then signs out. Applications link to it.

use askama::Template;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderValue, StatusCode, Uri};

use super::dialect::Pages;
use super::render::{Reader, dropping_kept_pages, page, see_other};
use super::texts::Texts;
use crate::http::brand::Brand;
use crate::http::logout::{ClearCookie, log_out};
use crate::http::refusal::{Answer, Refused, with_cookies};
use crate::http::request::credential::Caller;
use crate::http::request::fields::Fields;
use crate::http::request::return_to::{LONGEST_LOCATION, ReturnTo, said};
use crate::http::request::state::App;

/// A question, with the safe way first.
#[derive(Template)]
#[template(path = "confirm.html", config = ".askama.toml")]
pub(super) struct Confirm<'c> {
    pub t: &'static Texts,
    pub brand: &'c Brand,
    pub sentence: &'static str,
    pub button: &'static str,
    /// What is posted, if it is asked for on the page of sessions.
    pub revoke: Option<&'c str>,
    /// The safe way.
    pub back: &'c str,
}

/// Where a person lands who has signed out.
pub(super) const SIGNED_OUT: &str = "/login?signed_out=1";

/// The answer to whatever has signed a person out here: the login page, and the browser drops what it keeps of the pages.
pub(super) fn signed_out(to: &str, cookies: Vec<HeaderValue>) -> Response {
    dropping_kept_pages(with_cookies(see_other(to), cookies))
}

/// `GET /logout`. Changes nothing, since any page can have a browser ask for it.
pub async fn form(
    State(app): State<App>,
    reader: Reader,
    caller: Result<Caller<Pages>, Refused<Pages>>,
    uri: Uri,
) -> Answer<Pages> {
    match caller {
        Ok(_) => {}
        Err(refused) if refused.is_no_session() => return Ok(see_other("/login")),
        Err(refused) => return Err(refused),
    }
    let raw = return_to(&uri)?;
    let back = ReturnTo::read(&raw, &reader.headers, &app);
    let (t, brand) = (reader.t, &app.brand);
    let (sentence, button) = (t.sign_out_means, t.sign_out);
    Ok(page(StatusCode::OK, &Confirm { t, brand, sentence, button, revoke: None, back: back.location() }))
}

/// `POST /logout`. Without a live session it ends in the same place. From there one gets back to where one came from by
/// signing in.
pub async fn sign_out(State(app): State<App>, request: Request) -> Answer<Pages> {
    let raw = return_to(request.uri())?;
    let back: String = form_urlencoded::byte_serialize(raw.as_bytes()).collect();
    let mut to = format!("{SIGNED_OUT}&return_to={back}");
    if raw.is_empty() || to.len() > LONGEST_LOCATION {
        SIGNED_OUT.clone_into(&mut to);
    }
    match log_out::<Pages>(&app, request, ClearCookie::Always).await {
        Ok(cookies) => Ok(signed_out(&to, cookies)),
        Err(refused) if refused.is_no_session() => Ok(signed_out(&to, refused.into_cookies())),
        Err(refused) => Err(refused),
    }
}

fn return_to(uri: &Uri) -> Result<String, Refused<Pages>> {
    Ok(said(Fields::from_query(uri.query())?.optional_text("return_to")?))
}
