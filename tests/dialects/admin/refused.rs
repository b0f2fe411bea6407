//! What was refused of that which administrators may do is in the audit.

use sessiond_support::wait::until;

use super::*;
use crate::harness::Database;

/// How many acts were refused, by the audit.
async fn total(database: &Database) -> i64 {
    database.number("SELECT CAST(coalesce(sum(count), 0) AS bigint) FROM events WHERE kind = 'act_refused'").await
}

/// The user whom each is about, and the detail and count, oldest first.
async fn refused(database: &Database) -> Vec<[Option<String>; 3]> {
    let all = "SELECT user_id, detail, count FROM events WHERE kind = 'act_refused' ORDER BY number";
    database.rows(all).await.into_iter().map(|row| row.try_into().expect("three")).collect()
}

#[on_both_stores]
async fn whatever_a_user_asks_for_who_is_no_administrator_is_an_event(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    let first = post(USERS).json(&json!({"username": "new"})).header("User-Agent", "curl/8.5.0").bearer(&bob.token);
    let reply = server.send(first).await;
    assert_refused(&reply, 403, "forbidden_error");
    until("it is on record", async || total(&server.database).await == 1).await;
    let found = server.send(get(&format!("{EVENTS}?kind=act_refused&user=bob")).bearer(&alice.token)).await.json();
    let event = json!({
        "id": found["events"][0]["id"], "at": server.now().rfc3339(), "kind": "act_refused",
        "actor": {"type": "user", "id": bob.user, "username": BOB}, "user": {"id": bob.user, "username": BOB},
        "session": bob.session, "ip": "127.0.0.1", "user_agent": "curl/8.5.0",
        "detail": "forbidden: POST /api/v1/admin/users", "request_id": reply.header("x-request-id"), "count": 1,
    });
    assert_eq!(found["events"], json!([event]));

    let of_rocketchat = [
        get("/api/v1/sessions/list.all"),
        get("/api/v1/sessions/info.admin?sessionId=x"),
        post("/api/v1/sessions/logout").json(&json!({"sessionId": alice.session})),
        post("/api/v1/users.logout").json(&json!({"userId": alice.user})),
    ];
    let (mut asked, mut reads) = (1, 0);
    for request in every_route(&alice.user).into_iter().chain(of_rocketchat) {
        (asked, reads) = (asked + 1, reads + i64::from(request.method == "GET"));
        assert_eq!(server.send(request.bearer(&bob.token)).await.status, 403);
    }
    assert_eq!(server.check(&alice.token).await, 200, "nothing was done");
    server.advance(MINUTE);
    until("all are on record", async || total(&server.database).await == asked).await;
    let found = refused(&server.database).await;
    let by_itself = |method: &str| {
        let begin = format!("forbidden: {method} ");
        found.iter().filter(|[_, detail, _]| detail.as_ref().is_some_and(|detail| detail.starts_with(&begin))).count()
    };
    assert_eq!(by_itself("GET"), 1, "{found:?}");
    assert_eq!(by_itself("POST") + by_itself("PATCH") + by_itself("DELETE"), 10, "{found:?}");
    let counted =
        found.iter().filter(|[_, detail, _]| detail.is_none()).map(|[user, _, count]| (user.clone(), count.clone()));
    let count = |count: i64| (Some(bob.user.clone()), Some(count.to_string()));
    assert_eq!(counted.collect::<BTreeSet<_>>(), BTreeSet::from([count(reads - 1), count(asked - reads - 10)]));
    server.stop().await;
}

#[on_both_stores]
async fn what_an_administrator_is_refused_is_an_event(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    let ask_for = async |request: TestRequest, status: u16| {
        assert_eq!(server.send(request.bearer(&alice.token)).await.status, status);
    };
    ask_for(patch(&user(&alice.user), &json!({"admin": false})), 409).await;
    ask_for(delete(&user(&alice.user)), 409).await;
    ask_for(post(USERS).json(&json!({"username": BOB, "password": PASSWORD})), 409).await;
    ask_for(post(REVOKE).json(&json!({"filter": {"user": BOB}, "expect": 0})), 409).await;
    server.advance(15 * MINUTE);
    ask_for(post(&format!("{}/unlock", user(&bob.user))), 403).await;
    // What was mistyped is no refusal.
    ask_for(patch(&user(&bob.user), &json!({"name": ""})), 422).await;
    ask_for(delete(&format!("{ALL_SESSIONS}/{}", alice.user)), 404).await;
    until("all are on record", async || total(&server.database).await == 5).await;
    let event =
        |about: &LoggedIn, detail: &str| [Some(about.user.clone()), Some(detail.to_owned()), Some(String::from("1"))];
    let expected = [
        event(&alice, "oneself: PATCH /api/v1/admin/users/{id}"),
        event(&alice, "oneself: DELETE /api/v1/admin/users/{id}"),
        event(&alice, "username_taken: POST /api/v1/admin/users"),
        event(&alice, "more_than_expected: POST /api/v1/admin/sessions/revoke"),
        event(&bob, "reauthentication_required: POST /api/v1/admin/users/{id}/unlock"),
    ];
    assert_eq!(refused(&server.database).await, expected);
    server.stop().await;
}
