//! The pieces that written hashes are made of: numbers, named costs, and bytes in base64.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD_NO_PAD};

use super::refusal::{FORM, Why};

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A number as the PHC format writes it: only digits, without leading zeros.
pub(crate) fn number(text: &str) -> Result<u32, Why> {
    let fit = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if fit { text.parse().map_err(|_| FORM) } else { Err(FORM) }
}

/// Costs that are written as `a=1,b=2`: exactly those that are named, in this order.
pub(super) fn costs<const N: usize>(text: &str, names: [&str; N]) -> Result<[u32; N], Why> {
    let mut pairs = text.split(',');
    let mut values = [0; N];
    for (value, name) in values.iter_mut().zip(names) {
        let (named, written) = pairs.next().and_then(|pair| pair.split_once('=')).ok_or(FORM)?;
        if named != name {
            return Err(FORM);
        }
        *value = number(written)?;
    }
    if pairs.next().is_none() { Ok(values) } else { Err(FORM) }
}

/// The same in any order.
pub(crate) fn costs_in_any_order<const N: usize>(text: &str, names: [&str; N]) -> Result<[u32; N], Why> {
    let mut values = [None; N];
    for pair in text.split(',') {
        let (named, written) = pair.split_once('=').ok_or(FORM)?;
        let place = names.iter().zip(&mut values).find(|(name, _)| **name == named);
        let Some((_, value)) = place else {
            return Err(match named {
                "data" => "has associated data, which is not accepted",
                "keyid" => "needs a secret key, which is not accepted",
                _ => "has a cost that its scheme does not have",
            });
        };
        if value.replace(number(written)?).is_some() {
            return Err("has one of its costs twice");
        }
    }
    let mut all = [0; N];
    for (cost, value) in all.iter_mut().zip(values) {
        *cost = value.ok_or("lacks one of its costs")?;
    }
    Ok(all)
}

/// Standard base64 without padding, as the PHC format has it.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, Why> {
    STANDARD_NO_PAD.decode(text).map_err(|_| FORM)
}

/// The same with or without padding.
pub(crate) fn padded_or_not(text: &str) -> Result<Vec<u8>, Why> {
    LENIENT.decode(text).map_err(|_| FORM)
}

/// A salt and an output as the PHC format writes them behind the costs.
pub(super) fn salt_and_output(salt: &[u8], output: &[u8]) -> String {
    format!("{}${}", STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(output))
}

/// The parts of `$a$b$c`.
pub(crate) fn parts<const N: usize>(text: &str) -> Result<[&str; N], Why> {
    let mut parts = text.strip_prefix('$').ok_or(FORM)?.split('$');
    let mut found = [""; N];
    for part in &mut found {
        *part = parts.next().ok_or(FORM)?;
    }
    if parts.next().is_none() { Ok(found) } else { Err(FORM) }
}
