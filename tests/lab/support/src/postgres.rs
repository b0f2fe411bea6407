//! A throw-away PostgreSQL: one that tests share, or one of a test's own to stop, freeze, promote and crash.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::database::{self, Texts};
use crate::port::free_port;
use crate::process::{children, halt, setpriv};
use crate::wait::PATIENCE;

/// PostgreSQL refuses to run as root, and is run as this user instead.
const UNPRIVILEGED: u32 = 65534;
/// What holds unless something else is asked for. Without fsync nothing outlives the machine, but everything a mere stop.
const SETTINGS: &str = "
fsync = off
full_page_writes = off
jit = off
listen_addresses = '127.0.0.1'
max_connections = 300
max_wal_size = 64MB
min_wal_size = 32MB
";
/// Stops a server and deletes its folder once the other end of its input is closed, for whatever reason.
const WATCHER: &str = r#"
cat
read -r postmaster < "$0/data/postmaster.pid" && kill -CONT "$postmaster"
"$1/pg_ctl" stop -D "$0/data" -m immediate
rm -rf "$0"
"#;

/// What a server is to be like.
#[derive(Clone, Default)]
pub struct Options {
    /// More lines of its configuration.
    pub settings: String,
    /// The folder in which it makes one of its own [default: that for temporary files].
    pub folder: Option<PathBuf>,
    /// The CPUs that it runs on, a list such as `0,1` [default: those of this process].
    pub cpus: Option<&'static str>,
    /// Whether it has a clock of its own, which can be set.
    pub clock: bool,
}

/// A server with databases in it. It is stopped and deleted when dropped, and when this process ends.
pub struct Postgres {
    options: Options,
    programs: PathBuf,
    dir: PathBuf,
    port: u16,
    watcher: Child,
}

impl Options {
    /// The usual, with these lines in the configuration.
    pub fn with(settings: &str) -> Self {
        Self { settings: settings.to_owned(), ..Self::default() }
    }
}

impl Postgres {
    /// Makes and starts one.
    pub async fn start(options: Options) -> Result<Self> {
        let this = Self::nowhere(options)?;
        if this.options.clock {
            this.set_clock("+0")?;
        }
        let initdb = ["--no-sync", "--auth=trust", "--username=sessiond", "--encoding=UTF8", "--locale=C"];
        this.run(this.program("initdb").args(initdb).arg("-D").arg(this.data())).await?;
        this.started().await
    }

    /// Makes and starts a standby of another one, which it follows until it is promoted.
    pub async fn follow(primary: &Self, options: Options) -> Result<Self> {
        let this = Self::nowhere(options)?;
        let copy = ["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "-d", &primary.url("postgres")];
        this.run(this.program("pg_basebackup").args(copy).arg("-D").arg(this.data())).await?;
        this.started().await
    }

    /// A folder and its watcher, and nothing in it.
    fn nowhere(options: Options) -> Result<Self> {
        let programs = sessiond_machine::postgres_programs();
        let programs =
            programs.context("PostgreSQL 15 or newer (initdb, pg_ctl, pg_basebackup) is needed, and is not here")?;
        let mut builder = tempfile::Builder::new();
        builder.prefix("sessiond-postgres-");
        let dir = match &options.folder {
            Some(folder) => builder.tempdir_in(folder),
            None => builder.tempdir(),
        };
        let dir = dir.context("making a folder")?.keep();
        give_away(&dir)?;
        let mut watcher = unprivileged("/bin/sh", &dir);
        watcher.args(["-c", WATCHER]).args([&dir, &programs]);
        // An interrupt from the keyboard, which ends this process, must not end it.
        watcher.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let watcher = watcher.spawn().context("starting a shell")?;
        Ok(Self { options, programs, dir, port: 0, watcher })
    }

    async fn started(mut self) -> Result<Self> {
        let configuration = self.data().join("postgresql.auto.conf");
        let mut file = std::fs::OpenOptions::new().append(true).open(configuration)?;
        writeln!(file, "{SETTINGS}unix_socket_directories = '{}'\n{}", self.dir.display(), self.options.settings)?;
        // Another program may take a port between this look and the start.
        let mut attempts = 0;
        loop {
            self.port = free_port()?;
            attempts += 1;
            match self.start_again().await {
                Err(_) if attempts < 10 => {}
                done => return done.map(|()| self),
            }
        }
    }

    /// How to connect to one of its databases; `postgres` is always there.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://sessiond@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its own folder.
    pub fn folder(&self) -> &Path {
        &self.dir
    }

    /// Makes an empty database.
    pub async fn create(&self, database: &str) -> Result<()> {
        // Its files are copied: without fsync that is quicker than by way of the log.
        database::execute(&self.url("postgres"), &format!("CREATE DATABASE {database} STRATEGY file_copy")).await
    }

    /// The answer of a database to a query.
    pub async fn rows(&self, database: &str, sql: &str) -> Result<Vec<Texts>> {
        database::rows(&self.url(database), sql).await
    }

    /// Ends it as a crash would.
    pub async fn stop_immediately(&self) -> Result<()> {
        self.run(self.program("pg_ctl").args(["stop", "-m", "immediate", "-D"]).arg(self.data())).await
    }

    /// Starts it where it was, and waits until it answers.
    pub async fn start_again(&self) -> Result<()> {
        let log = self.dir.join("log");
        let mut start = self.program("pg_ctl");
        start.args(["start", "-w", "-o", &format!("-p {}", self.port), "-l"]).arg(&log).arg("-D").arg(self.data());
        self.run(&mut start).await.with_context(|| std::fs::read_to_string(log).unwrap_or_default())
    }

    /// Makes a primary of a standby.
    pub async fn promote(&self) -> Result<()> {
        self.run(self.program("pg_ctl").args(["promote", "-w", "-D"]).arg(self.data())).await
    }

    /// Sets its clock so many seconds before (`-3600`) or after (`+3600`) that of other programs.
    pub fn set_clock(&self, difference: &str) -> Result<()> {
        ensure!(self.options.clock, "it has no clock of its own");
        let (next, clock) = (self.dir.join("next"), self.dir.join("clock"));
        std::fs::write(&next, difference)?;
        // It changes for all processes of it from one moment to the next.
        Ok(std::fs::rename(next, clock)?)
    }

    /// The process that all others of it come from.
    pub fn postmaster(&self) -> Result<Pid> {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).context("it does not run")?;
        let pid = file.lines().next().and_then(|pid| Pid::from_raw(pid.parse().ok()?));
        pid.context("no id of a process")
    }

    /// Freezes every process of it. Connections stay open, and the kernel accepts new ones.
    pub fn freeze(&self) -> Result<()> {
        let postmaster = self.postmaster()?;
        // It goes first, so that it starts no other process afterwards.
        halt(postmaster)?;
        children(postmaster).into_iter().try_for_each(halt)
    }

    /// Lets them go on.
    pub fn thaw(&self) -> Result<()> {
        let postmaster = self.postmaster()?;
        for process in children(postmaster).into_iter().chain([postmaster]) {
            // It fails only where there is no such process any more.
            let _ = kill_process(process, Signal::CONT);
        }
        Ok(())
    }

    /// One of its programs, as a user that is not root.
    pub fn program(&self, name: &str) -> Command {
        let mut command = unprivileged("env", &self.dir);
        if self.options.clock {
            // A missing library is named by the dynamic linker.
            let library = sessiond_machine::faketime().unwrap_or_else(|| "libfaketime.so.1".into());
            command.arg(format!("LD_PRELOAD={}", library.display()));
            command.arg(format!("FAKETIME_TIMESTAMP_FILE={}", self.dir.join("clock").display()));
            // It is set for all processes at once, and spans of time are as long as ever.
            command.args(["FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"]);
        }
        if let Some(cpus) = self.options.cpus {
            command.args(["taskset", "--cpu-list", cpus]);
        }
        command.arg(self.programs.join(name));
        command
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    async fn run(&self, command: &mut Command) -> Result<()> {
        // What it starts must not keep our own output open.
        let complaints = self.dir.join("complaints");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&complaints)?);
        let shown = format!("{command:?}");
        let mut child = command.spawn().with_context(|| format!("starting {shown}"))?;
        let ended = tokio::task::spawn_blocking(move || child.wait());
        let ended =
            tokio::time::timeout(PATIENCE, ended).await.with_context(|| format!("{shown} does not end"))???;
        ensure!(ended.success(), "{shown}: {}", std::fs::read_to_string(&complaints).unwrap_or_default());
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Where it does not run, there is nothing to thaw.
        let _ = self.thaw();
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
        // The watcher empties the folder, and may not be allowed to remove it.
        let _ = std::fs::remove_dir(&self.dir);
    }
}

/// Makes a file the property of the user who runs PostgreSQL.
pub fn give_away(path: &Path) -> Result<()> {
    if geteuid().is_root() {
        chown(path, Some(UNPRIVILEGED), Some(UNPRIVILEGED)).context("giving a file away")?;
    }
    Ok(())
}

/// A command whose process is killed when this one ends, as a user that is not root: some programs refuse to run as root.
pub fn unprivileged_command(program: impl AsRef<OsStr>) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(setpriv());
    if geteuid().is_root() {
        let user = UNPRIVILEGED.to_string();
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
    }
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn unprivileged(program: impl AsRef<OsStr>, dir: &Path) -> Command {
    let mut command = if geteuid().is_root() {
        let mut command = Command::new(setpriv());
        let user = UNPRIVILEGED.to_string();
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(dir);
    command
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::process::state;

    #[sessiond_needs::needs(initdb)]
    #[tokio::test]
    async fn what_was_committed_survives_a_stop_and_a_frozen_server_does_nothing() -> Result<()> {
        let server = Postgres::start(Options::with("fsync = on")).await?;
        database::execute(&server.url("postgres"), "CREATE TABLE kept AS SELECT 7 AS number").await?;
        let first = server.postmaster()?;
        server.stop_immediately().await?;
        assert!(database::postgres(&server.url("postgres")).await.is_err(), "stopped");
        server.start_again().await?;
        assert_ne!(server.postmaster()?, first);
        let kept = async || server.rows("postgres", "SELECT number FROM kept").await;
        assert_eq!(kept().await?, [[Some("7".to_owned())]]);

        let mut open = database::Connection::open(&server.url("postgres")).await?;
        server.freeze()?;
        let asked = tokio::spawn(async move { open.execute("UPDATE kept SET number = 8").await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!asked.is_finished(), "frozen");
        server.thaw()?;
        asked.await??;
        assert_eq!(kept().await?, [[Some("8".to_owned())]]);

        let (postmaster, folder) = (server.postmaster()?, server.folder().to_owned());
        server.freeze()?;
        drop(server);
        assert!(!folder.exists() && state(postmaster).is_none_or(|(state, _)| state == 'Z'), "gone, even frozen");
        Ok(())
    }
}
