//! The keys that the secrets of second factors are encrypted under, where they live outside the store.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use data_encoding::HEXLOWER_PERMISSIVE;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::error::{BadConfig, bad};
use super::files::read_small_text;

/// How many bytes a key has.
const BYTES: usize = 32;
/// How many keys there can be: more than anybody drops one by one.
const MOST: usize = 8;

/// 32 bytes that are kept in a file outside the store: never printed.
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
        let indifferent = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let base64 = |alphabet| GeneralPurpose::new(alphabet, indifferent).decode(text).ok();
        let digits = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
        let bytes = Zeroizing::new(digits.or_else(|| [&STANDARD, &URL_SAFE].into_iter().find_map(base64))?);
        bytes.as_slice().try_into().ok().map(Self)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Reads the keys from their file, where one is named: one a line. Blank lines, and those that begin with `#`, are none.
pub(super) fn read(path: Option<&Path>) -> Result<Vec<SecretKey>, BadConfig> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let shown = path.display();
    let text = match read_small_text(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) => return bad(format!("secret_key_file {shown} cannot be read: {error}")),
    };
    let lines = (1..).zip(text.lines().map(str::trim));
    let mut keys = Vec::new();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let Some(key) = SecretKey::read(line) else {
            return bad(format!(
                "secret_key_file {shown} must hold 32 bytes a line, as hexadecimal digits or base64, and line {number} is \
                 something else: make a key by `openssl rand -hex 32`"
            ));
        };
        keys.push(key);
    }
    match keys.len() {
        0 => bad(format!("secret_key_file {shown} holds no key: make one by `openssl rand -hex 32`")),
        1..=MOST => Ok(keys),
        more => bad(format!(
            "secret_key_file {shown} holds {more} keys, and {MOST} are the most: drop those that `sessiond second-factor \
             reseal` has left nothing under"
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
        let keys = read(Some(&file)).expect("fine");
        assert_eq!(format!("{keys:?}"), "[(hidden)]");
        assert!(read(None).expect("fine").is_empty());
    }

    #[test]
    fn a_file_holds_up_to_eight_keys_one_a_line_in_their_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("keys");
        let read_of = |text: &str| {
            std::fs::write(&file, text).expect("written");
            read(Some(&file)).map(|keys| keys.iter().map(|key| key.reveal()[0]).collect::<Vec<_>>())
        };
        let key = |byte: u8| format!("{byte:02x}").repeat(32);
        let text = format!("# the new one\r\n{}\r\n\r\n  # until all is resealed\n\t{}\n\n", key(7), key(5));
        assert_eq!(read_of(&text).expect("fine"), [7, 5]);
        let all = |most: u8| (1..=most).map(key).collect::<Vec<_>>().join("\n");
        assert_eq!(read_of(&all(8)).expect("fine"), [1, 2, 3, 4, 5, 6, 7, 8]);
        for (text, words) in [
            (all(9), "9 keys"),
            (String::from("\n# nothing yet\n"), "no key"),
            (format!("{}\n{} # old\n", key(1), key(2)), "line 2"),
            (format!("{}{}", key(1), key(2)), "line 1"),
        ] {
            let refused = read_of(&text).expect_err("refused").to_string();
            assert!(refused.contains(words) && !refused.contains("0101"), "{refused}");
        }
    }
}
