//! The body of a login, against a plain reading of it; and what its texts become.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sessiond::domain::password::{Password, Rules, Typed};
use sessiond::domain::second_factor::typed::TypedCode;
use sessiond::domain::text::{Email, LoginName, Name, Username};
use sessiond::domain::token::Token;
use sessiond::http::request::fields::Fields;
use sessiond_fuzz::planted;

static RULES: LazyLock<Rules> = LazyLock::new(|| Rules::new(8, ""));

fuzz_target!(|bytes: &[u8]| {
    planted(bytes);
    let Ok(fields) = Fields::from_json(bytes) else { return };
    let json = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let members = match serde_json::from_slice(json) {
        Ok(Value::Object(members)) => members,
        other => panic!("read, though it is no object: {other:?}"),
    };
    assert!(members.len() <= 32);
    assert_eq!(fields.into_numbers().count(), members.len(), "a name that came twice");

    let mut fields = Fields::from_json(bytes).expect("it was read before");
    for (name, value) in &members {
        assert_eq!(fields.has_text(name), value.is_string());
        assert!(!name.contains('\0'));
        match value {
            Value::String(text) => {
                assert!(!text.contains('\0'));
                assert_eq!(fields.text(name).as_ref(), Ok(text));
                texts(text, &RULES);
            }
            Value::Bool(flag) => assert_eq!(fields.flag(name), Ok(*flag)),
            Value::Null => assert_eq!(fields.nullable_text(name), Ok(Some(None))),
            Value::Object(_) => assert!(fields.group(name).is_some()),
            Value::Number(_) | Value::Array(_) => assert!(fields.text(name).is_err()),
        }
    }
    assert!(fields.nothing_else().is_ok());
});

/// What the texts of a body are made into. What is taken once is taken again as it was stored.
fn texts(text: &str, rules: &Rules) {
    let _ = (LoginName::either(text), LoginName::username(text), LoginName::email(text), TypedCode::read(text));
    if let Ok(username) = Username::new(text) {
        let again = Username::new(username.as_str()).expect("a username");
        assert_eq!(again.key(), username.key());
    }
    if let Ok(email) = Email::new(text) {
        let again = Email::new(email.as_str()).expect("an address");
        assert_eq!(again.key(), email.key());
    }
    if let Ok(name) = Name::new(text) {
        assert_eq!(Name::new(name.as_str()).as_ref(), Ok(&name));
    }
    if let Some(token) = Token::parse(text.as_bytes()) {
        assert_eq!(token.reveal(), text);
    }
    let typed = Typed::new(text.to_owned());
    if let Ok(chosen) = Password::chosen(text.to_owned(), "somebody", rules) {
        assert!(typed.is_some_and(|typed| typed.is(&chosen)), "a password that was chosen and does not log in");
    }
}
