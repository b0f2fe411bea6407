//! `/admin/users/new`: making a user.

use askama::Template;
use axum::extract::State;
use http::{StatusCode, Uri};

use super::acts::one_time;
use super::administrator::Administrator;
use super::lists::{address, address_of};
use super::user::Form;
use super::words;
use crate::http::brand::Brand;
use crate::http::pages::again;
use crate::http::pages::dialect::Pages;
use crate::http::pages::render::{Reader, page, see_other};
use crate::http::pages::texts::Texts;
use crate::http::refusal::Answer;
use crate::http::request::body::Payload;
use crate::http::request::fields::Fields;
use crate::http::request::state::App;
use crate::service::Error;
use crate::service::accounts::NewAccount;

const PATH: &str = "/admin/users/new";

#[derive(Template)]
#[template(path = "admin/new.html", config = ".askama.toml")]
struct New<'n> {
    t: &'static Texts,
    brand: &'n Brand,
    section: &'static str,
    error: Option<String>,
    unsaved: bool,
    form: Form,
}

impl<'n> New<'n> {
    fn with(app: &'n App, t: &'static Texts, form: Form) -> Self {
        Self { t, brand: &app.brand, section: "/admin/users", error: None, unsaved: false, form }
    }
}

/// `GET /admin/users/new`.
pub async fn form(State(app): State<App>, reader: Reader, _: Administrator, uri: Uri) -> Answer<Pages> {
    let kept = Form::from_query(&mut Fields::from_query(uri.query())?, &Form::default())?;
    let unsaved = kept.is_some();
    Ok(page(StatusCode::OK, &New { unsaved, ..New::with(&app, reader.t, kept.unwrap_or_default()) }))
}

/// `POST /admin/users/new`. A password that was made up is shown at once, and never again.
pub async fn add(
    State(app): State<App>,
    reader: Reader,
    administrator: Administrator,
    body: Payload<Pages>,
) -> Answer<Pages> {
    let mut fields = body.form()?;
    let form = Form::from_body(&mut fields)?;
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let new = NewAccount {
        username: form.username.clone(),
        email: given(&form.email),
        name: given(&form.name),
        admin: form.admin,
        password: fields.optional_text("password")?.filter(|password| !password.is_empty()),
    };
    match administrator.powers(&app)?.add(new).await {
        Ok((account, Some(made_up))) => {
            let done = Some(reader.t.admin.was_created.to_owned());
            Ok(one_time(&app, reader.t, &account.user, &made_up, done))
        }
        Ok((account, None)) => Ok(see_other(&address(&address_of(account.user.id), &[("done", "created")]))),
        Err(Error::ReauthenticationRequired) => Ok(again::page(reader.t, &app, &form.kept_at(PATH))),
        Err(error) => {
            let (status, error) = words::in_box(error, reader.t)?;
            Ok(page(status, &New { error: Some(error), ..New::with(&app, reader.t, form) }))
        }
    }
}
