//! Connections: which of them make room for new clients, how long silent ones stay, and how they end.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use sessiond_needs::on_both_stores;
use sessiond_support::wait::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::process::{Home, Process};
use crate::harness::{ALICE, PASSWORD, Reply, Server, StoreKind, get};
use crate::wire::framing::Wire;
use sessiond::http::request::state::Timeouts;

const ASK: &str = "GET /user HTTP/1.1\r\nHost: a\r\n\r\n";

/// The head of a login that waits for its body, and the body.
fn login() -> (String, String) {
    let body = format!("{{\"username\":\"{ALICE}\",\"password\":\"{PASSWORD}\"}}");
    let head = format!(
        "POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    (head, body)
}

#[on_both_stores]
async fn at_the_cap_the_connection_idle_for_longest_makes_room(store: StoreKind) {
    let server = Server::with(store, "max_connections = 2").await;
    let (mut first, mut second) = (Wire::to(&server.address()).await, Wire::to(&server.address()).await);
    for wire in [&mut second, &mut first] {
        wire.send(ASK).await;
        assert_eq!(wire.reply().await.status, 401);
        // A later time on the server's clock, which counts milliseconds.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut third = Wire::to(&server.address()).await;
    third.send(ASK).await;
    assert_eq!(third.reply().await.status, 401);
    assert!(second.end().await.is_empty(), "it was idle for longest");
    first.send(ASK).await;
    assert_eq!(first.reply().await.status, 401, "it was not asked to make room");
    server.stop().await;
}

#[on_both_stores]
async fn a_crowd_that_connects_while_the_server_is_busy_is_not_turned_away(store: StoreKind) {
    let home = Home::new(store);
    let process = home.serve().await;
    let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("a number");
    let crowd = allowed.trim().parse::<usize>().expect("a number").min(600);
    assert!(crowd > 128, "net.core.somaxconn is {crowd}");
    process.signal(Signal::STOP);
    let mut wires = Vec::new();
    for _ in 0..crowd {
        let connected = timeout(Duration::from_secs(1), Wire::to(&process.listen));
        wires.push(connected.await.expect("the system would have it try again after a second"));
    }
    process.signal(Signal::CONT);
    for wire in &mut wires {
        wire.send(ASK).await;
    }
    for wire in &mut wires {
        assert_eq!(wire.reply().await.status, 401);
    }
    assert!(process.stop().await.success());
}

#[on_both_stores]
async fn a_connection_with_a_request_under_way_never_makes_room(store: StoreKind) {
    let server = Server::with(store, "max_connections = 2").await;
    let (head, body) = login();
    let mut under_way = Vec::new();
    for _ in 0..2 {
        let mut wire = Wire::to(&server.address()).await;
        wire.send(&head).await;
        assert_eq!(wire.reply().await.status, 100, "its handler waits for the body");
        under_way.push(wire);
    }
    let mut third = Wire::to(&server.address()).await;
    third.send(ASK).await;
    assert!(timeout(Duration::from_millis(300), third.more()).await.is_err(), "served over the cap");
    let (mut first, mut second) = (under_way.remove(0), under_way.remove(0));
    first.send(&body).await;
    assert_eq!(first.reply().await.status, 200);
    assert_eq!(third.reply().await.status, 401, "the first is idle now");
    second.send(&body).await;
    assert_eq!(second.reply().await.status, 200);
    server.stop().await;
}

#[on_both_stores]
async fn heads_without_their_bodies_and_unread_answers_keep_clients_out_for_a_moment_at_most(store: StoreKind) {
    let server = Server::with(store, "max_connections = 4").await;
    let (head, _) = login();
    let mut stalled = Vec::new();
    for _ in 0..12 {
        let mut wire = Wire::to(&server.address()).await;
        wire.send(&head).await;
        stalled.push(wire);
    }
    let begin = Instant::now();
    let mut wire = Wire::to(&server.address()).await;
    wire.send(ASK).await;
    assert_eq!(wire.reply().await.status, 401);
    assert!(begin.elapsed() < Timeouts::default().body, "none of them had to run out of time first");
    server.stop().await;
}

#[on_both_stores]
async fn silent_sockets_keep_no_client_out(store: StoreKind) {
    let server = Server::with(store, "max_connections = 4").await;
    let mut silent = Vec::new();
    for _ in 0..12 {
        silent.push(Wire::to(&server.address()).await);
    }
    let begin = Instant::now();
    for _ in 0..12 {
        let mut wire = Wire::to(&server.address()).await;
        wire.send(ASK).await;
        assert_eq!(wire.reply().await.status, 401);
    }
    assert!(begin.elapsed() < Timeouts::default().first_head, "no silent socket had to run out of time first");
    server.stop().await;
}

#[on_both_stores]
async fn silent_sockets_keep_no_health_check_out(store: StoreKind) {
    let home = Home::new(store);
    let server = home.serve().await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(&server.ops).await.expect("a connection"));
    }
    let mut command = home.command(&["healthcheck"]);
    command.env("SESSIOND_OPS_LISTEN", &server.ops);
    let healthy = crate::harness::process::finish(command, "").await;
    assert!(healthy.ok, "{healthy:?}");
}

#[on_both_stores]
async fn the_first_head_has_less_time_than_an_idle_connection(store: StoreKind) {
    let timeouts = Timeouts { first_head: Duration::from_millis(300), ..Timeouts::default() };
    let server = Server::impatient(store, timeouts).await;
    let mut used = Wire::to(&server.address()).await;
    used.send(ASK).await;
    assert_eq!(used.reply().await.status, 401);
    let silent = Wire::to(&server.address()).await;
    let mut dribbled = Wire::to(&server.address()).await;
    dribbled.send("GET /user HTTP/1.1\r\nHost: a\r\nX: ").await;
    assert!(silent.end().await.is_empty());
    assert!(dribbled.end().await.is_empty());
    used.send(ASK).await;
    assert_eq!(used.reply().await.status, 401, "it may be idle for longer");
    server.stop().await;
}

#[on_both_stores]
async fn a_connection_of_operations_carries_one_request(store: StoreKind) {
    let server = Server::start(store).await;
    let mut wire = Wire::to(&server.ops_address()).await;
    let ask = format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", server.ops_address());
    wire.send(&ask).await;
    assert_eq!(wire.reply().await.status, 200);
    assert!(wire.end().await.is_empty(), "it ends, though the client did not ask for that");
    let silent = Wire::to(&server.ops_address()).await;
    let begin = Instant::now();
    assert!(silent.end().await.is_empty());
    assert!(begin.elapsed() < Timeouts::default().first_head, "operators are given two seconds");
    server.stop().await;
}

/// Sends a head and then a body that goes on and on, and reads the answer only once a part of the body was sent.
async fn answer_to_a_flood(address: &str, head: &str) -> std::io::Result<Reply> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(head.as_bytes()).await?;
    let (mut read, mut write) = stream.split();
    let sending = async {
        let piece = [b'x'; 16 * 1024];
        // Until it is not taken any more.
        for _ in 0..64 {
            if write.write_all(&piece).await.is_err() {
                break;
            }
        }
    };
    let mut answer = Vec::new();
    let reading = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        read.read_to_end(&mut answer).await
    };
    let ((), answered) = tokio::join!(sending, reading);
    answered?;
    Ok(Reply::parse(&answer))
}

#[on_both_stores]
async fn a_refusal_reaches_a_client_that_is_still_sending(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    let length = "Content-Length: 1048576\r\n\r\n";
    let (json, bearer) = ("Content-Type: application/json\r\n", format!("Authorization: Bearer {}\r\n", alice.token));
    for (head, status) in [
        (format!("POST /auth/login HTTP/1.1\r\nHost: a\r\n{json}{length}"), 413),
        (format!("POST /api/v1/login HTTP/1.1\r\nHost: a\r\n{json}{length}"), 413),
        (format!("POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\n{json}{length}"), 413),
        (format!("POST /api/v1/auth/logout HTTP/1.1\r\nHost: a\r\n{bearer}{length}"), 413),
        (format!("POST /api/v1/auth/logout HTTP/1.1\r\nHost: a\r\n{length}"), 401),
        (format!("POST /nothing HTTP/1.1\r\nHost: a\r\n{length}"), 404),
        (format!("PUT /user HTTP/1.1\r\nHost: a\r\n{length}"), 405),
        (format!("POST /auth/login HTTP/1.1\r\nHost: a\r\nSec-Fetch-Site: cross-site\r\n{length}"), 403),
        // hyper's own refusal, of a head that does not end.
        (String::from("GET /user HTTP/1.1\r\nHost: a\r\nX: "), 431),
    ] {
        let reply = answer_to_a_flood(&server.address(), &head).await.unwrap_or_else(|e| panic!("{head}: {e}"));
        assert_eq!(reply.status, status, "{head}");
    }
    assert_eq!(server.check(&alice.token).await, 200, "no refusal did anything");
    server.stop().await;
}

#[on_both_stores]
async fn stopping_ends_in_time_whatever_clients_do(store: StoreKind) {
    let home = Home::new(store);
    let mut command = home.server();
    command.env("SESSIOND_SHUTDOWN_DELAY", "2s");
    let mut server = Process::start(command).await;
    let mut half_a_line = Wire::to(&server.listen).await;
    half_a_line.send("GET /us").await;
    let mut half_a_body = Wire::to(&server.listen).await;
    half_a_body.send(&login().0).await;
    assert_eq!(half_a_body.reply().await.status, 100);
    let mut idle = Wire::to(&server.listen).await;
    idle.send(ASK).await;
    assert_eq!(idle.reply().await.status, 401);
    // It sends and never reads.
    let not_reading = Wire::to(&server.listen).await;
    let flood = async {
        let mut not_reading = not_reading;
        while not_reading.stream.write_all(ASK.repeat(1000).as_bytes()).await.is_ok() {}
    };
    let dribble = async {
        while half_a_line.stream.write_all(b"e").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let begin = Instant::now();
    server.signal(Signal::TERM);
    let stopped = async {
        let status = server.ended().await;
        (status, begin.elapsed())
    };
    let ((status, took), (), ()) = tokio::join!(stopped, flood, dribble);
    assert!(status.success(), "{}", server.log());
    assert!(took < Duration::from_secs(10), "{took:?}: {}", server.log());
}

#[on_both_stores]
async fn a_hang_up_kills_nothing(store: StoreKind) {
    let home = Home::new(store);
    let server = home.serve().await;
    server.signal(Signal::HUP);
    until("it says so", async || server.log().contains("SIGHUP")).await;
    assert_eq!(server.send(get("/user")).await.status, 401);
    assert!(server.stop().await.success());
}
