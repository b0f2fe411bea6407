//! Ids and tokens as the service makes them.

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::random::Random;

/// The public id of a user or a session, in ASCII.
pub type Id = [u8; 17];
/// A token's text, in ASCII.
pub type Token = [u8; 43];

/// What ids are made of.
const ID_ALPHABET: &[u8] = b"23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz";

/// The key by which a store recognises the tokens that it issued.
#[derive(Clone)]
pub struct TokenKey(Hmac<Sha256>);

impl TokenKey {
    /// The key that a store has kept.
    pub fn new(secret: &[u8]) -> Result<Self> {
        Ok(Self(Hmac::new_from_slice(secret)?))
    }

    /// A token that the store takes for its own: 24 random bytes and the first 8 of their HMAC, in base64url.
    pub fn issue(&self, random: &mut Random) -> Token {
        let mut drawn = [0; 24];
        random.fill(&mut drawn);
        let tag = self.0.clone().chain_update(drawn).finalize().into_bytes();
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(drawn.into_iter().chain(tag)).for_each(|(byte, value)| *byte = value);
        encode(&bytes)
    }
}

/// A token that no store has issued.
pub fn made_up(random: &mut Random) -> Token {
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    encode(&bytes)
}

/// The hash of a token, which is what is stored, in hexadecimal.
pub fn hash(token: &Token) -> String {
    Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A new id.
pub fn id(random: &mut Random) -> Id {
    std::array::from_fn(|_| ID_ALPHABET[random.below(ID_ALPHABET.len())])
}

/// An id or a token as text.
pub fn text(ascii: &[u8]) -> &str {
    std::str::from_utf8(ascii).unwrap_or_default()
}

fn encode(bytes: &[u8; 32]) -> Token {
    let mut token = [0; 43];
    let written = URL_SAFE_NO_PAD.encode_slice(bytes, &mut token);
    debug_assert_eq!(written, Ok(token.len()));
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_bound_to_its_key() -> Result<()> {
        let [one, other] = [[1; 32], [2; 32]].map(|secret| TokenKey::new(&secret));
        let (one, other) = (one?.issue(&mut Random::seeded(7)), other?.issue(&mut Random::seeded(7)));

        assert_eq!(one[..32], other[..32]);
        assert_ne!(one[32..], other[32..]);
        Ok(())
    }
}
