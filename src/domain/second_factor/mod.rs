//! The second factor: a secret that the user's authenticator shares, the codes it makes, and codes for when it is lost.
//!
//! `totp` is the secret and its codes, `recovery` the codes on paper, and `typed` reads what a person types of either.
//! `uri` is the secret as authenticators scan it. `sealed` is how secrets and codes are kept, and `proof`
//! is what of them a store judges; each imports those before it.

pub mod proof;
pub mod recovery;
pub mod sealed;
pub mod totp;
pub mod typed;
pub mod uri;

use std::fmt;

use zeroize::Zeroizing;

/// Text that holds a secret: shown once to the user it belongs to, and to nobody else.
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes the text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}
