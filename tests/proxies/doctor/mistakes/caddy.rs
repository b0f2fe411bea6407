//! What can be done wrong in Caddy's example.

use super::Mistake;

/// One mistake each.
pub const ALL: &[Mistake] = &[
    Mistake {
        name: "clients name our headers in `Connection`",
        instead: &[("request_header Connection \"(?i)remote[-_.][^,]*\" \"\"", "")],
        faults: &["identity-headers"],
    },
    Mistake {
        name: "one header is neither removed nor copied",
        instead: &[
            ("request_header -Remote*", ""),
            ("Remote-Name Remote-Email Remote-Groups", "Remote-Name Remote-Groups"),
        ],
        faults: &["identity-headers"],
    },
    Mistake {
        name: "Caddy decides the order, and removes our headers",
        instead: &[("\t\troute {", "\t\thandle {")],
        faults: &["identity-headers"],
    },
    Mistake {
        name: "underscores are expected",
        instead: &[
            ("max_header_size 64KiB", "max_header_size 64KiB\n\t\texpected_underscore_headers Remote_User"),
            ("request_header -Remote*", "request_header -Remote-*"),
        ],
        faults: &["identity-headers"],
    },
    Mistake {
        name: "the check gets no cookie",
        instead: &[("uri /verify/caddy", "uri /verify/caddy\n\t\t\t\theader_up -Cookie")],
        faults: &["session"],
    },
    Mistake {
        name: "it asks where nobody is redirected",
        instead: &[("uri /verify/caddy", "uri /verify")],
        faults: &["navigation"],
    },
    Mistake {
        name: "there is no room for cookies",
        instead: &[("max_header_size 64KiB", "")],
        faults: &["other-cookies"],
    },
    Mistake {
        name: "everybody is a trusted proxy",
        instead: &[("max_header_size 64KiB", "max_header_size 64KiB\n\t\ttrusted_proxies static 0.0.0.0/0 ::/0")],
        faults: &["forwarded-headers"],
    },
    Mistake {
        name: "the cookie is removed",
        instead: &[("\thandle {\n\t\treverse_proxy", "\thandle {\n\t\theader -Set-Cookie\n\t\treverse_proxy")],
        faults: &["login"],
    },
    Mistake {
        name: "the path is rewritten first",
        instead: &[("\t\troute {", "\t\troute {\n\t\t\turi strip_prefix /app")],
        faults: &["return-address"],
    },
];
