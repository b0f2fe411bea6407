//! What fuzz targets share: reading a request's head as the server does, checking tokens, and planted mistakes.

use std::hint::black_box;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Version};
use sessiond::domain::token::Token;

/// The name of the session cookie by default.
pub const COOKIE: &str = "_me_sess";

/// The most headers of a request, as the server has it.
const MOST_HEADERS: usize = 100;

/// Reads the head of a request as the HTTP library of the server does; `None` where that refuses it.
pub fn head(bytes: &[u8]) -> Option<Request<()>> {
    let mut lines = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Request::new(&mut lines);
    parsed.parse(bytes).ok()?.is_complete().then_some(())?;
    let version = if parsed.version? == 1 { Version::HTTP_11 } else { Version::HTTP_10 };
    let mut request = Request::builder().method(parsed.method?).uri(parsed.path?).version(version).body(()).ok()?;
    let headers = request.headers_mut();
    for line in parsed.headers {
        headers.append(HeaderName::from_bytes(line.name.as_bytes()).ok()?, HeaderValue::from_bytes(line.value).ok()?);
    }
    Some(request)
}

/// Whether a token counts as issued: about half of them do, and which ones does not change.
pub fn issued(token: &Token) -> bool {
    token.hash().as_bytes()[0] & 1 == 0
}

/// Asserts that a token was sent as it is, in one of these headers: nothing is decoded, joined or made up.
pub fn assert_sent(token: &Token, headers: &HeaderMap) {
    let text = token.reveal().as_bytes();
    let sent = headers.values().any(|value| value.as_bytes().windows(text.len()).any(|part| part == text));
    assert!(sent, "a token that was not sent: {}", token.reveal());
}

/// The mistake that the environment variable `PLANTED` names, which any input beginning with `!` brings about.
pub fn planted(bytes: &[u8]) {
    if bytes.first() != Some(&b'!') {
        return;
    }
    match std::env::var("PLANTED").as_deref() {
        Ok("panic") => panic!("planted"),
        Ok("hang") => loop {
            std::hint::spin_loop();
        },
        Ok("memory") => drop(black_box(vec![1_u8; 4 << 30])),
        Ok(other) => panic!("no mistake has this name: {other}"),
        Err(_) => {}
    }
}
