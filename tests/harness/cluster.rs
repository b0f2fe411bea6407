//! A throw-away PostgreSQL: to be shared, or a test's own that it may stop, freeze and lose.

use std::io::Write as _;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use sessiond_needs::needs;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::harness::ports::free_port;

/// PostgreSQL does not run as root, and whoever is root runs it as this user.
const NOBODY: u32 = 65534;
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// What holds unless a test asks for something else. Without fsync nothing outlives the machine, but all a mere stop.
const SETTINGS: &str = "
fsync = off
full_page_writes = off
jit = off
listen_addresses = '127.0.0.1'
max_connections = 300
max_wal_size = 64MB
min_wal_size = 32MB
";
/// Takes a cluster down and away once nobody holds the other end of its input, however that ended.
const WATCHER: &str = r#"
cat
read -r postmaster < "$0/data/postmaster.pid" && kill -CONT "$postmaster"
"$1/pg_ctl" stop -D "$0/data" -m immediate
rm -rf "$0"
"#;

/// A server with databases in it, gone when dropped, and when this process ends.
pub struct Cluster {
    dir: PathBuf,
    port: u16,
    watcher: Child,
    /// Whether it has a clock of its own.
    clock: bool,
}

impl Cluster {
    /// Makes and starts one, with these lines in its configuration.
    pub async fn start(settings: &str) -> Self {
        Self::nowhere().made().await.started(settings).await
    }

    /// The same, with a clock of its own that can be set.
    pub async fn start_with_a_clock(settings: &str) -> Self {
        let mut this = Self::nowhere();
        this.clock = true;
        this.set_clock("+0");
        this.made().await.started(settings).await
    }

    /// A standby of another one, which it follows until it is promoted.
    pub async fn follow(primary: &Self, settings: &str) -> Self {
        let this = Self::nowhere();
        let data = this.data();
        let url = primary.url("postgres");
        let copy = [
            "-D",
            data.to_str().expect("UTF-8"),
            "-d",
            &url,
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--no-sync",
        ];
        this.run("pg_basebackup", &copy).await.expect("pg_basebackup");
        this.started(settings).await
    }

    /// A directory and who watches it, and nothing in it.
    fn nowhere() -> Self {
        let dir = tempfile::Builder::new().prefix("sessiond-test-").tempdir().expect("a directory").keep();
        give(&dir);
        let mut watcher = Command::new("/bin/sh");
        watcher.args(["-c", WATCHER]).args([dir.as_path(), programs()]);
        // Whoever interrupts a test from the keyboard must not interrupt this.
        watcher.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let watcher = unprivileged(&mut watcher, &dir).spawn().expect("a shell");
        Self { dir, port: 0, watcher, clock: false }
    }

    async fn made(self) -> Self {
        let data = self.data();
        let data = data.to_str().expect("UTF-8");
        let locale = ["--encoding=UTF8", "--locale=C"];
        self.run("initdb", &[&["--no-sync", "--auth=trust", "--username=sessiond", "-D", data], &locale[..]].concat())
            .await
            .expect("initdb");
        self
    }

    async fn started(mut self, settings: &str) -> Self {
        let sockets = format!("unix_socket_directories = '{}'", self.dir.display());
        self.configure(&format!("{SETTINGS}\n{sockets}\n{settings}"));
        // Somebody else may take a port between this look and the start.
        let mut attempts = 0;
        loop {
            self.port = free_port();
            attempts += 1;
            match self.try_start().await {
                Ok(()) => return self,
                Err(error) => assert!(attempts < 10, "{error}"),
            }
        }
    }

    /// Adds lines to its configuration, for when it starts.
    fn configure(&self, lines: &str) {
        let configuration = self.data().join("postgresql.auto.conf");
        let mut file = std::fs::OpenOptions::new().append(true).open(configuration).expect("made");
        writeln!(file, "\n{lines}").expect("configured");
    }

    /// Sets its clock so many seconds before (`-3600`) or after (`+3600`) everybody else's.
    pub fn set_clock(&self, difference: &str) {
        assert!(self.clock, "it has none of its own");
        let (next, clock) = (self.dir.join("next"), self.dir.join("clock"));
        std::fs::write(&next, difference).expect("written");
        std::fs::rename(next, clock).expect("set, from one moment to the next");
    }

    /// Makes a primary of a standby.
    pub async fn promote(&self) {
        let data = self.data();
        self.run("pg_ctl", &["promote", "-w", "-D", data.to_str().expect("UTF-8")]).await.expect("promoted");
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How to connect to one of its databases; `postgres` is always there.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://sessiond@127.0.0.1:{}/{database}", self.port)
    }

    /// The answer to a query.
    pub async fn psql(&self, database: &str, sql: &str) -> Vec<Vec<Option<String>>> {
        rows(&self.url(database), sql).await.expect("an answer")
    }

    /// Ends it without a word to anybody, as if it had crashed.
    pub async fn stop_immediately(&self) {
        let data = self.data();
        let stop = ["stop", "-m", "immediate", "-D", data.to_str().expect("UTF-8")];
        self.run("pg_ctl", &stop).await.expect("stopped");
    }

    /// Starts it where it was, and waits until it answers.
    pub async fn start_again(&self) {
        self.try_start().await.expect("started again");
    }

    /// The process that all others of it come from.
    pub fn postmaster_pid(&self) -> Pid {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).expect("it runs");
        file.lines().next().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw).expect("an id")
    }

    /// Stops every process of it in its tracks. Connections stay open, and the kernel accepts new ones.
    pub fn freeze(&self) {
        let postmaster = self.postmaster_pid();
        // It goes first, so that nobody is born afterwards.
        halt(postmaster);
        children(postmaster).into_iter().for_each(halt);
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        let postmaster = self.postmaster_pid();
        for process in children(postmaster).into_iter().chain([postmaster]) {
            let _ = kill_process(process, Signal::CONT);
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    async fn try_start(&self) -> Result<(), String> {
        let (data, log, port) = (self.data(), self.dir.join("log"), format!("-p {}", self.port));
        let [data, log] = [&data, &log].map(|path| path.to_str().expect("UTF-8"));
        let started = self.run("pg_ctl", &["start", "-w", "-D", data, "-l", log, "-o", &port]).await;
        started.map_err(|error| format!("{error}\n{}", std::fs::read_to_string(log).unwrap_or_default()))
    }

    async fn run(&self, program: &str, arguments: &[&str]) -> Result<(), String> {
        let mut command = Command::new(programs().join(program));
        // What it starts must not keep our own output open.
        let complaints = self.dir.join("complaints");
        let file = std::fs::File::create(&complaints).expect("a file");
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        if self.clock {
            command.env("LD_PRELOAD", sessiond_needs::found!(faketime).expect("libfaketime"));
            command.env("FAKETIME_TIMESTAMP_FILE", self.dir.join("clock"));
            // It is set for all processes at once, and spans of time are as long as ever.
            command.envs([("FAKETIME_NO_CACHE", "1"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]);
        }
        unprivileged(&mut command, &self.dir);
        let mut child = tokio::process::Command::from(command).spawn().expect(program);
        let ended = tokio::time::timeout(PATIENCE, child.wait()).await.expect("an end").expect("a status");
        let complaints = || format!("{program}: {}", std::fs::read_to_string(&complaints).unwrap_or_default());
        ended.success().then_some(()).ok_or_else(complaints)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.data().join("postmaster.pid").exists() {
            self.thaw();
        }
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
    }
}

fn programs() -> &'static Path {
    sessiond_needs::found!(initdb)
        .and_then(|initdb| Path::new(initdb).parent())
        .expect("initdb, pg_ctl and pg_basebackup")
}

/// Makes a file the property of whoever runs clusters.
pub fn give(path: &Path) {
    if geteuid().is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("given away");
    }
}

fn unprivileged<'c>(command: &'c mut Command, dir: &Path) -> &'c mut Command {
    if geteuid().is_root() {
        // It gives up the groups too.
        command.uid(NOBODY).gid(NOBODY);
    }
    command.current_dir(dir)
}

/// The state and the parent of a process that has not ended.
fn status(process: Pid) -> Option<(char, i32)> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn children(of: Pid) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").expect("processes").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(Pid::from_raw);
    pids.filter(|pid| status(*pid).is_some_and(|(_, parent)| parent == of.as_raw_nonzero().get())).collect()
}

/// Stops a process, and waits until it has stopped or ended.
pub fn halt(process: Pid) {
    let begin = Instant::now();
    let _ = kill_process(process, Signal::STOP);
    while status(process).is_some_and(|(state, _)| !matches!(state, 'T' | 'Z')) {
        assert!(begin.elapsed() < PATIENCE, "{process:?} does not stop");
        std::thread::yield_now();
    }
}

/// A connection of the test's own.
pub async fn session(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // It ends when the client is dropped.
    tokio::spawn(connection);
    Ok(client)
}

/// The answer to a query over a connection of its own, every value as text.
pub async fn rows(url: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>, tokio_postgres::Error> {
    let answer = session(url).await?.simple_query(sql).await?;
    let rows = answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()),
        _ => None,
    });
    Ok(rows.collect())
}

#[needs(initdb)]
#[tokio::test]
async fn a_cluster_keeps_what_was_committed_when_it_is_stopped_and_does_nothing_while_frozen() {
    let cluster = Cluster::start("fsync = on").await;
    cluster.psql("postgres", "CREATE TABLE kept AS SELECT 7 AS number").await;
    let first = cluster.postmaster_pid();
    cluster.stop_immediately().await;
    assert!(session(&cluster.url("postgres")).await.is_err(), "stopped");
    cluster.start_again().await;
    assert_ne!(cluster.postmaster_pid(), first);
    assert_eq!(cluster.psql("postgres", "SELECT number FROM kept").await, [[Some(String::from("7"))]]);

    let open = session(&cluster.url("postgres")).await.expect("connected");
    cluster.freeze();
    let asked = open.simple_query("UPDATE kept SET number = 8");
    assert!(tokio::time::timeout(Duration::from_millis(100), asked).await.is_err(), "frozen");
    cluster.thaw();
    let dir = cluster.dir.clone();
    open.simple_query("SELECT 1").await.expect("answered in its turn");
    assert_eq!(cluster.psql("postgres", "SELECT number FROM kept").await, [[Some(String::from("8"))]]);
    let postmaster = cluster.postmaster_pid();
    cluster.freeze();
    drop(cluster);
    assert!(!dir.exists() && status(postmaster).is_none_or(|(state, _)| state == 'Z'), "gone, even frozen");
}
