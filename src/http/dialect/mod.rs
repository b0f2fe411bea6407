//! The three wire contracts, one file each. A new one is a file here, a line in [`Owner`], and a row in the parity test.

use axum::response::{IntoResponse as _, Response};
use http::StatusCode;

use super::refusal::{Dialect as _, Refusal, with_retry};
use crate::service::Error;

pub mod canonical;
pub mod medama;
pub mod rocketchat;

/// Whose words a path speaks, known before any route is: unknown routes are refused in them too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// `/api/v1/auth/*` and `/api/v1/admin/*`.
    Canonical,
    /// Everything else under `/api/v1/`.
    RocketChat,
    /// `/verify*`: for machines, so statuses and no words.
    Verify,
    /// All the rest.
    Medama,
}

impl Owner {
    /// Whose path it is.
    pub fn of(path: &str) -> Self {
        let under =
            |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if under("/api/v1/auth") || under("/api/v1/admin") {
            Self::Canonical
        } else if under("/api/v1") {
            Self::RocketChat
        } else if under("/verify") {
            Self::Verify
        } else {
            Self::Medama
        }
    }

    /// A refusal in its words.
    pub fn refuse(self, refusal: &Refusal) -> Response {
        match self {
            Self::Canonical => canonical::Canonical::refuse(refusal),
            Self::RocketChat => rocketchat::RocketChat::refuse(refusal),
            Self::Medama => medama::Medama::refuse(refusal),
            Self::Verify => wordless(refusal),
        }
    }
}

/// A refusal as a status alone. Whatever cannot be decided is 503, which no proxy takes for an allowance.
pub fn wordless(refusal: &Refusal) -> Response {
    let status = match refusal {
        Refusal::Service(Error::NoSession | Error::BadCredentials) => StatusCode::UNAUTHORIZED,
        Refusal::Service(Error::Forbidden) | Refusal::WrongPlace => StatusCode::FORBIDDEN,
        Refusal::Service(Error::NotFound) | Refusal::UnknownRoute => StatusCode::NOT_FOUND,
        Refusal::Service(Error::Conflict(_)) => StatusCode::CONFLICT,
        Refusal::Service(Error::StoreUnreachable(_) | Error::StoreTooSlow(_) | Error::Overloaded)
        | Refusal::Deadline => return with_retry(StatusCode::SERVICE_UNAVAILABLE.into_response()),
        Refusal::Service(Error::Bug(_)) => StatusCode::INTERNAL_SERVER_ERROR,
        Refusal::Service(Error::Invalid { .. })
        | Refusal::BadRequest(_)
        | Refusal::Malformed
        | Refusal::Field(_)
        | Refusal::BadPage(_) => StatusCode::BAD_REQUEST,
        Refusal::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
        Refusal::BodyTimeout | Refusal::ClientGone => StatusCode::REQUEST_TIMEOUT,
        Refusal::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::WrongContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Refusal::TransferCoding => StatusCode::NOT_IMPLEMENTED,
        Refusal::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    };
    status.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_one_owner() {
        for (path, owner) in [
            ("/api/v1/auth", Owner::Canonical),
            ("/api/v1/auth/nothing", Owner::Canonical),
            ("/api/v1/admin/users", Owner::Canonical),
            ("/api/v1/authx", Owner::RocketChat),
            ("/api/v1/logout", Owner::RocketChat),
            ("/api/v1", Owner::RocketChat),
            ("/api/v10", Owner::Medama),
            ("/api/auth/logout", Owner::Medama),
            ("/verify", Owner::Verify),
            ("/verify/nginx", Owner::Verify),
            ("/verifyx", Owner::Medama),
            ("/", Owner::Medama),
            ("", Owner::Medama),
        ] {
            assert_eq!(Owner::of(path), owner, "{path}");
        }
    }
}
