//! A file of users from elsewhere: the first byte says which program wrote it.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use sessiond::domain::clock::Timestamp;
use sessiond::domain::user::{Credentials, OneTime};
use sessiond::import::{Format, Record, export, read, shown};
use sessiond_fuzz::planted;

fuzz_target!(|bytes: &[u8]| {
    planted(bytes);
    let Some((first, file)) = bytes.split_first() else { return };
    let format = match first {
        b'h' => Format::Htpasswd,
        b'r' => Format::RocketChat,
        b'd' => Format::Django,
        _ => Format::Jsonl,
    };
    let Ok(found) = read(format, file) else { return };
    let numbers = found.records.iter().map(|record| record.line).chain(found.refused.iter().map(|bad| bad.line));
    let mut seen = HashSet::new();
    for number in numbers {
        assert!(number >= 1 && number <= file.len(), "line {number}");
        // Any JSON may be an array, which can have several users on a line.
        assert!(seen.insert(number) || format != Format::Htpasswd, "line {number} twice");
    }
    for refused in &found.refused {
        let line = refused.to_string();
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    for note in &found.notes {
        assert!(!note.contains(char::is_control), "{note:?}");
    }
    for record in &found.records {
        assert!(!shown(record.user.username.as_str()).contains(char::is_control));
        assert_exported(record);
    }
});

/// Asserts that a user who is exported and read again is the same one.
fn assert_exported(record: &Record) {
    let id = record.id.unwrap_or_else(|| "23456789ABCDEFGHJ".parse().expect("an id"));
    let mut user = record.user.stored(id, record.created_at.unwrap_or(Timestamp::from_millis(0)));
    user.disabled_at = record.disabled.then_some(user.created_at);
    let one_time = record.must_change_password.then_some(OneTime { expires_at: None });
    let known = Credentials { user, password_hash: record.hash.clone(), auth_epoch: 0, one_time };
    let secret = record.totp_secret.as_ref().and_then(|secret| secret.as_ref().ok());
    let line = export(&known, secret.map(|secret| secret.base32()).as_ref()).expect("a line");
    let again = read(Format::Jsonl, line.as_bytes()).expect("a file");
    let [again] = &again.records[..] else { panic!("{line}: {:?}", again.refused) };
    let user = |record: &Record| record.user.stored(known.user.id, known.user.created_at);
    assert_eq!(user(again), user(record));
    assert_eq!(again.hash.as_str(), record.hash.as_str());
    assert_eq!(again.id.as_ref(), Some(&known.user.id));
    assert_eq!(again.created_at, Some(known.user.created_at));
    assert_eq!((again.disabled, again.must_change_password), (record.disabled, record.must_change_password));
    assert_eq!(again.totp_secret.is_some(), secret.is_some());
}
