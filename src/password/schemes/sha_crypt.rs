//! SHA-crypt, the `$5$` and `$6$` of htpasswd and of the passwords of Unix.

use sha_crypt::{Params, sha256_crypt, sha512_crypt};
use subtle::ConstantTimeEq as _;

use super::super::error::HashError;
use super::refusal::{COSTLY, FORM, LENGTHS, Why};
use super::text::number;

/// How many rounds there are where none are written.
const ROUNDS: u32 = 5_000;
/// The rounds that are computed. The most take about a second.
const ROUNDS_LEAST: u32 = 1_000;
const ROUNDS_MOST: u32 = 1_000_000;
/// How many characters of a salt there may be: more do not count.
const SALT_MOST: usize = 16;
/// The longest password that is computed, in bytes: the time that it takes grows with it.
pub(crate) const PASSWORD_MOST: usize = 128;

/// The letters that six bits are written as.
const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A hash of SHA-crypt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShaCryptHash {
    digest: Digest,
    rounds: u32,
    salt: String,
    output: String,
    pub(super) salt_and_output: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digest {
    Sha256,
    Sha512,
}

impl ShaCryptHash {
    /// Reads `$5$salt$output` or `$6$rounds=…$salt$output`.
    ///
    /// # Errors
    /// The reason why it is never computed.
    pub(crate) fn parse(text: &str) -> Result<Self, Why> {
        let (digest, rest) = match text.get(..3) {
            Some("$5$") => (Digest::Sha256, text.get(3..).ok_or(FORM)?),
            Some("$6$") => (Digest::Sha512, text.get(3..).ok_or(FORM)?),
            _ => return Err(FORM),
        };
        let (rounds, salt_and_output) = match rest.strip_prefix("rounds=") {
            Some(rest) => {
                let (rounds, rest) = rest.split_once('$').ok_or(FORM)?;
                (number(rounds)?, rest)
            }
            None => (ROUNDS, rest),
        };
        let (salt, output) = salt_and_output.split_once('$').ok_or(FORM)?;
        let length = match digest {
            Digest::Sha256 => 43,
            Digest::Sha512 => 86,
        };
        if !(1..=SALT_MOST).contains(&salt.len()) || output.len() != length {
            return Err(LENGTHS);
        }
        if !salt.bytes().chain(output.bytes()).all(|byte| LETTERS.contains(&byte)) {
            return Err(FORM);
        }
        if !(ROUNDS_LEAST..=ROUNDS_MOST).contains(&rounds) {
            return Err(COSTLY);
        }
        let [salt, output, salt_and_output] = [salt, output, salt_and_output].map(str::to_owned);
        Ok(Self { digest, rounds, salt, output, salt_and_output })
    }

    /// How it begins, up to the salt. The rounds are always written, so that this says what it costs.
    pub(super) fn costs(&self) -> String {
        let digest = match self.digest {
            Digest::Sha256 => 5,
            Digest::Sha512 => 6,
        };
        format!("${digest}$rounds={}$", self.rounds)
    }

    /// Whether it is of these bytes.
    pub(super) fn is_of(&self, password: &[u8]) -> Result<bool, HashError> {
        if password.len() > PASSWORD_MOST {
            return Ok(false);
        }
        let params = Params::new(self.rounds).map_err(HashError::impossible)?;
        let output = match self.digest {
            Digest::Sha256 => {
                let output = sha256_crypt(password, self.salt.as_bytes(), params);
                written(&output, [0, 10, 20], |[a, b, c]| [c + 1, a + 1, b + 1])
            }
            Digest::Sha512 => {
                let output = sha512_crypt(password, self.salt.as_bytes(), params);
                written(&output, [0, 21, 42], |[a, b, c]| [b + 1, c + 1, a + 1])
            }
        };
        Ok(output.as_slice().ct_eq(self.output.as_bytes()).into())
    }
}

/// An output as it is written: three bytes at a time, which lie apart, and what is left over at the end.
fn written(output: &[u8], mut places: [usize; 3], next: fn([usize; 3]) -> [usize; 3]) -> Vec<u8> {
    let byte = |place: usize| output.get(place).copied().map(u32::from);
    let mut letters = Vec::with_capacity(output.len().div_ceil(3) * 4);
    let mut write = |mut bits: u32, count: usize| {
        for _ in 0..count {
            letters.extend(usize::try_from(bits & 63).ok().and_then(|six| LETTERS.get(six)));
            bits >>= 6;
        }
    };
    for _ in 0..output.len() / 3 {
        let [a, b, c] = places.map(|place| byte(place).unwrap_or_default());
        write(a << 16 | b << 8 | c, 4);
        places = next(places);
    }
    match output.len() % 3 {
        1 => write(byte(output.len() - 1).unwrap_or_default(), 2),
        2 => {
            let [last, before] = [1, 2].map(|back| byte(output.len() - back).unwrap_or_default());
            write(last << 8 | before, 3);
        }
        _ => {}
    }
    letters
}
