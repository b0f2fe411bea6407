//! The second factor over the wire: set up, asked for at every door, used once, and removed.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use sessiond_needs::{needs, on_both_stores};

use crate::harness::authenticator::{
    Authenticator, SECOND_FACTOR, STEP, code, confirm, login_with_code as login, remove, start, texts,
};
use crate::harness::fleet::home_at;
use crate::harness::process::{Home, Process, finish};
use crate::harness::{ALICE, BOB, BOB_EMAIL, PASSWORD, Reply, Server, StoreKind, TestRequest, get, post};

const LOGIN: &str = "/api/v1/auth/login";
const RECOVERY_CODES: &str = "/api/v1/auth/second-factor/recovery-codes";

/// Every way to log in with a name and a password, and with a code where one is given.
fn doors(username: &str, code: Option<&str>) -> Vec<TestRequest> {
    let with = |mut body: Value, code: Option<&str>| {
        if let Some(code) = code {
            body["code"] = json!(code);
        }
        body
    };
    let header = |ask: TestRequest| match code {
        Some(code) => ask.header("X-2FA-Code", code),
        None => ask,
    };
    let plain = json!({"username": username, "password": PASSWORD});
    let user = json!({"user": username, "password": PASSWORD});
    let nested = json!({"user": {"username": username}, "password": PASSWORD});
    let password = PASSWORD.replace(' ', "+");
    let form = format!("username={username}&password={password}");
    let coded = code.map(|code| format!("&code={code}")).unwrap_or_default();
    let mut doors = vec![
        post(LOGIN).json(&with(plain.clone(), code)),
        post(LOGIN).json(&with(json!({"username": username, "password": PASSWORD, "transport": "token"}), code)),
        post(LOGIN).form(&format!("{form}{coded}")),
        post("/auth/login").json(&with(plain.clone(), code)),
        header(post("/api/auth/login").json(&plain)),
        post("/api/v1/login").json(&with(user.clone(), code)),
        post("/api/v1/login").form(&format!("user={username}&password={password}{coded}")),
        header(post("/api/v1/login").json(&nested)),
    ];
    if let Some(code) = code {
        doors.push(post("/api/v1/login").json(&json!({"totp": {"code": code, "login": nested}})));
    }
    doors
}

/// Whether an answer refuses for want of a code, in the words of its dialect, and gives nothing else.
fn assert_code_needed(ask: &TestRequest, reply: &Reply, wrong: bool) {
    assert_eq!(reply.status, 401, "{ask:?}: {}", reply.text());
    assert!(reply.all("set-cookie").is_empty(), "{ask:?}");
    let body = reply.json();
    let said = match ask.target.as_str() {
        LOGIN => json!([body["type"], body["detail"]]),
        "/api/v1/login" => json!([body["error"], body["message"]]),
        _ => body["error"]["message"].clone(),
    };
    let expected = match (ask.target.as_str(), wrong) {
        (LOGIN, false) => json!(["second_factor_required_error", "A code of the second factor is needed"]),
        (LOGIN, true) => json!(["second_factor_required_error", "The code is wrong"]),
        ("/api/v1/login", false) => json!(["totp-required", "TOTP Required"]),
        ("/api/v1/login", true) => json!(["totp-invalid", "TOTP Invalid"]),
        (_, false) => json!("code required"),
        (_, true) => json!("invalid code"),
    };
    assert_eq!(said, expected, "{ask:?}");
}

fn assert_canonical(reply: &Reply, status: u16, kind: &str) {
    assert_eq!((reply.status, reply.json()["type"].as_str()), (status, Some(kind)), "{}", reply.text());
    assert!(reply.all("set-cookie").is_empty());
}

/// A code that is right at no time near.
fn wrong_code(authenticator: &Authenticator, server: &Server) -> String {
    let near: Vec<_> =
        (0..5).map(|step| authenticator.code(server.now().before(STEP * 2).after(STEP * step))).collect();
    (0..).map(|number| format!("{number:06}")).find(|code| !near.contains(code)).expect("one of a million")
}

#[on_both_stores]
async fn no_door_opens_without_the_code_and_each_opens_with_it(store: StoreKind) {
    let server = Server::start(store).await;
    let other = server.log_in(BOB).await;
    let (authenticator, _) = server.set_up(&other.token).await;
    let live = server.log_in(ALICE).await.token;
    let wrong = wrong_code(&authenticator, &server);
    for (code, is_wrong) in [(None, false), (Some(wrong.as_str()), true), (Some(" "), false)] {
        for ask in doors(BOB, code) {
            // The session whose cookie came along is left alive.
            let ask = ask.cookie(&live);
            server.forgive().await;
            assert_code_needed(&ask, &server.send(ask.clone()).await, is_wrong);
        }
    }
    assert_eq!(server.check(&live).await, 200);
    for door in 0..doors(BOB, Some("")).len() {
        server.advance(STEP);
        let ask = doors(BOB, Some(&authenticator.code(server.now()))).swap_remove(door);
        let reply = server.send(ask.clone()).await;
        assert_eq!(reply.status, 200, "{ask:?}: {}", reply.text());
        assert_code_needed(&ask, &server.send(ask.clone()).await, true);
        server.forgive().await;
    }
    for ask in doors(ALICE, Some("123456")) {
        assert_eq!(server.send(ask.clone()).await.status, 200, "who has none is not asked: {ask:?}");
    }
    let wrong_password = json!({"username": BOB, "password": "wrong", "code": authenticator.code(server.now())});
    assert_canonical(&server.send(post(LOGIN).json(&wrong_password)).await, 401, "authentication_error");
    server.stop().await;
}

#[on_both_stores]
async fn a_resumed_session_is_asked_for_no_code(store: StoreKind) {
    let server = Server::start(store).await;
    let (_, token) = server.set_up(&server.log_in(BOB).await.token).await;
    let resumed = server.send(post("/api/v1/login").json(&json!({"resume": token}))).await;
    assert_eq!(resumed.status, 200);
    server.stop().await;
}

#[on_both_stores]
async fn confirming_ends_the_other_sessions_and_uses_its_code_up(store: StoreKind) {
    let server = Server::start(store).await;
    let (mine, other) = (server.log_in(BOB).await, server.log_in(BOB).await);
    let alice = server.log_in(ALICE).await.token;
    let started = server.send(start(None).bearer(&mine.token)).await;
    let body = started.json();
    let secret = body["secret"].as_str().expect("a secret");
    let uri = format!("otpauth://totp/sessiond:bob?secret={secret}&issuer=sessiond&algorithm=SHA1&digits=6&period=30");
    assert_eq!(body["uri"], json!(uri));
    assert_eq!(server.send(login(BOB, "")).await.status, 200, "what is not confirmed asks for nothing");

    let right = code(secret, server.now());
    for wrong in ["", "12345", "abcdef", "AB2C-D3EF-4GHJ", &code(secret, server.now().after(STEP * 2))] {
        let refused = server.send(confirm(&body["enrolment"], wrong).bearer(&mine.token)).await;
        assert_canonical(&refused, 401, "second_factor_required_error");
        server.forgive().await;
    }
    let number =
        post(&format!("{SECOND_FACTOR}/confirm")).json(&json!({"enrolment": body["enrolment"], "code": 123456}));
    assert_canonical(&server.send(number.bearer(&mine.token)).await, 422, "validation_error");
    let spaced = format!("{} {}", &right[..3], &right[3..]);
    let confirmed = server.send(confirm(&body["enrolment"], &spaced).bearer(&mine.token)).await;
    assert_eq!((confirmed.status, &confirmed.json()["revoked"]), (200, &json!(2)));
    assert!(confirmed.all("set-cookie").is_empty(), "it came in a header");
    let token = confirmed.json()["token"].as_str().expect("a token").to_owned();
    let checks = [&mine.token, &other.token, &alice, &token];
    assert_eq!(join_all(checks.map(|token| server.check(token))).await, [401, 401, 200, 200]);
    assert_canonical(&server.send(login(BOB, &right)).await, 401, "second_factor_required_error");

    let codes = texts(&confirmed, "recovery_codes");
    let different: std::collections::BTreeSet<_> = codes.iter().collect();
    assert_eq!(different.len(), 10);
    for shown in ["/api/v1/auth/session", "/api/v1/auth/sessions", "/api/v1/me", "/user"] {
        let text = server.send(get(shown).bearer(&token)).await.text();
        assert!(!text.contains(secret) && !codes.iter().any(|code| text.contains(code)), "{shown}: {text}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn by_cookie_the_session_goes_on_under_a_new_cookie(store: StoreKind) {
    let server = Server::start(store).await;
    let old = server.send(post(LOGIN).json(&json!({"username": BOB, "password": PASSWORD}))).await;
    let old = old.cookie().expect("a cookie");
    let started = server.send(start(None).cookie(&old)).await.json();
    let secret = started["secret"].as_str().expect("a secret");
    let confirmed = server.send(confirm(&started["enrolment"], &code(secret, server.now())).cookie(&old)).await;
    let new = confirmed.cookie().expect("a cookie");
    assert_eq!(confirmed.json().get("token"), None);
    assert_eq!([server.check(&old).await, server.check(&new).await], [401, 200]);
    server.advance(STEP);
    let removed = server.send(remove(PASSWORD, &code(secret, server.now())).cookie(&new)).await;
    assert_eq!((removed.status, removed.json()), (200, json!({"revoked": 0})));
    let last = removed.cookie().expect("a cookie");
    assert_eq!([server.check(&new).await, server.check(&last).await], [401, 200]);
    server.stop().await;
}

#[on_both_stores]
async fn another_start_replaces_what_is_pending_and_never_what_works(store: StoreKind) {
    let server = Server::start(store).await;
    let (old, token) = server.set_up(&server.log_in(BOB).await.token).await;
    assert_canonical(&server.send(start(None).bearer(&token)).await, 401, "second_factor_required_error");
    let wrong = wrong_code(&old, &server);
    assert_canonical(&server.send(start(Some(&wrong)).bearer(&token)).await, 401, "second_factor_required_error");
    let thief = post(SECOND_FACTOR).json(&json!({"current_password": "wrong", "code": old.code(server.now())}));
    assert_canonical(&server.send(thief.bearer(&token)).await, 401, "authentication_error");

    let first = server.send(start(Some(&old.code(server.now()))).bearer(&token)).await;
    assert_eq!(first.status, 200, "the code was not used up by who did not know the password");
    let second = server.send(start(Some(&old.recovery[0])).bearer(&token)).await;
    let (first, second) = (first.json(), second.json());
    let code_of = |started: &Value| code(started["secret"].as_str().expect("a secret"), server.now());
    let replaced = server.send(confirm(&first["enrolment"], &code_of(&first)).bearer(&token)).await;
    assert_canonical(&replaced, 409, "already_exists_error");
    let mixed = server.send(confirm(&second["enrolment"], &code_of(&first)).bearer(&token)).await;
    assert_canonical(&mixed, 401, "second_factor_required_error");
    server.advance(STEP);
    assert_eq!(server.send(login(BOB, &old.code(server.now()))).await.status, 200, "the old one works");

    server.advance(Duration::from_mins(10));
    let late = server.send(confirm(&second["enrolment"], &code_of(&second)).bearer(&token)).await;
    assert_canonical(&late, 409, "already_exists_error");
    let third = server.send(start(Some(&old.code(server.now()))).bearer(&token)).await.json();
    let confirmed = server.send(confirm(&third["enrolment"], &code_of(&third)).bearer(&token)).await;
    assert_eq!((confirmed.status, &confirmed.json()["revoked"]), (200, &json!(1)));
    server.advance(STEP);
    for (ask, status) in [
        (login(BOB, &old.code(server.now())), 401),
        (login(BOB, &old.recovery[1]), 401),
        (login(BOB, &code_of(&third)), 200),
    ] {
        assert_eq!(server.send(ask).await.status, status);
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_code_is_right_within_one_step_once_and_in_rising_order(store: StoreKind) {
    let server = Server::start(store).await;
    let (authenticator, _) = server.set_up(&server.log_in(BOB).await.token).await;
    server.advance(STEP * 10);
    let at = |drift: i32| {
        let now = server.now();
        let moved = STEP * drift.unsigned_abs();
        authenticator.code(if drift < 0 { now.before(moved) } else { now.after(moved) })
    };
    for (drift, status) in
        [(-2, 401), (2, 401), (-1, 200), (-1, 401), (0, 200), (-1, 401), (1, 200), (0, 401), (1, 401)]
    {
        assert_eq!(server.send(login(BOB, &at(drift))).await.status, status, "{drift}");
        server.forgive().await;
    }
    for odd in [json!(123_456), json!(null), json!(["123456"])] {
        let body = json!({"username": BOB, "password": PASSWORD, "code": odd});
        assert_canonical(&server.send(post(LOGIN).json(&body)).await, 422, "validation_error");
        assert_eq!(server.send(post("/auth/login").json(&body)).await.status, 400);
        assert_eq!(server.send(post("/api/v1/login").json(&body)).await.status, 401);
    }
    for odd in ["\u{661}\u{662}\u{663}\u{664}\u{665}\u{666}", "0x1234", "１２３４５６", &"1".repeat(2000)] {
        assert_canonical(&server.send(login(BOB, odd)).await, 401, "second_factor_required_error");
        server.forgive().await;
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_recovery_code_is_good_once_and_a_new_set_ends_the_old(store: StoreKind) {
    let server = Server::start(store).await;
    let (authenticator, token) = server.set_up(&server.log_in(BOB).await.token).await;
    let typed = format!(" {} ", authenticator.recovery[0].to_lowercase().replace('-', " "));
    assert_eq!(server.send(login(BOB, &typed)).await.status, 200);
    assert_eq!(server.send(login(BOB, &authenticator.recovery[0])).await.status, 401, "once");
    let at_once = join_all((0..10).map(|_| server.send(login(BOB, &authenticator.recovery[1])))).await;
    assert_eq!(at_once.iter().filter(|reply| reply.status == 200).count(), 1);
    server.forgive().await;

    let renew = |password: &str, code: &str| {
        post(RECOVERY_CODES).json(&json!({"current_password": password, "code": code})).bearer(&token)
    };
    let code = authenticator.code(server.now());
    assert_canonical(&server.send(renew("wrong", &code)).await, 401, "authentication_error");
    assert_canonical(&server.send(renew(PASSWORD, "123")).await, 401, "second_factor_required_error");
    let renewed = server.send(renew(PASSWORD, &code)).await;
    assert_eq!(renewed.status, 200);
    let codes = texts(&renewed, "recovery_codes");
    assert_canonical(&server.send(renew(PASSWORD, &code)).await, 401, "second_factor_required_error");
    server.forgive().await;
    assert_eq!(server.send(login(BOB, &authenticator.recovery[2])).await.status, 401, "the old set");
    assert_eq!(server.send(login(BOB, &codes[9])).await.status, 200);
    let used = "SELECT count(*) FROM events WHERE kind = 'recovery_code_used' AND session_id IS NOT NULL";
    assert_eq!(server.database.number(used).await, 3);
    let alice = server.log_in(ALICE).await.token;
    let none = post(RECOVERY_CODES).json(&json!({"current_password": PASSWORD, "code": "123456"})).bearer(&alice);
    assert_canonical(&server.send(none).await, 404, "not_found_error");
    server.stop().await;
}

#[on_both_stores]
async fn nobody_changes_a_one_time_password_without_the_second_factor(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    let (authenticator, _) = server.set_up(&bob.token).await;
    let reset = post(&format!("/api/v1/admin/users/{}/password", bob.user)).bearer(&alice.token);
    let one_time = server.send(reset).await.json()["one_time_password"].as_str().expect("a password").to_owned();
    let change = |new: &str, code: &str| {
        post(LOGIN).json(&json!({"username": BOB, "password": one_time, "new_password": new, "code": code}))
    };
    let wrong = wrong_code(&authenticator, &server);
    // A recovery code is well formed, and judged where it is used up.
    for wrong in [wrong.as_str(), "ZZZZ-ZZZZ-ZZZZ"] {
        let refused = server.send(change("what a thief would set", wrong)).await;
        assert_canonical(&refused, 401, "second_factor_required_error");
    }
    assert_eq!(server.database.number("SELECT count(*) FROM events WHERE kind = 'password_changed'").await, 0);
    let changed = server.send(change(PASSWORD, &authenticator.recovery[0])).await;
    assert_eq!(changed.status, 200, "the one-time password is still good: {}", changed.text());
    assert_canonical(&server.send(login(BOB, &authenticator.recovery[0])).await, 401, "second_factor_required_error");
    assert_eq!(server.send(login(BOB, &authenticator.code(server.now()))).await.status, 200);
    let used = "SELECT count(*) FROM events WHERE kind = 'recovery_code_used'";
    assert_eq!(server.database.number(used).await, 1);
    server.stop().await;
}

#[on_both_stores]
async fn it_is_removed_with_password_and_code_and_ends_the_other_sessions(store: StoreKind) {
    let server = Server::start(store).await;
    let (authenticator, token) = server.set_up(&server.log_in(BOB).await.token).await;
    let other = server.send(login(BOB, &authenticator.code(server.now()))).await.json()["token"].clone();
    server.advance(STEP);
    let code = authenticator.code(server.now());
    for (password, code, kind) in [
        ("wrong", code.as_str(), "authentication_error"),
        (PASSWORD, "", "second_factor_required_error"),
        (PASSWORD, "654 32", "second_factor_required_error"),
    ] {
        assert_canonical(&server.send(remove(password, code).bearer(&token)).await, 401, kind);
    }
    let removed = server.send(remove(PASSWORD, &authenticator.recovery[4]).bearer(&token)).await;
    assert_eq!((removed.status, &removed.json()["revoked"]), (200, &json!(1)));
    let token = removed.json()["token"].as_str().expect("a token").to_owned();
    let checks = [server.check(&token).await, server.check(other.as_str().expect("a token")).await];
    assert_eq!(checks, [200, 401]);
    assert_canonical(&server.send(remove(PASSWORD, &code).bearer(&token)).await, 404, "not_found_error");
    server.log_in(BOB).await;
    let kinds = "SELECT kind FROM events WHERE kind LIKE 'second_factor%' ORDER BY number";
    let kinds = server.database.rows(kinds).await.into_iter().flatten().flatten().collect::<Vec<_>>();
    assert_eq!(kinds, ["second_factor_started", "second_factor_set", "second_factor_removed"]);
    server.stop().await;
}

#[on_both_stores]
async fn a_wrong_code_is_in_the_audit_and_no_code_is(store: StoreKind) {
    let server = Server::start(store).await;
    let (authenticator, _) = server.set_up(&server.log_in(BOB).await.token).await;
    let wrong = wrong_code(&authenticator, &server);
    server.send(login(BOB, &wrong)).await;
    server.send(post(LOGIN).json(&json!({"username": BOB, "password": PASSWORD}))).await;
    let refused = "SELECT name, detail FROM events WHERE kind = 'login_failed'";
    assert_eq!(server.database.rows(refused).await, [[Some(BOB.to_owned()), Some(String::from("code"))]]);
    for (name, contents) in server.database.contents().await {
        for secret in [&authenticator.secret, &authenticator.recovery[0], &authenticator.recovery[0].replace('-', "")] {
            let found = contents.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{name} holds {secret}");
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn an_operator_removes_it_and_every_session_ends(store: StoreKind) {
    let home = Home::new(store);
    let server = home.serve().await;
    let token = server.log_in(ALICE).await.token;
    let (_, token) = server.set_up(&token).await;
    assert_eq!(server.send(post(LOGIN).json(&json!({"username": ALICE, "password": PASSWORD}))).await.status, 401);
    let reset = home.run(&["user", "reset-second-factor", ALICE]).await.done().unwrap();
    assert_eq!(reset, "second factor removed, 1 sessions ended\n");
    assert_eq!(server.check(&token).await, 401);
    server.log_in(ALICE).await;
    let again = home.run(&["user", "reset-second-factor", ALICE]).await.refused().unwrap();
    assert!(again.contains("`alice` has no second factor"), "{again}");
    let actor = "SELECT actor FROM events WHERE kind = 'second_factor_removed'";
    assert_eq!(home.database.rows(actor).await, [[Some(String::from("cli"))]]);
}

#[on_both_stores]
async fn without_the_key_no_server_starts_and_with_it_the_codes_go_on(store: StoreKind) {
    let home = Home::new(store);
    let (key, other) = (home.dir.path().join("key"), home.dir.path().join("other"));
    std::fs::write(&key, "0123456789abcdef".repeat(4)).expect("written");
    std::fs::write(&other, "fedcba9876543210".repeat(4)).expect("written");
    let server = |file: Option<&std::path::Path>| {
        let mut command = home.server();
        if let Some(file) = file {
            command.env("SESSIOND_SECRET_KEY_FILE", file);
        }
        command
    };
    let first = Process::start(server(Some(&key))).await;
    let (authenticator, _) = first.set_up(&first.log_in(ALICE).await.token).await;
    first.stop().await;
    for missing in [None, Some(other.as_path())] {
        let refused = finish(server(missing), "").await.refused().unwrap();
        assert!(refused.contains("set secret_key_file") && refused.contains("reset-second-factor"), "{refused}");
    }
    let again = Process::start(server(Some(&key))).await;
    assert_eq!(again.send(post(LOGIN).json(&json!({"username": ALICE, "password": PASSWORD}))).await.status, 401);
    assert_eq!(again.send(login(ALICE, &authenticator.next())).await.status, 200);
    again.stop().await;
    home.run(&["user", "reset-second-factor", ALICE]).await.done().unwrap();
    Process::start(server(Some(&other))).await.log_in(ALICE).await;
}

#[needs(postgres)]
#[tokio::test]
async fn of_many_logins_with_one_code_on_two_replicas_one_succeeds() {
    let home = Home::new(StoreKind::Postgres);
    let one = home.serve().await;
    let beside = home_at(&home.database.url());
    let two = beside.serve().await;
    let (authenticator, _) = one.set_up(&one.log_in(ALICE).await.token).await;
    for (code, times) in [(authenticator.next(), 20), (authenticator.recovery[0].clone(), 20)]
        .into_iter()
        .chain(authenticator.recovery[1..].iter().map(|code| (code.clone(), 2)))
    {
        home.database.execute("DELETE FROM throttles").await;
        let servers = [&one, &two].into_iter().cycle();
        let replies = join_all(servers.take(times).map(|server| server.send(login(ALICE, &code)))).await;
        let statuses: Vec<_> = replies.iter().map(|reply| reply.status).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| [200, 401, 429].contains(status)), "{statuses:?}");
    }
}

#[on_both_stores]
async fn wrong_codes_are_counted_by_user_and_a_right_password_resets_nothing(store: StoreKind) {
    let server = Server::start(store).await;
    let (authenticator, token) = server.set_up(&server.log_in(BOB).await.token).await;
    let wrong = wrong_code(&authenticator, &server);
    let codeless = || post(LOGIN).json(&json!({"username": BOB, "password": PASSWORD}));
    // By name and by address, each a login of its own, and through a session: one count.
    for name in [BOB, BOB_EMAIL, BOB, BOB_EMAIL] {
        assert_canonical(&server.send(login(name, &wrong)).await, 401, "second_factor_required_error");
        assert_canonical(&server.send(codeless()).await, 401, "second_factor_required_error");
    }
    assert_canonical(
        &server.send(remove(PASSWORD, "234567").bearer(&token)).await,
        401,
        "second_factor_required_error",
    );
    let right = authenticator.code(server.now());
    for ask in [
        login(BOB, &right),
        login(BOB, &authenticator.recovery[0]),
        start(Some(&right)).bearer(&token),
        remove(PASSWORD, &right).bearer(&token),
    ] {
        let refused = server.send(ask).await;
        assert_canonical(&refused, 429, "rate_limit_error");
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    assert_eq!(server.check(&token).await, 200, "the owner's session goes on");
    server.advance(Duration::from_secs(1));
    assert_eq!(server.send(login(BOB, &right)).await.status, 200, "tries during a wait changed nothing");
    server.advance(STEP);
    for _ in 0..4 {
        assert_eq!(server.send(login(BOB, &wrong_code(&authenticator, &server))).await.status, 401, "a login resets");
    }
    server.stop().await;
}

#[needs(oathtool)]
#[tokio::test]
async fn the_codes_of_another_authenticator_are_the_right_ones() {
    let server = Server::start(StoreKind::Sqlite).await;
    let (authenticator, _) = server.set_up(&server.log_in(BOB).await.token).await;
    for _ in 0..20 {
        server.advance(STEP);
        let at = format!("@{}", server.now().seconds());
        let told = std::process::Command::new("oathtool")
            .args(["--totp", "--base32", "--now", &at, &authenticator.secret])
            .output()
            .expect("it runs");
        let told = String::from_utf8(told.stdout).expect("text");
        assert_eq!(told.trim(), authenticator.code(server.now()));
        assert_eq!(server.send(login(BOB, told.trim())).await.status, 200, "{told}");
    }
    server.stop().await;
}
