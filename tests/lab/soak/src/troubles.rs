//! What goes wrong around a server on the way: nothing reads its log, its disk is full, its log file is rotated.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use sessiond_support::disk::Disk;
use sessiond_support::sessiond::Server;

use crate::log::Log;
use crate::place::Place;
use crate::watch::{get, metrics};

/// How long each lasts at most, and what part of the whole time.
const LONGEST: Duration = Duration::from_secs(30);
const PART: u32 = 12;
/// How long a server may take until it has recovered.
const RECOVERY: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(100);

/// Whether the store may fail now.
#[derive(Default)]
pub struct Troubles(Cell<bool>);

impl Troubles {
    pub fn store_may_fail(&self) -> bool {
        self.0.get()
    }
}

/// What troubles happen to.
pub struct Target<'t> {
    pub place: &'t Place,
    pub log: &'t Log,
    pub server: &'t Server,
    pub configuration: &'t Path,
    pub length: Duration,
    pub troubles: &'t Troubles,
}

impl Target<'_> {
    /// All of them in turn, spread over the whole time. Returns what happened.
    pub async fn run(&self) -> Result<Vec<String>> {
        let begun = Instant::now();
        let at = async |part: f64| tokio::time::sleep_until((begun + self.length.mul_f64(part)).into()).await;
        let mut happened = Vec::new();
        at(0.3).await;
        match self.log {
            Log::Pipe(_) => happened.push(self.nothing_reads_the_log().await.context("while nothing read the log")?),
            Log::File(_) => happened.push(self.rotation().await.context("the log's rotation")?),
        }
        at(0.6).await;
        if let Some(disk) = &self.place.disk {
            happened.push(self.full_disk(disk).await.context("a full disk")?);
        }
        Ok(happened)
    }

    fn lasts(&self) -> Duration {
        LONGEST.min(self.length / PART)
    }

    /// With a line for every request the pipe is full at once.
    async fn nothing_reads_the_log(&self) -> Result<String> {
        let dropped = async || metrics(self.server.ops).await?.one("sessiond_log_dropped_total");
        ensure!(dropped().await? == 0.0, "lines were dropped before");
        self.set_level("debug").await?;
        self.log.stop_reading(true);
        tokio::time::sleep(self.lasts()).await;
        let count = dropped().await?;
        ensure!(count > 0.0, "no line was dropped");
        self.set_level("info").await?;
        self.log.stop_reading(false);
        self.until("the log says what is missing", async || Ok(self.log.end()?.contains("log lines were dropped")))
            .await?;
        Ok(format!("nothing read the log for {:?}: {count} lines were dropped, and the log says so", self.lasts()))
    }

    /// Lines go on at the beginning of the file.
    async fn rotation(&self) -> Result<String> {
        let before = self.log.lines()?;
        self.log.rotate()?;
        self.reload().await?;
        self.until("something is logged", async || Ok(self.log.lines()? > 0)).await?;
        self.log.goes_on_from_the_beginning()?;
        Ok(format!("the log was rotated after {before} lines, and goes on"))
    }

    /// Sessions are checked all the while. What cannot be written is not answered as done.
    async fn full_disk(&self, disk: &Disk) -> Result<String> {
        let ready = async || Ok(get(self.server.ops, "/readyz").await?.0 == 200);
        ensure!(ready().await?, "not ready before");
        self.troubles.0.set(true);
        disk.fill()?;
        // The write-ahead log has room for a while.
        let (full, mut refuses) = (Instant::now(), None);
        while full.elapsed() < self.lasts() {
            if refuses.is_none() && !ready().await? {
                refuses = Some(full.elapsed().as_secs_f64());
            }
            tokio::time::sleep(LOOK).await;
        }
        disk.make_room()?;
        let begun = Instant::now();
        self.until("the server is ready", ready).await?;
        let took = begun.elapsed();
        let before = self.log.lines()?;
        self.reload().await?;
        self.until("something is logged", async || Ok(self.log.lines()? > before)).await?;
        // What was refused before is answered by now.
        tokio::time::sleep(Duration::from_secs(5)).await;
        self.troubles.0.set(false);
        let refuses = refuses.map_or("always ready".to_owned(), |after| format!("not ready after {after:.1} s of it"));
        Ok(format!(
            "the disk was full for {:?}: {refuses}, ready {:.1} s after there was room, and it logs",
            self.lasts(),
            took.as_secs_f64()
        ))
    }

    async fn set_level(&self, level: &str) -> Result<()> {
        std::fs::write(self.configuration, format!("log_level = '{level}'\n"))?;
        self.reload().await
    }

    async fn reload(&self) -> Result<()> {
        self.server.process.signal(Signal::HUP)?;
        let good = async || Ok(metrics(self.server.ops).await?.one("sessiond_config_last_reload_successful")? == 1.0);
        self.until("the configuration was read", good).await
    }

    async fn until(&self, what: &str, mut condition: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
        let begun = Instant::now();
        while !condition().await? {
            ensure!(begun.elapsed() < RECOVERY, "waited {RECOVERY:?} in vain until {what}");
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}
