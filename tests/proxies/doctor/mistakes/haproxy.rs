//! What can be done wrong in HAProxy's example.

use super::Mistake;

/// One mistake each.
pub const ALL: &[Mistake] = &[
    Mistake {
        name: "what clients say of themselves is not removed",
        instead: &[("http-request del-header ^remote[^a-z0-9] -m reg", "")],
        faults: &["identity-headers"],
    },
    Mistake {
        name: "the check gets no cookie",
        instead: &[("\"cookie\", \"authorization\"", "\"authorization\"")],
        faults: &["session"],
    },
    Mistake {
        name: "there is no room for cookies",
        instead: &[("tune.bufsize     65536", "")],
        faults: &["other-cookies"],
    },
    Mistake {
        name: "clients name the page",
        instead: &[
            ("http-request del-header ^x[-_.]forwarded[-_.] -m reg", ""),
            ("%[req.hdr(host)]", "%[req.hdr(host)] unless { req.hdr(x-forwarded-host) -m found }"),
        ],
        faults: &["forwarded-headers"],
    },
    Mistake {
        name: "other methods are not asked about",
        instead: &[
            ("http-request lua.ask", "http-request lua.ask if METH_GET"),
            ("http-request deny deny_status 503 unless {", "http-request deny deny_status 503 if METH_GET !{"),
        ],
        // A HEAD counts as a GET there.
        faults: &["methods"],
    },
    Mistake {
        name: "web sockets are not asked about",
        instead: &[
            ("http-request lua.ask", "http-request lua.ask if !{ hdr(upgrade) -m found }"),
            (
                "http-request deny deny_status 503 unless {",
                "http-request deny deny_status 503 if !{ hdr(upgrade) -m found } !{",
            ),
        ],
        faults: &["claims"],
    },
    Mistake {
        name: "what is allowed is kept for whoever has the cookie",
        instead: &[
            ("local function ask(txn)\n", "local kept = {}\nlocal function ask(txn)\n"),
            (
                "local response = core.httpclient()",
                "local cookie = first(headers, 'cookie') or ''\n  local response = kept[cookie] or core.httpclient()",
            ),
            ("if response.status == 200 then\n", "if response.status == 200 then\n    kept[cookie] = response\n"),
        ],
        faults: &["cache"],
    },
    Mistake { name: "the query is lost", instead: &[("txn.sf:pathq()", "txn.sf:path()")], faults: &["return-address"] },
    Mistake {
        name: "no refusal is a redirect",
        instead: &[("if location and is_navigation(headers, is_read) then", "if false then")],
        faults: &["navigation"],
    },
    Mistake {
        name: "refusals may be kept",
        instead: &[("reply:add_header(\"cache-control\", \"no-store\")", "")],
        faults: &["refusal-headers"],
    },
    Mistake {
        name: "one header is not set",
        instead: &[("http-request set-header Remote-Groups     %[var(txn.remote_groups)]", "")],
        faults: &["identity-headers"],
    },
    Mistake {
        name: "nobody is asked",
        instead: &[
            ("http-request lua.ask", ""),
            ("http-request deny deny_status 503 unless { var(txn.sessiond_allowed) -m bool }", ""),
        ],
        faults: &["protected"],
    },
];
