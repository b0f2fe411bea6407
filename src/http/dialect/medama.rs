//! Medama's contract: `/auth/login`, `/auth/logout` and `/user`, at `/` and under `/api`.

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde::Serialize;

use crate::domain::text::LoginName;
use crate::http::logout::{ClearCookie, log_out};
use crate::http::refusal::{Answer, Dialect, Problem, Refusal, json, with_cookies, with_retry, with_wait};
use crate::http::request::body::Payload;
use crate::http::request::client_address::Sender;
use crate::http::request::credential::{Caller, Cookies};
use crate::http::request::second_factor::CodeHeader;
use crate::http::request::state::App;
use crate::http::routes::Routes;
use crate::service::Error;
use crate::service::limits::TriedFrom;
use crate::service::login::Login;
use crate::telemetry::DialectName;

/// The dialect.
#[derive(Debug)]
pub struct Medama;

/// Its routes, at `/` and under `/api`.
pub fn routes() -> Routes<Medama> {
    Routes::default().change("/auth/login", login).revoke("/auth/logout", logout).get("/user", user).also_under("/api")
}

/// `POST /auth/login`: 200, no body, the cookie.
pub async fn login(
    State(app): State<App>,
    Sender(client): Sender,
    from: TriedFrom,
    cookies: Cookies,
    CodeHeader(in_header): CodeHeader,
    body: Payload<Medama>,
) -> Answer<Medama> {
    let mut fields = body.json()?;
    let login = Login {
        name: LoginName::either(&fields.text("username")?),
        password: fields.text("password")?,
        code: fields.optional_text("code")?.or(in_header),
        remembered: false,
        replaces: cookies.tokens(),
        new_password: None,
        client,
        from,
    };
    let logged_in = app.service.login(login).await?;
    let cookies = cookies.set_at_login(&logged_in.token, None, &logged_in.browser, &app.cookie);
    Ok(with_cookies(StatusCode::OK.into_response(), cookies))
}

/// `POST /auth/logout`: 204, no body, the cookie destroyed.
pub async fn logout(State(app): State<App>, request: Request) -> Answer<Medama> {
    let cookies = log_out(&app, request, ClearCookie::Always).await?;
    Ok(with_cookies(StatusCode::NO_CONTENT.into_response(), cookies))
}

/// `GET /user`: the caller as Medama's dashboard knows them.
pub async fn user(State(app): State<App>, caller: Caller<Medama>) -> Answer<Medama> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct User<'u> {
        username: &'u str,
        settings: Settings,
        date_created: i64,
        date_updated: i64,
    }
    #[derive(Serialize)]
    struct Settings {
        language: &'static str,
    }
    let (_, user) = app.service.current(&caller.principal).await?;
    let shown = User {
        username: user.username.as_str(),
        settings: Settings { language: "en" },
        date_created: user.created_at.seconds(),
        date_updated: user.updated_at.seconds(),
    };
    Ok(json(StatusCode::OK, &shown))
}

impl Dialect for Medama {
    const NAME: DialectName = DialectName::medama;
    fn refuse(refusal: &Refusal) -> Response {
        use StatusCode as S;
        let (status, message): (_, &str) = match refusal {
            Refusal::Service(Error::BadCredentials) => (S::UNAUTHORIZED, "invalid username or password"),
            Refusal::Service(Error::SecondFactorRequired { wrong: false }) => (S::UNAUTHORIZED, "code required"),
            Refusal::Service(Error::SecondFactorRequired { wrong: true }) => (S::UNAUTHORIZED, "invalid code"),
            Refusal::Service(Error::NoSession) => (S::UNAUTHORIZED, "not logged in"),
            Refusal::Service(Error::Forbidden | Error::ReauthenticationRequired) => (S::FORBIDDEN, "not allowed"),
            Refusal::Service(Error::PasswordChangeRequired) => (S::FORBIDDEN, "the password has to be changed first"),
            Refusal::Service(Error::NotFound) => (S::NOT_FOUND, "not found"),
            Refusal::Service(Error::Conflict(_)) => (S::CONFLICT, "conflict"),
            Refusal::Service(Error::Invalid { field, why }) => {
                return answer(S::BAD_REQUEST, &format!("{field} {why}"));
            }
            Refusal::Service(Error::Overloaded) => {
                return with_retry(answer(S::SERVICE_UNAVAILABLE, "too many logins at once, try again shortly"));
            }
            Refusal::Service(Error::Throttled(wait)) => {
                let message = format!("too many attempts, try again in {} s", wait.seconds());
                return with_wait(answer(S::TOO_MANY_REQUESTS, &message), *wait);
            }
            Refusal::Service(Error::StoreUnreachable(_) | Error::StoreTooSlow(_) | Error::Bug(_))
            | Refusal::Deadline => (S::INTERNAL_SERVER_ERROR, "internal server error"),
            Refusal::BadRequest(message) | Refusal::BadPage(message) => (S::BAD_REQUEST, message),
            Refusal::UnknownRoute => (S::NOT_FOUND, "no such route"),
            Refusal::WrongMethod => (S::METHOD_NOT_ALLOWED, "method not allowed"),
            Refusal::PlainHttp => (S::UPGRADE_REQUIRED, "use https"),
            Refusal::WrongPlace => (S::FORBIDDEN, "cross-site request refused"),
            Refusal::BodyTimeout | Refusal::ClientGone => (S::REQUEST_TIMEOUT, "the body did not arrive in time"),
            Refusal::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "the body is too large"),
            Refusal::WrongContentType => (S::UNSUPPORTED_MEDIA_TYPE, "send application/json"),
            Refusal::TransferCoding => (S::NOT_IMPLEMENTED, "the transfer coding is not supported"),
            Refusal::HeadTooLarge => (S::REQUEST_HEADER_FIELDS_TOO_LARGE, "too many or too large headers"),
            Refusal::Malformed => (S::BAD_REQUEST, "the body is not a JSON object"),
            Refusal::Field(error) => {
                let field = &error.field;
                let message = match &error.problem {
                    Problem::Missing => format!("{field} is required"),
                    Problem::Unknown => format!("{field} is not expected"),
                    Problem::NotText => format!("{field} must be a string"),
                    Problem::NotFlag => format!("{field} must be true or false"),
                    Problem::NotNumber => format!("{field} must be a whole number"),
                    Problem::NoneOf(words) => format!("{field} must be one of {}", words.join(", ")),
                    Problem::Unfit(sentence) => format!("{field} {sentence}"),
                };
                return answer(S::BAD_REQUEST, &message);
            }
        };
        answer(status, message)
    }
}

fn answer(status: StatusCode, message: &str) -> Response {
    #[derive(Serialize)]
    struct Envelope<'m> {
        error: Body<'m>,
    }
    #[derive(Serialize)]
    struct Body<'m> {
        code: u16,
        message: &'m str,
    }
    json(status, &Envelope { error: Body { code: status.as_u16(), message } })
}
