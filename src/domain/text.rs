//! Text from outside: usernames, e-mail addresses, names. Checked once, here.

use unicode_normalization::UnicodeNormalization as _;

use super::unicode::{DECOMPOSED, compatible_lower_case, is_invisible, is_joiner, username_case_mapped, without_twins};

/// Why a text cannot be used. The sentence goes behind the field's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    /// Nothing there, or nothing that can be seen.
    #[error("must not be empty")]
    Empty,
    /// More characters than the field may have.
    #[error("is too long")]
    TooLong,
    /// A control character, NUL among them, which some stores refuse and headers cannot carry.
    #[error("must not contain control characters")]
    Control,
    /// A character that shows nothing or turns the line around, so that two names look the same.
    #[error("must not contain invisible characters")]
    Invisible,
    /// White space or an `@` in a username: an `@` distinguishes an address from a username at login.
    #[error("must not contain white space or '@'")]
    NotAUsername,
    /// What RFC 8265 lets no username hold: symbols, ligatures, letters of both directions.
    #[error("must consist of letters, digits and ASCII punctuation, written in one direction")]
    NotLetters,
    /// Not of the form `local@domain`.
    #[error("must be an e-mail address")]
    NotAnEmail,
    /// A lone `-` stands for "absent" in identity headers.
    #[error("must not be '-'")]
    Dash,
}

/// The most characters of a username (after mapping), of an e-mail address (RFC 5321, section 4.5.3.1) and of a name.
const USERNAME: usize = 64;
const EMAIL: usize = 254;
const NAME: usize = 128;

/// `text` without white space around it, unless it is longer than anything that `longest` characters could be written in:
/// then nothing more is done with it.
fn bounded(text: &str, longest: usize) -> Result<&str, BadText> {
    if text.len() > longest.saturating_mul(4 * DECOMPOSED) {
        return Err(BadText::TooLong);
    }
    let text = text.trim();
    if text.is_empty() { Err(BadText::Empty) } else { Ok(text) }
}

/// NFKC, with nothing in it that cannot be seen but what `passes`.
fn compatible(text: &str, longest: usize, passes: impl Fn(char) -> bool) -> Result<String, BadText> {
    let text: String = bounded(text, longest)?.nfkc().collect();
    let text = text.trim();
    if text.chars().nth(longest).is_some() {
        return Err(BadText::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(BadText::Control);
    }
    if text.chars().any(|c| is_invisible(c) && !passes(c)) {
        return Err(BadText::Invisible);
    }
    if !text.chars().any(|c| !c.is_whitespace() && !is_invisible(c)) {
        return Err(BadText::Empty);
    }
    if text == "-" {
        return Err(BadText::Dash);
    }
    Ok(text.to_owned())
}

/// A text to be searched in, or for, whatever its case, its width and the composition of its letters.
pub fn folded(text: &str) -> String {
    compatible_lower_case(text)
}

/// A login name, as its owner writes it: 1 to 64 characters of RFC 8265's `UsernameCaseMapped`, no `@`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username(String);

/// An e-mail address, never sent to, only compared: at most 254 characters (RFC 5321 section 4.5.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(String);

/// What a person is called: 1 to 128 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

/// What a user typed to say who they are, in the form under which it is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginName {
    /// A username's key.
    Username(String),
    /// An e-mail address's key.
    Email(String),
    /// A name that no user can have, or the beginning of it. It is not looked up.
    Impossible(String),
}

impl LoginName {
    /// Takes a username.
    pub fn username(text: &str) -> Self {
        username_key(text).map_or_else(|_| Self::impossible(text), Self::Username)
    }

    /// Takes an e-mail address.
    pub fn email(text: &str) -> Self {
        Email::new(text).map_or_else(|_| Self::impossible(text), |email| Self::Email(email.key()))
    }

    /// Takes either: what holds an `@` is an address.
    pub fn either(text: &str) -> Self {
        if text.contains('@') { Self::email(text) } else { Self::username(text) }
    }

    /// No more of it is kept than a username can have.
    fn impossible(text: &str) -> Self {
        Self::Impossible(text.chars().take(USERNAME).collect())
    }
}

macro_rules! text {
    ($name:ident) => {
        impl $name {
            /// The text as its owner writes it.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Takes back what the store holds.
            pub(crate) const fn stored(text: String) -> Self {
                Self(text)
            }
        }
    };
}
text!(Username);
text!(Email);
text!(Name);

/// The form in which two spellings of a username are equal: that of RFC 8265, with the remaining look-alikes made equal
/// too.
fn username_key(text: &str) -> Result<String, BadText> {
    let text = bounded(text, USERNAME)?;
    if text.chars().any(char::is_control) {
        return Err(BadText::Control);
    }
    if text.contains(char::is_whitespace) {
        return Err(BadText::NotAUsername);
    }
    let Some(mapped) = username_case_mapped(text) else {
        return Err(if text.chars().any(is_invisible) { BadText::Invisible } else { BadText::NotLetters });
    };
    if mapped.contains('@') {
        return Err(BadText::NotAUsername);
    }
    if mapped == "-" {
        return Err(BadText::Dash);
    }
    if mapped.chars().nth(USERNAME).is_some() {
        return Err(BadText::TooLong);
    }
    Ok(without_twins(&mapped))
}

impl Username {
    /// Checks a username. It is kept as it was given, composed (NFC).
    ///
    /// # Errors
    /// [`BadText`], to be shown behind the word "username".
    pub fn new(text: &str) -> Result<Self, BadText> {
        username_key(text)?;
        Ok(Self(text.trim().nfc().collect()))
    }

    /// The form under which it is unique.
    pub fn key(&self) -> String {
        // What is here was checked when it was made.
        username_key(&self.0).unwrap_or_else(|_| self.0.clone())
    }
}

impl Email {
    /// Checks an address: something on both sides of the last `@`, no white space.
    ///
    /// # Errors
    /// [`BadText`], to be shown behind the word "email".
    pub fn new(text: &str) -> Result<Self, BadText> {
        let text = compatible(text, EMAIL, |_| false)?;
        let parts = text.rsplit_once('@');
        let whole = parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
        if !whole || text.contains(char::is_whitespace) {
            return Err(BadText::NotAnEmail);
        }
        Ok(Self(text))
    }

    /// The form under which it is unique.
    pub fn key(&self) -> String {
        compatible_lower_case(&self.0)
    }
}

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// [`BadText`], to be shown behind the word "name".
    pub fn new(text: &str) -> Result<Self, BadText> {
        compatible(text, NAME, is_joiner).map(Self)
    }
}

/// At most `longest` bytes of `text`, cut between characters, with control characters left out: for what a client says
/// about itself, which nothing relies on.
pub fn clip(text: &str, longest: usize) -> String {
    let mut clipped = String::with_capacity(text.len().min(longest));
    for c in text.chars().filter(|c| !c.is_control()) {
        if clipped.len() + c.len_utf8() > longest {
            break;
        }
        clipped.push(c);
    }
    clipped
}

/// `text` as it can be shown to people, who cannot be deceived by it: whatever shows nothing or turns the line around is
/// written out, as `\u{202e}`.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_invisible(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_cannot_be_seen_is_written_out() {
        assert_eq!(visible("a\r\nb\u{1b}[31m\u{202e}c\u{200b}"), r"a\u{d}\u{a}b\u{1b}[31m\u{202e}c\u{200b}");
        assert_eq!(visible("Zoë <b> \\ 漢 👍"), "Zoë <b> \\ 漢 👍");
    }

    fn key(text: &str) -> String {
        Username::new(text).unwrap_or_else(|bad| panic!("{text}: {bad}")).key()
    }

    #[test]
    fn look_alikes_of_one_name_share_a_key() {
        for (texts, plain) in [
            (&["Admin", "ＡＤＭＩＮ", " aDMIN ", "admİn", "adm\u{131}\u{307}n"][..], "admin"),
            (&["ΝΙΚΟΣ", "νικος", "νικοσ", "Νικος"], "νικοσ"),
            (&["Zoë", "zoe\u{308}", "ZOE\u{308}"], "zoë"),
            (&["ｶﾞ", "ガ", "カ\u{3099}"], "ガ"),
            (&["Straße"], "straße"),
        ] {
            for text in texts {
                assert_eq!(key(text), plain, "{text}");
                assert_eq!(LoginName::either(text), LoginName::Username(plain.into()), "{text}");
            }
        }
        let email = |text| Email::new(text).expect("an address").key();
        assert_eq!(email("ΝΙΚΟΣ@Example.com"), email("νικος@example.COM"));
    }

    #[test]
    fn a_username_is_shown_as_it_was_given() {
        for text in ["Alice", "ＡＤＭＩＮ", "ΝΙΚΟΣ", "O'Neill", "a:b/c"] {
            assert_eq!(Username::new(text).expect("fit").as_str(), text);
        }
        assert_eq!(Username::new(" zoe\u{308} ").expect("fit").as_str(), "zoë");
    }

    #[test]
    fn a_name_with_what_cannot_be_seen_is_refused() {
        for odd in [
            "adm\u{ad}in",
            "\u{202e}nimda",
            "admin\u{200b}",
            "\u{3164}",
            "\u{ffa0}",
            "ad\u{200d}min",
            "admin\u{fe0f}",
            "\u{feff}admin",
            "ad\u{2060}min",
            "admin\u{e0041}",
            "a\u{34f}b",
            "a\u{115f}b",
            "a\u{180e}b",
        ] {
            assert_eq!(Username::new(odd), Err(BadText::Invisible), "{odd:?}");
            assert!(matches!(LoginName::either(odd), LoginName::Impossible(_)), "{odd:?}");
            assert!(Name::new(odd).is_err() || odd.contains(is_joiner), "{odd:?}");
            let email = format!("{odd}@example.com");
            assert_eq!(Email::new(&email), Err(BadText::Invisible), "{email:?}");
            assert!(matches!(LoginName::either(&email), LoginName::Impossible(_)), "{email:?}");
        }
        for odd in ["\u{301}admin", "♚", "ﬁona", "Ⅳ", "\u{5d0}admin", "👍", "a\u{2800}b"] {
            assert!(Username::new(odd).is_err(), "{odd:?}");
        }
        assert_eq!(Name::new("\u{200d}\u{fe0f}"), Err(BadText::Empty));
        assert_eq!(Name::new("\u{2800}"), Err(BadText::Invisible));
        for name in ["نامه\u{200c}ای", "❤\u{fe0f} Zoë", "Ünn O\u{2019}Néill", "李 小龍"] {
            assert!(Name::new(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_a_name_is_refused_with_the_reason() {
        assert_eq!(Username::new("  "), Err(BadText::Empty));
        assert_eq!(Username::new("a b"), Err(BadText::NotAUsername));
        assert_eq!(Username::new("a@b"), Err(BadText::NotAUsername));
        assert_eq!(Username::new("a＠b"), Err(BadText::NotAUsername));
        assert_eq!(Username::new("a\0b"), Err(BadText::Control));
        assert_eq!(Username::new("-"), Err(BadText::Dash));
        assert_eq!(Username::new("－"), Err(BadText::Dash));
        assert_eq!(Username::new(&"x".repeat(65)), Err(BadText::TooLong));
        assert_eq!(Email::new("nobody"), Err(BadText::NotAnEmail));
        assert_eq!(Email::new("@host"), Err(BadText::NotAnEmail));
        assert!(Email::new("a@b").is_ok());
    }

    #[test]
    fn length_is_counted_in_characters_after_mapping_and_bounded_before() {
        for letter in ["x", "ß", "漢", "\u{1f82}", "α\u{313}\u{300}\u{345}", "e\u{323}\u{302}", "ｶﾞ"] {
            assert!(Username::new(&letter.repeat(64)).is_ok(), "{letter}");
            assert_eq!(Username::new(&letter.repeat(65)), Err(BadText::TooLong), "{letter}");
            assert!(matches!(LoginName::username(&letter.repeat(65)), LoginName::Impossible(_)), "{letter}");
        }
        // One ligature of three bytes is eighteen letters.
        assert_eq!(Name::new(&"\u{fdfa}".repeat(8)), Err(BadText::TooLong));
        for long in
            ["x".repeat(10_000), "i\u{307}".repeat(10_000), " ".repeat(10_000), format!("{}@b", "x".repeat(10_000))]
        {
            assert!(matches!(LoginName::either(&long), LoginName::Impossible(_)));
            assert_eq!(Email::new(&long), Err(BadText::TooLong));
        }
    }

    proptest! {
        #[test]
        fn a_username_finds_itself(text in "\\PC{1,80}|[a-zİıςΣéｶﾞＡ\u{300}-\u{330}]{1,20}") {
            if let Ok(name) = Username::new(&text) {
                let key = LoginName::Username(name.key());
                for spelling in [&text, name.as_str(), &name.key()] {
                    prop_assert_eq!(&LoginName::either(spelling), &key, "{:?}", spelling);
                }
                prop_assert!(!name.as_str().chars().any(|c| c.is_control() || c.is_whitespace()));
            }
        }

        #[test]
        fn clipping_never_cuts_a_character(text in ".{0,40}", longest in 0..30usize) {
            let clipped = clip(&text, longest);
            prop_assert!(clipped.len() <= longest);
        }
    }
}
