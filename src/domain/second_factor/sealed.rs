//! How secrets and recovery codes are kept: encrypted and bound to their user, and as keyed hashes.
//!
//! Each sealed secret names its key, so that it is known which keys a store needs.

use std::fmt;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use super::recovery::RecoveryCode;
use super::totp::TotpSecret;
use crate::domain::entropy::{Entropy, NoEntropy};
use crate::domain::id::UserId;

/// How many bytes name a key.
const ID: usize = 8;
/// How many bytes are drawn for each encryption: so many that they never repeat (draft-irtf-cfrg-xchacha section 3.1).
const NONCE: usize = 24;

/// The name of a key. It reveals nothing about the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId([u8; ID]);

impl KeyId {
    /// Takes the bytes of a name.
    pub const fn from_bytes(bytes: [u8; ID]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; ID] {
        &self.0
    }
}

/// A secret as the store keeps it: the name of the key, the nonce, and the secret encrypted.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret(Vec<u8>);

impl SealedSecret {
    /// Takes what the store keeps.
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// What the store keeps.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name of the key that it is encrypted under.
    pub fn key(&self) -> Option<KeyId> {
        self.0.first_chunk().copied().map(KeyId)
    }
}

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedSecret(…)")
    }
}

/// The keyed hash of a recovery code and its user, as 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecoveryHash(String);

impl RecoveryHash {
    /// Its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RecoveryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryHash(…)")
    }
}

/// A key for secrets and recovery codes.
struct FactorKey {
    id: KeyId,
    cipher: XChaCha20Poly1305,
    recovery: Hmac<Sha256>,
}

impl FactorKey {
    /// Makes a key for each purpose of 32 bytes that serve no other.
    fn new(mut root: [u8; 32]) -> Self {
        let key = keyed(&root);
        root.zeroize();
        let derived = |label: &str| -> [u8; 32] { key.clone().chain_update(label).finalize().into_bytes().into() };
        let encryption = Zeroizing::new(derived("sessiond second factor 1: encryption"));
        let recovery = Zeroizing::new(derived("sessiond second factor 1: recovery codes"));
        let name = derived("sessiond second factor 1: name of the key");
        Self {
            id: KeyId(name.first_chunk().copied().unwrap_or_default()),
            cipher: XChaCha20Poly1305::new((&*encryption).into()),
            recovery: keyed(&recovery),
        }
    }

    fn recovery_hash(&self, code: &RecoveryCode, user: UserId) -> RecoveryHash {
        let mac = self.recovery.clone().chain_update(user.as_str()).chain_update(code.as_bytes());
        let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
        let bytes = mac.finalize().into_bytes();
        RecoveryHash(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
    }
}

/// HMAC-SHA-256 under a key of 32 bytes. RFC 2104: a key shorter than the block is padded with zeros.
fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    Hmac::new(&block)
}

/// The keys of a process: the one that it seals with, and the others that it can open with.
pub struct FactorKeys {
    current: FactorKey,
    others: Vec<FactorKey>,
}

impl FactorKeys {
    /// Seals under a key from outside the store, where there is one, else under one that comes from the store. What was
    /// sealed under the store's is opened still.
    pub fn new(of_store: [u8; 32], from_outside: Option<[u8; 32]>) -> Self {
        let of_store = FactorKey::new(of_store);
        match from_outside {
            Some(key) => Self { current: FactorKey::new(key), others: vec![of_store] },
            None => Self { current: of_store, others: Vec::new() },
        }
    }

    fn all(&self) -> impl Iterator<Item = &FactorKey> {
        std::iter::once(&self.current).chain(&self.others)
    }

    /// Whether what was sealed under this key can be opened.
    pub fn has(&self, id: KeyId) -> bool {
        self.all().any(|key| key.id == id)
    }

    /// Encrypts a secret, for its user alone.
    ///
    /// # Errors
    /// [`NoEntropy`] when the random source fails.
    pub fn seal(&self, secret: &TotpSecret, user: UserId, entropy: &dyn Entropy) -> Result<SealedSecret, NoEntropy> {
        let mut nonce = [0; NONCE];
        entropy.fill(&mut nonce)?;
        let payload = Payload { msg: secret.as_bytes(), aad: &bound_to(user) };
        // It fails for messages of 256 GiB alone.
        let encrypted = self.current.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| NoEntropy)?;
        Ok(SealedSecret([&self.current.id.0[..], &nonce, &encrypted].concat()))
    }

    /// Decrypts a user's secret. `None` for one of another user or under a key that is not here, and for what was
    /// changed.
    pub fn open(&self, sealed: &SealedSecret, user: UserId) -> Option<TotpSecret> {
        let (id, rest) = sealed.0.split_first_chunk::<ID>()?;
        let (nonce, encrypted) = rest.split_first_chunk::<NONCE>()?;
        let key = self.all().find(|key| key.id == KeyId(*id))?;
        let payload = Payload { msg: encrypted, aad: &bound_to(user) };
        TotpSecret::from_bytes(key.cipher.decrypt(&XNonce::from(*nonce), payload).ok()?)
    }

    /// The hash that a new recovery code of a user is kept as.
    pub fn recovery_hash(&self, code: &RecoveryCode, user: UserId) -> RecoveryHash {
        self.current.recovery_hash(code, user)
    }

    /// Every hash that a recovery code of a user may be kept as: one for each key.
    pub fn recovery_hashes(&self, code: &RecoveryCode, user: UserId) -> Vec<RecoveryHash> {
        self.all().map(|key| key.recovery_hash(code, user)).collect()
    }
}

impl fmt::Debug for FactorKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FactorKeys(…)")
    }
}

/// What is authenticated with a secret, so that it opens for its user alone.
fn bound_to(user: UserId) -> Vec<u8> {
    [b"sessiond second factor of ", user.as_str().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entropy::SystemEntropy;

    fn user() -> UserId {
        UserId::random(&SystemEntropy).expect("entropy")
    }

    fn secret() -> TotpSecret {
        TotpSecret::random(&SystemEntropy).expect("entropy")
    }

    #[test]
    fn a_secret_opens_for_its_user_and_under_its_key_alone() {
        let (keys, ann, secret) = (FactorKeys::new([1; 32], None), user(), secret());
        let sealed = keys.seal(&secret, ann, &SystemEntropy).expect("entropy");
        let opened = keys.open(&sealed, ann).expect("it is Ann's");
        assert_eq!(opened.as_bytes(), secret.as_bytes());
        assert!(keys.open(&sealed, user()).is_none(), "another user");
        assert!(FactorKeys::new([2; 32], None).open(&sealed, ann).is_none(), "another key");
        let again = keys.seal(&secret, ann, &SystemEntropy).expect("entropy");
        assert_ne!(again, sealed, "each time under another nonce");
        assert!(!sealed.as_bytes().windows(20).any(|window| window == secret.as_bytes()));
    }

    #[test]
    fn what_was_changed_in_any_bit_does_not_open() {
        let (keys, ann) = (FactorKeys::new([1; 32], None), user());
        let sealed = keys.seal(&secret(), ann, &SystemEntropy).expect("entropy");
        for bit in 0..sealed.as_bytes().len() * 8 {
            let mut bytes = sealed.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(keys.open(&SealedSecret::from_bytes(bytes), ann).is_none(), "{bit}");
        }
        for length in 0..sealed.as_bytes().len() {
            let cut = SealedSecret::from_bytes(sealed.as_bytes()[..length].to_vec());
            assert!(keys.open(&cut, ann).is_none(), "{length}");
        }
    }

    #[test]
    fn a_key_from_outside_takes_over_and_what_was_sealed_before_opens_still() {
        let (before, after) = (FactorKeys::new([1; 32], None), FactorKeys::new([1; 32], Some([2; 32])));
        let (ann, secret) = (user(), secret());
        let (old, new) = (before.seal(&secret, ann, &SystemEntropy), after.seal(&secret, ann, &SystemEntropy));
        let (old, new) = (old.expect("entropy"), new.expect("entropy"));
        assert!(after.open(&old, ann).is_some() && after.open(&new, ann).is_some());
        assert!(before.open(&new, ann).is_none(), "the store's own key is of no use");
        let (old, new) = (old.key().expect("a name"), new.key().expect("a name"));
        assert_eq!([after.has(old), after.has(new), before.has(old), before.has(new)], [true, true, true, false]);
    }

    #[test]
    fn a_recovery_hash_depends_on_code_user_and_key() {
        let (keys, ann) = (FactorKeys::new([1; 32], Some([2; 32])), user());
        let (one, other) = (RecoveryCode::random(&SystemEntropy), RecoveryCode::random(&SystemEntropy));
        let (one, other) = (one.expect("entropy"), other.expect("entropy"));
        let hash = keys.recovery_hash(&one, ann);
        assert_eq!(hash.as_str().len(), 64);
        assert_ne!(hash, keys.recovery_hash(&other, ann));
        assert_ne!(hash, keys.recovery_hash(&one, user()));
        let all = keys.recovery_hashes(&one, ann);
        assert_eq!(all.first(), Some(&hash));
        assert_eq!(all.get(1), Some(&FactorKeys::new([1; 32], None).recovery_hash(&one, ann)), "the store's key");
    }

    #[test]
    fn debug_shows_no_secret() {
        let keys = FactorKeys::new([1; 32], None);
        let sealed = keys.seal(&secret(), user(), &SystemEntropy).expect("entropy");
        let code = RecoveryCode::random(&SystemEntropy).expect("entropy");
        let shown = format!("{keys:?} {sealed:?} {:?} {code:?}", keys.recovery_hash(&code, user()));
        assert_eq!(shown, "FactorKeys(…) SealedSecret(…) RecoveryHash(…) RecoveryCode(…)");
    }
}
