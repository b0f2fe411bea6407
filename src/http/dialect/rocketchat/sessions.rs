//! Lists of one's own sessions.

use axum::extract::State;
use http::{StatusCode, Uri};
use serde::Serialize;

use super::words::RocketChat;
use crate::domain::device::Device;
use crate::domain::id::SessionId;
use crate::domain::session::{Client, Session};
use crate::http::refusal::{Answer, Refusal, json};
use crate::http::request::credential::Caller;
use crate::http::request::fields::Fields;
use crate::http::request::state::App;
use crate::service::Error;

const PAGE: usize = 50;
const LARGEST_PAGE: usize = 100;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    success: Option<bool>,
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
    fn from_session(session: &'s Session, device: &'s Device, current: SessionId) -> Self {
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
            success: None,
        }
    }
}

/// `GET /api/v1/sessions/list`: one's own, filtered, sorted and a page of them.
pub async fn list(State(app): State<App>, caller: Caller<RocketChat>, uri: Uri) -> Answer<RocketChat> {
    #[derive(Serialize)]
    struct List<'s> {
        sessions: Vec<Row<'s>>,
        count: usize,
        offset: usize,
        total: usize,
        success: bool,
    }
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
    let sessions = app.service.sessions(&caller.principal).await?;
    let mut found: Vec<(Session, Device)> = sessions
        .into_iter()
        .map(|session| {
            let device = Device::from_user_agent(&session.client.user_agent);
            (session, device)
        })
        .filter(|(session, device)| {
            let texts = [&device.name, device.kind, &device.os_name, session.id.as_str(), session.user_id.as_str()];
            texts.iter().any(|text| text.to_lowercase().contains(&filter))
        })
        .collect();
    // The sort is stable, so that sessions that are equal in all keys stay newest first.
    found.sort_by(|a, b| {
        sort.iter().map(|key| key.compare(a, b)).find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    });
    let current = caller.principal.session_id();
    let page =
        found.iter().skip(offset).take(count).map(|(session, device)| Row::from_session(session, device, current));
    let shown = List { sessions: page.collect(), count, offset, total: found.len(), success: true };
    Ok(json(StatusCode::OK, &shown))
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
    fn compare(&self, (a, a_device): &(Session, Device), (b, b_device): &(Session, Device)) -> std::cmp::Ordering {
        let order = match self.by {
            SortBy::LoginAt => a.created_at.cmp(&b.created_at),
            SortBy::Name => a_device.name.cmp(&b_device.name),
            SortBy::OsName => a_device.os_name.cmp(&b_device.os_name),
            SortBy::OsVersion => a_device.os_version.cmp(&b_device.os_version),
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
    let mut query = Fields::from_query(uri.query())?;
    let id = query.text("sessionId")?;
    query.nothing_else()?;
    let id = id.parse().map_err(|_| Error::NotFound)?;
    let session = app.service.session(&caller.principal, id).await?;
    let device = Device::from_user_agent(&session.client.user_agent);
    let row = Row::from_session(&session, &device, caller.principal.session_id());
    Ok(json(StatusCode::OK, &Row { success: Some(true), ..row }))
}
