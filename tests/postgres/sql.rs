//! The statements in the source against the migrations: every one prepares, and the hot ones can use an index.

use sessiond::store::connect::Role;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::cluster::session;
use crate::database::Database;
use crate::fresh::open;
use crate::statements::statements;

/// A database as the migrations leave it, and a connection that plans without values, and scans a table only when there
/// is no other way.
async fn migrated() -> (Database, Client) {
    let database = Database::new();
    open(&database, Role::Command).await.expect("a store").close().await;
    let client = session(&database.url()).await.expect("connected");
    client.batch_execute("SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off").await.expect("set");
    (database, client)
}

/// What PostgreSQL would do, a line a step.
async fn plan(client: &Client, sql: &str) -> String {
    let params = client.prepare(sql).await.unwrap_or_else(|error| panic!("{error}: {sql}")).params().len();
    let nulls = vec!["NULL"; params].join(", ");
    let values = if params == 0 { String::new() } else { format!("({nulls})") };
    let explain = format!("PREPARE planned AS {sql}; EXPLAIN (COSTS OFF) EXECUTE planned{values}; DEALLOCATE planned");
    let answer = client.simple_query(&explain).await.unwrap_or_else(|error| panic!("{error:?}: {sql}"));
    let steps = answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    steps.map(str::trim).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn every_statement_is_plain_text_and_prepares_against_the_migrations() {
    let (_database, client) = migrated().await;
    for sql in statements("postgres") {
        client.prepare(&sql).await.unwrap_or_else(|error| panic!("{error:?}: {sql}"));
    }
}

#[tokio::test]
async fn every_hot_statement_can_use_an_index() {
    // What a statement says, and what its way to the sessions or users leads through.
    const HOT: [(&str, &str); 14] = [
        ("WHERE s.token_hash = $1", "Index Scan using sessions_token_hash_key on sessions"),
        ("WHERE s.token_hash = $1", "Index Scan using users_pkey on users"),
        ("token_hash = ANY ($1)", "sessions_token_hash_key"),
        ("WHERE (id = $1 OR token_hash = $2)", "Bitmap Index Scan on sessions_id_key"),
        ("WHERE (user_id = $1 AND NOT buried OR token_hash = $2)", "Bitmap Index Scan on sessions_live"),
        ("tombstones AS", "Index Scan using sessions_pkey on sessions"),
        ("tombstones AS", "Index Scan using coherence_pkey on coherence"),
        ("LEFT JOIN sessions AS s ON s.user_id = $1", "sessions_live"),
        ("ORDER BY last_seen_at DESC, number DESC OFFSET $3", "sessions_live"),
        ("SET buried = true", "sessions_live"),
        ("last_seen_at = greatest(s.last_seen_at", "Index Scan using sessions_token_hash_key on sessions"),
        ("DELETE FROM sessions", "Index Scan using sessions_expiry on sessions"),
        ("WHERE username_key = $1 OR email_key = $2", "Bitmap Index Scan on users_email_key_key"),
        ("FROM revocations WHERE seq > $1", "Index Scan using revocations_pkey on revocations"),
    ];
    let (_database, client) = migrated().await;
    let all = statements("postgres");
    for (words, index) in HOT {
        let found: Vec<_> = all.iter().filter(|sql| sql.contains(words)).collect();
        assert!(!found.is_empty(), "no statement says {words}");
        for sql in found {
            let plan = plan(&client, sql).await;
            assert!(plan.contains(index), "{words}: {plan}");
        }
    }
}

#[tokio::test]
async fn only_the_lists_of_everybody_scan_a_table() {
    let (_database, client) = migrated().await;
    for sql in statements("postgres") {
        let everybody = sql.contains("EXISTS (SELECT 1 FROM users)");
        let plan = plan(&client, &sql).await;
        let scans = ["Seq Scan on sessions", "Seq Scan on users", "Seq Scan on events", "Seq Scan on revocations"];
        assert_eq!(scans.iter().any(|scan| plan.contains(scan)), everybody, "{sql}\n{plan}");
    }
}
