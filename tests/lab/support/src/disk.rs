//! Small file systems, which can be full.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A file system of its own, unmounted when dropped. Only root can make one.
pub struct Disk(PathBuf);

impl Disk {
    /// One of so many bytes in memory, where nothing is durable.
    pub fn in_memory(at: &Path, size: u64) -> Result<Self> {
        let size = format!("size={size}");
        succeed(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at))?;
        Ok(Self(at.to_owned()))
    }

    /// The one in an image, on a machine with loop devices.
    pub fn in_image(image: &Path, at: &Path) -> Result<Self> {
        succeed(Command::new("mount").args(["-o", "loop"]).arg(image).arg(at))?;
        Ok(Self(at.to_owned()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Fills it to its last byte.
    pub fn fill(&self) -> Result<()> {
        let mut ballast = File::create(self.ballast())?;
        for size in [1 << 20, 512, 1] {
            let piece = vec![0; size];
            while ballast.write_all(&piece).is_ok() {}
        }
        Ok(())
    }

    /// Makes room again.
    pub fn make_room(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = succeed(Command::new("umount").arg("-l").arg(&self.0)) {
            eprintln!("{} stays mounted: {error:#}", self.0.display());
        }
    }
}

/// Makes an image of a file system of so many bytes.
pub fn make_image(image: &Path, size: u64) -> Result<()> {
    File::create(image)?.set_len(size)?;
    // No room is kept back for root, for whom the disk would never be full.
    succeed(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(image))
}

fn succeed(command: &mut Command) -> Result<()> {
    let done = command.output().with_context(|| format!("starting {command:?}"))?;
    ensure!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}
