//! Where a soak happens: a small file system of its own that can be full, and a store in it.

use std::path::Path;

use anyhow::{Context, Result};
use rustix::process::geteuid;
use sessiond_support::disk::{Disk, make_image};
use sessiond_support::postgres::{Options, Postgres};

/// Room for a day's events, tombstones and the log.
const SIZE: u64 = 1 << 30;

/// Where sessions are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Store {
    /// The embedded file
    Sqlite,
    /// A server of the soak's own, whose disk is not the one that gets full
    Postgres,
}

/// A small disk, a folder on a real one, and a store.
pub struct Place {
    pub database: String,
    /// Unmounted before the folder is removed that it lies in.
    pub disk: Option<Disk>,
    folder: tempfile::TempDir,
    _cluster: Option<Postgres>,
}

impl Place {
    /// Makes it. Only root can mount; for others the disk is never full.
    pub async fn make(binary: &Path, store: Store) -> Result<Self> {
        let beside = binary.parent().context("a program in no folder")?;
        let folder = tempfile::Builder::new().prefix("soak-").tempdir_in(beside)?;
        let disk = if geteuid().is_root() { Some(small_disk(folder.path())?) } else { None };
        let mut place = Self { database: String::new(), disk, folder, _cluster: None };
        match store {
            Store::Sqlite => place.database = format!("sqlite://{}", place.folder().join("sessiond.db").display()),
            Store::Postgres => {
                let folder = Some(beside.to_owned());
                let settings = "fsync = on\nfull_page_writes = on\nmax_wal_size = 512MB".to_owned();
                let cluster = Postgres::start(Options { settings, folder, ..Options::default() }).await?;
                place.database = cluster.url("postgres");
                place._cluster = Some(cluster);
            }
        }
        Ok(place)
    }

    /// The folder that servers run and log in.
    pub fn folder(&self) -> &Path {
        self.disk.as_ref().map_or(self.folder.path(), Disk::path)
    }
}

/// On a real disk, where the machine has loop devices, else in memory.
fn small_disk(folder: &Path) -> Result<Disk> {
    let (image, at) = (folder.join("image"), folder.join("disk"));
    make_image(&image, SIZE)?;
    std::fs::create_dir(&at)?;
    Disk::in_image(&image, &at).or_else(|error| {
        println!("  the small disk is in memory, where nothing is durable: {error:#}");
        Disk::in_memory(&at, SIZE)
    })
}
