//! Cursors of lists: the place where the next page begins, which clients keep and cannot make up.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

const TAG: usize = 8;
/// The longest cursor that is looked at, in letters.
const LONGEST: usize = 128;

/// The key that tells a cursor of this store from one that was made up.
#[derive(Clone)]
pub struct CursorKey(Hmac<Sha256>);

impl CursorKey {
    /// Makes the key from bytes that serve no other purpose.
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
        block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
        Self(Hmac::new(&block))
    }

    /// The cursor of a place in a list.
    pub fn seal(&self, list: &'static str, place: &str) -> String {
        let bytes = [place.as_bytes(), &self.tag(list, place)].concat();
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place that a cursor of this list stands for; `None` for one that was not made here.
    pub fn open(&self, list: &'static str, cursor: &str) -> Option<String> {
        if cursor.len() > LONGEST {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (place, tag) = bytes.split_last_chunk::<TAG>()?;
        let place = str::from_utf8(place).ok()?;
        bool::from(self.tag(list, place).ct_eq(tag)).then(|| place.to_owned())
    }

    fn tag(&self, list: &'static str, place: &str) -> [u8; TAG] {
        let mac = self.0.clone().chain_update(list).chain_update([0]).chain_update(place).finalize().into_bytes();
        let mut tag = [0; TAG];
        tag.iter_mut().zip(mac).for_each(|(to, from)| *to = from);
        tag
    }
}

impl fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CursorKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::token::TokenKey;

    #[test]
    fn a_cursor_is_taken_back_by_its_own_list_and_store_only() {
        let key = TokenKey::new([7; 32]).cursor_key();
        let cursor = key.seal("users", "17.abc");
        assert_eq!(key.open("users", &cursor).as_deref(), Some("17.abc"));
        assert_eq!(key.open("events", &cursor), None, "another list");
        assert_eq!(TokenKey::new([8; 32]).cursor_key().open("users", &cursor), None, "another store");
        for edited in [&cursor[1..], "", "AAAA", &"A".repeat(1000), &format!("{cursor}A"), "not base64!"] {
            assert_eq!(key.open("users", edited), None, "{edited}");
        }
        let other = key.seal("users", "18.abc");
        let swapped = format!("{}{}", &other[..4], &cursor[4..]);
        assert_eq!(key.open("users", &swapped), None);
    }
}
