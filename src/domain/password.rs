//! Passwords as people type them, and the hashes that are kept.

use std::collections::HashSet;
use std::fmt;
use std::sync::LazyLock;

use zeroize::ZeroizeOnDrop;

/// The shortest password that can be set or checked, in bytes (OWASP ASVS 6.2.1).
pub const SHORTEST: usize = 8;
/// The longest password that can be set or checked, in bytes (OWASP ASVS 6.2.9 asks for at least 64).
pub const LONGEST: usize = 1024;

/// A password of a length worth hashing. Redacted in logs, wiped from memory when dropped.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Password(String);

/// Why a password cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Fewer than [`SHORTEST`] bytes.
    #[error("must have at least {SHORTEST} bytes")]
    TooShort,
    /// More than [`LONGEST`] bytes.
    #[error("must have at most {LONGEST} bytes")]
    TooLong,
    /// On the list of passwords that everybody tries first (the idea of OWASP ASVS 6.2.4).
    #[error("is one of the most common passwords")]
    Common,
}

impl Password {
    /// Takes a password to be checked.
    ///
    /// # Errors
    /// [`Unfit::TooShort`] and [`Unfit::TooLong`]: nobody's password, so not worth a hash.
    pub fn new(text: String) -> Result<Self, Unfit> {
        let password = Self(text);
        match password.0.len() {
            ..SHORTEST => Err(Unfit::TooShort),
            SHORTEST..=LONGEST => Ok(password),
            _ => Err(Unfit::TooLong),
        }
    }

    /// Takes a password to be set. No composition rules (OWASP ASVS 6.2.5).
    ///
    /// # Errors
    /// As [`Self::new`], and [`Unfit::Common`].
    pub fn chosen(text: String) -> Result<Self, Unfit> {
        let password = Self::new(text)?;
        if COMMON.contains(password.0.to_lowercase().as_str()) {
            return Err(Unfit::Common);
        }
        Ok(password)
    }

    /// The bytes to be hashed.
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

static COMMON: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("common_passwords.txt").lines().collect());

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

    #[test]
    fn length_is_counted_in_bytes_and_has_both_ends() {
        assert_eq!(Password::new("1234567".into()).err(), Some(Unfit::TooShort));
        assert!(Password::new("12345678".into()).is_ok());
        assert!(Password::new("ü".repeat(512)).is_ok());
        assert_eq!(Password::new("ü".repeat(513)).err(), Some(Unfit::TooLong));
    }

    #[test]
    fn what_everybody_tries_first_cannot_be_set_but_can_be_checked() {
        assert_eq!(Password::chosen("Password123".into()).err(), Some(Unfit::Common));
        assert!(Password::new("Password123".into()).is_ok());
        assert!(Password::chosen("correct horse battery staple".into()).is_ok());
    }

    #[test]
    fn the_list_holds_only_passwords_that_could_be_set_otherwise() {
        assert!(COMMON.len() > 250);
        for word in COMMON.iter() {
            assert!(word.len() >= SHORTEST && *word == word.to_lowercase(), "{word}");
        }
    }

    #[test]
    fn debug_shows_nothing() {
        let password = Password::new("open sesame".into()).expect("long enough");
        assert_eq!(format!("{password:?}"), "Password(…)");
        assert_eq!(format!("{:?}", PasswordHash::new("$argon2id$…".into())), "PasswordHash(…)");
    }
}
