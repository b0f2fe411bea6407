//! The dialect, and the envelope of its refusals.

use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use crate::domain::throttle::Wait;
use crate::http::refusal::{Dialect, FieldError, Place, Problem, Refusal, json, with_retry, with_wait};
use crate::service::Error;
use crate::service::error::Conflict;

/// The dialect.
#[derive(Debug)]
pub struct Canonical;

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
    const NAME: &str = "canonical";
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
            Refusal::Service(Error::PasswordChangeRequired) => (
                S::FORBIDDEN,
                "password_change_required_error",
                "The password has to be changed: log in with `new_password` beside it",
            ),
            Refusal::Service(Error::ReauthenticationRequired) => (
                S::FORBIDDEN,
                "reauthentication_required_error",
                "Log in again first: the password was given more than 15 minutes ago",
            ),
            Refusal::Service(Error::Conflict(conflict)) => {
                let r#type = match conflict {
                    Conflict::UsernameTaken | Conflict::EmailTaken | Conflict::EnrolmentReplaced => {
                        "already_exists_error"
                    }
                    Conflict::LastAdmin | Conflict::Oneself | Conflict::MoreThanExpected => "conflict_error",
                };
                return answer(S::CONFLICT, r#type, &capitalised(&conflict.to_string()));
            }
            Refusal::Service(Error::Invalid { field, why }) => {
                let problem = Problem::Unfit(why.to_string());
                return unprocessable(&FieldError { place: Place::Body, field: (*field).into(), problem });
            }
            Refusal::Service(Error::Overloaded) => {
                let detail = "Too many logins at once, try again shortly";
                return with_retry(answer(S::SERVICE_UNAVAILABLE, "overloaded_error", detail));
            }
            Refusal::Service(Error::Throttled(wait)) => return too_many_tries(*wait),
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

/// With the headers of draft-ietf-httpapi-ratelimit-headers-10: one try is allowed once the wait is over, and none before.
fn too_many_tries(wait: Wait) -> Response {
    let seconds = wait.seconds();
    let detail =
        format!("Too many attempts, try again in {seconds} {}", if seconds == 1 { "second" } else { "seconds" });
    let mut response = with_wait(answer(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", &detail), wait);
    for (name, value) in [
        (HeaderName::from_static("ratelimit"), format!("\"tries\";r=0;t={seconds}")),
        (HeaderName::from_static("ratelimit-policy"), format!("\"tries\";q=1;w={seconds}")),
    ] {
        response.headers_mut().extend(HeaderValue::try_from(value).ok().map(|value| (name, value)));
    }
    response
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
