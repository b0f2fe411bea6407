//! The ways to present credentials, right and wrong, and who the caller is then.

use super::*;

/// Adds credentials to a request.
pub type Present = fn(TestRequest, &World) -> TestRequest;

/// What a request presents, and as whom it is taken: everywhere, and by `/verify`.
pub type Case = (&'static str, Present, Option<&'static str>, Option<&'static str>);

pub const fn same(name: &'static str, present: Present, who: Option<&'static str>) -> Case {
    (name, present, who, who)
}

/// Credentials of another application.
pub const THEIRS: &str = "eyJhbGciOiJIUzI1NiJ9.e30.x";
pub const BASIC: &str = "Basic Ym9iOng=";

pub const NO_USER: Option<&str> = None;
pub const AS_BOB: Option<&str> = Some(BOB);
pub const AS_ALICE: Option<&str> = Some(ALICE);

pub const CASES: [Case; 60] = [
    same("nothing", |ask, _| ask, NO_USER),
    // The pair.
    same("a pair", |ask, w| ask.pair(&w.bob.user, &w.bob.token), AS_BOB),
    same(
        "a pair before a bearer and a cookie",
        |ask, w| ask.pair(&w.bob.user, &w.bob.token).bearer(&w.alice.token).cookie(&w.alice.token),
        AS_BOB,
    ),
    same(
        "a pair before two bearers",
        |ask, w| ask.pair(&w.bob.user, &w.bob.token).bearer(&w.alice.token).bearer(&never()),
        AS_BOB,
    ),
    same(
        "a pair before a tossed cookie",
        |ask, w| ask.pair(&w.bob.user, &w.bob.token).header("Cookie", &cookies(&["x", "y"])),
        AS_BOB,
    ),
    same("another's token", |ask, w| ask.pair(&w.alice.user, &w.bob.token), NO_USER),
    same(
        "another's token beside a good cookie and bearer",
        |ask, w| ask.pair(&w.alice.user, &w.bob.token).bearer(&w.bob.token).cookie(&w.bob.token),
        NO_USER,
    ),
    same(
        "a dead pair beside a good cookie",
        |ask, w| ask.pair(&w.bob.user, &w.revoked.token).cookie(&w.bob.token),
        NO_USER,
    ),
    same("an expired pair", |ask, w| ask.pair(&w.expired.user, &w.expired.token), NO_USER),
    same(
        "an invented pair beside a good bearer",
        |ask, w| ask.pair(&w.bob.user, &never()).bearer(&w.bob.token),
        NO_USER,
    ),
    same("the user alone", |ask, w| ask.header("X-User-Id", &w.bob.user), NO_USER),
    same("the token alone", |ask, w| ask.header("X-Auth-Token", &w.bob.token), NO_USER),
    (
        "the user alone beside a good cookie",
        |ask, w| ask.header("X-User-Id", &w.bob.user).cookie(&w.bob.token),
        NO_USER,
        AS_BOB,
    ),
    (
        "the token alone beside a good bearer",
        |ask, w| ask.header("X-Auth-Token", "x").bearer(&w.bob.token),
        NO_USER,
        AS_BOB,
    ),
    ("an empty pair beside a good cookie", |ask, w| ask.pair("", "").cookie(&w.bob.token), NO_USER, AS_BOB),
    (
        "an application's pair beside a good cookie",
        |ask, w| ask.pair("42", "theirs").cookie(&w.bob.token),
        NO_USER,
        AS_BOB,
    ),
    ("a username for an id", |ask, w| ask.pair(BOB, &w.bob.token), NO_USER, NO_USER),
    ("the user twice", |ask, w| ask.pair(&w.bob.user, &w.bob.token).header("x-user-id", &w.bob.user), NO_USER, NO_USER),
    (
        "the token twice",
        |ask, w| ask.pair(&w.bob.user, &w.bob.token).header("x-auth-token", &w.bob.token),
        NO_USER,
        NO_USER,
    ),
    (
        "the token twice beside a good cookie",
        |ask, w| ask.pair(&w.bob.user, &w.bob.token).header("x-auth-token", "x").cookie(&w.alice.token),
        NO_USER,
        AS_ALICE,
    ),
    same("a quoted token in the pair", |ask, w| ask.pair(&w.bob.user, &format!("\"{}\"", w.bob.token)), NO_USER),
    // The bearer.
    same("a bearer", |ask, w| ask.bearer(&w.bob.token), AS_BOB),
    same("a bearer in other letters", |ask, w| ask.header("authorization", &format!("bEARER {}", w.bob.token)), AS_BOB),
    same("a bearer before a cookie", |ask, w| ask.bearer(&w.bob.token).cookie(&w.alice.token), AS_BOB),
    same(
        "a bearer before a tossed cookie",
        |ask, w| ask.bearer(&w.bob.token).header("Cookie", &cookies(&["x", "y"])),
        AS_BOB,
    ),
    same("a dead bearer beside a good cookie", |ask, w| ask.bearer(&w.revoked.token).cookie(&w.bob.token), NO_USER),
    same("an expired bearer beside a good cookie", |ask, w| ask.bearer(&w.expired.token).cookie(&w.bob.token), NO_USER),
    same("an invented bearer beside a good cookie", |ask, w| ask.bearer(&never()).cookie(&w.bob.token), NO_USER),
    same("an application's bearer", |ask, _| ask.bearer(THEIRS), NO_USER),
    same("an application's bearer beside a good cookie", |ask, w| ask.bearer(THEIRS).cookie(&w.bob.token), AS_BOB),
    same(
        "another scheme beside a good cookie",
        |ask, w| ask.header("Authorization", BASIC).cookie(&w.bob.token),
        AS_BOB,
    ),
    same(
        "a token under another scheme",
        |ask, w| ask.header("Authorization", &format!("Token {}", w.bob.token)),
        NO_USER,
    ),
    same("a session id for a bearer", |ask, w| ask.bearer(&w.bob.session), NO_USER),
    same("the same bearer twice", |ask, w| ask.bearer(&w.bob.token).bearer(&w.bob.token), NO_USER),
    same(
        "two schemes beside a good cookie",
        |ask, w| ask.header("Authorization", BASIC).bearer(&w.bob.token).cookie(&w.bob.token),
        NO_USER,
    ),
    // The cookie.
    same("a cookie", |ask, w| ask.cookie(&w.bob.token), AS_BOB),
    same("a dead cookie", |ask, w| ask.cookie(&w.revoked.token), NO_USER),
    same("an expired cookie", |ask, w| ask.cookie(&w.expired.token), NO_USER),
    same("an invented cookie", |ask, _| ask.cookie(&never()), NO_USER),
    same(
        "blanks around a cookie",
        |ask, w| ask.header("Cookie", &format!("a=b;\t_me_sess \t=\t {} \t; c=d", w.bob.token)),
        AS_BOB,
    ),
    same("a quoted cookie", |ask, w| ask.cookie(&format!("\"{}\"", w.bob.token)), NO_USER),
    same("a percent-encoded cookie", |ask, w| ask.cookie(&percent_encoded(&w.bob.token)), NO_USER),
    same(
        "a cookie of a longer name",
        |ask, w| ask.header("Cookie", &format!("x_me_sess={0}; _me_sess2={0}", w.bob.token)),
        NO_USER,
    ),
    same("the same cookie twice", |ask, w| ask.header("Cookie", &cookies(&[&w.bob.token, &w.bob.token])), AS_BOB),
    same(
        "the same cookie in two headers",
        |ask, w| ask.cookie(&w.bob.token).header("Cookie", "a=b").cookie(&w.bob.token),
        AS_BOB,
    ),
    same("a good cookie and a tossed one", |ask, w| ask.header("Cookie", &cookies(&[&w.bob.token, "tossed"])), AS_BOB),
    same("a tossed cookie and a good one", |ask, w| ask.header("Cookie", &cookies(&["tossed", &w.bob.token])), AS_BOB),
    same("a good cookie and an empty one in another header", |ask, w| ask.cookie("").cookie(&w.bob.token), AS_BOB),
    same("a good cookie and an invented one", |ask, w| ask.cookie(&w.bob.token).cookie(&never()), AS_BOB),
    same(
        "a good cookie among many invented ones",
        |ask, w| {
            let invented = never_issued(20);
            let invented: Vec<_> = invented.iter().map(String::as_str).collect();
            ask.header("Cookie", &cookies(&invented)).cookie(&w.bob.token).header("Cookie", &cookies(&invented))
        },
        AS_BOB,
    ),
    same("a stale cookie and a good one", |ask, w| ask.cookie(&w.revoked.token).cookie(&w.bob.token), AS_BOB),
    same("a good cookie and a stale one", |ask, w| ask.cookie(&w.bob.token).cookie(&w.revoked.token), AS_BOB),
    same("a good cookie and an expired one", |ask, w| ask.cookie(&w.expired.token).cookie(&w.bob.token), AS_BOB),
    same(
        "a good cookie among four of ours",
        |ask, w| {
            let four = [&*w.expired.token, &w.revoked.token, &w.bob.token, "tossed", &w.replaced.token, &w.bob.token];
            ask.header("Cookie", &cookies(&four))
        },
        AS_BOB,
    ),
    same("two stale cookies", |ask, w| ask.cookie(&w.revoked.token).cookie(&w.expired.token), NO_USER),
    same("two invented cookies", |ask, _| ask.header("Cookie", &cookies(&[&never(), &never_issued(1)[0]])), NO_USER),
    same("no good cookie of two", |ask, _| ask.header("Cookie", &cookies(&["tossed", &never()])), NO_USER),
    same(TWO, |ask, w| ask.header("Cookie", &cookies(&[&w.bob.token, &w.alice.token])), NO_USER),
    same(TWO_OF_ONE, |ask, w| ask.header("Cookie", &cookies(&[&w.bob.token, &w.second.token])), NO_USER),
    same(
        TWO_AND_STALE,
        |ask, w| ask.header("Cookie", &cookies(&[&w.bob.token, &w.revoked.token, &w.alice.token, "tossed"])),
        NO_USER,
    ),
];

pub const TWO: &str = "two good cookies";
pub const TWO_OF_ONE: &str = "two good cookies of one user";
pub const TWO_AND_STALE: &str = "two good cookies and a stale one";
/// These stand for no user, and a logout still ends their sessions.
pub const ENDED_BY_A_LOGOUT: [&str; 3] = [TWO, TWO_OF_ONE, TWO_AND_STALE];

pub fn percent_encoded(token: &str) -> String {
    token.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
