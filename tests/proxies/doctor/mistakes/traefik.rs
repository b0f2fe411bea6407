//! What can be done wrong in Traefik's example.

use super::Mistake;

/// One mistake each.
pub const ALL: &[Mistake] = &[
    Mistake {
        name: "headers are copied by their exact names, and other spellings pass",
        instead: &[
            (
                "authResponseHeadersRegex: (?i)^remote[-_.](user|user[-_.]id|name|email|groups|session[-_.]id)$",
                "authResponseHeaders: [Remote-User, Remote-User-Id, Remote-Name, Remote-Email, Remote-Groups, Remote-Session-Id]",
            ),
            ("aliasHeadersStrategy: delete", "aliasHeadersStrategy: keep"),
        ],
        faults: &["identity-headers"],
    },
    Mistake {
        name: "our headers are removed after the check",
        instead: &[("middlewares: [strip-identity, ask-sessiond]", "middlewares: [ask-sessiond, strip-identity]")],
        faults: &["identity-headers"],
    },
    Mistake {
        name: "nobody is asked",
        instead: &[("middlewares: [strip-identity, ask-sessiond]", "middlewares: [strip-identity]")],
        faults: &["protected"],
    },
    Mistake {
        name: "the check gets no cookie",
        instead: &[(
            "maxResponseBodySize: 65536",
            "maxResponseBodySize: 65536\n        authRequestHeaders: [Accept, Authorization, Sec-Fetch-Mode, Sec-Fetch-Dest]",
        )],
        faults: &["session"],
    },
    Mistake {
        name: "clients name the page",
        instead: &[
            ("trustForwardHeader: false", "trustForwardHeader: true"),
            ("    transport:\n", "    forwardedHeaders:\n      insecure: true\n    transport:\n"),
        ],
        faults: &["forwarded-headers"],
    },
    Mistake {
        name: "all refusals are redirects",
        instead: &[("maxResponseBodySize: 65536", "maxResponseBodySize: 65536\n        authSigninURL: /login")],
        faults: &["fetch", "refusal-headers"],
    },
];
