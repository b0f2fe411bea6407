//! Where a soak happens: a small file system of its own that can be full, and a store in it.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::process::geteuid;
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

/// A file system in a file, a folder on a real disk for the rest, and a store.
pub struct Place {
    pub database: String,
    mounted: Option<Mounted>,
    folder: tempfile::TempDir,
    _cluster: Option<Postgres>,
}

/// Unmounted when dropped.
struct Mounted(PathBuf);

impl Place {
    /// Makes it. Only root can mount; for others the disk is never full.
    pub async fn make(binary: &Path, store: Store) -> Result<Self> {
        let beside = binary.parent().context("a program in no folder")?;
        let folder = tempfile::Builder::new().prefix("soak-").tempdir_in(beside)?;
        let mounted = if geteuid().is_root() { Some(Mounted::make(folder.path())?) } else { None };
        let (database, cluster) = match store {
            Store::Sqlite => {
                let at = mounted.as_ref().map_or(folder.path(), |mounted| &mounted.0);
                (format!("sqlite://{}", at.join("sessiond.db").display()), None)
            }
            Store::Postgres => {
                let folder = Some(beside.to_owned());
                let settings = "fsync = on\nfull_page_writes = on\nmax_wal_size = 512MB".to_owned();
                let cluster = Postgres::start(Options { settings, folder, ..Options::default() }).await?;
                (cluster.url("postgres"), Some(cluster))
            }
        };
        Ok(Self { database, mounted, folder, _cluster: cluster })
    }

    /// The folder that servers run and log in.
    pub fn folder(&self) -> &Path {
        self.mounted.as_ref().map_or(self.folder.path(), |mounted| &mounted.0)
    }

    /// Whether its disk can be full.
    pub fn can_be_full(&self) -> bool {
        self.mounted.is_some()
    }

    /// Fills the disk to its last byte.
    pub fn fill(&self) -> Result<()> {
        ensure!(self.can_be_full(), "a disk that others use is not filled");
        let mut ballast = File::create(self.ballast())?;
        for size in [1 << 20, 4096, 1] {
            let piece = vec![0xa5; size];
            while ballast.write_all(&piece).is_ok() {}
        }
        Ok(())
    }

    /// Makes room again.
    pub fn make_room(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.folder().join("ballast")
    }
}

impl Mounted {
    /// On a real disk, where the machine has loop devices, else in memory.
    fn make(folder: &Path) -> Result<Self> {
        let (image, at) = (folder.join("image"), folder.join("disk"));
        File::create(&image)?.set_len(SIZE)?;
        std::fs::create_dir(&at)?;
        // No room is kept back for root, for whom the disk would never be full.
        succeed(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image))?;
        if let Err(error) = succeed(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at)) {
            println!("  the small disk is in memory, where nothing is durable: {error:#}");
            let size = format!("size={SIZE}");
            succeed(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at))?;
        }
        Ok(Self(at))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = succeed(Command::new("umount").arg("-l").arg(&self.0)) {
            eprintln!("{} stays mounted: {error:#}", self.0.display());
        }
    }
}

fn succeed(command: &mut Command) -> Result<()> {
    let done = command.output().with_context(|| format!("starting {command:?}"))?;
    ensure!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}
