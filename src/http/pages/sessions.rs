//! `/sessions`: where a person is signed in, and ending any of it.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};

use super::dialect::Pages;
use super::logout::{Confirm, SIGNED_OUT, signed_out};
use super::render::{Reader, page, see_other};
use super::signed_in::SignedIn;
use super::texts::Texts;
use crate::domain::clock::Timestamp;
use crate::domain::device::Device;
use crate::domain::id::SessionId;
use crate::domain::session::Session;
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
    notice: Option<String>,
    cards: Vec<Card<'l>>,
}

struct Card<'c> {
    id: &'c str,
    icon: &'static str,
    device: String,
    ip: &'c str,
    created: Time,
    seen: Time,
    current: bool,
}

/// A time, for machines and for people.
struct Time {
    exact: String,
    date: String,
    ago: String,
}

impl<'c> Card<'c> {
    fn new(session: &'c Session, current: SessionId, now: Timestamp, t: &Texts) -> Self {
        let device = Device::from_user_agent(&session.client.user_agent);
        let time = |at: Timestamp| Time { exact: at.rfc3339(), date: t.date(at), ago: t.ago(now.since(at)) };
        Self {
            id: session.id.as_str(),
            icon: icon(&device),
            ip: &session.client.ip,
            created: time(session.created_at),
            seen: time(session.last_seen_at),
            current: session.id == current,
            device: in_words(device, t),
        }
    }
}

fn in_words(Device { name, os_name, .. }: Device, t: &Texts) -> String {
    match (name.is_empty(), os_name.is_empty()) {
        (true, true) => t.unknown_device.to_owned(),
        (false, true) => name,
        (true, false) => os_name,
        (false, false) => format!("{name} {} {os_name}", t.on),
    }
}

/// The outline of a device, as the path of an SVG of 24 by 24.
fn icon(device: &Device) -> &'static str {
    const DESKTOP: &str = "M3 5h18v11H3zM9 20h6M12 16v4";
    const TABLET: &str = "M5 3h14v18H5zM11 18h2";
    const PHONE: &str = "M7 3h10v18H7zM11 18h2";
    const PROGRAM: &str = "M3 5h18v14H3zM7 9l3 3-3 3M12 15h5";
    const UNKNOWN: &str =
        "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M9.500 9.500a2.500 2.500 0 1 1 3.500 2.300c-.7.3-1 .8-1 1.700M12 16.500v.1";
    match device.kind {
        "desktop" => DESKTOP,
        "mobile" if device.os_name == "iPad" => TABLET,
        "mobile" => PHONE,
        _ if device.name.is_empty() => UNKNOWN,
        _ => PROGRAM,
    }
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
    let mut sessions = app.service.sessions(&caller).await?;
    sessions.sort_by_key(|session| std::cmp::Reverse((session.last_seen_at.millis(), session.id)));
    let (current, now) = (caller.session_id(), app.service.now());
    let cards = sessions.iter().map(|session| Card::new(session, current, now, t)).collect();
    let username = caller.identity.username();
    Ok(page(StatusCode::OK, &List { t, brand: &app.brand, username, notice, cards }))
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
