//! The store in trouble, and too many passwords at once: refused in each dialect's words, never an allowance, and
//! over when the trouble is.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use serde_json::json;

use crate::harness::{ALICE, Ask, BOB, LoggedIn, PASSWORD, Reply, Server, delete, get, post};
use crate::process::until;

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

/// Another process at the same database.
fn beside(server: &Server) -> Connection {
    Connection::open(server.database()).expect("a connection")
}

fn count(connection: &Connection, what: &str) -> i64 {
    connection.query_row(what, [], |row| row.get(0)).expect("a number")
}

/// A login in each dialect.
fn logins() -> [Ask; 3] {
    let body = json!({"username": BOB, "password": PASSWORD});
    ["/api/v1/auth/login", "/auth/login", "/api/v1/login"].map(|path| post(path).json(&body))
}

/// A logout in each dialect.
fn logouts(bob: &LoggedIn) -> [Ask; 3] {
    ["/api/v1/auth/logout", "/auth/logout", "/api/v1/logout"].map(|path| post(path).pair(&bob.user, &bob.token))
}

/// A check in each dialect, and the neutral one.
fn checks(bob: &LoggedIn) -> [Ask; 4] {
    ["/api/v1/auth/session", "/user", "/api/v1/me", "/verify"].map(|path| get(path).bearer(&bob.token))
}

async fn send_all<const N: usize>(server: &Server, asks: [Ask; N]) -> Vec<Reply> {
    futures_util::future::join_all(asks.map(|ask| server.send(ask))).await
}

fn assert_words(replies: &[Reply], words: &[(u16, &str)]) {
    for (reply, (status, body)) in replies.iter().zip(words) {
        assert_eq!((reply.status, reply.text().as_str()), (*status, *body));
        let expected = (*status == 503).then_some("1");
        assert_eq!(reply.header("retry-after"), expected, "{status} {body}");
        assert!(reply.all("set-cookie").is_empty(), "nothing is known to be over");
    }
    assert_eq!(replies.len(), words.len());
}

/// Logs in and out again, as if nothing had been.
async fn assert_is_over(server: &Server, bob: &LoggedIn) {
    for login in logins() {
        assert_eq!(server.send(login).await.status, 200, "over by itself");
    }
    let [logout, ..] = logouts(bob);
    assert_eq!(server.send(logout).await.status, 200);
    assert_eq!(server.check(&bob.token).await, 401);
}

#[tokio::test]
async fn a_busy_database_is_too_slow_and_nothing_is_half_done() {
    let server = Server::start().await;
    let bob = server.log_in(BOB).await;
    let other = beside(&server);
    let events = count(&other, "SELECT count(*) FROM events");
    other.execute_batch("BEGIN IMMEDIATE").expect("the write lock");

    let too_slow = [(504, CANONICAL_504), (500, MEDAMA_500), (503, ROCKETCHAT_503)];
    assert_words(&send_all(&server, logouts(&bob)).await, &too_slow);
    assert_words(&send_all(&server, logins()).await, &too_slow);
    let revoke = delete(&format!("/api/v1/auth/sessions/{}", bob.session)).bearer(&bob.token);
    assert_words(&[server.send(revoke).await], &[(504, CANONICAL_504)]);
    for reply in send_all(&server, checks(&bob)).await {
        assert_eq!(reply.status, 200, "reading goes on");
    }

    other.execute_batch("ROLLBACK").expect("released");
    assert_eq!(server.check(&bob.token).await, 200, "still alive");
    assert_eq!(count(&other, "SELECT count(*) FROM events"), events, "none of it is on record");
    assert_eq!(count(&other, "SELECT count(*) FROM sessions"), 1, "no login came through");
    assert_is_over(&server, &bob).await;
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_neither_allowed_nor_refused() {
    let server = Server::start().await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    let server = server.restart("").await;
    assert_eq!(server.check(&alice.token).await, 200, "in memory from now on");
    for file in ["test.db", "test.db-wal", "test.db-shm"] {
        let path = server.dir.path().join(file);
        let length = std::fs::metadata(&path).expect("a file").len();
        let mut file = std::fs::OpenOptions::new().write(true).open(path).expect("a file");
        file.write_all(&vec![0xa5; usize::try_from(length).expect("small")]).expect("overwritten");
    }

    let replies = send_all(&server, checks(&bob)).await;
    assert_words(&replies, &[(502, CANONICAL_502), (500, MEDAMA_500), (503, ROCKETCHAT_503), (503, "")]);
    assert_words(
        &send_all(&server, logouts(&bob)).await,
        &[(502, CANONICAL_502), (500, MEDAMA_500), (503, ROCKETCHAT_503)],
    );
    assert_words(&send_all(&server, logins()).await, &[(502, CANONICAL_502), (500, MEDAMA_500), (503, ROCKETCHAT_503)]);
    assert_eq!(server.check(&alice.token).await, 200, "what memory knows needs no store");
    assert_eq!(server.ops("/readyz").await.status, 503);
    assert_eq!(server.ops("/livez").await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_database_that_was_replaced_while_in_use_serves_nobody() {
    for file in ["test.db", "test.db.lock"] {
        let server = Server::start().await;
        let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
        assert_eq!(server.check(&alice.token).await, 200, "in memory from now on");
        let (path, kept) = (server.dir.path().join(file), server.dir.path().join("kept"));
        std::fs::rename(&path, &kept).expect("moved away");
        std::fs::copy(&kept, &path).expect("another of the same name");

        let replies = send_all(&server, logouts(&bob)).await;
        assert_words(&replies, &[(502, CANONICAL_502), (500, MEDAMA_500), (503, ROCKETCHAT_503)]);
        until("memory is forgotten", async || server.check(&alice.token).await == 503).await;
        assert_eq!(server.ops("/readyz").await.status, 503);

        std::fs::rename(&kept, &path).expect("back");
        assert_eq!(server.check(&alice.token).await, 503, "until a restart");
        let server = server.restart("").await;
        assert_eq!(server.check(&alice.token).await, 200);
        assert_eq!(server.check(&bob.token).await, 200, "never logged out");
        server.stop().await;
    }
}

#[tokio::test]
async fn a_store_that_makes_no_sense_is_a_bug_in_every_dialect() {
    let server = Server::start().await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    let server = server.restart("").await;
    assert_eq!(server.check(&alice.token).await, 200, "in memory from now on");
    let other = beside(&server);
    other.execute_batch("ALTER TABLE sessions RENAME TO gone").expect("gone");

    let words = [(500, CANONICAL_500), (500, MEDAMA_500), (500, ROCKETCHAT_500), (500, "")];
    assert_words(&send_all(&server, checks(&bob)).await, &words);
    assert_words(&send_all(&server, logouts(&bob)).await, &words[..3]);
    assert_eq!(server.check(&alice.token).await, 200, "what memory knows needs no store");

    other.execute_batch("ALTER TABLE gone RENAME TO sessions").expect("back");
    assert_eq!(server.check(&bob.token).await, 200, "over by itself");
    let [logout, ..] = logouts(&bob);
    assert_eq!(server.send(logout).await.status, 200);
    assert_eq!(server.check(&bob.token).await, 401);
    server.stop().await;
}

/// A file system of its own with little room, gone when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path) -> Option<Self> {
        let made = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(at).output().ok()?;
        made.status.success().then(|| Self(at.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
#[cfg_attr(not(may_mount), ignore = "needs the right to mount a file system")]
async fn a_full_disk_is_an_unreachable_store_until_there_is_room() {
    let dir = tempfile::tempdir().expect("a directory");
    let small = Small::mount(dir.path()).expect("mounted");
    let server = Server::with(&format!("database_url = 'sqlite://{}/test.db'", small.0.display())).await;
    let bob = server.log_in(BOB).await;
    let filler = small.0.join("filler");
    let mut file = std::fs::File::create(&filler).expect("a file");
    while file.write_all(&[0; 512]).is_ok() {}

    // The log may have a little room left: what still fits is stored, and then nothing is.
    let mut last = server.send(logins()[0].clone()).await;
    for _ in 0..50 {
        if last.status != 200 {
            break;
        }
        last = server.send(logins()[0].clone()).await;
    }
    assert_words(&[last], &[(502, CANONICAL_502)]);
    let words = [(502, CANONICAL_502), (500, MEDAMA_500), (503, ROCKETCHAT_503)];
    assert_words(&send_all(&server, logouts(&bob)).await, &words);
    assert_words(&send_all(&server, logins()).await, &words);
    assert_eq!(server.check(&bob.token).await, 200, "still alive");
    assert_eq!(server.ops("/readyz").await.status, 503, "reading is not enough");

    std::fs::remove_file(&filler).expect("room");
    drop(file);
    assert_eq!(server.ops("/readyz").await.status, 200, "without waiting for a login");
    assert_is_over(&server, &bob).await;
    server.stop().await;
}

#[tokio::test]
async fn too_many_passwords_at_once_are_refused_at_once() {
    let server = Server::with("password_workers = 1\npassword_queue = 1").await;
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

/// With the tests above (500, 502, 503, 504), every status of the canonical table whose route exists.
#[tokio::test]
async fn each_canonical_status_that_is_the_clients_doing_has_its_type() {
    let server = Server::start().await;
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
