//! The head of a request, as it comes over the wire: who calls, from where, and what is refused at once.
#![no_main]

use std::sync::LazyLock;

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use sessiond::config::{Config, CredentialKind, Settings};
use sessiond::http::framing::{HeadRules, Listener};
use sessiond::http::request::credential::{Credential, Via, has_header_credential, read, read_ours};
use sessiond::http::request::id::{ClientsId, judge};
use sessiond::http::request::navigation::is_navigation;
use sessiond::http::request::origin::Origins;
use sessiond::http::request::{fields::Fields, forwarded};
use sessiond_fuzz::{COOKIE, assert_sent, head, issued, planted};

const EVERY: [CredentialKind; 3] = [CredentialKind::Cookie, CredentialKind::Bearer, CredentialKind::Headers];

struct Rules {
    head: HeadRules,
    origins: Origins,
}

impl Rules {
    fn new() -> Self {
        let settings = Settings {
            cors_origins: Some(vec!["https://app.example.com".parse().expect("an origin")]),
            ..Settings::default()
        };
        let http = Config::new(&settings).expect("a configuration").http;
        Self { head: HeadRules::new(&http), origins: Origins::new(&http) }
    }
}

/// Asserts that a credential was sent, and returns how it travelled.
fn way(credential: &Credential, headers: &HeaderMap) -> Option<Via> {
    match credential {
        Credential::None => None,
        Credential::Invalid(via) => Some(*via),
        Credential::Presented(presented, via) => {
            assert_sent(&presented.token, headers);
            Some(*via)
        }
        Credential::Several(presented) => {
            assert!((2..=4).contains(&presented.len()));
            presented.iter().for_each(|presented| assert_sent(&presented.token, headers));
            Some(Via::Cookie)
        }
    }
}

static RULES: LazyLock<Rules> = LazyLock::new(Rules::new);

fuzz_target!(|bytes: &[u8]| {
    planted(bytes);
    let Some(request) = head(bytes) else { return };
    let headers = request.headers();

    let public = RULES.head.check(&request, Listener::Public);
    let operations = RULES.head.check(&request, Listener::Operations);
    assert!(public.is_ok() || operations.is_err(), "the listener for operations takes what the other refuses");

    let everywhere = way(&read(headers, COOKIE, issued), headers);
    for kind in EVERY {
        let via = way(&read_ours(headers, COOKIE, &[kind], issued), headers);
        let expected = if kind == CredentialKind::Cookie { Via::Cookie } else { Via::Header };
        assert!(via.is_none_or(|via| via == expected), "{kind:?} came as {via:?}");
    }
    let verified = way(&read_ours(headers, COOKIE, &EVERY, issued), headers);
    assert!(verified.is_none() || everywhere.is_some(), "only the check sees a credential");
    assert!(way(&read_ours(headers, COOKIE, &[], issued), headers).is_none());
    if !has_header_credential(headers) && everywhere == Some(Via::Header) {
        assert!(headers.get_all("authorization").iter().count() > 1, "a credential that no header holds");
    }

    let may_read = RULES.origins.may_read(headers);
    assert!(may_read.is_none_or(|origin| origin == "https://app.example.com"));
    let _ = (RULES.origins.may_change(headers), RULES.origins.may_send(headers));
    let _ = (is_navigation(request.method(), headers), forwarded::scheme(headers));
    let _ = Fields::from_query(request.uri().query());
    match judge(headers, || true) {
        ClientsId::Kept(id) => assert!(id.to_str().is_ok() && (1..=128).contains(&id.len())),
        ClientsId::SetAside(_) => panic!("the id of a trusted proxy is set aside"),
        ClientsId::Unfit => {}
    }
});
