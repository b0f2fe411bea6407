//! Users: finding, making, changing and deleting them, and setting their passwords.

use axum::extract::State;
use http::{StatusCode, Uri};
use serde::Serialize;

use super::administrator::{Administrator, Revoked};
use crate::domain::clock::Timestamp;
use crate::domain::one_time::OneTimePassword;
use crate::domain::user::Account;
use crate::http::dialect::canonical::{Canonical, UserView};
use crate::http::refusal::{Answer, FieldError, Place, Problem, json};
use crate::http::request::body::Payload;
use crate::http::request::fields::Fields;
use crate::http::request::page::{PageWanted, USERS, read_user_place, write_user_place};
use crate::http::request::path::{InPath, id};
use crate::http::request::state::App;
use crate::service::accounts::{AccountEdit, NewAccount};
use crate::service::admin::LONGEST_SEARCH;

#[derive(Serialize)]
struct AccountView<'a> {
    #[serde(flatten)]
    user: UserView<'a>,
    disabled_at: Option<String>,
    must_change_password: bool,
    last_login_at: Option<String>,
    second_factor: bool,
}

impl<'a> AccountView<'a> {
    fn from_account(account: &'a Account) -> Self {
        Self {
            user: UserView::from_user(&account.user),
            disabled_at: account.user.disabled_at.map(Timestamp::rfc3339),
            must_change_password: account.must_change_password,
            last_login_at: account.last_login_at.map(Timestamp::rfc3339),
            second_factor: account.second_factor,
        }
    }
}

#[derive(Serialize)]
struct One<'a> {
    user: AccountView<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    one_time_password: Option<&'a str>,
}

/// `GET /api/v1/admin/users`: those whose username, name or address `q` is a part of, a page at a time.
pub async fn list(State(app): State<App>, administrator: Administrator, uri: Uri) -> Answer<Canonical> {
    #[derive(Serialize)]
    struct Page<'a> {
        users: Vec<AccountView<'a>>,
        next_cursor: Option<String>,
    }
    let mut query = Fields::from_query(uri.query())?;
    let wanted = PageWanted::read(&mut query, USERS, app.service.cursors())?;
    let after = wanted.place(read_user_place)?;
    let part = query.optional_text("q")?;
    query.nothing_else()?;
    if part.as_ref().is_some_and(|part| part.chars().nth(LONGEST_SEARCH).is_some()) {
        let problem = Problem::Unfit(format!("must have at most {LONGEST_SEARCH} characters"));
        return Err(FieldError { place: Place::Query, field: "q".into(), problem }.into());
    }
    let found = administrator.powers(&app)?.users(part.as_deref(), after, wanted.limit).await?;
    let shown = Page {
        users: found.users.iter().map(AccountView::from_account).collect(),
        next_cursor: found.next.map(|next| app.service.cursors().seal(USERS, &write_user_place(next))),
    };
    Ok(json(StatusCode::OK, &shown))
}

/// `POST /api/v1/admin/users`: makes one, with a one-time password where none is given.
pub async fn add(State(app): State<App>, administrator: Administrator, body: Payload<Canonical>) -> Answer<Canonical> {
    let mut fields = body.json()?;
    let new = NewAccount {
        username: fields.text("username")?,
        email: fields.nullable_text("email")?.flatten(),
        name: fields.nullable_text("name")?.flatten(),
        admin: fields.flag("admin")?,
        password: fields.nullable_text("password")?.flatten(),
    };
    fields.nothing_else()?;
    let (account, made_up) = administrator.powers(&app)?.add(new).await?;
    Ok(json(StatusCode::CREATED, &one(&account, made_up.as_ref())))
}

fn one<'a>(account: &'a Account, made_up: Option<&'a OneTimePassword>) -> One<'a> {
    One { user: AccountView::from_account(account), one_time_password: made_up.map(OneTimePassword::reveal) }
}

/// `GET /api/v1/admin/users/{id}`.
pub async fn show(State(app): State<App>, administrator: Administrator, path: InPath<String>) -> Answer<Canonical> {
    let account = administrator.powers(&app)?.user(id(path)?).await?;
    Ok(json(StatusCode::OK, &one(&account, None)))
}

/// `PATCH /api/v1/admin/users/{id}`: changes what is named. A null removes an address.
pub async fn edit(
    State(app): State<App>,
    administrator: Administrator,
    path: InPath<String>,
    body: Payload<Canonical>,
) -> Answer<Canonical> {
    let user = id(path)?;
    let mut fields = body.json()?;
    let edit = AccountEdit {
        username: fields.optional_text("username")?,
        email: fields.nullable_text("email")?,
        name: fields.optional_text("name")?,
        admin: fields.optional_flag("admin")?,
        disabled: fields.optional_flag("disabled")?,
    };
    fields.nothing_else()?;
    let account = administrator.powers(&app)?.edit(user, edit).await?;
    Ok(json(StatusCode::OK, &one(&account, None)))
}

/// `DELETE /api/v1/admin/users/{id}`: for good, with every session.
pub async fn delete(State(app): State<App>, administrator: Administrator, path: InPath<String>) -> Answer<Canonical> {
    let revoked = administrator.powers(&app)?.delete(id(path)?).await?;
    Ok(json(StatusCode::OK, &Revoked { revoked }))
}

/// `DELETE /api/v1/admin/users/{id}/second-factor`: another user's, who has lost it.
pub async fn reset_second_factor(
    State(app): State<App>,
    administrator: Administrator,
    path: InPath<String>,
) -> Answer<Canonical> {
    let revoked = administrator.powers(&app)?.reset_second_factor(id(path)?).await?;
    Ok(json(StatusCode::OK, &Revoked { revoked }))
}

/// `POST /api/v1/admin/users/{id}/password`: sets another user's, or makes up one that has to be changed at its first use.
pub async fn set_password(
    State(app): State<App>,
    administrator: Administrator,
    path: InPath<String>,
    body: Payload<Canonical>,
) -> Answer<Canonical> {
    #[derive(Serialize)]
    struct Reset<'a> {
        revoked: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        one_time_password: Option<&'a str>,
    }
    let user = id(path)?;
    let mut fields = if body.is_empty() { Fields::default() } else { body.json()? };
    let password = fields.nullable_text("password")?.flatten();
    fields.nothing_else()?;
    let (revoked, made_up) = administrator.powers(&app)?.set_password(user, password).await?;
    let shown = Reset { revoked, one_time_password: made_up.as_ref().map(OneTimePassword::reveal) };
    Ok(json(StatusCode::OK, &shown))
}

/// `POST /api/v1/admin/users/{id}/unlock`: lifts whatever keeps a user from logging in after too many wrong passwords.
pub async fn unlock(State(app): State<App>, administrator: Administrator, path: InPath<String>) -> Answer<Canonical> {
    #[derive(Serialize)]
    struct Unlocked {}
    administrator.powers(&app)?.unlock(id(path)?).await?;
    Ok(json(StatusCode::OK, &Unlocked {}))
}
