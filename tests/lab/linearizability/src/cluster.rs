//! A PostgreSQL of our own, to be thrown away.

use std::{
    os::unix::fs::chown,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tokio_postgres::NoTls;

use crate::{
    process::{Process, command, free_port},
    random::Random,
};

const NOBODY: u32 = 65534;
const SETTINGS: &[&str] = &["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=100", "jit=off"];

/// A running server; gone when dropped, data and all.
pub struct Cluster {
    process: Option<Process>,
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
}

impl Cluster {
    /// Makes one in `folder`, which it can reach.
    pub async fn start(folder: &Path, random: &mut Random) -> Result<Self> {
        let programs = programs()?;
        std::fs::create_dir(folder)?;
        if rustix::process::geteuid().is_root() {
            chown(folder, Some(NOBODY), Some(NOBODY)).context("giving a folder away")?;
        }
        let mut initdb = command(&programs.join("initdb"), "KILL", true);
        initdb
            .args(["--no-sync", "-A", "trust", "-E", "UTF8", "--locale=C", "-U", "sessiond", "-D"])
            .arg(folder.join("data"));
        initdb.current_dir(folder);
        let made = initdb.output().await.context("running initdb")?;
        if !made.status.success() {
            bail!("initdb: {}", String::from_utf8_lossy(&made.stderr));
        }
        let port = free_port(random)?;
        let mut this = Self { process: None, programs, folder: folder.to_owned(), port };
        this.run().await?;
        Ok(this)
    }

    pub fn url(&self) -> String {
        format!("postgres://sessiond@127.0.0.1:{}/postgres", self.port)
    }

    /// Ends it as a crash would, and starts it again.
    pub async fn crash(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::QUIT)?;
            process.ended().await?;
        }
        self.run().await
    }

    async fn run(&mut self) -> Result<()> {
        let mut postgres = command(&self.programs.join("postgres"), "QUIT", true);
        postgres.current_dir(&self.folder).arg("-D").arg(self.folder.join("data")).args(["-p", &self.port.to_string()]);
        for setting in SETTINGS {
            postgres.args(["-c", setting]);
        }
        let process = self.process.insert(Process::start(postgres, &self.folder.join("log"), Signal::QUIT)?);
        let begun = Instant::now();
        let url = format!("postgres://sessiond@127.0.0.1:{}/postgres", self.port);
        while let Err(error) = tokio_postgres::connect(&url, NoTls).await {
            process.still_alive()?;
            if begun.elapsed() > Duration::from_secs(60) {
                return Err(error).context("PostgreSQL does not answer");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.process.take());
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("{} is left behind: {error}", self.folder.display());
        }
    }
}

/// Where `initdb` and `postgres` are: on the path, or where Debian puts them.
fn programs() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        places.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    let has_all = |place: &PathBuf| ["initdb", "postgres"].iter().all(|program| place.join(program).is_file());
    let found = places.into_iter().find(has_all).context("PostgreSQL (initdb, postgres) was not found: install it")?;
    // They look for what belongs to them beside themselves.
    let resolved = found.join("initdb").canonicalize()?;
    Ok(resolved.parent().unwrap_or(&found).to_owned())
}
