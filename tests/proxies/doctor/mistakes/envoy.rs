//! What can be done wrong in Envoy's example.

use super::Mistake;

/// One mistake each.
pub const ALL: &[Mistake] = &[
    Mistake {
        name: "the check gets no cookie",
        instead: &[("                - exact: cookie\n", "")],
        faults: &["session"],
    },
    Mistake {
        name: "what clients say of themselves is not removed",
        instead: &[("regex: \"(?i)remote[^a-z0-9].*\"", "regex: \"(?i)remote-.*\"")],
        faults: &["identity-headers"],
    },
    Mistake {
        name: "our headers are not copied",
        instead: &[("                    - prefix: remote-\n", "                    - exact: remote-user\n")],
        faults: &["identity-headers"],
    },
    Mistake {
        name: "there is no room for cookies",
        instead: &[("max_request_headers_kb: 96", "max_request_headers_kb: 16")],
        faults: &["other-cookies"],
    },
    Mistake {
        name: "nobody is asked",
        instead: &[(
            "                  timeout: 0s\n",
            "                  timeout: 0s\n                typed_per_filter_config:\n                  envoy.filters.http.ext_authz:\n                    \
             \"@type\": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute\n                    disabled: true\n",
        )],
        faults: &["protected"],
    },
    Mistake {
        name: "what clients say of where they come from is believed",
        instead: &[("use_remote_address: true", "use_remote_address: false")],
        faults: &["forwarded-headers"],
    },
    Mistake {
        name: "refusals may be kept",
        instead: &[("                    - exact: cache-control\n", "")],
        faults: &["refusal-headers"],
    },
    Mistake {
        name: "everything is taken for a script's request",
        instead: &[("                - exact: accept\n", ""), ("                - prefix: sec-fetch-\n", "")],
        faults: &["navigation"],
    },
    Mistake {
        name: "the login page asks for a session",
        instead: &[("                    disabled: true", "                    check_settings: {}")],
        faults: &["login-page"],
    },
];
