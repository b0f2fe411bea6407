//! The log: one that is not read, or cannot be written, stops nothing, and lines within a request have its id and the
//! causes of its failure.

use std::io::{PipeReader, Read as _, pipe};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};
use sessiond_needs::on_both_stores;
use sessiond_support::wait::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::harness::process::{Home, Process, field, logged_in, login};
use crate::harness::{ALICE, PASSWORD, Reply, StoreKind, TestRequest, exchange, get, post};

/// More lines at `debug` than a pipe and the queue before it hold together.
const MANY: usize = 8_000;
/// A server that waits for its log never ends; one that does not needs a fraction of this.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server whose standard error the test has chosen.
struct Server {
    child: Child,
    listen: String,
    ops: String,
}

impl Server {
    /// Has it log many lines, over one connection.
    async fn log_many_lines(&self) {
        let stream = TcpStream::connect(&self.listen).await.expect("a connection");
        let (mut read, mut write) = stream.into_split();
        let request = format!("GET /auth/nowhere HTTP/1.1\r\nHost: {}\r\n\r\n", self.listen);
        let written = tokio::spawn(async move {
            let _ = write.write_all(request.repeat(MANY).as_bytes()).await;
            write
        });
        let status_line = b"HTTP/1.1 404";
        let (mut answers, mut bytes, mut tail) = (0, vec![0; 1 << 16], Vec::new());
        let count = async {
            while answers < MANY {
                let length = read.read(&mut bytes).await.expect("an answer");
                assert!(length > 0, "closed after {answers} answers");
                // A status line may lie across two reads.
                tail.extend_from_slice(&bytes[..length]);
                answers += tail.windows(status_line.len()).filter(|window| window == status_line).count();
                tail.drain(..tail.len().saturating_sub(status_line.len() - 1));
            }
        };
        tokio::time::timeout(PATIENCE, count).await.expect("answers, even if the log is not read");
        drop(written.await);
    }

    async fn dropped(&self) -> u64 {
        let metrics = exchange(&self.ops, &get("/metrics").bytes(&self.ops)).await.text();
        let line = metrics.lines().find_map(|line| line.strip_prefix("sessiond_log_dropped_total "));
        line.and_then(|number| number.parse().ok()).expect("a counter")
    }

    async fn answers_everything(&self) {
        let reply = in_time(&self.listen, &login(ALICE, PASSWORD)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let check = get("/verify").bearer(&logged_in(&reply).token);
        for (address, ask) in [(&self.listen, check), (&self.ops, get("/livez")), (&self.ops, get("/readyz"))] {
            let reply = in_time(address, &ask).await;
            assert_eq!(reply.status, 200, "{}: {}", ask.target, reply.text());
        }
    }

    async fn stops(mut self) -> ExitStatus {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw).expect("alive");
        kill_process(id, Signal::TERM).expect("sent");
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("an end").expect("a status")
    }
}

/// The answer once the store is not late any more, which so many lines can make it by keeping the machine busy: that has nothing
/// to do with the log.
async fn in_time(address: &str, ask: &TestRequest) -> Reply {
    let mut reply = exchange(address, &ask.bytes(address)).await;
    until("the store is not late", async || {
        let late = [503, 504].contains(&reply.status);
        if late {
            reply = exchange(address, &ask.bytes(address)).await;
        }
        !late
    })
    .await;
    reply
}

/// A server that logs into a pipe, and the pipe, of which no more is read than the first lines.
async fn into_a_pipe(home: &Home, nonblocking: bool) -> (Server, PipeReader) {
    let (mut reader, writer) = pipe().expect("a pipe");
    if nonblocking {
        let flags = fcntl_getfl(&writer).expect("flags");
        fcntl_setfl(&writer, flags | OFlags::NONBLOCK).expect("set");
    }
    let mut command = home.server();
    command.env("RUST_LOG", "debug").stderr(Stdio::from(OwnedFd::from(writer)));
    let child = command.spawn().expect("a child");
    // It holds the writing end.
    drop(command);
    let (log, reader) = tokio::task::spawn_blocking(move || {
        let mut log = String::new();
        while !(log.contains(" serving ") && log.ends_with('\n')) {
            let mut bytes = [0; 4096];
            let length = reader.read(&mut bytes).expect("a log");
            assert!(length > 0, "it ended: {log}");
            log.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
        (log, reader)
    })
    .await
    .expect("no panic");
    let line = log.lines().find(|line| line.contains(" serving ")).expect("waited for");
    let server = Server { child, listen: field(line, "listen"), ops: field(line, "ops") };
    (server, reader)
}

async fn a_log_that_is_not_read_stops_nothing(store: StoreKind, nonblocking: bool) {
    let home = Home::new(store);
    let (server, mut reader) = into_a_pipe(&home, nonblocking).await;
    server.log_many_lines().await;
    until("lines are dropped", async || server.dropped().await > 0).await;
    server.answers_everything().await;

    // Once it is read again, a line says how many are missing.
    let before = server.dropped().await;
    let (mut log, reader) = tokio::task::spawn_blocking(move || {
        let mut log = String::new();
        while !log.contains(" log lines were dropped") {
            let mut bytes = [0; 4096];
            let length = reader.read(&mut bytes).expect("a log");
            log.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
        (log, reader)
    })
    .await
    .expect("no panic");
    log.truncate(log.find(" log lines were dropped").expect("waited for"));
    let said: u64 = log.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number");
    assert!(said >= before, "{said} of {before}");

    // And when it is not read again, it can be stopped.
    server.log_many_lines().await;
    server.answers_everything().await;
    assert!(server.stops().await.success());
    drop(reader);
}

#[on_both_stores]
async fn a_log_in_a_pipe_that_is_not_read_stops_nothing(store: StoreKind) {
    a_log_that_is_not_read_stops_nothing(store, false).await;
}

#[on_both_stores]
async fn a_log_in_a_pipe_that_does_not_block_stops_nothing_either(store: StoreKind) {
    a_log_that_is_not_read_stops_nothing(store, true).await;
}

#[on_both_stores]
async fn a_log_whose_reader_has_closed_stops_nothing(store: StoreKind) {
    let home = Home::new(store);
    let (server, reader) = into_a_pipe(&home, false).await;
    drop(reader);
    server.log_many_lines().await;
    until("lines are dropped", async || server.dropped().await > 0).await;
    server.answers_everything().await;
    assert!(server.stops().await.success());
}

#[on_both_stores]
async fn every_line_within_a_request_bears_its_id(store: StoreKind) {
    for format in ["text", "json"] {
        let home = Home::new(store);
        let mut command = home.server();
        command.env("SESSIOND_LOG_FORMAT", format).env("SESSIOND_TRUSTED_PROXIES", "127.0.0.0/8");
        command.env("RUST_LOG", "debug");
        let server = Process::start(command).await;
        let wrong = || login(ALICE, "wrong-password").header("X-Request-Id", "an-id-of-a-proxy");
        assert_eq!(server.send(wrong()).await.status, 401);
        assert_eq!(server.send(get("/verify").header("X-Request-Id", "id-of-a-check")).await.status, 401);
        until("its lines are written", async || server.log().contains("id-of-a-check")).await;
        let log = server.log();
        let with = |id: &str| log.lines().filter(|line| line.contains(id)).collect::<Vec<_>>();
        let lines = with("an-id-of-a-proxy");
        assert!(lines.iter().any(|line| line.contains("refused")), "what a service logs: {log}");
        assert!(lines.iter().any(|line| line.contains("answered") && line.contains("401")), "its answer: {log}");
        let check = with("id-of-a-check");
        assert!(check.len() == 1 && check[0].contains("answered") && check[0].contains("/verify"), "{log}");
    }
}

#[on_both_stores]
async fn a_request_that_the_database_fails_is_logged_with_its_cause_and_answered_with_none(store: StoreKind) {
    let home = Home::new(store);
    let mut command = home.server();
    command.env("SESSIOND_LOG_FORMAT", "json");
    let server = Process::start(command).await;
    let alice = server.log_in(ALICE).await;
    home.database.execute("ALTER TABLE sessions RENAME TO gone").await;
    let logout = post("/api/v1/auth/logout").bearer(&alice.token);
    let reply = server.send(logout).await;
    let words = r#"{"code":500,"detail":"Internal server error","type":"internal_server_error"}"#;
    assert_eq!((reply.status, reply.text().as_str()), (500, words));
    let id = reply.header("x-request-id").expect("an id").to_owned();
    until("its line is written", async || server.log().contains(&id)).await;
    let log = server.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(&id)).collect();
    let [line] = lines[..] else { panic!("logged once: {log}") };
    let words = match store {
        StoreKind::Sqlite => "bug: (code: 1) no such table: sessions",
        StoreKind::Postgres => r#"bug: relation "sessions" does not exist (42P01)"#,
    };
    assert_eq!(field(line, "why"), words, "the database's own words, once");
}

/// A server whose log cannot be read, so that the test chooses its ports.
async fn with_free_ports(home: &Home, change: impl Fn(Command, &[&str; 2]) -> Command) -> Server {
    let mut attempts = 0;
    loop {
        // Another process may take one before the server does.
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
        let [listen, ops] = ports.map(|port| port.local_addr().expect("an address").to_string());
        let mut command = change(home.server(), &[&listen, &ops]);
        let mut child = command.spawn().expect("a child");
        let mut alive = true;
        until("it serves, or has ended", async || {
            alive = child.try_wait().expect("a state").is_none();
            !alive || (TcpStream::connect(&ops).await.is_ok() && child.try_wait().expect("a state").is_none())
        })
        .await;
        if alive {
            return Server { child, listen, ops };
        }
        attempts += 1;
        assert!(attempts < 10, "it does not start");
    }
}

#[on_both_stores]
async fn a_log_on_a_full_disk_stops_nothing(store: StoreKind) {
    let home = Home::new(store);
    let server = with_free_ports(&home, |mut command, [listen, ops]| {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a device");
        command.env("SESSIOND_LISTEN", listen).env("SESSIOND_OPS_LISTEN", ops);
        command.env("RUST_LOG", "debug").stderr(full);
        command
    })
    .await;
    server.log_many_lines().await;
    until("lines are dropped", async || server.dropped().await > 0).await;
    server.answers_everything().await;
    assert!(server.stops().await.success());
}

#[on_both_stores]
async fn a_log_that_is_closed_stops_nothing(store: StoreKind) {
    let home = Home::new(store);
    let server = with_free_ports(&home, |command, [listen, ops]| {
        let program = command.as_std();
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", r#"exec "$0" serve 2>&-"#]).arg(env!("CARGO_BIN_EXE_sessiond")).env_clear();
        shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.env("SESSIOND_LISTEN", listen).env("SESSIOND_OPS_LISTEN", ops).env("RUST_LOG", "debug");
        shell.current_dir(home.dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        shell
    })
    .await;
    server.log_many_lines().await;
    server.answers_everything().await;
    assert!(server.stops().await.success());
}

#[on_both_stores]
async fn a_command_that_fails_ends_even_if_its_complaint_cannot_be_written(store: StoreKind) {
    let home = Home::new(store);
    let mut command = home.command(&["user", "disable", "nobody-of-that-name"]);
    command.stderr(std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a device"));
    let ended = tokio::time::timeout(PATIENCE, command.status()).await.expect("an end").expect("a status");
    assert_eq!(ended.code(), Some(1));
}
