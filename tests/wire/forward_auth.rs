//! What each family of proxies asks, and the answer in the form that it can carry.

use http::Method;
use sessiond_needs::on_both_stores;

use crate::harness::{BOB, Reply, Server, StoreKind, TestRequest, ask};

const TRUSTED: &str = "trusted_proxies = ['127.0.0.1']\npublic_url = 'https://login.example'";
const PAGE: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const VARY: &str = "Cookie, Accept, Sec-Fetch-Mode, Origin";

/// The families, each with a check of a request as its proxy would ask it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proxy {
    Nginx,
    Traefik,
    Caddy,
    Haproxy,
    Envoy,
}

const ALL: [Proxy; 5] = [Proxy::Nginx, Proxy::Traefik, Proxy::Caddy, Proxy::Haproxy, Proxy::Envoy];

impl Proxy {
    fn asks(self, method: &str, scheme: &str, host: &str, target: &str) -> TestRequest {
        let forwarded = |check: TestRequest| {
            check
                .header("X-Forwarded-Method", method)
                .header("X-Forwarded-Proto", scheme)
                .header("X-Forwarded-Host", host)
                .header("X-Forwarded-Uri", target)
        };
        match self {
            Self::Nginx => ask("GET", "/verify/nginx")
                .header("X-Original-Method", method)
                .header("X-Original-URL", &format!("{scheme}://{host}{target}")),
            Self::Traefik => forwarded(ask("GET", "/verify/traefik")),
            Self::Caddy => forwarded(ask("GET", "/verify/caddy")),
            Self::Haproxy => forwarded(ask("HEAD", "/verify/haproxy")),
            Self::Envoy => {
                ask(method, &format!("/verify/envoy{target}")).header("Host", host).header("X-Forwarded-Proto", scheme)
            }
        }
    }

    /// Whether the proxy hands the answer itself to the client.
    fn hands_on(self) -> bool {
        matches!(self, Self::Traefik | Self::Caddy | Self::Envoy)
    }

    /// The status that tells it to send a client to the login page.
    fn redirect(self, status: u16) -> u16 {
        if self.hands_on() { status } else { 401 }
    }
}

/// Where a denial sends a client, with the address to return to decoded.
fn sent_to(reply: &Reply) -> Option<(String, Option<String>)> {
    let location = reply.header("location")?;
    let Some((login, query)) = location.split_once('?') else { return Some((location.into(), None)) };
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let (name, value) = pairs.next().expect("a pair");
    assert_eq!((&*name, pairs.next()), ("return_to", None), "{location}");
    Some((login.into(), Some(value.into_owned())))
}

fn login_from(url: &str) -> Option<(String, Option<String>)> {
    Some(("https://login.example/login".into(), Some(url.into())))
}

#[on_both_stores]
async fn a_live_session_is_allowed_whatever_was_asked_for(store: StoreKind) {
    let server = Server::with(store, TRUSTED).await;
    let bob = server.log_in(BOB).await;
    for proxy in ALL {
        for method in ["GET", "HEAD", "POST", "OPTIONS", "PROPFIND"] {
            let check = proxy.asks(method, "https", "app.example", "/app/x?a=1").cookie(&bob.token);
            let reply = server.send(check).await;
            assert_eq!((reply.status, reply.body.len()), (200, 0), "{proxy:?} {method}");
            for (name, value) in [
                ("remote-user", BOB),
                ("remote-groups", "-"),
                ("remote-user-id", &bob.user),
                ("cache-control", "no-store"),
            ] {
                assert_eq!(reply.header(name), Some(value), "{proxy:?} {name}");
            }
            assert!(reply.all("set-cookie").is_empty() && reply.header("location").is_none(), "{proxy:?}");
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_navigation_is_sent_to_the_login_page_with_the_way_back_byte_for_byte(store: StoreKind) {
    let server = Server::with(store, TRUSTED).await;
    let target = "/app/x?a=1&b=%26&c=+&d=%C3%A9&e=a%2Fb&return_to=z";
    for proxy in ALL {
        for (lines, scheme) in [(("Accept", PAGE), "https"), (("Sec-Fetch-Mode", "navigate"), "http")] {
            let check = proxy.asks("GET", scheme, "app.example:8000", target).header(lines.0, lines.1);
            let reply = server.send(check).await;
            assert_eq!(reply.status, proxy.redirect(302), "{proxy:?}");
            assert_eq!(sent_to(&reply), login_from(&format!("{scheme}://app.example:8000{target}")), "{proxy:?}");
            assert_eq!(reply.header("vary"), Some(VARY), "{proxy:?}");
            assert_eq!(reply.header("cache-control"), Some("no-store"), "{proxy:?}");
            assert_eq!(reply.header("www-authenticate").is_some(), reply.status == 401, "{proxy:?}");
            assert!(reply.body.is_empty() && reply.header("x-api-commit").is_some(), "{proxy:?}");
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn what_is_no_navigation_is_refused_in_words_that_its_script_can_read(store: StoreKind) {
    let settings = format!("{TRUSTED}\ncors_origins = ['https://front.example']");
    let server = Server::with(store, &settings).await;
    for proxy in ALL.into_iter().filter(|proxy| proxy.hands_on()) {
        for lines in [
            &[("Accept", "application/json, text/plain, */*")][..],
            &[("Accept", "text/event-stream")],
            &[("Accept", "image/avif,image/webp,*/*;q=0.8")],
            &[("Accept", PAGE), ("X-Requested-With", "XMLHttpRequest")],
            &[("Accept", PAGE), ("Sec-Fetch-Mode", "cors")],
            &[("Accept", PAGE), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "serviceworker")],
            &[],
        ] {
            let check = proxy.asks("GET", "https", "app.example", "/app/x").header("Origin", "https://front.example");
            let reply = server.send(lines.iter().fold(check, |check, (name, value)| check.header(name, value))).await;
            assert_eq!((reply.status, reply.header("location")), (401, None), "{proxy:?} {lines:?}");
            assert_eq!(reply.json()["type"], "authentication_error", "{proxy:?}");
            assert_eq!(reply.header("access-control-allow-origin"), Some("https://front.example"), "{proxy:?}");
            assert_eq!(reply.header("access-control-allow-credentials"), Some("true"), "{proxy:?}");
            assert_eq!(reply.all("vary"), [VARY], "{proxy:?}");
        }
        let preflight = proxy
            .asks("OPTIONS", "https", "app.example", "/app/x")
            .header("Origin", "https://front.example")
            .header("Access-Control-Request-Method", "POST")
            .header("Accept", PAGE);
        assert_eq!(server.send(preflight).await.status, 401, "{proxy:?}: a preflight is never sent elsewhere");
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_form_is_sent_back_to_the_page_it_stood_on(store: StoreKind) {
    let server = Server::with(store, TRUSTED).await;
    for proxy in ALL {
        for (referer, back) in [
            (Some("https://app.example/form?step=2#here"), "https://app.example/form?step=2"),
            (Some("https://APP.example:443/form"), "https://app.example/form"),
            (Some("https://app.example:8443/form"), "https://app.example/"),
            (Some("http://app.example/form"), "https://app.example/"),
            (Some("https://app.example.evil/form"), "https://app.example/"),
            (Some("nonsense"), "https://app.example/"),
            (None, "https://app.example/"),
        ] {
            let check = proxy.asks("POST", "https", "app.example", "/app/send").header("Sec-Fetch-Mode", "navigate");
            let check = referer.iter().fold(check, |check, referer| check.header("Referer", referer));
            let reply = server.send(check).await;
            let wanted = back.replace("app.example:443", "app.example");
            assert_eq!(reply.status, proxy.redirect(303), "{proxy:?} {referer:?}");
            assert_eq!(sent_to(&reply), login_from(&wanted), "{proxy:?} {referer:?}");
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn what_a_client_says_itself_is_not_believed(store: StoreKind) {
    let bare = Some((String::from("https://login.example/login"), None));
    let untrusted = Server::with(store, "public_url = 'https://login.example'").await;
    for proxy in ALL {
        let check = proxy.asks("GET", "https", "app.example", "/app/x").header("Accept", PAGE);
        assert_eq!(sent_to(&untrusted.send(check).await), bare, "{proxy:?}: of no trusted proxy");
    }
    untrusted.stop().await;

    let server = Server::with(store, TRUSTED).await;
    for name in ["X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Uri"] {
        let check = Proxy::Traefik.asks("GET", "https", "app.example", "/x").header("Accept", PAGE);
        assert_eq!(sent_to(&server.send(check.header(name, "evil")).await), bare, "{name} twice");
    }
    for name in ["X-Forwarded-Host", "X-Forwarded-Uri", "X-Original-URL"] {
        let check = Proxy::Envoy.asks("GET", "https", "app.example", "/x").header("Accept", PAGE);
        let reply = server.send(check.header(name, "https://evil.example/")).await;
        assert_eq!(sent_to(&reply), login_from("https://app.example/x"), "Envoy lets a client's {name} through");
    }
    for (scheme, host, target) in [
        ("ftp", "app.example", "/"),
        ("https", "", "/x"),
        ("https", "a b", "/x"),
        ("https", "me@app.example", "/x"),
        ("https", "app.example", "x"),
    ] {
        let check = Proxy::Caddy.asks("GET", scheme, host, target).header("Accept", PAGE);
        assert_eq!(sent_to(&server.send(check).await), bare, "{scheme} {host} {target}");
    }
    let socket = Proxy::Traefik.asks("GET", "wss", "app.example", "/x").header("Accept", PAGE);
    assert_eq!(sent_to(&server.send(socket).await), login_from("https://app.example/x"));
    server.stop().await;
}

#[on_both_stores]
async fn a_denial_fits_into_the_buffer_of_nginx_however_long_the_address_was(store: StoreKind) {
    let server = Server::with(store, TRUSTED).await;
    let (long, path) = ("q".repeat(8000), "p".repeat(1500));
    for proxy in ALL {
        for (target, kept) in [
            (format!("/{path}?x"), format!("/{path}?x")),
            (format!("/{path}?{long}"), format!("/{path}")),
            (format!("/{long}?x"), String::from("/")),
            // Each of these letters takes nine once it is encoded twice.
            (format!("/{}", "%25".repeat(600)), String::from("/")),
        ] {
            let reply = server.send(proxy.asks("GET", "https", "app.example", &target).header("Accept", PAGE)).await;
            assert_eq!(sent_to(&reply), login_from(&format!("https://app.example{kept}")), "{proxy:?}");
            let head: usize = reply.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
            assert!(head + 64 < 3584, "{proxy:?}: {head}");
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn without_a_public_url_the_login_page_is_on_the_same_host(store: StoreKind) {
    let server = Server::with(store, "trusted_proxies = ['127.0.0.1']").await;
    for proxy in ALL {
        let reply = server.send(proxy.asks("GET", "https", "app.example", "/x").header("Accept", PAGE)).await;
        assert_eq!(sent_to(&reply), Some(("/login".into(), Some("https://app.example/x".into()))), "{proxy:?}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_logout_is_true_at_the_next_check_of_every_family(store: StoreKind) {
    let server = Server::with(store, TRUSTED).await;
    for proxy in ALL {
        let bob = server.log_in(BOB).await;
        let check = || proxy.asks("GET", "https", "app.example", "/x").cookie(&bob.token);
        assert_eq!(server.send(check()).await.status, 200, "{proxy:?}");
        assert_eq!(server.send(ask("POST", "/api/v1/auth/logout").bearer(&bob.token)).await.status, 200);
        assert_eq!(server.send(check()).await.status, 401, "{proxy:?}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn under_verify_there_is_nothing_else(store: StoreKind) {
    let server = Server::start(store).await;
    for path in ["/verify/", "/verify/apache", "/verify/nginx/x", "/verify/nginx/", "/verify/envoyx"] {
        assert_eq!(server.send(ask("GET", path)).await.status, 404, "{path}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn plain_http_is_refused_where_https_is_required_and_a_trusted_proxy_says_so(store: StoreKind) {
    let server = Server::with(store, &format!("{TRUSTED}\nrequire_https = true")).await;
    let session = || ask(Method::GET.as_str(), "/api/v1/auth/session");
    let reply = server.send(session().header("X-Forwarded-Proto", "http")).await;
    assert_eq!((reply.status, reply.header("upgrade")), (426, Some("TLS/1.2, HTTP/1.1")));
    assert_eq!((&reply.json()["type"], &reply.json()["code"]), (&"upgrade_required_error".into(), &426.into()));
    for scheme in ["https", "wss", "nonsense"] {
        assert_eq!(server.send(session().header("X-Forwarded-Proto", scheme)).await.status, 401, "{scheme}");
    }
    let twice = session().header("X-Forwarded-Proto", "http").header("X-Forwarded-Proto", "http");
    assert_eq!(server.send(twice).await.status, 401, "said twice, it is not believed");
    for path in ["/user", "/api/v1/me"] {
        assert_eq!(server.send(ask("GET", path).header("X-Forwarded-Proto", "http")).await.status, 426, "{path}");
    }
    assert_eq!(server.send(ask("GET", "/verify").header("X-Forwarded-Proto", "http")).await.status, 401, "a check");
    server.stop().await;

    let untrusted = Server::with(store, "require_https = true").await;
    assert_eq!(untrusted.send(session().header("X-Forwarded-Proto", "http")).await.status, 401);
    untrusted.stop().await;
}

#[on_both_stores]
async fn browsers_are_told_to_use_tls_where_the_public_url_does(store: StoreKind) {
    for (settings, wanted) in
        [(TRUSTED, Some("max-age=31536000")), ("public_url = 'http://localhost:8000'", None), ("", None)]
    {
        let server = Server::with(store, settings).await;
        for path in ["/api/v1/auth/session", "/user", "/api/v1/me", "/nothing"] {
            let reply = server.send(ask("GET", path)).await;
            assert_eq!(reply.header("strict-transport-security"), wanted, "{settings} {path}");
        }
        server.stop().await;
    }
}
