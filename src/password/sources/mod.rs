//! Hashes as other programs write them, by the scheme that is named for each. It is never guessed: the same `$2b$…` may be
//! of a password or of its SHA-256.

use super::schemes::Hash;
use super::schemes::argon::Argon2Hash;
use super::schemes::bcrypt::BcryptHash;
use super::schemes::pbkdf2::{Digest, Pbkdf2Hash};
use super::schemes::refusal::{FORM, Why};
use super::schemes::scrypt::ScryptHash;
use super::schemes::sha_crypt::ShaCryptHash;
use super::schemes::text::{costs_in_any_order, number, padded_or_not, parts};
use super::stored::foreign;
use crate::domain::password::PasswordHash;

mod refused;

/// The longest hash that is looked at, in bytes.
const LONGEST: usize = 512;

/// Which program, or which standard, a hash is written by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// The PHC string of argon2id.
    Argon2id,
    /// The PHC string of argon2i.
    Argon2i,
    /// bcrypt of the password.
    Bcrypt,
    /// Rocket.Chat: bcrypt of the password's SHA-256 in hexadecimal.
    RocketChat,
    /// Medama: the PHC string of argon2id.
    Medama,
    /// Django, whose prefix says which of its hashers it is.
    Django,
    /// passlib, whose prefix says which of its schemes it is.
    Passlib,
    /// werkzeug, with which Flask hashes.
    Werkzeug,
    /// The PHC string of PBKDF2.
    Pbkdf2,
    /// The PHC string of scrypt.
    Scrypt,
    /// A file made by `htpasswd`: bcrypt, or SHA-crypt.
    Htpasswd,
    /// There is no password.
    None,
}

impl Scheme {
    /// The scheme of that name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "argon2id" => Self::Argon2id,
            "argon2i" => Self::Argon2i,
            "bcrypt" => Self::Bcrypt,
            "rocketchat" => Self::RocketChat,
            "medama" => Self::Medama,
            "django" => Self::Django,
            "passlib" => Self::Passlib,
            "werkzeug" => Self::Werkzeug,
            "pbkdf2" => Self::Pbkdf2,
            "scrypt" => Self::Scrypt,
            "htpasswd" => Self::Htpasswd,
            "none" => Self::None,
            _ => return None,
        })
    }

    /// Reads a hash.
    ///
    /// # Errors
    /// The reason why it cannot be taken over, in words that go behind "its hash".
    pub fn read(self, text: &str) -> Result<PasswordHash, &'static str> {
        if text.len() > LONGEST {
            return Err("is too long");
        }
        if self == Self::None || self == Self::Django && (text.is_empty() || text.starts_with('!')) {
            return Ok(PasswordHash::none());
        }
        if text.trim().is_empty() {
            return Err("is empty");
        }
        let read = match self {
            Self::Argon2id | Self::Medama => argon2(text, "argon2id"),
            Self::Argon2i => argon2(text, "argon2i"),
            Self::Bcrypt => bcrypt(text, false),
            Self::RocketChat => bcrypt(text, true),
            Self::Django => django(text),
            Self::Passlib => passlib(text),
            Self::Werkzeug => werkzeug(text),
            Self::Pbkdf2 => pbkdf2(text),
            Self::Scrypt => scrypt(text),
            Self::Htpasswd => htpasswd(text),
            Self::None => return Ok(PasswordHash::none()),
        };
        // What is known by its prefix is refused by its name.
        read.map(|hash| foreign(&hash)).map_err(|why| refused::by_name(text).unwrap_or(why))
    }
}

/// `$argon2id$v=19$m=…,t=…,p=…$salt$output`; the costs stand in any order in the wild. Without a version it is the first.
fn argon2(text: &str, algorithm: &str) -> Result<Hash, Why> {
    let (named, version, costs, salt, output) = match parts(text) {
        Ok([named, version, costs, salt, output]) => {
            let version = version.strip_prefix("v=").ok_or("has no version where it belongs")?;
            (named, number(version)?, costs, salt, output)
        }
        Err(_) => {
            let [named, costs, salt, output] = parts(text)?;
            (named, 0x10, costs, salt, output)
        }
    };
    if named != algorithm && named != "argon2d" {
        return Err("is of another scheme than the line says");
    }
    let costs = costs_in_any_order(costs, ["m", "t", "p"])?;
    Argon2Hash::new(named, version, costs, padded_or_not(salt)?, padded_or_not(output)?).map(Hash::Argon2)
}

fn bcrypt(text: &str, of_sha256: bool) -> Result<Hash, Why> {
    BcryptHash::parse(text, of_sha256).map(Hash::Bcrypt)
}

/// `$pbkdf2-sha256$i=…,l=…$salt$output`; the length may be missing.
fn pbkdf2(text: &str) -> Result<Hash, Why> {
    let [name, costs, salt, output] = parts(text)?;
    let output = padded_or_not(output)?;
    let iterations = if costs.contains("l=") {
        let [iterations, length] = costs_in_any_order(costs, ["i", "l"])?;
        if usize::try_from(length) != Ok(output.len()) {
            return Err("has an output of another length than it says");
        }
        iterations
    } else {
        let [iterations] = costs_in_any_order(costs, ["i"])?;
        iterations
    };
    pbkdf2_of(name, iterations, padded_or_not(salt)?, output)
}

fn pbkdf2_of(name: &str, iterations: u32, salt: Vec<u8>, output: Vec<u8>) -> Result<Hash, Why> {
    let digest = match name {
        "pbkdf2-sha256" => Digest::Sha256,
        "pbkdf2-sha512" => Digest::Sha512,
        _ => return Err(FORM),
    };
    Pbkdf2Hash::new(digest, iterations, salt, output).map(Hash::Pbkdf2)
}

/// `$scrypt$ln=…,r=…,p=…$salt$output`.
fn scrypt(text: &str) -> Result<Hash, Why> {
    let ["scrypt", costs, salt, output] = parts(text)? else { return Err(FORM) };
    let costs = costs_in_any_order(costs, ["ln", "r", "p"])?;
    ScryptHash::new(costs, padded_or_not(salt)?, padded_or_not(output)?).map(Hash::Scrypt)
}

/// The same with N itself where the exponent is, a salt that is text, and an output that is read already.
fn scrypt_of(n: &str, r: &str, p: &str, salt: &str, output: Vec<u8>) -> Result<Hash, Why> {
    let n = number(n)?;
    if !n.is_power_of_two() {
        return Err("has costs that scrypt does not allow");
    }
    ScryptHash::new([n.ilog2(), number(r)?, number(p)?], salt.as_bytes().to_vec(), output).map(Hash::Scrypt)
}

/// Django: the name of a hasher, and what that writes. Its salts are text.
fn django(text: &str) -> Result<Hash, Why> {
    let (hasher, rest) = text.split_once('$').ok_or(FORM)?;
    let mut fields = rest.split('$');
    let mut field = || fields.next().ok_or(FORM);
    let read = match hasher {
        "argon2" => {
            return argon2(&format!("${rest}"), if rest.starts_with("argon2i$") { "argon2i" } else { "argon2id" });
        }
        "bcrypt" => return bcrypt(rest, false),
        "bcrypt_sha256" => return bcrypt(rest, true),
        "pbkdf2_sha256" => {
            let (iterations, salt, output) = (number(field()?)?, field()?, padded_or_not(field()?)?);
            pbkdf2_of("pbkdf2-sha256", iterations, salt.as_bytes().to_vec(), output)?
        }
        "scrypt" => {
            let (n, salt, r, p) = (field()?, field()?, field()?, field()?);
            scrypt_of(n, r, p, salt, padded_or_not(field()?)?)?
        }
        _ => return Err("is of a hasher of Django's that is not known here"),
    };
    if fields.next().is_none() { Ok(read) } else { Err(FORM) }
}

/// passlib: its own PBKDF2, with the iterations alone and `.` for `+`; scrypt, argon2 and bcrypt as others write them.
fn passlib(text: &str) -> Result<Hash, Why> {
    let adapted = |text: &str| padded_or_not(&text.replace('.', "+"));
    match text.strip_prefix('$').and_then(|rest| rest.split_once('$')) {
        Some((name @ ("pbkdf2-sha256" | "pbkdf2-sha512"), _)) => {
            let [_, iterations, salt, output] = parts(text)?;
            pbkdf2_of(name, number(iterations)?, adapted(salt)?, adapted(output)?)
        }
        Some(("scrypt", _)) => scrypt(text),
        Some((name @ ("argon2id" | "argon2i"), _)) => argon2(text, name),
        Some(("2a" | "2b" | "2y" | "2x", _)) => bcrypt(text, false),
        Some(("5" | "6", _)) => sha_crypt(text),
        _ => Err("is of a scheme of passlib's that is not known here"),
    }
}

/// werkzeug: `scrypt:N:r:p$salt$hexadecimal` and `pbkdf2:sha256:iterations$salt$hexadecimal`. Its salts are text.
fn werkzeug(text: &str) -> Result<Hash, Why> {
    let mut parts = text.split('$');
    let mut part = || parts.next().ok_or(FORM);
    let (method, salt, output) = (part()?, part()?, hexadecimal(part()?)?);
    if parts.next().is_some() {
        return Err(FORM);
    }
    match method.split(':').collect::<Vec<_>>().as_slice() {
        ["scrypt", n, r, p] => scrypt_of(n, r, p, salt, output),
        ["pbkdf2", digest @ ("sha256" | "sha512"), iterations] => {
            pbkdf2_of(&format!("pbkdf2-{digest}"), number(iterations)?, salt.as_bytes().to_vec(), output)
        }
        _ => Err("is of a method of werkzeug's that is not known here"),
    }
}

fn hexadecimal(text: &str) -> Result<Vec<u8>, Why> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect::<Option<_>>().ok_or(FORM)
}

/// The file of `htpasswd`. Whatever is none of these is never taken for a password in clear text.
fn htpasswd(text: &str) -> Result<Hash, Why> {
    match text.get(..3) {
        Some("$2a" | "$2b" | "$2y" | "$2x") => bcrypt(text, false),
        Some("$5$" | "$6$") => sha_crypt(text),
        _ => Err("is none that is known here; a password in clear text is not taken over"),
    }
}

fn sha_crypt(text: &str) -> Result<Hash, Why> {
    ShaCryptHash::parse(text).map(Hash::ShaCrypt)
}

#[cfg(test)]
mod tests;
