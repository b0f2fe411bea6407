//! One's own password: what a change of it ends, and the new token that the session goes on under.

use serde_json::json;
use sessiond_needs::on_both_stores;

use super::*;
use crate::harness::StoreKind;

/// The token in an answer's body.
fn token_of(reply: &Reply) -> String {
    reply.json()["token"].as_str().unwrap_or_else(|| panic!("no token: {}", reply.text())).to_owned()
}

/// The session that a token stands for, as it is shown to itself, without when it was last seen.
async fn shown(server: &Server, token: &str) -> Value {
    let mut shown = server.send(get(SESSION).bearer(token)).await.json()["session"].take();
    shown["last_seen_at"] = Value::Null;
    shown["idle_expires_at"] = Value::Null;
    shown
}

#[on_both_stores]
async fn a_new_password_ends_every_other_session_and_gives_this_one_a_new_token(store: StoreKind) {
    let server = Server::start(store).await;
    let mine = server.log_in(BOB).await;
    let (one, two, alice) = (server.log_in(BOB).await, server.log_in(BOB).await, server.log_in(ALICE).await);
    let before = shown(&server, &mine.token).await;
    server.advance(HOUR);

    let reply = server.send(change(PASSWORD, NEW).bearer(&mine.token)).await;
    let token = token_of(&reply);
    assert_answer(&reply, 200, &json!({"revoked": 2, "token": token}));
    assert!(reply.all("set-cookie").is_empty(), "it came in a header");
    assert_ne!(token, mine.token);
    assert_eq!(alive(&server, &[&mine, &one, &two, &alice]).await, [false, false, false, true]);
    assert_eq!(shown(&server, &token).await, before, "the session itself goes on");
    assert_eq!(listed(&server, &token, "").await.0, [&*mine.session]);

    assert_unauthenticated(&server.send(login(BOB, PASSWORD)).await);
    assert_eq!(server.send(login(BOB, NEW)).await.status, 200);
    assert_eq!(server.send(login(ALICE, PASSWORD)).await.status, 200, "no other user's changed");
    let by_pair = server.send(change(NEW, PASSWORD).pair(&mine.user, &token)).await;
    assert_answer(&by_pair, 200, &json!({"revoked": 1, "token": token_of(&by_pair)}));
    server.stop().await;
}

#[on_both_stores]
async fn by_cookie_the_new_token_comes_in_the_cookie_only(store: StoreKind) {
    let server = Server::start(store).await;
    for (remember, current, next) in [(false, PASSWORD, NEW), (true, NEW, PASSWORD)] {
        let credentials = json!({"username": BOB, "password": current, "remember": remember});
        let old = server.send(post(LOGIN).json(&credentials)).await.cookie().expect("a cookie");
        let before = shown(&server, &old).await;
        server.advance(HOUR);

        let reply = server.send(change(current, next).cookie(&old)).await;
        assert_answer(&reply, 200, &json!({"revoked": 0}));
        let new = reply.cookie().expect("a cookie");
        // What is left of 30 days.
        let age = if remember { format!("; Max-Age={}", 30 * 24 * 60 * 60 - 60 * 60) } else { String::new() };
        let line = format!("_me_sess={new}; Path=/; HttpOnly; SameSite=Lax; Secure{age}");
        assert_eq!(attributes(reply.header("set-cookie").expect("one line")), attributes(&line));
        assert_eq!([server.check(&old).await, server.check(&new).await], [401, 200]);
        assert_eq!(shown(&server, &new).await, before, "the session itself goes on");
        server.send(post(LOGOUT).cookie(&new)).await;
    }
    server.stop().await;
}

#[on_both_stores]
async fn of_several_cookies_the_new_one_is_left(store: StoreKind) {
    let server = Server::start(store).await;
    let (mine, stale) = (server.log_in(BOB).await.token, server.log_in(BOB).await.token);
    server.send(post(LOGOUT).bearer(&stale)).await;
    let cookies = format!("_me_sess={stale}; _me_sess={mine}; _me_sess=junk");
    let reply = server.send(change(PASSWORD, NEW).header("Cookie", &cookies)).await;
    assert_answer(&reply, 200, &json!({"revoked": 0}));
    let lines = reply.all("set-cookie");
    assert!(lines[0].starts_with("_me_sess=;") && lines.iter().any(|line| line.contains("Path=/api;")), "{lines:?}");
    assert_eq!(server.check(&reply.cookie().expect("a cookie")).await, 200);
    let two = [server.log_in_with(BOB, NEW).await.token, server.log_in_with(BOB, NEW).await.token];
    let two = two.map(|token| format!("_me_sess={token}")).join("; ");
    assert_unauthenticated(&server.send(change(NEW, PASSWORD).header("Cookie", &two)).await);
    server.stop().await;
}

#[on_both_stores]
async fn an_old_token_is_dead_for_everything(store: StoreKind) {
    for setting in ["", "cache = 'off'"] {
        let server = Server::with(store, setting).await;
        let mine = server.log_in(BOB).await;
        assert_eq!(server.check(&mine.token).await, 200, "and kept in memory");
        let token = token_of(&server.send(change(PASSWORD, NEW).bearer(&mine.token)).await);
        for ask in [
            get(SESSION),
            get(SESSIONS),
            change(NEW, PASSWORD),
            delete("/api/v1/auth/sessions?scope=all"),
            one(&mine.session),
            post(LOGOUT),
            get("/api/v1/me"),
            post("/api/v1/users.logout"),
            get("/user"),
        ] {
            for ask in [
                ask.clone().bearer(&mine.token),
                ask.clone().pair(&mine.user, &mine.token),
                ask.clone().cookie(&mine.token),
            ] {
                assert_eq!(server.send(ask.clone()).await.status, 401, "{ask:?}");
            }
        }
        let resumed = server.send(post("/api/v1/login").json(&json!({"resume": mine.token}))).await;
        assert_eq!(resumed.status, 401);
        // A login that replaces the old session ends no other.
        server.send(login(BOB, NEW).cookie(&mine.token)).await;
        assert_eq!(server.check(&token).await, 200);
        assert_eq!(listed(&server, &token, "").await.0.len(), 2);
        let server = server.restart("").await;
        assert_eq!([server.check(&mine.token).await, server.check(&token).await], [401, 200], "after a restart too");
        server.stop().await;
    }
}

#[on_both_stores]
async fn of_changes_at_once_one_is_made_and_its_token_lives(store: StoreKind) {
    let server = Server::start(store).await;
    let mine = server.log_in(BOB).await;
    let changes = (0..4).map(|_| server.send(change(PASSWORD, NEW).bearer(&mine.token)));
    let replies = futures_util::future::join_all(changes).await;
    let (made, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    assert_eq!((made.len(), refused.len()), (1, 3));
    refused.iter().for_each(|reply| assert_unauthenticated(reply));
    assert_eq!([server.check(&mine.token).await, server.check(&token_of(made[0])).await], [401, 200]);
    server.stop().await;
}

#[on_both_stores]
async fn the_audit_names_the_session_that_changed_a_password(store: StoreKind) {
    let server = Server::start(store).await;
    let mine = server.log_in(BOB).await;
    server.send(change(PASSWORD, NEW).bearer(&mine.token)).await;
    let query = "SELECT session_id, user_id, actor FROM events WHERE kind = 'password_changed'";
    let (session, user) = (Some(mine.session), Some(mine.user));
    assert_eq!(server.database.rows(query).await, [[session, user.clone(), user]]);
    let ended = "SELECT count(*) FROM events WHERE kind IN ('logout', 'revoked')";
    assert_eq!(server.database.number(ended).await, 0, "no session ended");
    server.stop().await;
}

#[on_both_stores]
async fn a_password_that_cannot_be_set_changes_nothing(store: StoreKind) {
    let server = Server::start(store).await;
    let (mine, other) = (server.log_in(BOB).await, server.log_in(BOB).await);
    let unfit = |sentence: &'static str| (["body", "new_password"], sentence, "value_error");
    let long = "x".repeat(1025);
    let missing = |field| (["body", field], "Field required", "missing");
    for (body, (loc, msg, kind)) in [
        (json!({"current_password": PASSWORD, "new_password": "1234567"}), unfit("Must have at least 8 characters")),
        (json!({"current_password": PASSWORD, "new_password": ""}), unfit("Must have at least 8 characters")),
        (json!({"current_password": PASSWORD, "new_password": long}), unfit("Must have at most 1024 bytes")),
        (
            json!({"current_password": PASSWORD, "new_password": "Password123"}),
            unfit("Is one of the most common passwords"),
        ),
        (json!({"current_password": PASSWORD}), missing("new_password")),
        (json!({"new_password": NEW}), missing("current_password")),
        (
            json!({"current_password": 1, "new_password": NEW}),
            (["body", "current_password"], "Must be a string", "string_type"),
        ),
    ] {
        assert_invalid(&server.send(post(CHANGE).json(&body).bearer(&mine.token)).await, loc, msg, kind);
    }
    for wrong in ["wrong horse battery staple", "short", ""] {
        let reply = server.send(change(wrong, NEW).cookie(&mine.token)).await;
        assert_unauthenticated(&reply);
        assert!(reply.all("set-cookie").is_empty(), "the session is alive");
    }
    let malformed = server.send(post(CHANGE).body("application/json", b"{").bearer(&mine.token)).await;
    assert_refused(&malformed, 400, "invalid_request_error", "The request cannot be read");
    let form = server.send(post(CHANGE).form("current_password=x&new_password=y").bearer(&mine.token)).await;
    assert_refused(&form, 415, "unsupported_media_type_error", "The content type is not supported");
    assert_eq!(alive(&server, &[&mine, &other]).await, [true, true]);
    assert_eq!(server.send(login(BOB, PASSWORD)).await.status, 200);
    server.stop().await;
}

#[on_both_stores]
async fn a_login_still_being_checked_against_the_old_password_loses(store: StoreKind) {
    // One worker: logins that were read before the change queue behind the hashing of the new password.
    let server = Server::with(store, "password_workers = 1").await;
    let mine = server.log_in(BOB).await;
    let old_until_refused = || async {
        let mut tokens = Vec::new();
        while let Some(token) = server.send(login(BOB, PASSWORD)).await.cookie() {
            tokens.push(token);
        }
        tokens
    };
    let (reply, a, b, c, d) = tokio::join!(
        server.send(change(PASSWORD, NEW).bearer(&mine.token)),
        old_until_refused(),
        old_until_refused(),
        old_until_refused(),
        old_until_refused(),
    );
    let opened = [a, b, c, d].concat();
    assert_eq!((reply.status, &reply.json()["revoked"]), (200, &json!(opened.len())));
    for token in opened {
        assert_eq!(server.check(&token).await, 401);
    }
    assert_eq!(server.check(&token_of(&reply)).await, 200);
    server.stop().await;
}

#[on_both_stores]
async fn an_operator_asks_for_more(store: StoreKind) {
    let list = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(list.path(), "Acme Corporation 2026\n").expect("written");
    let settings = format!("password_shortest = 15\npassword_list_file = '{}'", list.path().display());
    let server = Server::with(store, &settings).await;
    let bob = server.log_in(BOB).await;
    for (new, words) in [
        ("fourteen chars", "Must have at least 15 characters"),
        ("acme CORPORATION 2026", "Is on this service's list of passwords that cannot be used"),
    ] {
        let reply = server.send(change(PASSWORD, new).bearer(&bob.token)).await;
        assert_eq!((reply.status, &reply.json()["errors"][0]["msg"]), (422, &json!(words)), "{new}");
    }
    assert_eq!(server.send(change(PASSWORD, "four walnuts sing").bearer(&bob.token)).await.status, 200);
    server.stop().await;
}
