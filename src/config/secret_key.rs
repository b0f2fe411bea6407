//! The key that the secrets of second factors are encrypted under, where it lives outside the store.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::error::{BadConfig, bad};
use super::files::read_small_text;

/// How many bytes it has.
const BYTES: usize = 32;

/// 32 bytes that are kept in a file of their own: never printed.
#[derive(Clone, ZeroizeOnDrop)]
pub struct SecretKey([u8; BYTES]);

impl SecretKey {
    /// The bytes themselves.
    pub const fn reveal(&self) -> &[u8; BYTES] {
        &self.0
    }

    /// Reads 64 hexadecimal digits, or base64 in either alphabet with or without padding.
    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits: Option<Zeroizing<Vec<u8>>> = text.is_ascii().then(|| {
            let digit = |at| text.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
            (0..text.len()).step_by(2).map_while(digit).collect::<Vec<_>>().into()
        });
        let indifferent = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let bytes = match digits.filter(|digits| digits.len() * 2 == text.len()) {
            Some(digits) => digits,
            None => [&STANDARD, &URL_SAFE]
                .into_iter()
                .find_map(|alphabet| GeneralPurpose::new(alphabet, indifferent).decode(text).ok())?
                .into(),
        };
        bytes.as_slice().try_into().ok().map(Self)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Reads the key from its file, where one is named.
pub(super) fn read(path: Option<&Path>) -> Result<Option<SecretKey>, BadConfig> {
    let Some(path) = path else { return Ok(None) };
    let shown = path.display();
    let text = match read_small_text(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) => return bad(format!("secret_key_file {shown} cannot be read: {error}")),
    };
    match SecretKey::read(&text) {
        Some(key) => Ok(Some(key)),
        None => bad(format!(
            "secret_key_file {shown} must hold 32 bytes as hexadecimal digits or base64: make one by `openssl rand -hex 32`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_hex_or_base64_and_nothing_else_is() {
        let bytes: Vec<u8> = (224..=255).collect();
        let hex = bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        let base64 = "4OHi4+Tl5ufo6err7O3u7/Dx8vP09fb3+Pn6+/z9/v8";
        for text in [
            hex.clone(),
            hex.to_uppercase(),
            format!("{hex}\n"),
            format!(" {base64}\r\n"),
            format!("{base64}="),
            base64.replace('+', "-").replace('/', "_"),
        ] {
            let read = SecretKey::read(&text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(read.reveal().as_slice(), bytes, "{text}");
        }
        for odd in ["", "secret", &hex[1..], &hex[2..], &format!("{hex}00"), &base64[1..], &format!("ä{}", &hex[2..])]
        {
            assert!(SecretKey::read(odd).is_none(), "{odd}");
        }
    }

    #[test]
    fn a_file_is_refused_by_name_and_what_it_holds_is_never_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        let refused = read(Some(&file)).expect_err("missing").to_string();
        assert!(refused.contains("secret_key_file") && refused.contains("cannot be read"), "{refused}");
        std::fs::write(&file, "s3cret").expect("written");
        let refused = read(Some(&file)).expect_err("too short").to_string();
        assert!(refused.contains("openssl rand -hex 32") && !refused.contains("s3cret"), "{refused}");
        std::fs::write(&file, "ab".repeat(32)).expect("written");
        let key = read(Some(&file)).expect("fine").expect("a key");
        assert_eq!(format!("{key:?}"), "(hidden)");
        assert!(read(None).expect("fine").is_none());
    }
}
