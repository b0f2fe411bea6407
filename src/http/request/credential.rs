//! The principal, by one rule for every route: the header pair if there is one, else the bearer token, else the cookie.
//! A bad credential never makes the next kind count. Of several cookies of one name, the one whose session is live
//! counts, if there is exactly one.

use std::marker::PhantomData;
use std::time::Duration;

use axum::extract::{FromRequestParts, OriginalUri};
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::cookie::{self, Found, Others, SessionCookie, Tokens};
use crate::config::CredentialKind;
use crate::domain::id::UserId;
use crate::domain::principal::Principal;
use crate::domain::throttle::BrowserMark;
use crate::domain::token::Token;
use crate::http::refusal::{Dialect, Refused};
use crate::http::request::state::App;
use crate::service::password_change::Renewed;
use crate::service::verify::Presented;
use crate::service::{Error, Result};

const X_USER_ID: HeaderName = HeaderName::from_static("x-user-id");
/// The token of the header pair.
pub const X_AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// How a credential travelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// In `X-User-Id` and `X-Auth-Token`, or as a bearer: a page of another site cannot send it.
    Header,
    /// In the cookie: a browser may send it by itself.
    Cookie,
}

/// What a request presents.
#[derive(Debug)]
pub enum Credential {
    /// Nothing, or nothing that has the form of a credential of ours.
    None,
    /// Something that stands for no user: half a pair, two bearers, garbage, more cookies of ours than are looked up.
    Invalid(Via),
    /// Something to be checked.
    Presented(Presented, Via),
    /// Two to four cookies of one name, all of them ours. The one that is live counts, if exactly one is.
    Several(Vec<Presented>),
}

/// Reads what a request presents, by the rule of every route.
pub fn read(headers: &HeaderMap, cookie_name: &str, issued: impl Fn(&Token) -> bool) -> Credential {
    match pair(headers) {
        Pair::Absent => {}
        Pair::Ours(presented) => return Credential::Presented(presented, Via::Header),
        Pair::Other => return Credential::Invalid(Via::Header),
    }
    match bearer(headers) {
        Bearer::Ours(token) => return Credential::Presented(Presented { token, user: None }, Via::Header),
        Bearer::Several => return Credential::Invalid(Via::Header),
        Bearer::Absent | Bearer::Other => {}
    }
    from_cookie(headers, cookie_name, issued)
}

/// Reads what a request presents to `/verify`: there a credential counts only when it has our form, so that an
/// application's own headers do not spoil a good cookie.
pub fn read_ours(
    headers: &HeaderMap,
    cookie_name: &str,
    kinds: &[CredentialKind],
    issued: impl Fn(&Token) -> bool,
) -> Credential {
    if kinds.contains(&CredentialKind::Headers)
        && let Pair::Ours(presented) = pair(headers)
    {
        return Credential::Presented(presented, Via::Header);
    }
    if kinds.contains(&CredentialKind::Bearer) {
        match bearer(headers) {
            Bearer::Ours(token) => return Credential::Presented(Presented { token, user: None }, Via::Header),
            Bearer::Several => return Credential::Invalid(Via::Header),
            Bearer::Absent | Bearer::Other => {}
        }
    }
    if kinds.contains(&CredentialKind::Cookie) { from_cookie(headers, cookie_name, issued) } else { Credential::None }
}

/// Whether a request carries credentials that only a script of an allowed origin, or no browser at all, can send.
pub fn has_header_credential(headers: &HeaderMap) -> bool {
    headers.contains_key(X_USER_ID) || headers.contains_key(X_AUTH_TOKEN) || matches!(bearer(headers), Bearer::Ours(_))
}

enum Pair {
    Absent,
    Ours(Presented),
    Other,
}

fn pair(headers: &HeaderMap) -> Pair {
    let (mut users, mut tokens) = (headers.get_all(X_USER_ID).iter(), headers.get_all(X_AUTH_TOKEN).iter());
    match (users.next(), users.next(), tokens.next(), tokens.next()) {
        (None, _, None, _) => Pair::Absent,
        (Some(user), None, Some(token), None) => {
            let user = user.to_str().ok().and_then(|user| user.parse::<UserId>().ok());
            match (user, Token::parse(token.as_bytes())) {
                (Some(user), Some(token)) => Pair::Ours(Presented { token, user: Some(user) }),
                (Some(_) | None, Some(_) | None) => Pair::Other,
            }
        }
        (_, _, _, _) => Pair::Other,
    }
}

enum Bearer {
    Absent,
    Ours(Token),
    Other,
    Several,
}

fn bearer(headers: &HeaderMap) -> Bearer {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Bearer::Absent,
        (Some(_), Some(_)) => return Bearer::Several,
        (Some(value), None) => value.as_bytes(),
    };
    // RFC 9110 section 11.1: the scheme's case does not matter.
    let Some((scheme, token)) = value.split_at_checked(7) else { return Bearer::Other };
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Bearer::Other;
    }
    Token::parse(token.trim_ascii()).map_or(Bearer::Other, Bearer::Ours)
}

fn from_cookie(headers: &HeaderMap, name: &str, issued: impl Fn(&Token) -> bool) -> Credential {
    match cookie::find(headers, name, issued).tokens {
        Tokens::Absent => Credential::None,
        Tokens::One(token) => Credential::Presented(Presented { token, user: None }, Via::Cookie),
        Tokens::Several(tokens) => Credential::Several(presented(&tokens)),
        Tokens::Foreign | Tokens::TooMany(_) => Credential::Invalid(Via::Cookie),
    }
}

fn presented(tokens: &[Token]) -> Vec<Presented> {
    tokens.iter().map(|token| Presented { token: token.clone(), user: None }).collect()
}

/// The session cookies of a request, for answers that write the cookie.
#[derive(Debug)]
pub struct Cookies {
    tokens: Tokens,
    others: Others,
}

impl FromRequestParts<App> for Cookies {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> std::result::Result<Self, Self::Rejection> {
        Ok(Self::from_parts(parts, app))
    }
}

impl Cookies {
    /// Reads those of a request.
    pub fn from_parts(parts: &Parts, app: &App) -> Self {
        let Found { tokens, differ } =
            cookie::find(&parts.headers, app.cookie.name(), |token| app.service.issued(token));
        // A single cookie is taken for the one that we set, which one line overwrites or clears. The path as it was
        // sent: a nested router sees it without its prefix.
        let path = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |uri| &uri.0).path();
        let others = if differ { app.cookie.others(&parts.headers, path) } else { Others::default() };
        Self { tokens, others }
    }

    /// Whether the request has any.
    pub const fn were_sent(&self) -> bool {
        !matches!(self.tokens, Tokens::Absent)
    }

    /// Whether more of them are ours than are looked up.
    pub const fn too_many(&self) -> bool {
        matches!(self.tokens, Tokens::TooMany(_))
    }

    /// Those that can stand for a session, four at most.
    pub fn presented(&self) -> Vec<Presented> {
        presented(self.tokens.as_slice())
    }

    /// The tokens of those, for a login that replaces their sessions.
    pub fn tokens(&self) -> Vec<Token> {
        self.tokens.as_slice().to_vec()
    }

    /// The `Set-Cookie` values after which the browser has `token` and no other cookie of that name.
    pub fn set(&self, token: &Token, remember: Option<Duration>, cookie: &SessionCookie) -> Vec<HeaderValue> {
        cookie.set(token, remember, &self.others)
    }

    /// The same for a session that goes on under a new token.
    pub fn set_renewed(&self, renewed: &Renewed, cookie: &SessionCookie) -> Vec<HeaderValue> {
        self.set(&renewed.token, renewed.session.remembered.then_some(renewed.left), cookie)
    }

    /// The same after a login, and those by which the browser is known as one that has logged in.
    pub fn set_at_login(
        &self,
        token: &Token,
        remember: Option<Duration>,
        marks: &[BrowserMark],
        cookie: &SessionCookie,
    ) -> Vec<HeaderValue> {
        let mut lines = self.set(token, remember, cookie);
        lines.push(cookie.set_known(marks));
        lines
    }

    /// The `Set-Cookie` values after which the browser has no cookie of that name.
    pub fn clear(&self, cookie: &SessionCookie) -> Vec<HeaderValue> {
        cookie.clear(&self.others)
    }
}

/// A checked principal, as an extractor. Refuses in the words of dialect `D`.
#[derive(Debug)]
pub struct Caller<D> {
    /// The user and session that the request is made by.
    pub principal: Principal,
    /// The token, if it came in a header. No answer holds a token that came in a cookie, or a script of the page could
    /// read what `HttpOnly` hides from it.
    pub token: Option<Token>,
    dialect: PhantomData<D>,
}

impl<D: Dialect> FromRequestParts<App> for Caller<D> {
    type Rejection = Refused<D>;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> std::result::Result<Self, Refused<D>> {
        let (principal, token) = check(&parts.headers, app).await?;
        Ok(Self { principal, token, dialect: PhantomData })
    }
}

/// Checks what a request presents. Returns the token too, if it came in a header.
///
/// # Errors
/// [`Error::NoSession`] when it presents nothing that stands for a live session.
async fn check(headers: &HeaderMap, app: &App) -> Result<(Principal, Option<Token>)> {
    match read(headers, app.cookie.name(), |token| app.service.issued(token)) {
        Credential::None | Credential::Invalid(_) => Err(Error::NoSession),
        Credential::Several(presented) => Ok((app.service.decide(app.service.check_several(&presented)).await?, None)),
        Credential::Presented(presented, via) => {
            let principal = app.service.verify(&presented).await?;
            Ok((principal, known_to_scripts(presented.token, via)))
        }
    }
}

/// The token, if the caller's scripts know it already.
fn known_to_scripts(token: Token, via: Via) -> Option<Token> {
    match via {
        Via::Header => Some(token),
        Via::Cookie => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::config;
    use crate::domain::clock::Timestamp;
    use crate::domain::entropy::SystemEntropy;
    use crate::domain::id::SessionId;
    use crate::domain::session::{Client, Expiry, Session};

    const USER: &str = "23456789ABCDEFGHJ";

    /// All tokens in these tests count as issued, except those of the letter `z`.
    fn issued(token: &Token) -> bool {
        !token.reveal().starts_with('z')
    }

    fn token(fill: char) -> String {
        std::iter::repeat_n(fill, 42).chain(['A']).collect()
    }

    fn ours(fill: char) -> Token {
        Token::parse(token(fill).as_bytes()).expect("a token")
    }

    fn request(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_str(v).expect("a value"))).collect()
    }

    /// Headers, the credential that they make on every route, and the one that they make on `/verify`.
    type Case<'c> = (&'c [(&'static str, &'c str)], &'c str, &'c str);

    fn shown(credential: &Credential) -> String {
        match credential {
            Credential::None => "none".into(),
            Credential::Invalid(via) => format!("invalid {via:?}"),
            Credential::Several(presented) => format!("several {}", presented.len()),
            Credential::Presented(p, via) => {
                format!("{} {} {via:?}", p.token.reveal().chars().next().unwrap_or_default(), p.user.is_some())
            }
        }
    }

    #[test]
    fn one_rule_and_no_falling_back() {
        let (a, b, c) = (token('a'), token('b'), format!("_me_sess={}", token('c')));
        let (second, never) = (format!("_me_sess={}", token('d')), format!("_me_sess={}", token('z')));
        let five = ['c', 'd', 'e', 'f', 'g'].map(|letter| format!("_me_sess={}", token(letter))).join("; ");
        let bearer = format!("Bearer {b}");
        let cases: &[Case<'_>] = &[
            (&[], "none", "none"),
            (&[("cookie", &c)], "c false Cookie", "c false Cookie"),
            (&[("authorization", &bearer), ("cookie", &c)], "b false Header", "b false Header"),
            (
                &[("x-user-id", USER), ("x-auth-token", &a), ("authorization", &bearer)],
                "a true Header",
                "a true Header",
            ),
            (&[("x-user-id", USER), ("cookie", &c)], "invalid Header", "c false Cookie"),
            (&[("x-auth-token", &a), ("cookie", &c)], "invalid Header", "c false Cookie"),
            (&[("x-user-id", USER), ("x-auth-token", "theirs"), ("cookie", &c)], "invalid Header", "c false Cookie"),
            (&[("x-user-id", USER), ("x-auth-token", &a), ("x-auth-token", &b)], "invalid Header", "none"),
            (&[("x-user-id", USER), ("x-user-id", USER), ("x-auth-token", &a)], "invalid Header", "none"),
            (&[("authorization", "Bearer theirs"), ("cookie", &c)], "c false Cookie", "c false Cookie"),
            (&[("authorization", "Basic eDp5"), ("cookie", &c)], "c false Cookie", "c false Cookie"),
            (&[("authorization", &bearer), ("authorization", &bearer)], "invalid Header", "invalid Header"),
            (&[("cookie", "_me_sess=x")], "invalid Cookie", "invalid Cookie"),
            (&[("cookie", &c), ("cookie", "_me_sess=x")], "c false Cookie", "c false Cookie"),
            (&[("cookie", &c), ("cookie", &never)], "c false Cookie", "c false Cookie"),
            (&[("cookie", &c), ("cookie", &second)], "several 2", "several 2"),
            (&[("authorization", &bearer), ("cookie", &c), ("cookie", &second)], "b false Header", "b false Header"),
            (&[("cookie", &five)], "invalid Cookie", "invalid Cookie"),
        ];
        for (lines, everywhere, on_verify) in cases {
            let headers = request(lines);
            assert_eq!(shown(&read(&headers, "_me_sess", issued)), *everywhere, "{lines:?}");
            let all = [CredentialKind::Cookie, CredentialKind::Headers, CredentialKind::Bearer];
            assert_eq!(shown(&read_ours(&headers, "_me_sess", &all, issued)), *on_verify, "verify: {lines:?}");
        }
    }

    #[test]
    fn verify_can_be_narrowed() {
        let headers = request(&[("authorization", &format!("bearer {}", token('b')))]);
        assert_eq!(shown(&read_ours(&headers, "_me_sess", &[CredentialKind::Cookie], issued)), "none");
        assert_eq!(shown(&read_ours(&headers, "_me_sess", &[CredentialKind::Bearer], issued)), "b false Header");
    }

    #[test]
    fn what_no_form_can_send_is_a_credential_in_a_header() {
        let (a, c) = (token('a'), format!("_me_sess={}", token('c')));
        let (bearer, theirs) = (format!("Bearer {a}"), "Bearer theirs");
        let cases: &[(&[(&'static str, &str)], bool)] = &[
            (&[], false),
            (&[("cookie", &c)], false),
            (&[("authorization", theirs)], false),
            (&[("authorization", &bearer)], true),
            (&[("x-user-id", USER)], true),
            (&[("x-auth-token", &a)], true),
            (&[("x-user-id", USER), ("x-auth-token", &a), ("authorization", &bearer)], true),
        ];
        for (lines, expected) in cases {
            assert_eq!(has_header_credential(&request(lines)), *expected, "{lines:?}");
        }
    }

    #[test]
    fn a_token_that_came_in_a_cookie_is_in_no_answer() {
        let shown = |via| known_to_scripts(ours('a'), via);
        assert_eq!(shown(Via::Header).map(|shown| shown.reveal().to_owned()), Some(token('a')));
        assert!(shown(Via::Cookie).is_none());
    }

    fn cookies(tokens: Tokens) -> Cookies {
        Cookies { tokens, others: Others::default() }
    }

    #[test]
    fn the_cookies_of_a_request_are_none_or_foreign_or_some_or_too_many() {
        let (a, b) = (ours('a'), ours('b'));
        let cases = [
            (Tokens::Absent, (false, false), vec![]),
            (Tokens::Foreign, (true, false), vec![]),
            (Tokens::One(a.clone()), (true, false), vec![a.clone()]),
            (Tokens::Several(vec![a.clone(), b.clone()]), (true, false), vec![a.clone(), b.clone()]),
            (Tokens::TooMany(vec![a.clone(), b.clone()]), (true, true), vec![a, b]),
        ];
        for (tokens, (sent, too_many), expected) in cases {
            let cookies = cookies(tokens);
            assert_eq!((cookies.were_sent(), cookies.too_many()), (sent, too_many), "{cookies:?}");
            let expected: Vec<_> = expected.iter().map(Token::reveal).collect();
            let presented = cookies.presented();
            assert!(presented.iter().all(|one| one.user.is_none()));
            assert_eq!(presented.iter().map(|one| one.token.reveal()).collect::<Vec<_>>(), expected);
            assert_eq!(cookies.tokens().iter().map(Token::reveal).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn an_answer_sets_or_clears_the_cookie_and_whatever_came_beside_it() {
        let cookie = SessionCookie::new(&config::Cookie {
            name: String::from("_me_sess"),
            secure: false,
            domain: None,
            same_site: config::SameSite::Lax,
        });
        let (new, hour) = (ours('n'), Duration::from_hours(1));
        let headers = request(&[("host", "a.example.org")]);
        let beside = Cookies { tokens: Tokens::Foreign, others: cookie.others(&headers, "/") };
        for cookies in [cookies(Tokens::Absent), beside] {
            let set = cookie.set(&new, Some(hour), &cookies.others);
            assert_eq!(cookies.set(&new, Some(hour), &cookie), set);
            assert_eq!(cookies.clear(&cookie), cookie.clear(&cookies.others));
            let at_login = cookies.set_at_login(&new, Some(hour), &[], &cookie);
            assert_eq!(at_login, [set.clone(), vec![cookie.set_known(&[])]].concat());
            for (remembered, expected) in [(true, set), (false, cookie.set(&new, None, &cookies.others))] {
                let renewed = Renewed { revoked: 0, token: new.clone(), session: session(remembered), left: hour };
                assert_eq!(cookies.set_renewed(&renewed, &cookie), expected);
            }
        }
    }

    fn session(remembered: bool) -> Session {
        let (now, random) = (Timestamp::from_millis(0), SystemEntropy);
        Session {
            id: SessionId::random(&random).expect("entropy"),
            user_id: UserId::random(&random).expect("entropy"),
            created_at: now,
            last_seen_at: now,
            expiry: Expiry { idle: now, absolute: now },
            remembered,
            client: Client::default(),
        }
    }
}
