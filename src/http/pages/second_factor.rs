//! `/second-factor`: setting one up, getting new recovery codes, and switching it off. What is secret is shown in the answer to
//! a form and at no address of its own.

use std::borrow::Cow;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::dialect::Pages;
use super::form_refusal::FormRefusal;
use super::qr::{self, Drawing};
use super::render::{Reader, page_with_script, see_other};
use super::signed_in::SignedIn;
use super::texts::Texts;
use crate::domain::principal::Principal;
use crate::domain::second_factor::SecretText;
use crate::domain::session::Client;
use crate::http::brand::Brand;
use crate::http::refusal::{Answer, Refused, with_cookies};
use crate::http::request::body::Payload;
use crate::http::request::client_address::Sender;
use crate::http::request::credential::Cookies;
use crate::http::request::fields::Fields;
use crate::http::request::state::App;
use crate::service::Error;
use crate::service::limits::TriedFrom;
use crate::service::second_factor::{InForce, Present};

/// What may be done: to set one up where none is in force, and everything else where one is.
#[derive(Template)]
#[template(path = "second_factor.html", config = ".askama.toml")]
struct Overview<'o> {
    t: &'static Texts,
    brand: &'o Brand,
    error: Option<Cow<'static, str>>,
    /// For password managers.
    username: &'o str,
    in_force: Option<Shown>,
}

/// A second factor in force, in words.
struct Shown {
    since: String,
    codes: String,
}

/// The secret, to be scanned or typed, and where its first code goes. After a wrong code the secret is not shown again.
#[derive(Template)]
#[template(path = "second_factor_set_up.html", config = ".askama.toml")]
struct SetUp<'s> {
    t: &'static Texts,
    brand: &'s Brand,
    error: Option<Cow<'static, str>>,
    enrolment: &'s str,
    secret: Option<(Option<Drawing>, String)>,
}

/// The recovery codes.
#[derive(Template)]
#[template(path = "recovery_codes.html", config = ".askama.toml")]
struct RecoveryCodes<'c> {
    t: &'static Texts,
    brand: &'c Brand,
    notice: Option<String>,
    codes: Vec<&'c str>,
}

/// `GET /second-factor`.
pub async fn show(State(app): State<App>, reader: Reader, SignedIn(caller): SignedIn) -> Answer<Pages> {
    overview(&app, &reader, &caller, StatusCode::OK, None).await
}

async fn overview(
    app: &App,
    reader: &Reader,
    caller: &Principal,
    status: StatusCode,
    error: Option<Cow<'static, str>>,
) -> Answer<Pages> {
    let t = reader.t;
    let shown = |InForce { since, recovery_codes }: InForce| Shown {
        since: t.date(since),
        codes: t.recovery_codes_left(u64::try_from(recovery_codes).unwrap_or_default()),
    };
    let in_force = app.service.second_factor(caller).await?.map(shown);
    let username = caller.identity.username();
    Ok(page_with_script(status, &Overview { t, brand: &app.brand, error, username, in_force }))
}

/// `POST /second-factor`: what its button says.
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
    let asked = Asked { app: &app, reader: &reader, caller: &caller, client: &client, from: &from, cookies: &cookies };
    match fields.word("act", &["start", "confirm", "codes", "remove"])? {
        Some("start") => asked.start(present(&mut fields)?).await,
        Some("codes") => asked.renew_codes(present(&mut fields)?).await,
        Some("remove") => asked.remove(present(&mut fields)?).await,
        _ => asked.confirm(&fields.text("enrolment")?, &fields.optional_text("code")?.unwrap_or_default()).await,
    }
}

fn present(fields: &mut Fields) -> Result<Present, Refused<Pages>> {
    let password = fields.optional_text("current_password")?.unwrap_or_default();
    Ok(Present { password, code: fields.optional_text("code")? })
}

/// A form, and whose it is.
struct Asked<'a> {
    app: &'a App,
    reader: &'a Reader,
    caller: &'a Principal,
    client: &'a Client,
    from: &'a TriedFrom,
    cookies: &'a Cookies,
}

impl Asked<'_> {
    async fn start(self, present: Present) -> Answer<Pages> {
        let started = match self.app.service.start_second_factor(self.caller, present, self.client, self.from).await {
            Ok(started) => started,
            Err(error) => return self.refused(error).await,
        };
        // Four letters at a time are easier to type.
        let letters: Vec<_> = started.secret.reveal().as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
        let set_up = SetUp {
            t: self.reader.t,
            brand: &self.app.brand,
            error: None,
            enrolment: started.enrolment.as_str(),
            secret: Some((qr::draw(started.uri.reveal()), letters.join(" "))),
        };
        Ok(page_with_script(StatusCode::OK, &set_up))
    }

    async fn confirm(self, enrolment: &str, code: &str) -> Answer<Pages> {
        let t = self.reader.t;
        match self.app.service.confirm_second_factor(self.caller, enrolment, code, self.client, self.from).await {
            Ok(confirmed) => {
                let ended = u64::try_from(confirmed.renewed.revoked).unwrap_or(u64::MAX);
                let notice = format!("{} {}", t.second_factor_set, t.sessions_ended(ended));
                let shown = self.codes(Some(notice), &confirmed.recovery_codes);
                Ok(with_cookies(shown, self.cookies.set_renewed(&confirmed.renewed, &self.app.cookie)))
            }
            Err(Error::SecondFactorRequired { .. }) => {
                let brand = &self.app.brand;
                let set_up = SetUp { t, brand, error: Some(t.wrong_first_code.into()), enrolment, secret: None };
                Ok(page_with_script(StatusCode::UNAUTHORIZED, &set_up))
            }
            Err(error) => self.refused(error).await,
        }
    }

    async fn renew_codes(self, present: Present) -> Answer<Pages> {
        match self.app.service.renew_recovery_codes(self.caller, present, self.client, self.from).await {
            Ok(codes) => Ok(self.codes(None, &codes)),
            Err(error) => self.refused(error).await,
        }
    }

    async fn remove(self, present: Present) -> Answer<Pages> {
        match self.app.service.remove_second_factor(self.caller, present, self.client, self.from).await {
            Ok(renewed) => {
                let to = format!("/sessions?second_factor_removed=1&ended={}", renewed.revoked);
                Ok(with_cookies(see_other(&to), self.cookies.set_renewed(&renewed, &self.app.cookie)))
            }
            Err(error) => self.refused(error).await,
        }
    }

    fn codes(&self, notice: Option<String>, codes: &[SecretText]) -> Response {
        let codes = codes.iter().map(SecretText::reveal).collect();
        page_with_script(StatusCode::OK, &RecoveryCodes { t: self.reader.t, brand: &self.app.brand, notice, codes })
    }

    /// Says what is wrong beside the fields.
    async fn refused(&self, error: Error) -> Answer<Pages> {
        let overview = |status, words| overview(self.app, self.reader, self.caller, status, Some(words));
        if matches!(error, Error::NotFound) {
            // It was switched off in another tab.
            return overview(StatusCode::NOT_FOUND, self.reader.t.second_factor_is_off.into()).await;
        }
        let FormRefusal { status, words, retry } = FormRefusal::new(error, self.reader.t)?;
        overview(status, words).await.map(|page| retry.on(page))
    }
}
