//! The servers under test: release processes on one database.

use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use rustix::process::Signal;
use sessiond_support::{
    process::Frozen,
    sessiond::{Server, Sessiond},
};

/// What every server is set to beside the usual.
const SETTINGS: [(&str, &str); 3] = [
    ("SESSIOND_ADMIN_PASSWORD", "history-7Qp2-staple-kV9x"),
    // Only what a history shows ends a session.
    ("SESSIOND_SESSIONS_PER_USER", "100000"),
    ("SESSIOND_PASSWORD_WORKERS", "1"),
];

/// The state of a server that clients share: where it listens, if it does, and how many wait for an answer.
#[derive(Default)]
pub struct Door {
    port: AtomicU16,
    waiting: AtomicUsize,
}

/// A running server.
pub struct Replica {
    sessiond: Sessiond,
    server: Server,
}

impl Replica {
    /// Starts one and lets connections in once it is ready.
    pub async fn start(sessiond: &Sessiond, door: &Door) -> Result<Self> {
        let mut command = sessiond.server();
        command.envs(SETTINGS);
        let mut server = Server::start(command).await?;
        server.until_ready().await?;
        door.port.store(server.listen.port(), Ordering::Release);
        Ok(Self { sessiond: sessiond.clone(), server })
    }

    /// Freezes it until the returned value is dropped.
    pub fn freeze(&self) -> Result<Frozen<'_>> {
        self.server.process.freeze()
    }

    /// Kills it and starts another in its place.
    pub async fn replace(self, door: &Door) -> Result<Self> {
        door.port.store(0, Ordering::Release);
        self.server.process.kill().await?;
        Self::start(&self.sessiond, door).await
    }

    /// Stops it in good order and starts one of another release in its place.
    pub async fn upgrade(mut self, release: &Sessiond, door: &Door) -> Result<Self> {
        door.port.store(0, Ordering::Release);
        self.server.process.signal(Signal::TERM)?;
        ensure!(self.server.process.ended().await?.success(), "a server did not stop: {}", self.server.process.log());
        Self::start(release, door).await
    }
}

/// A place among the requests that wait for an answer, until dropped.
pub struct Waiting<'d>(&'d Door);

impl Door {
    /// Takes a place among the `most` that may wait here, and returns the port. None where there is no place, or no
    /// server listens: a frozen server would have all connections wait for it, and the other servers would get no
    /// requests.
    pub fn enter(&self, most: usize) -> Option<(Waiting<'_>, u16)> {
        let port = self.port.load(Ordering::Acquire);
        let waiting = self.waiting.fetch_add(1, Ordering::AcqRel);
        let place = Waiting(self);
        (port != 0 && waiting < most).then_some((place, port))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
