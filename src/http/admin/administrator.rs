//! The administrator whose request it is, and what the routes here have in common.

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::Serialize;

use crate::domain::event::Asked;
use crate::domain::principal::Principal;
use crate::domain::session::Client;
use crate::http::dialect::canonical::Canonical;
use crate::http::refusal::Refused;
use crate::http::request::client_address::Sender;
use crate::http::request::credential::Caller;
use crate::http::request::state::App;
use crate::service::Error;
use crate::service::admin::Admin;

/// An administrator, and where the request came from.
#[derive(Debug)]
pub struct Administrator {
    /// The user and session that the request is made by.
    pub principal: Principal,
    client: Client,
    asked: Asked,
}

impl Administrator {
    /// What they may do.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub fn powers<'a>(&'a self, app: &'a App) -> Result<Admin<'a>, Error> {
        app.service.admin(&self.principal, &self.client, &self.asked)
    }
}

impl FromRequestParts<App> for Administrator {
    type Rejection = Refused<Canonical>;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused<Canonical>> {
        let Caller { principal, .. } = Caller::<Canonical>::from_request_parts(parts, app).await?;
        let Ok(Sender(client)) = Sender::from_request_parts(parts, app).await;
        let Ok(asked) = Asked::from_request_parts(parts, app).await;
        let administrator = Self { principal, client, asked };
        administrator.powers(app)?;
        Ok(administrator)
    }
}

/// How many sessions ended.
#[derive(Debug, Serialize)]
pub struct Revoked {
    /// As many.
    pub revoked: usize,
}
