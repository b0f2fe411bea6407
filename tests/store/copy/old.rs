//! A store in a file, which is to be copied.

use sessiond_support::database;
use sqlx::sqlite::{SqliteColumn, SqliteRow, SqliteValueRef};
use sqlx::{AssertSqlSafe, Column as _, Connection as _, Decode, Row as _, Sqlite, TypeInfo as _, ValueRef as _};
use tokio::process::Command;

use super::TABLES;
use crate::harness::process::{Home, Process, finish};
use crate::harness::{ALICE, Database, PASSWORD, StoreKind};

pub type Rows = Vec<Vec<Option<String>>>;

/// A store in a file.
pub struct Old {
    pub database: Database,
}

impl Old {
    /// One that does not exist yet.
    pub fn new() -> Self {
        Self { database: Database::new(StoreKind::Sqlite) }
    }

    /// One with this in it, beside Alice, who has never logged in.
    pub async fn with(home: &Home, sql: &str) -> Self {
        let old = Self::new();
        old.add_alice(home).await;
        old.execute(sql).await;
        old
    }

    /// One with so many sessions, and a tenth of that many users and events.
    pub async fn large(home: &Home, sessions: u32) -> Self {
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

    pub fn url(&self) -> String {
        self.database.url()
    }

    /// Changes it.
    pub async fn execute(&self, sql: &str) {
        self.database.execute(sql).await;
    }

    /// A command on it.
    pub fn command(&self, home: &Home, arguments: &[&str]) -> Command {
        let mut command = home.command(arguments);
        command.env("SESSIOND_DATABASE_URL", self.url());
        command
    }

    pub async fn add_alice(&self, home: &Home) {
        finish(self.command(home, &["user", "add", ALICE, "--password-stdin"]), PASSWORD).await.done().unwrap();
    }

    /// A server on it.
    pub fn server(&self, home: &Home) -> Command {
        let mut command = home.server();
        command.env("SESSIOND_DATABASE_URL", self.url());
        command
    }

    pub async fn serve(&self, home: &Home) -> Process {
        Process::start(self.server(home)).await
    }

    /// What its tables hold, every value as PostgreSQL would write it.
    pub async fn all(&self) -> Vec<Rows> {
        let mut connection = database::sqlite(&self.url()).await.expect("a connection");
        let mut all = Vec::new();
        for table in TABLES {
            let sql = format!("SELECT * FROM {table} ORDER BY 1");
            let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut connection).await.expect("rows");
            all.push(rows.iter().map(texts).collect());
        }
        connection.close().await.expect("closed");
        all
    }
}

/// A row, every value as PostgreSQL would write it.
fn texts(row: &SqliteRow) -> Vec<Option<String>> {
    let value = |column: &SqliteColumn| {
        let value = row.try_get_raw(column.ordinal()).expect("a value");
        // Of a NULL the type is that of its column.
        if value.is_null() {
            return vec![None];
        }
        let kind = value.type_info().name().to_owned();
        column_texts(column.name(), &kind, value)
    };
    row.columns().iter().flat_map(value).collect()
}

/// What PostgreSQL writes for a column: one value, and three for what an entry of the log says.
fn column_texts(name: &str, kind: &str, value: SqliteValueRef<'_>) -> Vec<Option<String>> {
    let text = match kind {
        "INTEGER" => {
            let number = decoded::<i64>(value);
            let truth = ["admin", "must_change_password", "remembered", "archived"].contains(&name);
            if truth { ["f", "t"][usize::try_from(number).expect("0 or 1")].to_owned() } else { number.to_string() }
        }
        "TEXT" if name == "what" => {
            let what: serde_json::Value = serde_json::from_str(decoded::<&str>(value)).expect("JSON");
            let list = |key: &str, around: [&str; 2]| {
                let items = what[key].as_array().expect(key).iter().map(|item| item.as_str().expect("a text"));
                let items: Vec<_> = items.map(|item| around[0].to_owned() + item + around[1]).collect();
                Some(format!("{{{}}}", items.join(",")))
            };
            // What it asks of replicas, which only PostgreSQL does.
            let flush = Some(String::from("{}"));
            return vec![list("sessions", ["\"\\\\x", "\""]), list("users", ["", ""]), flush];
        }
        "TEXT" => decoded(value),
        "BLOB" => {
            let bytes = decoded::<&[u8]>(value);
            format!("\\x{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        }
        odd => panic!("no column holds {odd}"),
    };
    vec![Some(text)]
}

fn decoded<'r, T: Decode<'r, Sqlite>>(value: SqliteValueRef<'r>) -> T {
    T::decode(value).expect("a value of its kind")
}
