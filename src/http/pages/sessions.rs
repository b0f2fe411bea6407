//! `/sessions`: where a person is signed in, and ending any of it.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};

use super::card::{Card, cards};
use super::dialect::Pages;
use super::logout::{Confirm, SIGNED_OUT, signed_out};
use super::render::{Reader, page, see_other};
use super::signed_in::SignedIn;
use super::texts::Texts;
use crate::domain::id::SessionId;
use crate::http::brand::Brand;
use crate::http::logout;
use crate::http::refusal::{Answer, Refused, with_cookies};
use crate::http::request::body::Payload;
use crate::http::request::client_address::Sender;
use crate::http::request::credential::{Caller, Cookies};
use crate::http::request::fields::Fields;
use crate::http::request::state::App;
use crate::service::Error;
use crate::service::sessions::Scope;

#[derive(Template)]
#[template(path = "sessions.html", config = ".askama.toml")]
struct List<'l> {
    t: &'static Texts,
    brand: &'l Brand,
    username: &'l str,
    admin: bool,
    notice: Option<String>,
    /// Whether the notice is about recovery codes.
    about_codes: bool,
    cards: Vec<Card<'l>>,
}

/// `GET /`.
pub async fn home(caller: Result<Caller<Pages>, Refused<Pages>>) -> Answer<Pages> {
    match caller {
        Ok(_) => Ok(see_other("/sessions")),
        Err(refused) if refused.is_no_session() => Ok(see_other("/login")),
        Err(refused) => Err(refused),
    }
}

/// `GET /sessions`: the one seen last first.
pub async fn list(State(app): State<App>, reader: Reader, SignedIn(caller): SignedIn, uri: Uri) -> Answer<Pages> {
    let t = reader.t;
    let mut query = Fields::from_query(uri.query())?;
    let asked = query.optional_text("ask")?.unwrap_or_default();
    if let Some(scope) = scope(&asked) {
        return Ok(ask(scope, &asked, t, &app));
    }
    let ended = query.number("ended")?;
    let changed = query.optional_text("password_changed")?.map(|_| t.password_changed);
    let removed = query.optional_text("second_factor_removed")?.map(|_| t.second_factor_removed);
    let changed = changed.or(removed);
    let ended = ended.map(|count: usize| t.sessions_ended(u64::try_from(count).unwrap_or(u64::MAX)));
    let notice = ended.map(|ended| changed.map_or_else(|| ended.clone(), |changed| format!("{changed} {ended}")));
    let codes = match query.optional_text("recovery_code_used")? {
        Some(_) => app.service.second_factor(&caller).await?.map(|factor| factor.recovery_codes),
        None => None,
    };
    let left = |codes| t.recovery_codes_left(u64::try_from(codes).unwrap_or_default());
    let used = codes.map(|codes| format!("{} {}", t.recovery_code_used, left(codes)));
    let (about_codes, notice) = (used.is_some(), used.or(notice));
    let mut sessions = app.service.sessions(&caller).await?;
    let cards = cards(&mut sessions, caller.session_id(), app.service.now(), t);
    let (username, admin) = (caller.identity.username(), caller.identity.admin());
    Ok(page(StatusCode::OK, &List { t, brand: &app.brand, username, admin, notice, about_codes, cards }))
}

/// The sessions that a button is about.
fn scope(word: &str) -> Option<Scope> {
    match word {
        "others" => Some(Scope::Others),
        "all" => Some(Scope::All),
        _ => None,
    }
}

/// Says what will happen.
fn ask(scope: Scope, revoke: &str, t: &'static Texts, app: &App) -> Response {
    let (sentence, button) = match scope {
        Scope::Others => (t.sign_out_others_means, t.sign_out_others),
        Scope::All => (t.sign_out_all_means, t.sign_out_all),
    };
    page(StatusCode::OK, &Confirm { t, brand: &app.brand, sentence, button, revoke: Some(revoke), back: "/sessions" })
}

/// `POST /sessions`: ends one, all others or all. The last two are asked about once more.
pub async fn revoke(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Sender(client): Sender,
    cookies: Cookies,
    body: Payload<Pages>,
) -> Answer<Pages> {
    let mut fields = body.form()?;
    let (revoke, confirmed) = (fields.text("revoke")?, fields.flag("confirmed")?);
    let Some(scope) = scope(&revoke) else {
        let id: SessionId = revoke.parse().map_err(|_| Error::NotFound)?;
        let own = id == caller.session_id();
        let (revoked, lines) = match logout::revoke_one(&app, &caller, id, &client, &cookies).await {
            Ok(lines) => (1, lines),
            // It has ended meanwhile, as was wanted.
            Err(Error::NotFound) => (0, Vec::new()),
            Err(error) => return Err(error.into()),
        };
        if own {
            return Ok(signed_out(SIGNED_OUT, lines));
        }
        return Ok(with_cookies(see_other(&format!("/sessions?ended={revoked}")), lines));
    };
    if !confirmed {
        // The question is a page of its own, which can be reloaded.
        return Ok(see_other(&format!("/sessions?ask={revoke}")));
    }
    let (revoked, lines) = logout::revoke_many(&app, &caller, scope, &client, &cookies).await?;
    Ok(match scope {
        Scope::Others => with_cookies(see_other(&format!("/sessions?ended={revoked}")), lines),
        Scope::All => signed_out(SIGNED_OUT, lines),
    })
}
