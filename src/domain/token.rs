//! Session tokens, which clients keep secret, and their hashes, which are all that the store keeps.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::{Zeroize as _, ZeroizeOnDrop};

use super::cursor::CursorKey;
use super::entropy::{Entropy, NoEntropy};
use super::name_hash::NameKey;
use super::throttle::ThrottleSecret;

const RANDOM: usize = 24;
const TAG: usize = 8;
const BYTES: usize = RANDOM + TAG;
const LETTERS: usize = 43;

/// A session token: 192 random bits and a 64-bit tag, as 43 letters of unpadded base64url.
///
/// 192 bits exceed what OWASP ASVS 7.2.3 asks of a reference token (128).
#[derive(Clone, ZeroizeOnDrop)]
pub struct Token([u8; LETTERS]);

impl Token {
    /// Reads a token's text; `None` when it does not have the form of one of ours.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let letters: [u8; LETTERS] = text.try_into().ok()?;
        let of_alphabet = |letter: u8| matches!(letter, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        // 43 letters hold two bits more than 32 bytes; in ours they are zero.
        let (_, last) = letters.split_last_chunk::<3>()?;
        let whole = URL_SAFE_NO_PAD.decode_slice(last, &mut [0; 2]).is_ok();
        letters.iter().fold(whole, |form, letter| form & of_alphabet(*letter)).then_some(Self(letters))
    }

    /// The text a client presents. Shown once, at login.
    pub fn reveal(&self) -> &str {
        // The alphabet is ASCII, so this never takes the empty branch.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The SHA-256 of the token's text.
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The SHA-256 of a token: finds a session, and does not reveal the token.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Takes the 32 bytes of a stored hash.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its bytes as 64 lower-case hexadecimal digits.
    pub fn to_hex(&self) -> String {
        HEXLOWER.encode(&self.0)
    }

    /// Reads 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return None;
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// Its first 8 bytes as a number: evenly spread, since SHA-256 is.
    pub fn prefix(&self) -> u64 {
        self.0.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        // Eight bytes at a time: byte by byte, there would be too many steps for a processor to overlap them with other
        // work.
        let pairs = self.0.as_chunks::<8>().0.iter().zip(other.0.as_chunks::<8>().0);
        let same = |(one, other): (&[u8; 8], &[u8; 8])| u64::from_le_bytes(*one).ct_eq(&u64::from_le_bytes(*other));
        pairs.map(same).fold(Choice::from(1), |all, same| all & same).into()
    }
}

impl Eq for TokenHash {}

impl std::hash::Hash for TokenHash {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u64(self.prefix());
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// The key under which tokens are tagged, so that one never issued is refused without a read.
///
/// It never authenticates: an attacker who has it can make tokens that cost a read, and no more.
#[derive(Clone)]
pub struct TokenKey(Hmac<Sha256>);

impl TokenKey {
    /// Takes the 32 bytes that the store holds.
    pub fn new(mut key: [u8; 32]) -> Self {
        let keyed = Hmac::new(&expand(&key));
        key.zeroize();
        Self(keyed)
    }

    /// Makes a new token.
    ///
    /// # Errors
    /// [`NoEntropy`] when the random source fails.
    pub fn issue(&self, entropy: &dyn Entropy) -> Result<Token, NoEntropy> {
        let mut bytes = [0; BYTES];
        let (random, tag) = bytes.split_at_mut(RANDOM);
        entropy.fill(random)?;
        tag.copy_from_slice(&self.tag(random));
        let mut letters = [0; LETTERS];
        URL_SAFE_NO_PAD.encode_slice(bytes, &mut letters).map_err(|_| NoEntropy)?;
        Ok(Token(letters))
    }

    /// Whether this key made the token. Takes the same time for every token.
    pub fn issued(&self, token: &Token) -> bool {
        let mut bytes = [0; BYTES];
        let whole = URL_SAFE_NO_PAD.decode_slice(token.0, &mut bytes) == Ok(BYTES);
        let (random, tag) = bytes.split_at(RANDOM);
        whole & bool::from(self.tag(random).ct_eq(tag))
    }

    /// A key for the hashes of names that are no user's. It reveals nothing about this one: what is hashed to make it is not as
    /// long as what is hashed to make a tag.
    pub fn name_key(&self) -> NameKey {
        let label = "sessiond: names that are no user's";
        NameKey::new(&self.0.clone().chain_update(label).finalize().into_bytes().into())
    }

    /// A key for the cursors of lists, made as that one.
    pub fn cursor_key(&self) -> CursorKey {
        let label = "sessiond: cursors of lists that are paged";
        CursorKey::new(&self.0.clone().chain_update(label).finalize().into_bytes().into())
    }

    /// A key for the counters of failed tries. It reveals nothing about this one, for the same reason.
    pub fn throttle_secret(&self) -> ThrottleSecret {
        let label = "sessiond: counters of failed tries, and known browsers";
        ThrottleSecret::new(&self.0.clone().chain_update(label).finalize().into_bytes().into())
    }

    /// A key for the secrets of second factors, where none is given from outside the store. It is made as those two.
    pub fn second_factor_key(&self) -> [u8; 32] {
        let label = "sessiond: the secrets of second factors";
        self.0.clone().chain_update(label).finalize().into_bytes().into()
    }

    fn tag(&self, random: &[u8]) -> [u8; TAG] {
        let mac = self.0.clone().chain_update(random).finalize().into_bytes();
        let mut tag = [0; TAG];
        tag.iter_mut().zip(mac).for_each(|(to, from)| *to = from);
        tag
    }
}

/// RFC 2104: a key shorter than the block is padded with zeros.
fn expand(key: &[u8; 32]) -> hmac::digest::Key<Hmac<Sha256>> {
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    block
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

    use super::*;
    use crate::domain::entropy::SystemEntropy;
    use proptest::prelude::*;

    #[test]
    fn a_token_survives_the_trip_through_text() {
        let key = TokenKey::new([7; 32]);
        let token = key.issue(&SystemEntropy).expect("system entropy");
        let read = Token::parse(token.reveal().as_bytes()).expect("our own form");
        assert!(key.issued(&read));
        assert_eq!(read.hash(), token.hash());
    }

    #[test]
    fn another_key_did_not_issue_it() {
        let token = TokenKey::new([7; 32]).issue(&SystemEntropy).expect("system entropy");
        assert!(!TokenKey::new([8; 32]).issued(&token));
    }

    #[test]
    fn the_tag_is_the_start_of_hmac_sha256() {
        // Reference: python3 -c 'import hmac;print(hmac.new(bytes([7]*32),bytes(24),"sha256").hexdigest()[:16])'
        let tag = TokenKey::new([7; 32]).tag(&[0; RANDOM]);
        assert_eq!(tag, HMAC_OF_ZEROS);
    }
    const HMAC_OF_ZEROS: [u8; TAG] = [211, 142, 9, 224, 12, 227, 1, 166];

    #[test]
    fn the_key_of_second_factors_is_hmac_sha256_of_its_label() {
        // Reference: python3 -c 'import hmac;print(hmac.new(bytes([7]*32),b"sessiond: the secrets of second
        // factors","sha256").hexdigest())'
        let key = TokenKey::new([7; 32]).second_factor_key();
        assert_eq!(HEXLOWER.encode(&key), "3496e77958ed4cfe6f74b837dced8538d10636a3c3b1035ef14ec55939f3387f");
    }

    #[test]
    fn hashes_are_equal_where_every_byte_is() {
        let hash = TokenHash::from_bytes([0x5A; 32]);
        assert_eq!(hash, TokenHash::from_bytes([0x5A; 32]));
        for one in 0..32 {
            for other in 0..32 {
                let mut bytes = [0x5A; 32];
                bytes[one] ^= 1;
                bytes[other] ^= 2;
                assert_ne!(hash, TokenHash::from_bytes(bytes), "bytes {one} and {other} differ");
            }
        }
    }

    #[test]
    fn a_hash_is_spread_by_its_first_eight_bytes() {
        let mut bytes = [0; 32];
        (1..).zip(&mut bytes).for_each(|(number, byte)| *byte = number);
        assert_eq!(TokenHash::from_bytes(bytes).prefix(), 0x0807_0605_0403_0201);
        let spread = |hash| BuildHasherDefault::<DefaultHasher>::default().hash_one(hash);
        assert_ne!(spread(TokenHash::from_bytes(bytes)), spread(TokenHash::from_bytes([0; 32])));
    }

    #[test]
    fn debug_shows_no_secret() {
        let token = TokenKey::new([7; 32]).issue(&SystemEntropy).expect("system entropy");
        assert_eq!(format!("{token:?} {:?}", token.hash()), "Token(…) TokenHash(…)");
    }

    #[test]
    fn a_hash_survives_the_trip_through_hex() {
        let hash = TokenKey::new([7; 32]).issue(&SystemEntropy).expect("system entropy").hash();
        assert_eq!(TokenHash::from_hex(&hash.to_hex()), Some(hash));
        assert!(TokenHash::from_hex("xyz").is_none());
    }

    proptest! {
        #[test]
        fn flipping_any_bit_makes_it_a_token_never_issued(byte in 0..BYTES, bit in 0..8u8) {
            let key = TokenKey::new([7; 32]);
            let token = key.issue(&SystemEntropy).expect("system entropy");
            let mut bytes = URL_SAFE_NO_PAD.decode(token.0).expect("our own form");
            bytes[byte] ^= 1 << bit;
            let token = Token::parse(URL_SAFE_NO_PAD.encode(bytes).as_bytes()).expect("still the form");
            prop_assert!(!key.issued(&token));
        }

        #[test]
        fn only_one_text_stands_for_a_token(text in "[A-Za-z0-9_-]{43}") {
            prop_assert_eq!(Token::parse(text.as_bytes()).is_some(), URL_SAFE_NO_PAD.decode(&text).is_ok());
        }

        #[test]
        fn garbage_never_panics(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Token::parse(&text);
        }
    }
}
