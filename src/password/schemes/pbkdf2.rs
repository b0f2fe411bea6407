//! PBKDF2 with HMAC-SHA-256 or HMAC-SHA-512, written in the PHC format.

use pbkdf2::{Algorithm, Params, pbkdf2_hmac_with_params};
use subtle::ConstantTimeEq as _;

use super::super::error::HashError;
use super::refusal::{COSTLY, FORM, LENGTHS, Why};
use super::text::{bytes, costs, parts};

/// The fewest iterations: fewer are as good as none.
const ITERATIONS_LEAST: u32 = 1_000;
/// The most iterations of all blocks of the output together. They take some two seconds.
const ITERATIONS_MOST: u64 = 4_000_000;
/// How long an output may be, in bytes.
const OUTPUT: std::ops::RangeInclusive<usize> = 16..=64;
/// How long a salt may be, in bytes.
const SALT: std::ops::RangeInclusive<usize> = 1..=128;

/// The hash function in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Digest {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// A hash of PBKDF2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pbkdf2Hash {
    digest: Digest,
    iterations: u32,
    pub(super) salt: Vec<u8>,
    pub(super) output: Vec<u8>,
}

impl Pbkdf2Hash {
    /// Puts a hash together.
    ///
    /// # Errors
    /// The reason why it is never computed.
    pub(crate) fn new(digest: Digest, iterations: u32, salt: Vec<u8>, output: Vec<u8>) -> Result<Self, Why> {
        if !SALT.contains(&salt.len()) || !OUTPUT.contains(&output.len()) {
            return Err(LENGTHS);
        }
        if iterations < ITERATIONS_LEAST {
            return Err("has too few iterations to be worth anything");
        }
        let block = match digest {
            Digest::Sha256 => 32,
            Digest::Sha512 => 64,
        };
        let blocks = u64::try_from(output.len().div_ceil(block)).unwrap_or(u64::MAX);
        if u64::from(iterations).saturating_mul(blocks) > ITERATIONS_MOST {
            return Err(COSTLY);
        }
        Ok(Self { digest, iterations, salt, output })
    }

    /// Reads `$pbkdf2-sha256$i=…,l=…$salt$output`.
    ///
    /// # Errors
    /// The reason why it is never computed.
    pub(crate) fn parse(text: &str) -> Result<Self, Why> {
        let [name, written, salt, output] = parts(text)?;
        let digest = match name {
            "pbkdf2-sha256" => Digest::Sha256,
            "pbkdf2-sha512" => Digest::Sha512,
            _ => return Err(FORM),
        };
        let [iterations, length] = costs(written, ["i", "l"])?;
        let output = bytes(output)?;
        if usize::try_from(length) != Ok(output.len()) {
            return Err(FORM);
        }
        Self::new(digest, iterations, bytes(salt)?, output)
    }

    /// How it begins, up to the salt.
    pub(super) fn costs(&self) -> String {
        let name = match self.digest {
            Digest::Sha256 => "pbkdf2-sha256",
            Digest::Sha512 => "pbkdf2-sha512",
        };
        format!("${name}$i={},l={}$", self.iterations, self.output.len())
    }

    /// Whether it is of these bytes.
    pub(super) fn is_of(&self, password: &[u8]) -> Result<bool, HashError> {
        let algorithm = match self.digest {
            Digest::Sha256 => Algorithm::Pbkdf2Sha256,
            Digest::Sha512 => Algorithm::Pbkdf2Sha512,
        };
        let mut output = vec![0; self.output.len()];
        let params = Params::new_with_output_len(self.iterations, output.len()).map_err(HashError::impossible)?;
        pbkdf2_hmac_with_params(password, &self.salt, algorithm, params, &mut output);
        Ok(output.ct_eq(&self.output).into())
    }
}
