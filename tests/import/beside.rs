//! Imports of many users beside a running server, and imports that are killed.

use std::path::PathBuf;

use sessiond_needs::on_both_stores;
use sessiond_support::wait::until;

use super::{BCRYPT, status};
use crate::harness::process::{Home, Process};
use crate::harness::{ALICE, PASSWORD, StoreKind, post};

/// A file of so many users.
fn file(home: &Home, users: usize) -> PathBuf {
    let path = home.dir.path().join("users");
    let lines: String = (0..users).map(|number| format!("user{number}:{BCRYPT}\n")).collect();
    std::fs::write(&path, lines).expect("written");
    path
}

/// The command that imports it.
fn begin(home: &Home, file: &std::path::Path) -> Process {
    let file = file.to_str().expect("UTF-8");
    Process::begin(home.command(&["user", "import", "--format", "htpasswd", file]))
}

/// How many users there are, as the command line lists them.
async fn listed(home: &Home) -> usize {
    home.run(&["user", "list"]).await.done().unwrap().lines().count()
}

#[on_both_stores]
async fn logouts_go_on_and_nobody_is_there_before_the_end(store: StoreKind) {
    let home = Home::new(store);
    let server = home.serve().await;
    let mut tokens = Vec::new();
    for _ in 0..30 {
        tokens.push(server.log_in(ALICE).await.token);
    }
    let mut import = begin(&home, &file(&home, 8_000));
    let mut beside = 0;
    for token in &tokens {
        let logout = server.send(post("/api/v1/auth/logout").bearer(token)).await;
        assert_eq!(logout.status, 200, "{}", logout.text());
        let (early, users) = (status(&server, "user0", PASSWORD).await, listed(&home).await);
        if import.lives() {
            assert_eq!((early, users), (401, 1));
            server_forgets(&home).await;
            beside += 1;
        }
    }
    assert!(beside > 0, "the import was over before the first logout");
    assert!(import.ended().await.success(), "{}", import.log());
    assert_eq!((status(&server, "user0", PASSWORD).await, listed(&home).await), (200, 8_001));
    assert_eq!(home.database.number("SELECT count(*) FROM events WHERE kind = 'user_created'").await, 8_001);
    server.stop().await;
}

/// Forgets the logins that were refused.
async fn server_forgets(home: &Home) {
    home.database.execute("DELETE FROM throttles").await;
}

#[tokio::test]
async fn of_an_import_that_is_killed_nobody_is_there_and_the_names_are_free() {
    const USERS: i64 = 6_000;
    let home = Home::new(StoreKind::Sqlite);
    home.add_user(ALICE).await;
    let path = file(&home, usize::try_from(USERS).expect("few"));
    for rows in [1, USERS / 2] {
        let import = begin(&home, &path);
        until("some rows are there", async || home.database.number("SELECT count(*) FROM users").await > rows).await;
        import.kill().await;
        assert_eq!(listed(&home).await, 1);
        assert_eq!(home.run(&["user", "export"]).await.done().unwrap().lines().count(), 1);
        let dry = ["user", "import", "--dry-run", "--format", "htpasswd", path.to_str().expect("UTF-8")];
        assert_eq!(home.run(&dry).await.done().unwrap(), format!("would import {USERS}\n"));
    }
    assert!(home.database.number("SELECT count(*) FROM users").await > 1, "what is left of it is hidden");
    let server = home.serve().await;
    assert_eq!(home.database.number("SELECT count(*) FROM users").await, 1, "and a server removes it at its start");
    assert_eq!(status(&server, "user0", PASSWORD).await, 401);
    home.add_user("user1").await;
    home.run(&["user", "delete", "user1", "--yes"]).await.done().unwrap();
    assert!(begin(&home, &path).ended().await.success());
    assert_eq!(status(&server, "user0", PASSWORD).await, 200);
    server.stop().await;
}
