//! The statements in the source against the migrations: every one prepares, and the hot ones use an index.

use rusqlite::Connection;
use sessiond::store::connect::Role;

use crate::harness::fresh::open;
use crate::harness::{Database, StoreKind};
use crate::store::statements::statements;

/// A database as the migrations leave it.
async fn migrated() -> (Database, Connection) {
    let database = Database::new(StoreKind::Sqlite);
    open(&database, Role::Command).await.expect("a store").close().await;
    let connection = database.file().reader();
    (database, connection)
}

#[tokio::test]
async fn every_statement_is_plain_text_and_prepares_against_the_migrations() {
    let (_database, connection) = migrated().await;
    for sql in statements("sqlite") {
        connection.prepare(&sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
    }
}

#[tokio::test]
async fn every_hot_statement_uses_an_index() {
    // What a statement says, and the index that its way to the sessions or users leads through.
    const HOT: [(&str, &str); 14] = [
        ("WHERE s.token_hash = ?1", "SEARCH s USING INDEX sqlite_autoindex_sessions_2"),
        ("WHERE s.token_hash = ?1", "SEARCH u USING PRIMARY KEY"),
        ("WHERE token_hash = ?1 AND (?2 IS NULL", "SEARCH sessions USING INDEX sqlite_autoindex_sessions_2"),
        ("SET revoked_at = ?2", "SEARCH sessions USING INTEGER PRIMARY KEY"),
        ("WHERE token_hash = ?1 AND revoked_at IS NULL", "SEARCH sessions USING INDEX sqlite_autoindex_sessions_2"),
        ("LEFT JOIN sessions AS s ON s.user_id = ?1", "SEARCH s USING INDEX sessions_live"),
        ("ORDER BY last_seen_at DESC, number DESC", "SEARCH sessions USING INDEX sessions_live"),
        ("id IS NOT ?2", "SEARCH sessions USING INDEX sessions_live"),
        ("SET archived = 1", "SEARCH sessions USING INDEX sessions_live"),
        ("WHERE id = ?1 AND (?2 IS NULL", "SEARCH sessions USING INDEX sqlite_autoindex_sessions_1"),
        ("DELETE FROM sessions", "SEARCH sessions USING COVERING INDEX sessions_expiry"),
        ("WHERE username_key = ?1 OR email_key = ?2", "SEARCH users USING INDEX sqlite_autoindex_users_3"),
        ("SELECT 1 FROM users WHERE id = ?1", "SEARCH users USING PRIMARY KEY"),
        ("SELECT coalesce(max(seq), 0) FROM revocations", "SEARCH revocations"),
    ];
    let (_database, connection) = migrated().await;
    let all = statements("sqlite");
    for (words, index) in HOT {
        let found: Vec<_> = all.iter().filter(|sql| sql.contains(words)).collect();
        assert!(!found.is_empty(), "no statement says {words}");
        for sql in found {
            let plan = plan(&connection, sql);
            assert!(plan.contains(index), "{words}: {plan}");
        }
    }
}

#[tokio::test]
async fn only_the_lists_of_everybody_and_the_counts_of_a_copy_scan_a_table() {
    let (_database, connection) = migrated().await;
    for sql in statements("sqlite") {
        let everybody = ["FROM users ORDER BY username_key", "EXISTS (SELECT 1 FROM users)", "count(*) FROM users"];
        let everybody = everybody.iter().any(|words| sql.contains(words));
        let plan = plan(&connection, &sql);
        let scans = ["SCAN sessions", "SCAN s", "SCAN users", "SCAN u", "SCAN events"];
        let scanned =
            plan.lines().any(|line| scans.iter().any(|scan| line == *scan || line.starts_with(&format!("{scan} "))));
        assert_eq!(scanned, everybody, "{sql}\n{plan}");
    }
}

/// What SQLite would do, a line a step.
fn plan(connection: &Connection, sql: &str) -> String {
    let mut explained = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a statement");
    // The values make no difference, so none are bound.
    let steps = explained.raw_query().mapped(|step| Ok(step.get::<_, String>("detail")? + "\n"));
    steps.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{error}: {sql}"))
}
