//! Those whose account strangers try to get into are not kept out of it.

use super::*;

const STRANGER: &str = "203.0.113.";
const BEHIND_A_PROXY: &str = "trusted_proxies = ['127.0.0.1']";

/// A request from an address behind the proxy.
fn from(address: &str, ask: TestRequest) -> TestRequest {
    ask.header("X-Forwarded-For", address)
}

fn in_browser(name: &str, password: &str) -> TestRequest {
    post("/auth/login").json(&json!({"username": name, "password": password}))
}

/// Strangers at many addresses fail until the name itself makes everybody wait.
async fn besiege(server: &Server) {
    for number in 0..25 {
        let reply = server.send(from(&format!("{STRANGER}{}", number / 4), login(BOB, WRONG))).await;
        assert_eq!(reply.status, 401, "{number}");
    }
}

#[on_both_stores]
async fn strangers_keep_no_owner_out(store: StoreKind) {
    let server = Server::with(store, BEHIND_A_PROXY).await;
    let known = server.send(from("192.0.2.1", in_browser(BOB, PASSWORD))).await.known_browser().expect("a cookie");
    let live = server.log_in(BOB).await;
    besiege(&server).await;
    let home = |ask| from("192.0.2.1", ask);
    assert_eq!(wait(&server.send(home(in_browser(BOB, PASSWORD))).await), 1, "a browser that is not known");

    assert_eq!(server.check(&live.token).await, 200);
    let body = json!({"current_password": PASSWORD, "new_password": "a completely different one"});
    let changed = server.send(home(post("/api/v1/auth/password").bearer(&live.token).json(&body))).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    for door in [in_browser, |name: &str, password: &str| {
        post("/api/v1/auth/login").json(&json!({"username": name, "password": password}))
    }] {
        let cookie = format!("x=y; _me_sess_known={known}");
        let ask = home(door(BOB, "a completely different one")).header("Cookie", &cookie);
        let reply = server.send(ask).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.known_browser().as_ref(), Some(&known), "it stays the same browser");
    }
    assert_eq!(wait(&server.send(home(in_browser(BOB, PASSWORD))).await), 1, "strangers wait on");
    server.stop().await;
}

#[on_both_stores]
async fn a_known_browser_has_a_count_of_its_own(store: StoreKind) {
    let server = Server::with(store, BEHIND_A_PROXY).await;
    let known = server.send(in_browser(BOB, PASSWORD)).await.known_browser().expect("a cookie");
    let with = |mark: &str, name: &str, password: &str| {
        in_browser(name, password).header("Cookie", &format!("_me_sess_known={mark}"))
    };
    for _ in 0..5 {
        assert_eq!(server.send(with(&known, BOB, WRONG)).await.status, 401);
    }
    assert_eq!(wait(&server.send(with(&known, BOB, PASSWORD)).await), 1);
    assert_eq!(server.send(in_browser(BOB, PASSWORD)).await.status, 200, "no other browser has to wait");
    // It is of no use for another account, nor is one that was made up.
    for mark in [known.clone(), format!("{}A", "x".repeat(42))] {
        server.forget_failures().await;
        for _ in 0..5 {
            assert_eq!(server.send(with(&mark, ALICE, WRONG)).await.status, 401);
        }
        assert_eq!(wait(&server.send(in_browser(ALICE, PASSWORD)).await), 1, "it was counted like a stranger's");
    }
    server.stop().await;
}

#[on_both_stores]
async fn people_who_share_a_browser_are_both_known_in_it(store: StoreKind) {
    let server = Server::with(store, BEHIND_A_PROXY).await;
    let with = |cookies: &str, ask: TestRequest| ask.header("Cookie", cookies);
    let bob = server.send(in_browser(BOB, PASSWORD)).await.known_browser().expect("a cookie");
    let both = format!("_me_sess_known={bob}");
    let both = server.send(with(&both, in_browser(ALICE, PASSWORD))).await.known_browser().expect("a cookie");
    assert_eq!(both.split('.').nth(1), Some(&*bob), "the newest is the first");
    besiege(&server).await;
    assert_eq!(wait(&server.send(in_browser(BOB, PASSWORD)).await), 1, "a browser that is not known");
    // Neither what a neighbouring host has set hides it, nor a browser's older cookies of other accounts.
    let forged = format!("_me_sess_known={}A; ", "x".repeat(42)).repeat(60);
    for cookies in [format!("_me_sess_known={both}"), format!("{forged}_me_sess_known={both}")] {
        let reply = server.send(with(&cookies, in_browser(BOB, PASSWORD))).await;
        assert_eq!(reply.status, 200);
        let marks = reply.known_browser().expect("a cookie");
        assert_eq!(marks.split('.').next(), Some(&*bob), "who has logged in last is the first");
        assert_eq!(marks.split('.').count(), 2, "{marks}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn of_those_who_share_a_browser_it_keeps_the_last_four(store: StoreKind) {
    let server = Server::with(store, BEHIND_A_PROXY).await;
    let alice = server.log_in(ALICE).await;
    let mut marks = String::from("x");
    let mut first = Vec::new();
    for number in 0..5 {
        let name = format!("user{number}");
        let new =
            post("/api/v1/admin/users").bearer(&alice.token).json(&json!({"username": name, "password": PASSWORD}));
        assert_eq!(server.send(new).await.status, 201);
        let login = in_browser(&name, PASSWORD).header("Cookie", &format!("_me_sess_known={marks}"));
        marks = server.send(login).await.known_browser().expect("a cookie");
        first.insert(0, marks.split('.').next().expect("one").to_owned());
    }
    first.truncate(4);
    assert_eq!(marks.split('.').collect::<Vec<_>>(), first);
    server.stop().await;
}

#[on_both_stores]
async fn the_cookie_of_a_known_browser_is_no_credential_and_only_cookie_logins_set_it(store: StoreKind) {
    for (settings, attributes) in [
        ("", "Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=31536000"),
        (
            "cookie_domain = 'example.com'\ncookie_samesite = 'strict'",
            "Domain=example.com; Path=/; HttpOnly; SameSite=Strict; Secure; Max-Age=31536000",
        ),
    ] {
        let server = Server::with(store, settings).await;
        for (number, door) in DOORS.into_iter().enumerate() {
            let reply = server.send(door(BOB, PASSWORD)).await;
            let known = reply.known_browser();
            assert_eq!(known.is_some(), [0, 2, 4].contains(&number), "{number}");
            let Some(known) = known else { continue };
            let line = reply.all("set-cookie").pop().expect("the last");
            let wanted = format!("_me_sess_known={known}; {attributes}");
            assert_eq!(crate::harness::attributes(line), crate::harness::attributes(&wanted));
            for ask in
                [get("/verify").cookie(&known), get("/verify").header("Cookie", &format!("_me_sess_known={known}"))]
            {
                assert_eq!(server.send(ask).await.status, 401);
            }
        }
        server.stop().await;
    }
    let server = Server::with(store, "cookie_name = '__Host-s'").await;
    let reply = server.send(in_browser(BOB, PASSWORD)).await;
    assert!(reply.all("set-cookie").iter().any(|line| line.starts_with("__Host-s_known=")), "{:?}", reply.headers);
    server.stop().await;
}

#[on_both_stores]
async fn a_login_from_elsewhere_frees_the_name_and_no_stranger(store: StoreKind) {
    let server = Server::with(store, BEHIND_A_PROXY).await;
    let stranger = || from("203.0.113.1", login(BOB, WRONG));
    for _ in 0..5 {
        assert_eq!(server.send(stranger()).await.status, 401);
    }
    assert_eq!(server.send(from("192.0.2.1", login(BOB, PASSWORD))).await.status, 200);
    assert_eq!(wait(&server.send(stranger()).await), 1);
    server.stop().await;
}
