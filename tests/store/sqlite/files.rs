//! The files: whose they are, who may write them, and what lies beside them.

use sessiond_needs::needs;

use super::*;

#[tokio::test]
async fn sqlite_writes_ahead_in_files_that_only_their_owner_can_read() {
    on_a_fresh_store(StoreKind::Sqlite, async |fresh| {
        fresh.user("ann").await;
        let mut names = Vec::new();
        for file in std::fs::read_dir(fresh.database.dir()).expect("a directory") {
            let file = file.expect("a file");
            let mode = file.metadata().expect("metadata").permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{:?}", file.file_name());
            names.push(file.file_name().into_string().expect("UTF-8"));
        }
        assert_eq!(sorted(names), ["test.db", "test.db-shm", "test.db-wal", "test.db.lock"]);
        assert_eq!(fresh.database.rows("PRAGMA journal_mode").await, [[Some(String::from("wal"))]]);
    })
    .await;
}

#[tokio::test]
async fn sqlite_is_served_by_one_at_a_time() {
    let database = Database::new(StoreKind::Sqlite);
    let serve = || open(&database, Role::Serve(Arc::new(RecordingSink::default())));
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
    let database = Database::new(StoreKind::Sqlite);
    let sink = || Role::Serve(Arc::new(RecordingSink::default()));
    let store = open(&database, sink()).await.expect("a store");
    let named = |name: &str| DatabaseUrl::new(format!("sqlite://{}", database.dir().join(name).display()));
    std::os::unix::fs::symlink(database.dir().join("test.db"), database.dir().join("alias.db")).expect("linked");
    let alias = connect(&named("alias.db"), sink(), TIMING, clock(), &SystemEntropy).await;
    assert!(matches!(alias, Err(ConnectError::AlreadyServed(_))), "a symbolic link");
    store.close().await;

    std::fs::hard_link(database.dir().join("test.db"), database.dir().join("twin.db")).expect("linked");
    let twin = connect(&named("twin.db"), sink(), TIMING, clock(), &SystemEntropy).await;
    let Err(ConnectError::Store(StoreError::Unreachable(why))) = twin else { panic!("a hard link was taken") };
    assert!(why.to_string().contains("hard links"), "{why}");
}

#[tokio::test]
async fn sqlite_keeps_what_was_restored_beside_it_for_its_owner_only() {
    let database = Database::new(StoreKind::Sqlite);
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
    let database = Database::new(StoreKind::Sqlite);
    std::fs::write(database.dir().join("test.db"), "not a database, but long enough to be looked at as one".repeat(20))
        .expect("written");
    assert!(matches!(open(&database, Role::Command).await, Err(ConnectError::Store(_))));
}

#[tokio::test]
async fn sqlite_has_room_for_its_log_from_the_first_start_on() {
    let database = Database::new(StoreKind::Sqlite);
    let sink = Role::Serve(Arc::new(RecordingSink::default()));
    let store = open(&database, sink).await.expect("a store");
    let log = std::fs::metadata(database.dir().join("test.db-wal")).expect("a log").len();
    assert!(log > 16 << 20, "{log} bytes");
    store.close().await;
}

/// Sets a file's or directory's mode.
fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
}

#[tokio::test]
async fn a_directory_that_any_user_may_write_is_refused_and_nothing_is_made_in_it() {
    let home = Home::new(StoreKind::Sqlite);
    set_mode(home.database.dir(), 0o777);
    for command in [home.server(), home.command(&["migrate"])] {
        let sentence = finish(command, "").await.refused().unwrap();
        assert!(sentence.contains("lets every user of the machine replace what is in it: chmod 700"), "{sentence}");
    }
    assert!(home.database.is_untouched().await);
    set_mode(home.database.dir(), 0o700);
    home.run(&["migrate"]).await.done().unwrap();
}

#[tokio::test]
async fn a_directory_that_everybody_shares_is_warned_of() {
    let home = Home::new(StoreKind::Sqlite);
    set_mode(home.database.dir(), 0o1777);
    let server = home.serve().await;
    until("it warns", async || server.log().contains(" WARN ")).await;
    assert!(server.log().contains("lets every user of the machine write"), "{}", server.log());
    let shown = home.run(&["check-config"]).await.done().unwrap();
    assert!(shown.contains("# warning: ") && shown.contains("lets every user of the machine write"), "{shown}");
    server.stop().await;
}

#[needs(root)]
#[tokio::test]
async fn what_belongs_to_another_user_is_refused_and_root_is_warned_of_it() {
    const ANOTHER_USER: u32 = 4711;
    let home = Home::new(StoreKind::Sqlite);
    home.run(&["migrate"]).await.done().unwrap();
    std::os::unix::fs::chown(home.database.path(), Some(ANOTHER_USER), None).expect("given away");
    let server = home.serve().await;
    until("it warns", async || server.log().contains("test.db belongs to another user")).await;
    server.stop().await;

    // To any other user it is refused.
    let theirs = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::chown(theirs.path(), Some(ANOTHER_USER), None).expect("given away");
    set_mode(theirs.path(), 0o755);
    let program = theirs.path().join("sessiond");
    std::fs::copy(env!("CARGO_BIN_EXE_sessiond"), &program).expect("copied");
    let database = theirs.path().join("mine.db");
    let mut command = tokio::process::Command::new(&program);
    let url = format!("sqlite://{}", database.display());
    command.args(["migrate", "--database-url", &url]).env_clear().uid(ANOTHER_USER + 1);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let sentence = finish(command, "").await.refused().unwrap();
    assert!(sentence.contains("belongs to another user, who can change it: chown 4712:"), "{sentence}");
}

/// What the program says, as another user than root, about a database in `directory`. `None` if it opens it.
async fn refusal_in(directory: &Path, user: u32, group: u32) -> Option<String> {
    // A copy, where that user can start it.
    let folder = tempfile::tempdir().expect("a directory");
    set_mode(folder.path(), 0o755);
    let program = folder.path().join("sessiond");
    std::fs::copy(env!("CARGO_BIN_EXE_sessiond"), &program).expect("copied");
    let mut command = sessiond_support::process::command("setpriv");
    command.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".into()]).arg(&program);
    let url = format!("sqlite://{}", directory.join("test.db").display());
    command.args(["migrate", "--database-url", &url]).env_clear().env("NO_COLOR", "1").current_dir("/");
    let finished = finish(command, "").await;
    (!finished.ok).then_some(finished.err)
}

#[needs(root)]
#[tokio::test]
async fn a_directory_or_file_that_refuses_is_named_with_the_command_that_mends_it() {
    let above = tempfile::tempdir().expect("a directory");
    set_mode(above.path(), 0o755);
    let data = above.path().join("data");
    std::fs::create_dir(&data).expect("made");
    let shown = data.display();
    let own = |path: &Path| std::os::unix::fs::chown(path, Some(4711), Some(4712)).expect("given away");
    for mode in [0o755, 0o700] {
        set_mode(&data, mode);
        let expected = format!(
            "sessiond: the store cannot be reached: {shown} cannot be written by sessiond, which runs as 4711:4712: chown 4711:4712 {shown}\n"
        );
        assert_eq!(refusal_in(&data, 4711, 4712).await, Some(expected), "{mode:o}");
    }

    // What root made there meanwhile, as by a command.
    let file = data.join("test.db");
    std::fs::write(&file, "").expect("written");
    set_mode(&file, 0o600);
    set_mode(&data, 0o755);
    let sentence = refusal_in(&data, 4711, 4712).await.expect("refused");
    assert!(sentence.contains(&format!("chown 4711:4712 {shown} {shown}/test.db*\n")), "{sentence}");
    own(&data);
    let sentence = refusal_in(&data, 4711, 4712).await.expect("refused");
    assert!(sentence.contains(&format!("{shown}/test.db cannot be written by sessiond")), "{sentence}");
    assert!(sentence.contains(&format!("chown 4711:4712 {shown}/test.db*\n")), "{sentence}");
    own(&file);
    for (path, whose) in [(&data, format!("{shown}")), (&file, format!("{shown}/test.db*"))] {
        let mode = std::fs::metadata(path).expect("there").permissions().mode();
        set_mode(path, 0o500);
        let sentence = refusal_in(&data, 4711, 4712).await.expect("refused");
        assert!(sentence.ends_with(&format!(" which runs as 4711:4712: chmod u+rwX {whose}\n")), "{sentence}");
        set_mode(path, mode & 0o777);
    }
    assert_eq!(refusal_in(&data, 4711, 4712).await, None);
}

#[needs(root)]
#[tokio::test]
async fn a_directory_that_root_gave_to_its_group_serves_any_user_in_that() {
    let above = tempfile::tempdir().expect("a directory");
    set_mode(above.path(), 0o755);
    let data = above.path().join("data");
    std::fs::create_dir(&data).expect("made");
    std::os::unix::fs::chown(&data, Some(4711), Some(0)).expect("given away");
    set_mode(&data, 0o770);
    assert_eq!(refusal_in(&data, 4713, 0).await, None);
    let sentence = refusal_in(&data, 4713, 4713).await.expect("refused");
    assert!(sentence.contains(&format!("chown 4713:4713 {}", data.display())), "{sentence}");
}
