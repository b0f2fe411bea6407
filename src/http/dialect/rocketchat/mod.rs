//! Rocket.Chat's contract, `/api/v1/*`: `X-User-Id` and `X-Auth-Token`, and its several shapes of refusal.

use axum::extract::{Request, State};
use axum::response::Response;
use http::{Method, StatusCode, Uri};
use serde::Serialize;

use crate::domain::device::Device;
use crate::domain::id::SessionId;
use crate::domain::session::{Client, Session};
use crate::domain::text::{self, LoginName};
use crate::domain::token::Token;
use crate::domain::user::User;
use crate::http::logout::{Carried, Clearing, log_out};
use crate::http::refusal::{Answer, Dialect, Problem, Refusal, json, with_cookies, with_retry};
use crate::http::request::body::{Payload, Unused};
use crate::http::request::client_address::Sender;
use crate::http::request::credential::{Caller, Cookies};
use crate::http::request::fields::Fields;
use crate::http::state::App;
use crate::service::Error;
use crate::service::login::Login;
use crate::service::sessions::Scope;
use crate::service::verify::Presented;

/// The dialect.
#[derive(Debug)]
pub struct RocketChat;

const PAGE: usize = 50;
const LARGEST_PAGE: usize = 100;

#[derive(Serialize)]
struct Me<'u> {
    #[serde(rename = "_id")]
    id: &'u str,
    name: &'u str,
    username: &'u str,
    emails: Vec<Email<'u>>,
    status: &'static str,
    active: bool,
    roles: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'u str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    success: Option<bool>,
}

#[derive(Serialize)]
struct Email<'u> {
    address: &'u str,
    verified: bool,
}

impl<'u> Me<'u> {
    fn of(user: &'u User) -> Self {
        let email = user.email.as_ref().map(text::Email::as_str);
        let admin = user.admin.then_some("admin");
        Self {
            id: user.id.as_str(),
            name: user.name.as_str(),
            username: user.username.as_str(),
            emails: email.map(|address| Email { address, verified: false }).into_iter().collect(),
            status: "online",
            active: user.disabled_at.is_none(),
            roles: ["user"].into_iter().chain(admin).collect(),
            email,
            success: None,
        }
    }
}

#[derive(Serialize)]
struct Success {
    success: bool,
}

const SUCCESS: Success = Success { success: true };

/// `POST /api/v1/login`: a new session, or the one a `resume` token stands for. Neither reads nor touches cookies.
pub async fn login(State(app): State<App>, Sender(client): Sender, body: Payload<RocketChat>) -> Answer<RocketChat> {
    #[derive(Serialize)]
    struct LoggedIn<'l> {
        status: &'static str,
        data: Data<'l>,
        success: bool,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Data<'l> {
        user_id: &'l str,
        auth_token: &'l str,
        me: Me<'l>,
    }
    let wanted = body.json_or_form().ok().and_then(wanted).ok_or(Error::BadCredentials)?;
    let (token, user) = match wanted {
        Wanted::New(name, password) => {
            let login = Login { name, password, remembered: true, replaces: Vec::new(), client };
            let logged_in = app.service.login(login).await?;
            (logged_in.token, logged_in.user)
        }
        Wanted::Resume(token) => {
            let presented = Presented { token, user: None };
            let unauthorized = |error| if matches!(error, Error::NoSession) { Error::BadCredentials } else { error };
            let principal = app.service.verify(&presented).await.map_err(unauthorized)?;
            let (_, user) = app.service.current(&principal).await.map_err(unauthorized)?;
            (presented.token, user)
        }
    };
    let data = Data { user_id: user.id.as_str(), auth_token: token.reveal(), me: Me::of(&user) };
    Ok(json(StatusCode::OK, &LoggedIn { status: "success", data, success: true }))
}

enum Wanted {
    New(LoginName, String),
    Resume(Token),
}

/// Reads a login in any of its five forms. `None` for anything else, which is refused like a wrong password.
fn wanted(mut fields: Fields) -> Option<Wanted> {
    if fields.has_text("resume") {
        return Token::parse(fields.text("resume").ok()?.as_bytes()).map(Wanted::Resume);
    }
    let name = if fields.has_text("user") {
        LoginName::either(&fields.text("user").ok()?)
    } else if fields.has_text("username") {
        LoginName::username(&fields.text("username").ok()?)
    } else if fields.has_text("email") {
        LoginName::email(&fields.text("email").ok()?)
    } else {
        let mut user = fields.group("user")?;
        match user.optional_text("username").ok()? {
            Some(username) => LoginName::username(&username),
            None => LoginName::email(&user.text("email").ok()?),
        }
    };
    Some(Wanted::New(name, fields.text("password").ok()?))
}

/// `POST /api/v1/logout`, and GET for a client library that uses it: with header credentials only, and no cookie written.
pub async fn logout(State(app): State<App>, request: Request) -> Answer<RocketChat> {
    #[derive(Serialize)]
    struct LoggedOut {
        status: &'static str,
        data: Message,
    }
    #[derive(Serialize)]
    struct Message {
        message: &'static str,
    }
    let clearing = if request.method() == Method::GET { Clearing::Never } else { Clearing::IfCarried };
    let cookies = log_out(&app, request, clearing).await?;
    let shown = LoggedOut { status: "success", data: Message { message: "You've been logged out!" } };
    Ok(with_cookies(json(StatusCode::OK, &shown), cookies))
}

/// `GET /api/v1/me`: the caller.
pub async fn me(State(app): State<App>, caller: Caller<RocketChat>) -> Answer<RocketChat> {
    let (_, user) = app.service.current(&caller.principal).await?;
    Ok(json(StatusCode::OK, &Me { success: Some(true), ..Me::of(&user) }))
}

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
    fn of(session: &'s Session, device: &'s Device, current: SessionId) -> Self {
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
    // Stable, so that what the keys leave open stays newest first.
    found.sort_by(|a, b| {
        sort.iter().map(|key| key.compare(a, b)).find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    });
    let current = caller.principal.session_id();
    let page = found.iter().skip(offset).take(count).map(|(session, device)| Row::of(session, device, current));
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
    let row = Row::of(&session, &device, caller.principal.session_id());
    Ok(json(StatusCode::OK, &Row { success: Some(true), ..row }))
}

/// `POST /api/v1/sessions/logout.me`: ends one of one's own.
pub async fn logout_me(
    State(app): State<App>,
    caller: Caller<RocketChat>,
    Sender(client): Sender,
    cookies: Cookies,
    body: Payload<RocketChat>,
) -> Answer<RocketChat> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct LoggedOut<'s> {
        session_id: &'s str,
        success: bool,
    }
    let mut fields = match fields(&body) {
        // A body that cannot be read lacks its session id, as clients of this contract expect to be told.
        Err(Refusal::Malformed) => Fields::default(),
        other => other?,
    };
    let id = fields.text("sessionId")?;
    fields.nothing_else()?;
    let session: SessionId = id.parse().map_err(|_| Error::NotFound)?;
    let carried = Carried::from_cookies(&cookies, &app).await?;
    app.service.revoke(&caller.principal, session, &client).await?;
    let shown = LoggedOut { session_id: &id, success: true };
    Ok(with_cookies(json(StatusCode::OK, &shown), carried.after_one(session, &app)))
}

/// The fields of a body. An empty one has none, whatever it says it is.
fn fields(body: &Payload<RocketChat>) -> Result<Fields, Refusal> {
    if body.is_empty() { Ok(Fields::default()) } else { body.json_or_form() }
}

/// `POST /api/v1/users.logout`: ends every session of the caller. Somebody else's needs an admin.
pub async fn users_logout(
    State(app): State<App>,
    caller: Caller<RocketChat>,
    Sender(client): Sender,
    cookies: Cookies,
    body: Payload<RocketChat>,
) -> Answer<RocketChat> {
    #[derive(Serialize)]
    struct LoggedOut {
        message: String,
        success: bool,
    }
    let mut fields = fields(&body)?;
    let wanted = fields.optional_text("userId")?;
    fields.nothing_else()?;
    let user = caller.principal.user_id();
    if wanted.is_some_and(|wanted| wanted != user.as_str()) {
        return Err(Error::Forbidden.into());
    }
    let carried = Carried::from_cookies(&cookies, &app).await?;
    app.service.revoke_many(&caller.principal, Scope::All, &client).await?;
    let shown = LoggedOut { message: format!("User {user} has been logged out!"), success: true };
    Ok(with_cookies(json(StatusCode::OK, &shown), carried.after_many(&caller.principal, Scope::All, &app)))
}

/// `POST /api/v1/users.removeOtherTokens`: ends every session of the caller but this.
pub async fn remove_other_tokens(
    State(app): State<App>,
    caller: Caller<RocketChat>,
    Sender(client): Sender,
    cookies: Cookies,
    _: Unused<RocketChat>,
) -> Answer<RocketChat> {
    let carried = Carried::from_cookies(&cookies, &app).await?;
    app.service.revoke_many(&caller.principal, Scope::Others, &client).await?;
    let cookies = carried.after_many(&caller.principal, Scope::Others, &app);
    Ok(with_cookies(json(StatusCode::OK, &SUCCESS), cookies))
}

/// `POST /api/v1/users.logoutOtherClients`: the same, and tells the caller's token, if it came in a header, and its end.
pub async fn logout_other_clients(
    State(app): State<App>,
    caller: Caller<RocketChat>,
    Sender(client): Sender,
    cookies: Cookies,
    _: Unused<RocketChat>,
) -> Answer<RocketChat> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct LoggedOut<'t> {
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<&'t str>,
        token_expires: String,
        success: bool,
    }
    let (session, _) = app.service.current(&caller.principal).await?;
    let carried = Carried::from_cookies(&cookies, &app).await?;
    app.service.revoke_many(&caller.principal, Scope::Others, &client).await?;
    let token = caller.token.as_ref().map(Token::reveal);
    let shown = LoggedOut { token, token_expires: session.expiry.absolute.rfc3339(), success: true };
    Ok(with_cookies(json(StatusCode::OK, &shown), carried.after_many(&caller.principal, Scope::Others, &app)))
}

#[derive(Serialize)]
struct Plain<'e> {
    success: bool,
    error: &'e str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Typed<'e> {
    success: bool,
    error: &'e str,
    error_type: &'static str,
}

impl Dialect for RocketChat {
    fn refuse(refusal: &Refusal) -> Response {
        use StatusCode as S;
        let (status, error) = match refusal {
            Refusal::Service(Error::BadCredentials) => return unauthorized(),
            Refusal::Service(Error::NoSession) => return not_logged_in(),
            Refusal::Service(Error::Forbidden) => {
                (S::FORBIDDEN, "User does not have the permissions required for this action [error-unauthorized]")
            }
            Refusal::Service(Error::NotFound) => (S::BAD_REQUEST, "Session not found"),
            Refusal::Service(Error::Conflict(_)) => (S::CONFLICT, "Already taken"),
            Refusal::Service(Error::Invalid { sentence, .. }) => return invalid(sentence),
            Refusal::Service(Error::Overloaded | Error::StoreUnreachable(_) | Error::StoreTooSlow(_))
            | Refusal::Deadline => return with_retry(plain(S::SERVICE_UNAVAILABLE, "Service unavailable")),
            Refusal::Service(Error::Bug(_)) => (S::INTERNAL_SERVER_ERROR, "Internal server error"),
            Refusal::BadRequest(error) | Refusal::BadPage(error) => (S::BAD_REQUEST, *error),
            Refusal::UnknownRoute => (S::NOT_FOUND, "Not found"),
            Refusal::WrongMethod => (S::METHOD_NOT_ALLOWED, "Method not allowed"),
            Refusal::WrongPlace => {
                let error = "Cross-site request refused [error-not-allowed]";
                return json(S::FORBIDDEN, &Typed { success: false, error, error_type: "error-not-allowed" });
            }
            Refusal::BodyTimeout | Refusal::ClientGone => (S::REQUEST_TIMEOUT, "The body did not arrive in time"),
            Refusal::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "The body is too large"),
            Refusal::WrongContentType => (S::UNSUPPORTED_MEDIA_TYPE, "The content type is not supported"),
            Refusal::TransferCoding => (S::NOT_IMPLEMENTED, "The transfer coding is not supported"),
            Refusal::HeadTooLarge => (S::REQUEST_HEADER_FIELDS_TOO_LARGE, "Too many or too large headers"),
            Refusal::Malformed => return invalid("must be object"),
            Refusal::Field(error) => {
                return invalid(&match &error.problem {
                    Problem::Missing => format!("must have required property '{}'", error.field),
                    Problem::Unknown => "must NOT have additional properties".into(),
                    Problem::NotText => "must be string".into(),
                    Problem::NotFlag => "must be boolean".into(),
                    Problem::NotNumber => "must be integer".into(),
                    Problem::NoneOf(_) => "must be equal to one of the allowed values".into(),
                    Problem::Unfit(sentence) => sentence.clone(),
                });
            }
        };
        plain(status, error)
    }
}

fn plain(status: StatusCode, error: &str) -> Response {
    json(status, &Plain { success: false, error })
}

fn invalid(problem: &str) -> Response {
    let error = format!("{problem} [invalid-params]");
    json(StatusCode::BAD_REQUEST, &Typed { success: false, error: &error, error_type: "invalid-params" })
}

fn not_logged_in() -> Response {
    #[derive(Serialize)]
    struct NotLoggedIn {
        status: &'static str,
        message: &'static str,
    }
    let body = NotLoggedIn { status: "error", message: "You must be logged in to do this." };
    json(StatusCode::UNAUTHORIZED, &body)
}

fn unauthorized() -> Response {
    #[derive(Serialize)]
    struct Unauthorized {
        success: bool,
        error: &'static str,
        status: &'static str,
        message: &'static str,
    }
    let body = Unauthorized { success: false, error: "Unauthorized", status: "error", message: "Unauthorized" };
    json(StatusCode::UNAUTHORIZED, &body)
}
