//! The server under test: a child process on port 0 over a database in a folder of its own.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    children::{self, Child},
    wire::Connection,
};

/// The account that the server's first start makes; every seeded account has the same password.
pub const ADMIN: &str = "admin";
pub const PASSWORD: &str = "bench-7Qp2-staple-kV9x";

/// The database's file name inside its folder.
pub const DATABASE: &str = "sessiond.db";

const READY: &[u8] = b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";

/// A running, ready server; killed when dropped.
pub struct Server {
    pub address: SocketAddr,
    pub pid: u32,
    /// From spawning the process until the first 200 from `/readyz`.
    pub ready_after: Duration,
    child: Child,
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
        let mut environment = vec![
            ("SESSIOND_LISTEN", "127.0.0.1:0".to_owned()),
            ("SESSIOND_OPS_LISTEN", "127.0.0.1:0".to_owned()),
            ("SESSIOND_DATABASE_URL", database.to_owned()),
            ("SESSIOND_ADMIN_USERNAME", ADMIN.to_owned()),
            ("SESSIOND_ADMIN_PASSWORD", PASSWORD.to_owned()),
            ("NO_COLOR", "1".to_owned()),
        ];
        environment.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let mut child = Child::spawn(binary, &[], &environment, folder)?;
        let [address, ops] = child.logged(["listen", "ops"]).await?;
        let ready_after = ready(&mut child, ops).await?;
        Ok(Self { address, pid: child.pid, ready_after, child })
    }

    /// Ends the server the way an operator would.
    pub async fn stop(self) -> Result<()> {
        self.child.terminate().await
    }

    pub fn resident(&self) -> Result<u64> {
        children::memory(self.pid, "VmRSS")
    }

    pub fn highest_resident(&self) -> Result<u64> {
        children::memory(self.pid, "VmHWM")
    }

    /// How long the answer to a request is; the answer must have this status.
    pub async fn answer_bytes(&self, request: &[u8], status: u16) -> Result<usize> {
        let answer = Connection::open(self.address).await?.exchange(request).await?;
        ensure!(answer.status == status, "the server answered {} instead of {status}", answer.status);
        Ok(answer.bytes)
    }
}

async fn ready(child: &mut Child, ops: SocketAddr) -> Result<Duration> {
    loop {
        // It carries one request.
        let mut connection = Connection::open(ops).await.context("the operations listener")?;
        let answer = connection.exchange(READY).await?;
        let after = child.spawned.elapsed();
        match answer.status {
            200 => return Ok(after),
            _ if after < Duration::from_secs(60) => {}
            status => bail!("not ready within a minute: {status} {}", String::from_utf8_lossy(connection.body())),
        }
        child.still_alive()?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
