//! `/admin/users`: finding users.

use askama::Template;
use axum::extract::State;
use http::{StatusCode, Uri};

use super::administrator::Administrator;
use super::badges::{Badge, badges};
use super::lists::{self, Ways, text};
use super::words;
use crate::domain::clock::Timestamp;
use crate::domain::id::UserId;
use crate::domain::text::Email;
use crate::domain::user::Account;
use crate::http::brand::Brand;
use crate::http::pages::card::Time;
use crate::http::pages::dialect::Pages;
use crate::http::pages::render::{Reader, page};
use crate::http::pages::texts::Texts;
use crate::http::refusal::Answer;
use crate::http::request::fields::Fields;
use crate::http::request::page::{USERS, read_user_place, write_user_place};
use crate::http::request::state::App;
use crate::service::admin::LONGEST_SEARCH;

const PATH: &str = "/admin/users";

#[derive(Template)]
#[template(path = "admin/users.html", config = ".askama.toml")]
struct List<'l> {
    t: &'static Texts,
    brand: &'l Brand,
    section: &'static str,
    error: Option<&'static str>,
    notice: Option<String>,
    q: &'l str,
    rows: Vec<Row<'l>>,
    pages: Ways,
}

struct Row<'r> {
    id: &'r str,
    name: &'r str,
    username: &'r str,
    email: Option<&'r str>,
    badges: Vec<Badge>,
    last_login: Option<Time>,
}

impl<'r> Row<'r> {
    fn new(account: &'r Account, oneself: UserId, now: Timestamp, t: &Texts) -> Self {
        let Account { user, must_change_password: _, last_login_at, second_factor: _ } = account;
        Self {
            id: user.id.as_str(),
            name: user.name.as_str(),
            username: user.username.as_str(),
            email: user.email.as_ref().map(Email::as_str),
            badges: badges(account, oneself, t),
            last_login: last_login_at.map(|at| Time::new(at, now, t)),
        }
    }
}

/// `GET /admin/users`: those whose username, name or address `q` is a part of, a page at a time.
pub async fn list(State(app): State<App>, reader: Reader, administrator: Administrator, uri: Uri) -> Answer<Pages> {
    let t = reader.t;
    let mut query = Fields::from_query(uri.query())?;
    let q = text(&mut query, "q")?;
    let asked = lists::Asked::read(&mut query, USERS, &app)?;
    let after = asked.page.place(read_user_place)?;
    let mut shown = List {
        t,
        brand: &app.brand,
        section: PATH,
        error: None,
        notice: words::notice(&mut query, t)?,
        q: &q,
        rows: Vec::new(),
        pages: Ways::default(),
    };
    if q.chars().nth(LONGEST_SEARCH).is_some() {
        shown.error = Some(t.admin.too_long);
        return Ok(page(StatusCode::UNPROCESSABLE_ENTITY, &shown));
    }
    let part = Some(q.as_str()).filter(|q| !q.is_empty());
    let found = administrator.powers(&app)?.users(part, after, asked.page.limit).await?;
    let next = found.next.map(|next| app.service.cursors().seal(USERS, &write_user_place(next)));
    let (oneself, now) = (administrator.principal.user_id(), app.service.now());
    shown.rows = found.users.iter().map(|account| Row::new(account, oneself, now, t)).collect();
    shown.pages = asked.ways(PATH, &[("q", &q)], next.as_deref(), shown.rows.len());
    Ok(page(StatusCode::OK, &shown))
}
