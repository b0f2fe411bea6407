//! Passwords as people type them, and the hashes that are kept.

use std::cmp::Ordering;
use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::text::LoginName;
use super::unicode::{DECOMPOSED, compatible_lower_case, is_invisible, is_joiner, opaque};

/// The shortest password that can be set or checked, in characters (OWASP ASVS 6.2.1).
pub const SHORTEST: usize = 8;
/// The longest password that can be set or checked, in bytes (OWASP ASVS 6.2.9 asks for at least 64).
pub const LONGEST: usize = 1024;
/// The name of this program, which attackers try as a password (OWASP ASVS 6.2.11).
const PRODUCT: &str = "sessiond";

/// A password of a length worth hashing, in the form of RFC 8265's `OpaqueString`: composed and decomposed letters are one
/// password. Redacted in logs. This memory is wiped when it is dropped; what the request was read through, the buffers
/// of the connection and of the parser, is not.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Password(String);

/// Why a password cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Fewer than [`SHORTEST`] characters.
    #[error("must have at least {SHORTEST} characters")]
    TooShort,
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
    /// The username, with digits or signs at most.
    #[error("must not be made of the username")]
    Username,
    /// The name of this program, with digits or signs at most.
    #[error("must not be made of the name of this service")]
    Product,
}

impl Password {
    /// Takes a password to be checked.
    ///
    /// # Errors
    /// [`Unfit`] for what cannot be set either: no user has it, so it is not worth a hash.
    pub fn new(text: String) -> Result<Self, Unfit> {
        let text = Zeroizing::new(text);
        if text.len() > LONGEST.saturating_mul(DECOMPOSED) {
            return Err(Unfit::TooLong);
        }
        let password = Self(opaque(&text));
        if password.0.len() > LONGEST {
            Err(Unfit::TooLong)
        } else if password.0.chars().any(char::is_control) {
            Err(Unfit::Control)
        } else if password.0.chars().any(|c| is_invisible(c) && !is_joiner(c)) {
            Err(Unfit::Invisible)
        } else if password.0.chars().nth(SHORTEST - 1).is_none() {
            Err(Unfit::TooShort)
        } else {
            Ok(password)
        }
    }

    /// Takes a password to be set for the user of that name. No composition rules (OWASP ASVS 6.2.5).
    ///
    /// # Errors
    /// As [`Self::new`], and for what is guessed first: [`Unfit::Blank`], [`Unfit::Username`], [`Unfit::Product`] and
    /// [`Unfit::Common`].
    pub fn chosen(text: String, username: &str) -> Result<Self, Unfit> {
        let password = Self::new(text)?;
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

/// A stored password hash, as a PHC string.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes a PHC string.
    pub const fn new(phc: String) -> Self {
        Self(phc)
    }

    /// The PHC string, for the store.
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
        Password::new(text.into()).err()
    }

    fn refused(text: &str, username: &str) -> Option<Unfit> {
        Password::chosen(text.into(), username).err()
    }

    #[test]
    fn length_is_counted_in_characters_below_and_in_bytes_above() {
        assert_eq!(unfit("1234567"), Some(Unfit::TooShort));
        assert_eq!(unfit("12345678"), None);
        assert_eq!(unfit("ü234567"), Some(Unfit::TooShort));
        assert_eq!(unfit("漢字漢字"), Some(Unfit::TooShort));
        assert_eq!(unfit("u\u{308}234567"), Some(Unfit::TooShort), "composed");
        assert_eq!(unfit(&"ü".repeat(512)), None);
        assert_eq!(unfit(&"ü".repeat(513)), Some(Unfit::TooLong));
        assert_eq!(unfit(&"u\u{308}".repeat(512)), None, "composed");
        assert_eq!(unfit(&"\u{3b9}\u{308}\u{301}".repeat(512)), None, "composed");
        assert_eq!(unfit(&"x".repeat(1_000_000)), Some(Unfit::TooLong));
    }

    #[test]
    fn spellings_of_one_password_are_one_password() {
        let password = |text: &str| Password::new(text.into()).expect("fit");
        for (one, other) in [
            ("Grüße aus Köln", "Gru\u{308}ße\u{a0}aus\u{3000}Ko\u{308}ln"),
            ("가나다라마바사아", "\u{1100}\u{1161}나다라마바사아"),
        ] {
            assert!(password(one).is(&password(other)), "{one}");
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
        assert_eq!(unfit("Password123"), None);
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
            assert!(unfit(word).is_none() && *word == word.to_lowercase(), "{word}");
            assert_eq!(refused(&word.to_uppercase(), "carol-anne-17"), Some(Unfit::Common), "{word}");
        }
        for word in ["", "a", "zzzzzzzzzzzzzzzz", "passwor", "password1\npassword2", "~~~~~~~~~~~~~~"] {
            assert!(!is_common(word), "{word}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_password_or_is_not(text in "\\PC{0,40}|.{0,40}", username in ".{0,10}") {
            if let Ok(password) = Password::chosen(text, &username) {
                let again = String::from_utf8(password.expose().to_vec()).expect("UTF-8");
                prop_assert!(Password::new(again).expect("still fit").is(&password));
            }
        }
    }

    #[test]
    fn debug_shows_nothing() {
        let password = Password::new("open sesame".into()).expect("long enough");
        assert_eq!(format!("{password:?}"), "Password(…)");
        assert_eq!(format!("{:?}", PasswordHash::new("$argon2id$…".into())), "PasswordHash(…)");
    }
}
