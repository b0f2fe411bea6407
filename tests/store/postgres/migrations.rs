//! Migrations: applied whole or not at all, by one of many servers that start at once, and never over the tables of
//! another program.

use futures_util::future::join_all;
use sessiond::store::StoreError;
use sessiond::store::connect::{ConnectError, Role};
use sessiond_needs::needs;
use sessiond_support::database::Connection;
use sessiond_support::wait::until;
use tempfile::TempDir;

use crate::harness::fleet::home_at;
use crate::harness::fresh::open;
use crate::harness::process::{Home, Process, logged_in, login};
use crate::harness::{ALICE, Database, PASSWORD, StoreKind};

/// A process that makes the table `events` waits at that point for this lock.
const TRAP: &str = "
CREATE SCHEMA trap;
CREATE FUNCTION trap.wait() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (SELECT 1 FROM pg_event_trigger_ddl_commands() WHERE object_identity = 'public.events') THEN
        PERFORM pg_advisory_lock_shared(7);
    END IF;
END $$;
CREATE EVENT TRIGGER trap ON ddl_command_end EXECUTE FUNCTION trap.wait();";

/// How many migrations there are.
fn migrations() -> usize {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres");
    std::fs::read_dir(folder).expect("a folder").count()
}

const TRAPPED: &str = "FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND NOT granted";

/// A process that waits for the lock of migrations asks for it again and again.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND query LIKE 'SELECT pg_try_advisory_xact_lock%'";

async fn migrate(database: &Database) -> Result<(), ConnectError> {
    open(database, Role::Command).await?.close().await;
    Ok(())
}

#[needs(postgres)]
#[tokio::test]
async fn of_many_that_start_at_once_one_migrates() {
    let database = Database::new(StoreKind::Postgres);
    for migrated in join_all((0..3).map(|_| migrate(&database))).await {
        migrated.expect("migrated");
    }
    let had = database.rows("SELECT version FROM _sqlx_migrations ORDER BY version").await;
    let numbers: Vec<_> = (1..=migrations()).map(|number| number.to_string()).collect();
    assert_eq!(had.concat().into_iter().flatten().collect::<Vec<_>>(), numbers);
    assert_eq!(database.number("SELECT count(*) FROM secrets").await, 1, "and one key is everybody's");
    migrate(&database).await.expect("again, and there is nothing to do");
}

#[needs(postgres)]
#[tokio::test]
async fn one_that_is_killed_in_the_middle_leaves_nothing_and_the_next_succeeds() {
    let database = Database::new(StoreKind::Postgres);
    database.execute(TRAP).await;
    for killed in ["backend", "process"] {
        let mut trap = Connection::open(&database.url()).await.expect("connected");
        trap.execute("SELECT pg_advisory_lock(7)").await.expect("set");
        let in_the_middle = async {
            let count = format!("SELECT count(*) {TRAPPED}");
            until("it is in the middle", async || database.number(&count).await == 1).await;
        };
        if killed == "backend" {
            let end = async {
                in_the_middle.await;
                database.execute(&format!("SELECT pg_terminate_backend(pid) {TRAPPED}")).await;
            };
            let (migrated, ()) = tokio::join!(migrate(&database), end);
            assert!(matches!(migrated, Err(ConnectError::Store(StoreError::Unreachable(_)))), "{migrated:?}");
            assert!(database.is_untouched().await, "{:?}", database.tables().await);
        } else {
            tokio::select! {
                migrated = migrate(&database) => panic!("not stopped: {migrated:?}"),
                () = in_the_middle => {}
            }
        }
        trap.execute("SELECT pg_advisory_unlock(7)").await.expect("let go");
        if killed == "process" {
            // What the database was asked before the process was killed may be done, but not in part.
            migrate(&database).await.expect("migrated");
        }
    }
    assert_eq!(database.number("SELECT count(*) FROM _sqlx_migrations").await, migrations() as i64);
    assert_eq!(database.number("SELECT count(*) FROM coherence").await, 1);
}

#[needs(postgres)]
#[tokio::test]
async fn servers_that_start_at_once_on_an_empty_database_all_come_up() {
    for chosen in [true, false] {
        let home = Home::new(StoreKind::Postgres);
        let [a, b, c] = std::array::from_fn(|_| tempfile::tempdir().expect("a directory"));
        let start = async |dir: &TempDir| {
            let mut server = home.server();
            server.current_dir(dir.path());
            if !chosen {
                server.env_remove("SESSIOND_ADMIN_PASSWORD");
            }
            Process::start(server).await
        };
        let (first, second, third) = tokio::join!(start(&a), start(&b), start(&c));
        assert_eq!(home.database.number("SELECT count(*) FROM _sqlx_migrations").await, migrations() as i64);
        assert_eq!(home.database.number("SELECT count(*) FROM users").await, 1);
        let kept = [&a, &b, &c].map(|dir| std::fs::read_to_string(home.database.first_password(dir.path())));
        let mut kept: Vec<_> = kept.into_iter().flatten().collect();
        assert_eq!(kept.len(), usize::from(!chosen), "only a password that a user has is kept");
        let password = kept.pop().unwrap_or_else(|| PASSWORD.to_owned());
        for server in [&first, &second, &third] {
            let reply = server.send(login(ALICE, password.trim())).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert_eq!(first.check(&logged_in(&reply).token).await, 200);
        }
    }
}

#[needs(postgres)]
#[tokio::test]
async fn a_server_killed_in_the_middle_of_migrating_starts_again() {
    let home = Home::new(StoreKind::Postgres);
    home.database.execute(TRAP).await;
    let mut trap = Connection::open(&home.database.url()).await.expect("connected");
    trap.execute("SELECT pg_advisory_lock(7)").await.expect("set");
    let mut killed = home.server().spawn().expect("a child");
    let trapped = format!("SELECT count(*) {TRAPPED}");
    until("it is in the middle", async || home.database.number(&trapped).await == 1).await;
    killed.kill().await.expect("killed");
    assert!(home.database.is_untouched().await, "{:?}", home.database.tables().await);
    // The transaction of the killed process still holds its locks, until the database finds out that its client is
    // gone.
    let next = async {
        until("the next one waits", async || home.database.number(WAITING).await == 1).await;
        trap.execute("SELECT pg_advisory_unlock(7)").await.expect("let go");
    };
    let (server, ()) = tokio::join!(home.serve(), next);
    assert_eq!(home.database.number("SELECT count(*) FROM _sqlx_migrations").await, migrations() as i64);
    let alice = server.log_in(ALICE).await;
    assert_eq!(server.check(&alice.token).await, 200);
}

#[needs(postgres)]
#[tokio::test]
async fn while_one_migrates_the_others_wait_for_it() {
    let database = Database::new(StoreKind::Postgres);
    database.execute(TRAP).await;
    let mut trap = Connection::open(&database.url()).await.expect("connected");
    trap.execute("SELECT pg_advisory_lock(7)").await.expect("set");
    let first_is_slow = async {
        let trapped = format!("SELECT count(*) {TRAPPED}");
        let both = async || (database.number(&trapped).await, database.number(WAITING).await);
        until("one is in the middle and two wait", async || both().await == (1, 2)).await;
        trap.execute("SELECT pg_advisory_unlock(7)").await.expect("let go");
    };
    let (migrated, ()) = tokio::join!(join_all((0..3).map(|_| migrate(&database))), first_is_slow);
    assert!(migrated.iter().all(Result::is_ok), "{migrated:?}");
}

/// A database that a newer release has migrated to schema 9999, from which releases can serve that know schema `oldest`.
async fn migrated_by_a_newer_release(oldest: i64) -> Database {
    let database = Database::new(StoreKind::Postgres);
    migrate(&database).await.expect("migrated");
    let newer = format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', true, '', 0);
         INSERT INTO schema_compatibility (migration, oldest) VALUES (9999, {oldest});
         ALTER TABLE events ADD COLUMN later text"
    );
    database.execute(&newer).await;
    database
}

#[needs(postgres)]
#[tokio::test]
async fn a_newer_schema_that_this_release_is_covered_by_is_served_from_and_left_as_it_is() {
    let database = migrated_by_a_newer_release(migrations() as i64).await;
    let before = database.contents().await;
    migrate(&database).await.expect("it starts");
    assert!(database.contents().await == before, "nothing was changed");
    let home = home_at(&database.url());
    let server = home.serve().await;
    let alice = server.log_in(ALICE).await;
    assert_eq!(server.check(&alice.token).await, 200);
}

#[needs(postgres)]
#[tokio::test]
async fn a_newer_schema_that_does_not_cover_this_release_is_refused_and_left_as_it_is() {
    let database = migrated_by_a_newer_release(migrations() as i64 + 1).await;
    let before = database.contents().await;
    let refused = migrate(&database).await.expect_err("refused").to_string();
    let known = format!("knows schema {}: run a newer one", migrations());
    assert!(refused.contains("schema 9999") && refused.contains(&known), "{refused}");
    assert!(database.contents().await == before, "nothing was changed");
}

#[needs(postgres)]
#[tokio::test]
async fn tables_of_another_program_are_refused_and_unchanged() {
    let database = Database::new(StoreKind::Postgres);
    database.execute("CREATE TABLE notes (text text); INSERT INTO notes VALUES ('mine')").await;
    let Err(ConnectError::Store(StoreError::Inconsistent(refused))) = migrate(&database).await else { panic!("taken") };
    assert!(refused.to_string().contains("give sessiond a database of its own"), "{refused}");
    assert_eq!(database.tables().await, ["notes"]);
    assert_eq!(database.rows("SELECT text FROM notes").await, [[Some(String::from("mine"))]]);
}
