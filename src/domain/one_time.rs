//! Passwords that the service makes up, to be changed at their first use.

use std::fmt;
use std::time::Duration;

use zeroize::ZeroizeOnDrop;

use super::entropy::{Entropy, NoEntropy};

/// How long one can be used.
pub const LIFETIME: Duration = Duration::from_hours(24);
/// Letters and digits that nobody takes for one another.
const ALPHABET: &[u8; 31] = b"23456789abcdefghjkmnpqrstuvwxyz";
/// Four groups of five letters: 99 bits.
const GROUPS: usize = 4;
const LETTERS: usize = 5;

/// A one-time password. It is shown once, to the administrator who asked for it.
#[derive(Clone, ZeroizeOnDrop)]
pub struct OneTimePassword(String);

impl OneTimePassword {
    /// Makes one up.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn random(entropy: &dyn Entropy) -> Result<Self, NoEntropy> {
        let mut password = String::with_capacity(GROUPS * (LETTERS + 1));
        let mut byte = [0];
        while password.len() < GROUPS * (LETTERS + 1) - 1 {
            if password.len() % (LETTERS + 1) == LETTERS {
                password.push('-');
                continue;
            }
            entropy.fill(&mut byte)?;
            // Of 256 values the last 8 are thrown away, so that each letter is equally likely.
            let [value] = byte;
            if let Some(letter) = ALPHABET.get(usize::from(value) % ALPHABET.len()).filter(|_| value < 248) {
                password.push(char::from(*letter));
            }
        }
        Ok(Self(password))
    }

    /// The password, to be shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OneTimePassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimePassword(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entropy::SystemEntropy;
    use crate::domain::password::{Password, Rules};

    #[test]
    fn each_is_another_and_could_be_set_by_a_person() {
        let all: std::collections::HashSet<_> =
            (0..1000).map(|_| OneTimePassword::random(&SystemEntropy).expect("entropy").reveal().to_owned()).collect();
        assert_eq!(all.len(), 1000);
        for password in &all {
            assert!(password.split('-').all(|group| group.len() == LETTERS), "{password}");
            assert_eq!(password.split('-').count(), GROUPS, "{password}");
            assert!(Password::chosen(password.clone(), "alice", &Rules::default()).is_ok(), "{password}");
        }
        let text: String = all.into_iter().collect();
        assert_eq!(text.chars().collect::<std::collections::HashSet<_>>().len(), 32, "all letters and the dash");
    }
}
