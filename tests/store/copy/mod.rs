//! `sessiond copy`: from a file to PostgreSQL, all of it or nothing to be served from, with everybody still logged in.

use std::time::Duration;

use sessiond::domain::entropy::{Entropy as _, SystemEntropy};
use sessiond_needs::needs;
use sessiond_support::database;
use sessiond_support::postgres::{Options, Postgres};
use sessiond_support::wait::until;
use sqlx::Connection as _;
use tokio::process::Command;

use self::old::{Old, Rows};
use crate::harness::authenticator::login_with_code;
use crate::harness::process::{Home, Process, finish, login};
use crate::harness::{ALICE, BOB, Database, PASSWORD, StoreKind, delete, post};

mod old;

const TABLES: [&str; 7] =
    ["users", "second_factors", "recovery_codes", "sessions", "events", "revocations", "throttles"];
/// What is begun and not finished is left out, as is what belongs to one database.
const LEFT_OUT: [&str; 6] =
    ["_sqlx_migrations", "pending_logins", "replicas", "schema_compatibility", "second_factor_enrolments", "secrets"];
const UNFINISHED: &str = "the database holds an unfinished copy: start the same `sessiond copy` again";
/// The lock that a copy holds on the database that it fills.
const LOCK: &str = "SELECT pg_advisory_lock(8315179226436169849)";

async fn all(database: &Database) -> Vec<Rows> {
    let mut all = Vec::new();
    for table in TABLES {
        all.push(database.rows(&format!("SELECT * FROM {table} ORDER BY 1")).await);
    }
    all
}

/// How large tables are compared: by the number of rows, and a sum over all of them.
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
    let refused = finish(copying(home, &old), "").await.refused().unwrap();
    assert!(refused.contains("0x00") && refused.contains("start the same copy again"), "{refused}");
    assert_eq!(home.database.number("SELECT count(*) FROM users").await, 1, "the part");
    (old, "UPDATE events SET detail = 'ab' WHERE kind = 'odd'")
}

#[needs(postgres)]
#[tokio::test]
async fn everybody_stays_logged_in_and_a_session_that_had_ended_stays_ended() {
    let (home, old) = (Home::new(StoreKind::Postgres), Old::new());
    let before = old.serve(&home).await;
    let beside = async |arguments: &[&str]| finish(old.command(&home, arguments), PASSWORD).await.done().unwrap();
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
    let (key, code) = ("0f".repeat(64), "7a".repeat(32));
    old.execute(&format!(
        "INSERT INTO second_factors SELECT id, x'{key}', 70, 5 FROM users WHERE username = 'carol';
         INSERT INTO recovery_codes SELECT '{code}', id FROM users WHERE username = 'carol';
         INSERT INTO second_factor_enrolments SELECT id, 'begun', x'00', 5 FROM users WHERE username = 'carol'"
    ))
    .await;
    // What is only in the log beside the file counts.
    before.kill().await;
    let held = old.all().await;

    let copied = finish(copying(&home, &old), "").await;
    let events = held[4].len();
    assert_eq!(copied.err, "", "not on a terminal");
    assert_eq!(copied.done().unwrap(), format!("copied 3 users, 5 sessions, {events} events\n"));
    assert_eq!(all(&home.database).await, held);
    assert_eq!(old.all().await, held, "and the old store is as it was");
    let head = held[5].last().and_then(|row| row[0].clone()).expect("a log");
    assert_eq!(home.database.rows("SELECT seq FROM coherence").await, [[Some(head.clone())]]);

    // Before any check: a server on the copy would write when each session was last seen.
    let listed = beside(&["session", "list", ALICE]).await;
    assert_eq!(home.run(&["session", "list", ALICE]).await.done().unwrap(), listed);

    // They are no real ones.
    home.database.execute("DELETE FROM second_factors").await;
    let after = home.serve().await;
    for (login, status) in [(&alice, 200), (&out, 401), (&ended, 401), (&bob, 200), (&carol, 401)] {
        assert_eq!(after.check(&login.token).await, status);
    }
    assert_eq!(after.send(login("carol", PASSWORD)).await.status, 401, "disabled");
    assert_eq!(after.send(login(BOB, "not the password")).await.status, 401);
    let again = after.log_in(BOB).await;
    assert_eq!(after.send(post("/api/v1/auth/logout").bearer(&bob.token)).await.status, 200);
    assert_eq!((after.check(&bob.token).await, after.check(&again.token).await), (401, 200));
    assert_eq!(home.database.half_done().await, 0);
    let next = "SELECT max(number) - 1 FROM sessions";
    assert_eq!(home.database.number(next).await, 5, "numbers go on");
    let next = format!("SELECT count(*) FROM revocations WHERE seq = {head} + 1");
    assert_eq!(home.database.number(&next).await, 1, "and those of the log");
}

#[needs(postgres)]
#[tokio::test]
async fn a_second_factor_goes_on_in_the_copy() {
    let (home, old) = (Home::new(StoreKind::Postgres), Old::new());
    let before = old.serve(&home).await;
    let (authenticator, _) = before.set_up(&before.log_in(ALICE).await.token).await;
    before.stop().await;
    finish(copying(&home, &old), "").await.done().unwrap();
    let after = home.serve().await;
    assert_eq!(after.send(login(ALICE, PASSWORD)).await.status, 401);
    for (code, status) in
        [(authenticator.next(), 200), (authenticator.next(), 401), (authenticator.recovery[0].clone(), 200)]
    {
        assert_eq!(after.send(login_with_code(ALICE, &code)).await.status, status, "{code}");
    }
}

#[needs(postgres)]
#[tokio::test]
async fn whatever_a_column_may_hold_is_copied_as_it_is() {
    let home = Home::new(StoreKind::Postgres);
    let odd =
        ["\\N", "\\.", "", "\t\n\r\u{8}\u{b}\u{c}", "\\\\x00", "a\\", "ünï 🦀 \u{fffd}\u{10ffff}", "{\"NULL\",null}"];
    let old = Old::with(&home, "").await;
    let mut connection = database::sqlite(&old.url()).await.expect("a connection");
    for (at, text) in (0_i64..).zip(odd) {
        let even = at % 2 == 0;
        sqlx::query(
            "INSERT INTO users VALUES (?1, ?2, ?2, ?3, ?3, ?2, ?4, ?2, 9223372036854775807, ?5, -1, 0, ?4, ?5, ?5, ?5)",
        )
        .bind(format!("user {at}"))
        .bind(format!("{at}{text}"))
        .bind(even.then_some(text))
        .bind(at % 2)
        .bind(even.then_some(at))
        .execute(&mut connection)
        .await
        .expect("a user");
        let session = "INSERT INTO sessions VALUES (?1 + 10, 'session ' || ?1, randomblob(32), 'user ' || ?1, 1, 2, 3, 4, ?1 % 2,
            ?2, ?2, ?2, iif(?1 % 2, 5, NULL), iif(?1 % 2, ?2, NULL), iif(?1 % 2, ?2, NULL), iif(?1 % 2, 6, NULL), ?1 % 2)";
        let event = "INSERT INTO events VALUES (?1 * 1000 + 10, 0, ?2, ?2, NULL, ?2, NULL, ?2, ?2, ?2, ?1, ?2, ?2)";
        for sql in [session, event] {
            sqlx::query(sql).bind(at).bind(text).execute(&mut connection).await.expect("a row");
        }
    }
    connection.close().await.expect("closed");
    old.execute(&format!(
        "INSERT INTO revocations VALUES (5, 1, '{{\"sessions\":[],\"users\":[]}}');
         INSERT INTO revocations VALUES (6, 2, '{{\"sessions\":[\"{0}\",\"{0}\"],\"users\":[\"23456789ABCDEFGHJ\",\"NULL56789ABCDEFGH\"]}}');",
        "0f".repeat(32)
    ))
    .await;
    finish(copying(&home, &old), "").await.done().unwrap();
    assert_eq!(all(&home.database).await, old.all().await);
    assert_eq!(home.database.rows("SELECT seq FROM coherence").await, [[Some(String::from("6"))]]);
}

#[needs(postgres)]
#[tokio::test]
async fn a_store_without_sessions_is_copied_and_numbers_begin_at_one() {
    let home = Home::new(StoreKind::Postgres);
    let old = Old::with(&home, "").await;
    // The settings say where to, as they say it to the server.
    let printed = finish(home.command(&["copy", "--from", &old.url()]), "").await.done().unwrap();
    assert_eq!(printed, "copied 1 users, 0 sessions, 1 events\n");
    let server = home.serve().await;
    server.log_in(ALICE).await;
    assert_eq!(home.database.number("SELECT number FROM sessions").await, 1);
}

#[needs(postgres)]
#[tokio::test]
async fn every_table_is_copied_or_known_to_be_left_out() {
    let home = Home::new(StoreKind::Postgres);
    let old = Old::with(&home, "").await;
    let tables = old.database.rows("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1").await;
    let tables: Vec<_> = tables.into_iter().flatten().flatten().collect();
    let mut known = [&TABLES[..], &LEFT_OUT[..]].concat();
    known.sort_unstable();
    assert_eq!(tables, known);
}

#[needs(postgres)]
#[tokio::test]
async fn a_target_that_is_not_empty_is_refused_and_unchanged() {
    let home = Home::new(StoreKind::Postgres);
    let old = Old::with(&home, "").await;
    for sql in [
        "INSERT INTO users VALUES ('1', '', '', NULL, NULL, '', false, '', 0, NULL, 0, 0)",
        "INSERT INTO events (at, kind, actor) VALUES (1, '', '')",
        "INSERT INTO revocations VALUES (1, 1, '{}', '{}')",
        "INSERT INTO replicas VALUES ('23456789ABCDEFGHJ', 1, 1)",
    ] {
        home.run(&["migrate"]).await.done().unwrap();
        home.database.execute(sql).await;
        let before = home.database.contents().await;
        let refused = finish(copying(&home, &old), "").await.refused().unwrap();
        assert!(refused.contains("the target is not empty, and was left alone"), "{sql}: {refused}");
        assert_eq!(home.database.contents().await, before, "{sql}");
        home.database.execute("TRUNCATE users, sessions, events, revocations, replicas CASCADE").await;
    }
    home.database.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TABLE notes (text text)").await;
    let refused = finish(copying(&home, &old), "").await.refused().unwrap();
    assert!(refused.contains("tables of another program"), "{refused}");
    assert_eq!(home.database.tables().await, ["notes"]);
}

#[needs(postgres)]
#[tokio::test]
async fn a_finished_copy_may_be_started_again_until_it_is_used() {
    let home = Home::new(StoreKind::Postgres);
    let old = Old::with(&home, "").await;
    let printed = finish(copying(&home, &old), "").await.done().unwrap();
    let before = home.database.contents().await;
    assert_eq!(
        finish(copying(&home, &old), "").await.done().unwrap(),
        printed,
        "an attempt whose answer was lost gets it now"
    );
    assert_eq!(home.database.contents().await, before);
    home.add_user(BOB).await;
    let refused = finish(copying(&home, &old), "").await.refused().unwrap();
    assert!(refused.contains("the target is not empty"), "{refused}");
}

#[needs(postgres)]
#[tokio::test]
async fn a_source_that_is_no_source_is_refused_and_the_target_is_untouched() {
    let home = Home::new(StoreKind::Postgres);
    let refused = async |old: &Old, words: &str| {
        let refused = finish(copying(&home, old), "").await.refused().unwrap();
        assert!(refused.contains(words), "{words}: {refused}");
    };
    let old = Old::new();
    refused(&old, "test.db: No such file").await;
    assert!(!old.database.path().exists(), "and none is made");
    std::fs::write(old.database.path(), "").expect("written");
    refused(&old, "run `sessiond migrate` on it first").await;
    std::fs::write(old.database.path(), "no database at all, however long one reads on in it").expect("written");
    refused(&old, "file is not a database").await;

    let old = Old::new();
    finish(old.command(&home, &["migrate"]), "").await.done().unwrap();
    refused(&old, "holds no users: there is nothing to copy").await;
    old.add_alice(&home).await;
    let today = old.database.number("SELECT max(migration) FROM schema_compatibility").await;
    old.execute("UPDATE _sqlx_migrations SET version = -version").await;
    refused(&old, "run `sessiond migrate` on it first").await;
    old.execute(&format!(
        "UPDATE _sqlx_migrations SET version = -version; UPDATE schema_compatibility SET oldest = 99;
         UPDATE _sqlx_migrations SET version = 99 WHERE version = {today}"
    ))
    .await;
    refused(&old, "a newer sessiond has migrated the database to schema 99").await;
    old.execute(&format!(
        "UPDATE _sqlx_migrations SET version = {today} WHERE version = 99; UPDATE schema_compatibility SET oldest = 1"
    ))
    .await;

    let server = old.serve(&home).await;
    refused(&old, "is held by another running `sessiond serve`").await;
    assert!(home.database.is_untouched().await);
    server.stop().await;
    finish(copying(&home, &old), "").await.done().unwrap();
}

#[needs(postgres)]
#[tokio::test]
async fn any_other_way_is_refused_and_no_secret_is_repeated() {
    const SECRET: &str = "postgres://me:s3cret@127.0.0.1:1/x";
    let home = Home::new(StoreKind::Postgres);
    let old = Old::with(&home, "").await;
    let url = old.url();
    for (from, to, words) in [
        (
            SECRET,
            url.as_str(),
            "a copy leads from sqlite:// to postgres://, and not from postgres://(hidden) to sqlite",
        ),
        (&url, &url, "a copy leads from"),
        (SECRET, SECRET, "a copy leads from"),
        ("s3cret", SECRET, "not from (hidden) to postgres://(hidden)"),
        (&url, SECRET, "the store cannot be reached"),
        (&url, "postgres://me:s3cret@127.0.0.1:1/x?colour=1", "cannot be used"),
    ] {
        let refused = home.run(&["copy", "--from", from, "--to", to]).await.refused().unwrap();
        assert!(refused.contains(words) && !refused.contains("s3cret"), "{refused}");
    }
}

#[needs(postgres)]
#[tokio::test]
async fn no_process_opens_a_partial_copy_and_the_same_copy_goes_on_from_there() {
    let home = Home::new(StoreKind::Postgres);
    let (old, cure) = unfinished(&home).await;
    let part = home.database.contents().await;
    let serve = home.server();
    let others = [&["migrate"][..], &["user", "list"], &["session", "list", ALICE], &["replicas"]];
    for command in others.map(|arguments| home.command(arguments)).into_iter().chain([serve]) {
        let told = format!("{command:?}");
        let refused = finish(command, "").await.refused().unwrap();
        assert!(refused.contains(UNFINISHED), "{told}: {refused}");
    }
    let other = Old::with(&home, "").await;
    let refused = finish(copying(&home, &other), "").await.refused().unwrap();
    assert!(refused.contains("an unfinished copy of another store"), "{refused}");
    assert_eq!(home.database.contents().await, part);

    old.execute(cure).await;
    finish(copying(&home, &old), "").await.done().unwrap();
    assert_eq!(all(&home.database).await, old.all().await);
    home.serve().await.log_in(ALICE).await;
}

#[needs(postgres)]
#[tokio::test]
async fn a_copy_does_not_go_on_with_a_source_that_has_changed() {
    for change in ["login", "touch", "purge"] {
        let home = Home::new(StoreKind::Postgres);
        let (old, cure) = unfinished(&home).await;
        old.execute(cure).await;
        let session = "INSERT INTO sessions VALUES (NULL, '', zeroblob(32), (SELECT id FROM users), 1, 1, 1, 1, 0, '', '', '', NULL, NULL, NULL, NULL, 0)";
        match change {
            "login" => drop(old.serve(&home).await.log_in(ALICE).await),
            "touch" => old.execute(&format!("{session}; UPDATE sessions SET last_seen_at = 2")).await,
            _ => old.execute(session).await,
        }
        let refused = finish(copying(&home, &old), "").await.refused().unwrap();
        assert!(refused.contains("or of this one before it changed"), "{change}: {refused}");
    }
}

#[needs(postgres)]
#[tokio::test]
async fn a_target_that_was_changed_meanwhile_is_never_finished() {
    for change in [
        "INSERT INTO replicas VALUES ('23456789ABCDEFGHJ', 1, 1)",
        "INSERT INTO users VALUES ('1', '', '', NULL, NULL, '', false, '', 0, NULL, 0, 0)",
        "DELETE FROM users",
    ] {
        let home = Home::new(StoreKind::Postgres);
        let (old, cure) = unfinished(&home).await;
        old.execute(cure).await;
        home.database.execute(change).await;
        if change.starts_with("DELETE") {
            home.database.execute("INSERT INTO users VALUES ('~', '', '', NULL, NULL, '', false, '', 0, NULL, 0, 0), ('~~', '1', '1', NULL, NULL, '', false, '', 0, NULL, 0, 0)").await;
        }
        let refused = finish(copying(&home, &old), "").await.refused().unwrap();
        assert!(refused.contains("the target was changed or served from while it was filled"), "{change}: {refused}");
        assert!(home.run(&["migrate"]).await.refused().unwrap().contains(UNFINISHED));
    }
}

#[needs(postgres)]
#[tokio::test]
async fn while_one_copies_no_other_does_and_the_source_stays_as_it_is() {
    let home = Home::new(StoreKind::Postgres);
    let old = Old::with(&home, "").await;
    home.run(&["migrate"]).await.done().unwrap();
    let mut other = home.database.connect().await;
    other.execute(LOCK).await.expect("taken");
    let beside = async {
        let waiting =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'";
        until("it waits", async || home.database.number(waiting).await == 1).await;
        let served = finish(old.server(&home), "").await.refused().unwrap();
        assert!(served.contains("is held by another running `sessiond serve` or `sessiond copy`"), "{served}");
        let changed = finish(old.command(&home, &["user", "disable", ALICE]), "").await.refused().unwrap();
        assert!(changed.contains("did not answer in time"), "{changed}");
    };
    let (copied, ()) = tokio::join!(finish(copying(&home, &old), ""), beside);
    let refused = copied.refused().unwrap();
    assert!(refused.contains("another `sessiond copy` is at work on the target"), "{refused}");
    assert_eq!(home.database.number("SELECT count(*) FROM users").await, 0);
    other.execute("SELECT pg_advisory_unlock_all()").await.expect("let go");
    finish(old.command(&home, &["user", "disable", ALICE]), "").await.done().unwrap();
    finish(copying(&home, &old), "").await.done().unwrap();
}

#[needs(postgres)]
#[tokio::test]
async fn killed_at_any_moment_it_comes_to_the_same_end() {
    let (home, whole) = (Home::new(StoreKind::Postgres), Home::new(StoreKind::Postgres));
    let old = Old::large(&home, 50_000).await;
    home.run(&["migrate"]).await.done().unwrap();
    let there = async || {
        let rows =
            "SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM sessions) + (SELECT count(*) FROM events)";
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
    let printed = finish(copying(&home, &old), "").await.done().unwrap();
    assert_eq!(printed, finish(copying(&whole, &old), "").await.done().unwrap());
    assert_eq!(sums(&home.database).await, sums(&whole.database).await);
    home.serve().await.log_in(ALICE).await;
}

#[needs(initdb)]
#[tokio::test]
async fn a_hundred_thousand_sessions_are_copied_or_as_many_as_are_asked_for() {
    let asked = std::env::var("SESSIOND_TEST_COPIED_SESSIONS").ok().map(|number| number.parse().expect("a number"));
    let (home, sessions) = (Home::new(StoreKind::Postgres), asked.unwrap_or(100_000_u32));
    let old = Old::large(&home, sessions).await;
    // Others, whose patience is short, have another server.
    let cluster = Postgres::start(Options::with("max_wal_size = 2GB")).await.unwrap();
    let url = cluster.url("postgres");
    // It takes longer than other commands may.
    let copied = home.command(&["copy", "--from", &old.url(), "--to", &url]).output().await.expect("an end");
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    let some = sessions / 10 + 1;
    let expected = format!("copied {some} users, {sessions} sessions, {some} events\n");
    assert_eq!(String::from_utf8_lossy(&copied.stdout), expected);
    let whole = "SELECT count(*) FROM sessions WHERE user_agent = 'agent ' || number AND length(token_hash) = 32";
    assert_eq!(cluster.rows("postgres", whole).await.unwrap(), [[Some(sessions.to_string())]]);
    let mut server = home.server();
    server.env("SESSIOND_DATABASE_URL", url);
    Process::start(server).await.log_in(ALICE).await;
}

#[needs(postgres)]
#[tokio::test]
async fn what_an_import_that_was_killed_has_left_is_not_copied() {
    let home = Home::new(StoreKind::Postgres);
    let left = "INSERT INTO users (id, username, username_key, name, password_hash, created_at, updated_at, deleted_at)
                VALUES ('23456789ABCDEFGHJ', 'left', 'left', 'left', '!', 1, 1, -1);
                INSERT INTO second_factors VALUES ('23456789ABCDEFGHJ', x'00', 0, 1)";
    let old = Old::with(&home, left).await;
    let copied = finish(copying(&home, &old), "").await.done().unwrap();
    assert!(copied.starts_with("copied 1 users, "), "{copied}");
    let left = "SELECT (SELECT count(*) FROM users WHERE username = 'left') + (SELECT count(*) FROM second_factors)";
    assert_eq!(home.database.number(left).await, 0);
}
