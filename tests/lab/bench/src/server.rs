//! The server under test: a process on a CPU of its own, over a database on the real disk.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Result, ensure};
use rustix::process::Pid;
use sessiond_support::{
    http::Connection,
    ops::Metrics,
    process::Process,
    sessiond::{self, Sessiond},
};

use crate::cpu;

/// The account that the server's first start makes; every seeded account has the same password.
pub const ADMIN: &str = "admin";
pub const PASSWORD: &str = "bench-7Qp2-staple-kV9x";

/// A running, ready server; killed when dropped.
pub struct Server {
    pub address: SocketAddr,
    ops: SocketAddr,
    pub pid: Pid,
    /// From spawning the process until the first 200 from `/readyz`.
    pub ready_after: Duration,
    process: Process,
}

impl Server {
    pub async fn start(binary: &Path, folder: &Path, database: &str) -> Result<Self> {
        Self::start_with(binary, folder, database, &[]).await
    }

    /// The same with more settings.
    pub async fn start_with(
        binary: &Path,
        folder: &Path,
        database: &str,
        settings: &[(&'static str, &str)],
    ) -> Result<Self> {
        let sessiond = Sessiond {
            binary: binary.to_owned(),
            database: database.to_owned(),
            folder: folder.to_owned(),
            cpus: Some(cpu::SERVER),
        };
        let mut command = sessiond.server();
        command.env("SESSIOND_ADMIN_USERNAME", ADMIN).env("SESSIOND_ADMIN_PASSWORD", PASSWORD);
        command.envs(settings.iter().copied());
        let mut server = sessiond::Server::start(command).await?;
        let ready_after = server.until_ready().await?;
        Ok(Self {
            address: server.listen,
            ops: server.ops,
            pid: server.process.pid(),
            ready_after,
            process: server.process,
        })
    }

    /// Ends the server the way an operator would.
    pub async fn stop(self) -> Result<()> {
        self.process.stop().await
    }

    pub fn resident(&self) -> Result<u64> {
        cpu::memory(self.pid, "VmRSS")
    }

    pub fn highest_resident(&self) -> Result<u64> {
        cpu::memory(self.pid, "VmHWM")
    }

    /// Its metrics now.
    pub async fn metrics(&self) -> Result<Metrics> {
        Metrics::read(self.ops).await
    }

    /// How long the answer to a request is; the answer must have this status.
    pub async fn answer_bytes(&self, request: &[u8], status: u16) -> Result<usize> {
        let mut connection = Connection::open(self.address).await?;
        let answered = connection.exchange(request).await?;
        ensure!(answered == status, "the server answered {answered} instead of {status}");
        Ok(connection.head().len() + connection.body().len())
    }
}
