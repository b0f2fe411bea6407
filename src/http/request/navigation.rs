//! Whether a request is a navigation: a person who opens a page, who can be sent elsewhere, and not a script or a
//! picture, which cannot.

use http::header::ACCEPT;
use http::{HeaderMap, HeaderName, Method};

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// Whether a request with this method and these headers is a navigation.
///
/// Browsers say so in `Sec-Fetch-Mode` (W3C Fetch Metadata, section 2.3), which alone decides where it is there. For older
/// ones, it is a GET or HEAD that accepts HTML and was not made by a script that says so.
pub fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    // A preflight is never one.
    if *method == Method::OPTIONS {
        return false;
    }
    let mut modes = headers.get_all(SEC_FETCH_MODE).iter();
    match (modes.next(), modes.next()) {
        (Some(mode), None) => mode == "navigate" && !is_for_worker(headers),
        (Some(_), Some(_)) => false,
        (None, _) => {
            matches!(*method, Method::GET | Method::HEAD)
                && accepts_html(headers)
                && !headers.contains_key(X_REQUESTED_WITH)
                && !is_for_worker(headers)
        }
    }
}

/// Whether the answer is for a worker or a manifest, which cannot follow anybody to a login page.
fn is_for_worker(headers: &HeaderMap) -> bool {
    let worker = [&b"serviceworker"[..], b"worker", b"manifest"];
    headers.get_all(SEC_FETCH_DEST).iter().any(|dest| worker.contains(&dest.as_bytes()))
}

/// Whether `text/html` is among the media types that are accepted (RFC 9110 section 12.5.1), by its own name.
fn accepts_html(headers: &HeaderMap) -> bool {
    let ranges = headers.get_all(ACCEPT).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    ranges.map(|range| range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii)).any(|mut range| {
        range.next().is_some_and(|name| name.eq_ignore_ascii_case(b"text/html")) && !range.any(is_zero_weight)
    })
}

/// Whether a parameter is `q=0`, also as `q=0.000`.
fn is_zero_weight(parameter: &[u8]) -> bool {
    let Some((b'q' | b'Q', rest)) = parameter.split_first() else { return false };
    let weight = rest.trim_ascii().strip_prefix(b"=").map(<[u8]>::trim_ascii);
    weight.is_some_and(|weight| weight.first() == Some(&b'0') && weight.iter().all(|byte| matches!(byte, b'0' | b'.')))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const PAGE: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

    fn asks(method: &Method, lines: &[(&'static str, &str)]) -> bool {
        let lines = lines.iter();
        let headers =
            lines.map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_str(v).expect("a value"))).collect();
        is_navigation(method, &headers)
    }

    #[test]
    fn what_a_browser_says_of_the_mode_alone_decides() {
        for (lines, wanted) in [
            (&[("sec-fetch-mode", "navigate")][..], true),
            (&[("sec-fetch-mode", "navigate"), ("accept", "*/*")], true),
            (&[("sec-fetch-mode", "cors"), ("accept", PAGE)], false),
            (&[("sec-fetch-mode", "no-cors"), ("accept", PAGE)], false),
            (&[("sec-fetch-mode", "same-origin"), ("accept", PAGE)], false),
            (&[("sec-fetch-mode", "websocket"), ("accept", PAGE)], false),
            (&[("sec-fetch-mode", ""), ("accept", PAGE)], false),
            (&[("sec-fetch-mode", "Navigate"), ("accept", PAGE)], false),
            (&[("sec-fetch-mode", "navigate"), ("sec-fetch-mode", "navigate")], false),
            (&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")], true),
            (&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")], true),
            (&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "worker")], false),
            (&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "serviceworker")], false),
            (&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "manifest")], false),
        ] {
            assert_eq!(asks(&Method::GET, lines), wanted, "{lines:?}");
        }
        assert!(asks(&Method::POST, &[("sec-fetch-mode", "navigate")]), "a form");
        assert!(!asks(&Method::OPTIONS, &[("sec-fetch-mode", "navigate"), ("accept", PAGE)]), "a preflight");
    }

    #[test]
    fn without_a_mode_it_is_what_accepts_html_and_was_asked_for_by_no_script() {
        for (accept, wanted) in [
            (PAGE, true),
            ("text/html", true),
            ("Text/HTML", true),
            ("application/json, text/html;q=0.1", true),
            ("text/html;level=1;q=1", true),
            ("text/html;q=0", false),
            ("text/html ; q = 0.000", false),
            ("text/html;q=0.5", true),
            ("*/*", false),
            ("text/*", false),
            ("application/json, text/plain, */*", false),
            ("image/avif,image/webp,*/*", false),
            ("text/event-stream", false),
            ("application/grpc", false),
            ("", false),
        ] {
            assert_eq!(asks(&Method::GET, &[("accept", accept)]), wanted, "{accept}");
            assert_eq!(asks(&Method::HEAD, &[("accept", accept)]), wanted, "{accept}");
            assert!(!asks(&Method::POST, &[("accept", accept)]), "{accept}");
        }
        assert!(!asks(&Method::GET, &[("accept", PAGE), ("x-requested-with", "XMLHttpRequest")]));
        assert!(!asks(&Method::GET, &[("accept", PAGE), ("sec-fetch-dest", "manifest")]));
        assert!(
            asks(&Method::GET, &[("accept", "application/json"), ("accept", "text/html")]),
            "two lines are one list"
        );
        assert!(!asks(&Method::GET, &[]));
    }
}
