//! How secrets and recovery codes are kept: encrypted and bound to their user, and as keyed hashes.
//!
//! Each sealed secret, and each hash under a key from outside the store, names its key, so that it is known which keys a
//! store needs, and what can be kept under another one.

use std::fmt;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use data_encoding::HEXLOWER;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use super::recovery::RecoveryCode;
use super::totp::TotpSecret;
use crate::domain::entropy::{Entropy, NoEntropy};
use crate::domain::id::UserId;

/// How many bytes name a key.
const ID: usize = 8;
/// How many hexadecimal digits a keyed hash has.
const DIGITS: usize = 64;
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

/// The keyed hash of a recovery code and its user, in hexadecimal digits: 64 under the key of the store. Under a key from
/// outside it is the hash of those 64, after the 16 digits of that key's name; so it can be made of what is stored.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecoveryHash(String);

/// A text that is not the hash of a recovery code.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("it is not the hash of a recovery code")]
pub struct NoRecoveryHash;

impl RecoveryHash {
    /// Takes what the store keeps.
    ///
    /// # Errors
    /// [`NoRecoveryHash`] for any other text.
    pub fn stored(text: &str) -> Result<Self, NoRecoveryHash> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let known = [DIGITS, 2 * ID + DIGITS].contains(&text.len());
        if digits && known { Ok(Self(text.to_owned())) } else { Err(NoRecoveryHash) }
    }

    /// Its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits of the name of its key, if that is one from outside the store.
    fn key_digits(&self) -> Option<&str> {
        self.0.len().checked_sub(DIGITS).filter(|name| *name > 0).and_then(|name| self.0.get(..name))
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

    /// The keyed hash of some bytes.
    fn hash(&self, parts: [&[u8]; 2]) -> String {
        let mac = parts.into_iter().fold(self.recovery.clone(), Hmac::chain_update);
        HEXLOWER.encode(&mac.finalize().into_bytes())
    }
}

/// HMAC-SHA-256 under a key of 32 bytes. RFC 2104: a key shorter than the block is padded with zeros.
fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    Hmac::new(&block)
}

/// The keys of a process: those from outside the store, the first of which seals, and the one of the store, which seals
/// where there is no other. Each opens what was sealed under it.
pub struct FactorKeys {
    from_outside: Vec<FactorKey>,
    of_store: FactorKey,
}

/// What becomes of something that is kept, so that it is kept under the key that seals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anew<T> {
    /// It is kept so already.
    Current,
    /// It is to be replaced by this.
    By(T),
    /// It has to stay as it is.
    Stuck,
}

impl FactorKeys {
    /// Takes the key of the store, and those from outside it in their order.
    pub fn new(of_store: [u8; 32], from_outside: impl IntoIterator<Item = [u8; 32]>) -> Self {
        let from_outside = from_outside.into_iter().map(FactorKey::new).collect();
        Self { from_outside, of_store: FactorKey::new(of_store) }
    }

    /// The one that seals.
    fn current(&self) -> &FactorKey {
        self.from_outside.first().unwrap_or(&self.of_store)
    }

    fn all(&self) -> impl Iterator<Item = &FactorKey> {
        self.from_outside.iter().chain([&self.of_store])
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
        let encrypted = self.current().cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| NoEntropy)?;
        Ok(SealedSecret([&self.current().id.0[..], &nonce, &encrypted].concat()))
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

    /// What a user's secret is to be replaced by, so that it is sealed under the key that seals. One that cannot be opened
    /// stays as it is.
    ///
    /// # Errors
    /// [`NoEntropy`] when the random source fails.
    pub fn seal_anew(
        &self,
        sealed: &SealedSecret,
        user: UserId,
        entropy: &dyn Entropy,
    ) -> Result<Anew<SealedSecret>, NoEntropy> {
        if sealed.key() == Some(self.current().id) {
            return Ok(Anew::Current);
        }
        let Some(secret) = self.open(sealed, user) else { return Ok(Anew::Stuck) };
        self.seal(&secret, user, entropy).map(Anew::By)
    }

    /// The hash that a new recovery code of a user is kept as.
    pub fn recovery_hash(&self, code: &RecoveryCode, user: UserId) -> RecoveryHash {
        let hash = self.recovery_hash_of_store(code, user);
        self.from_outside.first().map_or_else(|| hash.clone(), |key| under(key, &hash))
    }

    /// Every hash that a recovery code of a user may be kept as: one for each key.
    pub fn recovery_hashes(&self, code: &RecoveryCode, user: UserId) -> Vec<RecoveryHash> {
        let hash = self.recovery_hash_of_store(code, user);
        self.from_outside.iter().map(|key| under(key, &hash)).chain([hash.clone()]).collect()
    }

    fn recovery_hash_of_store(&self, code: &RecoveryCode, user: UserId) -> RecoveryHash {
        RecoveryHash(self.of_store.hash([user.as_str().as_bytes(), code.as_bytes()]))
    }

    /// What the hash of a recovery code is to be replaced by, so that it is one under the key that seals. One under another
    /// key from outside stays as it is, since the code is not there to be hashed again.
    pub fn recovery_hash_anew(&self, hash: &RecoveryHash) -> Anew<RecoveryHash> {
        match (hash.key_digits(), self.from_outside.first()) {
            (None, None) => Anew::Current,
            (None, Some(key)) => Anew::By(under(key, hash)),
            (Some(name), Some(key)) if name == HEXLOWER.encode(&key.id.0) => Anew::Current,
            (Some(_), Some(_) | None) => Anew::Stuck,
        }
    }
}

/// The hash under a key from outside the store of what is kept under the store's.
fn under(key: &FactorKey, hash: &RecoveryHash) -> RecoveryHash {
    RecoveryHash(HEXLOWER.encode(&key.id.0) + &key.hash([hash.as_str().as_bytes(), &[]]))
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
        assert_eq!(sealed.as_bytes().len(), ID + NONCE + secret.as_bytes().len() + 16, "with a tag");
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
        assert_eq!(hash.as_str().len(), 80);
        assert_ne!(hash, keys.recovery_hash(&other, ann));
        assert_ne!(hash, keys.recovery_hash(&one, user()));
        let all = keys.recovery_hashes(&one, ann);
        assert_eq!(all.first(), Some(&hash));
        assert_eq!(all.get(1), Some(&FactorKeys::new([1; 32], None).recovery_hash(&one, ann)), "the store's key");
        assert_ne!(hash, FactorKeys::new([9; 32], Some([2; 32])).recovery_hash(&one, ann), "it needs both keys");
    }

    #[test]
    fn of_several_keys_from_outside_the_first_seals_and_all_open() {
        let [old, both, new] = [&[[2; 32]][..], &[[3; 32], [2; 32]], &[[3; 32]]]
            .map(|outside| FactorKeys::new([1; 32], outside.iter().copied()));
        let (ann, secret) = (user(), secret());
        let sealed = old.seal(&secret, ann, &SystemEntropy).expect("entropy");
        assert_eq!(old.seal_anew(&sealed, ann, &SystemEntropy).expect("entropy"), Anew::Current);
        assert_eq!(new.seal_anew(&sealed, ann, &SystemEntropy).expect("entropy"), Anew::Stuck);
        assert_eq!(both.seal_anew(&sealed, user(), &SystemEntropy).expect("entropy"), Anew::Stuck, "another user's");
        let anew = both.seal_anew(&sealed, ann, &SystemEntropy).expect("entropy");
        let Anew::By(anew) = anew else { panic!("{anew:?}") };
        assert!(new.open(&anew, ann).is_some_and(|opened| opened.as_bytes() == secret.as_bytes()));
        assert!(old.open(&anew, ann).is_none());
        assert_eq!(both.seal_anew(&anew, ann, &SystemEntropy).expect("entropy"), Anew::Current);
    }

    #[test]
    fn a_recovery_hash_moves_from_the_stores_key_to_one_from_outside_and_no_further() {
        let [store, old, both] =
            [&[][..], &[[2; 32]], &[[3; 32], [2; 32]]].map(|outside| FactorKeys::new([1; 32], outside.iter().copied()));
        let (ann, code) = (user(), RecoveryCode::random(&SystemEntropy).expect("entropy"));
        let hash = store.recovery_hash(&code, ann);
        assert_eq!(store.recovery_hash_anew(&hash), Anew::Current);
        let moved = old.recovery_hash(&code, ann);
        assert_eq!(old.recovery_hash_anew(&hash), Anew::By(moved.clone()));
        assert_eq!(old.recovery_hash_anew(&moved), Anew::Current);
        assert_eq!(store.recovery_hash_anew(&moved), Anew::Stuck);
        assert_eq!(both.recovery_hash_anew(&moved), Anew::Stuck);
        assert!(both.recovery_hashes(&code, ann).contains(&moved), "it is good still");
        assert!(!store.recovery_hashes(&code, ann).contains(&moved));
        for hash in [&hash, &moved] {
            assert_eq!(RecoveryHash::stored(hash.as_str()).expect("one"), *hash);
            assert!(RecoveryHash::stored(&hash.as_str()[1..]).is_err());
            assert!(RecoveryHash::stored(&hash.as_str().replace(|_| true, "A")).is_err());
        }
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
