//! The header in which clients send a code of the second factor beside a login.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::HeaderName;
use http::request::Parts;

use super::single::only;
use super::state::App;

const X_2FA_CODE: HeaderName = HeaderName::from_static("x-2fa-code");

/// The code that a header gives, if exactly one does.
#[derive(Debug)]
pub struct CodeHeader(pub Option<String>);

impl FromRequestParts<App> for CodeHeader {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Infallible> {
        let code = only(&parts.headers, &X_2FA_CODE);
        Ok(Self(code.map(|code| String::from_utf8_lossy(code).into_owned())))
    }
}
