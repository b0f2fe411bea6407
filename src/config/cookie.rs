//! The session cookie's attributes, and which of them contradict each other.

use std::net::IpAddr;

use url::Url;

use super::error::{BadConfig, bad};
use super::origin::Origin;
use super::settings::Complete;
use super::values::SameSite;

/// The attributes of the session cookie.
#[derive(Clone, Debug)]
pub struct Cookie {
    /// See [`super::Settings::cookie_name`].
    pub name: String,
    /// See [`super::Settings::cookie_secure`].
    pub secure: bool,
    /// See [`super::Settings::cookie_domain`].
    pub domain: Option<String>,
    /// See [`super::Settings::cookie_samesite`].
    pub same_site: SameSite,
}

pub(super) fn cookie(settings: &Complete) -> Result<Cookie, BadConfig> {
    let name = settings.cookie_name.clone();
    let secure = settings.cookie_secure;
    let same_site = settings.cookie_samesite;
    let domain = settings.cookie_domain.clone();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return bad(format!("cookie_name `{name}` is not a cookie name: use letters, digits, - and _"));
    }
    // Whatever the case of the prefix (RFC 6265bis, section 5.7).
    let prefixed = |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    if !secure && (prefixed("__Host-") || prefixed("__Secure-")) {
        return bad(format!(
            "browsers refuse a cookie named `{name}` that is not Secure: set cookie_secure = true or choose another cookie_name"
        ));
    }
    if domain.is_some() && prefixed("__Host-") {
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
        refuse_unfit_domain(domain)?;
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

/// What browsers refuse as a cookie's `Domain` (RFC 6265bis, section 5.1.3), or take for something else.
fn refuse_unfit_domain(domain: &str) -> Result<(), BadConfig> {
    let fits =
        |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let last = domain.rsplit_once('.').map(|(_, last)| last);
    // A name whose last label is a number is an IPv4 address (WHATWG URL, section 3.5).
    let numeric = |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit());
    if domain.parse::<IpAddr>().is_ok() || last.is_some_and(numeric) {
        return bad(format!("cookie_domain `{domain}` is an address, which shares no cookie: drop cookie_domain"));
    }
    if !domain.split('.').all(fits) {
        return bad(format!(
            "cookie_domain `{domain}` is not a domain: write one such as example.com, without a dot at either end"
        ));
    }
    if last.is_none() {
        return bad(format!(
            "cookie_domain `{domain}` is a single label, which browsers refuse: write one such as example.com, or drop cookie_domain"
        ));
    }
    Ok(())
}
