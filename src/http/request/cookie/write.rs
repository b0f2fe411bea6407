//! Writes the session cookie: sets and clears it with the same attributes, and clears others of its name.

use std::time::Duration;

use cookie::{Cookie, Expiration, SameSite};
use http::header::HOST;
use http::{HeaderMap, HeaderValue};

use super::read::values;
use crate::config;
use crate::domain::throttle::BrowserMark;
use crate::domain::token::Token;
use crate::service::limits::MOST_MARKS;
use crate::service::login_code::PATIENCE;

/// Writes the cookie, and beside it the one by which a browser is known that has logged in.
#[derive(Clone, Debug)]
pub struct SessionCookie {
    settings: config::Cookie,
    /// The name of the other one.
    known: String,
    cleared: HeaderValue,
}

impl SessionCookie {
    /// With the attributes of `settings`.
    pub fn new(settings: &config::Cookie) -> Self {
        let cleared = write(settings, &settings.name, (settings.domain.as_deref(), "/"), "", &Life::Cleared);
        Self { settings: settings.clone(), known: format!("{}_known", settings.name), cleared }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// The `Set-Cookie` values after which the browser has `token` and no other cookie of that name. It is kept for as
    /// long as `remember` says, otherwise until the browser closes.
    pub fn set(&self, token: &Token, remember: Option<Duration>, others: &Others) -> Vec<HeaderValue> {
        let life = remember.map_or(Life::Browser, Life::Remembered);
        let Self { settings, .. } = self;
        let ours = write(settings, &settings.name, (settings.domain.as_deref(), "/"), token.reveal(), &life);
        others.0.iter().cloned().chain([ours]).collect()
    }

    /// The name of the cookie by which a browser is known whose login waits for a code. Unlike the session's it goes to the
    /// pages of signing in alone, as `__Host-` would not allow.
    fn waiting_name(&self) -> String {
        let name = self.name();
        let plain = name.get(HOST_PREFIX.len()..).filter(|_| is_for_host(name)).unwrap_or(name);
        format!("{plain}_code")
    }

    /// The tokens by which a browser may be known whose login waits for a code.
    pub fn waiting(&self, headers: &HeaderMap) -> Vec<Token> {
        values(headers, &self.waiting_name()).filter_map(Token::parse).take(MOST_WAITING).collect()
    }

    /// The `Set-Cookie` value after which the browser is known as one whose login waits for a code; or, without a token,
    /// after which it is not.
    pub fn set_waiting(&self, token: Option<&Token>) -> HeaderValue {
        let mut cookie = Cookie::build((self.waiting_name(), token.map_or("", Token::reveal)))
            .path("/login")
            .http_only(true)
            .secure(self.settings.secure)
            .same_site(SameSite::Strict)
            .build();
        let age = if token.is_some() { PATIENCE } else { Duration::ZERO };
        cookie.set_max_age(cookie::time::Duration::try_from(age).ok());
        if token.is_none() {
            cookie.set_expires(Expiration::from(cookie::time::OffsetDateTime::UNIX_EPOCH));
        }
        HeaderValue::try_from(cookie.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// The `Set-Cookie` value after which the browser is known to have logged in, to as many accounts as there are marks. It
    /// authenticates nobody, and outlives the session.
    pub fn set_known(&self, marks: &[BrowserMark]) -> HeaderValue {
        let Self { settings, known, .. } = self;
        let marks = marks.iter().map(BrowserMark::text).collect::<Vec<_>>().join(".");
        write(settings, known, (settings.domain.as_deref(), "/"), &marks, &Life::Remembered(KNOWN))
    }

    /// What a browser keeps of earlier logins. It may have several such cookies, as it may have several of a session: those
    /// count whose marks were `made` here, so that one set by a neighbouring host hides none.
    pub fn known_browser(&self, headers: &HeaderMap, made: impl Fn(&BrowserMark) -> bool) -> Vec<BrowserMark> {
        let marks = |value: &[u8]| -> Vec<BrowserMark> {
            let marks = value.split(|&byte| byte == b'.').filter_map(BrowserMark::parse);
            marks.filter(|mark| made(mark)).take(MOST_MARKS).collect()
        };
        values(headers, &self.known).map(marks).filter(|marks| !marks.is_empty()).take(MOST_KNOWN).flatten().collect()
    }

    /// The `Set-Cookie` values after which the browser has no cookie of that name.
    pub fn clear(&self, others: &Others) -> Vec<HeaderValue> {
        others.0.iter().cloned().chain([self.cleared.clone()]).collect()
    }

    /// The cookies to clear beside our own where a request to `path` came with several of its name: each one that the
    /// browser may have sent and this answer may clear. Such a cookie has the name, and
    /// - belongs to this host only, to the `Domain`, to the host, or to a domain above it;
    /// - has a `Path` that is a prefix of the request's, with or without a slash behind it: `/api` and `/api/` are two
    ///   cookies, and both are sent to `/api/v1` (RFC 6265 section 5.1.4).
    ///
    /// Browsers let no cookie whose name begins with `__Host-` have another path or a domain, so there is none to clear.
    pub fn others(&self, headers: &HeaderMap, path: &str) -> Others {
        let name = &self.settings.name;
        if is_for_host(name) {
            return Others::default();
        }
        let ours = self.settings.domain.as_deref();
        let mut domains = vec![None];
        domains.extend(ours.map(Some));
        domains.extend(domains_of(headers).map(Some).filter(|domain| *domain != ours));
        let paths = prefixes(path);
        // The likeliest come first, as there is room for only so many: a stale one of this host, one set by another
        // host, and then all others.
        let (likely, rest): (Vec<_>, Vec<_>) = paths
            .iter()
            .flat_map(|path| domains.iter().map(|domain| (*domain, path.as_str())))
            .partition(|(domain, path)| domain.is_none() || *path == "/");
        let mut room = ROOM;
        let lines = likely.into_iter().chain(rest).filter(|variant| *variant != (ours, "/"));
        let lines = lines.map(|variant| write(&self.settings, name, variant, "", &Life::Cleared)).take_while(|line| {
            let fits = room.checked_sub(line.len() + LINE);
            room = fits.unwrap_or_default();
            fits.is_some()
        });
        Others(lines.collect())
    }
}

/// `Set-Cookie` values that clear whatever a browser may have sent beside our own cookie.
#[derive(Clone, Debug, Default)]
pub struct Others(Vec<HeaderValue>);

/// How much of an answer's head they may take, in bytes: nginx keeps 4 KiB for all of it, and makes a 502 of more.
const ROOM: usize = 3 * 1024;
/// How many bytes a line has around its value.
const LINE: usize = "set-cookie: \r\n".len();
/// The most domains above a host, and the most parts of a path, that are cleared.
const DEPTH: usize = 8;
/// How long a browser is known: a year.
const KNOWN: Duration = Duration::from_hours(365 * 24);
/// The most cookies by which a browser is known that are looked at.
const MOST_KNOWN: usize = 4;
const HOST_PREFIX: &str = "__Host-";
/// The most cookies of logins that wait that are looked at.
const MOST_WAITING: usize = 4;

/// Whether browsers let no cookie of this name have a path or a domain.
fn is_for_host(name: &str) -> bool {
    name.get(..HOST_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(HOST_PREFIX))
}

/// The host that a request came to and the domains above it. Addresses and single labels have none, since they share no
/// cookies.
fn domains_of(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let host = host.rsplit_once(':').map_or(host, |(name, port)| if is_port(port) { name } else { host });
    // A name with other characters could add attributes to the cookie.
    let plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    let named = plain && host.parse::<std::net::Ipv4Addr>().is_err();
    let above = std::iter::successors(named.then_some(host), |host| host.split_once('.').map(|(_, above)| above));
    above.take_while(|domain| domain.contains('.')).take(DEPTH)
}

/// Every `Path` with which a cookie is sent to `path`, the root first and those with a slash behind them last.
fn prefixes(path: &str) -> Vec<String> {
    let mut whole = String::new();
    let (mut without, mut with) = (vec![String::from("/")], Vec::new());
    // A part with other characters could add attributes to the cookie.
    let plain = |part: &&str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte))
    };
    for part in path.split('/').skip(1).take_while(plain).take(DEPTH) {
        whole.push('/');
        whole.push_str(part);
        without.push(whole.clone());
        if path.get(whole.len()..).is_some_and(|rest| rest.starts_with('/')) {
            with.push(format!("{whole}/"));
        }
    }
    without.append(&mut with);
    without
}

enum Life {
    /// The cookie is kept until the browser closes.
    Browser,
    /// The cookie is kept for this long.
    Remembered(Duration),
    /// The cookie is cleared.
    Cleared,
}

/// A `Domain`, or none, and a `Path`.
type Variant<'v> = (Option<&'v str>, &'v str);

fn write(settings: &config::Cookie, name: &str, (domain, path): Variant<'_>, value: &str, life: &Life) -> HeaderValue {
    let mut cookie = Cookie::build((name, value))
        .path(path)
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
    // Names are checked with the configuration, domains and paths are plain, and a token is base64url.
    HeaderValue::try_from(cookie.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;

    use super::*;
    use crate::domain::entropy::SystemEntropy;
    use crate::domain::id::UserId;
    use crate::domain::token::TokenKey;

    const NAME: &str = "_me_sess";

    fn settings() -> config::Cookie {
        config::Cookie { name: NAME.into(), secure: true, domain: None, same_site: config::SameSite::Lax }
    }

    fn token(fill: char) -> String {
        // 43 letters whose last carries no spare bits.
        std::iter::repeat_n(fill, 42).chain(['A']).collect()
    }

    #[test]
    fn set_and_cleared_share_every_attribute() {
        let cookie = SessionCookie::new(&settings());
        let token = Token::parse(token('a').as_bytes()).expect("a token");
        let nothing = Others::default();
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

    fn request(cookies: &str) -> HeaderMap {
        [(COOKIE, HeaderValue::from_str(cookies).expect("a header value"))].into_iter().collect()
    }

    #[test]
    fn a_login_that_waits_for_a_code_has_a_cookie_of_its_own() {
        let cookie = |name: &str| SessionCookie::new(&config::Cookie { name: name.into(), ..settings() });
        let (ours, token) = (cookie(NAME), Token::parse(token('a').as_bytes()).expect("a token"));
        assert_eq!((ours.name(), cookie("__Host-session").name()), (NAME, "__Host-session"));
        assert_eq!(
            ours.set_waiting(Some(&token)),
            format!("_me_sess_code={}; HttpOnly; SameSite=Strict; Secure; Path=/login; Max-Age=300", token.reveal())
                .as_str()
        );
        assert_eq!(
            ours.set_waiting(None),
            "_me_sess_code=; HttpOnly; SameSite=Strict; Secure; Path=/login; Max-Age=0; \
             Expires=Thu, 01 Jan 1970 00:00:00 GMT"
        );
        for (cookie, name) in [(ours, "_me_sess_code"), (cookie("__Host-session"), "session_code")] {
            let sent = ["x", token.reveal(), token.reveal(), token.reveal(), token.reveal(), token.reveal()];
            let sent: Vec<_> = sent.iter().map(|value| format!("{name}={value}")).collect();
            let waiting = cookie.waiting(&request(&sent.join("; ")));
            assert_eq!(waiting.iter().map(Token::reveal).collect::<Vec<_>>(), [token.reveal(); 4], "four at most");
            assert!(cookie.waiting(&request(&format!("{NAME}={}", token.reveal()))).is_empty());
        }
    }

    #[test]
    fn a_browser_is_known_for_a_year_by_the_marks_that_were_made_here() {
        let cookie = SessionCookie::new(&settings());
        let key = TokenKey::new([7; 32]).throttle_secret();
        let mark = || key.mark(UserId::random(&SystemEntropy).expect("entropy"), &SystemEntropy).expect("entropy");
        let (marks, theirs) = ([mark(), mark()], mark());
        let both = marks.each_ref().map(BrowserMark::text);
        let line = cookie.set_known(&marks);
        let value = format!("_me_sess_known={}", both.join("."));
        assert_eq!(line, format!("{value}; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=31536000").as_str());
        let known = |cookies: &str| {
            let marks = cookie.known_browser(&request(cookies), |mark| mark.text() != theirs.text());
            marks.iter().map(BrowserMark::text).collect::<Vec<_>>()
        };
        assert_eq!(known(&value), both);
        let others = vec![format!("_me_sess_known={}", theirs.text()); MOST_KNOWN].join("; ");
        assert_eq!(known(&format!("{others}; _me_sess_known=x; {value}")), both, "what counts for nothing hides none");
        assert!(known(&format!("{NAME}={}", both[0])).is_empty());
        let many = [both[0].as_str(); MOST_MARKS + 1].join(".");
        assert_eq!(known(&format!("_me_sess_known={many}")).len(), MOST_MARKS);
    }

    /// What is cleared beside our own, as `Domain` and `Path`.
    fn others(cookie: &SessionCookie, host: &[u8], path: &str) -> Vec<(Option<String>, String)> {
        let mut request = HeaderMap::new();
        request.insert(HOST, HeaderValue::from_bytes(host).expect("a header value"));
        let lines = cookie.others(&request, path).0;
        assert!(lines.iter().map(|line| line.len() + LINE).sum::<usize>() <= ROOM);
        let attribute = |line: &HeaderValue, name: &str| {
            let text = line.to_str().expect("ascii").to_owned();
            assert!(text.starts_with("_me_sess=; ") && text.contains("; Max-Age=0; "), "{text}");
            text.split("; ").find_map(|part| part.strip_prefix(name).map(str::to_owned))
        };
        lines.iter().map(|line| (attribute(line, "Domain="), attribute(line, "Path=").expect("a path"))).collect()
    }

    fn sharing(domain: &str) -> SessionCookie {
        SessionCookie::new(&config::Cookie { domain: Some(domain.into()), ..settings() })
    }

    #[test]
    fn every_variant_is_cleared_that_a_browser_may_have_sent() {
        let host_only = SessionCookie::new(&settings());
        let paths = ["/", "/api", "/api/v1", "/api/v1/logout", "/api/", "/api/v1/"];
        let of = |domain: Option<&str>| paths.map(|path| (domain.map(str::to_owned), path.to_owned()));
        let sorted = |mut variants: Vec<(Option<String>, String)>| {
            variants.sort();
            variants
        };
        for host in [&b"localhost:8080"[..], b"192.0.2.1", b"[2001:db8::1]:8080", b"intranet"] {
            assert_eq!(others(&host_only, host, "/api/v1/logout"), of(None)[1..], "{}", host.escape_ascii());
        }
        let all = sorted([of(None), of(Some("app.example.com")), of(Some("example.com"))].concat());
        let without = |ours: Option<&str>| {
            let ours = (ours.map(str::to_owned), String::from("/"));
            all.iter().filter(|variant| **variant != ours).cloned().collect::<Vec<_>>()
        };
        let found = others(&host_only, b"app.example.com:8443", "/api/v1/logout");
        assert_eq!(sorted(found), without(None));
        let found = others(&sharing("example.com"), b"app.example.com", "/api/v1/logout");
        assert_eq!(sorted(found), without(Some("example.com")));
    }

    #[test]
    fn where_room_is_short_the_likeliest_are_cleared() {
        let host = "a.b.c.d.e.f.g.h.i.j.example.com";
        let found = others(&SessionCookie::new(&settings()), host.as_bytes(), "/api/v1/auth/password");
        for path in ["/api", "/api/v1", "/api/v1/auth", "/api/v1/auth/password", "/api/", "/api/v1/", "/api/v1/auth/"] {
            assert!(found.contains(&(None, path.into())), "{path}: {found:?}");
        }
        for domain in [host, "d.e.f.g.h.i.j.example.com"] {
            assert!(found.contains(&(Some(domain.into()), "/".into())), "{domain}: {found:?}");
        }
        let deep = format!("/{}", ["part"; 1000].join("/"));
        assert!(others(&sharing("example.com"), b"www.example.com", &deep).len() < 30);
    }

    #[test]
    fn a_name_that_no_other_cookie_can_have_leaves_nothing_else_to_clear() {
        for name in ["__Host-session", "__host-session"] {
            let cookie = SessionCookie::new(&config::Cookie { name: name.into(), ..settings() });
            assert_eq!(others(&cookie, b"app.example.com", "/api/v1/logout"), []);
        }
    }

    #[test]
    fn what_is_no_plain_name_or_path_writes_nothing_into_a_cookie() {
        let cookie = SessionCookie::new(&settings());
        for host in [
            "a.b; Max-Age=999; Domain=victim.example",
            "a.b; Max-Age=999:80",
            "a.b,victim.example",
            "a b.example",
            "a.b/victim.example",
            "a.b\u{e9}",
        ] {
            assert_eq!(others(&cookie, host.as_bytes(), "/user"), [(None, "/user".into())], "{host}");
            let found = others(&sharing("a.b"), host.as_bytes(), "/");
            assert_eq!(found, [(None, "/".into())], "{host}");
        }
        for path in ["/a/b;Domain=victim.example/c", "/a/b,c", "/a/b c", "/a/b=c", "/a//c", "/a/\"b"] {
            let found = others(&cookie, b"localhost", path);
            assert_eq!(found, [(None, "/a".into()), (None, "/a/".into())], "{path}");
        }
        assert_eq!(others(&cookie, b"localhost", "*"), []);
    }
}
