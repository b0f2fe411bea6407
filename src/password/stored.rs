//! Hashes as they are stored, in PHC strings: read strictly, and only what may be computed.

use argon2::{Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// The most memory that a stored hash may ask of a worker.
const MEMORY_KIB_MOST: u32 = 64 * 1024;
/// The most work that it may ask: about four times what a hash of ours takes. A planted or imported row must neither stop
/// the workers nor exhaust the machine.
pub(super) const WORK_MOST: u64 = 160_000;
const LANES_MOST: u32 = 4;
/// The most passes. With many over little memory, work takes much less time than with few over much.
const PASSES_MOST: u32 = 16;

/// Memory times passes, to which the time of a hash is proportional.
pub(super) fn work(params: &Params) -> u64 {
    u64::from(params.m_cost()) * u64::from(params.t_cost())
}

/// An argon2id hash that may be computed.
#[derive(Debug)]
pub(super) struct Stored {
    pub params: Params,
    pub salt: Vec<u8>,
    pub output: Vec<u8>,
}

impl Stored {
    /// Reads `$argon2id$v=19$m=…,t=…,p=…$salt$output`, every part as the PHC format has it and in this order.
    ///
    /// # Errors
    /// The reason why it is never computed, in words that go behind "a stored hash".
    pub(super) fn parse(phc: &str) -> Result<Self, &'static str> {
        const FORM: &str = "is not a PHC string";
        let mut parts = phc.split('$');
        let mut next = || parts.next().ok_or(FORM);
        let (before, algorithm, version) = (next()?, next()?, next()?);
        if !before.is_empty() {
            return Err(FORM);
        }
        if algorithm != "argon2id" {
            return Err("is not of argon2id");
        }
        // Without a version it would be the first one, which computes otherwise.
        if version.strip_prefix("v=").and_then(number) != Some(u32::from(Version::V0x13)) {
            return Err("is not of version 19");
        }
        let (costs, salt, output) = (next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(FORM);
        }
        let mut costs = costs.split(',');
        let mut cost = |name| costs.next().and_then(|cost| cost.strip_prefix(name)).and_then(number).ok_or(FORM);
        let (memory, passes, lanes) = (cost("m=")?, cost("t=")?, cost("p=")?);
        if costs.next().is_some() {
            return Err(FORM);
        }
        let decode = |text: &str| STANDARD_NO_PAD.decode(text).map_err(|_| FORM);
        let (salt, output) = (decode(salt)?, decode(output)?);
        if !(8..=64).contains(&salt.len()) || !(16..=64).contains(&output.len()) {
            return Err("has a salt or an output of an unusual length");
        }
        if lanes > LANES_MOST || memory > MEMORY_KIB_MOST || passes > PASSES_MOST {
            return Err("asks for more lanes, memory or passes than is accepted");
        }
        let params = Params::new(memory, passes, lanes, Some(output.len()))
            .map_err(|_| "has parameters that argon2 does not allow")?;
        if work(&params) > WORK_MOST {
            return Err("asks for more work than is accepted");
        }
        Ok(Self { params, salt, output })
    }
}

/// A hash as it is stored.
pub(super) fn write(params: &Params, salt: &[u8], output: &[u8]) -> String {
    let (m, t, p) = (params.m_cost(), params.t_cost(), params.p_cost());
    let (salt, output) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(output));
    format!("$argon2id$v={}$m={m},t={t},p={p}${salt}${output}", u32::from(Version::V0x13))
}

/// A number as the PHC format writes it: only digits, without leading zeros.
fn number(text: &str) -> Option<u32> {
    let fit = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if fit { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: &str = "c2FsdHNhbHRzYWx0c2FsdA";
    const OUTPUT: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";

    fn parsed(head: &str) -> Result<Stored, &'static str> {
        Stored::parse(&format!("{head}${SALT}${OUTPUT}"))
    }

    #[test]
    fn what_is_within_the_bounds_is_read_and_written_back() {
        for costs in
            ["m=19456,t=2,p=1", "m=8,t=1,p=1", "m=65536,t=2,p=4", "m=47104,t=1,p=1", "m=12288,t=3,p=1", "m=32,t=16,p=4"]
        {
            let text = format!("$argon2id$v=19${costs}${SALT}${OUTPUT}");
            let stored = Stored::parse(&text).unwrap_or_else(|why| panic!("{costs}: {why}"));
            assert_eq!(write(&stored.params, &stored.salt, &stored.output), text);
            assert_eq!(stored.salt, b"saltsaltsaltsalt");
        }
    }

    #[test]
    fn what_would_cost_too_much_is_never_computed() {
        for costs in [
            "m=19456,t=20000,p=1",
            "m=65537,t=1,p=1",
            "m=65536,t=3,p=1",
            "m=4294967295,t=4294967295,p=1",
            "m=8,t=4294967295,p=1",
            "m=8,t=17,p=1",
            "m=99999999999,t=1,p=1",
            "m=19456,t=2,p=5",
            "m=19456,t=2,p=16777215",
            "m=19456,t=2,p=0",
            "m=19456,t=0,p=1",
            "m=0,t=2,p=1",
            "m=7,t=2,p=1",
            "m=31,t=2,p=4",
        ] {
            assert!(parsed(&format!("$argon2id$v=19${costs}")).is_err(), "{costs}");
        }
    }

    #[test]
    fn what_is_not_exactly_of_the_form_is_refused() {
        for head in [
            "$argon2id$m=19456,t=2,p=1",
            "$argon2id$v=16$m=19456,t=2,p=1",
            "$argon2id$v=019$m=19456,t=2,p=1",
            "$argon2i$v=19$m=19456,t=2,p=1",
            "$argon2d$v=19$m=19456,t=2,p=1",
            "argon2id$v=19$m=19456,t=2,p=1",
            "x$argon2id$v=19$m=19456,t=2,p=1",
            "$argon2id$v=19$t=2,m=19456,p=1",
            "$argon2id$v=19$m=19456,t=2",
            "$argon2id$v=19$m=19456",
            "$argon2id$v=19$",
            "$argon2id$v=19$m=19456,t=2,p=1,keyid=AAAA",
            "$argon2id$v=19$m=+19456,t=2,p=1",
            "$argon2id$v=19$m=019456,t=2,p=1",
            "$argon2id$v=19$m=19456,t=2,p=1$AAAA",
            "$2b$12",
            "",
        ] {
            assert!(parsed(head).is_err(), "{head}");
        }
        let head = "$argon2id$v=19$m=19456,t=2,p=1";
        let long = "A".repeat(88);
        for (salt, output) in [
            ("", OUTPUT),
            (SALT, ""),
            ("c2FsdA", OUTPUT),
            (SALT, "c2FsdA"),
            (&long, OUTPUT),
            (SALT, &long),
            ("c2FsdHNhbHRzYWx0c2FsdA==", OUTPUT),
            (SALT, "!"),
        ] {
            assert!(Stored::parse(&format!("{head}${salt}${output}")).is_err(), "{salt} {output}");
        }
        for text in [head.to_owned(), format!("{head}${SALT}"), format!("{head}${SALT}${OUTPUT}$"), String::from("$")] {
            assert!(Stored::parse(&text).is_err(), "{text}");
        }
    }
}
