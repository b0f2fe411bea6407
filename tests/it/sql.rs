//! The recorded statements against the migrations: every one prepares, and the hot ones use an index.

use sessiond::config::DatabaseUrl;
use sessiond::domain::entropy::SystemEntropy;
use sessiond::store::connect::{Role, connect};
use sqlx::{AssertSqlSafe, Column as _, Executor as _, Row as _, SqlSafeStr as _, SqliteConnection, Statement as _};

use crate::process::{Home, reader};

/// A statement as the build recorded it, and the columns it was recorded with.
struct Recorded {
    sql: String,
    columns: Vec<String>,
}

fn recorded() -> Vec<Recorded> {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.sqlx")).expect("a folder");
    let read = |file: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("text");
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let columns = json["describe"]["columns"].as_array().expect("columns");
        Recorded {
            sql: json["query"].as_str().expect("a query").to_owned(),
            columns: columns.iter().map(|column| column["name"].as_str().expect("a name").to_owned()).collect(),
        }
    };
    folder.map(read).collect()
}

/// The statements of the one transaction that is a text of its own.
fn logout() -> Vec<Recorded> {
    let text = include_str!("../../src/store/sqlite/logout.sql");
    let text: String = text.lines().filter(|line| !line.starts_with("--")).map(|line| format!("{line}\n")).collect();
    let statements = text.split(';').map(str::trim).filter(|sql| !matches!(*sql, "BEGIN IMMEDIATE" | "COMMIT" | ""));
    statements.map(|sql| Recorded { sql: sql.to_owned(), columns: Vec::new() }).collect()
}

/// A database as the migrations leave it.
async fn migrated() -> (Home, SqliteConnection) {
    let home = Home::new();
    let url = DatabaseUrl::new(format!("sqlite://{}", home.database().display()));
    connect(&url, Role::Command, &SystemEntropy).await.expect("a store").close().await;
    let connection = reader(&home.database()).await;
    (home, connection)
}

#[tokio::test]
async fn every_recorded_statement_prepares_against_the_migrations() {
    let (_home, mut connection) = migrated().await;
    let all = recorded();
    assert!(all.len() > 20, "{} statements", all.len());
    for Recorded { sql, columns } in all {
        let prepared = connection.prepare(AssertSqlSafe(sql.clone()).into_sql_str()).await;
        let prepared = prepared.unwrap_or_else(|error| panic!("{error}: {sql}"));
        let names: Vec<_> = prepared.columns().iter().map(|column| column.name().to_owned()).collect();
        assert_eq!(names, columns, "{sql}");
    }
}

#[tokio::test]
async fn every_hot_statement_uses_an_index() {
    // What a statement says, and the index that its way to the sessions or users leads through.
    const HOT: [(&str, &str); 13] = [
        (
            "INSERT INTO events (at, kind, user_id, session_id, actor, ip)",
            "SEARCH s USING INDEX sqlite_autoindex_sessions_2",
        ),
        ("AS ended", "SEARCH s USING INDEX sqlite_autoindex_sessions_2"),
        ("HAVING count(*) > 0", "SEARCH s USING INDEX sqlite_autoindex_sessions_2"),
        ("WHERE s.token_hash = ?1", "SEARCH s USING INDEX sqlite_autoindex_sessions_2"),
        ("WHERE s.token_hash = ?1", "SEARCH u USING PRIMARY KEY"),
        ("revoked_why = 'logout'", "SEARCH sessions USING INDEX sqlite_autoindex_sessions_2"),
        ("last_seen_at = max(last_seen_at", "SEARCH sessions USING INDEX sqlite_autoindex_sessions_2"),
        ("LEFT JOIN sessions AS s ON s.user_id = ?1", "SEARCH s USING INDEX sessions_live"),
        ("LIMIT -1 OFFSET ?6", "SEARCH sessions USING INDEX sessions_live"),
        ("id IS NOT ?6", "SEARCH sessions USING INDEX sessions_live"),
        ("DELETE FROM sessions", "SEARCH sessions USING COVERING INDEX sessions_expiry"),
        ("WHERE username_key = ?1 OR email_key = ?2", "SEARCH users USING INDEX sqlite_autoindex_users_3"),
        ("SELECT auth_epoch, disabled_at FROM users", "SEARCH users USING PRIMARY KEY"),
    ];
    let (_home, mut connection) = migrated().await;
    let all: Vec<_> = recorded().into_iter().chain(logout()).collect();
    assert_eq!(logout().len(), 4, "statements between BEGIN and COMMIT");
    for (words, index) in HOT {
        let found: Vec<_> = all.iter().filter(|recorded| recorded.sql.contains(words)).collect();
        assert!(!found.is_empty(), "no recorded statement says {words}");
        for Recorded { sql, .. } in found {
            let plan = plan(&mut connection, sql).await;
            assert!(plan.contains(index), "{words}: {plan}");
        }
    }
}

#[tokio::test]
async fn only_the_lists_of_everybody_scan_a_table() {
    let (_home, mut connection) = migrated().await;
    for Recorded { sql, .. } in recorded().into_iter().chain(logout()) {
        let everybody =
            sql.contains("FROM users ORDER BY username_key") || sql.contains("EXISTS (SELECT 1 FROM users)");
        let plan = plan(&mut connection, &sql).await;
        let scans = ["SCAN sessions", "SCAN s", "SCAN users", "SCAN u", "SCAN events"];
        let scanned =
            plan.lines().any(|line| scans.iter().any(|scan| line == *scan || line.starts_with(&format!("{scan} "))));
        assert_eq!(scanned, everybody, "{sql}\n{plan}");
    }
}

/// What SQLite would do, a line a step.
async fn plan(connection: &mut SqliteConnection, sql: &str) -> String {
    let steps = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"))).fetch_all(connection).await;
    let steps = steps.unwrap_or_else(|error| panic!("{error}: {sql}"));
    steps.iter().map(|step| step.get::<String, _>("detail") + "\n").collect()
}
