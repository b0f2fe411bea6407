//! The session cookie: read from the raw header bytes, written with the same attributes set and cleared.

use std::time::Duration;

use cookie::{Cookie, Expiration, SameSite};
use http::header::{COOKIE, HOST};
use http::{HeaderMap, HeaderValue};

use crate::config;
use crate::domain::token::Token;

/// What the `Cookie` headers hold under one name.
#[derive(Debug)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// One value that has the form of a token.
    Token(Token),
    /// One value that has not.
    Garbage,
    /// Values that differ: somebody tossed one in from a neighbouring host, and nobody can say which is ours.
    Conflict,
}

/// Looks for the cookie `name`. A garbage or non-ASCII neighbour does not hide it; nothing is decoded, no quotes are
/// removed, only spaces and tabs are trimmed.
pub fn find(headers: &HeaderMap, name: &str) -> Found {
    let mut found: Option<&[u8]> = None;
    for header in headers.get_all(COOKIE) {
        for pair in header.as_bytes().split(|&byte| byte == b';') {
            let Some(equals) = pair.iter().position(|&byte| byte == b'=') else { continue };
            let (key, value) = pair.split_at(equals);
            if trim(key) != name.as_bytes() {
                continue;
            }
            let value = trim(value.get(1..).unwrap_or_default());
            if found.is_some_and(|earlier| earlier != value) {
                return Found::Conflict;
            }
            found = Some(value);
        }
    }
    match found {
        None => Found::Nothing,
        Some(value) => Token::parse(value).map_or(Found::Garbage, Found::Token),
    }
}

fn trim(bytes: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = bytes.iter().position(|byte| !blank(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    bytes.get(start..end).unwrap_or_default()
}

/// Writes the cookie.
#[derive(Clone, Debug)]
pub struct SessionCookie {
    settings: config::Cookie,
    cleared: HeaderValue,
}

impl SessionCookie {
    /// With the attributes of `settings`.
    pub fn new(settings: &config::Cookie) -> Self {
        let cleared = write(settings, settings.domain.as_deref(), "", &Life::Cleared);
        Self { settings: settings.clone(), cleared }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// The token a request carries, which a login will overwrite.
    pub fn carried(&self, request: &HeaderMap) -> Option<Token> {
        match find(request, self.name()) {
            Found::Token(token) => Some(token),
            Found::Nothing | Found::Garbage | Found::Conflict => None,
        }
    }

    /// `Set-Cookie` values that leave the browser with `token` and nothing else of that name; `remember` keeps it
    /// for so long, otherwise until the browser closes.
    pub fn set(&self, token: &Token, remember: Option<Duration>, request: &HeaderMap) -> Vec<HeaderValue> {
        let mut values = self.tossed(request);
        let life = remember.map_or(Life::Browser, Life::Remembered);
        values.push(write(&self.settings, self.settings.domain.as_deref(), token.reveal(), &life));
        values
    }

    /// `Set-Cookie` values that leave the browser with nothing of that name.
    pub fn clear(&self, request: &HeaderMap) -> Vec<HeaderValue> {
        let mut values = self.tossed(request);
        values.push(self.cleared.clone());
        values
    }

    /// When cookies conflict, clears the variants that are not ours, so that nobody is locked out for good: the one
    /// for this host alone, and the ones for it and each domain above it.
    fn tossed(&self, request: &HeaderMap) -> Vec<HeaderValue> {
        if !matches!(find(request, self.name()), Found::Conflict) {
            return Vec::new();
        }
        let ours = self.settings.domain.as_deref();
        let host = request.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        let host = host.rsplit_once(':').map_or(host, |(name, port)| if is_port(port) { name } else { host });
        // What is no plain name could be attributes of its own.
        let plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
        let named = plain && host.parse::<std::net::Ipv4Addr>().is_err();
        let above = std::iter::successors(named.then_some(host), |host| host.split_once('.').map(|(_, above)| above));
        let domains = above.take_while(|domain| domain.contains('.')).take(8).map(Some);
        std::iter::once(None)
            .chain(domains)
            .filter(|variant| *variant != ours)
            .map(|variant| write(&self.settings, variant, "", &Life::Cleared))
            .collect()
    }
}

enum Life {
    /// Until the browser closes.
    Browser,
    /// For so long.
    Remembered(Duration),
    /// No longer.
    Cleared,
}

fn write(settings: &config::Cookie, domain: Option<&str>, value: &str, life: &Life) -> HeaderValue {
    let mut cookie = Cookie::build((settings.name.as_str(), value))
        .path("/")
        .http_only(true)
        .secure(settings.secure)
        .same_site(match settings.same_site {
            config::SameSite::Lax => SameSite::Lax,
            config::SameSite::Strict => SameSite::Strict,
            config::SameSite::None => SameSite::None,
        })
        .build();
    if let Some(domain) = domain {
        cookie.set_domain(domain);
    }
    match life {
        Life::Browser => {}
        Life::Remembered(span) => cookie.set_max_age(cookie::time::Duration::try_from(*span).ok()),
        Life::Cleared => {
            cookie.set_max_age(cookie::time::Duration::ZERO);
            cookie.set_expires(Expiration::from(cookie::time::OffsetDateTime::UNIX_EPOCH));
        }
    }
    // Names and domains are checked with the configuration, and a token is base64url.
    HeaderValue::try_from(cookie.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAME: &str = "_me_sess";

    fn settings() -> config::Cookie {
        config::Cookie { name: NAME.into(), secure: true, domain: None, same_site: config::SameSite::Lax }
    }

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        lines.iter().map(|line| (COOKIE, HeaderValue::from_bytes(line).expect("a header value"))).collect()
    }

    fn token(fill: char) -> String {
        // 43 letters whose last carries no spare bits.
        std::iter::repeat_n(fill, 42).chain(['A']).collect()
    }

    fn found(lines: &[&[u8]]) -> Option<String> {
        match find(&headers(lines), NAME) {
            Found::Token(token) => Some(token.reveal().to_owned()),
            Found::Nothing | Found::Garbage | Found::Conflict => None,
        }
    }

    #[test]
    fn garbage_neighbours_do_not_hide_the_cookie() {
        let line = format!("\u{e9}=\u{fc}; =; a=\"b;c\"; {NAME} =\t{} ; _me_sess2=x", token('a'));
        assert_eq!(found(&[line.as_bytes()]), Some(token('a')));
        assert_eq!(found(&[b"x=\xff\xfe", format!("{NAME}={}", token('a')).as_bytes()]), Some(token('a')));
    }

    #[test]
    fn equal_duplicates_are_one_and_different_ones_are_a_conflict() {
        let (one, two) = (format!("{NAME}={}", token('a')), format!("{NAME}={}", token('b')));
        assert_eq!(found(&[format!("{one}; {one}").as_bytes(), one.as_bytes()]), Some(token('a')));
        for lines in [&[format!("{one}; {two}").as_bytes()][..], &[one.as_bytes(), two.as_bytes()]] {
            assert!(matches!(find(&headers(lines), NAME), Found::Conflict));
        }
        let empty = format!("{NAME}=; {one}");
        assert!(matches!(find(&headers(&[empty.as_bytes()]), NAME), Found::Conflict));
    }

    #[test]
    fn names_are_exact_and_values_are_taken_as_they_are() {
        for line in ["_ME_SESS=", "_me_sessx=", "x_me_sess=", "\"_me_sess\"="] {
            assert!(matches!(find(&headers(&[format!("{line}{}", token('a')).as_bytes()]), NAME), Found::Nothing));
        }
        let quoted = format!("{NAME}=\"{}\"", token('a'));
        assert!(matches!(find(&headers(&[quoted.as_bytes()]), NAME), Found::Garbage));
    }

    #[test]
    fn set_and_cleared_share_every_attribute() {
        let cookie = SessionCookie::new(&settings());
        let token = Token::parse(token('a').as_bytes()).expect("a token");
        let nothing = HeaderMap::new();
        assert_eq!(
            cookie.set(&token, None, &nothing),
            [format!("_me_sess={}; HttpOnly; SameSite=Lax; Secure; Path=/", token.reveal()).as_str()]
        );
        assert_eq!(
            cookie.set(&token, Some(Duration::from_mins(1)), &nothing),
            [format!("_me_sess={}; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=60", token.reveal()).as_str()]
        );
        assert_eq!(
            cookie.clear(&nothing),
            ["_me_sess=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"]
        );
    }

    #[test]
    fn a_conflict_clears_every_variant_a_neighbour_could_have_tossed() {
        let mut request = headers(&[b"_me_sess=a; _me_sess=b"]);
        request.insert(HOST, HeaderValue::from_static("login.app.example.com:8443"));
        let domains = |cookie: &SessionCookie| {
            let domain = |value: &HeaderValue| {
                let text = value.to_str().expect("ascii").to_owned();
                text.split("; ").find_map(|part| part.strip_prefix("Domain=").map(str::to_owned))
            };
            cookie.clear(&request).iter().map(domain).collect::<Vec<_>>()
        };
        let all = ["login.app.example.com", "app.example.com", "example.com"].map(|d| Some(d.to_owned()));
        let [exact, app, example] = all;
        let host_only = SessionCookie::new(&settings());
        assert_eq!(domains(&host_only), [exact.clone(), app.clone(), example.clone(), None]);
        let shared = SessionCookie::new(&config::Cookie { domain: example.clone(), ..settings() });
        assert_eq!(domains(&shared), [None, exact, app, example]);
    }

    #[test]
    fn a_host_that_is_no_plain_name_writes_nothing_into_a_cookie() {
        let cookie = SessionCookie::new(&settings());
        for host in [
            "a.b; Max-Age=999; Domain=victim.example",
            "a.b; Max-Age=999:80",
            "a.b,victim.example",
            "a b.example",
            "a.b/victim.example",
            "[2001:db8::1]:8080",
            "192.0.2.1:8080",
            "a.b\u{e9}",
        ] {
            let mut request = headers(&[b"_me_sess=a; _me_sess=b"]);
            request.insert(HOST, HeaderValue::from_bytes(host.as_bytes()).expect("a header value"));
            let host_only = SessionCookie::new(&settings()).clear(&HeaderMap::new());
            assert_eq!(cookie.clear(&request), host_only, "{host}");
            let shared = SessionCookie::new(&config::Cookie { domain: Some("a.b".into()), ..settings() });
            let cleared = [host_only, shared.clear(&HeaderMap::new())].concat();
            assert_eq!(shared.clear(&request), cleared, "{host}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_around_it_leave_it_found_or_refused(
            before in proptest::collection::vec(any::<u8>(), 0..40),
            after in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let line = [&before[..], format!("; {NAME}={}; ", token('q')).as_bytes(), &after].concat();
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                let request = HeaderMap::from_iter([(COOKIE, value)]);
                let neighbour = [before, after].concat().windows(NAME.len()).any(|w| w == NAME.as_bytes());
                if !neighbour {
                    prop_assert!(matches!(find(&request, NAME), Found::Token(_)));
                }
            }
        }
    }
}
