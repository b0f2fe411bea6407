//! The canonical contract, `/api/v1/auth/*`: everything about one's own sessions, in one shape. `words` is how it refuses,
//! `views` how it shows users and sessions, `new_token` how a new token reaches its caller, and `second_factor` is about
//! one's own.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use http::{StatusCode, Uri};
use serde::Serialize;

use self::new_token::Travels;
pub use self::views::{SessionView, UserView};
pub use self::words::Canonical;
use crate::domain::cursor::CursorKey;
use crate::domain::id::SessionId;
use crate::domain::session::Session;
use crate::domain::text::LoginName;
use crate::http::logout::{self, ClearCookie, log_out};
use crate::http::refusal::{Answer, FieldError, Place, Problem, json, with_cookies};
use crate::http::request::body::Payload;
use crate::http::request::client_address::Sender;
use crate::http::request::credential::{Caller, Cookies};
use crate::http::request::fields::Fields;
use crate::http::request::page::PageWanted;
use crate::http::request::state::App;
use crate::http::routes::Routes;
use crate::service::Error;
use crate::service::limits::TriedFrom;
use crate::service::login::Login;
use crate::service::sessions::Scope;

mod new_token;
mod second_factor;
mod views;
mod words;

/// The list that a cursor is of.
const LIST: &str = "own sessions";

/// Its routes, under `/api/v1/auth`.
pub fn routes() -> Routes<Canonical> {
    Routes::default()
        .change("/login", login)
        .revoke("/logout", logout)
        .get("/session", session)
        .revoke("/password", password)
        .get("/sessions", sessions)
        .revoke_by_delete("/sessions", revoke_many)
        .revoke_by_delete("/sessions/{id}", revoke_one)
        .and(second_factor::routes())
}

#[derive(Serialize)]
struct Identity<'i> {
    user: UserView<'i>,
    session: SessionView<'i>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'i str>,
}

#[derive(Serialize)]
struct Revoked {
    revoked: usize,
}

/// `POST /api/v1/auth/login`: the user and the session, and the token in the cookie or, when asked for, in the body.
pub async fn login(
    State(app): State<App>,
    Sender(client): Sender,
    from: TriedFrom,
    cookies: Cookies,
    body: Payload<Canonical>,
) -> Answer<Canonical> {
    let mut fields = body.json_or_form()?;
    let (username, password) = (fields.text("username")?, fields.text("password")?);
    let (remember, code) = (fields.flag("remember")?, fields.optional_text("code")?);
    let in_body = fields.word("transport", &["cookie", "token"])? == Some("token");
    fields.word("grant_type", &["password"])?;
    let login = Login {
        name: LoginName::either(&username),
        password,
        code,
        remembered: remember || in_body,
        replaces: if in_body { Vec::new() } else { cookies.tokens() },
        new_password: fields.optional_text("new_password")?,
        client,
        from,
    };
    let logged_in = app.service.login(login).await?;
    let (token, lines) = if in_body {
        (Some(logged_in.token.reveal()), Vec::new())
    } else {
        let until = logged_in.session.expiry.absolute.since(logged_in.session.created_at);
        (None, cookies.set_at_login(&logged_in.token, remember.then_some(until), &logged_in.browser, &app.cookie))
    };
    let (user, session) = (&logged_in.user, &logged_in.session);
    let shown =
        Identity { user: UserView::from_user(user), session: SessionView::from_session(session, session.id), token };
    Ok(with_cookies(json(StatusCode::OK, &shown), lines))
}

/// `POST /api/v1/auth/logout`: a JSON body, since callers parse one, and the cookie cleared.
pub async fn logout(State(app): State<App>, request: Request) -> Answer<Canonical> {
    #[derive(Serialize)]
    struct LoggedOut {
        detail: &'static str,
    }
    let cookies = log_out(&app, request, ClearCookie::Always).await?;
    Ok(with_cookies(json(StatusCode::OK, &LoggedOut { detail: "Logged out" }), cookies))
}

/// `GET /api/v1/auth/session`: who am I?
pub async fn session(State(app): State<App>, caller: Caller<Canonical>) -> Answer<Canonical> {
    let (session, user) = app.service.current(&caller.principal).await?;
    let shown = Identity {
        user: UserView::from_user(&user),
        session: SessionView::from_session(&session, session.id),
        token: None,
    };
    Ok(json(StatusCode::OK, &shown))
}

/// `POST /api/v1/auth/password`: sets one's own, and ends every other session. This one goes on under a new token, which
/// travels as the old one did.
pub async fn password(
    State(app): State<App>,
    caller: Caller<Canonical>,
    Sender(client): Sender,
    from: TriedFrom,
    cookies: Cookies,
    body: Payload<Canonical>,
) -> Answer<Canonical> {
    let mut fields = body.json()?;
    let (current, new) = (fields.text("current_password")?, fields.text("new_password")?);
    let travels = Travels::before(&caller, &cookies, &app).await?;
    let renewed = app.service.change_password(&caller.principal, current, new, &client, &from).await?;
    let (changed, lines) = travels.under_new_token(&renewed, &app);
    Ok(with_cookies(json(StatusCode::OK, &changed), lines))
}

/// `GET /api/v1/auth/sessions`: one's own, newest login first, a page at a time.
pub async fn sessions(State(app): State<App>, caller: Caller<Canonical>, uri: Uri) -> Answer<Canonical> {
    #[derive(Serialize)]
    struct Page<'s> {
        sessions: Vec<SessionView<'s>>,
        next_cursor: Option<String>,
    }
    let mut query = Fields::from_query(uri.query())?;
    let wanted = PageWanted::read(&mut query, LIST, app.service.cursors())?;
    let after = wanted.place(read_place)?;
    let mut sessions = app.service.sessions(&caller.principal).await?;
    sessions.sort_by_key(|session| std::cmp::Reverse(place(session)));
    let mut rest = sessions.iter().filter(|session| after.as_ref().is_none_or(|after| place(session) < *after));
    let page: Vec<&Session> = rest.by_ref().take(wanted.limit).collect();
    let next_cursor =
        page.last().filter(|_| rest.next().is_some()).map(|last| write_cursor(last, app.service.cursors()));
    let current = caller.principal.session_id();
    let sessions = page.into_iter().map(|session| SessionView::from_session(session, current)).collect();
    Ok(json(StatusCode::OK, &Page { sessions, next_cursor }))
}

/// The place of a session in the list. A cursor is the place of the last session shown, so it stays valid when that
/// session ends.
fn place(session: &Session) -> (i64, SessionId) {
    (session.created_at.millis(), session.id)
}

fn write_cursor(session: &Session, key: &CursorKey) -> String {
    let (at, id) = place(session);
    key.seal(LIST, &format!("{at}.{id}"))
}

fn read_place(place: &str) -> Option<(i64, SessionId)> {
    let (at, id) = place.split_once('.')?;
    Some((at.parse().ok()?, id.parse().ok()?))
}

/// `DELETE /api/v1/auth/sessions/{id}`: ends one of one's own.
pub async fn revoke_one(
    State(app): State<App>,
    caller: Caller<Canonical>,
    Sender(client): Sender,
    id: Result<Path<String>, PathRejection>,
    cookies: Cookies,
) -> Answer<Canonical> {
    // A parameter that is not UTF-8 is no session's id.
    let id: SessionId = id.ok().and_then(|Path(id)| id.parse().ok()).ok_or(Error::NotFound)?;
    let cookies = logout::revoke_one(&app, &caller.principal, id, &client, &cookies).await?;
    Ok(with_cookies(json(StatusCode::OK, &Revoked { revoked: 1 }), cookies))
}

/// `DELETE /api/v1/auth/sessions?scope=others|all`: ends several of one's own.
pub async fn revoke_many(
    State(app): State<App>,
    caller: Caller<Canonical>,
    Sender(client): Sender,
    cookies: Cookies,
    uri: Uri,
) -> Answer<Canonical> {
    let mut query = Fields::from_query(uri.query())?;
    let scope = match query.word("scope", &["others", "all"])? {
        Some("all") => Scope::All,
        Some(_) => Scope::Others,
        None => return Err(FieldError { place: Place::Query, field: "scope".into(), problem: Problem::Missing }.into()),
    };
    let (revoked, cookies) = logout::revoke_many(&app, &caller.principal, scope, &client, &cookies).await?;
    Ok(with_cookies(json(StatusCode::OK, &Revoked { revoked }), cookies))
}
