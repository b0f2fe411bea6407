//! bcrypt, of the password itself or, as Rocket.Chat and Django have it, of its SHA-256 in hexadecimal.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::alphabet::BCRYPT;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::refusal::{COSTLY, FORM, Why};

/// The costs that are computed: the exponent of the number of rounds. 15 takes a second and more.
const COSTS: std::ops::RangeInclusive<u32> = 4..=15;
/// How many bytes of a password count.
const COUNTED: usize = 72;
/// How many characters the salt takes, of 16 bytes, and the output behind it, of which 23 bytes are written.
const SALT: usize = 22;
const OUTPUT: usize = 31;

/// Some programs leave bits in the last character that mean nothing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &BCRYPT,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// A hash of bcrypt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BcryptHash {
    /// `2a`, `2b` or `2y`, which are one computation.
    version: String,
    cost: u32,
    salt: [u8; 16],
    output: [u8; 23],
    pub(super) salt_and_output: String,
    /// Whether it is of the SHA-256 of the password.
    pub(super) of_sha256: bool,
}

impl BcryptHash {
    /// Reads `$2b$10$` and 53 characters.
    ///
    /// # Errors
    /// The reason why it is never computed.
    pub(crate) fn parse(text: &str, of_sha256: bool) -> Result<Self, Why> {
        let mut parts = text.strip_prefix('$').ok_or(FORM)?.splitn(3, '$');
        let mut next = || parts.next().ok_or(FORM);
        let (version, cost, salt_and_output) = (next()?, next()?, next()?);
        match version {
            "2a" | "2b" | "2y" => {}
            "2x" => return Err("is of `$2x$`, whose computation was faulty"),
            _ => return Err("is not of bcrypt"),
        }
        if cost.len() != 2 || !cost.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(FORM);
        }
        let cost = cost.parse().map_err(|_| FORM)?;
        let (salt, output) = salt_and_output.split_at_checked(SALT).ok_or(FORM)?;
        if output.len() != OUTPUT {
            return Err(FORM);
        }
        let decode = |text| BASE64.decode(text).map_err(|_| FORM);
        let salt = decode(salt)?.try_into().map_err(|_| FORM)?;
        let output = decode(output)?.try_into().map_err(|_| FORM)?;
        if !COSTS.contains(&cost) {
            return Err(COSTLY);
        }
        let (version, salt_and_output) = (version.to_owned(), salt_and_output.to_owned());
        Ok(Self { version, cost, salt, output, salt_and_output, of_sha256 })
    }

    /// How it begins, up to the salt.
    pub(super) fn costs(&self) -> String {
        format!("${}${:02}$", self.version, self.cost)
    }

    /// Whether it is of these bytes, of which only the first 72 count.
    pub(super) fn is_of(&self, password: &[u8]) -> bool {
        if !self.of_sha256 {
            return self.is_of_counted(password);
        }
        let mut digest = Zeroizing::new(String::with_capacity(64));
        for byte in Sha256::digest(password) {
            // Writing to a string cannot fail.
            let _ = write!(digest, "{byte:02x}");
        }
        self.is_of_counted(digest.as_bytes())
    }

    fn is_of_counted(&self, password: &[u8]) -> bool {
        // A NUL ends it, unless it is that long.
        let mut counted = Zeroizing::new([0; COUNTED]);
        let length = password.len().min(COUNTED);
        for (byte, typed) in counted.iter_mut().zip(password) {
            *byte = *typed;
        }
        let counted = counted.get(..(length + 1).min(COUNTED)).unwrap_or_default();
        let output = bcrypt::bcrypt(self.cost, self.salt, counted);
        output.get(..self.output.len()).is_some_and(|output| output.ct_eq(&self.output).into())
    }
}
