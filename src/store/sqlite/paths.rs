//! Where the store's files lie, by name, and what the file system's errors mean for the store.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::process::{getegid, geteuid};

use super::super::StoreError;

/// What the name of the lock ends with.
pub(super) const LOCK: &str = ".lock";

/// The directory a file is in.
pub(super) fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

/// The file beside a database whose name has this ending.
pub(super) fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Whether neither a database is there nor the rest of its log, which may be all that is left of one.
pub(in super::super) fn is_missing(database: &Path) -> bool {
    let is_missing = |path: &Path| path.try_exists().is_ok_and(|there| !there);
    is_missing(database) && is_missing(&beside(database, "-wal"))
}

/// An error of the file system in the store's words. What only lacks the right owner or mode is said with the command that mends
/// it, since that is how the first start on a directory of somebody else's ends, such as one that a container is given.
pub(super) fn unreachable_file(path: &Path, error: &io::Error) -> StoreError {
    let refused = (error.kind() == io::ErrorKind::PermissionDenied).then(|| refused(path)).flatten();
    StoreError::unreachable(refused.unwrap_or_else(|| format!("{}: {error}", path.display())))
}

/// Fails where SQLite has to make a log beside a database and may not, which it says without a name.
pub(super) fn may_make_log(database: &Path) -> Result<(), StoreError> {
    let is_made = beside(database, "-wal").try_exists().unwrap_or(false);
    let refused = if is_made { None } else { refused(database) };
    refused.map_or(Ok(()), |sentence| Err(StoreError::unreachable(sentence)))
}

/// Says which of a file and its directory does not let this process write. `None` if it is neither: one above them, perhaps.
fn refused(path: &Path) -> Option<String> {
    let path = std::path::absolute(path).ok()?;
    let directory = directory(&path);
    directory.metadata().ok()?;
    let refuses = |path: &Path, rights| access(path, rights) == Err(rustix::io::Errno::ACCESS);
    // What is in a directory that may not be searched is unknown.
    let file = !refuses(directory, Access::EXEC_OK) && refuses(&path, Access::READ_OK | Access::WRITE_OK);
    let all = format!("{}*", path.display());
    let (what, whose) = match (refuses(directory, Access::WRITE_OK | Access::EXEC_OK), file) {
        (true, false) => (directory, directory.display().to_string()),
        (true, true) => (directory, format!("{} {all}", directory.display())),
        (false, true) => (&*path, all),
        (false, false) => return None,
    };
    let (user, group) = (geteuid(), getegid());
    let is_own = what.metadata().is_ok_and(|found| found.uid() == user.as_raw());
    let mend = if is_own { format!("chmod u+rwX {whose}") } else { chown(whose) };
    Some(format!("{} cannot be written by sessiond, which runs as {user}:{group}: {mend}", what.display()))
}

/// The command that gives files to the user and group of this process.
pub(super) fn chown(whose: impl std::fmt::Display) -> String {
    format!("chown {}:{} {whose}", geteuid(), getegid())
}

/// A path that is one to SQLite, which takes what begins with `file:` for a URI.
pub(super) fn plain(path: &Path) -> PathBuf {
    Path::new(".").join(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_looks_like_a_uri_is_a_name() {
        assert_eq!(plain(Path::new("file:test.db?mode=memory")), Path::new("./file:test.db?mode=memory"));
        assert_eq!(plain(Path::new("/var/lib/test.db")), Path::new("/var/lib/test.db"));
    }
}
