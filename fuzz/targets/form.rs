//! The body of a form, against a plain reading of it.
#![no_main]

use std::collections::HashMap;

use libfuzzer_sys::fuzz_target;
use sessiond::http::request::fields::Fields;
use sessiond_fuzz::planted;

fuzz_target!(|bytes: &[u8]| {
    planted(bytes);
    let pairs: Vec<(String, String)> = form_urlencoded::parse(bytes).into_owned().collect();
    let distinct: HashMap<_, _> = pairs.iter().cloned().collect();
    let clean = |text: &String| !text.contains(['\0', char::REPLACEMENT_CHARACTER]);
    let fit = distinct.len() == pairs.len()
        && pairs.len() <= 32
        && pairs.iter().all(|(name, value)| clean(name) && clean(value));

    let form = Fields::from_form(bytes);
    assert_eq!(form.is_ok(), fit);
    if let Ok(text) = str::from_utf8(bytes) {
        assert_eq!(Fields::from_query(Some(text)).is_ok(), fit);
    }
    let Ok(mut form) = form else { return };
    for (name, value) in &distinct {
        assert_eq!(form.text(name).ok().as_ref(), Some(value));
        assert!(form.text(name).is_err(), "taken twice");
    }
    assert!(form.nothing_else().is_ok());

    // What each route makes of its fields.
    let read = || Fields::from_form(bytes).expect("it was read before");
    for name in distinct.keys() {
        let _ = (read().flag(name), read().number(name), read().word(name, &["cookie", "token"]));
        let _ = (read().optional_flag(name), read().nullable_text(name), read().group(name).is_none());
    }
});
