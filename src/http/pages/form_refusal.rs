//! What a form that is shown again says of the refusal, in the box above its fields.

use std::borrow::Cow;

use axum::response::Response;
use http::StatusCode;

use super::texts::Texts;
use crate::domain::throttle::Wait;
use crate::http::refusal::{with_retry, with_wait};
use crate::service::Error;
use crate::service::error::Conflict;

/// A refusal in words for the box above a form.
#[derive(Debug)]
pub struct FormRefusal {
    /// The status of the page.
    pub status: StatusCode,
    /// What the box says.
    pub words: Cow<'static, str>,
    /// When the form may be sent again.
    pub retry: Retry,
}

/// When a form may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// At once.
    Now,
    /// Soon, when there is room.
    Soon,
    /// After so long.
    After(Wait),
}

impl Retry {
    /// The page with what it says of this.
    pub fn on(self, page: Response) -> Response {
        match self {
            Self::Now => page,
            Self::Soon => with_retry(page),
            Self::After(wait) => with_wait(page, wait),
        }
    }
}

impl FormRefusal {
    /// The refusal of a password or a code that was typed into the form.
    ///
    /// # Errors
    /// For what a page of its own is about.
    pub fn new(error: Error, t: &Texts) -> Result<Self, Error> {
        let (status, words, retry) = match error {
            Error::BadCredentials => (StatusCode::UNAUTHORIZED, t.wrong_current_password.into(), Retry::Now),
            Error::SecondFactorRequired { wrong: true } => (StatusCode::UNAUTHORIZED, t.wrong_code.into(), Retry::Now),
            Error::SecondFactorRequired { wrong: false } => {
                (StatusCode::UNPROCESSABLE_ENTITY, t.code_required.into(), Retry::Now)
            }
            Error::Conflict(Conflict::EnrolmentReplaced) => (StatusCode::CONFLICT, t.enrolment_over.into(), Retry::Now),
            Error::Invalid { field: "new_password", why } => {
                (StatusCode::UNPROCESSABLE_ENTITY, (t.unusable_password)(why), Retry::Now)
            }
            Error::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, t.overloaded.into(), Retry::Soon),
            Error::Throttled(wait) => {
                (StatusCode::TOO_MANY_REQUESTS, t.too_many_tries(wait).into(), Retry::After(wait))
            }
            other @ (Error::NoSession
            | Error::Forbidden
            | Error::NotFound
            | Error::PasswordChangeRequired
            | Error::ReauthenticationRequired
            | Error::Conflict(_)
            | Error::Invalid { .. }
            | Error::StoreUnreachable(_)
            | Error::StoreTooSlow(_)
            | Error::Bug(_)) => return Err(other),
        };
        Ok(Self { status, words, retry })
    }
}
