//! The administrator that a page is for. To others, the page is not there.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;

use crate::domain::event::Asked;
use crate::domain::principal::Principal;
use crate::domain::session::Client;
use crate::http::pages::dialect::Pages;
use crate::http::pages::signed_in::to_login;
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
    /// The same administrator, who asks for an act that the path names.
    #[must_use]
    pub fn asking_for(mut self, act: &str) -> Self {
        self.asked.what = self.asked.what.replace("{act}", act);
        self
    }

    /// What they may do.
    ///
    /// # Errors
    /// [`Error::NotFound`] for one who is none.
    pub fn powers<'a>(&'a self, app: &'a App) -> Result<Admin<'a>, Error> {
        app.service.admin(&self.principal, &self.client, &self.asked).map_err(|_| Error::NotFound)
    }
}

impl FromRequestParts<App> for Administrator {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let principal = match Caller::<Pages>::from_request_parts(parts, app).await {
            Ok(caller) => caller.principal,
            Err(refused) if refused.is_no_session() => {
                let page = parts.uri.path_and_query().map_or("/admin", |page| page.as_str());
                return Err(to_login(parts, page, app));
            }
            Err(refused) => return Err(refused.into_response()),
        };
        let Ok(Sender(client)) = Sender::from_request_parts(parts, app).await;
        let Ok(asked) = Asked::from_request_parts(parts, app).await;
        let administrator = Self { principal, client, asked };
        match administrator.powers(app) {
            Ok(_) => Ok(administrator),
            Err(error) => Err(Refused::<Pages>::from(error).into_response()),
        }
    }
}
