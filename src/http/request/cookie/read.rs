//! Reads the session cookie from the raw header bytes, and chooses among several of the same name.

use http::HeaderMap;
use http::header::COOKIE;

use crate::domain::token::Token;

/// The most cookies of one name that are looked up.
const MOST: usize = 4;

/// The session cookies of a request.
#[derive(Debug)]
pub struct Found {
    /// Those that can stand for a session.
    pub tokens: Tokens,
    /// Whether cookies of the name came with different values, ours or not: then there is more than one to clear.
    pub differ: bool,
}

/// Which of a request's cookies can stand for a session. Equal values count once.
#[derive(Debug)]
pub enum Tokens {
    /// No cookie of the name came.
    Absent,
    /// None of them is ours.
    Foreign,
    /// Exactly one has the form of a token of ours. It is looked up, whether it was issued or not.
    One(Token),
    /// Two to four are ours: a stale one with a narrower `Path`, one of a parent domain, or one set by a neighbouring
    /// host.
    Several(Vec<Token>),
    /// More than four are ours; these are the last four. Browsers send cookies with longer paths first (RFC 6265
    /// section 5.4), and the one that a login sets has the shortest.
    TooMany(Vec<Token>),
}

impl Tokens {
    /// Four of them at most.
    pub const fn as_slice(&self) -> &[Token] {
        match self {
            Self::Absent | Self::Foreign => &[],
            Self::One(token) => std::slice::from_ref(token),
            Self::Several(tokens) | Self::TooMany(tokens) => tokens.as_slice(),
        }
    }
}

/// Looks for the cookie `name`. A garbage or non-ASCII neighbour does not hide it; nothing is decoded, no quotes are
/// removed, only spaces and tabs are trimmed. Values without the form of a token do not count, nor, where several have
/// it, those that were never `issued`: so a cookie set by a neighbouring host costs no look-up and locks no user out.
pub fn find(headers: &HeaderMap, name: &str, issued: impl Fn(&Token) -> bool) -> Found {
    let mut first: Option<&[u8]> = None;
    let mut differ = false;
    let mut single: Option<(&[u8], Token)> = None;
    let mut ours: Option<Ours> = None;
    for value in values(headers, name) {
        differ |= *first.get_or_insert(value) != value;
        let Some(token) = Token::parse(value) else { continue };
        match (&mut ours, single.take()) {
            (Some(ours), _) => ours.add(token, &issued),
            (None, None) => single = Some((value, token)),
            (None, Some((same, token))) if same == value => single = Some((same, token)),
            (None, Some((_, other))) => {
                let ours = ours.insert(Ours::default());
                ours.add(other, &issued);
                ours.add(token, &issued);
            }
        }
    }
    let tokens = match (ours, single) {
        (Some(ours), _) => ours.into_tokens(),
        (None, Some((_, token))) => Tokens::One(token),
        (None, None) if first.is_some() => Tokens::Foreign,
        (None, None) => Tokens::Absent,
    };
    Found { tokens, differ }
}

/// The values of every cookie `name`, as they were sent.
pub fn values<'h>(headers: &'h HeaderMap, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    let pairs = headers.get_all(COOKIE).into_iter().flat_map(|header| header.as_bytes().split(|&byte| byte == b';'));
    pairs.filter_map(move |pair| {
        let (key, value) = pair.split_at(pair.iter().position(|&byte| byte == b'=')?);
        (trim(key) == name.as_bytes()).then(|| trim(value.get(1..).unwrap_or_default()))
    })
}

/// Different tokens that were issued: the last few, and whether there were more.
#[derive(Default)]
struct Ours {
    last: Vec<Token>,
    more: bool,
}

impl Ours {
    fn add(&mut self, token: Token, issued: impl Fn(&Token) -> bool) {
        if self.last.iter().any(|known| known.reveal() == token.reveal()) || !issued(&token) {
            return;
        }
        if self.last.len() == MOST {
            self.last.remove(0);
            self.more = true;
        }
        self.last.push(token);
    }

    fn into_tokens(mut self) -> Tokens {
        match (self.last.len(), self.more) {
            (_, true) => Tokens::TooMany(self.last),
            (0 | 1, _) => self.last.pop().map_or(Tokens::Foreign, Tokens::One),
            (_, false) => Tokens::Several(self.last),
        }
    }
}

fn trim(bytes: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = bytes.iter().position(|byte| !blank(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    bytes.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const NAME: &str = "_me_sess";

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        lines.iter().map(|line| (COOKIE, HeaderValue::from_bytes(line).expect("a header value"))).collect()
    }

    fn token(fill: char) -> String {
        // 43 letters whose last carries no spare bits.
        std::iter::repeat_n(fill, 42).chain(['A']).collect()
    }

    /// Which tokens a request's cookies hold, by their first letters, and whether values differ. Those of small letters
    /// were issued.
    fn found(lines: &[&[u8]]) -> (String, bool) {
        let is_small = |token: &Token| token.reveal().starts_with(char::is_lowercase);
        let Found { tokens, differ } = find(&headers(lines), NAME, is_small);
        let kind = match &tokens {
            Tokens::Absent => "absent",
            Tokens::Foreign => "foreign",
            Tokens::One(_) => "one ",
            Tokens::Several(_) => "several ",
            Tokens::TooMany(_) => "too many ",
        };
        let letters = tokens.as_slice().iter().filter_map(|token| token.reveal().chars().next());
        (kind.chars().chain(letters).collect(), differ)
    }

    /// A header with cookies of our name: tokens of these letters, and `-` for a value that is none.
    fn line(letters: &str) -> Vec<u8> {
        let value = |letter| if letter == '-' { String::from("tossed") } else { token(letter) };
        let pairs: Vec<_> = letters.chars().map(|letter| format!("{NAME}={}", value(letter))).collect();
        pairs.join("; ").into_bytes()
    }

    #[test]
    fn garbage_neighbours_do_not_hide_the_cookie() {
        let whole = format!("\u{e9}=\u{fc}; =; a=\"b;c\"; {NAME} =\t{} ; _me_sess2=x", token('a'));
        assert_eq!(found(&[whole.as_bytes()]), ("one a".into(), false));
        assert_eq!(found(&[b"x=\xff\xfe", &line("a")]), ("one a".into(), false));
    }

    #[test]
    fn of_several_cookies_those_count_that_are_ours() {
        for (letters, expected, differ) in [
            ("a", "one a", false),
            ("aa", "one a", false),
            ("-", "foreign", false),
            ("A", "one A", false),
            ("AA", "one A", false),
            ("a-", "one a", true),
            ("-a", "one a", true),
            ("A-", "one A", true),
            ("aA", "one a", true),
            ("Aa", "one a", true),
            ("AB", "foreign", true),
            ("AaB-aC", "one a", true),
            ("ab", "several ab", true),
            ("aba", "several ab", true),
            ("aAb-c", "several abc", true),
            ("dcba", "several dcba", true),
            ("abcda", "several abcd", true),
            ("abcde", "too many bcde", true),
            ("aBbCcDd-eaf", "too many deaf", true),
        ] {
            assert_eq!(found(&[&line(letters)]), (expected.into(), differ), "{letters}");
            let apart: Vec<_> = letters.chars().map(|letter| line(&letter.to_string())).collect();
            let apart: Vec<_> = apart.iter().map(Vec::as_slice).collect();
            assert_eq!(found(&apart), (expected.into(), differ), "{letters}, a header each");
        }
        let empty = [b"_me_sess=; ".to_vec(), line("a")].concat();
        assert_eq!(found(&[&empty]), ("one a".into(), true));
    }

    #[test]
    fn names_are_exact_and_values_are_taken_as_they_are() {
        for name in ["_ME_SESS=", "_me_sessx=", "x_me_sess=", "\"_me_sess\"="] {
            assert_eq!(found(&[format!("{name}{}", token('a')).as_bytes()]), ("absent".into(), false));
        }
        assert_eq!(found(&[format!("{NAME}=\"{}\"", token('a')).as_bytes()]), ("foreign".into(), false));
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
                    prop_assert!(matches!(find(&request, NAME, |_| true).tokens, Tokens::One(_)));
                }
            }
        }
    }
}
