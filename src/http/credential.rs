//! The principal, one rule for every route: header pair, else bearer, else cookie. Never from one to the next.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use super::cookie::{self, Found};
use super::state::App;
use super::wire::{Dialect, Refused};
use crate::config::CredentialKind;
use crate::domain::id::UserId;
use crate::domain::principal::Principal;
use crate::domain::token::Token;
use crate::service::verify::Presented;
use crate::service::{Error, Result};

const X_USER_ID: HeaderName = HeaderName::from_static("x-user-id");
const X_AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

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
    /// Nothing, or nothing that could be judged.
    None,
    /// Something that can be nobody's: half a pair, two bearers, conflicting cookies, garbage.
    Invalid(Via),
    /// Something to be checked.
    Presented(Presented, Via),
}

/// Reads what a request presents, by the rule of every route.
pub fn read(headers: &HeaderMap, cookie_name: &str) -> Credential {
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
    from_cookie(headers, cookie_name)
}

/// Reads what a request presents to `/verify`: there a credential counts only when it has our form, so that an
/// application's own headers do not spoil a good cookie.
pub fn read_ours(headers: &HeaderMap, cookie_name: &str, kinds: &[CredentialKind]) -> Credential {
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
    if kinds.contains(&CredentialKind::Cookie) { from_cookie(headers, cookie_name) } else { Credential::None }
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

fn from_cookie(headers: &HeaderMap, name: &str) -> Credential {
    match cookie::find(headers, name) {
        Found::Nothing => Credential::None,
        Found::Token(token) => Credential::Presented(Presented { token, user: None }, Via::Cookie),
        Found::Garbage | Found::Conflict => Credential::Invalid(Via::Cookie),
    }
}

/// A checked principal, as an extractor. Refuses in the words of dialect `D`.
#[derive(Debug)]
pub struct Caller<D> {
    /// Who.
    pub principal: Principal,
    /// The credential, for the one dialect that repeats it.
    pub presented: Presented,
    /// How it travelled.
    pub via: Via,
    dialect: PhantomData<D>,
}

impl<D: Dialect> FromRequestParts<App> for Caller<D> {
    type Rejection = Refused<D>;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> std::result::Result<Self, Refused<D>> {
        let (principal, presented, via) = check(&parts.headers, app).await?;
        Ok(Self { principal, presented, via, dialect: PhantomData })
    }
}

/// Checks what a request presents.
///
/// # Errors
/// [`Error::NoSession`] when it presents nothing that stands for a live session.
pub async fn check(headers: &HeaderMap, app: &App) -> Result<(Principal, Presented, Via)> {
    match read(headers, app.cookie.name()) {
        Credential::None | Credential::Invalid(_) => Err(Error::NoSession),
        Credential::Presented(presented, via) => {
            let principal = app.service.verify(&presented).await?;
            Ok((principal, presented, via))
        }
    }
}

/// Whose session the cookie of a request stands for, whatever else it presents; to know whether ending sessions
/// ends that one too.
///
/// # Errors
/// As the store says, when nobody can tell: then nothing may be ended, since the cookie could not be judged.
pub async fn cookie_principal(headers: &HeaderMap, app: &App) -> Result<Option<Principal>> {
    match from_cookie(headers, app.cookie.name()) {
        Credential::None | Credential::Invalid(_) => Ok(None),
        Credential::Presented(presented, _) => match app.service.verify(&presented).await {
            Err(Error::NoSession) => Ok(None),
            told => told.map(Some),
        },
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const USER: &str = "23456789ABCDEFGHJ";

    fn token(fill: char) -> String {
        std::iter::repeat_n(fill, 42).chain(['A']).collect()
    }

    fn request(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_str(v).expect("a value"))).collect()
    }

    /// Headers, what they come to everywhere, and what on `/verify`.
    type Case<'c> = (&'c [(&'static str, &'c str)], &'c str, &'c str);

    fn shown(credential: &Credential) -> String {
        match credential {
            Credential::None => "none".into(),
            Credential::Invalid(via) => format!("invalid {via:?}"),
            Credential::Presented(p, via) => {
                format!("{} {} {via:?}", p.token.reveal().chars().next().unwrap_or_default(), p.user.is_some())
            }
        }
    }

    #[test]
    fn one_rule_and_no_falling_back() {
        let (a, b, c) = (token('a'), token('b'), format!("_me_sess={}", token('c')));
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
        ];
        for (lines, everywhere, on_verify) in cases {
            let headers = request(lines);
            assert_eq!(shown(&read(&headers, "_me_sess")), *everywhere, "{lines:?}");
            let all = [CredentialKind::Cookie, CredentialKind::Headers, CredentialKind::Bearer];
            assert_eq!(shown(&read_ours(&headers, "_me_sess", &all)), *on_verify, "verify: {lines:?}");
        }
    }

    #[test]
    fn verify_can_be_narrowed() {
        let headers = request(&[("authorization", &format!("bearer {}", token('b')))]);
        assert_eq!(shown(&read_ours(&headers, "_me_sess", &[CredentialKind::Cookie])), "none");
        assert_eq!(shown(&read_ours(&headers, "_me_sess", &[CredentialKind::Bearer])), "b false Header");
    }
}
