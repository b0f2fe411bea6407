//! Where a change may come from (CSRF), and whose pages may read answers (CORS).

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    HOST, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::single::{Single, single};
use crate::config;
use crate::domain::host::Host;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// A longer list of header names in a preflight gets no permission, in bytes.
const LONGEST_LIST: usize = 2 * 1024;

/// Which origins may do what.
#[derive(Clone, Debug)]
pub struct Origins {
    public: Option<Public>,
    allowed: Vec<config::Origin>,
}

impl Origins {
    /// Reads the rules from the configuration.
    pub fn new(http: &config::Http) -> Self {
        Self { public: http.public_url.clone().map(Public::new), allowed: http.cors_origins.clone() }
    }

    /// The origin that browsers see, if it is known.
    pub fn public(&self) -> Option<&str> {
        self.public.as_ref().map(|public| public.origin.as_str())
    }

    /// Whether a change may come from where this request comes from, header credentials aside (OWASP ASVS 3.5.1).
    ///
    /// The request must name an origin of ours, or have no such header at all, as from a client that is not a browser.
    /// Whether a cookie came does not matter, since a cross-site form arrives without it. With a public origin,
    /// `same-origin` counts only there: a page of another name that now resolves to this address (DNS rebinding) is of
    /// the same origin too, by that name.
    pub fn may_change(&self, headers: &HeaderMap) -> bool {
        let (site, origin) = (single(headers, &SEC_FETCH_SITE), single(headers, &ORIGIN));
        match (site, origin) {
            (Single::Absent, Single::Absent) => true,
            (Single::Several, _) | (_, Single::Several) => false,
            // A person asked for it, by the address bar or a bookmark, and not a page.
            (Single::Value(b"none"), _) => true,
            (Single::Value(b"same-origin"), _) if self.is_for_us(headers) => true,
            (_, Single::Value(origin)) => self.is_ours(origin, headers) || self.is_allowed(origin),
            (Single::Value(_), Single::Absent) => false,
        }
    }

    /// The origin to echo, when its pages may read the answer.
    pub fn may_read(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if !self.any_may_read() {
            return None;
        }
        match single(headers, &ORIGIN) {
            Single::Value(origin) if self.is_allowed(origin) => headers.get(ORIGIN).cloned(),
            Single::Value(_) | Single::Absent | Single::Several => None,
        }
    }

    /// What pages of a listed origin may send, for the answer to their preflight: whatever headers they ask for, since
    /// libraries for tracing add names of their own.
    pub fn may_send(&self, headers: &HeaderMap) -> HeaderMap {
        const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PATCH, DELETE");
        const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
        let mut permission = HeaderMap::new();
        if self.may_read(headers).is_none() {
            return permission;
        }
        permission.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        permission.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        let mut asked = headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter();
        if let (Some(names), None) = (asked.next(), asked.next())
            && is_list_of_names(names.as_bytes())
        {
            permission.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        permission
    }

    /// Whether pages of any other origin may read answers, so that answers vary by origin.
    pub fn any_may_read(&self) -> bool {
        !self.allowed.is_empty()
    }

    fn is_allowed(&self, origin: &[u8]) -> bool {
        self.allowed.iter().any(|allowed| allowed.as_str().as_bytes() == origin)
    }

    /// Whether the request was sent to the public origin, when one is known.
    fn is_for_us(&self, headers: &HeaderMap) -> bool {
        match (&self.public, single(headers, &HOST)) {
            (None, _) => true,
            (Some(public), Single::Value(host)) => Host::parse(host).is_some_and(|host| public.is_at(&host)),
            (Some(_), Single::Absent | Single::Several) => false,
        }
    }

    fn is_ours(&self, origin: &[u8], headers: &HeaderMap) -> bool {
        if let Some(public) = &self.public {
            return public.origin.as_str().as_bytes() == origin;
        }
        let Single::Value(host) = single(headers, &HOST) else { return false };
        // `null` and URLs with a path are no origins. Either side may omit the default port.
        let (theirs, default_port) = match (origin.strip_prefix(b"https://"), origin.strip_prefix(b"http://")) {
            (Some(rest), _) => (rest, 443),
            (None, Some(rest)) => (rest, 80),
            (None, None) => return false,
        };
        let (Some(theirs), Some(ours)) = (Host::parse(theirs), Host::parse(host)) else { return false };
        let port = |host: Host<'_>| host.port().unwrap_or(default_port);
        theirs.name().eq_ignore_ascii_case(ours.name()) && port(theirs) == port(ours)
    }
}

/// The origin that browsers see, and the host and port of it.
#[derive(Clone, Debug)]
struct Public {
    origin: config::Origin,
    host: String,
    port: u16,
    default_port: u16,
}

impl Public {
    fn new(origin: config::Origin) -> Self {
        let url = Url::parse(origin.as_str()).ok();
        let default_port = if origin.as_str().starts_with("https:") { 443 } else { 80 };
        let port = url.as_ref().and_then(Url::port).unwrap_or(default_port);
        let host = url.as_ref().and_then(Url::host_str).unwrap_or_default().to_owned();
        Self { origin, host, port, default_port }
    }

    fn is_at(&self, host: &Host<'_>) -> bool {
        host.name().eq_ignore_ascii_case(self.host.as_bytes()) && host.port().unwrap_or(self.default_port) == self.port
    }
}

/// Names of headers between commas (RFC 9110 section 5.6.1), and not `*`, which would mean all of them.
fn is_list_of_names(list: &[u8]) -> bool {
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let is_name = |name: &[u8]| !name.is_empty() && name != b"*" && name.iter().all(in_name);
    list.len() <= LONGEST_LIST && list.split(|byte| *byte == b',').all(|name| is_name(name.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Settings};

    fn origins(toml: &str) -> Origins {
        Origins::new(&Config::new(&toml::from_str::<Settings>(toml).expect("fine")).expect("fine").http)
    }

    fn request(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_str(v).expect("a value"))).collect()
    }

    #[test]
    fn without_a_public_url_the_origin_must_name_the_host_it_was_sent_to() {
        let origins = origins("");
        for (host, origin, may) in [
            ("app.example", "https://app.example", true),
            ("app.example", "http://app.example", true),
            ("app.example:443", "https://app.example", true),
            ("APP.example", "https://app.example", true),
            ("app.example:8443", "https://app.example:8443", true),
            ("app.example:8443", "https://app.example", false),
            ("app.example", "https://evil.example", false),
            ("app.example", "https://app.example.evil.example", false),
            ("app.example", "null", false),
            ("app.example", "file://app.example", false),
            ("app.example", "https://app.example/", false),
            ("app.example", "https://me@app.example", false),
            ("app.example", "https://app.example:444", false),
            ("[::1]:8080", "http://[::1]:8080", true),
        ] {
            assert_eq!(origins.may_change(&request(&[("host", host), ("origin", origin)])), may, "{host} {origin}");
        }
    }

    #[test]
    fn what_the_browser_says_of_the_site_decides_first() {
        let origins = origins("");
        for (site, may) in
            [("same-origin", true), ("none", true), ("same-site", false), ("cross-site", false), ("x", false)]
        {
            assert_eq!(origins.may_change(&request(&[("host", "a"), ("sec-fetch-site", site)])), may, "{site}");
        }
        assert!(origins.may_change(&request(&[("host", "a")])), "not a browser");
        let twice = request(&[("host", "a"), ("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")]);
        assert!(!origins.may_change(&twice));
    }

    #[test]
    fn listed_origins_may_change_and_read_and_no_others_may_read() {
        let origins = origins("cors_origins = ['https://app.example']\npublic_url = 'https://login.example'");
        let from = |origin| request(&[("host", "login.example"), ("origin", origin), ("sec-fetch-site", "cross-site")]);
        assert!(origins.may_change(&from("https://app.example")));
        assert!(origins.may_read(&from("https://app.example")).is_some());
        assert!(origins.may_change(&from("https://login.example")), "the public origin");
        assert!(origins.may_read(&from("https://login.example")).is_none(), "needs no permission");
        assert!(!origins.may_change(&from("https://app.example.evil")));
        assert!(origins.may_read(&from("https://app.example.evil")).is_none());
    }
}
