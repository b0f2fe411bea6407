//! Passwords as people type them, and the hashes that are kept.

use std::cmp::Ordering;
use std::{fmt, iter};

use subtle::ConstantTimeEq as _;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::text::LoginName;
use super::unicode::{DECOMPOSED, compatible_lower_case, is_invisible, is_joiner, opaque};

/// The shortest password that can be set unless more is asked for, in characters (OWASP ASVS 6.2.1). One that came with its
/// user from elsewhere may be shorter.
pub const SHORTEST: usize = 8;
/// The longest password that can be set or checked, in bytes (OWASP ASVS 6.2.9 asks for at least 64).
pub const LONGEST: usize = 1024;
/// The name of this program, which attackers try as a password (OWASP ASVS 6.2.11).
const PRODUCT: &str = "sessiond";

/// A password in the form of RFC 8265's `OpaqueString`: composed and decomposed letters are one password. Redacted in
/// logs. This memory is wiped when it is dropped; what the request was read through, the buffers of the connection and of
/// the parser, is not.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Password(String);

/// What a password has to be that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    shortest: usize,
    /// In lower case, sorted.
    forbidden: Vec<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { shortest: SHORTEST, forbidden: Vec::new() }
    }
}

impl Rules {
    /// At least so many characters, and none of the passwords in `list`, one a line, whatever their case.
    pub fn new(shortest: usize, list: &str) -> Self {
        let lines = list.lines().map(|line| compatible_lower_case(line.trim())).filter(|line| !line.is_empty());
        let mut forbidden: Vec<_> = lines.collect();
        forbidden.sort_unstable();
        Self { shortest, forbidden }
    }

    /// How many characters a password has to have.
    pub const fn shortest(&self) -> usize {
        self.shortest
    }

    fn forbid(&self, lower: &str) -> bool {
        self.forbidden.binary_search_by(|line| line.as_str().cmp(lower)).is_ok()
    }
}

/// A password as it was typed to be checked. A hash that was made elsewhere may be of the bytes as they were typed, a hash
/// of ours is of the prepared form. Redacted and wiped as [`Password`] is.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Typed {
    text: String,
    #[zeroize(skip)]
    prepared: Option<Password>,
}

/// Why a password cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Fewer characters than this.
    #[error("must have at least {0} characters")]
    TooShort(usize),
    /// More than [`LONGEST`] bytes.
    #[error("must have at most {LONGEST} bytes")]
    TooLong,
    /// A control character, NUL among them.
    #[error("must not contain control characters")]
    Control,
    /// A character that shows nothing, which would be missed when it is typed again.
    #[error("must not contain invisible characters")]
    Invisible,
    /// Nothing but spaces and invisible characters.
    #[error("must not be spaces alone")]
    Blank,
    /// On the list of passwords that everybody tries first (OWASP ASVS 6.2.4).
    #[error("is one of the most common passwords")]
    Common,
    /// On the operator's own list.
    #[error("is on this service's list of passwords that cannot be used")]
    Forbidden,
    /// The username, with digits or signs at most.
    #[error("must not be made of the username")]
    Username,
    /// The name of this program, with digits or signs at most.
    #[error("must not be made of the name of this service")]
    Product,
}

impl Typed {
    /// Takes what was typed. `None` where it is nobody's password, so that it is not worth a hash: nothing at all, NUL in
    /// it, or too long. What can no longer be set, since it is too short or has a control or an invisible character in it,
    /// may have been set elsewhere.
    pub fn new(text: String) -> Option<Self> {
        let mut typed = Self { text, prepared: None };
        if typed.text.is_empty() || typed.text.contains('\0') {
            return None;
        }
        match Password::prepare(&typed.text) {
            Ok(password) => typed.prepared = Some(password),
            Err(Unfit::TooLong) => return None,
            Err(_) if typed.text.len() > LONGEST => return None,
            Err(_) => {}
        }
        Some(typed)
    }

    /// The prepared form, if it has one.
    pub const fn prepared(&self) -> Option<&Password> {
        self.prepared.as_ref()
    }

    /// The bytes that a hash made elsewhere may be of: those that were typed, and those of the prepared form where they
    /// differ.
    pub fn forms(&self) -> impl Iterator<Item = &[u8]> {
        let typed = self.text.as_bytes();
        let prepared = self.prepared.as_ref().map(Password::expose).filter(|prepared| *prepared != typed);
        iter::once(typed).chain(prepared)
    }

    /// Whether it is this password, in a time that does not depend on where they differ.
    pub fn is(&self, password: &Password) -> bool {
        self.prepared.as_ref().is_some_and(|prepared| prepared.is(password))
    }
}

impl From<Password> for Typed {
    fn from(password: Password) -> Self {
        Self { text: password.0.clone(), prepared: Some(password) }
    }
}

impl fmt::Debug for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Typed(…)")
    }
}

impl Password {
    fn prepare(text: &str) -> Result<Self, Unfit> {
        if text.len() > LONGEST.saturating_mul(DECOMPOSED) {
            return Err(Unfit::TooLong);
        }
        let password = Self(opaque(text));
        if password.0.len() > LONGEST {
            Err(Unfit::TooLong)
        } else if password.0.chars().any(char::is_control) {
            Err(Unfit::Control)
        } else if password.0.chars().any(|c| is_invisible(c) && !is_joiner(c)) {
            Err(Unfit::Invisible)
        } else {
            Ok(password)
        }
    }

    /// Takes a password to be set for the user of that name. No composition rules (OWASP ASVS 6.2.5).
    ///
    /// # Errors
    /// [`Unfit`] says why it cannot be set.
    pub fn chosen(text: String, username: &str, rules: &Rules) -> Result<Self, Unfit> {
        let password = Self::prepare(&Zeroizing::new(text))?;
        if password.0.chars().nth(rules.shortest.saturating_sub(1)).is_none() {
            return Err(Unfit::TooShort(rules.shortest));
        }
        // The visible form: a common password is not improved by a space at its end, or by invisible characters.
        let lower = Zeroizing::new(compatible_lower_case(&password.0));
        let visible = Zeroizing::new(lower.chars().filter(|c| !is_invisible(*c)).collect::<String>());
        let lower = visible.trim();
        if lower.is_empty() {
            return Err(Unfit::Blank);
        }
        let username = match LoginName::username(username) {
            LoginName::Username(key) => key,
            LoginName::Email(_) | LoginName::Impossible(_) => compatible_lower_case(username),
        };
        if is_made_of(lower, &[&username]) {
            return Err(Unfit::Username);
        }
        if is_made_of(lower, &[PRODUCT, &username]) {
            return Err(Unfit::Product);
        }
        if is_common(lower) {
            return Err(Unfit::Common);
        }
        if rules.forbid(lower) {
            return Err(Unfit::Forbidden);
        }
        Ok(password)
    }

    /// The bytes to be hashed.
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether it is the same password, in a time that does not depend on where they differ.
    pub fn is(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Passwords that everybody tries first: in lower case, sorted by their bytes. Where they come from: see `docs/NOTICE`.
const COMMON: &str = include_str!("common_passwords.txt");

/// Whether `word` is a line of [`COMMON`]; the list is searched in place, so that it takes no memory of its own.
fn is_common(word: &str) -> bool {
    let mut rest = COMMON.as_bytes();
    while !rest.is_empty() {
        let (before, after) = rest.split_at(rest.len() / 2);
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let (before, from_line) = rest.split_at(start);
        let end =
            after.iter().position(|byte| *byte == b'\n').map_or(from_line.len(), |end| rest.len() / 2 - start + end);
        let (line, after) = from_line.split_at(end);
        match line.cmp(word.as_bytes()) {
            Ordering::Equal => return true,
            Ordering::Less => rest = after.get(1..).unwrap_or_default(),
            Ordering::Greater => rest = before,
        }
    }
    false
}

/// Whether one of `words` is in `password`, forwards or backwards, whole or only its letters, and nothing but digits
/// and signs beside them. A word of digits makes only what repeats it.
fn is_made_of(password: &str, words: &[&str]) -> bool {
    let alphanumeric = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
    let mut left = Zeroizing::new(alphanumeric(password));
    let mut found = false;
    for word in words {
        let letters: String = word.chars().filter(|c| c.is_alphabetic()).collect();
        for form in [alphanumeric(word), letters] {
            for form in [form.chars().rev().collect(), form] {
                if form.is_empty() || !left.contains(&form) {
                    continue;
                }
                let without = Zeroizing::new(left.replace(&form, ""));
                if without.is_empty() || form.contains(char::is_alphabetic) {
                    found = true;
                    left = without;
                }
            }
        }
    }
    found && !left.contains(char::is_alphabetic)
}

/// A stored password hash, in one of the forms that `password` writes and reads.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes the stored form.
    pub const fn new(stored: String) -> Self {
        Self(stored)
    }

    /// What is stored for a user without a password.
    pub fn none() -> Self {
        Self(String::from("!"))
    }

    /// The stored form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unfit(text: &str) -> Option<Unfit> {
        refused(text, "nobody")
    }

    fn typed(text: &str) -> Typed {
        Typed::new(text.into()).expect("worth a hash")
    }

    fn refused(text: &str, username: &str) -> Option<Unfit> {
        Password::chosen(text.into(), username, &Rules::default()).err()
    }

    #[test]
    fn length_is_counted_in_characters_below_and_in_bytes_above() {
        assert_eq!(unfit("1234567"), Some(Unfit::TooShort(8)));
        assert_eq!(unfit("12345678"), Some(Unfit::Common), "long enough");
        assert_eq!(unfit("ü234567"), Some(Unfit::TooShort(8)));
        assert_eq!(unfit("漢字漢字"), Some(Unfit::TooShort(8)));
        assert_eq!(unfit("u\u{308}234567"), Some(Unfit::TooShort(8)), "composed");
        assert_eq!(unfit(&"ü".repeat(512)), None);
        assert_eq!(unfit(&"ü".repeat(513)), Some(Unfit::TooLong));
        assert_eq!(unfit(&"u\u{308}".repeat(512)), None, "composed");
        assert_eq!(unfit(&"\u{3b9}\u{308}\u{301}".repeat(512)), None, "composed");
        assert_eq!(unfit(&"x".repeat(1_000_000)), Some(Unfit::TooLong));
    }

    #[test]
    fn what_cannot_be_set_may_have_been_set_elsewhere_but_not_nothing_nul_or_too_much() {
        for text in ["a", "tab\ttab", "hidden\u{ad}hyphen", " ", &"ü".repeat(512), &"u\u{308}".repeat(512)] {
            assert!(Typed::new(text.into()).is_some(), "{text:?}");
        }
        let long = format!("\t{}", "x".repeat(1024));
        for text in ["", "\0", "nul\0nul\0nul", &long, &"ü".repeat(513), &"x".repeat(1_000_000)] {
            assert!(Typed::new(text.into()).is_none(), "{text:?}");
        }
    }

    #[test]
    fn what_was_typed_is_tried_before_the_prepared_form_and_once_where_they_are_equal() {
        let forms = |text| typed(text).forms().map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(forms("A\u{30a}b"), ["A\u{30a}b".as_bytes(), "Åb".as_bytes()]);
        assert_eq!(forms("Åb"), ["Åb".as_bytes()]);
        assert_eq!(forms("tab\tA\u{30a}"), ["tab\tA\u{30a}".as_bytes()]);
        assert!(typed("tab\t").prepared().is_none());
    }

    #[test]
    fn spellings_of_one_password_are_one_password() {
        let password = |text: &str| Password::chosen(text.into(), "nobody", &Rules::default()).expect("fit");
        for (one, other) in [
            ("Grüße aus Köln", "Gru\u{308}ße\u{a0}aus\u{3000}Ko\u{308}ln"),
            ("가나다라마바사아", "\u{1100}\u{1161}나다라마바사아"),
        ] {
            assert!(password(one).is(&password(other)) && typed(other).is(&password(one)), "{one}");
        }
        assert!(!password("open sesame").is(&password("Open sesame")), "case counts");
    }

    #[test]
    fn what_cannot_be_typed_again_is_refused() {
        for (text, why) in [
            ("nul\0nul\0nul", Unfit::Control),
            ("tab\ttab\ttab", Unfit::Control),
            ("line\nline\n", Unfit::Control),
            ("hidden\u{200b}space", Unfit::Invisible),
            ("hidden\u{ad}hyphen", Unfit::Invisible),
            ("hidden\u{202e}turn", Unfit::Invisible),
        ] {
            assert_eq!(unfit(text), Some(why), "{text:?}");
        }
        for text in ["👩\u{200d}👩\u{200d}👧 🤔 ❤\u{fe0f} ok", "می\u{200c}خواهم بدانم", "♥♦♣♠♥♦♣♠"]
        {
            assert_eq!(refused(text, "alice"), None, "{text}");
        }
    }

    #[test]
    fn what_everybody_tries_first_cannot_be_set_but_can_be_checked() {
        for common in ["Password123", "football1", "PASSWORD", "iloveyou", "zxcvbnm1", "passw0rd"] {
            assert_eq!(refused(common, "alice"), Some(Unfit::Common), "{common}");
        }
        assert_eq!(refused("        ", "alice"), Some(Unfit::Blank));
        assert_eq!(refused(&"\u{200d}".repeat(10), "alice"), Some(Unfit::Blank), "joiners alone");
        assert_eq!(refused(" password123 ", "alice"), Some(Unfit::Common));
        assert_eq!(refused("password\u{fe0f}1", "alice"), Some(Unfit::Common));
        assert_eq!(refused(&"\u{3000}".repeat(20), "alice"), Some(Unfit::Blank));
        assert!(Typed::new("Password123".into()).is_some());
        assert_eq!(refused("correct horse battery staple", "alice"), None);
    }

    #[test]
    fn what_is_made_of_the_username_or_the_product_cannot_be_set() {
        for (text, username) in [
            ("alice123", "alice"),
            ("Alice-2026!", "ALICE"),
            ("alicealice", "alice"),
            ("ecila4711", "alice"),
            ("!!!a.l.i.c.e", "alice"),
            ("admin2026!", "admin"),
            ("12345alice67890", "alice"),
            ("bob12345", "bob42"),
            ("ａｌｉｃｅ１２３", "alice"),
            ("0815-0815", "0815"),
            ("ΝΙΚΟΣ2026", "νικος"),
            ("marie-luise", "marie.luise"),
            ("marieluise1", "marie.luise"),
        ] {
            assert_eq!(refused(text, username), Some(Unfit::Username), "{text} of {username}");
        }
        for text in ["sessiond", "Sessiond1", "sessiond2026", "sessiond-alice", "dnoisses!"] {
            assert_eq!(refused(text, "alice"), Some(Unfit::Product), "{text}");
        }
        for (text, username) in [
            ("alice in wonderland", "alice"),
            ("4711-0815-4711", "alice"),
            ("4711-0815-4711", "..."),
            ("4711-0815-4711", "08"),
            ("correct horse", "a"),
        ] {
            assert_eq!(refused(text, username), None, "{text} of {username}");
        }
    }

    #[test]
    fn the_list_is_sorted_and_holds_only_passwords_that_could_be_set_otherwise() {
        let lines: Vec<_> = COMMON.lines().collect();
        assert!(lines.len() > 8_000 && lines.is_sorted());
        for word in lines {
            let prepared = Password::prepare(word).expect("fit");
            assert!(prepared.0.chars().count() >= SHORTEST && *word == word.to_lowercase(), "{word}");
            assert_eq!(refused(&word.to_uppercase(), "carol-anne-17"), Some(Unfit::Common), "{word}");
        }
        for word in ["", "a", "zzzzzzzzzzzzzzzz", "passwor", "password1\npassword2", "~~~~~~~~~~~~~~"] {
            assert!(!is_common(word), "{word}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_password_or_is_not(text in "\\PC{0,40}|.{0,40}", username in ".{0,10}") {
            if let Ok(password) = Password::chosen(text, &username, &Rules::default()) {
                let again = String::from_utf8(password.expose().to_vec()).expect("UTF-8");
                prop_assert!(typed(&again).is(&password));
            }
        }
    }

    #[test]
    fn debug_shows_nothing() {
        let password = Password::chosen("open sesame".into(), "alice", &Rules::default()).expect("long enough");
        assert_eq!(format!("{password:?}"), "Password(…)");
        assert_eq!(format!("{:?}", Typed::from(password)), "Typed(…)");
        assert_eq!(format!("{:?}", PasswordHash::new("$argon2id$…".into())), "PasswordHash(…)");
    }

    #[test]
    fn an_operator_asks_for_more() {
        let rules = Rules::new(15, "Correct Horse Battery Staple\n\n  four walnuts sing  \n");
        let refused = |text: &str| Password::chosen(text.into(), "alice", &rules).err();
        assert_eq!(refused("fourteen chars"), Some(Unfit::TooShort(15)));
        assert_eq!(refused("correct HORSE battery staple"), Some(Unfit::Forbidden));
        assert_eq!(refused("Four walnuts sing"), Some(Unfit::Forbidden));
        assert_eq!(refused("four walnuts sing quietly"), None);
    }
}
