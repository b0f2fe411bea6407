//! What is SQLite's own: a sink that hears at once, commits that are shared, files, locks, and their ways to fail.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::Signal;
use sessiond::config::DatabaseUrl;
use sessiond::domain::entropy::SystemEntropy;
use sessiond::domain::revocation::{Revocation, Why};
use sessiond::store::connect::{ConnectError, Role, connect};
use sessiond::store::{Confirmed, RevocationSink, StoreError, Target};

use crate::cli::serving;
use crate::database::Database;
use crate::fresh::{Fresh, Heard, because, clock, logout_of, made, on_a_fresh_store, open, token};
use crate::harness::{ALICE, BOB, Server, delete, exchange, get, post};
use crate::outage::{TOO_SLOW, UNREACHABLE, assert_is_over, assert_words, checks, logins, logouts, send_all};
use crate::process::{Home, field, finish, until};

/// Hears slowly, and notices when somebody was answered meanwhile.
#[derive(Default)]
struct Slow {
    answered: AtomicBool,
    too_late: AtomicBool,
}

impl RevocationSink for Slow {
    fn apply(&self, revocation: &Revocation) {
        let begin = Instant::now();
        while !revocation.sessions.is_empty() && begin.elapsed() < Duration::from_millis(100) {
            self.too_late.fetch_or(self.answered.load(Ordering::SeqCst), Ordering::SeqCst);
            std::thread::yield_now();
        }
    }

    fn clear(&self) {
        panic!("nobody touches these files");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_answered_before_the_sink_has_heard() {
    let (slow, clock, database) = (Arc::new(Slow::default()), clock(), Database::new());
    let (url, role) = (DatabaseUrl::new(database.url()), Role::Serve(slow.clone()));
    let store = connect(&url, role, clock.clone(), &SystemEntropy).await.expect("a store");
    let fresh = Fresh { store, clock, heard: Arc::default(), database };
    let ann = fresh.user("ann").await;
    let id = fresh.session(ann, 1).await;
    fresh.revoke(Target::Id(id, None)).await;
    slow.answered.store(true, Ordering::SeqCst);
    fresh.store.close().await;
    assert!(!slow.too_late.load(Ordering::SeqCst));
}

/// The numbers a sink has heard, from the start on.
fn heard(fresh: &Fresh) -> Vec<i64> {
    fresh.heard.all().iter().map(|revocation| revocation.seq.0).collect()
}

#[tokio::test]
async fn the_sink_hears_every_number_once_from_the_newest_at_the_start_on() {
    let fresh = Fresh::new().await;
    let ann = fresh.user("ann").await;
    for number in 0..40 {
        fresh.session(ann, number).await;
    }
    let logouts = (0..30).map(async |number| {
        // Not all in one batch.
        for _ in 0..number * 3 {
            tokio::task::yield_now().await;
        }
        fresh.logout(logout_of(number)).await
    });
    join_all(logouts).await;
    let newest = fresh.revoke(Target::All(ann)).await.seq;
    assert_eq!(heard(&fresh), (0..=newest.0).collect::<Vec<_>>());
    fresh.store.close().await;
    let Fresh { store, database, .. } = fresh;
    drop(store);

    let fresh = Fresh::over(database).await;
    assert_eq!(heard(&fresh), [newest.0]);
    fresh.store.close().await;
}

#[tokio::test]
async fn many_logouts_at_once_share_commits() {
    on_a_fresh_store(async |fresh| {
        let ann = fresh.user("ann").await;
        join_all((0..100).map(|number| fresh.session(ann, number))).await;
        join_all((0..100).map(|number| fresh.logout(logout_of(number)))).await;
        let numbers = fresh.numbers().await;
        assert!(numbers.len() < 50, "{numbers:?}");
    })
    .await;
}

#[tokio::test]
async fn a_server_hears_what_a_command_beside_it_ends_and_says_so() {
    on_a_fresh_store(async |fresh| {
        let ann = fresh.user("ann").await;
        let id = fresh.session(ann, 1).await;
        fresh.session(ann, 2).await;
        let beside = fresh.beside().await;

        let one = made(beside.revoke(Target::Id(id, None), because(Why::Operator)).await.expect("a store"));
        assert_eq!(beside.confirm(one.seq).await.expect("a store"), Confirmed::Applied);
        assert_eq!((fresh.newest().await.seq, fresh.newest().await.sessions), (one.seq, vec![token(1)]));
        let all = made(beside.revoke(Target::All(ann), because(Why::Operator)).await.expect("a store"));
        assert_eq!(beside.confirm(all.seq).await.expect("a store"), Confirmed::Applied);
        assert_eq!((fresh.newest().await.seq, fresh.newest().await.users), (all.seq, vec![ann]));

        fresh.store.close().await;
        drop(beside);
    })
    .await;
}

#[tokio::test]
async fn a_command_that_ends_nothing_is_confirmed_after_the_server_ended_something() {
    on_a_fresh_store(async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        fresh.session(ann, 1).await;
        fresh.logout(logout_of(1)).await;
        let beside = fresh.beside().await;
        let disabled = beside.set_disabled(bob, true, because(Why::Disabled)).await.expect("a store").expect("a user");
        assert_eq!(beside.confirm(disabled.seq).await.expect("a store"), Confirmed::Applied);
        beside.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_command_is_confirmed_by_a_server_busy_with_logouts() {
    on_a_fresh_store(async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        let beside = fresh.beside().await;
        for number in 0..5 {
            fresh.session(ann, number).await;
            let id = fresh.session(bob, 100 + number).await;
            let ended = made(beside.revoke(Target::Id(id, None), because(Why::Operator)).await.expect("a store"));
            fresh.logout(logout_of(number)).await;
            assert_eq!(beside.confirm(ended.seq).await.expect("a store"), Confirmed::Applied);
        }
        assert_eq!(heard(fresh), (0..=10).collect::<Vec<_>>(), "in order, whoever ended them");
        beside.close().await;
    })
    .await;
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}

#[tokio::test]
async fn sqlite_writes_ahead_in_files_that_are_its_owners_alone() {
    on_a_fresh_store(async |fresh| {
        fresh.user("ann").await;
        let mut names = Vec::new();
        for file in std::fs::read_dir(fresh.database.dir()).expect("a directory") {
            let file = file.expect("a file");
            let mode = file.metadata().expect("metadata").permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{:?}", file.file_name());
            names.push(file.file_name().into_string().expect("UTF-8"));
        }
        assert_eq!(sorted(names), ["test.db", "test.db-shm", "test.db-wal", "test.db.lock"]);
        let journal: String =
            fresh.database.reader().query_row("PRAGMA journal_mode", [], |row| row.get(0)).expect("read");
        assert_eq!(journal, "wal");
    })
    .await;
}

#[tokio::test]
async fn sqlite_is_served_by_one_at_a_time() {
    let database = Database::new();
    let serve = || open(&database, Role::Serve(Arc::new(Heard::default())));
    let first = serve().await.expect("a store");
    assert!(matches!(serve().await, Err(ConnectError::AlreadyServed(_))));
    first.close().await;
    drop(first);
    until("the lock is free", async || match serve().await {
        Ok(store) => {
            store.close().await;
            true
        }
        Err(_) => false,
    })
    .await;
}

#[tokio::test]
async fn sqlite_is_one_database_under_whatever_name() {
    let database = Database::new();
    let sink = || Role::Serve(Arc::new(Heard::default()));
    let store = open(&database, sink()).await.expect("a store");
    let named = |name: &str| DatabaseUrl::new(format!("sqlite://{}", database.dir().join(name).display()));
    std::os::unix::fs::symlink(database.dir().join("test.db"), database.dir().join("alias.db")).expect("linked");
    let alias = connect(&named("alias.db"), sink(), clock(), &SystemEntropy).await;
    assert!(matches!(alias, Err(ConnectError::AlreadyServed(_))), "a symbolic link");
    store.close().await;

    std::fs::hard_link(database.dir().join("test.db"), database.dir().join("twin.db")).expect("linked");
    let twin = connect(&named("twin.db"), sink(), clock(), &SystemEntropy).await;
    let Err(ConnectError::Store(StoreError::Unreachable(why))) = twin else { panic!("a hard link was taken") };
    assert!(why.to_string().contains("hard links"), "{why}");
}

#[tokio::test]
async fn sqlite_keeps_what_was_restored_beside_it_for_its_owner_alone() {
    let database = Database::new();
    for name in ["test.db", "test.db.lock"] {
        std::fs::write(database.dir().join(name), "").expect("written");
        std::fs::set_permissions(database.dir().join(name), std::fs::Permissions::from_mode(0o666)).expect("set");
    }
    let store = open(&database, Role::Command).await.expect("a store");
    for name in ["test.db", "test.db.lock"] {
        let mode = std::fs::metadata(database.dir().join(name)).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    store.close().await;
    std::os::unix::fs::symlink("elsewhere", database.dir().join("test.db-shm")).expect("linked");
    assert!(open(&database, Role::Command).await.is_err(), "a link in its place");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let database = Database::new();
    std::fs::write(database.dir().join("test.db"), "not a database, but long enough to be looked at as one".repeat(20))
        .expect("written");
    assert!(matches!(open(&database, Role::Command).await, Err(ConnectError::Store(_))));
}

#[tokio::test]
async fn sqlite_has_room_for_its_log_from_the_first_start_on() {
    let database = Database::new();
    let sink = Role::Serve(Arc::new(Heard::default()));
    let store = open(&database, sink).await.expect("a store");
    let log = std::fs::metadata(database.dir().join("test.db-wal")).expect("a log").len();
    assert!(log > 16 << 20, "{log} bytes");
    store.close().await;
}

#[tokio::test]
async fn a_busy_database_is_too_slow_and_nothing_is_half_done() {
    let server = Server::start().await;
    let bob = server.log_in(BOB).await;
    let other = server.database.connection();
    let events = server.database.number("SELECT count(*) FROM events").await;
    other.execute_batch("BEGIN IMMEDIATE").expect("the write lock");

    assert_words(&send_all(&server, logouts(&bob)).await, &TOO_SLOW[..3]);
    assert_words(&send_all(&server, logins()).await, &TOO_SLOW[..3]);
    let revoke = delete(&format!("/api/v1/auth/sessions/{}", bob.session)).bearer(&bob.token);
    assert_words(&[server.send(revoke).await], &TOO_SLOW[..1]);
    for reply in send_all(&server, checks(&bob)).await {
        assert_eq!(reply.status, 200, "reading goes on");
    }

    other.execute_batch("ROLLBACK").expect("released");
    assert_eq!(server.check(&bob.token).await, 200, "still alive");
    assert_eq!(server.database.number("SELECT count(*) FROM events").await, events, "none of it is on record");
    assert_eq!(server.database.number("SELECT count(*) FROM sessions").await, 1, "no login came through");
    assert_is_over(&server, &bob).await;
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_neither_allowed_nor_refused() {
    let server = Server::start().await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    let server = server.restart("").await;
    assert_eq!(server.check(&alice.token).await, 200, "in memory from now on");
    for file in ["test.db", "test.db-wal", "test.db-shm"] {
        let path = server.database.dir().join(file);
        let length = std::fs::metadata(&path).expect("a file").len();
        let mut file = std::fs::OpenOptions::new().write(true).open(path).expect("a file");
        file.write_all(&vec![0xa5; usize::try_from(length).expect("small")]).expect("overwritten");
    }

    assert_words(&send_all(&server, checks(&bob)).await, &UNREACHABLE);
    assert_words(&send_all(&server, logouts(&bob)).await, &UNREACHABLE[..3]);
    assert_words(&send_all(&server, logins()).await, &UNREACHABLE[..3]);
    assert_eq!(server.check(&alice.token).await, 200, "what memory knows needs no store");
    assert_eq!(server.ops("/readyz").await.status, 503);
    assert_eq!(server.ops("/livez").await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_database_that_was_replaced_while_in_use_serves_nobody() {
    for file in ["test.db", "test.db.lock"] {
        let server = Server::start().await;
        let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
        assert_eq!(server.check(&alice.token).await, 200, "in memory from now on");
        let (path, kept) = (server.database.dir().join(file), server.database.dir().join("kept"));
        std::fs::rename(&path, &kept).expect("moved away");
        std::fs::copy(&kept, &path).expect("another of the same name");

        assert_words(&send_all(&server, logouts(&bob)).await, &UNREACHABLE[..3]);
        until("memory is forgotten", async || server.check(&alice.token).await == 503).await;
        assert_eq!(server.ops("/readyz").await.status, 503);

        std::fs::rename(&kept, &path).expect("back");
        assert_eq!(server.check(&alice.token).await, 503, "until a restart");
        let server = server.restart("").await;
        assert_eq!(server.check(&alice.token).await, 200);
        assert_eq!(server.check(&bob.token).await, 200, "never logged out");
        server.stop().await;
    }
}

/// A file system of its own with little room, gone when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path) -> Option<Self> {
        let made = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(at).output().ok()?;
        made.status.success().then(|| Self(at.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[sessiond_needs::needs(mount)]
#[tokio::test]
async fn a_full_disk_is_an_unreachable_store_until_there_is_room() {
    let dir = tempfile::tempdir().expect("a directory");
    let small = Small::mount(dir.path()).expect("mounted");
    let server = Server::with(&format!("database_url = 'sqlite://{}/test.db'", small.0.display())).await;
    let bob = server.log_in(BOB).await;
    let filler = small.0.join("filler");
    let mut file = std::fs::File::create(&filler).expect("a file");
    while file.write_all(&[0; 512]).is_ok() {}

    // The log may have a little room left: what still fits is stored, and then nothing is.
    let mut last = server.send(logins()[0].clone()).await;
    for _ in 0..50 {
        if last.status != 200 {
            break;
        }
        last = server.send(logins()[0].clone()).await;
    }
    assert_words(&[last], &UNREACHABLE[..1]);
    assert_words(&send_all(&server, logouts(&bob)).await, &UNREACHABLE[..3]);
    assert_words(&send_all(&server, logins()).await, &UNREACHABLE[..3]);
    assert_eq!(server.check(&bob.token).await, 200, "still alive");
    assert_eq!(server.ops("/readyz").await.status, 503, "reading is not enough");

    std::fs::remove_file(&filler).expect("room");
    drop(file);
    until("it is ready without waiting for a login", async || server.ops("/readyz").await.status == 200).await;
    assert_is_over(&server, &bob).await;
    server.stop().await;
}

#[tokio::test]
async fn a_second_server_on_the_same_file_is_refused_with_a_sentence() {
    let home = Home::new();
    let server = home.serve().await;
    let sentence = finish(home.server(), "").await.refused();
    assert!(sentence.contains("held by another running `sessiond serve`"), "{sentence}");
    assert_eq!(server.send(get("/verify")).await.status, 401, "the first one serves on");
    assert_eq!(server.stop().await.code(), Some(0));
    assert_eq!(home.serve().await.stop().await.code(), Some(0), "the file is free again");
}

#[tokio::test]
async fn a_command_takes_no_servers_lock() {
    let home = Home::new();
    home.run(&["migrate"]).await.done();
    assert!(home.database.path().exists() && !home.database.dir().join("test.db.lock").exists());
}

#[tokio::test]
async fn a_stopped_server_has_not_confirmed_and_refuses_once_it_goes_on() {
    let (home, server) = serving().await;
    let bob = server.log_in(BOB).await;
    assert_eq!(server.check(&bob.token).await, 200);
    server.signal(Signal::STOP);
    let unconfirmed = home.run(&["session", "revoke", &bob.session]).await.refused();
    assert_eq!(unconfirmed, "sessiond: committed; the running server has not confirmed\n");
    server.signal(Signal::CONT);
    until("the session is dead", async || server.check(&bob.token).await == 401).await;
}

#[tokio::test]
async fn replicas_lists_the_server_and_says_whether_it_is_alive() {
    let (home, server) = serving().await;
    let listed = home.run(&["replicas"]).await.done();
    let words: Vec<_> = listed.split_whitespace().collect();
    assert!(matches!(words[..], [_, "serving", "beat", _, "applied", _, "lag", "-"]), "{listed}");
    let bob = server.log_in(BOB).await;
    home.run(&["session", "revoke", &bob.session]).await.done();
    let listed = home.run(&["replicas"]).await.done();
    assert!(listed.starts_with(words[0]) && listed.contains("  applied 1  "), "{listed}");

    server.kill().await;
    let listed = home.run(&["replicas"]).await.done();
    assert!(listed.starts_with(&format!("{}  silent ", words[0])), "{listed}");
    let server = home.serve().await;
    let listed = home.run(&["replicas"]).await.done();
    assert!(!listed.contains(words[0]) && listed.contains("  serving  "), "{listed}");
    server.stop().await;
    assert_eq!(home.run(&["replicas"]).await.done(), "");
}

/// Sets a file's or directory's mode.
fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
}

#[tokio::test]
async fn a_directory_that_any_user_may_write_is_refused_and_nothing_is_made_in_it() {
    let home = Home::new();
    set_mode(home.database.dir(), 0o777);
    for command in [home.server(), home.command(&["user", "list"])] {
        let sentence = finish(command, "").await.refused();
        assert!(sentence.contains("lets every user of the machine replace what is in it: chmod 700"), "{sentence}");
    }
    assert!(home.database.is_untouched().await);
    set_mode(home.database.dir(), 0o700);
    home.run(&["user", "list"]).await.done();
}

#[tokio::test]
async fn a_directory_that_everybody_shares_is_warned_of() {
    let home = Home::new();
    set_mode(home.database.dir(), 0o1777);
    let server = home.serve().await;
    until("it warns", async || server.log().contains(" WARN ")).await;
    assert!(server.log().contains("lets every user of the machine write"), "{}", server.log());
    let shown = home.run(&["check-config"]).await.done();
    assert!(shown.contains("# warning: ") && shown.contains("lets every user of the machine write"), "{shown}");
    server.stop().await;
}

#[tokio::test]
async fn what_belongs_to_another_user_is_refused_and_root_is_warned_of_it() {
    const SOMEBODY: u32 = 4711;
    if !rustix::process::geteuid().is_root() {
        // Only root can give a file away.
        return;
    }
    let home = Home::new();
    home.run(&["migrate"]).await.done();
    std::os::unix::fs::chown(home.database.path(), Some(SOMEBODY), None).expect("given away");
    let server = home.serve().await;
    until("it warns", async || server.log().contains("test.db belongs to another user")).await;
    server.stop().await;

    // To any other user it is refused.
    let theirs = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::chown(theirs.path(), Some(SOMEBODY), None).expect("given away");
    set_mode(theirs.path(), 0o755);
    let program = theirs.path().join("sessiond");
    std::fs::copy(env!("CARGO_BIN_EXE_sessiond"), &program).expect("copied");
    let database = theirs.path().join("mine.db");
    let mut command = tokio::process::Command::new(&program);
    let url = format!("sqlite://{}", database.display());
    command.args(["user", "list", "--database-url", &url]).env_clear().uid(SOMEBODY + 1);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let sentence = finish(command, "").await.refused();
    assert!(sentence.contains("belongs to another user, who can change it"), "{sentence}");
}

#[tokio::test]
async fn a_writer_that_cannot_write_is_not_ready_and_its_failures_are_told_once() {
    let (home, server) = serving().await;
    let ready = async || exchange(&server.ops, &get("/readyz").bytes(&server.ops)).await;
    assert_eq!(ready().await.status, 200);
    let bob = server.log_in(BOB).await;
    let before = server.log().lines().count();
    let other = home.database.connection();
    other.execute_batch("BEGIN IMMEDIATE").expect("the write lock");
    until("it is not ready", async || ready().await.status == 503).await;
    assert!(ready().await.text().starts_with("store: "), "{}", ready().await.text());
    assert_eq!(exchange(&server.ops, &get("/livez").bytes(&server.ops)).await.status, 200);

    let logout = || post("/api/v1/auth/logout").bearer(&bob.token);
    let mut failed = 0;
    for _ in 0..3 {
        let replies = join_all((0..50).map(|_| server.send(logout()))).await;
        assert!(replies.iter().all(|reply| reply.status == 504), "{replies:?}");
        failed += replies.len();
    }
    other.execute_batch("ROLLBACK").expect("released");
    until("it is ready", async || ready().await.status == 200).await;
    let over = || server.log().lines().find(|line| line.contains("the store answers again")).map(str::to_owned);
    until("it is over", async || over().is_some()).await;
    assert_eq!(field(&over().expect("over"), "failed"), failed.to_string(), "{}", server.log());
    assert!(server.log().lines().count() - before <= 6, "{}", server.log());
    assert_eq!(server.send(logout()).await.status, 200);
    server.stop().await;
}
