//! Room for the write-ahead log, made once at the start.
//!
//! A commit that makes the log longer must have its new length written as well, which takes a half to twice as long as
//! one that writes over what was there. So a server gives the log its full size at once, in zeros, which SQLite takes
//! for an empty log.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use super::paths::beside;

/// At how many pages in the log a commit folds it into the database itself, should the checkpointer not have done so before.
pub(super) const WRITERS_SHARE: u32 = 4096;
/// As many pages with their headers, and the log's own.
const SIZE: usize = 32 + WRITERS_SHARE as usize * (24 + 4096);
/// A log that is longer, as it is after another program has read for long, is cut to this when it starts over. What the last
/// commit before that usually adds stays, or a later one would have to add it again.
pub(super) const LONGEST: usize = SIZE + (1 << 20);

/// Makes a log of full size, unless there is one. If that fails, commits are merely slower.
pub(super) fn make_room(database: &Path) {
    match fill(&beside(database, "-wal"), &beside(database, "-wal.new")) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => tracing::warn!(%error, "cannot make room for the write-ahead log"),
    }
}

/// The size of a database's log in bytes; nothing where there is none.
pub(super) fn size(database: &Path) -> u64 {
    fs::metadata(beside(database, "-wal")).map_or(0, |log| log.len())
}

fn fill(log: &Path, new: &Path) -> io::Result<()> {
    if log.exists() {
        return Ok(());
    }
    match fs::remove_file(new) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(new).and_then(|mut file| {
        // A disk with little space keeps it for data.
        let disk = rustix::fs::fstatvfs(&file)?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < 8 * SIZE as u64 {
            return Ok(());
        }
        // A little at a time: memory for all of it at once would stay with the allocator while the server is idle.
        io::copy(&mut io::repeat(0).take(SIZE as u64), &mut file)?;
        file.sync_all()?;
        // Whole or not at all, and never over a log that a command has begun meanwhile.
        fs::hard_link(new, log)
    });
    fs::remove_file(new)?;
    written
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (database, theirs) = (dir.path().join("test.db"), dir.path().join("theirs"));
        fs::write(&theirs, "theirs").expect("written");
        std::os::unix::fs::symlink(&theirs, beside(&database, "-wal.new")).expect("linked");
        make_room(&database);
        assert_eq!(fs::read(&theirs).expect("still there"), b"theirs");
        assert_eq!(fs::symlink_metadata(beside(&database, "-wal")).expect("made").len(), SIZE as u64);
    }
}
