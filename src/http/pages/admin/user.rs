//! `/admin/users/{id}`: what is known of a user, and changing it; their sessions, and ending one.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};

use super::acts::Act;
use super::administrator::Administrator;
use super::badges::{Badge, badges};
use super::lists::{address, address_of, text};
use super::words;
use crate::domain::id::SessionId;
use crate::domain::text::Email;
use crate::domain::user::Account;
use crate::http::brand::Brand;
use crate::http::logout::revoke_any;
use crate::http::pages::again;
use crate::http::pages::card::{Card, Time, cards};
use crate::http::pages::dialect::Pages;
use crate::http::pages::logout::{SIGNED_OUT, signed_out};
use crate::http::pages::render::{Reader, page, see_other};
use crate::http::pages::texts::Texts;
use crate::http::refusal::{Answer, FieldError, with_cookies};
use crate::http::request::body::Payload;
use crate::http::request::credential::Cookies;
use crate::http::request::fields::Fields;
use crate::http::request::path::{InPath, id};
use crate::http::request::state::App;
use crate::service::Error;
use crate::service::accounts::AccountEdit;

#[derive(Template)]
#[template(path = "admin/user.html", config = ".askama.toml")]
struct Shown<'s> {
    t: &'static Texts,
    brand: &'s Brand,
    section: &'static str,
    error: Option<String>,
    notice: Option<String>,
    /// Whether the form was filled in, and is not saved.
    unsaved: bool,
    form: Form,
    id: &'s str,
    name: &'s str,
    badges: Vec<Badge>,
    admin: bool,
    oneself: bool,
    disabled: Option<Time>,
    created: Time,
    last_login: Option<Time>,
    /// Until when sign-ins wait, in words.
    waits: Option<String>,
    acts: Vec<Act>,
    cards: Vec<Card<'s>>,
}

/// A form about a user, as it is filled in.
#[derive(Clone, Debug, Default)]
pub struct Form {
    pub username: String,
    pub email: String,
    pub name: String,
    pub admin: bool,
}

impl Form {
    fn from_account(Account { user, .. }: &Account) -> Self {
        Self {
            username: user.username.as_str().to_owned(),
            email: user.email.as_ref().map_or("", Email::as_str).to_owned(),
            name: user.name.as_str().to_owned(),
            admin: user.admin,
        }
    }

    /// Reads one that was sent.
    ///
    /// # Errors
    /// When a field is of another type.
    pub fn from_body(fields: &mut Fields) -> Result<Self, FieldError> {
        let (username, email, name) = (text(fields, "username")?, text(fields, "email")?, text(fields, "name")?);
        Ok(Self { username, email, name, admin: fields.flag("admin")? })
    }

    /// Reads one that was filled in before its sender had to give the password again, over `known`; `None` where there was
    /// none. A link fills in no more than texts: it makes nobody an administrator.
    ///
    /// # Errors
    /// As [`Self::from_body`].
    pub fn from_query(query: &mut Fields, known: &Self) -> Result<Option<Self>, FieldError> {
        if !query.has_text("username") {
            return Ok(None);
        }
        Ok(Some(Self { admin: known.admin, ..Self::from_body(query)? }))
    }

    /// The address of the page at `path` with the form filled in.
    pub fn kept_at(&self, path: &str) -> String {
        address(path, &[("username", &self.username), ("email", &self.email), ("name", &self.name)])
    }

    /// What is to change. What stays as it is asks for no fresh password.
    /// Whether the user was an administrator when the form was shown decides what its tick means: a form that was open for
    /// a while gives nobody a power back that somebody else has taken.
    fn changes(self, account: &Account, was_admin: Option<bool>) -> AccountEdit {
        let known = Self::from_account(account);
        let was_admin = was_admin.unwrap_or(known.admin);
        AccountEdit {
            username: Some(self.username).filter(|username| *username != known.username),
            email: (self.email != known.email).then(|| Some(self.email).filter(|email| !email.is_empty())),
            name: Some(self.name).filter(|name| *name != known.name),
            admin: Some(self.admin).filter(|admin| *admin != was_admin),
            disabled: None,
        }
    }
}

/// What stands on the page of a user beside what is known of them.
#[derive(Debug, Default)]
struct Said {
    error: Option<String>,
    notice: Option<String>,
    unsaved: Option<Form>,
}

/// `GET /admin/users/{id}`.
pub async fn show(
    State(app): State<App>,
    reader: Reader,
    administrator: Administrator,
    path: InPath<String>,
    uri: Uri,
) -> Answer<Pages> {
    let account = administrator.powers(&app)?.user(id(path)?).await?;
    let mut query = Fields::from_query(uri.query())?;
    let notice = words::notice(&mut query, reader.t)?;
    let unsaved = Form::from_query(&mut query, &Form::from_account(&account))?;
    let said = Said { error: None, notice, unsaved };
    Ok(shown(&app, &administrator, reader.t, &account, StatusCode::OK, said).await?)
}

async fn shown(
    app: &App,
    administrator: &Administrator,
    t: &'static Texts,
    account: &Account,
    status: StatusCode,
    said: Said,
) -> Result<Response, Error> {
    let user = &account.user;
    let mut sessions = administrator.powers(app)?.sessions_of(user.id).await?;
    let waits = administrator.powers(app)?.longest_wait(user).await?.map(|wait| {
        let failures = u64::try_from(wait.failures).unwrap_or_default();
        t.admin.waits.of(failures).replace("{until}", &t.date(wait.until))
    });
    let (current, now) = (administrator.principal.session_id(), app.service.now());
    let Said { error, notice, unsaved } = said;
    let shown = Shown {
        t,
        brand: &app.brand,
        section: "/admin/users",
        unsaved: unsaved.is_some() && error.is_none(),
        error,
        notice,
        form: unsaved.unwrap_or_else(|| Form::from_account(account)),
        id: user.id.as_str(),
        name: user.name.as_str(),
        admin: user.admin,
        badges: badges(account, administrator.principal.user_id(), t),
        oneself: user.id == administrator.principal.user_id(),
        disabled: user.disabled_at.map(|at| Time::new(at, now, t)),
        created: Time::new(user.created_at, now, t),
        last_login: account.last_login_at.map(|at| Time::new(at, now, t)),
        waits,
        acts: Act::fitting(account),
        cards: cards(&mut sessions, current, now, t),
    };
    Ok(page(status, &shown))
}

/// `POST /admin/users/{id}`: saves the form, or ends one of the sessions.
pub async fn change(
    State(app): State<App>,
    reader: Reader,
    administrator: Administrator,
    path: InPath<String>,
    cookies: Cookies,
    body: Payload<Pages>,
) -> Answer<Pages> {
    let user = id(path)?;
    let mut fields = body.form()?;
    if let Some(session) = fields.optional_text("revoke")? {
        return Ok(revoke_one(&app, &administrator, &session, &cookies, &address_of(user)).await?);
    }
    let (form, was_admin) = (Form::from_body(&mut fields)?, fields.optional_flag("was_admin")?);
    let powers = administrator.powers(&app)?;
    let account = powers.user(user).await?;
    match powers.edit(user, form.clone().changes(&account, was_admin)).await {
        Ok(_) => Ok(see_other(&address(&address_of(user), &[("done", "saved")]))),
        Err(Error::ReauthenticationRequired) => Ok(again::page(reader.t, &app, &form.kept_at(&address_of(user)))),
        Err(error) => {
            let (status, error) = words::in_box(error, reader.t)?;
            let said = Said { error: Some(error), notice: None, unsaved: Some(form) };
            Ok(shown(&app, &administrator, reader.t, &account, status, said).await?)
        }
    }
}

/// Ends one session of any user, and goes `back`, where it is said. One that has ended meanwhile is no error.
pub async fn revoke_one(
    app: &App,
    administrator: &Administrator,
    session: &str,
    cookies: &Cookies,
    back: &str,
) -> Result<Response, Error> {
    let session: SessionId = session.parse().map_err(|_| Error::NotFound)?;
    let (ended, lines) = match revoke_any(app, &administrator.powers(app)?, session, cookies).await {
        Ok(lines) => (1, lines),
        Err(Error::NotFound) => (0, Vec::new()),
        Err(error) => return Err(error),
    };
    if session == administrator.principal.session_id() {
        return Ok(signed_out(SIGNED_OUT, lines));
    }
    let back = if back.contains('?') { format!("{back}&ended={ended}") } else { format!("{back}?ended={ended}") };
    Ok(with_cookies(see_other(&back), lines))
}
