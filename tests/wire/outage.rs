//! The store in trouble, and too many passwords at once: refused in each dialect's words, never an allowance, and
//! over when the trouble is.

use serde_json::json;
use sessiond_needs::on_both_stores;

use crate::harness::{ALICE, BOB, LoggedIn, PASSWORD, Reply, Server, StoreKind, TestRequest, delete, get, post};

const CANONICAL_500: &str = r#"{"code":500,"detail":"Internal server error","type":"internal_server_error"}"#;
const CANONICAL_502: &str = r#"{"code":502,"detail":"The session store cannot be reached","type":"bad_gateway_error"}"#;
const CANONICAL_503: &str =
    r#"{"code":503,"detail":"Too many logins at once, try again shortly","type":"overloaded_error"}"#;
const CANONICAL_504: &str =
    r#"{"code":504,"detail":"The session store did not answer in time","type":"gateway_timeout_error"}"#;
const MEDAMA_500: &str = r#"{"error":{"code":500,"message":"internal server error"}}"#;
const MEDAMA_503: &str = r#"{"error":{"code":503,"message":"too many logins at once, try again shortly"}}"#;
const ROCKETCHAT_500: &str = r#"{"success":false,"error":"Internal server error"}"#;
const ROCKETCHAT_503: &str = r#"{"success":false,"error":"Service unavailable"}"#;

/// The answers to a check where the store cannot be reached: in each dialect, and of the neutral check.
pub const UNREACHABLE: [(u16, &str); 4] = [(502, CANONICAL_502), (500, MEDAMA_500), (503, ROCKETCHAT_503), (503, "")];
/// The answers where it does not answer in time.
pub const TOO_SLOW: [(u16, &str); 4] = [(504, CANONICAL_504), (500, MEDAMA_500), (503, ROCKETCHAT_503), (503, "")];
/// The answers where what it holds makes no sense.
const NONSENSE: [(u16, &str); 4] = [(500, CANONICAL_500), (500, MEDAMA_500), (500, ROCKETCHAT_500), (500, "")];

/// A login in each dialect.
pub fn logins() -> [TestRequest; 3] {
    let body = json!({"username": BOB, "password": PASSWORD});
    ["/api/v1/auth/login", "/auth/login", "/api/v1/login"].map(|path| post(path).json(&body))
}

/// A logout in each dialect.
pub fn logouts(bob: &LoggedIn) -> [TestRequest; 3] {
    ["/api/v1/auth/logout", "/auth/logout", "/api/v1/logout"].map(|path| post(path).pair(&bob.user, &bob.token))
}

/// A check in each dialect, and the neutral one.
pub fn checks(bob: &LoggedIn) -> [TestRequest; 4] {
    ["/api/v1/auth/session", "/user", "/api/v1/me", "/verify"].map(|path| get(path).bearer(&bob.token))
}

/// Sends all of them at once.
pub async fn send_all<const N: usize>(server: &Server, asks: [TestRequest; N]) -> Vec<Reply> {
    futures_util::future::join_all(asks.map(|ask| server.send(ask))).await
}

/// Panics unless each reply is in its words.
pub fn assert_words(replies: &[Reply], words: &[(u16, &str)]) {
    for (reply, (status, body)) in replies.iter().zip(words) {
        assert_eq!((reply.status, reply.text().as_str()), (*status, *body));
        let expected = (*status == 503).then_some("1");
        assert_eq!(reply.header("retry-after"), expected, "{status} {body}");
        assert!(reply.all("set-cookie").is_empty(), "nothing is known to be over");
    }
    assert_eq!(replies.len(), words.len());
}

/// Logs in and out again, as if nothing had been.
pub async fn assert_is_over(server: &Server, bob: &LoggedIn) {
    for login in logins() {
        assert_eq!(server.send(login).await.status, 200, "over by itself");
    }
    let [logout, ..] = logouts(bob);
    assert_eq!(server.send(logout).await.status, 200);
    assert_eq!(server.check(&bob.token).await, 401);
}

#[on_both_stores]
async fn a_store_that_makes_no_sense_is_a_bug_in_every_dialect(store: StoreKind) {
    let server = Server::start(store).await;
    server.until_warm().await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    assert_eq!(server.check(&alice.token).await, 200, "in memory from now on");
    server.database.execute("ALTER TABLE sessions RENAME TO gone").await;

    assert_words(&send_all(&server, checks(&bob)).await, &NONSENSE);
    assert_words(&send_all(&server, logouts(&bob)).await, &NONSENSE[..3]);
    assert_eq!(server.check(&alice.token).await, 200, "what memory knows needs no store");

    server.database.execute("ALTER TABLE gone RENAME TO sessions").await;
    assert_eq!(server.check(&bob.token).await, 200, "over by itself");
    let [logout, ..] = logouts(&bob);
    assert_eq!(server.send(logout).await.status, 200);
    assert_eq!(server.check(&bob.token).await, 401);
    server.stop().await;
}

#[on_both_stores]
async fn too_many_passwords_at_once_are_refused_at_once(store: StoreKind) {
    let server = Server::with(store, "password_workers = 1\npassword_queue = 1").await;
    for (login, words) in logins().into_iter().zip([(503, CANONICAL_503), (503, MEDAMA_503), (503, ROCKETCHAT_503)]) {
        // One is hashed and one waits: of so many at once, some find no place.
        let mut refused = Vec::new();
        while refused.is_empty() {
            let replies = send_all(&server, std::array::from_fn::<_, 12, _>(|_| login.clone())).await;
            assert!(replies.iter().any(|reply| reply.status == 200), "some find one");
            refused = replies.into_iter().filter(|reply| reply.status != 200).collect();
        }
        for reply in refused {
            assert_words(&[reply], &[words]);
        }
        assert_eq!(server.send(login).await.status, 200, "over by itself");
    }
    server.stop().await;
}

#[on_both_stores]
async fn too_many_passwords_at_once_leave_a_person_the_form(store: StoreKind) {
    let server = Server::with(store, "password_workers = 1\npassword_queue = 1").await;
    let bob = server.log_in(BOB).await;
    let change = post("/password")
        .cookie(&bob.token)
        .form("current_password=not+the+right+one&new_password=another+horse+battery");
    let mut refused = Vec::new();
    while refused.is_empty() {
        let replies = send_all(&server, std::array::from_fn::<_, 12, _>(|_| change.clone())).await;
        refused = replies.into_iter().filter(|reply| reply.status != 401).collect();
    }
    for reply in refused {
        assert!(reply.status == 503 && reply.header("retry-after").is_some(), "{reply:?}");
        assert!(reply.text().contains("name=\"new_password\""), "{}", reply.text());
    }
    server.stop().await;
}

/// With the tests above (500, 502, 503, 504), every status of the canonical table whose route exists.
#[on_both_stores]
async fn each_canonical_status_that_is_the_clients_doing_has_its_type(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = server.log_in(BOB).await;
    let login = |body: &str| post("/api/v1/auth/login").body("application/json", body.as_bytes());
    for (request, status, kind) in [
        (login("{"), 400, "invalid_request_error"),
        (get("/api/v1/auth/sessions?cursor=x").bearer(&bob.token), 400, "invalid_request_error"),
        (get("/api/v1/auth/session"), 401, "authentication_error"),
        (login(r#"{"username":"bob","password":"wrong"}"#), 401, "authentication_error"),
        (login("{}").header("Sec-Fetch-Site", "cross-site"), 403, "forbidden_error"),
        (delete("/api/v1/auth/sessions/x").bearer(&bob.token), 404, "not_found_error"),
        (get("/api/v1/auth/nothing"), 404, "not_found_error"),
        (login(r#"{"username":"bob"}"#), 422, "validation_error"),
    ] {
        let reply = server.send(request).await;
        assert_eq!(
            (reply.status, &reply.json()["code"], &reply.json()["type"]),
            (status, &json!(status), &json!(kind))
        );
    }
    server.stop().await;
}
