//! Several cookies of one name: what a browser sends, which of them counts, and what it keeps after a login or a logout.

use serde_json::json;
use sessiond_needs::on_both_stores;

use crate::harness::{ALICE, BOB, PASSWORD, Reply, Server, StoreKind, TestRequest, ask, get, post};

const LOGINS: [&str; 3] = ["/auth/login", "/api/auth/login", "/api/v1/auth/login"];
const LOGOUTS: [&str; 4] = ["/auth/logout", "/api/auth/logout", "/api/v1/logout", "/api/v1/auth/logout"];
const HOST: &str = "login.app.example.com";

/// The cookies of a browser that is at [`HOST`], as RFC 6265 has it keep and send them.
#[derive(Clone, Default)]
struct Browser(Vec<Cookie>);

/// A cookie: where it is sent, and what.
#[derive(Clone, Debug)]
struct Cookie {
    domain: Option<String>,
    path: String,
    value: String,
}

impl Browser {
    /// Keeps a cookie in place of the one with the same domain and path.
    fn keep(&mut self, domain: Option<&str>, path: &str, value: &str) {
        let domain = domain.map(str::to_owned);
        self.0.retain(|cookie| (&cookie.domain, cookie.path.as_str()) != (&domain, path));
        self.0.push(Cookie { domain, path: path.into(), value: value.into() });
    }

    /// The values that it sends to a path, longer paths first.
    fn sent(&self, path: &str) -> Vec<&str> {
        let matches = |cookie: &&Cookie| {
            let rest = path.strip_prefix(cookie.path.as_str());
            rest.is_some_and(|rest| rest.is_empty() || cookie.path.ends_with('/') || rest.starts_with('/'))
        };
        let mut sent: Vec<_> = self.0.iter().filter(matches).collect();
        sent.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        sent.into_iter().map(|cookie| cookie.value.as_str()).collect()
    }

    /// Sends a request, and applies the cookies of the answer as a browser does.
    async fn send(&mut self, server: &Server, ask: TestRequest) -> Reply {
        let path = ask.target.split('?').next().unwrap_or_default();
        let sent: Vec<_> = self.sent(path).into_iter().map(|value| format!("_me_sess={value}")).collect();
        let ask = ask.header("Host", HOST);
        let reply = server.send(if sent.is_empty() { ask } else { ask.header("Cookie", &sent.join("; ")) }).await;
        for line in reply.session_cookies() {
            let mut parts = line.split("; ");
            let value = parts.next().and_then(|pair| pair.strip_prefix("_me_sess=")).expect("our cookie");
            let attribute = |name: &str| line.split("; ").find_map(|part| part.strip_prefix(name));
            assert!(["HttpOnly", "Secure", "SameSite=Lax"].iter().all(|one| line.contains(one)), "{line}");
            self.keep(attribute("Domain="), attribute("Path=").expect("a path"), value);
            if value.is_empty() {
                assert!(attribute("Max-Age=") == Some("0") && attribute("Expires=").is_some(), "{line}");
                self.0.pop();
            }
        }
        let head: usize = reply.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        assert!(head < 4000, "a proxy that keeps 4 KiB for the head of an answer would refuse {head} bytes");
        reply
    }
}

fn login(path: &str) -> TestRequest {
    post(path).json(&json!({"username": BOB, "password": PASSWORD}))
}

fn logged_out(status: u16) -> bool {
    matches!(status, 200 | 204)
}

#[on_both_stores]
async fn a_stale_cookie_locks_no_user_out_whatever_its_path(store: StoreKind) {
    for setting in ["", "cache = 'off'", "cookie_domain = 'example.com'"] {
        let server = Server::with(store, setting).await;
        let stale = server.log_in(ALICE).await.token;
        server.send(post("/auth/logout").bearer(&stale)).await;
        for (domain, path) in [
            (None, "/api"),
            (None, "/api/"),
            (None, "/api/v1/auth"),
            (None, "/api/v1/auth/session"),
            (Some("example.com"), "/"),
            (Some("app.example.com"), "/api/v1"),
            (Some(HOST), "/verify"),
        ] {
            for value in [&*stale, "junk", ""] {
                let what = format!("{setting} {domain:?} {path} {value:?}");
                let mut browser = Browser::default();
                browser.keep(domain, path, value);
                assert_eq!(browser.send(&server, login("/auth/login")).await.status, 200, "{what}");
                for route in ["/user", "/api/user", "/api/v1/me", "/api/v1/auth/session", "/verify"] {
                    assert_eq!(browser.send(&server, get(route)).await.status, 200, "{what}: {route}");
                }
                let name = browser.send(&server, get("/verify")).await;
                assert_eq!(name.header("remote-user"), Some(BOB), "{what}");
                let reply = browser.send(&server, post("/api/v1/auth/logout")).await;
                assert_eq!(reply.status, 200, "{what}: {}", reply.text());
                assert_eq!(browser.send(&server, get("/user")).await.status, 401, "{what}");
            }
        }
        server.stop().await;
    }
}

/// Wherever a cookie may lie that is sent to a path.
fn places(path: &str) -> Vec<(Option<&'static str>, &str)> {
    let root = [None, Some(HOST), Some("app.example.com"), Some("example.com")].map(|domain| (domain, "/"));
    let ends = path.match_indices('/').flat_map(|(at, _)| [at, at + 1]).chain([path.len()]);
    let here = ends.filter(|end| *end > 1).map(|end| (None, path.split_at(end).0));
    root.into_iter().chain(here).collect()
}

#[on_both_stores]
async fn a_logout_ends_every_session_that_the_browser_presents_and_clears_every_cookie(store: StoreKind) {
    let server = Server::start(store).await;
    let stays = server.log_in(BOB).await;
    for path in LOGOUTS {
        let places = places(path);
        for (place, other) in places.iter().zip(places.iter().cycle().skip(1)) {
            let (bob, alice) = (server.log_in(BOB).await, server.log_in(ALICE).await);
            let mut browser = Browser::default();
            browser.keep(Some("example.com"), "/", "junk");
            browser.keep(place.0, place.1, &bob.token);
            browser.keep(other.0, other.1, &alice.token);
            let what = format!("{path}: {place:?} {other:?}");
            let reply = browser.send(&server, post(path)).await;
            assert!(logged_out(reply.status), "{what}: {} {}", reply.status, reply.text());
            assert_eq!([server.check(&bob.token).await, server.check(&alice.token).await], [401, 401], "{what}");
            assert_eq!(browser.sent(path), [""; 0], "{what}: {:?}", reply.all("set-cookie"));
        }
    }
    assert_eq!(server.check(&stays.token).await, 200);
    server.stop().await;
}

#[on_both_stores]
async fn a_login_ends_every_session_that_the_browser_presents_and_sets_one_cookie(store: StoreKind) {
    for setting in ["", "cookie_domain = 'example.com'"] {
        let server = Server::with(store, setting).await;
        let stays = server.log_in(BOB).await;
        for path in LOGINS {
            for place in places(path).into_iter().skip(1) {
                let (bob, alice) = (server.log_in(BOB).await, server.log_in(ALICE).await);
                let mut browser = Browser::default();
                browser.keep(Some("app.example.com"), "/", "junk");
                browser.keep(None, "/", &alice.token);
                browser.keep(place.0, place.1, &bob.token);
                let what = format!("{setting} {path}: {place:?}");
                let reply = browser.send(&server, login(path)).await;
                assert_eq!(reply.status, 200, "{what}: {}", reply.text());
                let new = reply.cookie().expect("a cookie");
                assert_eq!(browser.sent(path), [&new], "{what}: {:?}", reply.all("set-cookie"));
                assert_eq!([server.check(&bob.token).await, server.check(&alice.token).await], [401, 401], "{what}");
                assert_eq!(browser.send(&server, get("/api/v1/me")).await.status, 200, "{what}");
            }
        }
        assert_eq!(server.check(&stays.token).await, 200);
        server.stop().await;
    }
}

#[on_both_stores]
async fn of_more_than_four_that_are_ours_four_are_ended_and_all_are_cleared(store: StoreKind) {
    let server = Server::start(store).await;
    for path in LOGOUTS.into_iter().chain(LOGINS) {
        let mut browser = Browser::default();
        let mut tokens = Vec::new();
        for place in places(path).into_iter().take(6) {
            let token = server.log_in(BOB).await.token;
            browser.keep(place.0, place.1, &token);
            tokens.push(token);
        }
        let sent: Vec<String> = browser.sent(path).into_iter().map(str::to_owned).collect();
        assert!(sent.len() > 4, "{path}");
        let answers = browser.clone().send(&server, get("/verify")).await.status;
        assert_eq!(answers, if browser.sent("/verify").len() > 1 { 401 } else { 200 });
        let ask = if LOGINS.contains(&path) { login(path) } else { post(path) };
        let reply = browser.send(&server, ask).await;
        assert_eq!(reply.status, if LOGINS.contains(&path) { 200 } else { 401 }, "{path}");
        let (first, last) = sent.split_at(sent.len() - 4);
        for token in last {
            assert_eq!(server.check(token).await, 401, "{path}");
        }
        for token in first {
            assert_eq!(server.check(token).await, 200, "{path}: four at most");
            server.send(post("/auth/logout").bearer(token)).await;
        }
        assert_eq!(browser.sent(path).len(), usize::from(LOGINS.contains(&path)), "{path}");
        assert_eq!(browser.send(&server, login("/auth/login")).await.status, 200, "no user is locked out for good");
        assert_eq!(browser.send(&server, get("/verify")).await.status, 200);
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_refused_logout_clears_every_cookie_that_came(store: StoreKind) {
    let server = Server::start(store).await;
    let stale = server.log_in(BOB).await.token;
    server.send(post("/auth/logout").bearer(&stale)).await;
    for path in LOGOUTS {
        for place in places(path) {
            let mut browser = Browser::default();
            browser.keep(None, "/", "junk");
            browser.keep(place.0, place.1, &stale);
            let reply = browser.send(&server, post(path)).await;
            // A single one is taken for ours.
            assert_eq!((reply.status, browser.sent(path).len()), (401, 0), "{path} {place:?}");
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn whatever_ends_one_of_the_sessions_that_the_cookies_stand_for_clears_them(store: StoreKind) {
    let server = Server::start(store).await;
    let id = server.log_in(BOB).await.user;
    for (method, target) in [
        ("POST", "/api/v1/users.logout"),
        ("POST", "/api/v1/sessions/logout.me"),
        ("DELETE", "/api/v1/auth/sessions?scope=all"),
        ("DELETE", "/api/v1/auth/sessions/{id}"),
    ] {
        for by_header in [false, true] {
            let (bob, alice) = (server.log_in(BOB).await, server.log_in(ALICE).await);
            let mut browser = Browser::default();
            browser.keep(None, "/", &bob.token);
            browser.keep(None, "/api", if by_header { &alice.token } else { "junk" });
            let mut asked = ask(method, &target.replace("{id}", &bob.session));
            if target.ends_with("logout.me") {
                asked = asked.json(&json!({"sessionId": bob.session}));
            }
            let asked = if by_header { asked.pair(&id, &bob.token) } else { asked };
            let reply = browser.send(&server, asked).await;
            assert_eq!(reply.status, 200, "{target}: {}", reply.text());
            assert_eq!(browser.sent("/api"), [""; 0], "{target} {by_header}: {:?}", reply.all("set-cookie"));
            assert_eq!((server.check(&bob.token).await, server.check(&alice.token).await), (401, 200), "{target}");
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_logout_by_header_keeps_cookies_that_stand_for_other_sessions(store: StoreKind) {
    let server = Server::start(store).await;
    for path in LOGOUTS {
        let [mine, one, two] = [server.log_in(BOB).await, server.log_in(BOB).await, server.log_in(ALICE).await];
        let values =
            |values: &[&str]| values.iter().map(|value| format!("_me_sess={value}")).collect::<Vec<_>>().join("; ");
        for (cookies, written) in [
            (values(&[&one.token, "junk"]), false),
            (values(&[&one.token, &two.token]), false),
            (values(&["x", "y"]), true),
        ] {
            let mine = server.log_in(BOB).await;
            let reply = server.send(post(path).bearer(&mine.token).header("Cookie", &cookies)).await;
            assert!(logged_out(reply.status), "{path}");
            assert_eq!(!reply.all("set-cookie").is_empty(), written, "{path}: {cookies}");
            assert_eq!(server.check(&mine.token).await, 401);
        }
        let both = values(&[&mine.token, &one.token]);
        let reply = server.send(post(path).bearer(&mine.token).header("Cookie", &both)).await;
        assert!(logged_out(reply.status) && !reply.all("set-cookie").is_empty(), "{path}: one of them ended");
        assert_eq!([server.check(&one.token).await, server.check(&two.token).await], [200, 200], "{path}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_cookie_that_cannot_be_looked_up_is_no_reason_to_answer_that_all_ended(store: StoreKind) {
    let server = Server::start(store).await;
    let (mine, unreadable) = (server.log_in(BOB).await, server.log_in(BOB).await);
    let spoil = format!("UPDATE sessions SET id = 'spoilt' WHERE id = '{}'", unreadable.session);
    server.database.execute(&spoil).await;
    let server = server.restart("").await;
    let cookies = format!("_me_sess={}; _me_sess={}", mine.token, unreadable.token);
    for path in ["/user", "/api/v1/me", "/api/v1/auth/session", "/verify"] {
        let status = server.send(get(path).header("Cookie", &cookies)).await.status;
        assert!(matches!(status, 500 | 503), "{path}: {status}");
    }
    for path in LOGOUTS {
        let reply = server.send(post(path).header("Cookie", &cookies)).await;
        assert_eq!((reply.status, reply.all("set-cookie").len()), (500, 0), "{path}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_body_is_read_only_for_those_who_may_log_out_with_one_of_their_cookies(store: StoreKind) {
    let server = Server::start(store).await;
    let (bob, alice) = (server.log_in(BOB).await, server.log_in(ALICE).await);
    let large = vec![b'x'; 9000];
    let logout = |cookies: &str| post("/auth/logout").body("text/plain", &large).header("Cookie", cookies);
    let both = format!("_me_sess={}; _me_sess={}", bob.token, alice.token);
    let reply = server.send(logout(&both)).await;
    assert_eq!((reply.status, reply.all("set-cookie").len()), (413, 0));
    assert_eq!((server.check(&bob.token).await, server.check(&alice.token).await), (200, 200));
    let reply = server.send(logout("_me_sess=x; _me_sess=y")).await;
    assert_eq!((reply.status, reply.all("set-cookie").is_empty()), (401, false));
    server.stop().await;
}
