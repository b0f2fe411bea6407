//! The real binary as a child process: its server on port 0, and its commands beside it.

use std::process::ExitStatus;

use rustix::process::{Pid, Signal};
use sessiond_support::process::{self, Finished};
use sessiond_support::sessiond::{self, Sessiond};
use sessiond_support::wait::until;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::harness::database::{Database, StoreKind};
use crate::harness::{ALICE, BOB, LoggedIn, PASSWORD, Reply, TestRequest, exchange, get, post};

/// A directory of this test's own to run in, and a database.
pub struct Home {
    /// The directory.
    pub dir: TempDir,
    /// The database.
    pub database: Database,
}

impl Home {
    /// An empty one.
    pub fn new(store: StoreKind) -> Self {
        Self { dir: tempfile::tempdir().expect("a directory"), database: Database::new(store) }
    }

    /// The binary with these arguments, on this database, with nothing else in its environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.sessiond().command(arguments)
    }

    /// The binary as a server on free ports, with Alice as its first user.
    pub fn server(&self) -> Command {
        let mut command = self.sessiond().server();
        command.env("SESSIOND_ADMIN_USERNAME", ALICE).env("SESSIOND_ADMIN_PASSWORD", PASSWORD);
        command
    }

    fn sessiond(&self) -> Sessiond {
        Sessiond {
            binary: env!("CARGO_BIN_EXE_sessiond").into(),
            database: self.database.url(),
            folder: self.dir.path().to_owned(),
            cpus: None,
        }
    }

    /// Starts a server.
    pub async fn serve(&self) -> Process {
        Process::start(self.server()).await
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Finished {
        finish(self.command(arguments), "").await
    }

    /// Runs a command to its end, with something to read.
    pub async fn run_reading(&self, arguments: &[&str], input: &str) -> Finished {
        finish(self.command(arguments), input).await
    }

    /// Adds a user who logs in with the usual password.
    pub async fn add_user(&self, username: &str) {
        self.run_reading(&["user", "add", username, "--password-stdin"], PASSWORD).await.done().unwrap();
    }
}

/// Runs a command to its end, with something to read.
pub async fn finish(command: Command, input: &str) -> Finished {
    process::finish(command, input).await.expect("an end")
}

/// A server that runs; killed when dropped.
pub struct Process {
    /// Where clients connect.
    pub listen: String,
    /// Where operations are.
    pub ops: String,
    process: process::Process,
}

impl Process {
    /// Starts one, and waits until it says where it listens.
    pub async fn start(command: Command) -> Self {
        let mut this = Self::begin(command);
        this.until_it_serves().await;
        this
    }

    /// Starts one, without waiting for anything.
    pub fn begin(command: Command) -> Self {
        let process = process::Process::spawn(command).expect("a process");
        Self { listen: String::new(), ops: String::new(), process }
    }

    /// Waits until it says where it listens.
    pub async fn until_it_serves(&mut self) {
        until("it serves", async || {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| line.contains("serving") && log.contains('\n')) {
                (self.listen, self.ops) = (field(line, "listen"), field(line, "ops"));
                return true;
            }
            self.process.still_lives().unwrap();
            false
        })
        .await;
    }

    /// Every line of the log so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// What was printed so far.
    pub fn printed(&self) -> String {
        self.process.printed()
    }

    /// Its id.
    pub fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal).unwrap();
    }

    /// Ends it as a power cut would. Returns the log.
    pub async fn kill(self) -> String {
        self.process.kill().await.unwrap()
    }

    /// Asks it to stop, and waits. Returns how it ended.
    pub async fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Whether it has not ended.
    pub fn lives(&mut self) -> bool {
        self.process.lives().unwrap()
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        self.process.ended().await.unwrap()
    }

    /// Sends a request over a connection of its own.
    pub async fn send(&self, ask: TestRequest) -> Reply {
        exchange(&self.listen, &ask.bytes(&self.listen)).await
    }

    /// Logs in; panics unless that works.
    pub async fn log_in(&self, username: &str) -> LoggedIn {
        let reply = self.send(login(username, PASSWORD)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        logged_in(&reply)
    }

    /// The status of a check.
    pub async fn check(&self, token: &str) -> u16 {
        self.send(get("/verify").bearer(token)).await.status
    }
}

/// A server that already knows Bob.
pub async fn serving(store: StoreKind) -> (Home, Process) {
    let home = Home::new(store);
    let server = home.serve().await;
    home.add_user(BOB).await;
    (home, server)
}

/// A login that asks for the token in the body.
pub fn login(username: &str, password: &str) -> TestRequest {
    let body = serde_json::json!({"username": username, "password": password, "transport": "token"});
    post("/api/v1/auth/login").json(&body)
}

/// Reads the answer to [`login`].
pub fn logged_in(reply: &Reply) -> LoggedIn {
    let body = reply.json();
    let text = |pointer: &str| body.pointer(pointer).and_then(|v| v.as_str()).expect(pointer).to_owned();
    LoggedIn { token: text("/token"), session: text("/session/id"), user: text("/user/id") }
}

/// Sends a request to a server that may be killed meanwhile. `None`: not answered.
pub async fn attempt(address: &str, ask: &TestRequest) -> Option<Reply> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(&ask.bytes(address)).await.ok()?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let whole = answer.windows(4).any(|window| window == b"\r\n\r\n");
    whole.then(|| Reply::parse(&answer))
}

/// A field of a log line, in either format.
pub fn field(line: &str, name: &str) -> String {
    sessiond::field(line, name).unwrap_or_else(|| panic!("no {name} in {line}"))
}
