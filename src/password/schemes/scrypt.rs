//! scrypt, written in the PHC format.

use scrypt::Params;
use subtle::ConstantTimeEq as _;

use super::super::error::HashError;
use super::refusal::{COSTLY, FORM, LENGTHS, MEMORY_KIB_MOST, Why};
use super::text::{bytes, costs, parts};

/// The largest exponent of N. What is written there may be N itself, which as an exponent would be a bomb.
const LOG_N_MOST: u32 = 20;
/// The most that may be computed, as N times r times p: some seconds are four times what OWASP recommends.
const WORK_MOST: u64 = 1 << 22;
/// How long an output may be, in bytes.
const OUTPUT: std::ops::RangeInclusive<usize> = 16..=64;
/// How long a salt may be, in bytes.
const SALT: std::ops::RangeInclusive<usize> = 1..=128;

/// A hash of scrypt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScryptHash {
    log_n: u8,
    r: u32,
    p: u32,
    pub(super) salt: Vec<u8>,
    pub(super) output: Vec<u8>,
}

impl ScryptHash {
    /// Puts a hash together; `log_n` is the exponent of N.
    ///
    /// # Errors
    /// The reason why it is never computed.
    pub(crate) fn new([log_n, r, p]: [u32; 3], salt: Vec<u8>, output: Vec<u8>) -> Result<Self, Why> {
        if !SALT.contains(&salt.len()) || !OUTPUT.contains(&output.len()) {
            return Err(LENGTHS);
        }
        if !(1..=LOG_N_MOST).contains(&log_n) || r == 0 || p == 0 {
            return Err("has costs that scrypt does not allow, or N where its exponent belongs");
        }
        // Its memory is 128 bytes times N times r, which is an eighth of a KiB.
        let eighths = (1_u64 << log_n).saturating_mul(u64::from(r));
        if eighths.div_ceil(8) > u64::from(MEMORY_KIB_MOST) || eighths.saturating_mul(u64::from(p)) > WORK_MOST {
            return Err(COSTLY);
        }
        let log_n = u8::try_from(log_n).map_err(|_| COSTLY)?;
        Ok(Self { log_n, r, p, salt, output })
    }

    /// Reads `$scrypt$ln=…,r=…,p=…$salt$output`.
    ///
    /// # Errors
    /// The reason why it is never computed.
    pub(crate) fn parse(text: &str) -> Result<Self, Why> {
        let ["scrypt", written, salt, output] = parts(text)? else { return Err(FORM) };
        Self::new(costs(written, ["ln", "r", "p"])?, bytes(salt)?, bytes(output)?)
    }

    /// How it begins, up to the salt.
    pub(super) fn costs(&self) -> String {
        format!("$scrypt$ln={},r={},p={}$", self.log_n, self.r, self.p)
    }

    /// How much memory it takes to compute, in KiB.
    pub(super) const fn memory_kib(&self) -> u32 {
        // It is bounded where it is made.
        ((1 << self.log_n) * self.r).div_ceil(8)
    }

    /// Whether it is of these bytes.
    pub(super) fn is_of(&self, password: &[u8]) -> Result<bool, HashError> {
        let params = Params::new(self.log_n, self.r, self.p).map_err(HashError::impossible)?;
        let mut output = vec![0; self.output.len()];
        scrypt::scrypt(password, &self.salt, &params, &mut output).map_err(HashError::impossible)?;
        Ok(output.ct_eq(&self.output).into())
    }
}
