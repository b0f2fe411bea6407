//! A PostgreSQL of this run's own, on the real disk, as durable as it comes; gone when dropped.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio_postgres::{Client, NoTls};

use crate::{children, stage::Scratch};

/// The superuser of the cluster, who is trusted.
const USER: &str = "bench";
/// As many clients as the load has connections.
const CLIENTS: &str = "64";

/// A running server. It shares both CPUs with whoever asks it and whoever loads them.
pub struct Cluster {
    programs: PathBuf,
    scratch: Scratch,
    port: u16,
}

impl Cluster {
    pub fn start() -> Result<Self> {
        let cluster = Self { programs: programs()?, scratch: Scratch::new()?, port: free_port()? };
        let folder = cluster.scratch.path();
        if rustix::process::geteuid().is_root() {
            // PostgreSQL refuses to run as root.
            run(Command::new("chown").arg("nobody:nogroup").arg(folder))?;
        }
        run(cluster
            .program("initdb")
            .args(["--no-sync", "-A", "trust", "-E", "UTF8", "--locale=C", "-U", USER, "-D"])
            .arg(cluster.data()))?;
        let options = format!(
            "-p {} -k {} -c listen_addresses=127.0.0.1 -c max_connections=300 -c shared_buffers=512MB -c max_wal_size=4GB",
            cluster.port,
            folder.display()
        );
        let log = folder.join("log");
        run(cluster
            .program("pg_ctl")
            .args(["start", "-w", "-s", "-o", &options, "-l"])
            .arg(log)
            .arg("-D")
            .arg(cluster.data()))?;
        Ok(cluster)
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// A database of its own, empty.
    pub async fn create(&self, database: &str) -> Result<()> {
        let client = connect(&self.url("postgres")).await?;
        Ok(client.batch_execute(&format!("CREATE DATABASE {database}")).await?)
    }

    /// How many rows a second pgbench updates by their key, each in a transaction of its own.
    pub async fn updates(&self, length: Duration) -> Result<f64> {
        const DATABASE: &str = "counters";
        if self.create(DATABASE).await.is_ok() {
            let client = connect(&self.url(DATABASE)).await?;
            client
                .batch_execute(
                    "CREATE TABLE counters (id bigint PRIMARY KEY, count bigint NOT NULL) WITH (fillfactor = 80);
                     INSERT INTO counters SELECT id, 0 FROM generate_series(1, 100000) AS id;",
                )
                .await?;
            client.batch_execute("VACUUM ANALYZE counters").await?;
        }
        let script = self.scratch.path().join("update.sql");
        std::fs::write(&script, "\\set id random(1, 100000)\nUPDATE counters SET count = count + 1 WHERE id = :id;\n")?;
        let mut pgbench = self.program("pgbench");
        pgbench.args(["-n", "-M", "prepared", "-c", CLIENTS, "-j", "2", "-h", "127.0.0.1", "-U", USER]);
        pgbench
            .args(["-p", &self.port.to_string(), "-T", &length.as_secs().to_string(), "-f"])
            .arg(script)
            .arg(DATABASE);
        let output = tokio::process::Command::from(pgbench).output().await.context("running pgbench")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.with_context(|| format!("pgbench: {text}{}", String::from_utf8_lossy(&output.stderr)))
    }

    fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    /// One of its programs, on both CPUs, as somebody who is not root.
    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = children::on_both_cpus();
        if rustix::process::geteuid().is_root() {
            command.args(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
        }
        command.arg(program).current_dir(self.scratch.path());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = run(self.program("pg_ctl").args(["stop", "-m", "immediate", "-s", "-D"]).arg(self.data())) {
            eprintln!("PostgreSQL is left running: {error:#}");
        }
    }
}

/// Connects; the connection ends with the client.
pub async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Where initdb and its like are: on the path, or where Debian puts them.
fn programs() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<_> = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
        versions.sort();
        folders.extend(versions.into_iter().rev());
    }
    let found = folders
        .into_iter()
        .find(|folder| ["initdb", "pg_ctl", "pgbench"].iter().all(|name| folder.join(name).is_file()));
    found.context("PostgreSQL's initdb, pg_ctl and pgbench are needed, and are not here")
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn run(command: &mut Command) -> Result<()> {
    // To a file's end, not to a pipe: what a server inherits would never come to an end.
    let status = command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).status();
    match status.with_context(|| format!("running {command:?}"))? {
        status if status.success() => Ok(()),
        status => bail!("{command:?}: {status}"),
    }
}
