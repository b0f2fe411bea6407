//! Copies the whole store into one file while a server runs on it, and restores it from such a file.
//!
//! A copy is out of date as soon as it is made: sessions that were logged out since are live in it. So it is marked,
//! and the first process that opens it ends every session in it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::super::opening::ConnectError;
use super::super::saved::{BackupError, Restored, Saved};
use super::super::{Result, StoreError};
use super::connection::{self, failed, words};
use super::files::make_private;
use super::lock::ServeLock;
use super::mark::Mark;
use super::paths::{beside, directory, plain, unreachable_file};
use super::transaction::Transaction;
use super::{migrate, owners};
use crate::domain::clock::Clock;
use crate::domain::event::{Actor, Origin};
use crate::domain::id::UserId;
use crate::domain::revocation::{Reason, Why};

/// Copies the database to a file that is not there yet: whole, durable and readable by its owner only, or not at all. `unique`
/// names it while it is written.
pub(in super::super) async fn backup(
    database: &Path,
    file: &Path,
    unique: &str,
) -> std::result::Result<Saved, BackupError> {
    refuse_existing(file)?;
    // Otherwise the driver would make the file.
    database.metadata().map_err(|error| unreachable_file(database, &error))?;
    let database = make_private(database)?;
    refuse_older_log(&database)?;
    let part = Part::beside(file, unique)?;
    copy(&database, &part.path).await?;
    let saved = finish(&part.path).await.map_err(failed)?;
    part.publish(file)?;
    Ok(saved)
}

/// Copies what is committed when it begins. In a write-ahead log no writer waits for that.
async fn copy(database: &Path, to: &Path) -> Result<()> {
    let mut connection = connection::beside_the_writer(database).await.map_err(failed)?;
    let ours = "SELECT count(*) FROM secrets WHERE name = 'token_key'";
    let ours: i64 = sqlx::query_scalar(ours).fetch_one(&mut connection).await.map_err(failed)?;
    if ours == 0 {
        return Err(StoreError::inconsistent("the database has never been used"));
    }
    let to = plain(to);
    let Some(to) = to.to_str() else {
        return Err(StoreError::unreachable("the file's name is not UTF-8"));
    };
    sqlx::query("VACUUM INTO ?1").bind(to).execute(&mut connection).await.map_err(failed)?;
    connection.close().await.map_err(failed)
}

/// Marks a copy, and counts what is in it.
async fn finish(copy: &Path) -> sqlx::Result<Saved> {
    let mut connection = connection::without_log(copy).await?;
    sqlx::query(Mark::Backup.sql()).execute(&mut connection).await?;
    let count = "SELECT (SELECT count(*) FROM users), count(*) FROM sessions WHERE revoked_at IS NULL";
    let (users, sessions) = sqlx::query_as(count).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(Saved { users, sessions })
}

/// Puts a backup where there is no database, and restores it.
pub(in super::super) async fn restore(
    file: PathBuf,
    database: PathBuf,
    unique: String,
    keep_sessions: bool,
    clock: &dyn Clock,
) -> std::result::Result<Restored, BackupError> {
    // A pipe or a device could be read for ever.
    let found = file.metadata().map_err(|error| unreachable_file(&file, &error))?;
    if !found.is_file() || Mark::of(&file).map_err(|error| unreachable_file(&file, &error))? != Mark::Backup {
        return Err(BackupError::None(file));
    }
    refuse_older_log(&file)?;
    refuse_existing(&database)?;
    refuse_older_log(&database)?;
    owners::check_directory(directory(&database))?;
    let _lock = ServeLock::take(&database).await?;
    let part = Part::beside(&database, &unique)?;
    let copied = File::open(&file).and_then(|mut from| {
        let mut to = OpenOptions::new().write(true).open(&part.path)?;
        io::copy(&mut from, &mut to)?;
        to.sync_all()
    });
    copied.map_err(|error| unreachable_file(&part.path, &error))?;
    if let Some(damage) = damage(&part.path).await {
        return Err(BackupError::Damaged(file, damage));
    }
    let restored = restore_marked(&part.path, keep_sessions, Actor::CommandLine, clock).await?;
    part.publish(&database)?;
    Ok(restored)
}

/// What is wrong with a backup, if anything is: each page of it is looked at, and each index held against its table.
async fn damage(backup: &Path) -> Option<String> {
    match check(backup).await {
        Ok((whole, _)) if backup.metadata().is_ok_and(|found| i64::try_from(found.len()) != Ok(whole)) => {
            Some(String::from("it is shorter or longer than it says"))
        }
        Ok((_, found)) if found == "ok" => None,
        Ok((_, found)) => Some(found),
        Err(error) => Some(words(&error)),
    }
}

/// How many bytes a backup says it has, and what SQLite's own check finds.
async fn check(backup: &Path) -> sqlx::Result<(i64, String)> {
    let mut connection = connection::without_log(backup).await?;
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut connection).await?;
    let size: i64 = sqlx::query_scalar("PRAGMA page_size").fetch_one(&mut connection).await?;
    let found = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok((pages.saturating_mul(size), found))
}

/// Restores a backup that was put in the place of a database by other means. Does nothing to any other file.
pub(super) async fn restore_in_place(database: &Path, clock: &dyn Clock) -> std::result::Result<(), ConnectError> {
    if Mark::of(database).map_err(|error| unreachable_file(database, &error))? != Mark::Backup {
        return Ok(());
    }
    refuse_older_log(database)?;
    if let Some(damage) = damage(database).await {
        let what = format!("{} is a backup that is damaged ({damage}): restore another", database.display());
        return Err(StoreError::inconsistent(what).into());
    }
    let Restored { sessions, .. } = restore_marked(database, false, Actor::System, clock).await?;
    tracing::warn!(sessions, "a backup was put in the database's place: every session in it was ended");
    Ok(())
}

/// Ends every session in a backup, unless they are to be kept, and removes its mark, in one transaction. The mark must
/// be in the file itself and not in a write-ahead log, so there must be no such log.
async fn restore_marked(backup: &Path, keep_sessions: bool, by: Actor, clock: &dyn Clock) -> Result<Restored> {
    let mut connection = connection::without_log(backup).await.map_err(failed)?;
    migrate::migrate(&mut connection).await?;
    let restored = end_all(&mut connection, keep_sessions, by, clock).await.map_err(failed)?;
    connection.close().await.map_err(failed)?;
    Ok(restored)
}

async fn end_all(
    connection: &mut SqliteConnection,
    keep_sessions: bool,
    by: Actor,
    clock: &dyn Clock,
) -> sqlx::Result<Restored> {
    let mut transaction = Transaction::begin(connection, clock).await?;
    let mut restored = Restored::default();
    let users: Vec<UserId> =
        sqlx::query_scalar("SELECT id FROM users ORDER BY username_key").fetch_all(transaction.connection()).await?;
    // Another process may have been first.
    if Mark::inside(transaction.connection()).await? == Mark::Backup {
        let reason = Reason::unasked(by, Why::Restored, Origin::default());
        for user in users.iter().filter(|_| !keep_sessions) {
            let raise = sqlx::query("UPDATE users SET auth_epoch = auth_epoch + 1 WHERE id = ?1").bind(user);
            raise.execute(transaction.connection()).await?;
            restored.sessions += transaction.end_found(*user, None, &reason).await?.sessions.len();
        }
        sqlx::query(Mark::InUse.sql()).execute(transaction.connection()).await?;
    }
    restored.users = users.len();
    transaction.commit().await?;
    Ok(restored)
}

/// Refuses a backup beside a write-ahead log. The log belongs to the database that was there before, and SQLite would
/// take it for the backup's own.
pub(super) fn refuse_older_log(database: &Path) -> std::result::Result<(), ConnectError> {
    let log = beside(database, "-wal");
    let written = log.symlink_metadata().is_ok_and(|found| found.len() > 0);
    let marked = Mark::of(database).is_ok_and(|mark| mark == Mark::Backup);
    if written && (marked || !database.exists()) { Err(ConnectError::OlderLog(log)) } else { Ok(()) }
}

fn refuse_existing(path: &Path) -> std::result::Result<(), BackupError> {
    if path.symlink_metadata().is_ok() { Err(BackupError::Exists(path.to_owned())) } else { Ok(()) }
}

/// A file that is being written, under a temporary name. It is deleted when dropped.
struct Part {
    path: PathBuf,
}

impl Part {
    /// Makes the file, readable by its owner only, in the directory of its final name.
    fn beside(file: &Path, unique: &str) -> Result<Self> {
        let path = beside(file, &format!(".{unique}.part"));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&path).map_err(|error| unreachable_file(&path, &error))?;
        Ok(Self { path })
    }

    /// Makes the file durable and gives it its final name, unless there is a file of that name.
    fn publish(self, file: &Path) -> std::result::Result<(), BackupError> {
        let published = File::open(&self.path)
            .and_then(|part| part.sync_all())
            .and_then(|()| fs::hard_link(&self.path, file))
            .and_then(|()| File::open(directory(file))?.sync_all());
        match published {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(BackupError::Exists(file.to_owned())),
            Err(error) => Err(unreachable_file(file, &error).into()),
            Ok(()) => Ok(()),
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        for path in [beside(&self.path, "-journal"), self.path.clone()] {
            // The file may not exist.
            let _ = fs::remove_file(path);
        }
    }
}
