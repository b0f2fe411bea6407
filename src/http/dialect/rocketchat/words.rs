//! The dialect, and its several shapes of refusal.

use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use crate::domain::throttle::Wait;
use crate::http::refusal::{Dialect, Problem, Refusal, json, with_retry, with_wait};
use crate::service::Error;

/// The dialect.
#[derive(Debug)]
pub struct RocketChat;

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
    const NAME: &str = "rocketchat";
    fn refuse(refusal: &Refusal) -> Response {
        use StatusCode as S;
        let (status, error) = match refusal {
            // Its clients know no step between the two: a password that has to be changed does not log in.
            Refusal::Service(Error::BadCredentials | Error::PasswordChangeRequired) => return unauthorized(),
            Refusal::Service(Error::SecondFactorRequired { wrong }) => return second_factor(*wrong),
            Refusal::Service(Error::NoSession) => return not_logged_in(),
            Refusal::Service(Error::Forbidden | Error::ReauthenticationRequired) => {
                (S::FORBIDDEN, "User does not have the permissions required for this action [error-unauthorized]")
            }
            Refusal::Service(Error::NotFound) => (S::BAD_REQUEST, "Session not found"),
            Refusal::Service(Error::Conflict(_)) => (S::CONFLICT, "Conflict"),
            Refusal::Service(Error::Invalid { why, .. }) => return invalid(&why.to_string()),
            Refusal::Service(Error::Throttled(wait)) => return too_many_requests(*wait),
            Refusal::Service(Error::Overloaded | Error::StoreUnreachable(_) | Error::StoreTooSlow(_))
            | Refusal::Deadline => return with_retry(plain(S::SERVICE_UNAVAILABLE, "Service unavailable")),
            Refusal::Service(Error::Bug(_)) => (S::INTERNAL_SERVER_ERROR, "Internal server error"),
            Refusal::BadRequest(error) | Refusal::BadPage(error) => (S::BAD_REQUEST, *error),
            Refusal::UnknownRoute => (S::NOT_FOUND, "Not found"),
            Refusal::WrongMethod => (S::METHOD_NOT_ALLOWED, "Method not allowed"),
            Refusal::PlainHttp => (S::UPGRADE_REQUIRED, "Use https"),
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

/// One try is allowed once the wait is over, and none before.
fn too_many_requests(wait: Wait) -> Response {
    let seconds = wait.seconds();
    let error = format!(
        "Error, too many requests. Please slow down. You must wait {seconds} seconds before trying this endpoint again. [error-too-many-requests]"
    );
    let mut response = with_wait(plain(StatusCode::TOO_MANY_REQUESTS, &error), wait);
    for (name, value) in
        [("x-ratelimit-limit", 1), ("x-ratelimit-remaining", 0), ("x-ratelimit-reset", wait.end().millis())]
    {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from(value));
    }
    response
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

/// The password was right, and the code of the second factor is missing or wrong.
fn second_factor(wrong: bool) -> Response {
    #[derive(Serialize)]
    struct SecondFactor {
        success: bool,
        status: &'static str,
        error: &'static str,
        message: &'static str,
        details: Details,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Details {
        method: &'static str,
        code_generated: bool,
        available_methods: [&'static str; 1],
    }
    let (error, message) = if wrong { ("totp-invalid", "TOTP Invalid") } else { ("totp-required", "TOTP Required") };
    let details = Details { method: "totp", code_generated: false, available_methods: ["totp"] };
    let body = SecondFactor { success: false, status: "error", error, message, details };
    json(StatusCode::UNAUTHORIZED, &body)
}
