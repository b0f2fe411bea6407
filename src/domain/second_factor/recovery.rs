//! Recovery codes: ten that a user keeps on paper, each good once in place of the authenticator.

use std::fmt;

use zeroize::ZeroizeOnDrop;

use super::SecretText;
use crate::domain::entropy::{Entropy, NoEntropy};

/// How many codes a user gets at a time.
pub const CODES: usize = 10;
/// How many letters a code has: more than 59 bits.
const LETTERS: usize = 12;
/// How many letters stand together where a code is shown.
const GROUP: usize = 4;
/// Without the look-alikes 0, O, 1, I and L.
const ALPHABET: &[u8; 31] = b"23456789ABCDEFGHJKMNPQRSTUVWXYZ";
/// Of the values of a byte, those below this (8 x 31) map evenly onto the alphabet.
const EVEN: usize = 248;

/// A recovery code.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct RecoveryCode([u8; LETTERS]);

impl RecoveryCode {
    /// Makes a new one.
    ///
    /// # Errors
    /// [`NoEntropy`] when the random source fails.
    pub fn random(entropy: &dyn Entropy) -> Result<Self, NoEntropy> {
        // Rejection sampling.
        let mut code = Self([0; LETTERS]);
        for letter in &mut code.0 {
            while *letter == 0 {
                let mut random = [0];
                entropy.fill(&mut random)?;
                let [byte] = random.map(usize::from);
                *letter = ALPHABET.get(byte % ALPHABET.len()).copied().filter(|_| byte < EVEN).unwrap_or_default();
            }
        }
        Ok(code)
    }

    /// Makes as many as a user gets.
    ///
    /// # Errors
    /// [`NoEntropy`] when the random source fails.
    pub fn set(entropy: &dyn Entropy) -> Result<Vec<Self>, NoEntropy> {
        (0..CODES).map(|_| Self::random(entropy)).collect()
    }

    /// Reads a code in any case, without anything between the letters.
    pub(super) fn read(letters: &str) -> Option<Self> {
        let mut code = Self(letters.as_bytes().try_into().ok()?);
        code.0.make_ascii_uppercase();
        code.0.iter().all(|letter| ALPHABET.contains(letter)).then_some(code)
    }

    /// Its letters.
    pub(super) const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The code as it is shown, such as `AB2C-D3EF-4GHJ`.
    pub fn shown(&self) -> SecretText {
        let groups = self.0.chunks(GROUP).map(|group| String::from_utf8_lossy(group));
        SecretText::new(groups.collect::<Vec<_>>().join("-"))
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;
    use crate::domain::entropy::SystemEntropy;

    #[test]
    fn a_set_is_ten_different_codes_of_more_than_50_bits_without_look_alikes() {
        let set = RecoveryCode::set(&SystemEntropy).expect("entropy");
        let shown: std::collections::BTreeSet<_> = set.iter().map(|code| code.shown().reveal().to_owned()).collect();
        assert_eq!(shown.len(), 10);
        for code in &shown {
            assert_eq!(code.len(), 14, "{code}");
            assert!(code.split('-').all(|group| group.len() == 4), "{code}");
            assert!(!code.contains(['0', 'O', '1', 'I', 'L']), "{code}");
        }
        let bits = f64::from(u8::try_from(LETTERS).expect("few")) * 31_f64.log2();
        assert!(bits > 50.0, "{bits}");
    }

    /// Gives every byte in turn, from the highest down.
    struct Descending(AtomicU8);

    impl Entropy for Descending {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
            bytes.fill_with(|| self.0.fetch_sub(1, Ordering::Relaxed));
            Ok(())
        }
    }

    #[test]
    fn bytes_that_would_make_some_letters_likelier_are_skipped() {
        assert!(EVEN.is_multiple_of(ALPHABET.len()) && 256 - EVEN < ALPHABET.len());
        let source = Descending(AtomicU8::new(u8::MAX));
        let code = RecoveryCode::random(&source).expect("entropy");
        assert_eq!(code.shown().reveal(), "ZYXW-VUTS-RQPN", "248 to 255 make no letter, and 247 the last one");
        assert_eq!(source.0.into_inner(), u8::MAX - 8 - 12, "no other is skipped");
    }

    #[test]
    fn every_letter_is_equally_likely() {
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..10_000 {
            for &letter in RecoveryCode::random(&SystemEntropy).expect("entropy").as_bytes() {
                *seen.entry(letter).or_insert(0.0) += 1.0;
            }
        }
        let expected = 10_000.0 * 12.0 / 31.0;
        let chi_square: f64 = seen.values().map(|n: &f64| (n - expected).powi(2) / expected).sum();
        assert_eq!(seen.len(), ALPHABET.len());
        assert!(chi_square < 100.0, "30 degrees of freedom, p < 0.000000002: {chi_square}");
    }

    #[test]
    fn a_code_is_read_in_any_case_and_nothing_else_is() {
        let code = RecoveryCode::random(&SystemEntropy).expect("entropy");
        let letters = code.shown().reveal().replace('-', "");
        for text in [letters.clone(), letters.to_lowercase()] {
            assert!(RecoveryCode::read(&text).is_some_and(|read| read == code), "{text}");
        }
        for odd in ["", "AAAAAAAAAAA", "AAAAAAAAAAAAA", "0AAAAAAAAAAA", "AAAAAAAAAAAL", "ÄAAAAAAAAAA", "AAAA-AAAAAAA"]
        {
            assert!(RecoveryCode::read(odd).is_none(), "{odd}");
        }
    }
}
