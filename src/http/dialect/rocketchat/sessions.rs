//! Lists of sessions: one's own, and everybody's for administrators.

use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::Serialize;

use super::words::RocketChat;
use crate::domain::device::Device;
use crate::domain::event::Asked;
use crate::domain::id::SessionId;
use crate::domain::session::{Client, Session};
use crate::domain::text::{Name, Username};
use crate::http::refusal::{Answer, Refusal, json};
use crate::http::request::client_address::Sender;
use crate::http::request::credential::Caller;
use crate::http::request::fields::Fields;
use crate::http::request::state::App;
use crate::service::Error;
use crate::store::ListedSession;

const PAGE: usize = 50;
const LARGEST_PAGE: usize = 100;
/// How many sessions are sorted at most: those of the newest logins. All are counted.
const MOST_SORTED: usize = 10_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'s> {
    session_id: &'s str,
    #[serde(rename = "_id")]
    id: &'s str,
    user_id: &'s str,
    device: DeviceView<'s>,
    host: &'s str,
    ip: &'s str,
    login_at: String,
    current: bool,
    #[serde(rename = "_user", skip_serializing_if = "Option::is_none")]
    user: Option<Owner<'s>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    success: Option<bool>,
}

#[derive(Serialize)]
struct Owner<'s> {
    username: &'s str,
    name: &'s str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeviceView<'s> {
    r#type: &'static str,
    name: &'s str,
    long_version: &'s str,
    version: &'s str,
    os: Os<'s>,
}

#[derive(Serialize)]
struct Os<'s> {
    name: &'s str,
    version: &'s str,
}

impl<'s> Row<'s> {
    fn from_listed(listed: &'s Listed, current: SessionId) -> Self {
        let Listed { session, device, owner } = listed;
        let Client { ip, host, .. } = &session.client;
        let os = Os { name: &device.os_name, version: &device.os_version };
        let version = device.version.split('.').next().unwrap_or_default();
        Self {
            session_id: session.id.as_str(),
            id: session.id.as_str(),
            user_id: session.user_id.as_str(),
            device: DeviceView { r#type: device.kind, name: &device.name, long_version: &device.version, version, os },
            host,
            ip,
            login_at: session.created_at.rfc3339(),
            current: session.id == current,
            user: owner.as_ref().map(|(username, name)| Owner { username: username.as_str(), name: name.as_str() }),
            success: None,
        }
    }
}

/// `GET /api/v1/sessions/list`: one's own, filtered, sorted and a page of them.
pub async fn list(State(app): State<App>, caller: Caller<RocketChat>, uri: Uri) -> Answer<RocketChat> {
    let wanted = Wanted::read(&uri)?;
    let mut found = Found::new(wanted);
    app.service.sessions(&caller.principal).await?.into_iter().for_each(|session| found.add(session, None));
    Ok(found.page(caller.principal.session_id()))
}

/// `GET /api/v1/sessions/list.all`: everybody's, for administrators.
pub async fn list_all(
    State(app): State<App>,
    caller: Caller<RocketChat>,
    Sender(client): Sender,
    asked: Asked,
    uri: Uri,
) -> Answer<RocketChat> {
    let admin = app.service.admin(&caller.principal, &client, &asked)?;
    let mut found = Found::new(Wanted::read(&uri)?);
    admin
        .visit_sessions(|ListedSession { session, username, name, .. }| found.add(session, Some((username, name))))
        .await?;
    Ok(found.page(caller.principal.session_id()))
}

/// Which page of a list is asked for.
struct Wanted {
    offset: usize,
    count: usize,
    filter: String,
    sort: Vec<SortKey>,
}

impl Wanted {
    fn read(uri: &Uri) -> Result<Self, Refusal> {
        let mut query = Fields::from_query(uri.query())?;
        let offset = query.number("offset")?.unwrap_or(0);
        let count = match query.number("count")? {
            None | Some(0) => PAGE,
            Some(count) => count.min(LARGEST_PAGE),
        };
        let filter = query.optional_text("filter")?.unwrap_or_default().to_lowercase();
        let sort = match query.optional_text("sort")? {
            None => Vec::new(),
            Some(sort) => read_sort(&sort).ok_or(Refusal::BadPage("error-invalid-sort-keys"))?,
        };
        query.nothing_else()?;
        Ok(Self { offset, count, filter, sort })
    }
}

/// The sessions that fit, as far as they may be on the page.
struct Found {
    wanted: Wanted,
    sessions: Vec<Listed>,
    total: usize,
}

struct Listed {
    session: Session,
    device: Device,
    /// The user's names, where sessions of several users are listed.
    owner: Option<(Username, Name)>,
}

impl Found {
    const fn new(wanted: Wanted) -> Self {
        Self { wanted, sessions: Vec::new(), total: 0 }
    }

    /// Adds a session if it fits, after those of newer logins.
    fn add(&mut self, session: Session, owner: Option<(Username, Name)>) {
        let device = Device::from_user_agent(&session.client.user_agent);
        let texts = [&device.name, device.kind, &device.os_name, session.id.as_str(), session.user_id.as_str()];
        if texts.iter().any(|text| text.to_lowercase().contains(&self.wanted.filter)) {
            self.total = self.total.saturating_add(1);
            if self.sessions.len() < MOST_SORTED {
                self.sessions.push(Listed { session, device, owner });
            }
        }
    }

    fn page(mut self, current: SessionId) -> Response {
        #[derive(Serialize)]
        struct List<'s> {
            sessions: Vec<Row<'s>>,
            count: usize,
            offset: usize,
            total: usize,
            success: bool,
        }
        let Wanted { offset, count, sort, .. } = &self.wanted;
        // The sort is stable, so that sessions that are equal in all keys stay newest first.
        self.sessions.sort_by(|a, b| {
            sort.iter().map(|key| key.compare(a, b)).find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
        });
        let page = self.sessions.iter().skip(*offset).take(*count).map(|listed| Row::from_listed(listed, current));
        let shown = List { sessions: page.collect(), count: *count, offset: *offset, total: self.total, success: true };
        json(StatusCode::OK, &shown)
    }
}

/// One key of a sort order.
struct SortKey {
    by: SortBy,
    descending: bool,
}

enum SortBy {
    LoginAt,
    Name,
    OsName,
    OsVersion,
}

impl SortKey {
    fn compare(&self, a: &Listed, b: &Listed) -> std::cmp::Ordering {
        let order = match self.by {
            SortBy::LoginAt => a.session.created_at.cmp(&b.session.created_at),
            SortBy::Name => a.device.name.cmp(&b.device.name),
            SortBy::OsName => a.device.os_name.cmp(&b.device.os_name),
            SortBy::OsVersion => a.device.os_version.cmp(&b.device.os_version),
        };
        if self.descending { order.reverse() } else { order }
    }
}

fn read_sort(json: &str) -> Option<Vec<SortKey>> {
    let keys = Fields::from_json(json.as_bytes()).ok()?.into_numbers();
    keys.map(|(name, direction)| {
        let by = match name.as_str() {
            "loginAt" => SortBy::LoginAt,
            "device.name" => SortBy::Name,
            "device.os.name" => SortBy::OsName,
            "device.os.version" => SortBy::OsVersion,
            _ => return None,
        };
        match direction {
            Some(1) => Some(SortKey { by, descending: false }),
            Some(-1) => Some(SortKey { by, descending: true }),
            Some(_) | None => None,
        }
    })
    .collect()
}

/// `GET /api/v1/sessions/info`: one of one's own.
pub async fn info(State(app): State<App>, caller: Caller<RocketChat>, uri: Uri) -> Answer<RocketChat> {
    let session = app.service.session(&caller.principal, id_of(&uri)?).await?;
    Ok(one(session, None, caller.principal.session_id()))
}

/// `GET /api/v1/sessions/info.admin`: anybody's, for administrators.
pub async fn info_admin(
    State(app): State<App>,
    caller: Caller<RocketChat>,
    Sender(client): Sender,
    asked: Asked,
    uri: Uri,
) -> Answer<RocketChat> {
    let admin = app.service.admin(&caller.principal, &client, &asked)?;
    let ListedSession { session, username, name, .. } = admin.session(id_of(&uri)?).await?;
    Ok(one(session, Some((username, name)), caller.principal.session_id()))
}

fn id_of(uri: &Uri) -> Result<SessionId, Refusal> {
    let mut query = Fields::from_query(uri.query())?;
    let id = query.text("sessionId")?;
    query.nothing_else()?;
    id.parse().map_err(|_| Error::NotFound.into())
}

fn one(session: Session, owner: Option<(Username, Name)>, current: SessionId) -> Response {
    let device = Device::from_user_agent(&session.client.user_agent);
    let listed = Listed { session, device, owner };
    json(StatusCode::OK, &Row { success: Some(true), ..Row::from_listed(&listed, current) })
}
