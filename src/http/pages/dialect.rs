//! The pages as a dialect: a refusal is a page.

use axum::response::Response;
use http::StatusCode;

use super::render::PageError;
use crate::http::refusal::{Dialect, Refusal, with_retry, with_wait};
use crate::service::Error;

/// The pages as a dialect: a refusal is a page, which [`errors`](super::errors) renders in the language of the reader.
#[derive(Debug)]
pub struct Pages;

impl Dialect for Pages {
    const NAME: &str = "pages";
    const FOR_PAGES: bool = false;
    const FOR_BROWSERS: bool = true;

    fn refuse(refusal: &Refusal) -> Response {
        use StatusCode as S;
        if matches!(refusal, Refusal::Service(Error::ReauthenticationRequired)) {
            return PageError::Reauthenticate.response();
        }
        let status = match refusal {
            Refusal::Service(Error::NoSession | Error::BadCredentials | Error::SecondFactorRequired { .. }) => {
                S::UNAUTHORIZED
            }
            Refusal::Service(Error::Forbidden | Error::PasswordChangeRequired | Error::ReauthenticationRequired)
            | Refusal::WrongPlace => S::FORBIDDEN,
            Refusal::Service(Error::NotFound) | Refusal::UnknownRoute => S::NOT_FOUND,
            Refusal::Service(Error::Conflict(_)) => S::CONFLICT,
            Refusal::Service(Error::Throttled(wait)) => {
                return with_wait(PageError::Status(S::TOO_MANY_REQUESTS).response(), *wait);
            }
            Refusal::Service(Error::Overloaded | Error::StoreUnreachable(_) | Error::StoreTooSlow(_))
            | Refusal::Deadline => S::SERVICE_UNAVAILABLE,
            Refusal::Service(Error::Bug(_)) => S::INTERNAL_SERVER_ERROR,
            Refusal::Service(Error::Invalid { .. }) | Refusal::Field(_) => S::UNPROCESSABLE_ENTITY,
            Refusal::BadRequest(_) | Refusal::Malformed | Refusal::BadPage(_) => S::BAD_REQUEST,
            Refusal::WrongMethod => S::METHOD_NOT_ALLOWED,
            Refusal::PlainHttp => S::UPGRADE_REQUIRED,
            Refusal::BodyTimeout | Refusal::ClientGone => S::REQUEST_TIMEOUT,
            Refusal::BodyTooLarge => S::PAYLOAD_TOO_LARGE,
            Refusal::WrongContentType => S::UNSUPPORTED_MEDIA_TYPE,
            Refusal::TransferCoding => S::NOT_IMPLEMENTED,
            Refusal::HeadTooLarge => S::REQUEST_HEADER_FIELDS_TOO_LARGE,
        };
        let response = PageError::Status(status).response();
        if status == S::SERVICE_UNAVAILABLE { with_retry(response) } else { response }
    }
}

#[cfg(test)]
mod tests {
    use http::header::RETRY_AFTER;

    use super::*;

    #[test]
    fn what_may_work_a_little_later_says_when_to_try_again() {
        for (refusal, wanted) in [(Refusal::Deadline, true), (Refusal::UnknownRoute, false)] {
            assert_eq!(Pages::refuse(&refusal).headers().contains_key(RETRY_AFTER), wanted, "{refusal:?}");
        }
    }
}
