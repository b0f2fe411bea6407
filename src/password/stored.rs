//! The stored form of a hash, which says where it comes from.
//!
//! A hash that was made here is a PHC string of argon2id and of the prepared form of a password. One that was made
//! elsewhere has the name of its scheme and a colon before it, and may be of other bytes. `!` is stored where there is no
//! password.

use super::schemes::Hash;
use super::schemes::argon::Argon2Hash;
use super::schemes::refusal::{FORM, Why};
use crate::domain::password::PasswordHash;

/// A hash that may be computed, or none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// There is no password.
    None,
    /// It was made here, of the prepared form.
    Ours(Argon2Hash),
    /// It was made elsewhere, of the bytes that were typed then.
    Foreign(Hash),
}

impl Stored {
    /// Reads what is stored.
    ///
    /// # Errors
    /// The reason why it is never computed.
    pub(super) fn parse(hash: &PasswordHash) -> Result<Self, Why> {
        if *hash == PasswordHash::none() {
            return Ok(Self::None);
        }
        if !hash.as_str().starts_with('$') {
            return Hash::parse(hash.as_str()).map(Self::Foreign);
        }
        let ours = Argon2Hash::parse(hash.as_str())?;
        if ours.is_argon2id() { Ok(Self::Ours(ours)) } else { Err(FORM) }
    }
}

/// A hash that was made here, as it is stored.
pub(super) fn ours(hash: &Argon2Hash) -> PasswordHash {
    PasswordHash::new(hash.costs() + &hash.salt_and_output())
}

/// A hash that was made elsewhere, as it is stored.
pub(super) fn foreign(hash: &Hash) -> PasswordHash {
    PasswordHash::new(hash.stored())
}

/// Where stored hashes begin that were made elsewhere, in the order of their bytes: with the name of a scheme, where those
/// made here begin with a sign.
pub const FIRST_FOREIGN: &str = "a";

/// The kind of a hash that was made elsewhere and may be computed.
pub fn foreign_kind(hash: &PasswordHash) -> Option<String> {
    match Stored::parse(hash) {
        Ok(Stored::Foreign(hash)) => Some(hash.kind()),
        Ok(Stored::Ours(_) | Stored::None) | Err(_) => None,
    }
}

/// Where the stored hashes go on that are of another kind than this one, and come after it.
pub fn after_its_kind(hash: &PasswordHash) -> String {
    let kind = foreign_kind(hash).unwrap_or_default();
    match kind.strip_suffix('$') {
        // The sign after the dollar.
        Some(kind) => format!("{kind}%"),
        None => format!("{} ", hash.as_str()),
    }
}

/// A stored hash as a line of an import file has it: the name of its scheme, and what is written behind it. `None` where
/// there is no password, or what is stored is no hash.
pub fn exported(hash: &PasswordHash) -> Option<(&'static str, String)> {
    match Stored::parse(hash).ok()? {
        Stored::None => None,
        Stored::Ours(ours) => Some(("argon2id", ours.costs() + &ours.salt_and_output())),
        Stored::Foreign(hash) => {
            let scheme = hash.scheme();
            Some((scheme, hash.stored().get(scheme.len() + 1..)?.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: &str = "c2FsdHNhbHRzYWx0c2FsdA";
    const OUTPUT: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";

    fn parse(text: &str) -> Result<Stored, Why> {
        Stored::parse(&PasswordHash::new(text.into()))
    }

    fn parsed(head: &str) -> Result<Stored, Why> {
        parse(&format!("{head}${SALT}${OUTPUT}"))
    }

    #[test]
    fn what_is_within_the_bounds_is_read_and_written_back() {
        for costs in ["m=19456,t=2,p=1", "m=8,t=1,p=1", "m=131072,t=4,p=4", "m=47104,t=1,p=1", "m=102400,t=2,p=8"] {
            let text = format!("$argon2id$v=19${costs}${SALT}${OUTPUT}");
            let Ok(Stored::Ours(hash)) = parse(&text) else { panic!("{costs}") };
            assert_eq!(ours(&hash).as_str(), text);
        }
        for text in [
            format!("argon2id:$argon2id$v=19$m=19456,t=2,p=1${SALT}${OUTPUT}"),
            format!("argon2id:$argon2id$v=16$m=19456,t=2,p=1${SALT}${OUTPUT}"),
            format!("argon2i:$argon2i$v=16$m=32,t=16,p=4${SALT}${OUTPUT}"),
            String::from("bcrypt:$2y$05$XqvYTcURHSKthcnRNvQNHO2Wcay4KJmVpRoMUFiMIcRc.CMzJEYI."),
            String::from("rocketchat:$2a$15$n9CM8OgInDlwpvjLKLPML.eizXIzLlRtgCh3GRLafOdR9ldAUh/KG"),
            format!("pbkdf2:$pbkdf2-sha256$i=2000000,l=32${SALT}${OUTPUT}"),
            format!("pbkdf2:$pbkdf2-sha512$i=1000,l=32${SALT}${OUTPUT}"),
            format!("scrypt:$scrypt$ln=17,r=8,p=4${SALT}${OUTPUT}"),
            format!("htpasswd:$5$rounds=1000$saltstring${}", "a".repeat(43)),
            format!("htpasswd:$6$rounds=1000000$saltstring${}", "a".repeat(86)),
        ] {
            let Ok(Stored::Foreign(hash)) = parse(&text) else { panic!("{text}") };
            assert_eq!(foreign(&hash).as_str(), text);
            assert!(text.starts_with(&hash.kind()) && hash.kind().ends_with('$'), "{text}");
            let (last, next) = (hash.kind() + "~~~~", after_its_kind(&foreign(&hash)));
            assert!(last < next && next.len() == hash.kind().len() && text.as_str() > FIRST_FOREIGN, "{next}");
            assert_eq!(exported(&foreign(&hash)).map(|(scheme, hash)| format!("{scheme}:{hash}")), Some(text));
        }
        assert_eq!(parse("!"), Ok(Stored::None));
    }

    #[test]
    fn what_would_cost_too_much_is_never_computed() {
        for costs in [
            "m=19456,t=20000,p=1",
            "m=131073,t=1,p=1",
            "m=131072,t=5,p=1",
            "m=4294967295,t=4294967295,p=1",
            "m=8,t=4294967295,p=1",
            "m=8,t=17,p=1",
            "m=99999999999,t=1,p=1",
            "m=19456,t=2,p=256",
            "m=19456,t=2,p=16777215",
            "m=19456,t=2,p=0",
            "m=19456,t=0,p=1",
            "m=0,t=2,p=1",
            "m=7,t=2,p=1",
            "m=31,t=2,p=4",
        ] {
            assert!(parsed(&format!("$argon2id$v=19${costs}")).is_err(), "{costs}");
            assert!(parsed(&format!("argon2id:$argon2id$v=19${costs}")).is_err(), "{costs}");
        }
        let bcrypt = "KHneOWoZ8g..YBCapkdvAuIgKEyKsPIkB0kQBrn3m1tnaDx6UVwQu";
        for cost in ["03", "16", "31", "99"] {
            assert!(parse(&format!("bcrypt:$2b${cost}${bcrypt}")).is_err(), "{cost}");
        }
        for head in [
            "pbkdf2:$pbkdf2-sha256$i=4000001,l=32",
            "pbkdf2:$pbkdf2-sha256$i=4294967295,l=32",
            "pbkdf2:$pbkdf2-sha256$i=999,l=32",
            "scrypt:$scrypt$ln=18,r=8,p=1",
            "scrypt:$scrypt$ln=17,r=8,p=5",
            "scrypt:$scrypt$ln=1,r=4294967295,p=1",
            "scrypt:$scrypt$ln=1,r=1,p=4294967295",
            "scrypt:$scrypt$ln=63,r=8,p=1",
            "scrypt:$scrypt$ln=16384,r=8,p=1",
            "scrypt:$scrypt$ln=14,r=0,p=1",
            "scrypt:$scrypt$ln=14,r=8,p=0",
        ] {
            assert!(parsed(head).is_err(), "{head}");
        }
        for rounds in ["999", "1000001", "999999999"] {
            assert!(parse(&format!("htpasswd:$6$rounds={rounds}$salt${}", "a".repeat(86))).is_err(), "{rounds}");
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
            "argon2i:$argon2id$v=19$m=19456,t=2,p=1",
            "medama:$argon2id$v=19$m=19456,t=2,p=1",
            "pbkdf2:$pbkdf2-sha256$i=1000,l=33",
            "pbkdf2:$pbkdf2-sha256$i=1000",
            "pbkdf2:$pbkdf2$i=1000,l=32",
            "scrypt:$scrypt$ln=14,r=8",
            "bcrypt:$2b$12",
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
            assert!(parse(&format!("{head}${salt}${output}")).is_err(), "{salt} {output}");
        }
        for text in [head.to_owned(), format!("{head}${SALT}"), format!("{head}${SALT}${OUTPUT}$"), String::from("$")] {
            assert!(parse(&text).is_err(), "{text}");
        }
        for text in ["", " ", "!!", "bcrypt:", ":", "bcrypt:$2b$12$", "none:", "htpasswd:$6$salt$"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
