use proptest::prelude::*;

use super::*;
use crate::domain::clock::Timestamp;
use crate::domain::id::UserId;
use crate::domain::password::PasswordHash;
use crate::domain::second_factor::totp::TotpSecret;
use crate::domain::text::{Email, Name, Username};
use crate::domain::user::{Credentials, OneTime, User};
use crate::password::exported;
use crate::store::{Clash, Common};

const BCRYPT: &str = "$2b$10$KHneOWoZ8g..YBCapkdvAuIgKEyKsPIkB0kQBrn3m1tnaDx6UVwQu";
const SHA512: &str = "$6$abc$ahFduufWqlLbksqxwzfC1qYzLSyha4pPG7EaqNTDSjXfU3ImPI0.07rEaTSUoZ7JvkhHFizh1dRAMa6N6LUvq/";

fn of(format: Format, file: &str) -> Read {
    read(format, file.as_bytes()).expect("a file")
}

/// Line, username and reason of each that was refused.
fn refused(read: &Read) -> Vec<String> {
    read.refused.iter().map(ToString::to_string).collect()
}

fn only(read: Read) -> Record {
    assert_eq!(refused(&read), Vec::<String>::new());
    let [record] = read.records.try_into().expect("one");
    record
}

#[test]
fn a_line_has_all_that_is_known_of_a_user() {
    let line = format!(
        r#"{{"username":"Alice","scheme":"bcrypt","hash":"{BCRYPT}","id":"23456789ABCDEFGHJ","email":"a@example.com",
        "name":"Alice L","admin":true,"disabled":true,"created_at":"2026-01-02T03:04:05.678Z","must_change_password":true,
        "totp_secret":"JBSWY3DPEHPK3PXP"}}"#
    );
    let record = only(of(Format::Jsonl, &line.replace('\n', "")));
    assert_eq!(record.line, 1);
    assert_eq!((record.user.username.as_str(), record.user.name.as_str()), ("Alice", "Alice L"));
    assert_eq!(record.user.email.as_ref().map(Email::as_str), Some("a@example.com"));
    assert_eq!(record.id.map(|id| id.to_string()).as_deref(), Some("23456789ABCDEFGHJ"));
    assert!(record.user.admin && record.disabled && record.must_change_password);
    assert_eq!(record.created_at, Some(Timestamp::from_millis(1_767_323_045_678)));
    assert_eq!(secret(&record), Ok("JBSWY3DPEHPK3PXP".to_owned()));
    assert_eq!(record.hash.as_str(), format!("bcrypt:{BCRYPT}"));

    let least = only(of(Format::Jsonl, r#"{"username":"bob","scheme":"none"}"#));
    assert_eq!((least.user.name.as_str(), least.hash), ("bob", PasswordHash::none()));
    assert!(least.user.email.is_none() && least.id.is_none() && !least.user.admin && !least.disabled);
    assert!(least.totp_secret.is_none());
}

/// The secret of a user with a second factor, or why it cannot be taken over.
fn secret(record: &Record) -> Result<String, String> {
    let secret = record.totp_secret.clone().expect("a second factor");
    secret.map(|secret| secret.base32().reveal().to_owned())
}

#[test]
fn a_second_factor_whose_secret_is_unfit_is_a_second_factor_still() {
    let bad = Err("the secret of its second factor must be 10 to 64 bytes in base32".to_owned());
    for (written, expected) in [
        ("jbsw y3dp-ehpk 3pxp==", Ok("JBSWY3DPEHPK3PXP".to_owned())),
        ("", bad.clone()),
        ("  ", bad.clone()),
        ("JBSWY3DPEHPK3PX", bad.clone()),
        ("JBSWY3DPEHPK3PX1", bad.clone()),
    ] {
        let line = format!(r#"{{"username":"bob","scheme":"none","totp_secret":"{written}"}}"#);
        assert_eq!(secret(&only(of(Format::Jsonl, &line))), expected, "{written:?}");
        let document = format!(r#"{{"username":"bob","services":{{"totp":{{"enabled":true,"secret":"{written}"}}}}}}"#);
        assert_eq!(secret(&only(of(Format::RocketChat, &document))), expected, "{written:?}");
    }
    let none = only(of(Format::RocketChat, r#"{"username":"bob","services":{"totp":{"enabled":true}}}"#));
    assert_eq!(secret(&none), bad);
    for off in [r#"{"enabled":false,"secret":"JBSWY3DPEHPK3PXP"}"#, r#"{"tempSecret":"JBSWY3DPEHPK3PXP"}"#] {
        let document = format!(r#"{{"username":"bob","services":{{"totp":{off}}}}}"#);
        assert!(only(of(Format::RocketChat, &document)).totp_secret.is_none(), "{off}");
    }
}

#[test]
fn every_bad_line_is_named_with_its_number_and_reason_and_never_the_hash() {
    let file = format!(
        r#"{{"username":"good","scheme":"bcrypt","hash":"{BCRYPT}"}}
{{"username":"empty","scheme":"bcrypt","hash":""}}
{{"username":"blank","scheme":"django","hash":" "}}
{{"username":"none","scheme":"bcrypt"}}
{{"username":"scheme","hash":"{BCRYPT}"}}
{{"username":"guess","scheme":"sha256","hash":"{BCRYPT}"}}
{{"username":"apr","scheme":"htpasswd","hash":"$apr1$idI2AUTX$wKQOki4f054Fq3ji8jRbC0"}}

{{"username":"a b","scheme":"none"}}
{{"username":"\u00ad","scheme":"none"}}
{{"username":"type","scheme":"bcrypt","hash":"{BCRYPT}","admin":"{BCRYPT}"}}
{{"username":"twice","scheme":"bcrypt","hash":"{BCRYPT}","hash":"{BCRYPT}"}}
{{"username":"id","scheme":"none","id":"1"}}
{{"username":"time","scheme":"none","created_at":"{BCRYPT}"}}
{{"username":"mail","scheme":"none","email":"nowhere"}}
{{"username":"both","scheme":"none","hash":"{BCRYPT}"}}
{{"username":5,"scheme":"none"}}
{{"scheme":"none"}}
{BCRYPT}
["{BCRYPT}"]"#
    );
    let read = of(Format::Jsonl, &file);
    assert_eq!(read.records.len(), 1);
    let refused = refused(&read);
    let begins = [
        "line 2: empty: its hash is empty",
        "line 3: blank: its hash is empty",
        "line 4: none: its hash is empty",
        "line 5: scheme: it does not say which `scheme` its hash is of",
        "line 6: guess: its `scheme` is not one that is known here",
        "line 7: apr: its hash is of `$apr1$`",
        "line 9: a b: its username must not contain white space",
        "line 10: \\u{ad}: its username must not contain invisible characters",
        "line 11: type: its member `admin` must be true or false",
        "line 12: (no username): a member stands in it twice",
        "line 13: id: its id is not one of this service",
        "line 14: time: its time is not one of RFC 3339",
        "line 15: mail: its e-mail address must be an e-mail address",
        "line 16: both: its `scheme` is `none`, and yet it has a hash",
        "line 17: (no username): its member `username` must be a string",
        "line 18: (no username): its username must not be empty",
        "line 19: (no username): it is not a JSON object",
        "line 20: (no username): it is not a JSON object",
    ];
    for (refused, begin) in refused.iter().zip(begins) {
        assert!(refused.starts_with(begin), "{refused}");
        assert!(!refused.contains("KHneOWoZ8g"), "{refused}");
    }
    assert_eq!(refused.len(), begins.len(), "{refused:#?}");
}

#[test]
fn a_member_of_another_name_makes_its_line_a_bad_one() {
    let long = "x".repeat(100);
    let file = format!(
        r#"{{"username":"ann","scheme":"none","disbled":true}}
{{"username":"bob","shceme":"none"}}
{{"username":"cem","scheme":"none","Disabled":true}}
{{"username":"dan","scheme":"none","\u001b[31m\u202e":null}}
{{"username":"eve","scheme":"none","{long}":1}}
{{"username":"fay","scheme":"none"}}"#
    );
    let read = of(Format::Jsonl, &file);
    assert_eq!(
        refused(&read),
        [
            "line 1: ann: its member `disbled` is not known here",
            "line 2: bob: its member `shceme` is not known here",
            "line 3: cem: its member `Disabled` is not known here",
            r"line 4: dan: its member `\u{1b}[31m\u{202e}` is not known here",
            &format!("line 5: eve: its member `{}…` is not known here", &long[..64]),
        ]
    );
    assert_eq!(only(Read { refused: Vec::new(), ..read }).user.username.as_str(), "fay");
    for (format, document) in [
        (Format::RocketChat, r#"{"username":"ann","statusText":"away","services":{"other":{}}}"#),
        (Format::Django, r#"{"model":"x.user","fields":{"username":"ann","password":"!","shoe_size":44}}"#),
    ] {
        assert_eq!(only(of(format, document)).user.username.as_str(), "ann", "documents of others have more members");
    }
}

#[test]
fn htpasswd_files_are_read_as_apache_reads_them_but_never_guessed_at() {
    let file = format!(
        "\u{feff}# a comment\r\nalice:{BCRYPT}\r\n\r\n  \nbob:{SHA512}:Bob:more\nempty:\nnothing\n #name:x\n:{BCRYPT}\nclear:secret\n"
    );
    let read = of(Format::Htpasswd, &file);
    let users: Vec<_> = read.records.iter().map(|record| (record.line, record.user.username.as_str())).collect();
    assert_eq!(users, [(2, "alice"), (5, "bob")]);
    let refused = refused(&read);
    assert_eq!(refused.len(), 5, "{refused:#?}");
    for (refused, begin) in refused.iter().zip([
        "line 6: empty: its hash is empty",
        "line 7: (no username): it has no colon",
        "line 8:  #name: its hash is none that is known",
        "line 9: (no username): its username must not be empty",
        "line 10: clear: its hash is none that is known here; a password in clear text",
    ]) {
        assert!(refused.starts_with(begin), "{refused}");
    }
}

#[test]
fn rocket_chats_documents_keep_their_ids_and_need_no_password() {
    let admin = r#"{"_id":"23456789ABCDEFGHJ","createdAt":{"$date":"2026-01-02T03:04:05.678Z"},"services":{"password":
        {"bcrypt":"HASH","reset":{}},"totp":{"enabled":true,"secret":"JBSWY3DPEHPK3PXP"}},"emails":[{"address":"a@x.org",
        "verified":true}],"type":"user","roles":["user","admin"],"active":true,"name":"Alice","username":"alice",
        "requirePasswordChange":true}"#;
    let admin = admin.replace('\n', "").replace("HASH", BCRYPT);
    let record = only(of(Format::RocketChat, &admin));
    assert_eq!(record.id.map(|id| id.to_string()).as_deref(), Some("23456789ABCDEFGHJ"));
    assert_eq!(record.hash.as_str(), format!("rocketchat:{BCRYPT}"));
    assert_eq!(record.created_at, Some(Timestamp::from_millis(1_767_323_045_678)));
    assert_eq!(record.user.email.as_ref().map(Email::as_str), Some("a@x.org"));
    assert!(record.user.admin && record.must_change_password && !record.disabled);
    assert_eq!(secret(&record), Ok("JBSWY3DPEHPK3PXP".to_owned()));

    let others = r#"[{"_id":"rocket.cat","username":"rocket.cat","type":"bot","active":true,"services":{},
  "createdAt":{"$date":{"$numberLong":"1767323045678"}}},
{"_id":"23456789ABCDEFGHJ","username":"gone","active":false,"services":{"totp":{"enabled":false,"secret":"X"}}},
{"_id":"23456789ABCDEFGHK","active":true,"services":{}},
{"_id":"23456789ABCDEFGHL","username":"new","services":{"password":{"argon2":"$argon2id$"}}}]"#;
    let read = of(Format::RocketChat, others);
    let [cat, gone] = &read.records[..] else { panic!("{read:?}") };
    assert!(cat.id.is_none() && cat.hash == PasswordHash::none() && cat.created_at.is_some());
    assert!(gone.disabled && gone.totp_secret.is_none() && gone.line == 3);
    assert_eq!(read.notes.len(), 1);
    let refused = refused(&read);
    assert!(refused[0].starts_with("line 4: (no username): its username"), "{refused:?}");
    assert!(refused[1].starts_with("line 5: new: its hash is of Meteor's argon2"), "{refused:?}");
}

#[test]
fn a_member_of_another_type_than_rocket_chats_refuses_the_line_by_name() {
    for (member, named) in [
        (r#""active":"false""#, "active"),
        (r#""active":0"#, "active"),
        (r#""roles":"admin""#, "roles"),
        (r#""roles":[{"name":"admin"}]"#, "roles"),
        (r#""emails":["a@x.org"]"#, "emails"),
        (r#""emails":[{"address":5}]"#, "address"),
        (r#""_id":5"#, "_id"),
        (r#""name":5"#, "name"),
        (r#""services":[]"#, "services"),
        (r#""services":{"totp":{"enabled":"true"}}"#, "enabled"),
        (r#""requirePasswordChange":"no""#, "requirePasswordChange"),
    ] {
        let read = of(Format::RocketChat, &format!(r#"{{"username":"ann",{member}}}"#));
        assert!(read.records.is_empty(), "{member}");
        let refused = refused(&read);
        assert!(refused[0].starts_with(&format!("line 1: ann: its member `{named}` must be ")), "{refused:?}");
    }
    let of_mongodb = only(of(Format::RocketChat, r#"{"username":"ann","_id":{"$oid":"507f1f77bcf86cd799439011"}}"#));
    assert!(of_mongodb.id.is_none() && !of_mongodb.disabled);
}

#[test]
fn djangos_dumps_are_read_from_an_array_and_from_lines() {
    let user = |username: &str, more: &str| {
        format!(
            r#"{{"model":"auth.user","pk":1,"fields":{{"password":"bcrypt${BCRYPT}","last_login":null,"username":"{username}",
"first_name":"Al","last_name":"Ice","email":"","is_staff":true,"date_joined":"2026-01-02T03:04:05.678Z","groups":[]{more}}}}}"#
        )
    };
    let admin = user("alice", r#","is_superuser":true,"is_active":false"#);
    let group = r#"{"model":"auth.group","pk":1,"fields":{"name":"x"}}"#;
    let read = of(Format::Django, &format!("[\n{admin},\n{group},\n{}\n]\n", user("bob", "")));
    let [alice, bob] = &read.records[..] else { panic!("{read:?}") };
    assert!(alice.user.admin && alice.disabled && alice.user.email.is_none() && alice.user.name.as_str() == "Al Ice");
    assert!(!bob.user.admin && !bob.disabled && bob.line == 5);
    assert_eq!(refused(&read), ["line 4: (no username): it is no user: it has no field `password`"]);
    let lines = format!("{}\n{}\n", admin.replace('\n', ""), user("bob", "").replace('\n', ""));
    assert_eq!(of(Format::Django, &lines).records.len(), 2);
}

#[test]
fn users_who_would_be_one_are_refused_together() {
    let file = r#"{"username":"Alice","scheme":"none"}
{"username":"carol","scheme":"none","email":"C@example.com"}
{"username":"alice","scheme":"none"}
{"username":"José","scheme":"none"}
{"username":"ＡＬＩＣＥ","scheme":"bcrypt","hash":"bad"}
{"username":"Jose\u0301","scheme":"none"}
{"username":"straße","scheme":"none"}
{"username":"dave","scheme":"none","email":"c@EXAMPLE.com"}
{"username":"strasse","scheme":"none"}
{"username":"erin","scheme":"none","id":"23456789ABCDEFGHJ"}
{"username":"frank","scheme":"none","id":"23456789ABCDEFGHJ"}
{"username":"mnpqrstuvwxyzABCD","scheme":"none"}
{"username":"gus","scheme":"none","id":"mnpqrstuvwxyzABCD"}
{"username":"mnpqrstuvwxyzABCE","scheme":"none","id":"mnpqrstuvwxyzABCE"}"#;
    let read = of(Format::Jsonl, file);
    let place = |name: &str| read.records.iter().position(|record| record.user.username.as_str() == name).expect(name);
    let clash = |name, common, with: &str| Clash { place: place(name), common, with: with.into() };
    let clashes = vec![clash("alice", Common::Username, "aLICE"), clash("strasse", Common::Email, "nobody")];
    let clashes = [clashes, vec![clash("strasse", Common::Username, "Strasse")]].concat();
    let read = refuse_collisions(read, clashes);
    assert_eq!(
        refused(&read),
        [
            "line 1: Alice: it is the same username as alice (line 3), ＡＬＩＣＥ (line 5), aLICE (there already)",
            "line 3: alice: it is the same username as Alice (line 1), ＡＬＩＣＥ (line 5), aLICE (there already)",
            "line 5: ＡＬＩＣＥ: its hash is not written as its scheme has it; it is the same username as Alice (line 1), alice (line 3), aLICE (there already)",
            "line 2: carol: it has the same e-mail address as dave (line 8)",
            "line 8: dave: it has the same e-mail address as carol (line 2)",
            "line 4: José: it is the same username as José (line 6)",
            "line 6: José: it is the same username as José (line 4)",
            "line 9: strasse: it is the same username as Strasse (there already)",
            "line 10: erin: it has the same id as frank (line 11)",
            "line 11: frank: it has the same id as erin (line 10)",
            "line 12: mnpqrstuvwxyzABCD: the username of one is the id of another: this one and gus (line 13)",
            "line 13: gus: the username of one is the id of another: this one and mnpqrstuvwxyzABCD (line 12)",
        ]
    );
    let kept: Vec<_> = read.records.iter().map(|record| record.user.username.as_str()).collect();
    assert_eq!(kept, ["straße", "mnpqrstuvwxyzABCE"], "which is not strasse; and an id of one's own");
}

proptest! {
    #[test]
    fn what_is_exported_is_read_again(
        username in "[a-zA-Z0-9.é]{1,20}", name in "[a-zA-Z\"\\\\ é漢]{0,20}x", email in "[a-z]{0,5}", admin: bool, disabled: bool,
        scheme in 0..4_usize, must_change: bool, secret in proptest::collection::vec(any::<u8>(), 5..30), created in 0..253_402_300_800_000_i64,
    ) {
        let hash = [
            String::from("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"),
            format!("rocketchat:{BCRYPT}"),
            format!("htpasswd:$6$rounds=5000${}", &SHA512[3..]),
            String::from("!"),
        ];
        let at = Timestamp::from_millis(created);
        let known = Credentials {
            user: User {
                id: "23456789ABCDEFGHJ".parse::<UserId>().expect("an id"),
                username: Username::new(&username).expect("fit"),
                email: (!email.is_empty()).then(|| Email::new(&format!("{email}@example.com")).expect("fit")),
                name: Name::new(&name).expect("fit"),
                admin,
                disabled_at: disabled.then_some(at),
                created_at: at,
                updated_at: at,
            },
            password_hash: PasswordHash::new(hash[scheme].clone()),
            auth_epoch: 0,
            one_time: must_change.then_some(OneTime { expires_at: None }),
        };
        let totp_secret = TotpSecret::from_bytes(secret).map(|secret| secret.base32());
        let line = export(&known, totp_secret.as_ref()).expect("JSON");
        let record = only(of(Format::Jsonl, &line));
        let mut user = record.user.stored(record.id.expect("an id"), record.created_at.expect("a time"));
        user.disabled_at = record.disabled.then_some(at);
        prop_assert_eq!(&user, &known.user);
        prop_assert_eq!(exported(&record.hash), exported(&known.password_hash));
        let one_time = record.must_change_password.then_some(OneTime { expires_at: None });
        let again = Credentials { user, password_hash: record.hash, auth_epoch: 0, one_time };
        let totp_secret = record.totp_secret.map(|secret| secret.expect("fit").base32());
        prop_assert_eq!(export(&again, totp_secret.as_ref()).expect("JSON"), line);
    }

    #[test]
    fn any_bytes_are_a_file_or_not(file in proptest::collection::vec(any::<u8>(), 0..200), begin in "[\\[{#a:]{0,3}") {
        let file = [begin.as_bytes(), &file].concat();
        for format in [Format::Jsonl, Format::Htpasswd, Format::RocketChat, Format::Django] {
            let _ = read(format, &file);
        }
    }
}
