//! The most sessions of a user: which of them makes room for a login is a matter of when each was last seen, to the
//! millisecond and wherever that is known.

use std::time::Duration;

use futures_util::future::join_all;
use sessiond_needs::on_both_stores;

use crate::harness::{BOB, LoggedIn, PASSWORD, Server, StoreKind, get, post};

const MOMENT: Duration = Duration::from_millis(1);

/// Logs in as a browser does; returns the cookie.
async fn browser(server: &Server) -> String {
    let body = serde_json::json!({"username": BOB, "password": PASSWORD});
    server.send(post("/api/v1/auth/login").json(&body)).await.cookie().expect("a cookie")
}

#[on_both_stores]
async fn a_session_in_use_survives_any_number_of_logins(store: StoreKind) {
    for (cap, cache) in [(10, "on"), (3, "on"), (2, "on"), (10, "off"), (2, "off")] {
        let server = Server::with(store, &format!("sessions_per_user = {cap}\ncache = '{cache}'")).await;
        let jar = browser(&server).await;
        let mut newest = None;
        for login in 0..12 {
            server.advance(MOMENT);
            let check = server.send(get("/verify").cookie(&jar)).await;
            assert_eq!(check.status, 200, "{login} of {cap}, {cache}");
            server.advance(MOMENT);
            newest = Some(server.log_in(BOB).await);
        }
        let newest = newest.expect("twelve").token;
        assert_eq!((server.check(&jar).await, server.check(&newest).await), (200, 200));
        let list = server.send(get("/api/v1/auth/sessions").bearer(&newest)).await.json();
        assert_eq!(list["sessions"].as_array().map(Vec::len), Some(cap));
        server.stop().await;
    }
}

#[on_both_stores]
async fn each_login_too_many_ends_the_session_not_seen_for_longest(store: StoreKind) {
    let server = Server::with(store, "sessions_per_user = 5").await;
    let mut sessions: Vec<LoggedIn> = Vec::new();
    for _ in 0..5 {
        server.advance(MOMENT);
        sessions.push(server.log_in(BOB).await);
    }
    for round in 0..10 {
        // Each but one of those that are left is seen, and this time another one first.
        let unseen = sessions.remove(round % 5);
        sessions.rotate_left(round % 3);
        for session in &sessions {
            server.advance(MOMENT);
            assert_eq!(server.check(&session.token).await, 200, "round {round}");
        }
        server.advance(MOMENT);
        sessions.push(server.log_in(BOB).await);
        assert_eq!(server.check(&unseen.token).await, 401, "round {round}");
        for session in &sessions {
            server.advance(MOMENT);
            assert_eq!(server.check(&session.token).await, 200, "round {round}");
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn logins_at_once_leave_as_many_sessions_as_there_may_be_and_the_one_in_use(store: StoreKind) {
    let server = Server::with(store, "sessions_per_user = 4\npassword_queue = 64").await;
    let jar = browser(&server).await;
    for _ in 0..4 {
        server.advance(MOMENT);
        server.log_in(BOB).await;
        server.advance(MOMENT);
        assert_eq!(server.send(get("/verify").cookie(&jar)).await.status, 200);
    }
    server.advance(MOMENT);
    assert_eq!(server.send(get("/verify").cookie(&jar)).await.status, 200);
    // All of them are as old as that check, and none of the first three is left to make room before it.
    let three = join_all((0..3).map(|_| server.log_in(BOB))).await;
    assert_eq!(server.send(get("/verify").cookie(&jar)).await.status, 200);
    for session in &three {
        assert_eq!(server.check(&session.token).await, 200);
    }
    let list = server.send(get("/api/v1/auth/sessions").cookie(&jar)).await.json();
    assert_eq!(list["sessions"].as_array().map(Vec::len), Some(4));
    server.stop().await;
}
