//! `/admin/events`: the audit.

use askama::Template;
use axum::extract::State;
use http::{StatusCode, Uri};

use super::administrator::Administrator;
use super::lists::{self, NoTime, Ways, address, local, text, time};
use crate::domain::clock::Timestamp;
use crate::domain::event::{EventKind, WRONG_CODE, WRONG_PASSWORD};
use crate::domain::id::UserId;
use crate::domain::text::visible;
use crate::http::brand::Brand;
use crate::http::pages::card::Time;
use crate::http::pages::dialect::Pages;
use crate::http::pages::render::{Reader, page};
use crate::http::pages::texts::Texts;
use crate::http::refusal::{Answer, FieldError};
use crate::http::request::fields::Fields;
use crate::http::request::page::EVENTS;
use crate::http::request::state::App;
use crate::service::Error;
use crate::service::admin::Admin;
use crate::store::{EventFilter, EventNumber, StoredEvent};

const PATH: &str = "/admin/events";

#[derive(Template)]
#[template(path = "admin/events.html", config = ".askama.toml")]
struct List<'l> {
    t: &'static Texts,
    brand: &'l Brand,
    section: &'static str,
    error: Option<&'static str>,
    asked: &'l Asked,
    /// The user whom they are about, where there is one.
    about: Option<UserId>,
    /// The words for kinds, and what they are called.
    kinds: Vec<(&'static str, &'static str)>,
    rows: Vec<Row>,
    pages: Ways,
}

/// An event in words. What a client chose is text in which everything can be seen.
struct Row {
    at: Time,
    what: String,
    times: Option<String>,
    detail: Option<String>,
    user: Option<Person>,
    by: Person,
    ip: String,
    user_agent: Option<String>,
    request_id: Option<String>,
}

/// A user or an actor, and where the events about them are.
struct Person {
    name: String,
    link: Option<String>,
}

impl Person {
    fn new(id: Option<&str>, name: Option<&str>) -> Option<Self> {
        let name = name.or(id).map(visible)?;
        Some(Self { name, link: id.map(|id| address(PATH, &[("user", id)])) })
    }
}

impl Row {
    fn new(event: &StoredEvent, now: Timestamp, t: &Texts) -> Self {
        let in_words = |name: &str| Person { name: name.to_owned(), link: None };
        let name = event.actor_name.as_deref();
        let by = match event.actor.as_str() {
            "cli" => in_words(&match name {
                Some(name) => format!("{} ({})", t.admin.operator, visible(name)),
                None => t.admin.operator.to_owned(),
            }),
            "system" => in_words(t.admin.service),
            "anonymous" => in_words(t.admin.anonymous),
            id => Person::new(Some(id), name).unwrap_or_else(|| in_words(id)),
        };
        let known = EventKind::from_word(&event.kind);
        Self {
            at: Time::new(event.at, now, t),
            what: known.map_or_else(|| visible(&event.kind), |kind| (t.admin.event)(kind).to_owned()),
            times: (event.count > 1).then(|| t.admin.times.replace("{}", &event.count.to_string())),
            detail: event.detail.as_deref().map(|detail| said(known, detail, t)),
            user: Person::new(event.user_id.as_deref(), event.name.as_deref()),
            by,
            ip: event.ip.as_deref().map_or_else(|| String::from("–"), visible),
            user_agent: event.user_agent.as_deref().map(visible),
            request_id: event.request_id.as_deref().map(visible),
        }
    }
}

/// A detail, in words where it is a word of ours and not what somebody chose.
fn said(kind: Option<EventKind>, detail: &str, t: &Texts) -> String {
    match (kind, detail) {
        (Some(EventKind::LoginFailed), WRONG_PASSWORD) => t.admin.wrong_password.to_owned(),
        (Some(EventKind::LoginFailed), WRONG_CODE) => t.admin.wrong_code.to_owned(),
        (Some(_) | None, detail) => visible(detail),
    }
}

/// A filter as it is filled in.
struct Asked {
    user: String,
    kind: String,
    since: String,
    until: String,
}

impl Asked {
    fn read(query: &mut Fields) -> Result<Self, FieldError> {
        let (user, kind) = (text(query, "user")?, text(query, "kind")?);
        Ok(Self { user, kind, since: local(&text(query, "since")?), until: local(&text(query, "until")?) })
    }

    const fn is_empty(&self) -> bool {
        let Self { user, kind, since, until } = self;
        user.is_empty() && kind.is_empty() && since.is_empty() && until.is_empty()
    }

    fn pairs(&self) -> [(&'static str, &str); 4] {
        let Self { user, kind, since, until } = self;
        [("user", user), ("kind", kind), ("since", since), ("until", until)]
    }

    /// What it comes to; `Err` for a reason that is said on the page.
    async fn meant(&self, powers: &Admin<'_>, t: &'static Texts) -> Result<Result<EventFilter, Unfit>, Error> {
        let (since, until) = match (time(&self.since), time(&self.until)) {
            (Ok(since), Ok(until)) => (since, until),
            (Err(NoTime), _) | (_, Err(NoTime)) => {
                return Ok(Err(Unfit(StatusCode::UNPROCESSABLE_ENTITY, t.admin.bad_time)));
            }
        };
        let user = match self.user.as_str() {
            "" => None,
            user => match powers.find(user).await? {
                Some(user) => Some(user),
                None => return Ok(Err(Unfit(StatusCode::OK, t.admin.no_such_user))),
            },
        };
        let kind = Some(self.kind.clone()).filter(|kind| !kind.is_empty());
        Ok(Ok(EventFilter { user, kind, since, until }))
    }
}

/// Why there is nothing to show, and the status of the page.
struct Unfit(StatusCode, &'static str);

/// `GET /admin/events`: those that match, newest first, a page at a time.
pub async fn list(State(app): State<App>, reader: Reader, administrator: Administrator, uri: Uri) -> Answer<Pages> {
    let t = reader.t;
    let mut query = Fields::from_query(uri.query())?;
    let wanted = lists::Asked::read(&mut query, EVENTS, &app)?;
    let before = wanted.page.place(|place| place.parse().ok().map(EventNumber))?;
    let asked = Asked::read(&mut query)?;
    let mut shown = List {
        t,
        brand: &app.brand,
        section: PATH,
        error: None,
        asked: &asked,
        about: None,
        kinds: EventKind::ALL.iter().map(|kind| (kind.as_str(), (t.admin.event)(*kind))).collect(),
        rows: Vec::new(),
        pages: Ways::default(),
    };
    let powers = administrator.powers(&app)?;
    let filter = match asked.meant(&powers, t).await? {
        Ok(filter) => filter,
        Err(Unfit(status, why)) => {
            shown.error = Some(why);
            return Ok(page(status, &shown));
        }
    };
    let found = powers.events(&filter, before, wanted.page.limit).await?;
    if let Some(user) = filter.user {
        // A user who was deleted has events, and no page.
        shown.about = match powers.user(user).await {
            Ok(account) => Some(account.user.id),
            Err(Error::NotFound) => None,
            Err(error) => return Err(error.into()),
        };
    }
    let next = found.next.map(|EventNumber(next)| app.service.cursors().seal(EVENTS, &next.to_string()));
    let now = app.service.now();
    shown.rows = found.events.iter().map(|event| Row::new(event, now, t)).collect();
    shown.pages = wanted.ways(PATH, &asked.pairs(), next.as_deref(), shown.rows.len());
    Ok(page(StatusCode::OK, &shown))
}
