//! The statements of PostgreSQL: the hot ones can use an index, and few go through a table.

use sessiond_needs::needs;
use sessiond_support::database;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Either, Executor as _, Row as _, SqlSafeStr as _, Statement as _};

use super::{assert_plans, migrated, planned, statements};
use crate::harness::{Database, StoreKind};

/// So many rows that a full scan would never be planned.
const MANY: &str = "
INSERT INTO users (id, username, username_key, email, email_key, name, password_hash, created_at, updated_at)
    SELECT n, n, n, n, n, n, '', n, n FROM generate_series(1, 1000) AS n;
INSERT INTO sessions (id, token_hash, user_id, created_at, last_seen_at, idle_expires_at, expires_at, remembered, ip, user_agent, host)
    SELECT n, sha256(n::text::bytea), n % 1000 + 1, n, n, n, n, false, '', '', '' FROM generate_series(1, 20000) AS n;
INSERT INTO events (at, kind, actor) SELECT n, '', '' FROM generate_series(1, 20000) AS n;
INSERT INTO revocations (seq, at, sessions, users) SELECT n, n, '{}', '{}' FROM generate_series(1, 20000) AS n;
ANALYZE;
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;";

/// A freshly migrated database with many rows, and a connection that makes generic plans, and scans a table only where
/// there is no other plan.
async fn planner() -> (Database, PgConnection) {
    let database = migrated(StoreKind::Postgres).await;
    let mut connection = database::postgres(&database.url()).await.expect("a connection");
    sqlx::raw_sql(MANY).execute(&mut connection).await.expect("made");
    (database, connection)
}

/// What PostgreSQL would do, a line a step.
async fn plan(connection: &mut PgConnection, sql: &str) -> String {
    let mut plan = Vec::new();
    for statement in planned(sql) {
        let prepared = connection.prepare(AssertSqlSafe(statement).into_sql_str()).await;
        let prepared = prepared.unwrap_or_else(|error| panic!("{error}: {sql}"));
        let parameters = match prepared.parameters() {
            Some(Either::Left(types)) => types.len(),
            Some(Either::Right(count)) => count,
            None => 0,
        };
        let nulls = vec!["NULL"; parameters].join(", ");
        let values = if parameters == 0 { String::new() } else { format!("({nulls})") };
        let explain =
            format!("PREPARE planned AS {statement}; EXPLAIN (COSTS OFF) EXECUTE planned{values}; DEALLOCATE planned");
        let steps = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut *connection).await;
        for step in steps.unwrap_or_else(|error| panic!("{error}: {sql}")) {
            plan.push(step.get_unchecked::<String, _>(0).trim().to_owned());
        }
    }
    plan.join("\n")
}

#[needs(postgres)]
#[tokio::test]
async fn every_hot_statement_can_use_an_index() {
    // Words of a statement, and the index by which it must find sessions or users.
    const HOT: [(&str, &str); 18] = [
        ("WHERE s.token_hash = ANY ($1)", "Bitmap Index Scan on sessions_token_hash_key"),
        ("WHERE s.token_hash = ANY ($1)", "Index Scan using users_pkey on users"),
        ("WITH part AS MATERIALIZED", "Index Scan Backward using sessions_pkey on sessions"),
        ("WITH part AS MATERIALIZED", "Index Scan using users_pkey on users"),
        ("WITH ORDINALITY AS w (token_hash", "Index Scan using sessions_token_hash_key on sessions"),
        ("token_hash = ANY ($1)", "sessions_token_hash_key"),
        ("WHERE (id = $1 AND", "Bitmap Index Scan on sessions_id_key"),
        ("WHERE (user_id = $1 AND NOT archived OR token_hash = $2)", "Bitmap Index Scan on sessions_live"),
        ("tombstones AS", "Index Scan using sessions_pkey on sessions"),
        ("LEFT JOIN sessions AS s ON s.user_id = $1", "sessions_live"),
        ("ORDER BY last_seen_at DESC, number DESC", "sessions_live"),
        ("SET archived = true", "sessions_live"),
        ("last_seen_at = greatest(s.last_seen_at", "Index Scan using sessions_token_hash_key on sessions"),
        ("DELETE FROM sessions", "Index Scan using sessions_expiry on sessions"),
        ("WHERE username_key = $1 OR email_key = $2", "Bitmap Index Scan on users_email_key_key"),
        ("password_hash ~>=~ $1", "users_foreign_hash on users"),
        ("FROM revocations WHERE seq > $1", "Index Scan using revocations_pkey on revocations"),
        ("FROM second_factors WHERE substr(secret, 1, 8) >", "using second_factors_key on second_factors"),
    ];
    let (_database, mut connection) = planner().await;
    assert_plans(StoreKind::Postgres, &HOT, async |sql| plan(&mut connection, sql).await).await;
}

#[needs(postgres)]
#[tokio::test]
async fn only_the_lists_of_everybody_go_through_a_whole_table() {
    let (_database, mut connection) = planner().await;
    // A copy counts what is there.
    for sql in statements(StoreKind::Postgres).into_iter().filter(|sql| !sql.contains("count(*)")) {
        let everybody = sql.contains("FROM users WHERE deleted_at IS NULL ORDER BY username_key")
            || sql.contains("EXISTS (SELECT 1 FROM users)");
        let plan = plan(&mut connection, &sql).await;
        assert_eq!(goes_through_a_whole_table(&plan), everybody, "{sql}\n{plan}");
    }
}

/// Whether a large table is read from one end to the other, in its own order or an index's.
fn goes_through_a_whole_table(plan: &str) -> bool {
    let steps: Vec<_> = plan.lines().collect();
    let large = |step: &str| {
        ["sessions", "users", "events", "revocations"]
            .iter()
            .any(|table| step.ends_with(&format!(" on {table}")) || step.contains(&format!(" on {table} ")))
    };
    steps.iter().enumerate().any(|(at, step)| {
        let narrowed = steps.get(at + 1).is_some_and(|next| next.starts_with("Index Cond: "));
        // The index of administrators leads to few rows.
        large(step)
            && !step.contains(" using users_admins ")
            && (step.contains("Seq Scan on ") || step.contains(" using ") && !narrowed)
    })
}

#[needs(postgres)]
#[tokio::test]
async fn a_statement_without_an_index_is_noticed() {
    let (_database, mut connection) = planner().await;
    for (sql, expected) in [
        ("SELECT id FROM sessions WHERE host = $1", true),
        ("DELETE FROM events WHERE detail = $1", true),
        ("SELECT s.id FROM sessions AS s ORDER BY number DESC LIMIT 1 OFFSET $1", true),
        ("SELECT id FROM sessions WHERE id = $1", false),
        ("SELECT id FROM sessions WHERE id = $1 AND host = $2", false),
    ] {
        let plan = plan(&mut connection, sql).await;
        assert_eq!(goes_through_a_whole_table(&plan), expected, "{plan}");
    }
}
