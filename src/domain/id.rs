//! Public identifiers: 17 characters of an alphabet without look-alikes. They never authenticate anybody.

use std::fmt;

use super::entropy::{Entropy, NoEntropy};

/// How many letters an identifier has.
pub const LENGTH: usize = 17;
const ALPHABET: &[u8] = b"23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz";

/// Whether a byte is in it. Every row that is read has two identifiers, so a search for each letter would be noticed.
const fn is_letter(byte: u8) -> bool {
    matches!(
        byte,
        b'2'..=b'9' | b'A'..=b'H' | b'J'..=b'N' | b'P'..=b'T' | b'W'..=b'Z' | b'a'..=b'k' | b'm'..=b'z'
    )
}

fn random(entropy: &dyn Entropy) -> Result<[u8; LENGTH], NoEntropy> {
    // Rejection sampling: of 256 values the first 220 (4 x 55) map evenly onto the alphabet.
    let even = 256 - 256 % ALPHABET.len();
    let mut id = [0; LENGTH];
    let mut filled = 0;
    while filled < LENGTH {
        let mut bytes = [0; LENGTH * 2];
        entropy.fill(&mut bytes)?;
        let letters = bytes
            .iter()
            .filter(|&&byte| usize::from(byte) < even)
            .filter_map(|&byte| ALPHABET.get(usize::from(byte) % ALPHABET.len()));
        for (slot, &letter) in id.iter_mut().skip(filled).zip(letters) {
            *slot = letter;
            filled += 1;
        }
    }
    Ok(id)
}

fn parse(text: &str) -> Option<[u8; LENGTH]> {
    let id: [u8; LENGTH] = text.as_bytes().try_into().ok()?;
    id.iter().all(|byte| is_letter(*byte)).then_some(id)
}

/// Not an identifier: wrong length or a letter outside the alphabet.
#[derive(Debug, thiserror::Error)]
#[error("not an identifier")]
pub struct NotAnId;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; LENGTH]);

        impl $name {
            /// Makes a new one.
            ///
            /// # Errors
            /// [`NoEntropy`] when the random source fails.
            pub fn random(entropy: &dyn Entropy) -> Result<Self, NoEntropy> {
                random(entropy).map(Self)
            }

            /// Its 17 characters.
            pub fn as_str(&self) -> &str {
                // The alphabet is ASCII, so this never takes the empty branch.
                std::str::from_utf8(&self.0).unwrap_or_default()
            }
        }

        impl std::str::FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                parse(text).map(Self).ok_or(NotAnId)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

id!(
    /// Names a user for ever, whatever they rename themselves to.
    UserId
);
id!(
    /// Names a session: safe to list, to log and to put in a URL.
    SessionId
);
id!(
    /// Names a process that serves from a store, from its registration until its row is deleted.
    ReplicaId
);

id!(
    /// Names an attempt to set up a second factor.
    EnrolmentId
);

macro_rules! packed {
    ($($name:ident)*) => {$(
        impl $name {
            /// Takes back what `principal` packed.
            pub(super) fn packed(letters: Option<&[u8]>) -> Self {
                Self(letters.and_then(|letters| letters.try_into().ok()).unwrap_or([b'-'; LENGTH]))
            }
        }
    )*};
}
packed!(UserId SessionId);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entropy::SystemEntropy;
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    /// The same bytes in every run.
    struct Seeded(parking_lot::Mutex<StdRng>);

    impl Entropy for Seeded {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
            self.0.lock().fill_bytes(bytes);
            Ok(())
        }
    }

    #[test]
    fn every_letter_is_equally_likely() {
        let entropy = Seeded(parking_lot::Mutex::new(StdRng::seed_from_u64(1)));
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..10_000 {
            for &byte in &SessionId::random(&entropy).expect("seeded").0 {
                *seen.entry(byte).or_insert(0.0) += 1.0;
            }
        }
        let expected = 10_000.0 * 17.0 / 55.0;
        let chi_square: f64 = seen.values().map(|n: &f64| (n - expected).powi(2) / expected).sum();
        assert_eq!(seen.len(), ALPHABET.len());
        assert!(chi_square < 91.9, "54 degrees of freedom, p = 0.001: {chi_square}");
    }

    #[test]
    fn the_letters_are_those_of_the_alphabet() {
        let letters: Vec<_> = (0..=u8::MAX).filter(|byte| is_letter(*byte)).collect();
        assert_eq!(letters, ALPHABET);
    }

    proptest! {
        #[test]
        fn an_id_survives_the_trip_through_text(_ in 0..64u8) {
            let id = UserId::random(&SystemEntropy).expect("system entropy");
            prop_assert_eq!(id.to_string().parse::<UserId>().ok(), Some(id));
        }

        #[test]
        fn whatever_parses_is_17_letters_of_the_alphabet(text in ".{0,20}") {
            let parsed = text.parse::<SessionId>().is_ok();
            let right = text.len() == LENGTH && text.bytes().all(|b| ALPHABET.contains(&b));
            prop_assert_eq!(parsed, right);
        }
    }
}
