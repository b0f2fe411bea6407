//! `/sessions`: where a person is signed in, and ending any of it.

use askama::Template;
use axum::extract::State;
use http::{StatusCode, Uri};

use super::assets::{ASSETS, Assets};
use super::dialect::Pages;
use super::logout::{Confirm, SIGNED_OUT};
use super::render::{Reader, page, see_other};
use super::signed_in::SignedIn;
use super::texts::Texts;
use crate::domain::clock::Timestamp;
use crate::domain::device::Device;
use crate::domain::id::SessionId;
use crate::domain::session::Session;
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
    assets: &'static Assets,
    username: &'l str,
    notice: Option<String>,
    cards: Vec<Card<'l>>,
}

struct Card<'c> {
    id: &'c str,
    device: String,
    ip: &'c str,
    created: Time,
    seen: Time,
    current: bool,
}

/// A time, for machines and for people.
struct Time {
    exact: String,
    shown: String,
}

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        let exact = at.rfc3339();
        let shown = format!("{} {} UTC", exact.get(..10).unwrap_or_default(), exact.get(11..16).unwrap_or_default());
        Self { exact, shown }
    }
}

fn device(session: &Session, t: &Texts) -> String {
    let Device { name, os_name, .. } = Device::from_user_agent(&session.client.user_agent);
    match (name.is_empty(), os_name.is_empty()) {
        (true, true) => t.unknown_device.to_owned(),
        (false, true) => name,
        (true, false) => os_name,
        (false, false) => format!("{name} {} {os_name}", t.on),
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
    let t = reader.texts;
    let mut query = Fields::from_query(uri.query())?;
    let ended = query.number("ended")?;
    let changed = query.optional_text("password_changed")?.map(|_| t.password_changed);
    let notice = ended.map(|count| [changed.unwrap_or_default(), &t.ended(count)].join(" ").trim().to_owned());
    let mut sessions = app.service.sessions(&caller).await?;
    sessions.sort_by_key(|session| std::cmp::Reverse((session.last_seen_at.millis(), session.id)));
    let current = caller.session_id();
    let cards = sessions
        .iter()
        .map(|session| Card {
            id: session.id.as_str(),
            device: device(session, t),
            ip: &session.client.ip,
            created: session.created_at.into(),
            seen: session.last_seen_at.into(),
            current: session.id == current,
        })
        .collect();
    let username = caller.identity.username();
    Ok(page(StatusCode::OK, &List { t, assets: &ASSETS, username, notice, cards }))
}

/// `POST /sessions`: ends one, all others or all. The last two are asked about once more.
pub async fn revoke(
    State(app): State<App>,
    reader: Reader,
    SignedIn(caller): SignedIn,
    Sender(client): Sender,
    cookies: Cookies,
    body: Payload<Pages>,
) -> Answer<Pages> {
    let t = reader.texts;
    let mut fields = body.form()?;
    let (revoke, confirmed) = (fields.text("revoke")?, fields.flag("confirmed")?);
    let scope = match revoke.as_str() {
        "others" => Some(Scope::Others),
        "all" => Some(Scope::All),
        _ => None,
    };
    let Some(scope) = scope else {
        let id: SessionId = revoke.parse().map_err(|_| Error::NotFound)?;
        let own = id == caller.session_id();
        let (revoked, lines) = match logout::revoke_one(&app, &caller, id, &client, &cookies).await {
            Ok(lines) => (1, lines),
            // It has ended meanwhile, as was wanted.
            Err(Error::NotFound) => (0, Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let to = if own { SIGNED_OUT.to_owned() } else { format!("/sessions?ended={revoked}") };
        return Ok(with_cookies(see_other(&to), lines));
    };
    if !confirmed {
        let (sentence, button) = match scope {
            Scope::Others => (t.sign_out_others_means, t.sign_out_others),
            Scope::All => (t.sign_out_all_means, t.sign_out_all),
        };
        let confirm = Confirm { t, assets: &ASSETS, sentence, button, revoke: Some(&revoke), back: "/sessions" };
        return Ok(page(StatusCode::OK, &confirm));
    }
    let (revoked, lines) = logout::revoke_many(&app, &caller, scope, &client, &cookies).await?;
    let to = match scope {
        Scope::Others => format!("/sessions?ended={revoked}"),
        Scope::All => SIGNED_OUT.to_owned(),
    };
    Ok(with_cookies(see_other(&to), lines))
}
