//! A real PgBouncer as a child process, before a server that tests use.

use rustix::process::Signal;
use sessiond_support::port::free_port;
use sessiond_support::postgres::{give_away, unprivileged_command};
use sessiond_support::process::Process;
use sessiond_support::wait::until;
use tempfile::TempDir;
use tokio::net::TcpStream;
use url::Url;

/// One that runs; killed when dropped.
pub struct PgBouncer {
    port: u16,
    /// The server behind it.
    server: Url,
    dir: TempDir,
    process: Process,
}

impl PgBouncer {
    /// Starts one before the server of `database`, with one of PgBouncer's modes and more lines of its configuration.
    pub async fn before(database: &str, mode: &str, settings: &str) -> Self {
        let (port, dir) = (free_port().expect("a port"), tempfile::tempdir().expect("a directory"));
        let server = Url::parse(database).expect("a URL");
        give_away(dir.path()).expect("given away");
        write(&dir, port, &server, mode, settings);
        let mut command = unprivileged_command("pgbouncer");
        command.arg(dir.path().join("pgbouncer.ini"));
        let mut process = Process::spawn(command).expect("pgbouncer");
        until("PgBouncer listens", async || {
            process.still_lives().unwrap();
            TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        Self { port, server, dir, process }
    }

    /// The URL of a database on the server, by way of this.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://sessiond@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// The URL of the database that it was started before.
    pub fn same_database(&self) -> String {
        self.url(self.server.path().trim_start_matches('/'))
    }

    /// Has it go on in another mode. What is connected keeps its process, until it disconnects.
    pub fn change_mode(&self, mode: &str) {
        write(&self.dir, self.port, &self.server, mode, "");
        self.process.signal(Signal::HUP).unwrap();
    }
}

fn write(dir: &TempDir, port: u16, server: &Url, mode: &str, settings: &str) {
    let host = server.host_str().expect("a host");
    let password = server.password().map(|password| format!("password={password}")).unwrap_or_default();
    let statements = if handles_prepared_statements() { "max_prepared_statements = 0" } else { "" };
    let configuration = format!(
        "[databases]
         * = host={host} port={} user={} {password}
         [pgbouncer]
         listen_addr = 127.0.0.1
         listen_port = {port}
         unix_socket_dir =
         auth_type = any
         max_client_conn = 1000
         default_pool_size = 60
         pool_mode = {mode}
         {statements}
         {settings}\n",
        server.port().unwrap_or(5432),
        server.username(),
    );
    let lines: Vec<_> = configuration.lines().map(str::trim).collect();
    std::fs::write(dir.path().join("pgbouncer.ini"), lines.join("\n")).expect("written");
}

/// Whether it can handle prepared statements itself, so that a test has to say that it does not: since 1.21.
fn handles_prepared_statements() -> bool {
    let told = std::process::Command::new("pgbouncer").arg("--version").output().expect("pgbouncer");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let mut numbers = told.split_whitespace().nth(1).unwrap_or_default().split('.').map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else { panic!("no version: {told}") };
    (major, minor) >= (1, 21)
}
