//! The canonical contract, `/api/v1/auth/*`: everything about one's own sessions, in one shape.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{StatusCode, Uri};
use serde::Serialize;

use crate::domain::device::Device;
use crate::domain::id::SessionId;
use crate::domain::session::Session;
use crate::domain::text::{Email, LoginName};
use crate::domain::user::User;
use crate::http::logout::{self, ClearCookie, CookieSessions, log_out};
use crate::http::refusal::{Answer, Dialect, FieldError, Place, Problem, Refusal, json, with_cookies, with_retry};
use crate::http::request::body::Payload;
use crate::http::request::client_address::Sender;
use crate::http::request::credential::{Caller, Cookies};
use crate::http::request::fields::Fields;
use crate::http::request::state::App;
use crate::http::routes::Routes;
use crate::service::Error;
use crate::service::login::Login;
use crate::service::second_factor::ENROLMENT_OVER;
use crate::service::sessions::Scope;

/// The dialect.
#[derive(Debug)]
pub struct Canonical;

const PAGE: usize = 50;
const LARGEST_PAGE: usize = 100;

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
}

#[derive(Serialize)]
struct UserView<'u> {
    id: &'u str,
    username: &'u str,
    email: Option<&'u str>,
    name: &'u str,
    admin: bool,
    created_at: String,
}

impl<'u> UserView<'u> {
    fn from_user(user: &'u User) -> Self {
        Self {
            id: user.id.as_str(),
            username: user.username.as_str(),
            email: user.email.as_ref().map(Email::as_str),
            name: user.name.as_str(),
            admin: user.admin,
            created_at: user.created_at.rfc3339(),
        }
    }
}

#[derive(Serialize)]
struct SessionView<'s> {
    id: &'s str,
    created_at: String,
    last_seen_at: String,
    expires_at: String,
    idle_expires_at: String,
    current: bool,
    ip: &'s str,
    user_agent: &'s str,
    device: DeviceView,
}

#[derive(Serialize)]
struct DeviceView {
    r#type: &'static str,
    name: String,
    os: String,
}

impl<'s> SessionView<'s> {
    fn from_session(session: &'s Session, current: SessionId) -> Self {
        let device = Device::from_user_agent(&session.client.user_agent);
        Self {
            id: session.id.as_str(),
            created_at: session.created_at.rfc3339(),
            last_seen_at: session.last_seen_at.rfc3339(),
            expires_at: session.expiry.absolute.rfc3339(),
            idle_expires_at: session.expiry.idle.rfc3339(),
            current: session.id == current,
            ip: &session.client.ip,
            user_agent: &session.client.user_agent,
            device: DeviceView { r#type: device.kind, name: device.name, os: device.os_name },
        }
    }
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

#[derive(Serialize)]
struct Changed<'t> {
    revoked: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'t str>,
}

/// `POST /api/v1/auth/login`: the user and the session, and the token in the cookie or, when asked for, in the body.
pub async fn login(
    State(app): State<App>,
    Sender(client): Sender,
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
        client,
    };
    let logged_in = app.service.login(login).await?;
    let (token, lines) = if in_body {
        (Some(logged_in.token.reveal()), Vec::new())
    } else {
        let until = logged_in.session.expiry.absolute.since(logged_in.session.created_at);
        (None, cookies.set(&logged_in.token, remember.then_some(until), &app))
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
    cookies: Cookies,
    body: Payload<Canonical>,
) -> Answer<Canonical> {
    let mut fields = body.json()?;
    let (current, new) = (fields.text("current_password")?, fields.text("new_password")?);
    let in_header = caller.token.is_some();
    let in_cookies = if in_header { Some(CookieSessions::from_cookies(&cookies, &app).await?) } else { None };
    let renewed = app.service.change_password(&caller.principal, current, new, &client).await?;
    let lines = match in_cookies {
        // A cookie of this session is as dead as one of any other: only the header's token was replaced.
        Some(in_cookies) => in_cookies.after_many(&caller.principal, Scope::All, &app),
        None => cookies.set(&renewed.token, renewed.session.remembered.then_some(renewed.left), &app),
    };
    let token = in_header.then(|| renewed.token.reveal());
    Ok(with_cookies(json(StatusCode::OK, &Changed { revoked: renewed.revoked, token }), lines))
}

/// `GET /api/v1/auth/sessions`: one's own, newest login first, a page at a time.
pub async fn sessions(State(app): State<App>, caller: Caller<Canonical>, uri: Uri) -> Answer<Canonical> {
    #[derive(Serialize)]
    struct Page<'s> {
        sessions: Vec<SessionView<'s>>,
        next_cursor: Option<String>,
    }
    let mut query = Fields::from_query(uri.query())?;
    let bad_limit = |_| Refusal::BadPage("limit must be a whole number from 1 to 100");
    let limit = query.number("limit").map_err(bad_limit)?.unwrap_or(PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Refusal::BadPage("limit must be a whole number from 1 to 100").into());
    }
    let after = match query.optional_text("cursor")? {
        None => None,
        Some(cursor) => Some(read_cursor(&cursor).ok_or(Refusal::BadPage("cursor was not handed out here"))?),
    };
    let mut sessions = app.service.sessions(&caller.principal).await?;
    sessions.sort_by_key(|session| std::cmp::Reverse(place(session)));
    let mut rest = sessions.iter().filter(|session| after.as_ref().is_none_or(|after| place(session) < *after));
    let page: Vec<&Session> = rest.by_ref().take(limit).collect();
    let next_cursor = page.last().filter(|_| rest.next().is_some()).map(|last| write_cursor(last));
    let current = caller.principal.session_id();
    let sessions = page.into_iter().map(|session| SessionView::from_session(session, current)).collect();
    Ok(json(StatusCode::OK, &Page { sessions, next_cursor }))
}

/// The place of a session in the list. A cursor is the place of the last session shown, so it stays valid when that
/// session ends.
fn place(session: &Session) -> (i64, SessionId) {
    (session.created_at.millis(), session.id)
}

fn write_cursor(session: &Session) -> String {
    let (at, id) = place(session);
    URL_SAFE_NO_PAD.encode(format!("{at}.{id}"))
}

fn read_cursor(cursor: &str) -> Option<(i64, SessionId)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (at, id) = text.split_once('.')?;
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

#[derive(Serialize)]
struct Envelope<'e> {
    code: u16,
    detail: &'e str,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<[Wrong<'e>; 1]>,
}

#[derive(Serialize)]
struct Wrong<'e> {
    loc: [&'e str; 2],
    msg: &'e str,
    r#type: &'static str,
}

impl Dialect for Canonical {
    fn refuse(refusal: &Refusal) -> Response {
        use StatusCode as S;
        let (status, r#type, detail) = match refusal {
            Refusal::Service(Error::BadCredentials | Error::NoSession) => {
                (S::UNAUTHORIZED, "authentication_error", "Authentication failed")
            }
            Refusal::Service(Error::SecondFactorRequired { wrong }) => {
                let detail = if *wrong { "The code is wrong" } else { "A code of the second factor is needed" };
                (S::UNAUTHORIZED, "second_factor_required_error", detail)
            }
            Refusal::Service(Error::Forbidden) => (S::FORBIDDEN, "forbidden_error", "Not allowed"),
            Refusal::Service(Error::NotFound) => (S::NOT_FOUND, "not_found_error", "Not found"),
            Refusal::Service(Error::Conflict(ENROLMENT_OVER)) => {
                (S::CONFLICT, "already_exists_error", "This is over, start again")
            }
            Refusal::Service(Error::Conflict(_)) => (S::CONFLICT, "already_exists_error", "Already taken"),
            Refusal::Service(Error::Invalid { field, why }) => {
                let problem = Problem::Unfit(why.to_string());
                return unprocessable(&FieldError { place: Place::Body, field: (*field).into(), problem });
            }
            Refusal::Service(Error::Overloaded) => {
                let detail = "Too many logins at once, try again shortly";
                return with_retry(answer(S::SERVICE_UNAVAILABLE, "overloaded_error", detail));
            }
            Refusal::Service(Error::StoreUnreachable(_)) => {
                (S::BAD_GATEWAY, "bad_gateway_error", "The session store cannot be reached")
            }
            Refusal::Service(Error::StoreTooSlow(_)) | Refusal::Deadline => {
                (S::GATEWAY_TIMEOUT, "gateway_timeout_error", "The session store did not answer in time")
            }
            Refusal::Service(Error::Bug(_)) => {
                (S::INTERNAL_SERVER_ERROR, "internal_server_error", "Internal server error")
            }
            Refusal::BadRequest(detail) | Refusal::BadPage(detail) => {
                (S::BAD_REQUEST, "invalid_request_error", *detail)
            }
            Refusal::Malformed => (S::BAD_REQUEST, "invalid_request_error", "The request cannot be read"),
            Refusal::UnknownRoute => (S::NOT_FOUND, "not_found_error", "No such route"),
            Refusal::WrongMethod => (S::METHOD_NOT_ALLOWED, "method_not_allowed_error", "Method not allowed"),
            Refusal::PlainHttp => (S::UPGRADE_REQUIRED, "upgrade_required_error", "Use https"),
            Refusal::WrongPlace => (S::FORBIDDEN, "forbidden_error", "Cross-site request refused"),
            Refusal::BodyTimeout | Refusal::ClientGone => {
                (S::REQUEST_TIMEOUT, "request_timeout_error", "The body did not arrive in time")
            }
            Refusal::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "payload_too_large_error", "The body is too large"),
            Refusal::WrongContentType => {
                (S::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type_error", "The content type is not supported")
            }
            Refusal::TransferCoding => {
                (S::NOT_IMPLEMENTED, "not_implemented_error", "The transfer coding is not supported")
            }
            Refusal::HeadTooLarge => (
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "request_header_fields_too_large_error",
                "Too many or too large headers",
            ),
            Refusal::Field(error) => return unprocessable(error),
        };
        answer(status, r#type, detail)
    }
}

fn answer(status: StatusCode, r#type: &'static str, detail: &str) -> Response {
    json(status, &Envelope { code: status.as_u16(), detail, r#type, errors: None })
}

fn unprocessable(error: &FieldError) -> Response {
    let place = match error.place {
        Place::Body => "body",
        Place::Query => "query",
    };
    let (msg, r#type) = match &error.problem {
        Problem::Missing => ("Field required".into(), "missing"),
        Problem::Unknown => ("Field not expected".into(), "extra_forbidden"),
        Problem::NotText => ("Must be a string".into(), "string_type"),
        Problem::NotFlag => ("Must be true or false".into(), "bool_type"),
        Problem::NotNumber => ("Must be a whole number".into(), "int_type"),
        Problem::NoneOf(words) => (format!("Must be one of {}", words.join(", ")), "enum"),
        Problem::Unfit(sentence) => (capitalised(sentence), "value_error"),
    };
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    let errors = Some([Wrong { loc: [place, &error.field], msg: &msg, r#type }]);
    let detail = format!("{}: {msg}", error.field);
    json(status, &Envelope { code: status.as_u16(), detail: &detail, r#type: "validation_error", errors })
}

fn capitalised(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
