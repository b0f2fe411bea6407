//! Migrations of the embedded store: whole or not at all, by one of many that start at once, beside newer ones that allow
//! it, and never over another program's tables.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use futures_util::future::join_all;
use rustix::process::Signal;
use sessiond::store::StoreError;
use sessiond::store::connect::{ConnectError, Role};
use tokio::process::Command;

use crate::harness::fresh::open;
use crate::harness::process::Home;
use crate::harness::{ALICE, Database, StoreKind};

const APPLIED: &str = "SELECT version FROM _sqlx_migrations ORDER BY version";

async fn migrate(database: &Database) -> Result<(), ConnectError> {
    open(database, Role::Command).await?.close().await;
    Ok(())
}

/// The files of a database's migrations, in their order, with what they say.
fn files(database: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(database);
    let files = std::fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path());
    let mut files: Vec<_> = files
        .map(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8").to_owned();
            (name, std::fs::read_to_string(path).expect("a text"))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn every_migration_says_which_releases_can_serve_beside_it() {
    let (sqlite, postgres) = (files("sqlite"), files("postgres"));
    assert!(!sqlite.is_empty());
    let names = |files: &[(String, String)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&sqlite), names(&postgres), "the same in both");
    for (place, (name, sql)) in sqlite.iter().chain(&postgres).enumerate() {
        let version = place % sqlite.len() + 1;
        assert!(name.starts_with(&format!("{version:04}_")), "{name} is not the next number");
        let row = format!("INSERT INTO schema_compatibility (migration, oldest) VALUES ({version}, ");
        assert_eq!(sql.matches(&row).count(), 1, "{name} does not say `{row}`");
    }
}

#[tokio::test]
async fn of_many_that_start_at_once_one_migrates() {
    let database = Database::new(StoreKind::Sqlite);
    for migrated in join_all((0..3).map(|_| migrate(&database))).await {
        migrated.expect("migrated");
    }
    assert_eq!(database.rows(APPLIED).await.len(), files("sqlite").len());
    assert_eq!(database.rows("SELECT name FROM secrets").await.len(), 1, "and one key is everybody's");

    let home = Home::new(StoreKind::Sqlite);
    for migrated in join_all((0..3).map(|_| home.run(&["migrate"]))).await {
        migrated.done().unwrap();
    }
    assert_eq!(home.database.rows(APPLIED).await.len(), files("sqlite").len());
}

#[tokio::test]
async fn one_that_is_killed_in_the_middle_leaves_nothing_and_the_next_succeeds() {
    let home = Home::new(StoreKind::Sqlite);
    // The system ends a process that makes a file longer than its limit, here so many times 512 bytes.
    for limit in [8, 24, 64] {
        let mut killed = Command::new("sh");
        killed.args(["-c", &format!("ulimit -f {limit}; exec \"$0\" migrate"), env!("CARGO_BIN_EXE_sessiond")]);
        killed.env("SESSIOND_DATABASE_URL", home.database.url()).current_dir(home.dir.path());
        let status = killed.status().await.expect("a child");
        assert_eq!(status.signal(), Some(Signal::XFSZ.as_raw()), "{limit}: {status}");
        assert!(home.database.path().metadata().expect("it had begun").len() > 0, "{limit}");
        // The next one that opens it takes back what is there by halves.
        home.database.execute("SELECT count(*) FROM sqlite_schema").await;
        assert_eq!(home.database.number("SELECT count(*) FROM sqlite_schema").await, 0, "{limit}");
    }
    home.run(&["migrate"]).await.done().unwrap();
    assert_eq!(home.database.rows(APPLIED).await.len(), files("sqlite").len());
    let server = home.serve().await;
    let alice = server.log_in(ALICE).await;
    assert_eq!(server.check(&alice.token).await, 200);
    server.stop().await;
}

/// Lets a database have had a migration of a later release, beside which those that know `oldest` can serve.
async fn had_a_later_one(database: &Database, oldest: i64) {
    let later = format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', true, x'00', 0);
         INSERT INTO schema_compatibility (migration, oldest) VALUES (9999, {oldest});
         ALTER TABLE users ADD COLUMN later TEXT"
    );
    database.execute(&later).await;
}

#[tokio::test]
async fn a_schema_of_a_later_release_that_allows_it_is_served_from() {
    let home = Home::new(StoreKind::Sqlite);
    home.run(&["migrate"]).await.done().unwrap();
    had_a_later_one(&home.database, files("sqlite").len() as i64).await;
    home.run(&["migrate"]).await.done().unwrap();
    let server = home.serve().await;
    let alice = server.log_in(ALICE).await;
    assert_eq!(server.check(&alice.token).await, 200);
    assert_eq!(home.database.rows(APPLIED).await.len(), files("sqlite").len() + 1);
    server.stop().await;
}

#[tokio::test]
async fn a_schema_of_a_later_release_that_does_not_is_refused_with_a_sentence_and_not_touched() {
    let database = Database::new(StoreKind::Sqlite);
    migrate(&database).await.expect("migrated");
    had_a_later_one(&database, 9999).await;
    let before = std::fs::read(database.path()).expect("bytes");
    let refused = migrate(&database).await.expect_err("refused").to_string();
    let sentence = "a newer sessiond has migrated the database to schema 9999, from which only releases that know schema 9999 can serve";
    assert!(refused.contains(sentence), "{refused}");
    assert!(std::fs::read(database.path()).expect("bytes") == before, "it was changed");
}

#[tokio::test]
async fn the_tables_of_another_program_are_refused_and_not_touched() {
    let database = Database::new(StoreKind::Sqlite);
    std::fs::write(database.path(), "").expect("made");
    database.execute("CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('mine')").await;
    let before = std::fs::read(database.path()).expect("bytes");
    let Err(ConnectError::Store(StoreError::Inconsistent(refused))) = migrate(&database).await else { panic!("taken") };
    assert!(refused.to_string().contains("give sessiond a database of its own"), "{refused}");
    assert!(std::fs::read(database.path()).expect("bytes") == before, "it was changed");
}
