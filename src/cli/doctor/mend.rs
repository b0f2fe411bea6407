//! How to mend each fault, for each proxy where it differs.

use super::faults::Fault;

/// How to mend a fault.
#[derive(Debug)]
pub struct Mend {
    /// What is to be done.
    pub how: &'static str,
    /// How that is written for each proxy, where it differs.
    pub by_proxy: &'static [(&'static str, &'static str)],
}

const fn mend(how: &'static str) -> Mend {
    Mend { how, by_proxy: &[] }
}

const fn by_proxy(how: &'static str, by_proxy: &'static [(&'static str, &'static str)]) -> Mend {
    Mend { how, by_proxy }
}

const NGINX: &str = "nginx";
const CADDY: &str = "Caddy";
const TRAEFIK: &str = "Traefik";
const HAPROXY: &str = "HAProxy";
const ENVOY: &str = "Envoy";

const KEPT: Mend = by_proxy(
    "let nothing keep the answer to a check or to a page behind it. sessiond says `Cache-Control: no-store` with each.",
    &[
        (NGINX, "remove `proxy_cache` and what ignores `Cache-Control` from the check's location and the page's"),
        (CADDY, "remove any cache handler before or around `forward_auth`"),
        (TRAEFIK, "remove any caching plugin from the routers of the application"),
        (HAPROXY, "remove `http-request cache-use` and `cache-store`, and any table that remembers what was allowed"),
        (ENVOY, "remove the cache filter, or put it behind `ext_authz` and on no protected route"),
        ("A CDN", "let it pass the application's paths without caching, whatever the origin says"),
    ],
);

impl Fault {
    /// How to mend it.
    #[expect(clippy::too_many_lines, reason = "one entry a fault")]
    pub fn mend(self) -> Mend {
        match self {
            Self::Unreachable => mend("see that the proxy runs, that it listens there, and that the name leads to it."),
            Self::Untrusted => mend(
                "have the proxy send the whole chain of a certificate for this name; if its authority is your own, give `--cacert FILE`.",
            ),
            Self::NotProtected => by_proxy(
                "have the proxy ask sessiond about every request of this page.",
                &[
                    (
                        NGINX,
                        "`auth_request /_verify;` in the page's location; a location inside it without its own inherits it, another one does not",
                    ),
                    (CADDY, "`forward_auth` before `reverse_proxy`, in one `route` inside the `handle` of the page"),
                    (TRAEFIK, "the middleware `ask-sessiond` in every router that leads to the application"),
                    (HAPROXY, "`http-request lua.ask` in the backend, and the `deny` after it"),
                    (
                        ENVOY,
                        "the filter `ext_authz` before the router, and no `ExtAuthzPerRoute` that disables it on this route",
                    ),
                ],
            ),
            Self::SessiondItself => mend(
                "give the URL of a page of the application. If this is one, the proxy has no rule that sends it there: see the examples for the proxy.",
            ),
            Self::CheckFails => by_proxy(
                "see that sessiond runs (`sessiond healthcheck`), that the proxy reaches it, and that it is asked at the path of its kind of proxy. Its log, or the proxy's, has the cause.",
                &[
                    (
                        NGINX,
                        "`proxy_pass http://…/verify/nginx;`: of the check's answers nginx takes 2xx, 401 and 403, and makes 500 of all others, such as the redirects of other paths",
                    ),
                    (CADDY, "`forward_auth` with `uri /verify/caddy`"),
                    (TRAEFIK, "`address: http://…/verify/traefik`"),
                    (HAPROXY, "`CHECK` in ask.lua: an address, not a name, and `/verify/haproxy`"),
                    (ENVOY, "`path_prefix: /verify/envoy` without a slash at the end, and the cluster's address"),
                ],
            ),
            Self::NotRedirected => by_proxy(
                "send navigations that are refused to the login page.",
                &[
                    (
                        NGINX,
                        "`error_page 401 = @refused;`, and there `return 302 $login;` for navigations, as in the example",
                    ),
                    (CADDY, "ask `/verify/caddy`, not `/verify`, which never redirects"),
                    (TRAEFIK, "ask `/verify/traefik`, not `/verify`, which never redirects"),
                    (HAPROXY, "ask.lua of the example makes the redirect: see `is_navigation` there"),
                    (
                        ENVOY,
                        "ask `/verify/envoy`, list `accept` and the prefix `sec-fetch-` in `allowed_headers`, and `location` in `allowed_client_headers`",
                    ),
                ],
            ),
            Self::ReturnMissing => by_proxy(
                "list the proxy's address in sessiond's `trusted_proxies`, without which nothing that it says of a request is believed, and have it say which page was asked for.",
                &[
                    (
                        NGINX,
                        "`proxy_set_header X-Original-URL $browser_scheme://$http_host$request_uri;`, as in the example, in the check's location",
                    ),
                    (
                        HAPROXY,
                        "`http-request set-header X-Forwarded-Host %[req.hdr(host)]`, and `X-Forwarded-Proto`, before `lua.ask`",
                    ),
                    (ENVOY, "list `x-forwarded-proto` in `allowed_headers`"),
                ],
            ),
            Self::SchemeLost => by_proxy(
                "have whatever ends TLS say so in `X-Forwarded-Proto`, and every proxy behind it believe it: in the examples, `Choice: another proxy`.",
                &[
                    (
                        NGINX,
                        "behind another proxy, its address in `$is_from_proxy` of the example, and `$browser_scheme` in `X-Original-URL` and `X-Forwarded-Proto`",
                    ),
                    (CADDY, "behind another proxy, `trusted_proxies static <its address>` in `servers`"),
                    (
                        TRAEFIK,
                        "behind another proxy, its address in `forwardedHeaders.trustedIPs`, and `trustForwardHeader: true`",
                    ),
                    (HAPROXY, "behind another proxy, its address in the ACL `is_from_proxy` of the example"),
                    (
                        ENVOY,
                        "behind another proxy, `xff_num_trusted_hops: 1`, and `x-forwarded-proto` in `allowed_headers`",
                    ),
                ],
            ),
            Self::ReturnHost => by_proxy(
                "pass on the host as the client sent it, with its port.",
                &[
                    (
                        NGINX,
                        "`$http_host`, not `$host`, in `X-Original-URL`; over HTTP/3 from 1.29.8 `$host$is_request_port$request_port`",
                    ),
                    (
                        CADDY,
                        "no `header_up Host` in `forward_auth`; behind another proxy, `trusted_proxies static <its address>`",
                    ),
                    (
                        TRAEFIK,
                        "behind another proxy, its address in `forwardedHeaders.trustedIPs`, and `trustForwardHeader: true`",
                    ),
                    (HAPROXY, "`http-request set-header X-Forwarded-Host %[req.hdr(host)]`"),
                    (
                        ENVOY,
                        "no `host_rewrite_literal` before `ext_authz`, and no port that is stripped (`strip_any_host_port`)",
                    ),
                ],
            ),
            Self::ReturnTarget => by_proxy(
                "pass on path and query as the client sent them, neither decoded nor rewritten.",
                &[
                    (NGINX, "`$request_uri`, not `$uri`, in `X-Original-URL`, and no `rewrite` before it"),
                    (CADDY, "no `uri` or `rewrite` directive before `forward_auth`"),
                    (TRAEFIK, "no `stripPrefix` or `replacePath` before `ask-sessiond`"),
                    (HAPROXY, "`pathq` in ask.lua, and no `set-path` or `set-query` before `lua.ask`"),
                    (ENVOY, "`path_prefix: /verify/envoy` without a slash at the end"),
                ],
            ),
            Self::FetchRedirected => by_proxy(
                "answer 401 to whatever is not a navigation: a script that is redirected gets the login page as if it were data.",
                &[
                    (NGINX, "`error_page 401 = @refused;` as in the example, not `error_page 401 =302 $login;`"),
                    (CADDY, "no `handle_response` in `forward_auth` that redirects everything"),
                    (TRAEFIK, "leave `authSigninURL` unset"),
                    (HAPROXY, "ask.lua of the example tells navigations from the rest: see `is_navigation` there"),
                    (ENVOY, "list `accept`, `x-requested-with` and the prefix `sec-fetch-` in `allowed_headers`"),
                ],
            ),
            Self::RefusalHeaders => by_proxy(
                "pass on `Cache-Control: no-store` and `Vary` with each refusal, and redirect by 302.",
                &[
                    (
                        NGINX,
                        "`add_header Cache-Control no-store always;` and `add_header Vary $denial_vary always;` where it refuses, since it copies neither from the check",
                    ),
                    (CADDY, "no `header` directive that removes them"),
                    (TRAEFIK, "no middleware that removes them"),
                    (HAPROXY, "ask.lua of the example adds both to its refusals"),
                    (ENVOY, "list `cache-control` and `vary` in `allowed_client_headers`"),
                ],
            ),
            Self::ForwardedBelieved => by_proxy(
                "have the first proxy that clients reach replace what they say in `X-Forwarded-…` and `X-Original-…`.",
                &[
                    (
                        NGINX,
                        "set `X-Original-URL` and `X-Original-Method` from nginx's own variables, as in the example",
                    ),
                    (CADDY, "list your own proxies alone in `trusted_proxies`"),
                    (TRAEFIK, "`trustForwardHeader: false`, and no `forwardedHeaders.insecure`"),
                    (HAPROXY, "`http-request del-header ^x[-_.]forwarded[-_.] -m reg` before it sets its own"),
                    (ENVOY, "`use_remote_address: true`, and `x-forwarded-host` not in `allowed_headers`"),
                ],
            ),
            Self::ClaimsBelieved => mend(
                "allow only what sessiond answers 200 to: look for a rule that lets requests pass for a header that clients can send.",
            ),
            Self::LoginPageProtected => by_proxy(
                "ask about the application's pages alone, and never about sessiond's own: `/login`, `/logout`, `/sessions`, `/password`, `/second-factor`, `/admin`, `/assets/`, `/api/`.",
                &[
                    (
                        NGINX,
                        "`auth_request` in the application's location, not in `server`; or `auth_request off;` in sessiond's",
                    ),
                    (CADDY, "`forward_auth` inside the `handle` of the application"),
                    (TRAEFIK, "no `ask-sessiond` at the router of sessiond, nor at the entry point"),
                    (HAPROXY, "`lua.ask` in the application's backend, not in the frontend"),
                    (ENVOY, "`ExtAuthzPerRoute` with `disabled: true` on the route to sessiond"),
                ],
            ),
            Self::LoginPageMissing => mend(
                "send everything at the origin of `public_url` that is not the application's to sessiond, and set `public_url` to the origin that browsers see.",
            ),
            Self::InClear => {
                mend("serve the page and the login page by https, and by http nothing but a redirect to it.")
            }
            Self::NoHsts => mend(
                "set `public_url` to an https:// origin, with which sessiond sends `Strict-Transport-Security`; no proxy may remove it.",
            ),
            Self::LoginRefused => mend("give the name and the password of a user who can log in by them."),
            Self::LoginAbsent => {
                mend("send `/api/v1/auth/` at this origin to sessiond, or name another origin with `--login-url`.")
            }
            Self::LoginFails => mend(
                "look for this request in sessiond's log (403: a rule of the proxy, or `public_url` is another origin; 5xx: its store, or the way from the proxy to it).",
            ),
            Self::CookieLost => by_proxy(
                "pass on every `Set-Cookie` of sessiond.",
                &[
                    (
                        NGINX,
                        "no `proxy_hide_header Set-Cookie` and no `proxy_ignore_headers Set-Cookie` in the location of sessiond",
                    ),
                    (CADDY, "no `header_down -Set-Cookie` at the `reverse_proxy` to sessiond"),
                    (TRAEFIK, "no `customResponseHeaders` with `Set-Cookie` at the router of sessiond"),
                    (HAPROXY, "no `http-response del-header set-cookie` in the backend of sessiond"),
                    (ENVOY, "no `response_headers_to_remove` with `set-cookie` on the route to sessiond"),
                ],
            ),
            Self::CookieAttributes => mend(
                "let `cookie_secure` and `cookie_samesite` be what they are by default, and no proxy change the cookie (nginx: `proxy_cookie_flags`, `proxy_cookie_path`).",
            ),
            Self::CookieOutOfReach => mend(
                "set `cookie_domain` to the domain that the login page's host and the application's share, or serve both on one host. Where they share none, a cookie cannot do it.",
            ),
            Self::CookieNotSeen => by_proxy(
                "pass the client's `Cookie` to the check.",
                &[
                    (
                        NGINX,
                        "no `proxy_set_header Cookie` in the check's location, and `proxy_pass_request_headers on;`",
                    ),
                    (CADDY, "no `header_up -Cookie` in `forward_auth`, and no `request_header -Cookie` before it"),
                    (TRAEFIK, "leave `authRequestHeaders` unset, or list `Cookie` in it"),
                    (HAPROXY, "`cookie` in `ASKED_WITH` of ask.lua"),
                    (ENVOY, "`exact: cookie` in `allowed_headers`, at the top of the filter's configuration"),
                ],
            ),
            Self::SessionRefused => mend(
                "see that the check is asked of a sessiond on the same database as the login, that cookies and `Authorization` are passed to it, and that no cache stands between.",
            ),
            Self::ReturnNotAllowed => mend(
                "list the page's origin in `allowed_return_origins`, or set `public_url` to it if it is the login page's as well.",
            ),
            Self::IdentitySpoofed => by_proxy(
                "remove the client's own headers in every spelling before asking; many applications take `Remote_User` and `Remote.User` for `Remote-User`.",
                &[
                    (
                        NGINX,
                        "set all six in every protected location, since one that is not set is passed on; leave `underscores_in_headers off` and `ignore_invalid_headers on`",
                    ),
                    (
                        CADDY,
                        "`request_header -Remote-*` before `forward_auth`, and all six in `copy_headers`; leave `expected_underscore_headers` and `expected_dot_headers` unset",
                    ),
                    (
                        TRAEFIK,
                        "`authResponseHeadersRegex` as in the example instead of `authResponseHeaders`, and `aliasHeadersStrategy: delete`",
                    ),
                    (HAPROXY, "`http-request del-header ^remote[-_.] -m reg` before `lua.ask`"),
                    (
                        ENVOY,
                        "the filter `header_mutation` with `remove_on_match` before `ext_authz`, and `headers_with_underscores_action: DROP_HEADER`",
                    ),
                ],
            ),
            Self::IdentityVanishes => by_proxy(
                "let nothing that the client sends remove what sessiond said: headers that `Connection` names are removed on the way to the application.",
                &[
                    (NGINX, "`proxy_set_header Connection $connection_upgrade;`, never `$http_connection`"),
                    (CADDY, "`request_header Connection \"(?i)remote[-_.][^,]*\" \"\"` before `forward_auth`"),
                    (TRAEFIK, "`strip-identity` before `ask-sessiond`, not after it"),
                    (HAPROXY, "remove the client's headers before `lua.ask`, not after it"),
                    (ENVOY, "the filter that removes before `ext_authz`, not after it"),
                ],
            ),
            Self::IdentityIncomplete => by_proxy(
                "copy all six from the check's answer, and remove the client's before that, not after it.",
                &[
                    (
                        NGINX,
                        "one `auth_request_set` and one `proxy_set_header` for each of the six, in the location itself: one that sets any header inherits none",
                    ),
                    (
                        CADDY,
                        "all six in `copy_headers`, and `request_header -Remote-*` before `forward_auth` inside a `route`, which keeps the order",
                    ),
                    (
                        TRAEFIK,
                        "`authResponseHeadersRegex` as in the example, and `strip-identity` before `ask-sessiond`",
                    ),
                    (HAPROXY, "one `http-request set-header` for each of the six after `lua.ask`"),
                    (
                        ENVOY,
                        "`prefix: remote-` in `allowed_upstream_headers`, and no `request_headers_to_remove` on the route, which acts after the check",
                    ),
                ],
            ),
            Self::OtherCookies => by_proxy(
                "give heads of requests more room, at every proxy in the row; sessiond takes 32 KiB (`max_head`).",
                &[
                    (NGINX, "`large_client_header_buffers 4 32k;`"),
                    (CADDY, "`max_header_size 64KiB` in `servers`"),
                    (TRAEFIK, "`http.maxHeaderBytes` of the entry point, if it was made smaller"),
                    (HAPROXY, "`tune.bufsize 65536` and `tune.http.maxhdr 128` in `global`"),
                    (ENVOY, "`max_request_headers_kb: 96` and `max_headers_count: 128`"),
                ],
            ),
            Self::AddressBelieved => by_proxy(
                "list your own proxies alone in `trusted_proxies`, and have the first one replace what clients say.",
                &[
                    (NGINX, "`proxy_set_header X-Forwarded-For $remote_addr;`"),
                    (CADDY, "list your own proxies alone in `trusted_proxies`, with `trusted_proxies_strict`"),
                    (TRAEFIK, "no `forwardedHeaders.insecure`"),
                    (HAPROXY, "`http-request set-header X-Forwarded-For %[src]`"),
                    (ENVOY, "`use_remote_address: true`"),
                ],
            ),
            Self::AddressOfProxy => {
                mend("list the proxy's address in sessiond's `trusted_proxies`, and have it send `X-Forwarded-For`.")
            }
            Self::ClockOff => mend("keep the machine's clock right with NTP: cookies, sessions and codes end by it."),
            Self::Lifetimes => {
                mend("set `session_idle`, `session_absolute` and their like; `sessiond check-config` shows them.")
            }
            Self::RefusalKept | Self::AllowanceKept => KEPT,
            Self::LogoutFails => mend(
                "pass `POST /api/v1/auth/logout` and `POST /logout` to sessiond, with the cookie, and let nothing else answer them.",
            ),
            Self::LeftBehind => mend("end them with `sessiond session revoke ID`, or on the page `/sessions`."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::pages;

    #[test]
    fn a_proxy_that_protects_pages_of_ours_is_told_all_of_them() {
        let Mend { how, .. } = Fault::LoginPageProtected.mend();
        for route in pages::routes().list_under("") {
            let first = route.path.split('/').nth(1).unwrap_or_default();
            // `/` leads to one of the others, and so does what is well known.
            let is_named = ["", ".well-known"].contains(&first) || how.contains(&format!("`/{first}"));
            assert!(is_named, "{} is not in: {how}", route.path);
        }
    }
}
