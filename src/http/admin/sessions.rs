//! Sessions of all users: listing them, and ending one, a user's, or those that fit.

use axum::extract::State;
use http::{StatusCode, Uri};
use serde::Serialize;

use super::administrator::{Administrator, Revoked};
use crate::domain::clock::Timestamp;
use crate::domain::id::SessionId;
use crate::http::dialect::canonical::{Canonical, SessionView};
use crate::http::logout::{revoke_all_of, revoke_any};
use crate::http::refusal::{Answer, FieldError, Place, Problem, Refused, json, with_cookies};
use crate::http::request::body::Payload;
use crate::http::request::credential::Cookies;
use crate::http::request::fields::Fields;
use crate::http::request::page::{PageWanted, SESSIONS};
use crate::http::request::path::{InPath, id};
use crate::http::request::state::App;
use crate::service::admin::Admin;
use crate::service::selection::{Condition, Meant, SessionFilter, WrittenFilter};
use crate::store::ListedSession;

#[derive(Serialize)]
struct Owned<'s> {
    #[serde(flatten)]
    session: SessionView<'s>,
    user: Owner<'s>,
}

#[derive(Serialize)]
struct Owner<'s> {
    id: &'s str,
    username: &'s str,
}

impl<'s> Owned<'s> {
    fn from_listed(listed: &'s ListedSession, current: SessionId) -> Self {
        let ListedSession { session, username, .. } = listed;
        let user = Owner { id: session.user_id.as_str(), username: username.as_str() };
        Self { session: SessionView::from_session(session, current), user }
    }
}

/// `GET /api/v1/admin/sessions`: those that fit, newest login first, a page at a time.
pub async fn list(State(app): State<App>, administrator: Administrator, uri: Uri) -> Answer<Canonical> {
    #[derive(Serialize)]
    struct Page<'s> {
        sessions: Vec<Owned<'s>>,
        next_cursor: Option<String>,
    }
    let mut query = Fields::from_query(uri.query())?;
    let wanted = PageWanted::read(&mut query, SESSIONS, app.service.cursors())?;
    let before = wanted.place(|place| place.parse().ok())?;
    let powers = administrator.powers(&app)?;
    let filter = filter(&mut query, Place::Query, &powers).await?;
    query.nothing_else()?;
    // Nothing fits a user who does not exist.
    let Some(filter) = filter else {
        return Ok(json(StatusCode::OK, &Page { sessions: Vec::new(), next_cursor: None }));
    };
    let found = powers.sessions(&filter, before, wanted.limit).await?;
    let current = administrator.principal.session_id();
    let shown = Page {
        sessions: found.sessions.iter().map(|listed| Owned::from_listed(listed, current)).collect(),
        next_cursor: found.next.map(|next| app.service.cursors().seal(SESSIONS, &next.to_string())),
    };
    Ok(json(StatusCode::OK, &shown))
}

/// Reads a filter; `None` where it names a user who does not exist.
async fn filter(
    fields: &mut Fields,
    place: Place,
    powers: &Admin<'_>,
) -> Result<Option<SessionFilter>, Refused<Canonical>> {
    let wrong = |field: &str, problem: &str| {
        Refused::from(FieldError { place, field: field.to_owned(), problem: Problem::Unfit(problem.to_owned()) })
    };
    let written = WrittenFilter {
        ip: fields.optional_text("ip")?,
        user_agent: fields.optional_text("user_agent")?,
        before: fields.optional_text("before")?,
        user: fields.optional_text("user")?,
    };
    match powers.session_filter(written, Timestamp::parse_rfc3339).await? {
        Meant::Sessions(filter) => Ok(Some(filter)),
        Meant::NoSuchUser => Ok(None),
        Meant::Unfit(condition) => Err(match condition {
            Condition::Network => wrong("ip", "must be an address, or a network such as 192.0.2.0/24"),
            Condition::UserAgent => wrong("user_agent", "is too long"),
            Condition::Before => wrong("before", "must be a time with its zone, such as 2026-01-02T03:04:05Z"),
        }),
    }
}

/// `GET /api/v1/admin/users/{id}/sessions`: those of one user, newest login first.
pub async fn list_of_user(
    State(app): State<App>,
    administrator: Administrator,
    path: InPath<String>,
) -> Answer<Canonical> {
    #[derive(Serialize)]
    struct List<'s> {
        sessions: Vec<SessionView<'s>>,
        next_cursor: Option<String>,
    }
    let sessions = administrator.powers(&app)?.sessions_of(id(path)?).await?;
    let current = administrator.principal.session_id();
    let sessions = sessions.iter().map(|session| SessionView::from_session(session, current)).collect();
    // A user has so few of them that one page holds them all.
    Ok(json(StatusCode::OK, &List { sessions, next_cursor: None }))
}

/// `DELETE /api/v1/admin/users/{id}/sessions`: every session of one user.
pub async fn revoke_all_of_user(
    State(app): State<App>,
    administrator: Administrator,
    path: InPath<String>,
    cookies: Cookies,
) -> Answer<Canonical> {
    let user = id(path)?;
    let (revoked, cookies) = revoke_all_of(&app, &administrator.powers(&app)?, user, &cookies).await?;
    Ok(with_cookies(json(StatusCode::OK, &Revoked { revoked }), cookies))
}

/// `DELETE /api/v1/admin/sessions/{id}`: one session of any user.
pub async fn revoke_one(
    State(app): State<App>,
    administrator: Administrator,
    path: InPath<String>,
    cookies: Cookies,
) -> Answer<Canonical> {
    let session = id(path)?;
    let cookies = revoke_any(&app, &administrator.powers(&app)?, session, &cookies).await?;
    Ok(with_cookies(json(StatusCode::OK, &Revoked { revoked: 1 }), cookies))
}

/// `POST /api/v1/admin/sessions/revoke`: counts those that fit, or ends them unless there are more than expected. The
/// caller's own is never among them.
pub async fn revoke_fitting(
    State(app): State<App>,
    administrator: Administrator,
    body: Payload<Canonical>,
) -> Answer<Canonical> {
    #[derive(Serialize)]
    struct Counted {
        count: usize,
    }
    let mut fields = body.json()?;
    let missing = |field: &str| FieldError { place: Place::Body, field: field.to_owned(), problem: Problem::Missing };
    let mut wanted = fields.group("filter").ok_or_else(|| missing("filter"))?;
    let (dry_run, expected) = (fields.flag("dry_run")?, fields.number("expect")?);
    fields.nothing_else()?;
    let all = wanted.flag("all")?;
    let powers = administrator.powers(&app)?;
    let filter = filter(&mut wanted, Place::Body, &powers).await?;
    wanted.nothing_else()?;
    let unfit = |problem: &str| {
        let problem = Problem::Unfit(problem.to_owned());
        Refused::<Canonical>::from(FieldError { place: Place::Body, field: "filter".into(), problem })
    };
    match &filter {
        Some(filter) if all != (*filter == SessionFilter::default()) => {
            return Err(unfit("must name either conditions or \"all\": true"));
        }
        None if all => return Err(unfit("must name either conditions or \"all\": true")),
        Some(_) | None => {}
    }
    if dry_run {
        let count = match &filter {
            Some(filter) => powers.count(filter).await?,
            None => 0,
        };
        return Ok(json(StatusCode::OK, &Counted { count }));
    }
    let expected = expected.ok_or_else(|| missing("expect"))?;
    let revoked = match &filter {
        Some(filter) => powers.revoke_fitting(filter, Some(expected)).await?,
        None => 0,
    };
    Ok(json(StatusCode::OK, &Revoked { revoked }))
}
