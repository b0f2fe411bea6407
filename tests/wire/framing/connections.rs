//! What connections live through: heads and bodies that do not come, answers that are not read, limits, and stops.

use sessiond_needs::on_both_stores;

use super::*;

#[on_both_stores]
async fn connections_without_a_whole_head_are_closed(store: StoreKind) {
    let server = Server::impatient(store, Timeouts { head: Duration::from_millis(300), ..Timeouts::default() }).await;
    for address in [server.address(), server.ops_address()] {
        let silent = Wire::to(&address).await;
        let mut idle = Wire::to(&address).await;
        idle.send("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(idle.reply().await.status, 404);
        let mut dribbled = Wire::to(&address).await;
        let dribble = async {
            dribbled.send("GET /user HTTP/1.1\r\nHost: a\r\nX: ").await;
            // Each byte within the timeout, and no end to them.
            while timeout(Duration::from_millis(30), dribbled.stream.read_buf(&mut dribbled.buffer)).await.is_err() {
                if dribbled.stream.write_all(b"y").await.is_err() {
                    break;
                }
            }
        };
        let (said, idled, _) =
            tokio::join!(silent.end(), idle.end(), async { timeout(PATIENCE, dribble).await.expect("closed") });
        assert_eq!((said.len(), idled.len()), (0, 0));
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_client_that_sends_and_never_reads_is_disconnected(store: StoreKind) {
    let server = Server::impatient(store, Timeouts { head: Duration::from_millis(300), ..Timeouts::default() }).await;
    let requests = "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
    for address in [server.address(), server.ops_address()] {
        let socket = TcpSocket::new_v4().expect("a socket");
        // Whatever is left unread fills the server's side.
        socket.set_recv_buffer_size(4096).expect("set");
        let mut stream = socket.connect(address.parse().expect("an address")).await.expect("a connection");
        let disconnected = async { while stream.write_all(requests.as_bytes()).await.is_ok() {} };
        timeout(PATIENCE, disconnected).await.expect("disconnected");
    }
    server.stop().await;
}

#[on_both_stores]
async fn one_connection_carries_many_requests_in_order(store: StoreKind) {
    let server = Server::start(store).await;
    let mut wire = Wire::to(&server.address()).await;
    for _ in 0..3 {
        wire.send("GET /user HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(wire.reply().await.status, 401);
    }
    let (head, body) = login("");
    let pipelined = "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()
        + &head
        + &body
        + "PUT /user HTTP/1.1\r\nHost: a\r\n\r\nGET /verify HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    wire.send(&pipelined).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(wire.reply().await.status);
    }
    assert_eq!(statuses, [404, 200, 405, 401]);
    assert!(wire.end().await.is_empty());
    server.stop().await;
}

#[on_both_stores]
async fn operations_are_answered_while_clients_fill_every_connection(store: StoreKind) {
    let server = Server::with(store, "max_connections = 2").await;
    let mut wires = Vec::new();
    for _ in 0..2 {
        let mut wire = Wire::to(&server.address()).await;
        wire.send("GET /user HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(wire.reply().await.status, 401);
        wires.push(wire);
    }
    // More connections than clients may have, all at once.
    let mut operators = Vec::new();
    for _ in 0..4 {
        let mut wire = Wire::to(&server.ops_address()).await;
        wire.send("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(wire.reply().await.status, 200);
        operators.push(wire);
    }
    server.stop().await;
}

/// The server under a limit of so many file descriptors.
fn limited(home: &Home, soft: u32, hard: u32) -> Command {
    let server = home.server();
    let (server, limits) =
        (server.as_std(), format!("ulimit -S -n {soft} && ulimit -H -n {hard} && exec \"$0\" \"$@\""));
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &limits])
        .arg(server.get_program())
        .args(server.get_args())
        .env_clear()
        .envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(home.dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

#[on_both_stores]
async fn connections_never_use_up_the_descriptors_that_the_service_needs(store: StoreKind) {
    let home = Home::new(store);
    let server = Process::start(limited(&home, 48, 160)).await;
    until("it says so", async || server.log().contains("max_connections=32")).await;
    let alice = server.log_in(ALICE).await;
    let mut wires = Vec::new();
    for _ in 0..32 {
        let mut wire = Wire::to(&server.listen).await;
        wire.send("GET /user HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(wire.reply().await.status, 401);
        wires.push(wire);
    }
    let mut waiting = Wire::to(&server.listen).await;
    waiting.send("GET /user HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(waiting.reply().await.status, 401, "the first has made room");
    let ready = exchange(&server.ops, &get("/readyz").bytes(&server.ops)).await;
    assert_eq!(ready.status, 200, "{}", ready.text());
    wires[31]
        .send(&format!("POST /auth/logout HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n", alice.token))
        .await;
    assert_eq!(wires[31].reply().await.status, 204);
    assert!(!server.log().contains("cannot accept"), "{}", server.log());
}

#[on_both_stores]
async fn a_soft_limit_of_descriptors_is_raised_rather_than_kept_to(store: StoreKind) {
    let home = Home::new(store);
    let mut command = limited(&home, 48, 1024);
    command.env("SESSIOND_MAX_CONNECTIONS", "200");
    let server = Process::start(command).await;
    let mut wires = Vec::new();
    for _ in 0..100 {
        let mut wire = Wire::to(&server.listen).await;
        wire.send("GET /user HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(wire.reply().await.status, 401);
        wires.push(wire);
    }
    assert!(!server.log().contains("max_connections"), "{}", server.log());
}

#[on_both_stores]
async fn a_stop_closes_idle_connections_and_lets_a_request_under_way_finish(store: StoreKind) {
    let server = Server::start(store).await;
    let address = server.address();
    let mut idle = Wire::to(&address).await;
    idle.send("GET /user HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(idle.reply().await.status, 401);
    let mut under_way = Wire::to(&address).await;
    let (head, body) = login("Expect: 100-continue\r\n");
    under_way.send(&head).await;
    assert_eq!(under_way.reply().await.status, 100, "its handler waits for the body");
    let finish = async {
        assert!(idle.end().await.is_empty());
        assert!(TcpStream::connect(&address).await.is_err(), "nothing listens any more");
        under_way.send(&body).await;
        let reply = under_way.reply().await;
        assert!(under_way.end().await.is_empty());
        reply.status
    };
    let (_, status) = tokio::join!(timeout(PATIENCE, server.stop()), finish);
    assert_eq!(status, 200);
}
