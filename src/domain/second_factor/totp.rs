//! Time-based one-time passwords (RFC 6238): SHA-1, six digits, steps of 30 seconds, as every authenticator makes them.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::SecretText;
use crate::domain::clock::Timestamp;
use crate::domain::entropy::{Entropy, NoEntropy};

/// How long a step lasts, in seconds.
pub const PERIOD: u16 = 30;
/// How many digits a code has.
pub const DIGITS: usize = 6;
/// A code is below this.
const BOUND: u32 = 1_000_000;
/// How many bytes a secret that is made here has: as many as SHA-1 yields (RFC 4226 section 4).
const BYTES: usize = 20;
/// How many bytes a secret from elsewhere may have: from the 80 bits that old authenticators used to SHA-1's block.
const LENGTHS: std::ops::RangeInclusive<usize> = 10..=64;
/// The longest text that is read as a secret, in bytes: the longest secret with much between its letters.
const LONGEST_TEXT: usize = 512;

/// The number of a step since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step(pub i64);

impl Step {
    /// The step that a moment lies in.
    pub fn at(moment: Timestamp) -> Self {
        Self(moment.seconds().div_euclid(i64::from(PERIOD)))
    }
}

/// A code that an authenticator shows, or that somebody guesses.
#[derive(Clone, Copy)]
pub struct Code(u32);

impl Code {
    /// Reads exactly six ASCII digits.
    pub fn read(text: &str) -> Option<Self> {
        let digits = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits { text.parse().ok().map(Self) } else { None }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

/// The secret that a user's authenticator shares.
#[derive(Clone, ZeroizeOnDrop)]
pub struct TotpSecret(Vec<u8>);

impl TotpSecret {
    /// Makes a new one.
    ///
    /// # Errors
    /// [`NoEntropy`] when the random source fails.
    pub fn random(entropy: &dyn Entropy) -> Result<Self, NoEntropy> {
        let mut bytes = vec![0; BYTES];
        entropy.fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Takes the bytes of a secret, unless they are too few or too many to be one.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let secret = Self(bytes);
        LENGTHS.contains(&secret.0.len()).then_some(secret)
    }

    /// Reads a secret as programs write it: base32 in any case, in which blanks, dashes and padding mean nothing. Bits that
    /// are left over make no byte, as in authenticators. `None` for what has too few or too many bytes to be a secret.
    pub fn from_base32(text: &str) -> Option<Self> {
        if text.len() > LONGEST_TEXT {
            return None;
        }
        let mut letters = Zeroizing::new(String::with_capacity(text.len()));
        letters.extend(text.trim_end().trim_end_matches('=').chars().filter(|c| !c.is_whitespace() && *c != '-'));
        letters.make_ascii_uppercase();
        let mut lenient = BASE32_NOPAD.specification();
        lenient.check_trailing_bits = false;
        Self::from_bytes(lenient.encoding().ok()?.decode(letters.as_bytes()).ok()?)
    }

    /// Its bytes.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The secret as people type it into an authenticator: upper-case base32 without padding.
    pub fn base32(&self) -> SecretText {
        SecretText::new(BASE32_NOPAD.encode(&self.0))
    }

    /// The newest step whose code this is, of those that were not used: the step of `now`, the one before and the one after
    /// (RFC 6238 section 5.2). Takes the same time whichever it is.
    pub fn matching(&self, code: Code, now: Timestamp, last_used: Option<Step>) -> Option<Step> {
        let Step(current) = Step::at(now);
        let mut matching = None;
        for step in [current - 1, current, current + 1].map(Step) {
            let same = bool::from(self.code(step).0.ct_eq(&code.0));
            if same & last_used.is_none_or(|used| step > used) {
                matching = Some(step);
            }
        }
        matching
    }

    /// The code of a step (RFC 4226 section 5.3, with the step as the counter).
    fn code(&self, Step(step): Step) -> Code {
        // RFC 2104: a key shorter than the block is padded with zeros.
        let mut block = hmac::digest::Key::<Hmac<Sha1>>::default();
        block.iter_mut().zip(&self.0).for_each(|(to, from)| *to = *from);
        let mac = Hmac::<Sha1>::new(&block).chain_update(step.to_be_bytes()).finalize().into_bytes();
        let offset = mac.last().map_or(0, |last| usize::from(last & 15));
        let chosen = mac.get(offset..).and_then(|rest| rest.first_chunk()).map_or(0, |four| u32::from_be_bytes(*four));
        Code((chosen & 0x7fff_ffff) % BOUND)
    }
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rfc_secret() -> TotpSecret {
        TotpSecret::from_bytes(b"12345678901234567890".to_vec()).expect("20 bytes")
    }

    fn seconds(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn code(digits: &str) -> Code {
        Code::read(digits).expect("six digits")
    }

    #[test]
    fn the_codes_are_those_of_rfc_6238() {
        // Appendix B, SHA-1. Its codes have eight digits, of which the last six are those of a six-digit code.
        for (time, eight) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            let step = rfc_secret().matching(code(&eight[2..]), seconds(time), None);
            assert_eq!(step, Some(Step(time / 30)), "{time}");
        }
    }

    #[test]
    fn one_step_before_and_after_is_accepted_and_no_more() {
        let now = seconds(1_111_111_111);
        let Step(current) = Step::at(now);
        for (drift, accepted) in [(-2, false), (-1, true), (0, true), (1, true), (2, false)] {
            let step = Step(current + drift);
            let matching = rfc_secret().matching(rfc_secret().code(step), now, None);
            assert_eq!(matching, accepted.then_some(step), "{drift}");
        }
    }

    #[test]
    fn each_step_is_used_once_and_in_rising_order() {
        let now = seconds(1_111_111_111);
        let Step(current) = Step::at(now);
        let matching = |drift: i64, used: i64| {
            let code = rfc_secret().code(Step(current + drift));
            rfc_secret().matching(code, now, Some(Step(current + used))).is_some()
        };
        assert!(!matching(0, 0) && !matching(-1, 0) && !matching(-1, -1), "used, or older than one that was");
        assert!(matching(0, -1) && matching(1, 0) && matching(1, -1));
    }

    #[test]
    fn where_two_steps_have_the_same_code_the_newest_counts() {
        // Found by trying one secret after another.
        let secret = [&614_122_u32.to_be_bytes()[..], &[7; 16]].concat();
        let secret = TotpSecret::from_bytes(secret).expect("20 bytes");
        assert_eq!(secret.code(Step(91)).0, secret.code(Step(92)).0);
        let matching = |used| secret.matching(secret.code(Step(91)), seconds(91 * 30), used);
        assert_eq!(matching(None), Some(Step(92)));
        assert_eq!(matching(Some(Step(91))), Some(Step(92)), "which was not used");
        assert_eq!(matching(Some(Step(92))), None);
    }

    #[test]
    fn a_secret_is_upper_case_base32_without_padding() {
        assert_eq!(rfc_secret().base32().reveal(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let random = TotpSecret::random(&crate::domain::entropy::SystemEntropy).expect("entropy");
        assert_eq!(random.base32().reveal().len(), 32);
    }

    #[test]
    fn a_secret_is_read_in_any_case_with_blanks_and_padding() {
        for text in [
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
            "gezd gnbv gy3t qojq gezd gnbv gy3t qojq",
            "\tGEZDGNBV-gy3tqojq\u{a0}GEZDGNBVGY3TQOJQ==\n",
        ] {
            let read = TotpSecret::from_base32(text).expect(text);
            assert_eq!(read.as_bytes(), rfc_secret().as_bytes(), "{text}");
        }
        // 26 letters are 130 bits, of which programs that draw letters set the last two as well.
        let (with, without) = ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "ABCDEFGHIJKLMNOPQRSTUVWXYY");
        let [with, without] = [with, without].map(|text| TotpSecret::from_base32(text).expect(text));
        assert_eq!(with.as_bytes(), without.as_bytes());
        assert_eq!(with.as_bytes().len(), 16);
        for length in [10, 20, 32, 64] {
            let secret = TotpSecret::from_bytes(vec![0xa5; length]).expect("fit");
            let again = TotpSecret::from_base32(secret.base32().reveal()).expect("base32");
            assert_eq!(again.as_bytes(), secret.as_bytes());
        }
    }

    #[test]
    fn what_is_no_base32_or_of_another_length_is_no_secret() {
        let (short, long) = (BASE32_NOPAD.encode(&[1; 9]), BASE32_NOPAD.encode(&[1; 65]));
        let bad =
            ["", "=", "0EZDGNBVGY3TQOJQ", "GEZDGNBV=GY3TQOJQ", "GEZDGNBVGY3TQOJQG", "ＧEZDGNBVGY3TQOJQ", &short, &long];
        for text in bad {
            assert!(TotpSecret::from_base32(text).is_none(), "{text}");
        }
        let blanks_before = |count| " ".repeat(count) + "GEZDGNBVGY3TQOJQ";
        assert!(TotpSecret::from_base32(&blanks_before(LONGEST_TEXT - 16)).is_some());
        assert!(TotpSecret::from_base32(&blanks_before(LONGEST_TEXT - 15)).is_none());
    }

    #[test]
    fn a_secret_from_elsewhere_has_80_bits_at_least_and_a_block_at_most() {
        for (length, fits) in [(0, false), (9, false), (10, true), (64, true), (65, false)] {
            assert_eq!(TotpSecret::from_bytes(vec![1; length]).is_some(), fits, "{length}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?} {:?} {:?}", rfc_secret(), rfc_secret().base32(), code("123456"));
        assert_eq!(shown, "TotpSecret(…) SecretText(…) Code(…)");
    }
}
