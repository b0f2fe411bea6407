//! Settings that hold a secret, and are printed without it.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};
use url::Url;

use super::{BadConfig, bad};

/// A secret setting: never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);
from_text!(Hidden);

impl Hidden {
    /// Takes the secret.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Hidden {
    type Err = BadConfig;

    fn from_str(text: &str) -> Result<Self, BadConfig> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The store's URL. Its password, should it hold one, is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// Takes a URL; whether a store answers to it is for `store::connect` to say.
    pub const fn new(url: String) -> Self {
        Self(url)
    }

    /// The URL, secrets included.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Url::parse(&self.0) {
            Ok(mut url) if url.password().is_some() => {
                let hidden = url.set_password(Some("hidden"));
                if hidden.is_ok() { f.write_str(url.as_str()) } else { f.write_str("(hidden)") }
            }
            Ok(_) | Err(_) => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A secret given as such or in a file, not both.
pub(super) fn secret(key: &str, text: Option<String>, file: Option<&Path>) -> Result<Option<String>, BadConfig> {
    match (text, file) {
        (Some(_), Some(_)) => bad(format!("{key} and {key}_file are both set: keep one")),
        (text, None) => Ok(text),
        (None, Some(path)) => match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(error) => bad(format!("{key}_file {} cannot be read: {error}", path.display())),
        },
    }
}
