//! Users: finding, making, changing and deleting them, and setting their passwords.

use super::*;

fn login(username: &str, password: &str) -> TestRequest {
    post(LOGIN).json(&json!({"username": username, "password": password, "transport": "token"}))
}

async fn names(server: &Server, token: &str, query: &str) -> (Vec<String>, Option<String>) {
    let reply = server.send(get(&format!("{USERS}{query}")).bearer(token)).await;
    assert_eq!(reply.status, 200, "{query}: {}", reply.text());
    let page = reply.json();
    let users = page["users"].as_array().expect("a list").iter();
    let names = users.map(|user| user["username"].as_str().expect("a name").to_owned()).collect();
    (names, page["next_cursor"].as_str().map(str::to_owned))
}

#[on_both_stores]
async fn a_user_is_made_shown_and_found(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    server.advance(MINUTE);
    let body = json!({"username": "Carol", "email": "carol@example.com", "name": "Carol O'Neill", "password": NEW});
    let reply = server.send(post(USERS).bearer(&alice.token).json(&body)).await;
    assert_eq!(reply.status, 201);
    let made = reply.json();
    let id = made["user"]["id"].as_str().expect("an id").to_owned();
    let now = server.now().rfc3339();
    let expected = json!({
        "id": id, "username": "Carol", "email": "carol@example.com", "name": "Carol O'Neill", "admin": false,
        "created_at": now, "disabled_at": null, "must_change_password": false, "last_login_at": null, "second_factor": false,
    });
    assert_eq!(made, json!({"user": expected}));
    server.advance(MINUTE);
    assert_eq!(server.send(login("carol", NEW)).await.status, 200);
    let shown = server.send(get(&user(&id)).bearer(&alice.token)).await.json();
    assert_eq!(shown["user"]["last_login_at"], server.now().rfc3339());
    for (query, found) in [
        ("", vec![ALICE, BOB, "Carol"]),
        ("?q=ARO", vec!["Carol"]),
        ("?q=o%27n", vec!["Carol"]),
        ("?q=example.com", vec![BOB, "Carol"]),
        ("?q=%EF%BC%A3%EF%BC%A1%EF%BC%B2", vec!["Carol"]),
        ("?q=%25", vec![]),
        ("?q=_", vec![]),
        ("?q=nobody", vec![]),
    ] {
        let mut names = names(&server, &alice.token, query).await.0;
        // Those of the same moment are in the order of their ids.
        names.sort_by_key(|name| name.to_lowercase());
        assert_eq!(names, found, "{query}");
    }
    for query in ["?limit=0", "?cursor=MTIz", "?cursor="] {
        assert_refused(
            &server.send(get(&format!("{USERS}{query}")).bearer(&alice.token)).await,
            400,
            "invalid_request_error",
        );
    }
    for query in [format!("?q={}", "a".repeat(257)), "?name=carol".into()] {
        assert_refused(
            &server.send(get(&format!("{USERS}{query}")).bearer(&alice.token)).await,
            422,
            "validation_error",
        );
    }
    server.stop().await;
}

#[on_both_stores]
async fn what_is_searched_for_is_literal(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    for name in ["a_b", "axb", "100%", "back\\slash"] {
        add(&server, &alice, name).await;
    }
    for (query, found) in [("a_b", "a_b"), ("%25", "100%"), ("%5C", "back\\slash")] {
        assert_eq!(names(&server, &alice.token, &format!("?q={query}")).await.0, [found]);
    }
    server.stop().await;
}

#[on_both_stores]
async fn pages_neither_skip_nor_repeat(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    let mut all = BTreeSet::from([ALICE.to_owned(), BOB.to_owned()]);
    // All of the same moment, since the clock stands still.
    for number in 0..19 {
        add(&server, &alice, &format!("user{number}")).await;
        all.insert(format!("user{number}"));
    }
    let (mut seen, mut query, mut pages) = (Vec::new(), String::from("?limit=7"), 0);
    loop {
        let (names, cursor) = names(&server, &alice.token, &query).await;
        assert_eq!(names.len(), 7);
        seen.extend(names);
        pages += 1;
        let Some(cursor) = cursor else { break };
        query = format!("?limit=7&cursor={cursor}");
        let foreign = server.send(get(&format!("{EVENTS}?cursor={cursor}")).bearer(&alice.token)).await;
        assert_refused(&foreign, 400, "invalid_request_error");
    }
    assert_eq!((pages, seen.len()), (3, 21), "the last page is full, and is the last");
    assert_eq!(BTreeSet::from_iter(seen), all);
    server.stop().await;
}

#[on_both_stores]
async fn names_and_addresses_that_are_taken_are_409(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    for body in [
        json!({"username": "BOB"}),
        json!({"username": "ｂｏｂ"}),
        json!({"username": "x", "email": "BOB@example.com"}),
        json!({"username": bob.user}),
    ] {
        let reply = server.send(post(USERS).bearer(&alice.token).json(&body)).await;
        assert_refused(&reply, 409, "already_exists_error");
    }
    let id = add(&server, &alice, "carol").await;
    for body in [json!({"username": "Bob"}), json!({"email": "bob@EXAMPLE.com"}), json!({"username": bob.user})] {
        assert_refused(&server.send(patch(&user(&id), &body).bearer(&alice.token)).await, 409, "already_exists_error");
    }
    // A name may change in its case alone.
    let reply = server.send(patch(&user(&bob.user), &json!({"username": "BOB"})).bearer(&alice.token)).await;
    assert_eq!(reply.json()["user"]["username"], "BOB");
    for body in [
        json!({"username": "with space"}),
        json!({"username": ""}),
        json!({"username": "x", "email": "none"}),
        json!({"username": "x", "password": "short"}),
        json!({"username": "x", "admin": "yes"}),
        json!({"username": "x", "role": "admin"}),
        json!({"email": "x@example.com"}),
    ] {
        let reply = server.send(post(USERS).bearer(&alice.token).json(&body)).await;
        assert_refused(&reply, 422, "validation_error");
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_new_name_holds_with_the_next_check_and_sessions_go_on(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    let remote = async |header: &str| {
        let reply = server.send(get("/verify").bearer(&bob.token)).await;
        assert_eq!(reply.status, 200);
        reply.header(header).map(str::to_owned)
    };
    assert_eq!(remote("remote-user").await.as_deref(), Some(BOB));
    let edit = json!({"username": "robert", "email": null, "name": "Robert"});
    let reply = server.send(patch(&user(&bob.user), &edit).bearer(&alice.token)).await;
    assert_eq!((reply.status, &reply.json()["user"]["email"]), (200, &Value::Null));
    assert_eq!(remote("remote-user").await.as_deref(), Some("robert"));
    assert_eq!(remote("remote-name").await.as_deref(), Some("Robert"));
    assert_eq!(remote("remote-email").await.as_deref(), Some("-"));
    assert_eq!(server.send(login(BOB, PASSWORD)).await.status, 401, "the old name is free");
    assert_eq!(server.send(login("robert", PASSWORD)).await.status, 200);
    while server.send(login(BOB, "guessed of nobody")).await.status != 429 {}
    let again = add(&server, &alice, BOB).await;
    assert_ne!(again, bob.user);
    let sessions = server.send(get(&format!("{}/sessions", user(&again))).bearer(&alice.token)).await.json();
    assert_eq!(sessions["sessions"], json!([]), "nothing comes along with a freed name");
    assert_ne!(
        server.send(login(BOB, PASSWORD)).await.status,
        429,
        "nothing comes along that was tried of a free name"
    );
    while server.send(login("bobby", "guessed of nobody")).await.status != 429 {}
    let reply = server.send(patch(&user(&again), &json!({"username": "bobby"})).bearer(&alice.token)).await;
    assert_eq!(reply.status, 200);
    assert_ne!(server.send(login("bobby", PASSWORD)).await.status, 429, "nor by a change of name");
    server.stop().await;
}

#[on_both_stores]
async fn disabling_ends_every_session_and_enabling_brings_none_back(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    let reply = server.send(patch(&user(&bob.user), &json!({"disabled": true})).bearer(&alice.token)).await;
    assert_eq!(reply.json()["user"]["disabled_at"], server.now().rfc3339());
    assert_eq!(server.check(&bob.token).await, 401);
    assert_eq!(server.send(login(BOB, PASSWORD)).await.status, 401);
    server.send(patch(&user(&bob.user), &json!({"disabled": false})).bearer(&alice.token)).await;
    assert_eq!(server.check(&bob.token).await, 401);
    assert_eq!(server.send(login(BOB, PASSWORD)).await.status, 200);
    server.stop().await;
}

#[on_both_stores]
async fn a_deleted_user_is_gone_and_their_name_is_free(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    let other = server.log_in(BOB).await;
    let reply = server.send(delete(&user(&bob.user)).bearer(&alice.token)).await;
    assert_eq!((reply.status, reply.json()), (200, json!({"revoked": 2})));
    for token in [&bob.token, &other.token] {
        assert_eq!(server.check(token).await, 401);
    }
    assert_eq!(server.send(login(BOB, PASSWORD)).await.status, 401);
    for request in [get(&user(&bob.user)), delete(&user(&bob.user)), patch(&user(&bob.user), &json!({"name": "x"}))] {
        assert_refused(&server.send(request.bearer(&alice.token)).await, 404, "not_found_error");
    }
    assert_eq!(names(&server, &alice.token, "").await.0, [ALICE]);
    add(&server, &alice, BOB).await;
    assert_eq!(server.send(login(BOB, PASSWORD)).await.status, 200);
    assert_eq!(server.check(&bob.token).await, 401, "the new one has nothing of the old");
    let events = server.send(get(&format!("{EVENTS}?user={}", bob.user)).bearer(&alice.token)).await.json();
    let events = events["events"].as_array().expect("a list");
    let deleted = events.iter().find(|event| event["kind"] == "user_deleted").expect("the act");
    assert_eq!(deleted["user"]["username"], BOB);
    server.stop().await;
}

#[on_both_stores]
async fn administrators_do_not_lock_themselves_out(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    let own = user(&alice.user);
    for request in [
        patch(&own, &json!({"disabled": true})),
        patch(&own, &json!({"admin": false})),
        delete(&own),
        post(&format!("{own}/password")),
    ] {
        let reply = server.send(request.bearer(&alice.token)).await;
        assert_refused(&reply, 409, "conflict_error");
        assert_eq!(
            reply.json()["detail"],
            "Administrators cannot do this to themselves: ask another one, or use the commands on the server"
        );
    }
    assert_eq!(server.send(patch(&own, &json!({"name": "Alice"})).bearer(&alice.token)).await.status, 200);
    server.stop().await;
}

#[on_both_stores]
async fn two_administrators_never_remove_each_other(store: StoreKind) {
    let server = Server::start(store).await;
    let mut left = ALICE.to_owned();
    for round in 0..20 {
        let one = server.log_in(&left).await;
        let name = format!("admin{round}");
        let id = add(&server, &one, &name).await;
        server.send(patch(&user(&id), &json!({"admin": true})).bearer(&one.token)).await;
        let other = server.log_in(&name).await;
        let act = |target: &str| match round % 3 {
            0 => patch(&user(target), &json!({"admin": false})),
            1 => patch(&user(target), &json!({"disabled": true})),
            _ => delete(&user(target)),
        };
        let (first, second) = tokio::join!(
            server.send(act(&other.user).bearer(&one.token)),
            server.send(act(&one.user).bearer(&other.token))
        );
        let done = [&first, &second].into_iter().filter(|reply| reply.status == 200).count();
        assert_eq!(done, 1, "{round}: {} and {}", first.text(), second.text());
        if second.status == 200 {
            left = name;
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_one_time_password_begins_no_session_before_it_is_changed(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    let password = format!("{}/password", user(&bob.user));
    let reply = server.send(post(&password).bearer(&alice.token)).await;
    assert_eq!((reply.status, &reply.json()["revoked"]), (200, &json!(1)));
    let one_time = reply.json()["one_time_password"].as_str().expect("a password").to_owned();
    assert_eq!(server.check(&bob.token).await, 401);
    let shown = server.send(get(&user(&bob.user)).bearer(&alice.token)).await.json();
    assert_eq!(shown["user"]["must_change_password"], true);
    assert_eq!(server.send(login(BOB, PASSWORD)).await.status, 401);

    let refused = server.send(login(BOB, &one_time)).await;
    assert_refused(&refused, 403, "password_change_required_error");
    assert!(refused.cookie().is_none() && refused.json().get("token").is_none());
    let medama = post("/auth/login").json(&json!({"username": BOB, "password": one_time}));
    assert_eq!(server.send(medama).await.status, 403);
    let rocketchat = post("/api/v1/login").json(&json!({"user": BOB, "password": one_time}));
    assert_eq!(server.send(rocketchat).await.status, 401);

    let with = |new: &str| {
        post(LOGIN).json(&json!({"username": BOB, "password": one_time, "new_password": new, "transport": "token"}))
    };
    for unfit in ["short", one_time.as_str(), "password123"] {
        assert_refused(&server.send(with(unfit)).await, 422, "validation_error");
    }
    let changed = server.send(with(NEW)).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(server.check(changed.json()["token"].as_str().expect("a token")).await, 200);
    assert_eq!(server.send(with("another one entirely")).await.status, 401, "it works once");
    assert_eq!(server.send(login(BOB, NEW)).await.status, 200);
    let unasked = post(LOGIN).json(&json!({"username": BOB, "password": NEW, "new_password": "another one entirely"}));
    assert_refused(&server.send(unasked).await, 422, "validation_error");
    server.stop().await;
}

#[on_both_stores]
async fn a_one_time_password_expires_after_a_day(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    let reply = server.send(post(USERS).bearer(&alice.token).json(&json!({"username": "carol"}))).await;
    let one_time = reply.json()["one_time_password"].as_str().expect("a password").to_owned();
    server.advance(24 * 60 * MINUTE - Duration::from_millis(1));
    assert_eq!(server.send(login("carol", &one_time)).await.status, 403);
    server.advance(Duration::from_millis(1));
    let with = json!({"username": "carol", "password": one_time, "new_password": NEW});
    for request in [login("carol", &one_time), post(LOGIN).json(&with)] {
        assert_refused(&server.send(request).await, 401, "authentication_error");
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_password_that_an_administrator_sets_is_checked_like_any(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    let password = format!("{}/password", user(&bob.user));
    for unfit in ["short", "password123", "bob12345", PASSWORD] {
        let reply = server.send(post(&password).bearer(&alice.token).json(&json!({"password": unfit}))).await;
        assert_refused(&reply, 422, "validation_error");
    }
    assert_eq!(server.check(&bob.token).await, 200);
    let reply = server.send(post(&password).bearer(&alice.token).json(&json!({"password": NEW}))).await;
    assert_eq!(reply.json(), json!({"revoked": 1}));
    assert_eq!(server.check(&bob.token).await, 401);
    assert_eq!(server.send(login(BOB, NEW)).await.status, 200);
    server.stop().await;
}

#[on_both_stores]
async fn who_has_to_wait_is_let_in_again(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    let wrong = async || server.send(login(BOB, "not the password")).await.status;
    while wrong().await != 429 {}
    assert_eq!(server.send(login(BOB, PASSWORD)).await.status, 429);
    assert_eq!(server.check(&bob.token).await, 200, "live sessions are not affected");
    let reply = server.send(post(&format!("{}/unlock", user(&bob.user))).bearer(&alice.token)).await;
    assert_eq!((reply.status, reply.json()), (200, json!({})));
    assert_eq!(server.send(login(BOB, PASSWORD)).await.status, 200);
    while wrong().await != 429 {}
    server
        .send(post(&format!("{}/password", user(&bob.user))).bearer(&alice.token).json(&json!({"password": NEW})))
        .await;
    assert_eq!(server.send(login(BOB, NEW)).await.status, 200, "a new password lifts it too");
    for nobody in ["23456789ABCDEFGHJ", "x"] {
        let reply = server.send(post(&format!("{}/unlock", user(nobody))).bearer(&alice.token)).await;
        assert_refused(&reply, 404, "not_found_error");
    }
    server.stop().await;
}
