//! Where a password is tried from: the client's address, as far as it can be relied on, and what its browser keeps of earlier
//! logins.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::client_address::{Peer, client_address};
use super::state::App;
use crate::config::TrustedProxies;
use crate::service::limits::{Address, TriedFrom};

impl FromRequestParts<App> for TriedFrom {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let rules = app.rules();
        let address = match (parts.extensions.get::<Peer>(), &rules.trusted_proxies) {
            (None, _) => Address::Unknown,
            (Some(Peer(peer)), TrustedProxies::Unset) => Address::peer(*peer),
            (Some(Peer(peer)), TrustedProxies::None) => Address::known(*peer),
            (Some(Peer(peer)), TrustedProxies::Listed(_)) => match client_address(*peer, &parts.headers, &rules) {
                // A proxy that does not say for whom it asks must not stand for all of its clients.
                proxy if rules.trusted_proxies.contains(proxy) => Address::peer(proxy),
                client => Address::known(client),
            },
        };
        let browser = app.cookie.known_browser(&parts.headers, |mark| app.service.marked(mark));
        Ok(Self { address, browser })
    }
}
