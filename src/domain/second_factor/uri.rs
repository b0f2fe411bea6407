//! The `otpauth://` URI: a secret as authenticators scan it.

use std::fmt::Write as _;

use super::SecretText;
use super::totp::{DIGITS, PERIOD, TotpSecret};

/// What stands for an issuer or an account of which nothing is left without its colons.
const NAMELESS: &str = "sessiond";

/// The URI of a secret. The issuer stands in the label and beside it, as some authenticators read the one and some the
/// other, and both are the same.
pub fn otpauth(secret: &TotpSecret, issuer: &str, account: &str) -> SecretText {
    let (issuer, account) = (part(issuer), part(account));
    let secret = secret.base32();
    SecretText::new(format!(
        "otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={PERIOD}",
        secret.reveal()
    ))
}

/// A name as a part of the label. A colon would end it, even an escaped one.
fn part(name: &str) -> String {
    let words: Vec<_> = name.split([':', ' ']).filter(|word| !word.is_empty()).collect();
    let name = if words.is_empty() { String::from(NAMELESS) } else { words.join(" ") };
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string never fails.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(issuer: &str, account: &str) -> String {
        let secret = TotpSecret::from_bytes(b"12345678901234567890".to_vec()).expect("20 bytes");
        otpauth(&secret, issuer, account).reveal().to_owned()
    }

    #[test]
    fn what_has_a_meaning_in_a_uri_is_escaped_and_colons_are_taken_out() {
        let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        for (issuer, account, label, name) in [
            ("sessiond", "alice", "sessiond:alice", "sessiond"),
            (
                "Zoë: a&b?#%",
                "a b+c@example.com",
                "Zo%C3%AB%20a%26b%3F%23%25:a%20b%2Bc%40example.com",
                "Zo%C3%AB%20a%26b%3F%23%25",
            ),
            ("a:b", "c:d", "a%20b:c%20d", "a%20b"),
            (" : ", "::", "sessiond:sessiond", "sessiond"),
            ("a/b\\\"", "日本", "a%2Fb%5C%22:%E6%97%A5%E6%9C%AC", "a%2Fb%5C%22"),
        ] {
            let expected =
                format!("otpauth://totp/{label}?secret={secret}&issuer={name}&algorithm=SHA1&digits=6&period=30");
            assert_eq!(uri(issuer, account), expected);
        }
    }

    #[test]
    fn a_url_parser_reads_the_issuer_back() {
        let url = url::Url::parse(&uri("Zoë: a&b?#%", "alice")).expect("a URL");
        let issuer = url.query_pairs().find(|(name, _)| name == "issuer").map(|(_, issuer)| issuer.into_owned());
        assert_eq!(issuer.as_deref(), Some("Zoë a&b?#%"));
        assert_eq!(url.fragment(), None);
    }
}
