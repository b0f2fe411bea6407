//! What can be done wrong in nginx's example.

use super::Mistake;

/// One mistake each.
pub const ALL: &[Mistake] = &[
    Mistake { name: "nobody is asked", instead: &[("auth_request /_verify;", "")], faults: &["protected"] },
    Mistake {
        name: "the check leads nowhere",
        instead: &[("proxy_pass http://sessiond/verify/nginx;", "proxy_pass http://127.0.0.1:1/verify/nginx;")],
        faults: &["protected"],
    },
    Mistake {
        name: "one header is not set",
        instead: &[("proxy_set_header Remote-Email      $remote_email;", "")],
        faults: &["identity-headers"],
    },
    Mistake {
        name: "underscores pass",
        instead: &[("underscores_in_headers off;", "underscores_in_headers on;")],
        faults: &["identity-headers"],
    },
    Mistake {
        name: "dots pass",
        instead: &[("ignore_invalid_headers on;", "ignore_invalid_headers off;")],
        faults: &["identity-headers"],
    },
    Mistake {
        name: "what is allowed is kept for whoever has the cookie",
        instead: &[
            (
                "worker_connections 1024;\n}\n\nhttp {",
                "worker_connections 1024;\n}\n\nhttp { proxy_cache_path kept keys_zone=kept:1m;",
            ),
            (
                "internal;",
                "internal; proxy_cache kept; proxy_cache_key $http_cookie; proxy_cache_valid 200 1m; \
                 proxy_ignore_headers Cache-Control Vary;",
            ),
        ],
        faults: &["cache"],
    },
    Mistake {
        name: "what is allowed is kept for everybody",
        instead: &[
            (
                "worker_connections 1024;\n}\n\nhttp {",
                "worker_connections 1024;\n}\n\nhttp { proxy_cache_path kept keys_zone=kept:1m;",
            ),
            (
                "internal;",
                "internal; proxy_cache kept; proxy_cache_valid 200 1m; proxy_ignore_headers Cache-Control Vary;",
            ),
        ],
        faults: &["cache"],
    },
    Mistake {
        name: "the page is kept",
        instead: &[
            (
                "worker_connections 1024;\n}\n\nhttp {",
                "worker_connections 1024;\n}\n\nhttp { proxy_cache_path kept keys_zone=kept:1m;",
            ),
            ("auth_request /_verify;", "auth_request /_verify; proxy_cache kept; proxy_cache_valid 200 1m;"),
        ],
        faults: &["cache"],
    },
    Mistake {
        name: "what is refused is kept for everybody",
        instead: &[
            (
                "worker_connections 1024;\n}\n\nhttp {",
                "worker_connections 1024;\n}\n\nhttp { proxy_cache_path kept keys_zone=kept:1m;",
            ),
            (
                "internal;",
                "internal; proxy_cache kept; proxy_cache_valid 401 1m; proxy_ignore_headers Cache-Control Vary;",
            ),
        ],
        faults: &["cache"],
    },
    Mistake {
        name: "what is refused is kept for the same page",
        instead: &[
            (
                "worker_connections 1024;\n}\n\nhttp {",
                "worker_connections 1024;\n}\n\nhttp { proxy_cache_path kept keys_zone=kept:1m;",
            ),
            (
                "internal;",
                "internal; proxy_cache kept; proxy_cache_key $request_uri; proxy_cache_valid 401 1m; proxy_ignore_headers Cache-Control Vary;",
            ),
        ],
        faults: &["cache"],
    },
    Mistake {
        name: "the port is lost",
        instead: &[(
            "X-Original-URL    $browser_scheme://$http_host$request_uri;",
            "X-Original-URL    $browser_scheme://$host$request_uri;",
        )],
        faults: &["return-address"],
    },
    Mistake {
        name: "the scheme is a wrong one",
        instead: &[(
            "X-Original-URL    $browser_scheme://$http_host$request_uri;",
            "X-Original-URL https://$http_host$request_uri;",
        )],
        faults: &["return-address"],
    },
    Mistake {
        name: "the query is decoded",
        instead: &[(
            "X-Original-URL    $browser_scheme://$http_host$request_uri;",
            "X-Original-URL $browser_scheme://$http_host$uri;",
        )],
        faults: &["return-address"],
    },
    Mistake {
        name: "the page is not named",
        instead: &[("proxy_set_header X-Original-URL    $browser_scheme://$http_host$request_uri;", "")],
        faults: &["return-address"],
    },
    Mistake {
        name: "the check gets no cookie",
        instead: &[("internal;", "internal; proxy_set_header Cookie \"\";")],
        faults: &["session"],
    },
    Mistake {
        name: "the check gets no credentials",
        instead: &[("internal;", "internal; proxy_set_header Cookie \"\"; proxy_set_header Authorization \"\";")],
        faults: &["session"],
    },
    Mistake {
        name: "all refusals are redirects",
        instead: &[("error_page 401 = @refused;", "error_page 401 =302 $login;")],
        faults: &["fetch", "refusal-headers"],
    },
    Mistake {
        name: "no refusal is a redirect",
        instead: &[("error_page 401 = @refused;", "")],
        faults: &["navigation", "refusal-headers"],
    },
    Mistake {
        name: "refusals may be kept",
        instead: &[("add_header Cache-Control                    no-store           always;", "")],
        faults: &["refusal-headers"],
    },
    Mistake {
        name: "there is no room for cookies",
        instead: &[("large_client_header_buffers 4 32k;", "")],
        faults: &["other-cookies"],
    },
    Mistake {
        name: "the cookie is laid bare",
        instead: &[("location / {", "location / { proxy_cookie_flags ~ nosecure nohttponly nosamesite;")],
        faults: &["cookie-attributes"],
    },
    Mistake {
        name: "the cookie is for another path",
        instead: &[("location / {", "location / { proxy_cookie_path / /api/;")],
        faults: &["cookie-attributes", "cookie-reach"],
    },
    Mistake {
        name: "the cookie is removed",
        instead: &[("location / {", "location / { proxy_hide_header Set-Cookie;")],
        faults: &["login"],
    },
    Mistake {
        name: "something else answers logouts",
        instead: &[("location / {", "location = /api/v1/auth/logout { return 200; }\n location / {")],
        faults: &["logout"],
    },
    Mistake {
        name: "logouts do not arrive",
        instead: &[("location / {", "location = /api/v1/auth/logout { return 405; }\n location / {")],
        faults: &["logout"],
    },
    Mistake {
        name: "sessions cannot be ended at all",
        instead: &[("location / {", "location ~ /auth/(logout|sessions) { return 405; }\n location / {")],
        faults: &["clean-up", "logout"],
    },
    Mistake {
        name: "sessiond is not reached for logins",
        instead: &[("location / {", "location /api/ { return 404; }\n location / {")],
        faults: &["login"],
    },
    Mistake {
        name: "there is no login page",
        instead: &[("location / {", "location = /login { return 404; }\n location / {")],
        faults: &["login-page"],
    },
    Mistake {
        name: "logins fail",
        instead: &[("location / {", "location = /api/v1/auth/login { return 502; }\n location / {")],
        faults: &["login"],
    },
    Mistake {
        name: "the login page asks for a session",
        instead: &[("location / {", "location / { auth_request /_verify;")],
        faults: &["login-page"],
    },
    Mistake {
        name: "a header of clients opens a door",
        instead: &[
            (
                "auth_request /_verify;",
                "error_page 418 = @open; if ($http_remote_user) { return 418; } auth_request /_verify;",
            ),
            ("location @refused {", "location @open { proxy_pass http://back_end; }\n location @refused {"),
        ],
        faults: &["claims", "identity-headers"],
    },
    Mistake {
        name: "clients name the page",
        instead: &[
            (
                "http {\n    access_log",
                "http { map $http_x_forwarded_host $asked_host { default $http_x_forwarded_host; '' $http_host; }\n access_log",
            ),
            (
                "X-Original-URL    $browser_scheme://$http_host$request_uri;",
                "X-Original-URL $browser_scheme://$asked_host$request_uri;",
            ),
        ],
        faults: &["forwarded-headers"],
    },
];
