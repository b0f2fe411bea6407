//! The store's files: made readable by their owner only, and watched, so that no process serves from ones that were replaced.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::{Result, StoreError};
use super::owners;
use super::paths::{LOCK, beside, directory, unreachable_file};

/// What SQLite and the lock put beside a database.
const COMPANIONS: [&str; 4] = ["-wal", "-shm", "-journal", LOCK];

/// Makes the database unless it exists, makes it and the files beside it readable by their owner only, and returns its
/// canonical name: a server that used another name would not see this one's lock. A database that another user may
/// change is refused.
pub(super) fn make_private(path: &Path) -> Result<PathBuf> {
    let odd = |error| unreachable_file(path, &error);
    owners::check_directory(directory(path))?;
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let database = options.open(path).and_then(|file| file.metadata()).map_err(odd)?;
    let path = path.canonicalize().map_err(odd)?;
    if links(&database) > 1 {
        return Err(StoreError::unreachable(format!(
            "{} is one of several hard links to a file, and its log would be beside one of them only: copy it instead",
            path.display()
        )));
    }
    owners::check_directory(directory(&path))?;
    tighten(&path, &database)?;
    for ending in COMPANIONS {
        let companion = beside(&path, ending);
        match companion.symlink_metadata() {
            Ok(found) if found.is_symlink() => {
                let what = format!("{} is a symbolic link: remove it", companion.display());
                return Err(StoreError::unreachable(what));
            }
            Ok(found) => tighten(&companion, &found)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreachable_file(&companion, &error)),
        }
    }
    Ok(path)
}

/// Warnings about files that another user may change, where that is not refused.
pub(in super::super) fn warnings(path: &Path) -> Vec<String> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let files = [""].iter().chain(&COMPANIONS).map(|ending| beside(&path, ending));
    let files = files.filter_map(|file| owners::check_file(&file, &file.symlink_metadata().ok()?).ok().flatten());
    owners::check_directory(directory(&path)).ok().flatten().into_iter().chain(files).collect()
}

#[cfg(unix)]
fn tighten(path: &Path, found: &Metadata) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    owners::check_file(path, found)?;
    let others = found.permissions().mode() & 0o077;
    if others == 0 {
        return Ok(());
    }
    if others & 0o022 != 0 {
        tracing::warn!(
            path = %path.display(),
            "could be written by other users of the machine, who may have changed it; it is made private"
        );
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(|error| unreachable_file(path, &error))
}

#[cfg(not(unix))]
const fn tighten(_: &Path, _: &Metadata) -> Result<()> {
    Ok(())
}

#[cfg(unix)]
fn links(found: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(found)
}

#[cfg(not(unix))]
const fn links(_: &Metadata) -> u64 {
    1
}

/// The identity of a file, whatever its name.
#[cfg(unix)]
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|_| (0, 0))
}

/// The files as they were when the store was opened.
#[derive(Debug)]
pub(super) struct Files {
    opened: Vec<(PathBuf, (u64, u64))>,
    lost: AtomicBool,
}

impl Files {
    /// Remembers which files these are.
    pub(super) fn remember(paths: &[&Path]) -> Result<Self> {
        let opened = paths.iter().map(|&path| match identity(path) {
            Ok(identity) => Ok((path.to_owned(), identity)),
            Err(error) => Err(unreachable_file(path, &error)),
        });
        Ok(Self { opened: opened.collect::<Result<_>>()?, lost: AtomicBool::new(false) })
    }

    /// Fails for good once one of them was removed or replaced: what is written to a file without a name is lost, and
    /// what is read from another is not what was written.
    pub(super) fn check(&self) -> Result<()> {
        let replaced = self.opened.iter().find(|(path, opened)| identity(path).ok() != Some(*opened));
        if let Some((path, _)) = replaced
            && !self.lost.swap(true, Ordering::AcqRel)
        {
            tracing::error!(path = %path.display(), "removed or replaced while in use; nothing is served until a restart");
        }
        if self.lost() {
            return Err(StoreError::unreachable("the database was removed or replaced while in use"));
        }
        Ok(())
    }

    /// Whether a check has failed.
    pub(super) fn lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }
}
