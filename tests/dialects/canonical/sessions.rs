//! One's own sessions: listed, paged, and ended one by one or many at once, with what becomes of the cookie.

use serde_json::{Value, json};
use sessiond_needs::on_both_stores;

use super::*;
use crate::harness::StoreKind;

#[on_both_stores]
async fn sessions_are_listed_newest_first_and_whole(store: StoreKind) {
    let server = Server::start(store).await;
    server.log_in(ALICE).await;
    let old = server.log_in(BOB).await;
    server.advance(HOUR);
    let ended = server.log_in(BOB).await;
    let login = login(BOB, PASSWORD).header("User-Agent", "acme-sync/2.4 (build 7)");
    let new = server.send(login).await.json()["session"]["id"].clone();
    server.send(post(LOGOUT).bearer(&ended.token)).await;
    let reply = server.send(get(SESSIONS).bearer(&old.token)).await;
    let (begin, now) = (BEGIN.rfc3339(), server.now().rfc3339());
    let mut page = reply.json();
    // Whether listing the sessions counts as a touch does not matter here.
    page["sessions"][1]["last_seen_at"] = Value::Null;
    page["sessions"][1]["idle_expires_at"] = Value::Null;
    assert_eq!(
        page,
        json!({
            "sessions": [
                {
                    "id": new, "created_at": now, "last_seen_at": now, "expires_at": server.now().after(DAY).rfc3339(),
                    "idle_expires_at": server.now().after(2 * HOUR).rfc3339(), "current": false, "ip": "127.0.0.1",
                    "user_agent": "acme-sync/2.4 (build 7)",
                    "device": {"type": "unknown", "name": "acme-sync", "os": ""},
                },
                {
                    "id": old.session, "created_at": begin, "last_seen_at": null,
                    "expires_at": BEGIN.after(30 * DAY).rfc3339(),
                    "idle_expires_at": null, "current": true, "ip": "127.0.0.1",
                    "user_agent": "", "device": {"type": "unknown", "name": "", "os": ""},
                },
            ],
            "next_cursor": null,
        })
    );
    assert_eq!((reply.status, reply.text().contains(&old.token)), (200, false));
    server.stop().await;
}

#[on_both_stores]
async fn pages_have_no_gaps_or_repeats_even_when_a_session_ends_in_between(store: StoreKind) {
    let server = Server::start(store).await;
    let mut logins = Vec::new();
    for n in 0..8 {
        logins.push(server.log_in(BOB).await);
        // Pairs of the same moment, so that a page ends between two of them.
        server.advance(MOMENT * (n % 2));
    }
    let token = logins[0].token.clone();
    let all: Vec<_> = listed(&server, &token, "").await.0;
    let mut expected: Vec<_> = logins.iter().map(|login| login.session.clone()).collect();
    assert!(all.len() == 8 && expected.iter().all(|id| all.contains(id)));
    let pair = |from: usize| [&expected[from], &expected[from + 1]];
    assert!((0..4).all(|at| pair(6 - 2 * at).contains(&&all[2 * at]) && pair(6 - 2 * at).contains(&&all[2 * at + 1])));

    let (first, cursor) = listed(&server, &token, "?limit=3").await;
    assert_eq!(first, all[..3]);
    // The session that the cursor was made of, and one that is on no page yet.
    for ended in [&all[2], &all[4]] {
        assert_eq!(server.send(one(ended).bearer(&token)).await.status, 200);
    }
    let newer = server.log_in(BOB).await;
    let (second, cursor) = listed(&server, &token, &format!("?limit=3&cursor={}", cursor.expect("more"))).await;
    assert_eq!(second, [all[3].clone(), all[5].clone(), all[6].clone()]);
    let (third, cursor) = listed(&server, &token, &format!("?cursor={}&limit=3", cursor.expect("more"))).await;
    assert_eq!((third, cursor), (vec![all[7].clone()], None));
    expected.push(newer.session);
    assert_eq!(listed(&server, &token, "?limit=100").await.0.len(), expected.len() - 2);
    assert_eq!(listed(&server, &token, "?limit=7").await.1, None, "a full last page is the last");
    server.stop().await;
}

#[on_both_stores]
async fn a_page_is_fifty_and_a_bad_one_is_400(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = server.log_in(BOB).await;
    for query in ["limit=0", "limit=101", "limit=-1", "limit=x", "limit=1.5", "limit=", "limit=99999999999999999999"] {
        let reply = server.send(get(&format!("{SESSIONS}?{query}")).bearer(&bob.token)).await;
        assert_refused(&reply, 400, "invalid_request_error", "limit must be a whole number from 1 to 100");
    }
    for query in
        ["cursor=", "cursor=x", "cursor=%ff", "cursor=%00", "cursor=MTIz", "cursor=a&cursor=b", "limit=1&limit=2"]
    {
        let reply = server.send(get(&format!("{SESSIONS}?{query}")).bearer(&bob.token)).await;
        let detail = reply.json()["detail"].clone();
        assert_refused(&reply, 400, "invalid_request_error", detail.as_str().expect("a sentence"));
    }
    for _ in 0..50 {
        server.log_in(BOB).await;
    }
    let (ids, cursor) = listed(&server, &bob.token, "").await;
    assert_eq!((ids.len(), cursor.is_some()), (50, true));
    server.stop().await;
}

#[on_both_stores]
async fn one_session_is_ended_by_its_owner_only(store: StoreKind) {
    let server = Server::start(store).await;
    let (mine, other, alice) = (server.log_in(BOB).await, server.log_in(BOB).await, server.log_in(ALICE).await);
    let reply = server.send(one(&other.session).cookie(&mine.token)).await;
    assert_answer(&reply, 200, &json!({"revoked": 1}));
    assert!(reply.all("set-cookie").is_empty());
    assert_eq!(alive(&server, &[&mine, &other, &alice]).await, [true, false, true]);
    for nobodys in [&other.session, &alice.session, "23456789ABCDEFGHJ", "garbage", "%ff", "%00", &mine.token] {
        let reply = server.send(one(nobodys).cookie(&mine.token)).await;
        assert_refused(&reply, 404, "not_found_error", "Not found");
    }
    assert_eq!(alive(&server, &[&mine, &alice]).await, [true, true]);
    server.stop().await;
}

#[on_both_stores]
async fn many_sessions_are_ended_by_scope(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    for (scope, revoked, left) in [("others", 2, [true, false, false]), ("all", 3, [false; 3])] {
        let (mine, a, b) = (server.log_in(BOB).await, server.log_in(BOB).await, server.log_in(BOB).await);
        let many = delete(&format!("{SESSIONS}?scope={scope}")).bearer(&mine.token);
        let reply = server.send(many.clone()).await;
        assert_answer(&reply, 200, &json!({"revoked": revoked}));
        assert!(reply.all("set-cookie").is_empty());
        assert_eq!(alive(&server, &[&mine, &a, &b, &alice]).await, [&left[..], &[true]].concat());
        let again = server.send(many).await;
        if left[0] {
            assert_answer(&again, 200, &json!({"revoked": 0}));
            server.send(post(LOGOUT).bearer(&mine.token)).await;
        } else {
            assert_unauthenticated(&again);
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_wrong_scope_ends_nothing(store: StoreKind) {
    let server = Server::start(store).await;
    let (mine, other) = (server.log_in(BOB).await, server.log_in(BOB).await);
    for (query, msg, kind) in [
        ("", "Field required", "missing"),
        ("?", "Field required", "missing"),
        ("?Scope=all", "Field required", "missing"),
        ("?scope=", "Must be one of others, all", "enum"),
        ("?scope=ALL", "Must be one of others, all", "enum"),
        ("?scope=everything", "Must be one of others, all", "enum"),
    ] {
        let reply = server.send(delete(&format!("{SESSIONS}{query}")).bearer(&mine.token)).await;
        assert_invalid(&reply, ["query", "scope"], msg, kind);
    }
    assert_eq!(
        server.send(delete(&format!("{SESSIONS}?scope=others&scope=all")).bearer(&mine.token)).await.status,
        400
    );
    assert_eq!(alive(&server, &[&mine, &other]).await, [true, true]);
    server.stop().await;
}

#[on_both_stores]
async fn the_cookie_is_cleared_exactly_when_its_session_was_ended(store: StoreKind) {
    let server = Server::start(store).await;
    let (all, others) = (format!("{SESSIONS}?scope=all"), format!("{SESSIONS}?scope=others"));
    // The caller presents a header. The cookie stands for the caller's session, for another one of theirs, or for
    // another user's.
    for (request, own, other) in [
        ("own id", true, false),
        ("other id", false, true),
        ("all", true, true),
        ("others", false, true),
        // The cookie's token is dead, since the new one is given to the client that sent a header.
        ("password", true, true),
    ] {
        for (in_cookie, cleared) in [("own", own), ("other", other), ("alice", false), ("dead", false), ("none", false)]
        {
            let server = &server;
            let (mine, another, alice) =
                (server.log_in(BOB).await, server.log_in(BOB).await, server.log_in(ALICE).await);
            let ask = match request {
                "own id" => one(&mine.session),
                "other id" => one(&another.session),
                "all" => delete(&all),
                "others" => delete(&others),
                _ => change(PASSWORD, NEW),
            };
            let ask = ask.bearer(&mine.token);
            let dead = "A".repeat(43);
            let ask = match in_cookie {
                "own" => ask.cookie(&mine.token),
                "other" => ask.cookie(&another.token),
                "alice" => ask.cookie(&alice.token),
                "dead" => ask.cookie(&dead),
                _ => ask,
            };
            let reply = server.send(ask).await;
            assert_eq!(reply.status, 200, "{request} {in_cookie}: {}", reply.text());
            assert_eq!(reply.clears_exactly(), cleared, "{request} {in_cookie}: {:?}", reply.headers);
            assert_eq!(reply.all("set-cookie").len(), usize::from(cleared), "{request} {in_cookie}");
            if request == "password" {
                let with_new = server.send(login(BOB, NEW)).await.cookie().expect("a cookie");
                assert_eq!(server.send(change(NEW, PASSWORD).cookie(&with_new)).await.status, 200);
            }
        }
    }
    for target in [all.as_str(), "own id"] {
        let login = server.send(login(BOB, PASSWORD)).await;
        let (token, body) = (login.cookie().expect("a cookie"), login.json());
        let id = format!("{SESSIONS}/{}", body["session"]["id"].as_str().expect("an id"));
        let reply = server.send(delete(if target == "own id" { &id } else { target }).cookie(&token)).await;
        assert!(reply.status == 200 && reply.clears_exactly(), "{target}: by cookie alone");
    }
    server.stop().await;
}

#[on_both_stores]
async fn ending_other_sessions_takes_a_fresh_login_where_that_is_set(store: StoreKind) {
    let server = Server::with(store, "fresh_login_to_revoke = true").await;
    let (mine, other) = (server.log_in(BOB).await, server.log_in(BOB).await);
    server.advance(HOUR / 4);
    let many = |scope: &str| delete(&format!("{SESSIONS}?scope={scope}")).bearer(&mine.token);
    for request in [one(&other.session).bearer(&mine.token), many("others"), many("all")] {
        let detail = "Log in again first: the password was given more than 15 minutes ago";
        assert_refused(&server.send(request).await, 403, "reauthentication_required_error", detail);
    }
    for path in ["/api/v1/users.removeOtherTokens", "/api/v1/users.logoutOtherClients", "/api/v1/users.logout"] {
        assert_eq!(server.send(post(path).pair(&mine.user, &mine.token)).await.status, 403, "{path}");
    }
    assert_eq!(alive(&server, &[&mine, &other]).await, [true, true]);
    let fresh = server.log_in(BOB).await;
    assert_eq!(server.send(one(&other.session).bearer(&fresh.token)).await.status, 200);
    assert_eq!(server.send(one(&mine.session).bearer(&mine.token)).await.status, 200, "one's own, at any time");
    assert_eq!(server.send(post(LOGOUT).bearer(&fresh.token)).await.status, 200);
    server.stop().await;
}
