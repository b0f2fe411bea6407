use serde_json::Value;

use super::super::tests::{password, worker};
use super::super::{Verdict, after_its_kind, exported};
use super::*;
use crate::domain::password::Typed;

/// Hashes made by the programs themselves, with their passwords and what is to become of them.
const VECTORS: &str = include_str!("../../../tests/import/vectors.jsonl");

fn text<'v>(vector: &'v Value, member: &str) -> &'v str {
    vector[member].as_str().unwrap_or_default()
}

fn right(typed: &str, hash: &PasswordHash) -> bool {
    let verdict = worker().verify(&Typed::new(typed.into()).expect("worth a hash"), Some(hash)).expect("checked");
    match verdict {
        Verdict::Right { rehashed } => {
            // The fresh one is of the whole password, and is not replaced again.
            let fresh = rehashed.expect("a fresh one");
            let again = worker().verify(&password(typed), Some(&fresh)).expect("checked");
            assert!(matches!(again, Verdict::Right { rehashed: None }));
            true
        }
        Verdict::Wrong => false,
        Verdict::Unusable { why } => panic!("{why}"),
    }
}

#[test]
fn every_hash_of_another_program_is_checked_or_refused_as_it_should_be() {
    let vectors: Vec<Value> = VECTORS.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(vectors.len() >= 26);
    for vector in &vectors {
        let (name, typed) = (text(vector, "username"), text(vector, "password"));
        let read = Scheme::named(text(vector, "scheme")).expect(name).read(text(vector, "hash"));
        match text(vector, "expect") {
            "ok" | "ok-as-typed" => {
                let hash = read.unwrap_or_else(|why| panic!("{name}: {why}"));
                assert!(right(typed, &hash), "{name}");
                let not = ["wrong horse battery staple", text(vector, "hash")];
                let others = vector["wrong"].as_array().into_iter().flatten().filter_map(Value::as_str);
                for wrong in not.into_iter().chain(others) {
                    assert!(!right(wrong, &hash), "{name}: {wrong}");
                }
                // It is given back as it can be read again.
                let (scheme, exported) = exported(&hash).expect(name);
                assert_eq!(Scheme::named(scheme).expect(scheme).read(&exported), Ok(hash), "{name}");
            }
            "no-password" => assert_eq!(read, Ok(PasswordHash::none()), "{name}"),
            "refuse-line" | "decide" => assert!(read.is_err(), "{name}"),
            other => panic!("{name}: {other}"),
        }
    }
}

#[test]
fn more_hashes_of_other_programs_are_checked() {
    for (scheme, hash) in [
        // openssl passwd -5 -salt saltstring, and -6 -salt abc.
        (Scheme::Htpasswd, "$5$saltstring$hixOXgchwauyzVtlSM/e7UnQx0qiTk74JE/YU53IbE0"),
        (
            Scheme::Passlib,
            "$6$abc$ahFduufWqlLbksqxwzfC1qYzLSyha4pPG7EaqNTDSjXfU3ImPI0.07rEaTSUoZ7JvkhHFizh1dRAMa6N6LUvq/",
        ),
        (
            Scheme::Passlib,
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQxMjM0$Doqf9eCb9GPa1MtEkjubctAR6TT46p7wSCJlAey4QLA",
        ),
        // The same with padding, and another order.
        (
            Scheme::Argon2id,
            "$argon2id$v=19$p=1,m=19456,t=2$c2FsdHNhbHQxMjM0$Doqf9eCb9GPa1MtEkjubctAR6TT46p7wSCJlAey4QLA=",
        ),
        (Scheme::Django, "bcrypt$$2b$10$KHneOWoZ8g..YBCapkdvAuIgKEyKsPIkB0kQBrn3m1tnaDx6UVwQu"),
        (Scheme::Htpasswd, "$2y$05$XqvYTcURHSKthcnRNvQNHO2Wcay4KJmVpRoMUFiMIcRc.CMzJEYI."),
    ] {
        let hash = scheme.read(hash).unwrap_or_else(|why| panic!("{hash}: {why}"));
        assert!(right("correct horse battery staple", &hash), "{hash:?}");
        assert!(!right("correct horse battery stapler", &hash), "{hash:?}");
    }
}

#[test]
fn weak_and_unknown_hashes_are_refused_by_name() {
    use Scheme::{Argon2i, Argon2id, Bcrypt, Django, Htpasswd, Passlib, Pbkdf2, RocketChat, Scrypt, Werkzeug};
    let bcrypt = "10$KHneOWoZ8g..YBCapkdvAuIgKEyKsPIkB0kQBrn3m1tnaDx6UVwQu";
    for (scheme, hash, named) in [
        (Htpasswd, "$apr1$idI2AUTX$wKQOki4f054Fq3ji8jRbC0", "$apr1$"),
        (Htpasswd, "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "{SHA}"),
        (Htpasswd, "{SSHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "{SSHA}"),
        (Htpasswd, "$1$salt$qJH7.N4xYta3aEG/dfqo/0", "$1$"),
        (Htpasswd, "rqXexS6ZhobKA", "DES"),
        (Htpasswd, "plain-in-the-file", "clear text"),
        (Htpasswd, "{PLAIN}secret", "clear text"),
        (Bcrypt, &format!("$2x${bcrypt}"), "$2x$"),
        (RocketChat, &format!("$2x${bcrypt}"), "$2x$"),
        (
            Argon2id,
            "$argon2d$v=19$m=19456,t=2,p=1$c2FsdHNhbHQxMjM0$Doqf9eCb9GPa1MtEkjubctAR6TT46p7wSCJlAey4QLA",
            "argon2d",
        ),
        (
            Argon2id,
            "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHQxMjM0$Doqf9eCb9GPa1MtEkjubctAR6TT46p7wSCJlAey4QLA",
            "another scheme",
        ),
        (
            Argon2i,
            "$argon2i$v=19$m=19456,t=2,p=1,keyid=AAAA$c2FsdHNhbHQxMjM0$Doqf9eCb9GPa1MtEkjubctAR6TT46p7wSCJlAey4QLA",
            "secret key",
        ),
        (
            Argon2i,
            "$argon2i$v=19$m=19456,t=2,p=1,data=AAAA$c2FsdHNhbHQxMjM0$Doqf9eCb9GPa1MtEkjubctAR6TT46p7wSCJlAey4QLA",
            "associated data",
        ),
        (
            Argon2i,
            "$argon2i$v=19$m=19456,t=2,p=1,m=8$c2FsdHNhbHQxMjM0$Doqf9eCb9GPa1MtEkjubctAR6TT46p7wSCJlAey4QLA",
            "twice",
        ),
        (Argon2i, "$argon2i$v=19$m=19456,t=2$c2FsdHNhbHQxMjM0$Doqf9eCb9GPa1MtEkjubctAR6TT46p7wSCJlAey4QLA", "lacks"),
        (
            Argon2i,
            "$argon2i$v=20$m=19456,t=2,p=1$c2FsdHNhbHQxMjM0$Doqf9eCb9GPa1MtEkjubctAR6TT46p7wSCJlAey4QLA",
            "version",
        ),
        (
            Passlib,
            "$bcrypt-sha256$v=2,t=2b,r=10$KHneOWoZ8g..YBCapkdvAu$IgKEyKsPIkB0kQBrn3m1tnaDx6UVwQu",
            "bcrypt-sha256",
        ),
        (Passlib, "$pbkdf2$131000$r5WythYixPgfA8AYg3AOgQ$V9/fhjZO3vwuPZIPJ8QA/d1rFJk", "SHA-1"),
        (Passlib, "$P$B8rPbhBUVGXkPGh/gPH0d1tVl8gFDG1", "phpass"),
        (Django, "pbkdf2_sha1$260000$salt$V9/fhjZO3vwuPZIPJ8QA/d1rFJk=", "SHA-1"),
        (Django, "md5$salt$9e107d9d372bb6826bd81d3542a419d6", "MD5"),
        (Django, "sha1$salt$2fd4e1c67a2d28fced849ee1bb76e7391b93eb12", "SHA-1"),
        (Django, "crypt$$rqXexS6ZhobKA", "DES"),
        (Django, "somebodys_own$salt$hash", "not known"),
        (Werkzeug, "pbkdf2:sha1:1000$salt$2fd4e1c67a2d28fced849ee1bb76e7391b93eb12", "SHA-1"),
        (Werkzeug, "md5$salt$9e107d9d372bb6826bd81d3542a419d6", "MD5"),
        (Werkzeug, "scrypt:32769:8:1$salt$9e107d9d372bb6826bd81d3542a419d6", "does not allow"),
        // Kratos writes N where its exponent belongs.
        (
            Scrypt,
            "$scrypt$ln=16384,r=8,p=1$QShlrHXOWavVes/5n7O2lg==$qoiC/MN2MVacvNT22ebasNJjTH03nE6K4lRN4zUqJwI=",
            "exponent",
        ),
        (
            Pbkdf2,
            "$pbkdf2-sha256$i=600000,l=31$MDEyMzQ1Njc4OWFiY2RlZg$bEpkaq0Q0Get1ft52QeKFtqD1Q+BZwqOdZOySebZSTY",
            "length",
        ),
        (
            Pbkdf2,
            "$pbkdf2-sha256$i=1,l=32$MDEyMzQ1Njc4OWFiY2RlZg$bEpkaq0Q0Get1ft52QeKFtqD1Q+BZwqOdZOySebZSTY",
            "too few",
        ),
    ] {
        let why = scheme.read(hash).expect_err(hash);
        assert!(why.contains(named), "{hash}: {why}");
        assert!(!why.contains(hash.get(8..).expect("long")), "{why}");
    }
    for scheme in [Argon2i, Argon2id, Bcrypt, Htpasswd, Passlib, Pbkdf2, RocketChat, Scrypt, Werkzeug, Scheme::Medama] {
        for empty in ["", " ", "\t", "\u{a0}"] {
            assert_eq!(scheme.read(empty), Err("is empty"), "{scheme:?}");
        }
        assert!(scheme.read("!").is_err() && scheme.read(&"x".repeat(10_000)).is_err(), "{scheme:?}");
    }
    for unusable in ["", "!", "!Ar9RwQGfAC5YwXRwBjpjDpON4Q5ho0jueKgCynK0"] {
        assert_eq!(Django.read(unusable), Ok(PasswordHash::none()));
    }
}

#[test]
fn one_costs_as_much_as_another_of_its_kind() {
    let kind = |scheme: Scheme, hash: &str| after_its_kind(&scheme.read(hash).expect("fit"));
    let one = "saltstring$hixOXgchwauyzVtlSM/e7UnQx0qiTk74JE/YU53IbE0";
    assert_eq!(kind(Scheme::Htpasswd, &format!("$5${one}")), "htpasswd:$5$rounds=5000%");
    assert_eq!(kind(Scheme::Htpasswd, &format!("$5$rounds=5000${one}")), "htpasswd:$5$rounds=5000%");
    let django = "scrypt$16384$salt$8$5$qoiC/MN2MVacvNT22ebasNJjTH03nE6K4lRN4zUqJwI=";
    assert_eq!(kind(Scheme::Django, django), "scrypt:$scrypt$ln=14,r=8,p=5%");
}
