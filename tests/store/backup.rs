//! Backups of the embedded store: whole while a server runs, alive again without what may have been logged out since,
//! and never mixed up with what else lies there.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sessiond_support::database;
use sessiond_support::process::Finished;
use sessiond_support::wait::until;
use tokio::task::JoinSet;

use crate::harness::process::serving;
use crate::harness::process::{Home, Process, attempt, finish, login};
use crate::harness::{ALICE, BOB, LoggedIn, PASSWORD, StoreKind, get, post};

/// Where a test keeps its backup: beside nothing that a server uses.
fn file(home: &Home) -> PathBuf {
    home.dir.path().join("backup.db")
}

/// Backs up to the usual file.
async fn back_up(home: &Home) -> Finished {
    home.run(&["backup", "backup.db"]).await
}

/// Restores the backup of one home to another.
async fn restore(from: &Home, to: &Home, more: &[&str]) -> Finished {
    let file = file(from);
    to.run(&[&["restore", file.to_str().expect("UTF-8")], more].concat()).await
}

/// What a statement counts in a file.
async fn number(path: &Path, sql: &str) -> i64 {
    let rows = database::rows(&format!("sqlite://{}", path.display()), sql).await.expect("rows");
    rows[0][0].as_deref().and_then(|number| number.parse().ok()).expect("a number")
}

/// What lies in a directory, each with its content.
fn everything(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = std::fs::read_dir(dir).expect("a directory").map(|file| file.expect("a file").path());
    let mut all: Vec<_> = files.map(|path| (path.clone(), std::fs::read(path).expect("bytes"))).collect();
    all.sort();
    all
}

async fn log_out(server: &Process, session: &LoggedIn) {
    assert_eq!(server.send(post("/api/v1/auth/logout").bearer(&session.token)).await.status, 200);
}

/// A server that Bob is logged in to twice, and was a third time, and a backup of that.
async fn backed_up() -> (Home, Process, [LoggedIn; 3]) {
    let (home, server) = serving(StoreKind::Sqlite).await;
    let bob = [server.log_in(BOB).await, server.log_in(BOB).await, server.log_in(BOB).await];
    log_out(&server, &bob[2]).await;
    assert_eq!(back_up(&home).await.done().unwrap(), "saved 2 users, 2 sessions to backup.db\n");
    (home, server, bob)
}

#[tokio::test]
async fn a_backup_is_whole_and_consistent_while_logouts_go_on() {
    let (home, server) = serving(StoreKind::Sqlite).await;
    let mut sessions = Vec::new();
    for _ in 0..30 {
        sessions.push(server.log_in(BOB).await);
    }
    let (before, meanwhile) = sessions.split_at(10);
    for session in before {
        log_out(&server, session).await;
    }
    let mut logouts = JoinSet::new();
    for session in meanwhile {
        let (address, ask) = (server.listen.clone(), post("/api/v1/auth/logout").bearer(&session.token));
        logouts.spawn(async move { attempt(&address, &ask).await });
    }
    let saved = back_up(&home).await.done().unwrap();
    assert!(saved.starts_with("saved 2 users, ") && saved.ends_with(" sessions to backup.db\n"), "{saved}");
    for ended in logouts.join_all().await {
        assert_eq!(ended.expect("answered").status, 200);
    }

    let path = file(&home);
    assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    assert_eq!(number(&path, &StoreKind::Sqlite.half_done()).await, 0);
    assert_eq!(number(&path, "SELECT count(*) FROM sessions").await, 30);
    assert!(
        number(&path, "SELECT count(*) FROM sessions WHERE revoked_at IS NOT NULL").await >= 10,
        "what was answered before"
    );
    assert_eq!(number(&path, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'").await, 1);
    let names: Vec<_> = everything(home.dir.path()).into_iter().map(|(path, _)| path).collect();
    assert_eq!(names, [path], "nothing else is left");
    assert_eq!(server.send(get("/verify")).await.status, 401, "the server goes on");
}

#[tokio::test]
async fn a_backup_needs_no_server_and_never_overwrites() {
    let home = Home::new(StoreKind::Sqlite);
    let missing = back_up(&home).await.refused().unwrap();
    assert!(missing.contains("No such file"), "{missing}");
    assert!(home.database.is_untouched().await, "it makes none");
    home.add_user(BOB).await;
    assert_eq!(back_up(&home).await.done().unwrap(), "saved 1 users, 0 sessions to backup.db\n");
    let first = everything(home.dir.path());
    let again = back_up(&home).await.refused().unwrap();
    assert!(again.contains("backup.db is there already, and was left alone"), "{again}");
    assert_eq!(everything(home.dir.path()), first);
    std::os::unix::fs::symlink("elsewhere", home.dir.path().join("link.db")).expect("linked");
    let link = home.run(&["backup", "link.db"]).await.refused().unwrap();
    assert!(link.contains("link.db is there already"), "{link}");
    let nowhere = home.run(&["backup", "no/where.db"]).await.refused().unwrap();
    assert!(nowhere.contains("No such file"), "{nowhere}");
}

#[tokio::test]
async fn a_restored_store_has_its_users_and_no_session() {
    let (home, server, bob) = backed_up().await;
    log_out(&server, &bob[0]).await;
    let other = Home::new(StoreKind::Sqlite);
    let restored = restore(&home, &other, &[]).await.done().unwrap();
    assert!(
        restored.starts_with("restored 2 users to sqlite://") && restored.ends_with(", 2 sessions ended\n"),
        "{restored}"
    );
    let mode = std::fs::metadata(other.database.path()).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let restored = other.serve().await;
    for session in &bob {
        assert_eq!(restored.check(&session.token).await, 401);
    }
    assert!(!restored.log().contains("a backup was put"), "{}", restored.log());
    let new = restored.log_in(BOB).await;
    assert_eq!(restored.check(&new.token).await, 200, "the passwords are the same");
    let ended = "SELECT count(*) FROM events WHERE kind = 'revoked' AND actor = 'cli' AND detail = 'restored'";
    assert_eq!(other.database.number(ended).await, 2);
    let numbered = "SELECT count(*) FROM sessions WHERE revoked_why = 'restored' AND revoked_seq = 2";
    assert_eq!(other.database.number(numbered).await, 2, "under one number");
    let epochs = "SELECT count(*) FROM users WHERE auth_epoch > 0";
    assert_eq!(other.database.number(epochs).await, 2, "a login that was under way is over too");
    assert_eq!(server.check(&bob[1].token).await, 200, "elsewhere it goes on");
}

#[tokio::test]
async fn a_store_is_restored_with_its_sessions_when_asked_to() {
    let (home, server, bob) = backed_up().await;
    log_out(&server, &bob[0]).await;
    let other = Home::new(StoreKind::Sqlite);
    let restored = restore(&home, &other, &["--keep-sessions"]).await.done().unwrap();
    assert!(restored.ends_with(", 0 sessions ended\n"), "{restored}");
    let restored = other.serve().await;
    for (session, status) in bob.iter().zip([200, 200, 401]) {
        assert_eq!(restored.check(&session.token).await, status, "as it was when it was saved");
    }
}

#[tokio::test]
async fn a_backup_that_was_copied_into_place_ends_its_sessions_at_the_first_start_only() {
    let (home, _server, bob) = backed_up().await;
    let other = Home::new(StoreKind::Sqlite);
    std::fs::copy(file(&home), other.database.path()).expect("copied");
    let server = other.serve().await;
    until("it says so", async || server.log().contains("every session in it was ended")).await;
    for session in &bob {
        assert_eq!(server.check(&session.token).await, 401);
    }
    let new = server.log_in(BOB).await;
    server.stop().await;
    let server = other.serve().await;
    assert_eq!(server.check(&new.token).await, 200);
    assert!(!server.log().contains("a backup was put"), "{}", server.log());
    server.kill().await;
    // Neither does a crash make it a backup again.
    assert_eq!(other.serve().await.check(&new.token).await, 200);
}

#[tokio::test]
async fn a_backup_does_not_come_to_life_beside_the_log_of_another_database() {
    let (home, server, bob) = backed_up().await;
    log_out(&server, &bob[0]).await;
    server.kill().await;
    let dir = home.database.dir();
    let log = dir.join("test.db-wal");
    std::fs::copy(file(&home), home.database.path()).expect("over the old one");
    let before = everything(dir);
    for command in [home.server(), home.command(&["user", "list"]), home.command(&["backup", "another.db"])] {
        let refused = finish(command, "").await.refused().unwrap();
        assert!(refused.contains("test.db-wal belongs to the database that was there before"), "{refused}");
    }
    assert_eq!(everything(dir), before, "nothing was changed");

    // Restored, it is the same.
    std::fs::remove_file(home.database.path()).expect("removed");
    let refused = restore(&home, &home, &[]).await.refused().unwrap();
    assert!(refused.contains("test.db-wal belongs to the database that was there before"), "{refused}");
    assert!(log.exists() && !home.database.path().exists());
    std::fs::rename(&log, dir.join("kept")).expect("moved away");
    restore(&home, &home, &[]).await.done().unwrap();
    let server = home.serve().await;
    assert_eq!(server.check(&bob[1].token).await, 401);
    server.log_in(BOB).await;
}

#[tokio::test]
async fn a_damaged_backup_is_refused_and_named() {
    let (home, server, _) = backed_up().await;
    server.stop().await;
    let whole = std::fs::read(file(&home)).expect("bytes");
    let shorter = whole[..whole.len() - 1].to_vec();
    let mut damaged = vec![shorter];
    for page in 2..whole.len() / 4096 {
        let mut bytes = whole.clone();
        bytes[page * 4096 + 2000..(page + 1) * 4096].fill(0xff);
        damaged.push(bytes);
    }
    let place = Home::new(StoreKind::Sqlite);
    let mut refused = 0;
    for bytes in &damaged {
        std::fs::write(file(&home), bytes).expect("written");
        let restored = restore(&home, &place, &[]).await;
        if restored.ok {
            // What was written over was not in use.
            let check = "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'";
            assert_eq!(number(&place.database.path(), check).await, 1);
            std::fs::remove_file(place.database.path()).expect("removed");
        } else {
            assert!(restored.err.contains("backup.db is damaged ("), "{}", restored.err);
            assert!(!place.database.path().exists());
            refused += 1;
        }
    }
    assert!(refused > 1, "{refused} of {}", damaged.len());
}

#[tokio::test]
async fn nothing_is_restored_over_a_database_nor_from_what_is_no_backup() {
    let (home, server, _) = backed_up().await;
    let backup = everything(home.dir.path());
    let over = restore(&home, &home, &[]).await.refused().unwrap();
    assert!(over.contains("test.db is there already, and was left alone"), "{over}");
    let moved = home.database.dir().join("moved.db");
    std::fs::rename(home.database.path(), &moved).expect("moved away");
    std::fs::rename(home.database.dir().join("test.db-wal"), home.database.dir().join("moved.db-wal")).expect("moved");
    let served = restore(&home, &home, &[]).await.refused().unwrap();
    assert!(served.contains("is held by another running `sessiond serve`"), "{served}");
    server.kill().await;

    let other = Home::new(StoreKind::Sqlite);
    std::fs::write(other.dir.path().join("text"), "text").expect("written");
    for (file, words) in [
        (moved.to_str().expect("UTF-8"), "is no backup that `sessiond backup` has made"),
        ("text", "is no backup that `sessiond backup` has made"),
        ("nowhere", "No such file"),
    ] {
        let refused = other.run(&["restore", file]).await.refused().unwrap();
        assert!(refused.contains(words), "{file}: {refused}");
    }
    assert!(other.database.is_untouched().await);
    assert_eq!(everything(home.dir.path()), backup, "a backup is only read");
}

#[tokio::test]
async fn a_backup_is_moved_to_postgresql_only_once_it_was_restored() {
    let (home, _server, _) = backed_up().await;
    let from = format!("sqlite://{}", file(&home).display());
    let refused = home.run(&["copy", "--from", &from, "--to", "postgres://127.0.0.1:1/x"]).await.refused().unwrap();
    assert!(refused.contains("is a backup: bring it to life by `sessiond restore` first"), "{refused}");
}

/// Panics unless no server starts in this home, since users were lost, and no user is made.
async fn assert_no_first_user(home: &Home) {
    let refused = finish(home.server(), "").await.refused().unwrap();
    assert!(refused.contains("was in use, and has no users now") && refused.contains("sessiond restore"), "{refused}");
    assert!(refused.contains("test.db.lock"), "{refused}");
}

#[tokio::test]
async fn a_copy_of_a_running_database_without_its_log_makes_no_first_user() {
    let home = Home::new(StoreKind::Sqlite);
    let server = home.serve().await;
    server.log_in(ALICE).await;
    let other = Home::new(StoreKind::Sqlite);
    std::fs::copy(home.database.path(), other.database.path()).expect("copied");
    assert_eq!(
        number(&other.database.path(), "SELECT count(*) FROM users").await,
        0,
        "that is what makes it dangerous"
    );
    assert_no_first_user(&other).await;
    assert_eq!(number(&other.database.path(), "SELECT count(*) FROM users").await, 0);
    assert_no_first_user(&other).await;

    // In its own place too.
    drop(other);
    server.kill().await;
    std::fs::remove_file(home.database.dir().join("test.db-wal")).expect("removed");
    assert_no_first_user(&home).await;
    // Until an operator says that it is meant.
    for file in ["test.db", "test.db.lock"] {
        std::fs::remove_file(home.database.dir().join(file)).expect("removed");
    }
    home.serve().await.log_in(ALICE).await;
}

#[tokio::test]
async fn a_database_that_was_deleted_is_missed() {
    let home = Home::new(StoreKind::Sqlite);
    assert_eq!(home.serve().await.stop().await.code(), Some(0));
    std::fs::remove_file(home.database.path()).expect("removed");
    assert_no_first_user(&home).await;
    assert!(home.database.is_untouched().await, "none is made");

    // The rest of its log may be all that is left of the data.
    let home = Home::new(StoreKind::Sqlite);
    home.serve().await.kill().await;
    std::fs::remove_file(home.database.path()).expect("removed");
    let before = everything(home.database.dir());
    for command in [home.server(), home.command(&["user", "list"])] {
        let refused = finish(command, "").await.refused().unwrap();
        assert!(refused.contains("test.db-wal belongs to the database that was there before"), "{refused}");
    }
    assert_eq!(everything(home.database.dir()), before, "nothing was changed");
}

#[tokio::test]
async fn a_first_start_that_was_cut_short_goes_on() {
    // As it is between the mark and the first user.
    let home = Home::new(StoreKind::Sqlite);
    home.run(&["migrate"]).await.done().unwrap();
    home.database.execute("PRAGMA application_id = 1397052260").await;
    assert_no_first_user(&home).await;
    std::fs::write(home.database.dir().join("test.db.lock"), "the first user is being made\n").expect("written");
    let server = home.serve().await;
    assert_eq!(server.send(login(ALICE, PASSWORD)).await.status, 200);
    server.stop().await;
    std::fs::remove_file(home.database.path()).expect("removed");
    assert_no_first_user(&home).await;
}
