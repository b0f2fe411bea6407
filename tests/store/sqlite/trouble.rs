//! A file that is busy, damaged, replaced, or on a full disk: nothing is done in part, and the failure is answered.

use std::collections::HashSet;
use std::path::PathBuf;

use sessiond_needs::needs;
use sessiond_support::disk::Disk;
use sessiond_support::ops::Metrics;

use super::*;
use crate::harness::fleet::ops;
use crate::harness::process::Process;
use crate::harness::seed;

#[tokio::test]
async fn a_busy_database_is_too_slow_and_nothing_is_half_done() {
    let server = Server::start(StoreKind::Sqlite).await;
    let bob = server.log_in(BOB).await;
    let mut other = server.database.connect().await;
    let events = server.database.number("SELECT count(*) FROM events").await;
    other.execute("BEGIN IMMEDIATE").await.expect("the write lock");

    assert_words(&send_all(&server, logouts(&bob)).await, &TOO_SLOW[..3]);
    assert_words(&send_all(&server, logins()).await, &TOO_SLOW[..3]);
    let revoke = delete(&format!("/api/v1/auth/sessions/{}", bob.session)).bearer(&bob.token);
    assert_words(&[server.send(revoke).await], &TOO_SLOW[..1]);
    for reply in send_all(&server, checks(&bob)).await {
        assert_eq!(reply.status, 200, "reading goes on");
    }

    other.execute("ROLLBACK").await.expect("released");
    assert_eq!(server.check(&bob.token).await, 200, "still alive");
    assert_eq!(server.database.number("SELECT count(*) FROM events").await, events, "none of it is on record");
    assert_eq!(server.database.number("SELECT count(*) FROM sessions").await, 1, "no login came through");
    assert_is_over(&server, &bob).await;
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_neither_allowed_nor_refused() {
    let server = Server::start(StoreKind::Sqlite).await;
    server.until_warm().await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    assert_eq!(server.check(&alice.token).await, 200, "in memory from now on");
    // The index of the log is emptied, so that it is made anew. SQLite believes what it says, and for another number it could map
    // so much memory that this process has no more.
    for (file, byte) in [("test.db", 0xa5), ("test.db-wal", 0xa5), ("test.db-shm", 0)] {
        let path = server.database.dir().join(file);
        let length = std::fs::metadata(&path).expect("a file").len();
        let mut file = std::fs::OpenOptions::new().write(true).open(path).expect("a file");
        file.write_all(&vec![byte; usize::try_from(length).expect("small")]).expect("overwritten");
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
async fn a_database_that_was_replaced_while_in_use_serves_nothing() {
    for file in ["test.db", "test.db.lock"] {
        let server = Server::start(StoreKind::Sqlite).await;
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

#[needs(mount)]
#[tokio::test]
async fn a_full_disk_is_an_unreachable_store_until_there_is_room() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Disk::in_memory(dir.path(), 1 << 20).expect("mounted");
    let server =
        Server::with(StoreKind::Sqlite, &format!("database_url = 'sqlite://{}/test.db'", disk.path().display())).await;
    let bob = server.log_in(BOB).await;
    disk.fill().expect("a file");

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

    disk.make_room().expect("room");
    until("it is ready without waiting for a login", async || server.ops("/readyz").await.status == 200).await;
    assert_is_over(&server, &bob).await;
    server.stop().await;
}

/// The threads of a server on which it has connections to the file.
fn connections(server: &Process) -> HashSet<PathBuf> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid().as_raw_nonzero())).expect("threads");
    let tasks = tasks.map(|task| task.expect("a thread").path());
    let is_one = |task: &PathBuf| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("sqlx"));
    tasks.filter(is_one).collect()
}

#[needs(mount)]
#[tokio::test]
async fn a_full_disk_ends_no_connection() {
    let home = Home::new(StoreKind::Sqlite);
    let disk = Disk::in_memory(home.dir.path(), 1 << 20).expect("mounted");
    let mut command = home.server();
    command.env("SESSIOND_DATABASE_URL", format!("sqlite://{}/full.db", disk.path().display()));
    let server = Process::start(command).await;
    let alice = server.log_in(ALICE).await;
    let before = connections(&server);
    assert!(!before.is_empty(), "the driver's threads have a name");
    let ready = async || ops(&server, "/readyz").await.status == 200;
    for _ in 0..2 {
        disk.fill().expect("a file");
        until("the log is full, too", async || !ready().await).await;
        let logout = server.send(post("/api/v1/auth/logout").bearer(&alice.token)).await;
        assert_ne!(logout.status, 200, "{}", logout.text());
        disk.make_room().expect("room");
        until("it is ready", ready).await;
    }
    assert!(before.is_subset(&connections(&server)), "a writer begun anew needs as much memory once more");
    assert_eq!(server.send(post("/api/v1/auth/logout").bearer(&alice.token)).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_writer_that_cannot_write_is_not_ready_and_its_failures_are_logged_once() {
    let (home, server) = serving(StoreKind::Sqlite).await;
    let ready = async || ops(&server, "/readyz").await;
    assert_eq!(ready().await.status, 200);
    let bob = server.log_in(BOB).await;
    let before = server.log().lines().count();
    let mut other = home.database.connect().await;
    other.execute("BEGIN IMMEDIATE").await.expect("the write lock");
    until("it is not ready", async || ready().await.status == 503).await;
    assert!(ready().await.text().starts_with("store: "), "{}", ready().await.text());
    assert_eq!(ops(&server, "/livez").await.status, 200);

    let logout = || post("/api/v1/auth/logout").bearer(&bob.token);
    let mut failed = 0;
    for _ in 0..3 {
        let replies = join_all((0..50).map(|_| server.send(logout()))).await;
        assert!(replies.iter().all(|reply| reply.status == 504), "{replies:?}");
        failed += replies.len();
    }
    other.execute("ROLLBACK").await.expect("released");
    until("it is ready", async || ready().await.status == 200).await;
    let over = || server.log().lines().find(|line| line.contains("the store answers again")).map(str::to_owned);
    until("it is over", async || over().is_some()).await;
    assert_eq!(field(&over().expect("over"), "failed"), failed.to_string(), "{}", server.log());
    assert!(server.log().lines().count() - before <= 6, "{}", server.log());
    assert_eq!(server.send(logout()).await.status, 200);
    server.stop().await;
}

/// The size of the write-ahead log by the metrics, in bytes.
async fn log_size(server: &Process) -> f64 {
    let metrics = Metrics::read(server.ops.parse().expect("an address")).await.expect("metrics");
    metrics.one("sessiond_wal_bytes").expect("a gauge")
}

#[tokio::test]
async fn a_log_that_grows_while_another_program_reads_shows_it_and_is_cut_afterwards() {
    /// What a server makes of it at its start, and with what a last commit adds.
    const USUAL: f64 = 32.0 + 4096.0 * (24.0 + 4096.0);
    const LONGEST: f64 = USUAL + 1024.0 * 1024.0;
    let (home, server) = serving(StoreKind::Sqlite).await;
    assert_eq!(log_size(&server).await, USUAL);
    let sessions = seed::sessions::<20>(&home.database.url(), 120).await;
    let bob = server.log_in(BOB).await;
    assert!(log_size(&server).await <= LONGEST, "nobody reads");
    let mut other = home.database.connect().await;
    other.execute("BEGIN; SELECT count(*) FROM sessions").await.expect("reading");

    for [kept, doomed @ ..] in &sessions {
        let ends = doomed.chunks(5).map(async |some| {
            for session in some {
                let logout = server.send(post("/api/v1/auth/logout").bearer(&session.token)).await;
                assert_eq!(logout.status, 200, "{}", logout.text());
                assert_eq!(server.check(&session.token).await, 401);
            }
        });
        join_all(ends).await;
        assert_eq!((server.check(&kept.token).await, server.check(&bob.token).await), (200, 200));
    }
    let grown = log_size(&server).await;
    assert!(grown > USUAL * 1.5, "{grown}");

    other.execute("ROLLBACK").await.expect("over");
    // An answer of /readyz makes it commit.
    until("the log has its size again", async || {
        assert_eq!(ops(&server, "/readyz").await.status, 200);
        log_size(&server).await <= LONGEST
    })
    .await;
    for [kept, ended, ..] in &sessions[..10] {
        assert_eq!((server.check(&kept.token).await, server.check(&ended.token).await), (200, 401));
    }
    server.stop().await;
}
