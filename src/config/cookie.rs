//! The session cookie's attributes, and which of them contradict each other.

use serde::Deserialize;
use url::Url;

use super::{BadConfig, Origin, Settings, bad};

/// Which requests from other sites carry the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SameSite {
    /// Navigations alone.
    Lax,
    /// None.
    Strict,
    /// All; needs `Secure`.
    None,
}

/// The attributes of the session cookie.
#[derive(Clone, Debug)]
pub struct Cookie {
    /// See [`Settings::cookie_name`].
    pub name: String,
    /// See [`Settings::cookie_secure`].
    pub secure: bool,
    /// See [`Settings::cookie_domain`].
    pub domain: Option<String>,
    /// See [`Settings::cookie_samesite`].
    pub same_site: SameSite,
}

pub(super) fn cookie(settings: &Settings) -> Result<Cookie, BadConfig> {
    let name = settings.cookie_name.clone().unwrap_or_else(|| String::from("_me_sess"));
    let secure = settings.cookie_secure.unwrap_or(true);
    let same_site = settings.cookie_samesite.unwrap_or(SameSite::Lax);
    let domain = settings.cookie_domain.clone();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return bad(format!("cookie_name `{name}` is not a cookie name: use letters, digits, - and _"));
    }
    if !secure && name.starts_with("__") && (name.starts_with("__Host-") || name.starts_with("__Secure-")) {
        return bad(format!(
            "browsers refuse a cookie named `{name}` that is not Secure: set cookie_secure = true or choose another cookie_name"
        ));
    }
    if domain.is_some() && name.starts_with("__Host-") {
        return bad(format!(
            "browsers refuse a cookie named `{name}` that has a Domain: drop cookie_domain or name it __Secure-…"
        ));
    }
    if !secure && same_site == SameSite::None {
        return bad(
            "browsers refuse a SameSite=None cookie that is not Secure: set cookie_secure = true or cookie_samesite = \"lax\"",
        );
    }
    if let Some(domain) = &domain {
        let label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        if domain.is_empty() || domain.starts_with('.') || !domain.bytes().all(label) {
            return bad(format!(
                "cookie_domain `{domain}` is not a domain: write one such as example.com, without a leading dot"
            ));
        }
    }
    if let Some(public) = settings.public_url.as_ref().map(Origin::as_str) {
        let host = Url::parse(public).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        let local = matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]") || host.ends_with(".localhost");
        if secure && public.starts_with("http://") && !local {
            return bad(format!(
                "browsers drop a Secure cookie on {public}: serve it over https, or set cookie_secure = false"
            ));
        }
        let covered = |domain: &String| host == *domain || host.ends_with(&format!(".{domain}"));
        if let Some(domain) = domain.as_ref().filter(|domain| !covered(domain)) {
            return bad(format!("cookie_domain `{domain}` does not cover {public}: browsers would refuse the cookie"));
        }
    }
    Ok(Cookie { name, secure, domain, same_site })
}
