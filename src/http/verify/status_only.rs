//! The dialect of `/verify`: statuses without a body, since the clients are proxies.

use axum::response::{IntoResponse as _, Response};
use http::StatusCode;

use crate::http::refusal::{Dialect, Refusal, with_retry, with_wait};
use crate::service::Error;

/// The dialect. Any method is a check, OPTIONS too.
#[derive(Debug)]
pub struct StatusOnly;

impl Dialect for StatusOnly {
    const NAME: &str = "verify";
    const FOR_PAGES: bool = false;

    /// A check that cannot be decided is 503, which no proxy takes for "allowed".
    fn refuse(refusal: &Refusal) -> Response {
        let status = match refusal {
            Refusal::Service(Error::NoSession | Error::BadCredentials | Error::SecondFactorRequired { .. }) => {
                StatusCode::UNAUTHORIZED
            }
            Refusal::Service(Error::Forbidden | Error::PasswordChangeRequired | Error::ReauthenticationRequired)
            | Refusal::WrongPlace => StatusCode::FORBIDDEN,
            Refusal::Service(Error::NotFound) | Refusal::UnknownRoute => StatusCode::NOT_FOUND,
            Refusal::Service(Error::Conflict(_)) => StatusCode::CONFLICT,
            Refusal::Service(Error::StoreUnreachable(_) | Error::StoreTooSlow(_) | Error::Overloaded)
            | Refusal::Deadline => return with_retry(StatusCode::SERVICE_UNAVAILABLE.into_response()),
            Refusal::Service(Error::Throttled(wait)) => {
                return with_wait(StatusCode::TOO_MANY_REQUESTS.into_response(), *wait);
            }
            Refusal::Service(Error::Bug(_)) => StatusCode::INTERNAL_SERVER_ERROR,
            Refusal::Service(Error::Invalid { .. })
            | Refusal::BadRequest(_)
            | Refusal::Malformed
            | Refusal::Field(_)
            | Refusal::BadPage(_) => StatusCode::BAD_REQUEST,
            Refusal::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::BodyTimeout | Refusal::ClientGone => StatusCode::REQUEST_TIMEOUT,
            Refusal::PlainHttp => StatusCode::UPGRADE_REQUIRED,
            Refusal::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::WrongContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Refusal::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        };
        status.into_response()
    }
}
