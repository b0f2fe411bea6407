//! A hash in place of a name that no user has. People type passwords where a name belongs, so the name itself is not
//! kept.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The key under which typed names are hashed.
#[derive(Clone)]
pub struct NameKey(Hmac<Sha256>);

impl NameKey {
    /// Makes the key from bytes that serve no other purpose.
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
        block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
        Self(Hmac::new(&block))
    }

    /// 16 letters that are the same for the same name on the same store, and reveal nothing else about it without the
    /// key.
    pub fn hash(&self, typed: &str) -> String {
        let mac = self.0.clone().chain_update(typed).finalize().into_bytes();
        let mut first = [0; 8];
        first.iter_mut().zip(mac).for_each(|(to, from)| *to = from);
        format!("{:016x}", u64::from_be_bytes(first))
    }
}

impl fmt::Debug for NameKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NameKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::token::TokenKey;

    #[test]
    fn a_hash_is_the_same_for_the_same_name_and_key_only() {
        let key = TokenKey::new([7; 32]).name_key();
        // Reference: python3 -c 'import hmac; label = b"sessiond: names that are no user\x27s"
        // key = hmac.digest(bytes([7] * 32), label, "sha256"); print(hmac.digest(key, b"nobody", "sha256").hex()[:16])'
        assert_eq!(key.hash("nobody"), "5e4218c741163c1b");
        assert_ne!(key.hash("nobody"), key.hash("nobody2"));
        assert_ne!(key.hash("nobody"), TokenKey::new([8; 32]).name_key().hash("nobody"));
    }
}
