//! Cookies of a request: each line of the input is the value of one `Cookie` header.
#![no_main]

use std::sync::LazyLock;

use http::header::{COOKIE as COOKIE_HEADER, HOST};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use sessiond::config::{Config, Settings};
use sessiond::domain::token::Token;
use sessiond::http::request::cookie::{SessionCookie, Tokens, find, values};
use sessiond_fuzz::{COOKIE, assert_sent, issued, planted};

static WRITER: LazyLock<SessionCookie> = LazyLock::new(|| {
    let config = Config::new(&Settings::default()).expect("a configuration");
    SessionCookie::new(&config.http.cookie)
});

fuzz_target!(|bytes: &[u8]| {
    planted(bytes);
    let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    let mut headers: HeaderMap = lines.map(|line| (COOKIE_HEADER, line)).collect();

    let found = find(&headers, COOKIE, issued);
    let kept = found.tokens.as_slice();
    let sent = values(&headers, COOKIE).count();
    assert!(kept.len() <= 4 && kept.len() <= sent);
    assert_eq!(matches!(found.tokens, Tokens::Absent), sent == 0);
    assert!(!found.differ || sent > 1);
    for (at, token) in kept.iter().enumerate() {
        assert_sent(token, &headers);
        assert!(kept[..at].iter().all(|other| other.reveal() != token.reveal()), "one token twice");
        assert!(kept.len() == 1 || issued(token), "one of several that was never issued");
    }

    // A neighbour of another name changes nothing, whatever stands in it.
    headers.append(COOKIE_HEADER, HeaderValue::from_static("other=\"_me_sess=1\" \x27"));
    let beside = find(&headers, COOKIE, issued);
    assert!(beside.tokens.as_slice().iter().map(Token::reveal).eq(kept.iter().map(Token::reveal)));

    assert!(WRITER.waiting(&headers).len() <= 4);
    let marks = WRITER.known_browser(&headers, |_| true);
    assert!(WRITER.known_browser(&headers, |_| false).is_empty());
    assert!(!WRITER.set_known(&marks).is_empty());

    // The rest of the input as a host and a path: what is written back are whole lines about our cookie.
    let mut parts = bytes.splitn(3, |byte| *byte == b'\n');
    if let (Some(Ok(host)), Some(Ok(path))) =
        (parts.next().map(HeaderValue::from_bytes), parts.next().map(str::from_utf8))
    {
        headers.insert(HOST, host);
        let others = WRITER.others(&headers, path);
        for line in WRITER.clear(&others) {
            let line = line.to_str().expect("visible ASCII");
            assert!(line.starts_with("_me_sess=; ") && line.contains("; Max-Age=0"), "{line}");
            assert!(line.matches(';').count() <= 7, "{line}");
        }
    }
});
