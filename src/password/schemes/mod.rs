//! The hashes that can be checked, a file each: how each is written when it is stored, what it may cost, and how it is
//! computed.
//!
//! A reader here takes nothing but what its writer writes. What other programs write is read in `sources`.

use super::error::HashError;

pub(super) mod argon;
pub(super) mod bcrypt;
pub(super) mod pbkdf2;
pub(super) mod refusal;
pub(super) mod scrypt;
pub(super) mod sha_crypt;
pub(super) mod text;

use self::argon::{Argon2Hash, Blocks};
use self::bcrypt::BcryptHash;
use self::pbkdf2::Pbkdf2Hash;
use self::refusal::{FORM, Why};
use self::scrypt::ScryptHash;
use self::sha_crypt::ShaCryptHash;

/// A hash that may be computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    /// argon2id or argon2i.
    Argon2(Argon2Hash),
    /// bcrypt, of the password or of its SHA-256.
    Bcrypt(BcryptHash),
    /// PBKDF2 with SHA-256 or SHA-512.
    Pbkdf2(Pbkdf2Hash),
    /// scrypt.
    Scrypt(ScryptHash),
    /// SHA-crypt with SHA-256 or SHA-512.
    ShaCrypt(ShaCryptHash),
}

impl Hash {
    /// Reads what [`Self::stored`] has written.
    ///
    /// # Errors
    /// The reason why it is never computed.
    pub(super) fn parse(stored: &str) -> Result<Self, Why> {
        let (scheme, text) = stored.split_once(':').ok_or(FORM)?;
        let hash = match scheme {
            "argon2id" | "argon2i" => Self::Argon2(Argon2Hash::parse(text)?),
            "bcrypt" => Self::Bcrypt(BcryptHash::parse(text, false)?),
            "rocketchat" => Self::Bcrypt(BcryptHash::parse(text, true)?),
            "pbkdf2" => Self::Pbkdf2(Pbkdf2Hash::parse(text)?),
            "scrypt" => Self::Scrypt(ScryptHash::parse(text)?),
            "htpasswd" => Self::ShaCrypt(ShaCryptHash::parse(text)?),
            _ => return Err("is of an unknown scheme"),
        };
        if hash.scheme() == scheme { Ok(hash) } else { Err(FORM) }
    }

    /// The name of its scheme, as lines of import files and stored hashes have it.
    pub(super) const fn scheme(&self) -> &'static str {
        match self {
            Self::Argon2(hash) => hash.scheme(),
            Self::Bcrypt(BcryptHash { of_sha256: false, .. }) => "bcrypt",
            Self::Bcrypt(BcryptHash { of_sha256: true, .. }) => "rocketchat",
            Self::Pbkdf2(_) => "pbkdf2",
            Self::Scrypt(_) => "scrypt",
            Self::ShaCrypt(_) => "htpasswd",
        }
    }

    /// The stored form: its scheme, a colon, and its costs, salt and output.
    pub(super) fn stored(&self) -> String {
        let rest = match self {
            Self::Argon2(hash) => hash.salt_and_output(),
            Self::Bcrypt(hash) => hash.salt_and_output.clone(),
            Self::Pbkdf2(hash) => text::salt_and_output(&hash.salt, &hash.output),
            Self::Scrypt(hash) => text::salt_and_output(&hash.salt, &hash.output),
            Self::ShaCrypt(hash) => hash.salt_and_output.clone(),
        };
        self.kind() + &rest
    }

    /// What hashes that cost the same have in common: the beginning of the stored form, up to the salt.
    pub(super) fn kind(&self) -> String {
        let costs = match self {
            Self::Argon2(hash) => hash.costs(),
            Self::Bcrypt(hash) => hash.costs(),
            Self::Pbkdf2(hash) => hash.costs(),
            Self::Scrypt(hash) => hash.costs(),
            Self::ShaCrypt(hash) => hash.costs(),
        };
        format!("{}:{costs}", self.scheme())
    }

    /// How much memory it takes to compute, in KiB.
    pub(super) const fn memory_kib(&self) -> u32 {
        match self {
            Self::Argon2(hash) => hash.memory_kib(),
            Self::Scrypt(hash) => hash.memory_kib(),
            Self::Bcrypt(_) | Self::Pbkdf2(_) | Self::ShaCrypt(_) => 0,
        }
    }

    /// Whether it is of these bytes. Takes the same time whether or not.
    ///
    /// # Errors
    /// When something fails that cannot.
    pub(super) fn is_of(&self, password: &[u8], blocks: &mut Blocks) -> Result<bool, HashError> {
        match self {
            Self::Argon2(hash) => hash.is_of(password, blocks),
            Self::Bcrypt(hash) => Ok(hash.is_of(password)),
            Self::Pbkdf2(hash) => hash.is_of(password),
            Self::Scrypt(hash) => hash.is_of(password),
            Self::ShaCrypt(hash) => hash.is_of(password),
        }
    }
}
