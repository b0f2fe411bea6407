//! `sessiond copy`: from a file to PostgreSQL, all of it or nothing to be served from, with everybody still logged in.

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use sessiond::domain::entropy::{Entropy as _, SystemEntropy};
use tempfile::TempDir;
use tokio::process::Command;

use crate::cluster::{Cluster, session};
use crate::database::{Database, HALF_DONE};
use crate::harness::{ALICE, BOB, PASSWORD, delete, post};
use crate::process::{Home, Process, finish, login, until};

type Rows = Vec<Vec<Option<String>>>;

const TABLES: [&str; 4] = ["users", "sessions", "events", "revocations"];
const UNFINISHED: &str = "the database holds an unfinished copy: start the same `sessiond copy` again";
/// Kept by whoever fills a database.
const LOCK: &str = "SELECT pg_advisory_lock(8315179226436169849)";

/// A store in a file.
struct Old {
    dir: TempDir,
}

impl Old {
    /// One that does not exist yet.
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory") }
    }

    /// One with this in it, beside Alice, who has never logged in.
    async fn with(home: &Home, sql: &str) -> Self {
        let old = Self::new();
        old.add_alice(home).await;
        old.connection().execute_batch(sql).expect("made");
        old
    }

    /// One with so many sessions, and a tenth of that many users and events.
    async fn large(home: &Home, sessions: u32) -> Self {
        let sql = format!(
            "PRAGMA synchronous = OFF;
             PRAGMA cache_size = -200000;
             BEGIN;
             CREATE TEMPORARY TABLE numbers AS
                 WITH RECURSIVE up (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < {sessions}) SELECT n FROM up;
             INSERT INTO users (id, username, username_key, email, email_key, name, password_hash, created_at, updated_at)
                 SELECT printf('%017d', n), 'u' || n, 'u' || n, nullif(n % 2, 0) || n || '@example.com',
                     nullif(n % 2, 0) || n || '@example.com', 'User', '', n, n
                 FROM numbers WHERE n <= {sessions} / 10;
             INSERT INTO sessions (id, token_hash, user_id, created_at, last_seen_at, idle_expires_at, expires_at, remembered,
                     ip, user_agent, host)
                 SELECT printf('%017d', n), CAST(printf('%032d', n) AS BLOB), printf('%017d', 1 + n % ({sessions} / 10)), n, n, n, n, n % 2,
                     '192.0.2.1', 'agent ' || n, 'login.example.com'
                 FROM numbers;
             INSERT INTO events (at, kind, user_id, session_id, actor, ip)
                 SELECT created_at, 'login_ok', user_id, id, user_id, ip FROM sessions WHERE number <= {sessions} / 10;
             COMMIT;"
        );
        Self::with(home, &sql).await
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("old.db")
    }

    fn url(&self) -> String {
        format!("sqlite://{}", self.path().display())
    }

    fn connection(&self) -> Connection {
        Connection::open(self.path()).expect("a connection")
    }

    /// A command on it.
    fn command(&self, home: &Home, arguments: &[&str]) -> Command {
        let mut command = home.command(arguments);
        command.env("SESSIOND_DATABASE_URL", self.url());
        command
    }

    async fn add_alice(&self, home: &Home) {
        finish(self.command(home, &["user", "add", ALICE, "--password-stdin"]), PASSWORD).await.done();
    }

    async fn serve(&self, home: &Home) -> Process {
        let mut command = home.server();
        command.env("SESSIOND_DATABASE_URL", self.url());
        Process::start(command).await
    }

    /// A table, every value as PostgreSQL would write it.
    fn rows(&self, table: &str) -> Rows {
        let connection = self.connection();
        let mut statement = connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1")).expect("a statement");
        let names: Vec<_> = statement.column_names().into_iter().map(str::to_owned).collect();
        let rows = statement.query_map([], |row| {
            Ok((0..names.len()).flat_map(|at| texts(&names[at], row.get_ref(at).expect("a value"))).collect())
        });
        rows.expect("rows").collect::<Result<_, _>>().expect("rows")
    }

    fn all(&self) -> Vec<Rows> {
        TABLES.map(|table| self.rows(table)).into()
    }
}

/// What PostgreSQL writes for a column: one value, and three for what an entry of the log says.
fn texts(name: &str, value: ValueRef<'_>) -> Vec<Option<String>> {
    let text = match value {
        ValueRef::Null => return vec![None],
        ValueRef::Integer(number) if ["admin", "remembered", "archived"].contains(&name) => {
            ["f", "t"][usize::try_from(number).expect("0 or 1")].to_owned()
        }
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Text(text) if name == "what" => {
            let what: serde_json::Value = serde_json::from_slice(text).expect("JSON");
            let list = |key: &str, around: [&str; 2]| {
                let items = what[key].as_array().expect(key).iter().map(|item| item.as_str().expect("a text"));
                let items: Vec<_> = items.map(|item| around[0].to_owned() + item + around[1]).collect();
                Some(format!("{{{}}}", items.join(",")))
            };
            // What it asks of replicas, which only PostgreSQL does.
            let flush = Some(String::from("{}"));
            return vec![list("sessions", ["\"\\\\x", "\""]), list("users", ["", ""]), flush];
        }
        ValueRef::Text(text) => String::from_utf8(text.to_vec()).expect("UTF-8"),
        ValueRef::Blob(bytes) => {
            format!("\\x{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        }
        ValueRef::Real(_) => panic!("no column holds one"),
    };
    vec![Some(text)]
}

async fn all(database: &Database) -> Vec<Rows> {
    let mut all = Vec::new();
    for table in TABLES {
        all.push(database.rows(&format!("SELECT * FROM {table} ORDER BY 1")).await);
    }
    all
}

/// What is told of large tables: how many rows, and a sum over all of them.
async fn sums(database: &Database) -> Vec<Rows> {
    let mut all = Vec::new();
    for table in TABLES.into_iter().chain(["coherence", "secrets"]) {
        let sums = format!("SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {table} AS t");
        all.push(database.rows(&sums).await);
    }
    let numbers = "SELECT last_value, is_called FROM sessions_number_seq UNION ALL SELECT last_value, is_called FROM events_number_seq";
    all.push(database.rows(numbers).await);
    all
}

fn copying(home: &Home, old: &Old) -> Command {
    home.command(&["copy", "--from", &old.url(), "--to", &home.database.url()])
}

/// A target that holds a part: the copy came to an event that PostgreSQL does not take. What takes it away is returned.
async fn unfinished(home: &Home) -> (Old, &'static str) {
    let sql = "INSERT INTO events (at, kind, actor, detail) VALUES (1, 'odd', 'cli', 'a' || char(0) || 'b')";
    let old = Old::with(home, sql).await;
    let refused = finish(copying(home, &old), "").await.refused();
    assert!(refused.contains("0x00") && refused.contains("start the same copy again"), "{refused}");
    assert_eq!(home.database.number("SELECT count(*) FROM users").await, 1, "the part");
    (old, "UPDATE events SET detail = 'ab' WHERE kind = 'odd'")
}

#[tokio::test]
async fn everybody_stays_logged_in_and_whoever_was_not_is_not() {
    let (home, old) = (Home::new(), Old::new());
    let before = old.serve(&home).await;
    let beside = async |arguments: &[&str]| finish(old.command(&home, arguments), PASSWORD).await.done();
    for name in [BOB, "carol"] {
        beside(&["user", "add", name, "--password-stdin"]).await;
    }
    let [alice, out, ended, bob, carol] = [
        before.log_in(ALICE).await,
        before.log_in(ALICE).await,
        before.log_in(ALICE).await,
        before.log_in(BOB).await,
        before.log_in("carol").await,
    ];
    assert_eq!(before.send(login(BOB, "not the password")).await.status, 401);
    assert_eq!(before.send(post("/api/v1/auth/logout").bearer(&out.token)).await.status, 200);
    let end = delete(&format!("/api/v1/auth/sessions/{}", ended.session)).bearer(&alice.token);
    assert_eq!(before.send(end).await.status, 200);
    beside(&["user", "disable", "carol"]).await;
    let listed = beside(&["session", "list", ALICE]).await;
    // What is only in the log beside the file counts.
    before.kill().await;
    let held = old.all();

    let told = finish(copying(&home, &old), "").await;
    let events = held[2].len();
    assert_eq!(told.err, "", "nobody watches");
    assert_eq!(told.done(), format!("copied 3 users, 5 sessions, {events} events\n"));
    assert_eq!(all(&home.database).await, held);
    assert_eq!(old.all(), held, "and the old store is as it was");
    let head = held[3].last().and_then(|row| row[0].clone()).expect("a log");
    assert_eq!(home.database.rows("SELECT seq FROM coherence").await, [[Some(head.clone())]]);

    let after = home.serve().await;
    for (login, status) in [(&alice, 200), (&out, 401), (&ended, 401), (&bob, 200), (&carol, 401)] {
        assert_eq!(after.check(&login.token).await, status);
    }
    assert_eq!(home.run(&["session", "list", ALICE]).await.done(), listed);
    assert_eq!(after.send(login("carol", PASSWORD)).await.status, 401, "disabled");
    assert_eq!(after.send(login(BOB, "not the password")).await.status, 401);
    let again = after.log_in(BOB).await;
    assert_eq!(after.send(post("/api/v1/auth/logout").bearer(&bob.token)).await.status, 200);
    assert_eq!((after.check(&bob.token).await, after.check(&again.token).await), (401, 200));
    assert_eq!(home.database.number(HALF_DONE).await, 0);
    let next = "SELECT max(number) - 1 FROM sessions";
    assert_eq!(home.database.number(next).await, 5, "numbers go on");
    let next = format!("SELECT count(*) FROM revocations WHERE seq = {head} + 1");
    assert_eq!(home.database.number(&next).await, 1, "and those of the log");
}

#[tokio::test]
async fn whatever_a_column_may_hold_is_copied_as_it_is() {
    let home = Home::new();
    let odd = ["\\N", "\\.", "", "\t\n\r\u{8}\u{b}\u{c}", "\\\\x00", "a\\", "ünï 🦀 \u{fffd}\u{10ffff}", "{\"NULL\",null}"];
    let old = Old::with(&home, "").await;
    let connection = old.connection();
    for (at, text) in (0_i64..).zip(odd) {
        connection
            .execute(
                "INSERT INTO users VALUES (?1, ?2, ?2, ?3, ?3, ?2, ?4, ?2, 9223372036854775807, ?5, -1, 0)",
                (format!("user {at}"), format!("{at}{text}"), (at % 2 == 0).then_some(text), at % 2, (at % 2 == 0).then_some(at)),
            )
            .expect("a user");
        connection
            .execute(
                "INSERT INTO sessions VALUES (?1 + 10, 'session ' || ?1, randomblob(32), 'user ' || ?1, 1, 2, 3, 4, ?1 % 2,
                     ?2, ?2, ?2, iif(?1 % 2, 5, NULL), iif(?1 % 2, ?2, NULL), iif(?1 % 2, ?2, NULL), iif(?1 % 2, 6, NULL), ?1 % 2)",
                (at, text),
            )
            .expect("a session");
        connection
            .execute("INSERT INTO events VALUES (?1 * 1000 + 10, 0, ?2, ?2, NULL, ?2, NULL, ?2, ?2, ?2, ?1)", (at, text))
            .expect("an event");
    }
    connection
        .execute_batch(&format!(
            "INSERT INTO revocations VALUES (5, 1, '{{\"sessions\":[],\"users\":[]}}');
             INSERT INTO revocations VALUES (6, 2, '{{\"sessions\":[\"{0}\",\"{0}\"],\"users\":[\"23456789ABCDEFGHJ\",\"NULL56789ABCDEFGH\"]}}');",
            "0f".repeat(32)
        ))
        .expect("entries");
    drop(connection);
    finish(copying(&home, &old), "").await.done();
    assert_eq!(all(&home.database).await, old.all());
    assert_eq!(home.database.rows("SELECT seq FROM coherence").await, [[Some(String::from("6"))]]);
}

#[tokio::test]
async fn a_store_with_nobody_logged_in_is_copied_and_numbers_begin_at_one() {
    let home = Home::new();
    let old = Old::with(&home, "").await;
    // The settings say where to, as they say it to the server.
    let told = finish(home.command(&["copy", "--from", &old.url()]), "").await.done();
    assert_eq!(told, "copied 1 users, 0 sessions, 1 events\n");
    let server = home.serve().await;
    server.log_in(ALICE).await;
    assert_eq!(home.database.number("SELECT number FROM sessions").await, 1);
}

#[tokio::test]
async fn every_table_is_copied_or_known_to_be_left_out() {
    let home = Home::new();
    let old = Old::with(&home, "").await;
    let connection = old.connection();
    let mut tables = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> '_sqlx_migrations' ORDER BY 1").expect("fine");
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).expect("rows").map(Result::unwrap).collect();
    let mut known = [&TABLES[..], &["replicas", "schema_compatibility", "secrets"]].concat();
    known.sort_unstable();
    assert_eq!(tables, known);
}

#[tokio::test]
async fn a_target_that_is_not_empty_is_refused_and_left_alone() {
    let home = Home::new();
    let old = Old::with(&home, "").await;
    for sql in [
        "INSERT INTO users VALUES ('1', '', '', NULL, NULL, '', false, '', 0, NULL, 0, 0)",
        "INSERT INTO events (at, kind, actor) VALUES (1, '', '')",
        "INSERT INTO revocations VALUES (1, 1, '{}', '{}')",
        "INSERT INTO replicas VALUES ('23456789ABCDEFGHJ', 1, 1)",
    ] {
        home.run(&["migrate"]).await.done();
        home.database.execute(sql).await;
        let before = home.database.contents().await;
        let refused = finish(copying(&home, &old), "").await.refused();
        assert!(refused.contains("the target is not empty, and was left alone"), "{sql}: {refused}");
        assert_eq!(home.database.contents().await, before, "{sql}");
        home.database.execute("TRUNCATE users, sessions, events, revocations, replicas").await;
    }
    home.database.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TABLE notes (text text)").await;
    let refused = finish(copying(&home, &old), "").await.refused();
    assert!(refused.contains("tables of another program"), "{refused}");
    assert_eq!(home.database.tables().await, ["notes"]);
}

#[tokio::test]
async fn a_finished_copy_may_be_started_again_until_somebody_uses_it() {
    let home = Home::new();
    let old = Old::with(&home, "").await;
    let told = finish(copying(&home, &old), "").await.done();
    let before = home.database.contents().await;
    assert_eq!(finish(copying(&home, &old), "").await.done(), told, "whoever was not told is told now");
    assert_eq!(home.database.contents().await, before);
    home.add_user(BOB).await;
    let refused = finish(copying(&home, &old), "").await.refused();
    assert!(refused.contains("the target is not empty"), "{refused}");
}

#[tokio::test]
async fn a_source_that_is_no_source_is_refused_and_the_target_is_untouched() {
    let home = Home::new();
    let refused = async |old: &Old, words: &str| {
        let refused = finish(copying(&home, old), "").await.refused();
        assert!(refused.contains(words), "{words}: {refused}");
    };
    let old = Old::new();
    refused(&old, "old.db: No such file").await;
    assert!(!old.path().exists(), "and none is made");
    std::fs::write(old.path(), "").expect("written");
    refused(&old, "run `sessiond migrate` on it first").await;
    std::fs::write(old.path(), "no database at all, however long one reads on in it").expect("written");
    refused(&old, "file is not a database").await;

    let old = Old::new();
    finish(old.command(&home, &["migrate"]), "").await.done();
    refused(&old, "holds no users: there is nothing to copy").await;
    old.add_alice(&home).await;
    let today: u32 = old.connection().pragma_query_value(None, "user_version", |row| row.get(0)).expect("a number");
    old.connection().pragma_update(None, "user_version", 0).expect("older");
    refused(&old, "has had 0 of").await;
    old.connection().pragma_update(None, "user_version", 99).expect("newer");
    refused(&old, "a newer one has written it").await;
    old.connection().pragma_update(None, "user_version", today).expect("today's");

    let server = old.serve(&home).await;
    refused(&old, "is held by another running `sessiond serve`").await;
    assert!(home.database.is_untouched().await);
    server.stop().await;
    finish(copying(&home, &old), "").await.done();
}

#[tokio::test]
async fn any_other_way_is_refused_and_no_secret_is_repeated() {
    const SECRET: &str = "postgres://me:s3cret@127.0.0.1:1/x";
    let home = Home::new();
    let old = Old::with(&home, "").await;
    let url = old.url();
    for (from, to, words) in [
        (SECRET, url.as_str(), "a copy leads from sqlite:// to postgres://, and not from postgres://(hidden) to sqlite"),
        (&url, &url, "a copy leads from"),
        (SECRET, SECRET, "a copy leads from"),
        ("s3cret", SECRET, "not from (hidden) to postgres://(hidden)"),
        (&url, SECRET, "the store cannot be reached"),
        (&url, "postgres://me:s3cret@127.0.0.1:1/x?colour=1", "cannot be used"),
    ] {
        let refused = home.run(&["copy", "--from", from, "--to", to]).await.refused();
        assert!(refused.contains(words) && !refused.contains("s3cret"), "{refused}");
    }
}

#[tokio::test]
async fn nobody_opens_a_part_and_the_same_copy_goes_on_from_there() {
    let home = Home::new();
    let (old, cure) = unfinished(&home).await;
    let part = home.database.contents().await;
    for arguments in [&["serve"][..], &["migrate"], &["user", "list"], &["session", "list", ALICE], &["replicas"]] {
        let refused = home.run(arguments).await.refused();
        assert!(refused.contains(UNFINISHED), "{arguments:?}: {refused}");
    }
    let other = Old::with(&home, "").await;
    let refused = finish(copying(&home, &other), "").await.refused();
    assert!(refused.contains("an unfinished copy of another store"), "{refused}");
    assert_eq!(home.database.contents().await, part);

    old.connection().execute_batch(cure).expect("cured");
    finish(copying(&home, &old), "").await.done();
    assert_eq!(all(&home.database).await, old.all());
    home.serve().await.log_in(ALICE).await;
}

#[tokio::test]
async fn a_copy_does_not_go_on_with_a_source_that_has_changed() {
    for change in ["login", "touch", "purge"] {
        let home = Home::new();
        let (old, cure) = unfinished(&home).await;
        old.connection().execute_batch(cure).expect("cured");
        let session = "INSERT INTO sessions VALUES (NULL, '', zeroblob(32), (SELECT id FROM users), 1, 1, 1, 1, 0, '', '', '', NULL, NULL, NULL, NULL, 0)";
        match change {
            "login" => drop(old.serve(&home).await.log_in(ALICE).await),
            "touch" => old.connection().execute_batch(&format!("{session}; UPDATE sessions SET last_seen_at = 2")).expect("touched"),
            _ => old.connection().execute_batch(session).expect("one more"),
        }
        let refused = finish(copying(&home, &old), "").await.refused();
        assert!(refused.contains("or of this one before it changed"), "{change}: {refused}");
    }
}

#[tokio::test]
async fn a_target_that_somebody_else_has_changed_meanwhile_is_never_finished() {
    for change in [
        "INSERT INTO replicas VALUES ('23456789ABCDEFGHJ', 1, 1)",
        "INSERT INTO users VALUES ('1', '', '', NULL, NULL, '', false, '', 0, NULL, 0, 0)",
        "DELETE FROM users",
    ] {
        let home = Home::new();
        let (old, cure) = unfinished(&home).await;
        old.connection().execute_batch(cure).expect("cured");
        home.database.execute(change).await;
        if change.starts_with("DELETE") {
            home.database.execute("INSERT INTO users VALUES ('~', '', '', NULL, NULL, '', false, '', 0, NULL, 0, 0), ('~~', '1', '1', NULL, NULL, '', false, '', 0, NULL, 0, 0)").await;
        }
        let refused = finish(copying(&home, &old), "").await.refused();
        assert!(refused.contains("the target was changed or served from while it was filled"), "{change}: {refused}");
        assert!(home.run(&["migrate"]).await.refused().contains(UNFINISHED));
    }
}

#[tokio::test]
async fn while_one_copies_nobody_else_does_and_the_source_stays_as_it_is() {
    let home = Home::new();
    let old = Old::with(&home, "").await;
    home.run(&["migrate"]).await.done();
    let other = session(&home.database.url()).await.expect("connected");
    other.batch_execute(LOCK).await.expect("taken");
    let beside = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'";
        until("it waits", async || home.database.number(waiting).await == 1).await;
        let served = finish(old.command(&home, &["serve"]), "").await.refused();
        assert!(served.contains("is held by another running `sessiond serve` or `sessiond copy`"), "{served}");
        let changed = finish(old.command(&home, &["user", "disable", ALICE]), "").await.refused();
        assert!(changed.contains("did not answer in time"), "{changed}");
    };
    let (copied, ()) = tokio::join!(finish(copying(&home, &old), ""), beside);
    let refused = copied.refused();
    assert!(refused.contains("another `sessiond copy` is at work on the target"), "{refused}");
    assert_eq!(home.database.number("SELECT count(*) FROM users").await, 0);
    other.batch_execute("SELECT pg_advisory_unlock_all()").await.expect("let go");
    finish(old.command(&home, &["user", "disable", ALICE]), "").await.done();
    finish(copying(&home, &old), "").await.done();
}

#[tokio::test]
async fn killed_at_any_moment_it_comes_to_the_same_end() {
    let (home, whole) = (Home::new(), Home::new());
    let old = Old::large(&home, 50_000).await;
    home.run(&["migrate"]).await.done();
    let there = async || {
        let rows = "SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM sessions) + (SELECT count(*) FROM events)";
        home.database.number(rows).await
    };
    let mut parts = 0;
    loop {
        let before = there().await;
        let mut child = copying(&home, &old).spawn().expect("a child");
        if parts < 4 {
            let ended = async || there().await > before || child.try_wait().expect("a state").is_some();
            until("it gets on, or to its end", ended).await;
        } else {
            let mut moment = [0];
            SystemEntropy.fill(&mut moment).expect("entropy");
            tokio::time::sleep(Duration::from_millis(4 * u64::from(moment[0]))).await;
        }
        child.kill().await.expect("killed");
        if home.run(&["migrate"]).await.ok {
            break;
        }
        parts += 1;
    }
    assert!(parts >= 4, "{parts}");
    let told = finish(copying(&home, &old), "").await.done();
    assert_eq!(told, finish(copying(&whole, &old), "").await.done());
    assert_eq!(sums(&home.database).await, sums(&whole.database).await);
    home.serve().await.log_in(ALICE).await;
}

#[sessiond_needs::needs(initdb)]
#[tokio::test]
async fn a_million_sessions_are_copied() {
    let home = Home::new();
    let old = Old::large(&home, 1_000_000).await;
    // Others, whose patience is short, have another server.
    let cluster = Cluster::start("max_wal_size = 2GB").await;
    let url = cluster.url("postgres");
    // It takes longer than other commands may.
    let copied = home.command(&["copy", "--from", &old.url(), "--to", &url]).output().await.expect("an end");
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    assert_eq!(String::from_utf8_lossy(&copied.stdout), "copied 100001 users, 1000000 sessions, 100001 events\n");
    let whole = "SELECT count(*) FROM sessions WHERE user_agent = 'agent ' || number AND length(token_hash) = 32";
    assert_eq!(cluster.psql("postgres", whole).await, [[Some(String::from("1000000"))]]);
    let mut server = home.server();
    server.env("SESSIOND_DATABASE_URL", url);
    Process::start(server).await.log_in(ALICE).await;
}
