//! Text from outside: usernames, e-mail addresses, names. Checked once, here.

use unicode_normalization::UnicodeNormalization as _;

/// Why a text cannot be used. The sentence goes behind the field's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    /// Nothing there, or white space alone.
    #[error("must not be empty")]
    Empty,
    /// More characters than the field may have.
    #[error("is too long")]
    TooLong,
    /// A control character, NUL among them, which some stores refuse and headers cannot carry.
    #[error("must not contain control characters")]
    Control,
    /// White space or an `@` in a username: an `@` tells an address from a username at login.
    #[error("must not contain white space or '@'")]
    NotAUsername,
    /// Not of the form `local@domain`.
    #[error("must be an e-mail address")]
    NotAnEmail,
    /// A lone `-` stands for "absent" in identity headers.
    #[error("must not be '-'")]
    Dash,
}

fn check(text: &str, longest: usize) -> Result<String, BadText> {
    let text: String = text.trim().nfkc().collect();
    if text.is_empty() {
        return Err(BadText::Empty);
    }
    if text.chars().count() > longest {
        return Err(BadText::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(BadText::Control);
    }
    if text == "-" {
        return Err(BadText::Dash);
    }
    Ok(text)
}

/// The form under which two spellings of a name are the same: NFKC, lower case.
fn key(text: &str) -> String {
    text.nfkc().flat_map(char::to_lowercase).nfkc().collect()
}

/// A login name, as its owner writes it: 1 to 64 characters, no white space, no `@`.
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
}

impl LoginName {
    /// Takes a username; an impossible one is simply nobody's.
    pub fn username(text: &str) -> Self {
        Self::Username(key(text.trim()))
    }

    /// Takes an e-mail address.
    pub fn email(text: &str) -> Self {
        Self::Email(key(text.trim()))
    }

    /// Takes either: what holds an `@` is an address.
    pub fn either(text: &str) -> Self {
        if text.contains('@') { Self::email(text) } else { Self::username(text) }
    }
}

macro_rules! text {
    ($name:ident) => {
        impl $name {
            /// The text as its owner writes it.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The form under which it is unique.
            pub fn key(&self) -> String {
                key(&self.0)
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

impl Username {
    /// Checks a username.
    ///
    /// # Errors
    /// [`BadText`], to be shown behind the word "username".
    pub fn new(text: &str) -> Result<Self, BadText> {
        let text = check(text, 64)?;
        if text.chars().any(|c| c.is_whitespace() || c == '@') {
            return Err(BadText::NotAUsername);
        }
        Ok(Self(text))
    }
}

impl Email {
    /// Checks an address: something on both sides of the last `@`, no white space.
    ///
    /// # Errors
    /// [`BadText`], to be shown behind the word "email".
    pub fn new(text: &str) -> Result<Self, BadText> {
        let text = check(text, 254)?;
        let parts = text.rsplit_once('@');
        let whole = parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
        if !whole || text.contains(char::is_whitespace) {
            return Err(BadText::NotAnEmail);
        }
        Ok(Self(text))
    }
}

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// [`BadText`], to be shown behind the word "name".
    pub fn new(text: &str) -> Result<Self, BadText> {
        check(text, 128).map(Self)
    }
}

/// At most `longest` bytes of `text`, cut between characters, with control characters left out:
/// for what a client says of itself and nobody must rely on.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn look_alikes_of_one_name_share_a_key() {
        let plain = Username::new("Admin").expect("plain").key();
        assert_eq!(plain, "admin");
        assert_eq!(Username::new("ＡＤＭＩＮ").expect("full width").key(), plain);
        assert_eq!(LoginName::either(" aDMIN "), LoginName::Username(plain));
    }

    #[test]
    fn what_cannot_be_a_name_is_refused_with_the_reason() {
        assert_eq!(Username::new("  "), Err(BadText::Empty));
        assert_eq!(Username::new("a b"), Err(BadText::NotAUsername));
        assert_eq!(Username::new("a@b"), Err(BadText::NotAUsername));
        assert_eq!(Username::new("a\0b"), Err(BadText::Control));
        assert_eq!(Username::new("-"), Err(BadText::Dash));
        assert_eq!(Username::new(&"x".repeat(65)), Err(BadText::TooLong));
        assert_eq!(Email::new("nobody"), Err(BadText::NotAnEmail));
        assert_eq!(Email::new("@host"), Err(BadText::NotAnEmail));
        assert!(Email::new("a@b").is_ok());
    }

    proptest! {
        #[test]
        fn a_username_finds_itself(text in "\\PC{1,80}") {
            if let Ok(name) = Username::new(&text) {
                prop_assert_eq!(LoginName::either(&text), LoginName::Username(name.key()));
                prop_assert_eq!(LoginName::either(name.as_str()), LoginName::Username(name.key()));
            }
        }

        #[test]
        fn clipping_never_cuts_a_character(text in ".{0,40}", longest in 0..30usize) {
            let clipped = clip(&text, longest);
            prop_assert!(clipped.len() <= longest);
        }
    }
}
