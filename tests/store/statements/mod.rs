//! The statements in the source of the stores, against the migrations: each of them prepares, and is no text put together.

use sessiond::store::connect::Role;
use sessiond_needs::on_both_stores;
use sessiond_support::database;
use sqlx::{AssertSqlSafe, Executor as _, SqlSafeStr as _};

use crate::harness::fresh::open;
use crate::harness::{Database, StoreKind};
use crate::source;

mod postgres;
mod sqlite;

/// What a statement that is planned begins with.
const PLANNED: [&str; 5] = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"];

/// Every literal in `src/store` that is run by a store: those in its own files, and those in files of both.
fn statements(store: StoreKind) -> Vec<String> {
    let files = source::files(&source::root().join("store"));
    let others = match store {
        StoreKind::Sqlite => "postgres",
        StoreKind::Postgres => "sqlite",
    };
    let theirs = |path: &str| path.split(['/', '.']).any(|part| part == others);
    let literals = files.iter().filter(|(path, _)| !theirs(path)).flat_map(|(_, text)| source::literals(text));
    let statements: Vec<_> = literals.filter(|(_, literal)| is_statement(literal)).collect();
    assert!(statements.len() > 25, "{} statements", statements.len());
    for (before, sql) in &statements {
        let put_together = before.ends_with("format!(") || before.ends_with("concat!(") || sql.contains('\\');
        assert!(!put_together, "put together, so not what is checked: {sql}");
    }
    statements.into_iter().map(|(_, sql)| sql).collect()
}

fn is_statement(literal: &str) -> bool {
    let rest = PLANNED.iter().chain(&["BEGIN"]).find_map(|verb| literal.trim_start().strip_prefix(verb));
    rest.is_some_and(|rest| rest.starts_with([' ', '\n', ';']))
}

/// The single statements of a text.
fn single(text: &str) -> Vec<&str> {
    let mut quoted = false;
    let statements = text.split(|c| {
        quoted ^= c == '\'';
        c == ';' && !quoted
    });
    statements.map(str::trim).filter(|statement| !statement.is_empty()).collect()
}

/// Those of them that there is a plan for.
fn planned(text: &str) -> Vec<&str> {
    single(text).into_iter().filter(|statement| PLANNED.iter().any(|verb| statement.starts_with(verb))).collect()
}

/// Fails unless each statement with these words uses the index beside them.
async fn assert_plans(store: StoreKind, hot: &[(&str, &str)], mut plan: impl AsyncFnMut(&str) -> String) {
    let all = statements(store);
    for (words, index) in hot {
        let found: Vec<_> = all.iter().filter(|sql| sql.contains(words)).collect();
        assert!(!found.is_empty(), "no statement says {words}");
        for sql in found {
            let plan = plan(sql).await;
            assert!(plan.contains(index), "{words}: {plan}");
        }
    }
}

/// A freshly migrated database.
async fn migrated(store: StoreKind) -> Database {
    let database = Database::new(store);
    open(&database, Role::Command).await.expect("a store").close().await;
    database
}

/// Prepares each text, all of its statements. Returns those that cannot be, and why.
async fn refused(database: &Database, texts: &[String]) -> Vec<String> {
    let mut refused = Vec::new();
    let url = database.url();
    match database.kind() {
        StoreKind::Sqlite => {
            let mut connection = database::sqlite(&url).await.expect("a connection");
            for text in texts {
                let prepared = connection.prepare(AssertSqlSafe(text.as_str()).into_sql_str()).await;
                refused.extend(prepared.err().map(|error| format!("{error}: {text}")));
            }
        }
        StoreKind::Postgres => {
            let mut connection = database::postgres(&url).await.expect("a connection");
            for text in texts {
                for statement in single(text) {
                    let prepared = connection.prepare(AssertSqlSafe(statement).into_sql_str()).await;
                    refused.extend(prepared.err().map(|error| format!("{error}: {text}")));
                }
            }
        }
    }
    refused
}

#[on_both_stores]
async fn every_statement_is_plain_text_and_prepares_against_the_migrations(store: StoreKind) {
    assert_eq!(refused(&migrated(store).await, &statements(store)).await, Vec::<String>::new());
}

#[on_both_stores]
async fn a_statement_with_a_wrong_column_is_noticed(store: StoreKind) {
    let database = migrated(store).await;
    let right = String::from("UPDATE sessions SET ip = $1 WHERE id = $2");
    let mut wrong = vec![right.replace("ip", "op"), String::from("SELECT no_such_column FROM users")];
    if store == StoreKind::Sqlite {
        // Wherever it stands in a text of several.
        wrong.push(format!("BEGIN IMMEDIATE; {right}; {}; COMMIT", wrong[0]));
    }
    assert_eq!(refused(&database, &[right]).await, Vec::<String>::new());
    assert_eq!(refused(&database, &wrong).await.len(), wrong.len());
}
