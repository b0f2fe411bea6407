//! `/admin/sessions`: the sessions of all users, and ending one.

use askama::Template;
use axum::extract::State;
use http::{StatusCode, Uri};

use super::administrator::Administrator;
use super::filter::{Asked, unfit};
use super::lists::{self, Ways};
use super::user::revoke_one;
use super::words;
use crate::domain::clock::Timestamp;
use crate::domain::id::SessionId;
use crate::domain::text::visible;
use crate::http::brand::Brand;
use crate::http::pages::card::Card;
use crate::http::pages::dialect::Pages;
use crate::http::pages::render::{Reader, page};
use crate::http::pages::texts::Texts;
use crate::http::refusal::Answer;
use crate::http::request::body::Payload;
use crate::http::request::credential::Cookies;
use crate::http::request::fields::Fields;
use crate::http::request::page::SESSIONS;
use crate::http::request::state::App;
use crate::service::selection::Meant;
use crate::store::ListedSession;

const PATH: &str = "/admin/sessions";
const REVOKE: &str = "/admin/sessions/revoke";

#[derive(Template)]
#[template(path = "admin/sessions.html", config = ".askama.toml")]
struct List<'l> {
    t: &'static Texts,
    brand: &'l Brand,
    section: &'static str,
    error: Option<&'static str>,
    notice: Option<String>,
    asked: &'l Asked,
    /// Where all that match can be signed out, if some condition is set.
    matching: Option<String>,
    /// Where everybody can, if none is.
    everybody: Option<&'static str>,
    rows: Vec<Row<'l>>,
    pages: Ways,
}

struct Row<'r> {
    card: Card<'r>,
    user_id: &'r str,
    username: &'r str,
    user_agent: String,
}

impl<'r> Row<'r> {
    fn new(listed: &'r ListedSession, current: SessionId, now: Timestamp, t: &Texts) -> Self {
        let ListedSession { session, username, .. } = listed;
        Self {
            card: Card::new(session, current, now, t),
            user_id: session.user_id.as_str(),
            username: username.as_str(),
            user_agent: visible(&session.client.user_agent),
        }
    }
}

/// `GET /admin/sessions`: those that match, newest login first, a page at a time.
pub async fn list(State(app): State<App>, reader: Reader, administrator: Administrator, uri: Uri) -> Answer<Pages> {
    let t = reader.t;
    let mut query = Fields::from_query(uri.query())?;
    let wanted = lists::Asked::read(&mut query, SESSIONS, &app)?;
    let before = wanted.page.place(|place| place.parse().ok())?;
    let asked = Asked::read(&mut query)?;
    let mut shown = List {
        t,
        brand: &app.brand,
        section: PATH,
        error: None,
        notice: words::notice(&mut query, t)?,
        asked: &asked,
        matching: None,
        everybody: asked.is_empty().then_some("/admin/sessions/revoke?all=true"),
        rows: Vec::new(),
        pages: Ways::default(),
    };
    let powers = administrator.powers(&app)?;
    let filter = match asked.meant(&powers).await? {
        Meant::Sessions(filter) => filter,
        Meant::NoSuchUser => {
            shown.error = Some(t.admin.no_such_user);
            return Ok(page(StatusCode::OK, &shown));
        }
        Meant::Unfit(condition) => {
            shown.error = Some(unfit(condition, t));
            return Ok(page(StatusCode::UNPROCESSABLE_ENTITY, &shown));
        }
    };
    let found = powers.sessions(&filter, before, wanted.page.limit).await?;
    let next = found.next.map(|next| app.service.cursors().seal(SESSIONS, &next.to_string()));
    let (current, now) = (administrator.principal.session_id(), app.service.now());
    shown.rows = found.sessions.iter().map(|listed| Row::new(listed, current, now, t)).collect();
    shown.pages = wanted.ways(PATH, &asked.pairs(), next.as_deref(), shown.rows.len());
    shown.matching = (!asked.is_empty()).then(|| asked.address(REVOKE));
    Ok(page(StatusCode::OK, &shown))
}

/// `POST /admin/sessions`: ends one, and shows the same list again.
pub async fn revoke(
    State(app): State<App>,
    administrator: Administrator,
    uri: Uri,
    cookies: Cookies,
    body: Payload<Pages>,
) -> Answer<Pages> {
    let asked = Asked::read(&mut Fields::from_query(uri.query())?)?;
    let session = body.form()?.text("revoke")?;
    Ok(revoke_one(&app, &administrator, &session, &cookies, &asked.address(PATH)).await?)
}
