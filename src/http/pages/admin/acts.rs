//! `/admin/users/{id}/{act}`: what ends something of a user, or gives it back. Each is asked about once more.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;

use super::administrator::Administrator;
use super::ask::Ask;
use super::lists::{address, address_of};
use super::words;
use crate::domain::id::UserId;
use crate::domain::one_time::{LIFETIME, OneTimePassword};
use crate::domain::user::{Account, User};
use crate::http::brand::Brand;
use crate::http::logout::revoke_all_of;
use crate::http::pages::dialect::Pages;
use crate::http::pages::logout::{SIGNED_OUT, signed_out};
use crate::http::pages::render::{Reader, page, see_other};
use crate::http::pages::texts::Texts;
use crate::http::refusal::{Answer, with_cookies};
use crate::http::request::body::Payload;
use crate::http::request::credential::Cookies;
use crate::http::request::path::InPath;
use crate::http::request::state::App;
use crate::service::Error;
use crate::service::accounts::AccountEdit;

/// An act. A new one gets its word, its texts, its place in [`Act::ALL`] and a line in [`act`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Gives them a one-time password.
    Reset,
    /// Ends all their sessions.
    SignOut,
    /// Keeps them out.
    Disable,
    /// Lets them in again.
    Enable,
    /// Lets them try to sign in at once, however often it went wrong.
    Unlock,
    /// Removes their second factor.
    ResetFactor,
    /// Deletes them.
    Delete,
}

impl Act {
    const ALL: [Self; 7] =
        [Self::Reset, Self::ResetFactor, Self::Unlock, Self::SignOut, Self::Disable, Self::Enable, Self::Delete];

    /// Those that can be done with a user.
    pub fn fitting(account: &Account) -> Vec<Self> {
        let is_disabled = account.user.disabled_at.is_some();
        let fits = |act: &Self| match act {
            Self::Disable => !is_disabled,
            Self::Enable => is_disabled,
            Self::ResetFactor => account.second_factor,
            Self::Reset | Self::SignOut | Self::Unlock | Self::Delete => true,
        };
        Self::ALL.into_iter().filter(fits).collect()
    }

    /// Its name in a path.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reset => "password",
            Self::SignOut => "sign-out",
            Self::Disable => "disable",
            Self::Enable => "enable",
            Self::Unlock => "unlock",
            Self::ResetFactor => "second-factor",
            Self::Delete => "delete",
        }
    }

    /// What stands on its button.
    pub const fn button(self, t: &Texts) -> &'static str {
        match self {
            Self::Reset => t.admin.reset,
            Self::SignOut => t.admin.sign_out_user,
            Self::Disable => t.admin.disable,
            Self::Enable => t.admin.enable,
            Self::Unlock => t.admin.unlock,
            Self::ResetFactor => t.admin.reset_factor,
            Self::Delete => t.admin.delete,
        }
    }

    const fn means(self, t: &Texts) -> &'static str {
        match self {
            Self::Reset => t.admin.reset_means,
            Self::SignOut => t.admin.sign_out_user_means,
            Self::Disable => t.admin.disable_means,
            Self::Enable => t.admin.enable_means,
            Self::Unlock => t.admin.unlock_means,
            Self::ResetFactor => t.admin.reset_factor_means,
            Self::Delete => t.admin.delete_means,
        }
    }

    /// Whether it takes something away that does not come back by itself.
    pub const fn takes(self) -> bool {
        match self {
            Self::Disable | Self::ResetFactor | Self::Delete => true,
            Self::Reset | Self::SignOut | Self::Enable | Self::Unlock => false,
        }
    }
}

/// A one-time password, which is shown once.
#[derive(Template)]
#[template(path = "admin/one_time.html", config = ".askama.toml")]
struct OneTime<'o> {
    t: &'static Texts,
    brand: &'o Brand,
    section: &'static str,
    notice: Option<String>,
    sentence: String,
    password: &'o str,
    hint: String,
    id: &'o str,
}

/// The page with a one-time password of a user.
pub fn one_time(
    app: &App,
    t: &'static Texts,
    user: &User,
    made_up: &OneTimePassword,
    notice: Option<String>,
) -> Response {
    let shown = OneTime {
        t,
        brand: &app.brand,
        section: "/admin/users",
        notice,
        sentence: t.admin.one_time_for.replace("{name}", user.name.as_str()),
        password: made_up.reveal(),
        hint: t.admin.one_time_hint.of(LIFETIME.as_secs() / 3600),
        id: user.id.as_str(),
    };
    page(StatusCode::OK, &shown)
}

/// The user and the act that a path names.
fn named(path: InPath<(String, String)>) -> Result<(UserId, Act), Error> {
    let Ok(Path((user, word))) = path else { return Err(Error::NotFound) };
    let act = Act::ALL.into_iter().find(|act| act.word() == word);
    user.parse().ok().zip(act).ok_or(Error::NotFound)
}

/// `GET /admin/users/{id}/{act}`: says what will happen.
pub async fn ask(
    State(app): State<App>,
    reader: Reader,
    administrator: Administrator,
    path: InPath<(String, String)>,
) -> Answer<Pages> {
    let (user, act) = named(path)?;
    let user = administrator.powers(&app)?.user(user).await?.user;
    Ok(question(&app, reader.t, &user, act, StatusCode::OK, None))
}

fn question(
    app: &App,
    t: &'static Texts,
    user: &User,
    act: Act,
    status: StatusCode,
    error: Option<String>,
) -> Response {
    let shown = Ask {
        t,
        brand: &app.brand,
        section: "/admin/users",
        error,
        sentence: act.means(t).replace("{name}", user.name.as_str()),
        conditions: Vec::new(),
        expect: None,
        button: act.button(t),
        can: true,
        takes: act.takes(),
        back: &address_of(user.id),
    };
    page(status, &shown)
}

/// `POST /admin/users/{id}/{act}`.
pub async fn act(
    State(app): State<App>,
    reader: Reader,
    administrator: Administrator,
    path: InPath<(String, String)>,
    cookies: Cookies,
    _: Payload<Pages>,
) -> Answer<Pages> {
    let (id, act) = named(path)?;
    let administrator = administrator.asking_for(act.word());
    let t = reader.t;
    let user = administrator.powers(&app)?.user(id).await?.user;
    match done(&app, t, &administrator, &user, act, &cookies).await {
        Ok(answer) => Ok(answer),
        Err(error) => {
            let (status, error) = words::in_box(error, t)?;
            Ok(question(&app, t, &user, act, status, Some(error)))
        }
    }
}

/// Does it, and goes where that is said.
async fn done(
    app: &App,
    t: &'static Texts,
    administrator: &Administrator,
    user: &User,
    act: Act,
    cookies: &Cookies,
) -> Result<Response, Error> {
    let (powers, id) = (administrator.powers(app)?, user.id);
    let disabled = |disabled: bool| AccountEdit { disabled: Some(disabled), ..AccountEdit::default() };
    let back = |pairs: &[(&str, &str)]| see_other(&address(&address_of(id), pairs));
    match act {
        Act::Reset => match powers.set_password(id, None).await? {
            (ended, Some(made_up)) => Ok(one_time(app, t, user, &made_up, Some(words::ended(ended, t)))),
            (_, None) => Err(Error::Bug("no one-time password was made up".into())),
        },
        Act::SignOut => {
            let (ended, lines) = revoke_all_of(app, &powers, id, cookies).await?;
            if id == administrator.principal.user_id() {
                return Ok(signed_out(SIGNED_OUT, lines));
            }
            Ok(with_cookies(back(&[("ended", &ended.to_string())]), lines))
        }
        Act::Disable => {
            powers.edit(id, disabled(true)).await?;
            Ok(back(&[("done", "disabled")]))
        }
        Act::Enable => {
            powers.edit(id, disabled(false)).await?;
            Ok(back(&[("done", "enabled")]))
        }
        Act::ResetFactor => {
            let ended = powers.reset_second_factor(id).await?.to_string();
            Ok(back(&[("done", "factor_reset"), ("ended", &ended)]))
        }
        Act::Unlock => {
            let lifted = powers.unlock(id).await?;
            Ok(back(&[("done", if lifted { "unlocked" } else { "nothing_locked" })]))
        }
        Act::Delete => {
            let ended = powers.delete(id).await?;
            Ok(see_other(&address("/admin/users", &[("done", "deleted"), ("ended", &ended.to_string())])))
        }
    }
}
