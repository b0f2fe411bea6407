//! The real binary as a child process: its server on port 0, and its commands beside it.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::harness::database::{Database, StoreKind};
use crate::harness::{ALICE, Ask, BOB, LoggedIn, PASSWORD, Reply, exchange, get, post};

/// Longer than anything here takes, so that a test fails rather than hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds; panics when it never does.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !condition().await {
        assert!(begin.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A directory of this test's own to run in, and a database.
pub struct Home {
    /// The directory.
    pub dir: TempDir,
    /// The database.
    pub database: Database,
}

/// A command that came to its end.
#[derive(Debug)]
pub struct Finished {
    /// Whether it exited with 0.
    pub ok: bool,
    /// What it printed.
    pub out: String,
    /// What it complained about.
    pub err: String,
}

impl Finished {
    /// What it printed; panics when it failed.
    pub fn done(self) -> String {
        assert!(self.ok, "{self:?}");
        self.out
    }

    /// What it complained about; panics when it succeeded.
    pub fn refused(self) -> String {
        assert!(!self.ok, "{self:?}");
        self.err
    }
}

impl Home {
    /// An empty one.
    pub fn new(store: StoreKind) -> Self {
        Self { dir: tempfile::tempdir().expect("a directory"), database: Database::new(store) }
    }

    /// The binary with these arguments, on this database, with nothing else in its environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sessiond"));
        command
            .args(arguments)
            .env_clear()
            .env("SESSIOND_DATABASE_URL", self.database.url())
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// The binary as a server on free ports, with Alice as its first user.
    pub fn server(&self) -> Command {
        let mut command = self.command(&["serve"]);
        command
            .env("SESSIOND_LISTEN", "127.0.0.1:0")
            .env("SESSIOND_OPS_LISTEN", "127.0.0.1:0")
            .env("SESSIOND_SHUTDOWN_DELAY", "0s")
            .env("SESSIOND_ADMIN_USERNAME", ALICE)
            .env("SESSIOND_ADMIN_PASSWORD", PASSWORD);
        command
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
        self.run_reading(&["user", "add", username, "--password-stdin"], PASSWORD).await.done();
    }
}

/// Runs a command to its end.
pub async fn finish(mut command: Command, input: &str) -> Finished {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("a child");
    let mut stdin = child.stdin.take().expect("piped");
    // It may end without reading.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("an end").expect("an output");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Finished { ok: ended.status.success(), out: text(ended.stdout), err: text(ended.stderr) }
}

/// A server that runs; killed when dropped.
pub struct Process {
    /// Where clients connect.
    pub listen: String,
    /// Where operations are.
    pub ops: String,
    child: Child,
    err: Arc<Mutex<String>>,
    out: Arc<Mutex<String>>,
    readers: JoinSet<()>,
}

impl Process {
    /// Starts one, and waits until it says where it listens.
    pub async fn start(command: Command) -> Self {
        let mut this = Self::begin(command);
        this.until_it_serves().await;
        this
    }

    /// Starts one, without waiting for anything.
    pub fn begin(mut command: Command) -> Self {
        let mut child = command.spawn().expect("a child");
        let (mut readers, err, out) = (JoinSet::new(), Arc::default(), Arc::default());
        readers.spawn(copy(child.stderr.take().expect("piped"), Arc::clone(&err)));
        readers.spawn(copy(child.stdout.take().expect("piped"), Arc::clone(&out)));
        Self { listen: String::new(), ops: String::new(), child, err, out, readers }
    }

    /// Waits until it says where it listens.
    pub async fn until_it_serves(&mut self) {
        until("it serves", async || {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| line.contains("serving") && log.contains('\n')) {
                (self.listen, self.ops) = (field(line, "listen"), field(line, "ops"));
                return true;
            }
            if !self.lives() {
                self.ended().await;
                panic!("it ended: {}", self.log());
            }
            false
        })
        .await;
    }

    /// Every line of the log so far.
    pub fn log(&self) -> String {
        self.err.lock().expect("no panic").clone()
    }

    /// What was printed so far.
    pub fn printed(&self) -> String {
        self.out.lock().expect("no panic").clone()
    }

    /// Its id.
    pub fn pid(&self) -> Pid {
        self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw).expect("alive")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("sent");
    }

    /// Ends it as a power cut would. Returns the log.
    pub async fn kill(mut self) -> String {
        self.signal(Signal::KILL);
        self.ended().await;
        self.log()
    }

    /// Asks it to stop, and waits. Returns how it ended.
    pub async fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Whether it has not ended.
    pub fn lives(&mut self) -> bool {
        self.child.try_wait().expect("a state").is_none()
    }

    /// Waits until it has ended and everything it wrote was read.
    pub async fn ended(&mut self) -> ExitStatus {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("an end").expect("a status");
        while self.readers.join_next().await.is_some() {}
        status
    }

    /// Sends a request over a connection of its own.
    pub async fn send(&self, ask: Ask) -> Reply {
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
pub fn login(username: &str, password: &str) -> Ask {
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
pub async fn attempt(address: &str, ask: &Ask) -> Option<Reply> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(&ask.bytes(address)).await.ok()?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let whole = answer.windows(4).any(|window| window == b"\r\n\r\n");
    whole.then(|| Reply::parse(&answer))
}

async fn copy(mut from: impl AsyncRead + Unpin, to: Arc<Mutex<String>>) {
    let mut bytes = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        to.lock().expect("no panic").push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
}

/// A field of a log line, in either format.
pub fn field(line: &str, name: &str) -> String {
    if line.starts_with('{') {
        let line: serde_json::Value = serde_json::from_str(line).expect("an object");
        return line[name].as_str().expect(name).to_owned();
    }
    let value = line.split_once(&format!(" {name}=")).unwrap_or_else(|| panic!("no {name} in {line}")).1;
    value.split(' ').next().unwrap_or_default().trim_matches('"').to_owned()
}
