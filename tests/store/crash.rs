//! Killed and stopped: what was answered holds, and nothing is half done.

use rustix::process::Signal;
use sessiond_needs::on_both_stores;
use sessiond_support::wait::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::fleet::ops;
use crate::harness::process::{Home, Process, attempt, logged_in, login};
use crate::harness::{ALICE, PASSWORD, Reply, StoreKind, TestRequest, get, post};

const ROUNDS: usize = 10;
const AT_ONCE: usize = 5;

/// Sends all requests at once, kills the server after `answers` of them were answered, and returns every answer.
async fn kill_amid(server: Process, requests: Vec<TestRequest>, answers: usize) -> Vec<Option<Reply>> {
    let mut under_way = JoinSet::new();
    let count = requests.len();
    for (at, request) in requests.into_iter().enumerate() {
        let address = server.listen.clone();
        under_way.spawn(async move { (at, attempt(&address, &request).await) });
    }
    let mut replies = vec![None; count];
    for _ in 0..answers {
        let (at, reply) = under_way.join_next().await.expect("one more").expect("no panic");
        replies[at] = reply;
    }
    server.kill().await;
    while let Some(ended) = under_way.join_next().await {
        let (at, reply) = ended.expect("no panic");
        replies[at] = reply;
    }
    replies
}

/// Panics when a session lacks its login in the audit, or a revocation its tombstone, its number or its event.
async fn assert_nothing_is_half_done(home: &Home) {
    assert_eq!(home.database.half_done().await, 0, "half done");
    let logins = home.database.number("SELECT count(*) FROM events WHERE kind = 'login_ok'").await;
    assert_eq!(logins, home.database.number("SELECT count(*) FROM sessions").await);
}

#[on_both_stores]
async fn an_answered_logout_outlives_kill_9(store: StoreKind) {
    let home = Home::new(store);
    let mut server = home.serve().await;
    for round in 0..ROUNDS {
        let logins = futures_util::future::join_all((0..AT_ONCE).map(|_| server.log_in(ALICE))).await;
        for login in &logins {
            assert_eq!(server.check(&login.token).await, 200);
        }
        let logouts = logins.iter().map(|login| post("/api/v1/auth/logout").bearer(&login.token)).collect();
        let replies = kill_amid(server, logouts, 1 + round % AT_ONCE).await;
        assert_nothing_is_half_done(&home).await;
        server = home.serve().await;
        for (login, reply) in logins.iter().zip(replies) {
            let status = server.check(&login.token).await;
            match reply {
                Some(reply) => assert_eq!((reply.status, status), (200, 401), "answered: {}", reply.text()),
                None => assert!(matches!(status, 200 | 401), "not answered: either, but {status}"),
            }
        }
    }
}

#[on_both_stores]
async fn an_answered_login_outlives_kill_9(store: StoreKind) {
    let home = Home::new(store);
    let mut server = home.serve().await;
    for round in 0..ROUNDS {
        // Tries that were being checked when it was killed count as failed.
        home.database.execute("DELETE FROM throttles").await;
        let logins = vec![login(ALICE, PASSWORD); AT_ONCE];
        let replies = kill_amid(server, logins, 1 + round % AT_ONCE).await;
        assert_nothing_is_half_done(&home).await;
        server = home.serve().await;
        for reply in replies.into_iter().flatten() {
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert_eq!(server.check(&logged_in(&reply).token).await, 200);
        }
    }
}

#[on_both_stores]
async fn sigterm_sends_clients_elsewhere_before_it_stops(store: StoreKind) {
    let home = Home::new(store);
    let mut command = home.server();
    command.env("SESSIOND_SHUTDOWN_DELAY", "7s");
    let mut server = Process::start(command).await;
    let alice = server.log_in(ALICE).await;
    let ready = async |server: &Process| ops(server, "/readyz").await.status;
    assert_eq!(ready(&server).await, 200);

    server.signal(Signal::TERM);
    until("it is not ready any more", async || ready(&server).await == 503).await;
    let mut stream = TcpStream::connect(&server.listen).await.expect("let in");
    // Not even a client that asks to go on does.
    let token = &alice.token;
    let request = format!("GET /verify HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer and the end");
    let answer = Reply::parse(&answer);
    assert_eq!((answer.status, answer.header("Connection")), (200, Some("close")));

    server.signal(Signal::TERM);
    assert_eq!(server.ended().await.code(), Some(0));
    assert!(server.log().contains("stopped at once, as asked twice"), "{}", server.log());
}

#[on_both_stores]
async fn sigterm_lets_a_request_under_way_finish_and_exits_0(store: StoreKind) {
    let home = Home::new(store);
    let mut server = home.serve().await;
    // The server asks for the body, so it has begun with the request.
    let request = login(ALICE, PASSWORD).header("Expect", "100-continue").bytes(&server.listen);
    let body = request.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    let mut stream = TcpStream::connect(&server.listen).await.expect("connected");
    stream.write_all(&request[..body]).await.expect("sent");
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.expect("asked for the body");
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");

    server.signal(Signal::TERM);
    until("it is stopping", async || server.log().contains("stopping")).await;
    until("no process is let in", async || attempt(&server.listen, &get("/verify")).await.is_none()).await;
    stream.write_all(&request[body..]).await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("answered");

    let answer = Reply::parse(&answer);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(server.ended().await.code(), Some(0));
    let again = home.serve().await;
    assert_eq!(again.check(&logged_in(&answer).token).await, 200);
}
