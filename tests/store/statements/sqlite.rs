//! The statements of SQLite: the hot ones use an index, and few go through a table.

use sessiond_support::database::Connection;

use super::{assert_plans, migrated, planned, statements};
use crate::harness::{Database, StoreKind};

#[tokio::test]
async fn every_hot_statement_uses_an_index() {
    // Words of a statement, and the index by which it must find sessions or users.
    const HOT: [(&str, &str); 21] = [
        ("CROSS JOIN users AS u ON u.id = s.user_id", "SEARCH s USING INDEX sqlite_autoindex_sessions_2"),
        ("CROSS JOIN users AS u ON u.id = s.user_id", "SEARCH u USING PRIMARY KEY"),
        ("WITH part AS MATERIALIZED", "SEARCH sessions USING INTEGER PRIMARY KEY"),
        ("WITH part AS MATERIALIZED", "SEARCH u USING PRIMARY KEY"),
        ("WHERE token_hash = ?1 AND revoked_at IS NULL", "SEARCH sessions USING INDEX sqlite_autoindex_sessions_2"),
        ("FROM json_each(?1) AS wanted", "SEARCH s USING INDEX sqlite_autoindex_sessions_2"),
        ("SET revoked_at = ?3", "SEARCH sessions USING INTEGER PRIMARY KEY"),
        ("SET revoked_at = ?2", "SEARCH sessions USING INTEGER PRIMARY KEY"),
        ("SET revoked_at = ?4", "SEARCH sessions USING INDEX sessions_live"),
        ("sessions.token_hash = seen.token_hash", "SEARCH sessions USING INDEX sqlite_autoindex_sessions_2"),
        ("LEFT JOIN sessions AS s ON s.user_id = ?1", "SEARCH s USING INDEX sessions_live"),
        ("ORDER BY last_seen_at DESC, number DESC", "SEARCH sessions USING INDEX sessions_live"),
        ("SET archived = 1", "SEARCH sessions USING INDEX sessions_live"),
        ("WHERE id = ?1 AND (?2 IS NULL", "SEARCH sessions USING INDEX sqlite_autoindex_sessions_1"),
        ("DELETE FROM sessions", "SEARCH sessions USING COVERING INDEX sessions_expiry"),
        ("(username_key = ?1 OR email_key = ?2) AND deleted_at", "SEARCH users USING INDEX sqlite_autoindex_users_3"),
        ("SELECT 1 FROM users WHERE id = ?1", "SEARCH users USING PRIMARY KEY"),
        ("password_hash >= ?1", "SEARCH users USING COVERING INDEX users_foreign_hash"),
        ("SELECT coalesce(max(seq), 0) FROM revocations", "SEARCH revocations"),
        ("SELECT id FROM users WHERE deleted_at = -1", "USING COVERING INDEX users_unfinished"),
        (
            "FROM second_factors WHERE substr(secret, 1, 8) >",
            "SEARCH second_factors USING COVERING INDEX second_factors_key",
        ),
    ];
    let (_database, mut connection) = planner().await;
    assert_plans(StoreKind::Sqlite, &HOT, async |sql| plan(&mut connection, sql).await).await;
}

#[tokio::test]
async fn only_the_lists_of_everybody_and_the_counts_of_a_copy_scan_a_table() {
    // What an import runs on a connection that does not look after foreign keys, for which these would go through sessions.
    const UNCHECKED: [&str; 2] = ["FROM jsonb_each(?1)", "DELETE FROM users WHERE deleted_at = ?2"];
    let (_database, mut connection) = planner().await;
    for sql in statements(StoreKind::Sqlite) {
        let unchecked = sql.contains("users") && UNCHECKED.iter().any(|words| sql.contains(words));
        connection.execute(&format!("PRAGMA foreign_keys = {}", !unchecked)).await.expect("set");
        let everybody = [
            "FROM users WHERE deleted_at IS NULL ORDER BY username_key",
            "FROM users ORDER BY username_key",
            "EXISTS (SELECT 1 FROM users WHERE deleted_at IS NOT -1)",
            "count(*) FROM users",
        ];
        let everybody = everybody.iter().any(|words| sql.contains(words));
        let plan = plan(&mut connection, &sql).await;
        let scans = ["SCAN sessions", "SCAN s", "SCAN users", "SCAN u", "SCAN events", "SCAN second_factors"];
        let scanned = plan.lines().any(|line| {
            scans.iter().any(|scan| line == *scan || line.starts_with(&format!("{scan} ")))
                // These lead to few rows.
                && !["USING INDEX users_admins", "USING COVERING INDEX users_unfinished"].iter().any(|few| line.ends_with(few))
        });
        assert_eq!(scanned, everybody, "{sql}\n{plan}");
    }
}

/// A freshly migrated database, and a connection that explains query plans.
async fn planner() -> (Database, Connection) {
    let database = migrated(StoreKind::Sqlite).await;
    let connection = database.connect().await;
    (database, connection)
}

/// What SQLite would do, a line a step.
async fn plan(connection: &mut Connection, sql: &str) -> String {
    let mut plan = String::new();
    for statement in planned(sql) {
        // The values make no difference, so none are bound.
        let steps = connection.rows(&format!("EXPLAIN QUERY PLAN {statement}")).await;
        for step in steps.unwrap_or_else(|error| panic!("{error:#}: {sql}")) {
            plan += &(step[3].clone().expect("a detail") + "\n");
        }
    }
    plan
}
