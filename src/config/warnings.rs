//! What of a configuration is allowed and unsafe: a sentence each, for the log at the start and for `check-config`.

use std::net::Ipv6Addr;
use std::time::Duration;

use ipnet::IpNet;
use url::{Host, Url};

use super::values::format_span;
use super::{Config, Http, Origin, TrustedProxies};

/// Browsers keep no cookie for longer (RFC 6265bis, section 5.5), so nothing that is meant lives beyond it.
const ENDLESS: Duration = Duration::from_hours(400 * 24);

impl Config {
    /// Every unsafe setting, in a sentence that says what to write instead.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.loose_files.clone();
        listeners(&self.http, &mut warnings);
        trust(&self.http, &mut warnings);
        warnings.extend(self.http.out_of_reach().map(|(_, why)| why));
        for (kind, life) in
            [("session", self.sessions.lifetimes.plain), ("remembered", self.sessions.lifetimes.remembered)]
        {
            if life.absolute > ENDLESS {
                warnings.push(format!(
                    "{kind}_absolute is {}: a stolen token works as long; write 400d at most",
                    format_span(life.absolute)
                ));
            }
        }
        warnings
    }
}

impl Http {
    /// The origins to which people are sent back and which the cookie does not reach, each with a sentence that says why.
    pub fn out_of_reach(&self) -> impl Iterator<Item = (&Origin, String)> {
        self.allowed_return_origins.iter().filter_map(|origin| Some((origin, out_of_reach(self, origin)?)))
    }
}

fn listeners(http: &Http, warnings: &mut Vec<String>) {
    let Http { listen, ops_listen, public_url, trusted_proxies, cookie, .. } = http;
    let public = !listen.ip().to_canonical().is_loopback() || public_url.as_ref().is_some_and(|url| !is_local(url));
    if public && !cookie.secure {
        warnings.push(String::from(
            "cookie_secure is false where others connect: the session cookie can be read on the way; serve over https, and write cookie_secure = true",
        ));
    }
    if *trusted_proxies == TrustedProxies::Unset {
        warnings.push(String::from(
            "trusted_proxies is not set: behind a proxy every client seems to have the proxy's address, so wrong passwords are not limited by address; write the proxy's address into trusted_proxies, or none where clients connect by themselves",
        ));
    }
    if !ops_listen.ip().to_canonical().is_loopback() {
        warnings.push(format!(
            "ops_listen is {ops_listen}: readiness and metrics are shown to all who reach it; keep clients away from that port, or write 127.0.0.1"
        ));
    }
}

fn trust(http: &Http, warnings: &mut Vec<String>) {
    for network in http.trusted_proxies.networks().iter().filter(|network| is_everybody(network)) {
        warnings.push(format!(
            "trusted_proxies holds {network}: any client can pass for another address; write the proxies' own addresses"
        ));
    }
    for origin in http.cors_origins.iter().filter(|origin| origin.as_str().starts_with("http://") && !is_local(origin))
    {
        warnings.push(format!(
            "cors_origins holds {}: the network on the way to it can act for its users; serve it over https",
            origin.as_str()
        ));
    }
}

/// Why the cookie does not reach an origin to which people are sent back, who would be asked to sign in again there.
fn out_of_reach(http: &Http, origin: &Origin) -> Option<String> {
    let host = |origin: &Origin| Url::parse(origin.as_str()).ok()?.host_str().map(str::to_owned);
    let (name, there) = (origin.as_str(), host(origin)?);
    if http.cookie.secure && name.starts_with("http://") && !is_local(origin) {
        return Some(format!(
            "allowed_return_origins holds {name}: browsers send no Secure cookie there; serve it over https"
        ));
    }
    match (&http.cookie.domain, &http.public_url) {
        (Some(domain), _) if there == *domain || there.ends_with(&format!(".{domain}")) => None,
        (Some(domain), _) => Some(format!(
            "allowed_return_origins holds {name}: the cookie's domain {domain} does not cover it; choose another cookie_domain"
        )),
        (None, Some(public)) if host(public).as_ref() == Some(&there) => None,
        (None, _) => Some(format!(
            "allowed_return_origins holds {name}: the cookie belongs to the host of public_url alone; set cookie_domain to a domain of both"
        )),
    }
}

/// Whether a network is wider than any private one: `10.0.0.0/8`, and `fc00::/7` (RFC 1918, RFC 4193).
fn is_everybody(network: &IpNet) -> bool {
    const MAPPED: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0);
    match network {
        IpNet::V4(network) => network.prefix_len() < 8,
        IpNet::V6(network) if network.network().to_ipv4_mapped().is_some() => network.prefix_len() < 96 + 8,
        IpNet::V6(network) => network.prefix_len() < 7 || network.contains(&MAPPED),
    }
}

/// Whether an origin is on this machine.
fn is_local(origin: &Origin) -> bool {
    let url = Url::parse(origin.as_str()).ok();
    match url.as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn warnings(toml: &str) -> Vec<String> {
        let settings: Settings = toml::from_str(toml).expect(toml);
        Config::new(&settings).expect(toml).warnings()
    }

    #[test]
    fn what_is_safe_is_not_warned_of() {
        for toml in [
            "trusted_proxies = 'none'",
            "trusted_proxies = 'none'\ncookie_secure = false",
            "trusted_proxies = 'none'\ncookie_secure = false\npublic_url = 'http://localhost:8080'",
            "trusted_proxies = 'none'\nlisten = '0.0.0.0:8080'",
            "listen = '0.0.0.0:8080'\ntrusted_proxies = ['10.0.0.0/8', '192.0.2.7', 'fc00::/7', '::ffff:10.0.0.0/104']",
            "trusted_proxies = 'none'\nlisten = '[::1]:8080'\npublic_url = 'https://login.example.com'",
            "trusted_proxies = 'none'\nlisten = '[::ffff:127.0.0.1]:8080'",
            "trusted_proxies = 'none'\nremembered_absolute = '400d'\nremembered_idle = '90d'",
            "trusted_proxies = 'none'\ncors_origins = ['https://app.example.com', 'http://localhost:3000', 'http://[::1]:3000']",
        ] {
            assert_eq!(warnings(toml), Vec::<String>::new(), "{toml}");
        }
    }

    #[test]
    fn an_origin_to_return_to_that_the_cookie_does_not_reach_is_named() {
        const PUBLIC: &str = "public_url = 'https://auth.example.com'";
        for (settings, origin, words) in [
            ("", "https://auth.example.com:8443", None),
            ("", "https://app.example.com", Some("set cookie_domain to a domain of both")),
            ("cookie_domain = 'example.com'", "https://app.example.com", None),
            ("cookie_domain = 'example.com'", "https://example.com", None),
            ("cookie_domain = 'example.com'", "https://app.example.org", Some("does not cover it")),
            ("cookie_domain = 'example.com'", "https://badexample.com", Some("does not cover it")),
            ("cookie_domain = 'example.com'", "http://app.example.com", Some("serve it over https")),
            ("cookie_domain = 'example.com'\ncookie_secure = false", "http://app.example.com", None),
        ] {
            let warned = warnings(&format!("{PUBLIC}\nallowed_return_origins = ['{origin}']\n{settings}"));
            let about_it: Vec<_> = warned.iter().filter(|warning| warning.contains(origin)).collect();
            assert_eq!(about_it.len(), usize::from(words.is_some()), "{settings} {origin}: {warned:?}");
            assert!(words.is_none_or(|words| about_it.iter().all(|warning| warning.contains(words))), "{warned:?}");
        }
    }

    #[test]
    fn each_unsafe_setting_is_warned_of_once() {
        const TRUST: &str = "trusted_proxies = ['192.0.2.7']";
        for (toml, words) in [
            (format!("listen = '192.0.2.1:8080'\ncookie_secure = false\n{TRUST}"), "cookie_secure is false"),
            (format!("listen = ':8080'\ncookie_secure = false\n{TRUST}"), "cookie_secure is false"),
            (
                format!("public_url = 'http://login.example.com'\ncookie_secure = false\n{TRUST}"),
                "cookie_secure is false",
            ),
            (String::new(), "trusted_proxies is not set"),
            (String::from("listen = '[::]:8080'"), "trusted_proxies is not set"),
            (String::from("listen = '10.1.2.3:8080'"), "trusted_proxies is not set"),
            (format!("ops_listen = '0.0.0.0:9090'\n{TRUST}"), "ops_listen is 0.0.0.0:9090"),
            (String::from("trusted_proxies = ['0.0.0.0/0']"), "any client can pass for another address"),
            (String::from("trusted_proxies = ['0.0.0.0/1']"), "any client can pass for another address"),
            (String::from("trusted_proxies = ['::/0']"), "any client can pass for another address"),
            (String::from("trusted_proxies = ['2000::/3']"), "any client can pass for another address"),
            (String::from("trusted_proxies = ['::ffff:0.0.0.0/96']"), "any client can pass for another address"),
            (String::from("trusted_proxies = ['::/64']"), "any client can pass for another address"),
            (format!("session_absolute = '401d'\n{TRUST}"), "session_absolute is"),
            (format!("remembered_absolute = '1000years'\n{TRUST}"), "remembered_absolute is"),
            (
                format!("cors_origins = ['http://app.example.com']\n{TRUST}"),
                "cors_origins holds http://app.example.com",
            ),
        ] {
            let warnings = warnings(&toml);
            assert!(
                warnings.len() == 1 && warnings.iter().all(|warning| warning.contains(words)),
                "{toml}: {warnings:?}"
            );
        }
    }

    #[test]
    fn a_secret_that_others_can_read_or_change_is_warned_of() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("secret");
        std::fs::write(&path, "a-long-password-of-yours").expect("written");
        for (mode, words) in [
            (0o600, None),
            (0o400, None),
            (0o640, None),
            (0o644, Some("every user of the machine can read")),
            (0o660, Some("can be changed by another user")),
            (0o602, Some("can be changed by another user")),
        ] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
            let warnings = warnings(&format!("admin_password_file = '{}'", path.display()));
            let expected: Vec<_> = words.into_iter().collect();
            assert_eq!(warnings.len(), expected.len(), "{mode:o}: {warnings:?}");
            assert!(
                warnings.iter().zip(expected).all(|(warning, words)| warning.contains(words)),
                "{mode:o}: {warnings:?}"
            );
        }
    }
}
