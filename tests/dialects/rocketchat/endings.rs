//! Sessions ended one by one, all at once, and all but one.

use sessiond_needs::on_both_stores;

use super::*;

#[on_both_stores]
async fn logout_me_ends_the_named_session_of_ones_own_and_no_other(store: StoreKind) {
    let server = Server::start(store).await;
    let [here, json_one, form_one, other] = four(&server).await;
    let form = format!("sessionId={}", form_one.session);
    for (ask, ended) in [
        (post("/api/v1/sessions/logout.me").json(&json!({"sessionId": json_one.session})), &json_one),
        (post("/api/v1/sessions/logout.me").form(&form), &form_one),
    ] {
        let reply = server.send(ask.clone().by(&here)).await;
        let body = format!(r#"{{"sessionId":"{}","success":true}}"#, ended.session);
        assert_answer(&reply, 200, &body, "ended");
        assert!(reply.all("set-cookie").is_empty());
        // It is refused however it is presented, in every dialect, and not listed any more.
        for target in ["/user", "/api/user", "/api/v1/me", "/api/v1/auth/session", "/verify"] {
            for ask in [get(target).by(ended), get(target).bearer(&ended.token), get(target).cookie(&ended.token)] {
                assert_eq!(server.send(ask).await.status, 401, "{target}");
            }
        }
        assert_answer(&server.send(ask.by(&here)).await, 400, NOT_FOUND, "once more");
        let info = query("/api/v1/sessions/info", &[("sessionId", &ended.session)]);
        assert_answer(&server.send(get(&info).by(&here)).await, 400, NOT_FOUND, "info");
    }
    let list = server.send(get("/api/v1/sessions/list").by(&here)).await.json();
    let ids: Vec<&Value> = list["sessions"].as_array().expect("rows").iter().map(|row| &row["_id"]).collect();
    assert_eq!(ids, [&json!(other.session), &json!(here.session)]);
    // Oneself, too.
    let own = post("/api/v1/sessions/logout.me").json(&json!({"sessionId": here.session}));
    let body = format!(r#"{{"sessionId":"{}","success":true}}"#, here.session);
    assert_answer(&server.send(own.clone().by(&here)).await, 200, &body, "oneself");
    assert_answer(&server.send(own.by(&here)).await, 401, NOT_LOGGED_IN, "oneself, once more");
    assert_eq!(alive(&server, [&here, &other]).await, [false, true]);
    server.stop().await;
}

#[on_both_stores]
async fn logout_me_clears_the_cookie_of_the_session_it_ends(store: StoreKind) {
    let server = Server::start(store).await;
    let [here, in_cookie, other, _] = four(&server).await;
    let end = |login: &LoggedIn| post("/api/v1/sessions/logout.me").json(&json!({"sessionId": login.session}));
    let others = server.send(end(&other).cookie(&in_cookie.token)).await;
    assert_eq!((others.status, others.all("set-cookie").len()), (200, 0), "another session's");
    let by_header = server.send(end(&in_cookie).by(&here).cookie(&in_cookie.token)).await;
    assert_eq!((by_header.status, by_header.all("set-cookie")), (200, vec![CLEARED]), "asked for by a header");
    let own = server.send(end(&here).cookie(&here.token)).await;
    assert_eq!((own.status, own.all("set-cookie")), (200, vec![CLEARED]), "one's own");
    server.stop().await;
}

#[on_both_stores]
async fn logout_me_does_not_reveal_whether_another_users_session_exists(store: StoreKind) {
    let server = Server::start(store).await;
    let (bob, alice) = (log_in(&server, BOB, CURL).await, log_in(&server, ALICE, CURL).await);
    let unknown = "23456789ABCDEFGHJ";
    let mut answers = Vec::new();
    // An admin gets the same answer.
    for (caller, id) in [(&bob, alice.session.as_str()), (&bob, unknown), (&alice, &bob.session), (&alice, unknown)] {
        let reply = server.send(post("/api/v1/sessions/logout.me").json(&json!({"sessionId": id})).by(caller)).await;
        assert_answer(&reply, 400, NOT_FOUND, id);
        let varies = |(name, _): &(String, String)| !matches!(name.as_str(), "x-request-id" | "date");
        answers.push(reply.headers.into_iter().filter(varies).collect::<Vec<_>>());
    }
    assert!(answers.iter().all(|headers| *headers == answers[0]), "{answers:?}");
    assert_eq!(alive(&server, [&bob, &alice]).await, [true, true]);
    server.stop().await;
}

#[on_both_stores]
async fn logout_me_says_what_is_wrong_with_a_body_and_ends_nothing(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = log_in(&server, BOB, CURL).await;
    let (extra, string) = (invalid("must NOT have additional properties"), invalid("must be string"));
    let with_extra = json!({"sessionId": bob.session, "all": true}).to_string();
    let good = json!({"sessionId": bob.session}).to_string();
    let twice = format!(r#"{{"sessionId":"{0}","sessionId":"{0}"}}"#, bob.session);
    let (json, form) = ("application/json", "application/x-www-form-urlencoded");
    let unsupported = r#"{"success":false,"error":"The content type is not supported"}"#;
    let large = format!(r#"{{"sessionId":"{}"}}"#, " ".repeat(8192));
    for (content_type, body, status, answer) in [
        (json, "", 400, missing().as_str()),
        (form, "", 400, &missing()),
        (json, "{}", 400, &missing()),
        (json, "{", 400, &missing()),
        (json, "[]", 400, &missing()),
        (json, "null", 400, &missing()),
        (json, r#"{"sessionid":"x"}"#, 400, &missing()),
        (json, &twice, 400, &missing()),
        (json, r#"{"sessionId":5}"#, 400, &string),
        (json, r#"{"sessionId":null}"#, 400, &string),
        (json, r#"{"sessionId":["x"]}"#, 400, &string),
        (json, r#"{"sessionId":{"$ne":null}}"#, 400, &string),
        (json, &with_extra, 400, &extra),
        (json, r#"{"sessionId":""}"#, 400, NOT_FOUND),
        (json, r#"{"sessionId":"not an id"}"#, 400, NOT_FOUND),
        ("text/plain", &good, 415, unsupported),
        ("application/jsonp", &good, 415, unsupported),
        (json, &large, 413, r#"{"success":false,"error":"The body is too large"}"#),
    ] {
        let ask = post("/api/v1/sessions/logout.me").body(content_type, body.as_bytes()).by(&bob);
        let what = format!("{content_type} {body}");
        assert_answer(&server.send(ask).await, status, answer, &what);
    }
    let nothing = post("/api/v1/sessions/logout.me").by(&bob);
    assert_answer(&server.send(nothing).await, 400, &missing(), "no body, no type");
    assert_eq!(alive(&server, [&bob]).await, [true]);
    server.stop().await;
}

#[on_both_stores]
async fn users_logout_ends_every_session_of_the_caller(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = log_in(&server, ALICE, CURL).await;
    let id = log_in(&server, BOB, CURL).await.user;
    let route = || post("/api/v1/users.logout");
    for ask in [
        route(),
        route().header("Content-Type", "application/json"),
        route().json(&json!({})),
        route().json(&json!({"userId": id})),
        route().form(&format!("userId={id}")),
    ] {
        let what = format!("{ask:?}");
        let [here, other] = several(&server).await;
        let reply = server.send(ask.by(&here).cookie(&other.token)).await;
        let body = format!(r#"{{"message":"User {id} has been logged out!","success":true}}"#);
        assert_answer(&reply, 200, &body, &what);
        assert_eq!(reply.all("set-cookie"), [CLEARED], "the cookie's session ended: {what}");
        assert_eq!(alive(&server, [&here, &other, &alice]).await, [false, false, true], "{what}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn users_logout_ends_nothing_when_it_is_malformed_or_for_another_user(store: StoreKind) {
    let server = Server::start(store).await;
    let (bob, alice) = (log_in(&server, BOB, CURL).await, log_in(&server, ALICE, CURL).await);
    let forbidden = r#"{"success":false,"error":"User does not have the permissions required for this action [error-unauthorized]"}"#;
    let somebody_else = json!({"userId": alice.user}).to_string();
    let unknown = json!({"userId": "23456789ABCDEFGHJ"}).to_string();
    let (json, object) = ("application/json", invalid("must be object"));
    for (content_type, body, status, answer) in [
        (json, somebody_else.as_str(), 403, forbidden),
        (json, &unknown, 403, forbidden),
        (json, r#"{"userId":""}"#, 403, forbidden),
        (json, "{", 400, &object),
        (json, "[]", 400, &object),
        (json, r#"{"userId":5}"#, 400, &invalid("must be string")),
        (json, r#"{"userId":null}"#, 400, &invalid("must be string")),
        (json, r#"{"all":true}"#, 400, &invalid("must NOT have additional properties")),
        ("text/plain", "{}", 415, r#"{"success":false,"error":"The content type is not supported"}"#),
    ] {
        let ask = post("/api/v1/users.logout").body(content_type, body.as_bytes()).by(&bob);
        assert_answer(&server.send(ask).await, status, answer, body);
        assert_eq!(alive(&server, [&bob, &alice]).await, [true, true], "{body}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn ending_the_others_keeps_only_this_session(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = log_in(&server, ALICE, CURL).await;
    for path in ["/api/v1/users.removeOtherTokens", "/api/v1/users.logoutOtherClients"] {
        for ask in [post(path), post(path).json(&json!({})), post(path).form("a=b")] {
            let [here, other, in_cookie] = several(&server).await;
            // 30 days after the beginning.
            let body = match path {
                "/api/v1/users.removeOtherTokens" => SUCCESS.to_owned(),
                _ => {
                    format!(r#"{{"token":"{}","tokenExpires":"2026-02-01T03:04:05.678Z","success":true}}"#, here.token)
                }
            };
            let reply = server.send(ask.by(&here).cookie(&in_cookie.token)).await;
            assert_answer(&reply, 200, &body, path);
            assert_eq!(reply.all("set-cookie"), [CLEARED], "the cookie's session ended");
            assert_eq!(alive(&server, [&here, &other, &in_cookie, &alice]).await, [true, false, false, true], "{path}");
            let again = server.send(post(path).by(&here).cookie(&here.token)).await;
            assert_answer(&again, 200, &body, "none left to end");
            assert!(again.all("set-cookie").is_empty(), "this one's cookie stays");
            let by_cookie = server.send(post(path).cookie(&here.token)).await;
            let tokenless = match path {
                "/api/v1/users.removeOtherTokens" => SUCCESS,
                _ => r#"{"tokenExpires":"2026-02-01T03:04:05.678Z","success":true}"#,
            };
            assert_answer(&by_cookie, 200, tokenless, "what HttpOnly hides, no answer shows");
            assert_eq!(alive(&server, [&here]).await, [true]);
        }
    }
    server.stop().await;
}
