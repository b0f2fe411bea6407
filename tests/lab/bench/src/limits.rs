//! The yardsticks that are not HTTP: raw argon2id, one durable commit after the other, a bare writer of batches, pgbench.
//!
//! Those that need this program's own code are hidden commands, run as processes on the server's CPU, that print their
//! figures as JSON.

use std::{
    ffi::OsStr,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use sessiond_support::{
    database,
    postgres::Postgres,
    process::{command_on, finish},
    random::Random,
    sqlx::{self, Executor as _, SqliteConnection},
};

use crate::{cpu, load::CONNECTIONS};

/// Hashes a second of one thread that reuses one block of memory, at the server's parameters.
pub fn argon2(length: Duration) -> Result<()> {
    let params = Params::new(19_456, 2, 1, Some(32)).map_err(|error| anyhow!("argon2: {error}"))?;
    let mut memory = vec![Block::new(); params.block_count()];
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut hash = || {
        let mut out = [0; 32];
        hasher
            .hash_password_into_with_memory(b"bench-password", b"sixteen bytes ok", &mut out, &mut memory)
            .map_err(|error| anyhow!("argon2: {error}"))
    };
    hash()?;
    let start = Instant::now();
    let mut hashes = 0_u32;
    while start.elapsed() < length {
        hash()?;
        hashes += 1;
    }
    print(&json!({ "rate": f64::from(hashes) / start.elapsed().as_secs_f64() }))
}

/// One row updated by its key in each transaction, as durable as the server's own.
pub async fn commits(folder: &Path, length: Duration) -> Result<()> {
    const ROWS: i64 = 10_000;
    const TABLE: &str = "
        CREATE TABLE IF NOT EXISTS counters (id INTEGER PRIMARY KEY, count INTEGER NOT NULL);
        WITH RECURSIVE ids (id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM ids WHERE id < 9999)
        INSERT OR IGNORE INTO counters SELECT id, 0 FROM ids";
    let mut connection = durable(&folder.join("commits.db")).await?;
    connection.execute(sqlx::raw_sql(TABLE)).await?;
    let mut latency = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?;
    let start = Instant::now();
    let mut row = 0;
    while start.elapsed() < length {
        row = (row + 7_919) % ROWS;
        let began = Instant::now();
        // Outside of a transaction a statement is a transaction of its own.
        sqlx::query("UPDATE counters SET count = count + 1 WHERE id = ?1").bind(row).execute(&mut connection).await?;
        latency.saturating_record(began.elapsed().as_nanos() as u64);
    }
    print(&json!({ "p50_ns": latency.value_at_quantile(0.5) }))
}

/// The least that must be written for a batch of logouts: a row of a session, anywhere in the table, and an event for
/// each, and one entry of the revocation log. `?1` is a JSON array of the rows' numbers, `?2` the time.
const BATCH: &str = "
    BEGIN IMMEDIATE;
    UPDATE sessions SET revoked_at = ?2, revoked_by = user_id, revoked_why = 'logout', revoked_seq = ?3
    WHERE number IN (SELECT value FROM json_each(?1));
    INSERT INTO events (at, kind, user_id, session_id, actor, ip)
    SELECT ?2, 'logout', s.user_id, s.id, s.user_id, '127.0.0.1'
    FROM json_each(?1) AS wanted CROSS JOIN sessions AS s ON s.number = wanted.value;
    INSERT INTO revocations (seq, at, what) VALUES (?3, ?2, ?4);
    COMMIT";
/// How often the log is written back beside the writer, as the server does it.
const CHECKPOINTS: Duration = Duration::from_millis(25);

/// Batches of logouts written to a store by nothing but `SQLite`, as large as the load has connections.
pub async fn batches(file: &Path, length: Duration) -> Result<()> {
    let mut writer = durable(file).await?;
    writer.execute("PRAGMA wal_autocheckpoint = 4096").await?;
    writer.execute("PRAGMA cache_size = -16384").await?;
    let numbers = sqlx::query_scalar("SELECT number FROM sessions WHERE revoked_at IS NULL ORDER BY number");
    let mut numbers: Vec<i64> = numbers.fetch_all(&mut writer).await?;
    Random::new().shuffle(&mut numbers);
    let newest = sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM revocations");
    let mut seq: i64 = newest.fetch_one(&mut writer).await?;
    // As long as what the log says of so many sessions.
    let entry = json!({ "sessions": vec!["0".repeat(64); CONNECTIONS], "users": [] }).to_string();

    let mut beside = durable(file).await?;
    let checkpoints = tokio::spawn(async move {
        loop {
            tokio::time::sleep(CHECKPOINTS).await;
            // One that fails is made up for by the next.
            let _ = beside.execute("PRAGMA wal_checkpoint(PASSIVE)").await;
        }
    });
    let mut ended = 0;
    let start = Instant::now();
    for batch in numbers.chunks(CONNECTIONS) {
        if start.elapsed() >= length {
            break;
        }
        seq += 1;
        let write = sqlx::query(BATCH).bind(Value::from(batch).to_string()).bind(1_i64).bind(seq).bind(&entry);
        write.execute(&mut writer).await?;
        ended += batch.len();
    }
    let rate = ended as f64 / start.elapsed().as_secs_f64();
    let cpu = cpu::time(rustix::process::getpid())?.as_secs_f64() / ended as f64;
    checkpoints.abort();
    print(&json!({ "rate": rate, "cpu_s": cpu }))
}

/// A connection that waits for the disk with each commit.
async fn durable(file: &Path) -> Result<SqliteConnection> {
    let mut connection = database::sqlite(&format!("sqlite://{}?mode=rwc", file.display())).await?;
    connection.execute("PRAGMA journal_mode = WAL").await?;
    connection.execute("PRAGMA synchronous = FULL").await?;
    Ok(connection)
}

fn print(figures: &Value) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{figures}")?)
}

/// Runs one of the hidden commands above on the server's CPU.
async fn measure(command: &str, path: Option<&Path>, length: Duration) -> Result<Value> {
    let mut measuring = command_on(cpu::SERVER, std::env::current_exe()?);
    measuring
        .arg(command)
        .args(path.map(Path::as_os_str))
        .args(["--seconds", &length.as_secs().to_string()].map(OsStr::new));
    let figures = finish(measuring, "").await?.done()?;
    serde_json::from_str(&figures).with_context(|| format!("the figures of {command}"))
}

fn rate(figures: &Value) -> Result<f64> {
    figures["rate"].as_f64().context("no rate")
}

/// Hashes a second, measured now.
pub async fn measure_argon2(length: Duration) -> Result<f64> {
    rate(&measure("argon2", None, length).await?)
}

/// How long one commit in this folder takes in the middle of many, measured now.
pub async fn measure_commits(folder: &Path, length: Duration) -> Result<Duration> {
    let figures = measure("commits", Some(folder), length).await?;
    Ok(Duration::from_nanos(figures["p50_ns"].as_u64().context("no p50")?))
}

/// Logouts a second that a bare writer does in this store, measured now.
pub async fn measure_batches(file: &Path, length: Duration) -> Result<f64> {
    rate(&measure("batches", Some(file), length).await?)
}

/// How many rows a second pgbench updates by their key, each in a transaction of its own, measured now.
pub async fn measure_updates(postgres: &Postgres, length: Duration) -> Result<f64> {
    const DATABASE: &str = "counters";
    const TABLE: &str = "
        CREATE TABLE counters (id bigint PRIMARY KEY, count bigint NOT NULL) WITH (fillfactor = 80);
        INSERT INTO counters SELECT id, 0 FROM generate_series(1, 100000) AS id";
    if postgres.create(DATABASE).await.is_ok() {
        database::execute(&postgres.url(DATABASE), TABLE).await?;
        database::execute(&postgres.url(DATABASE), "VACUUM ANALYZE counters").await?;
    }
    let script = postgres.folder().join("update.sql");
    std::fs::write(&script, "\\set id random(1, 100000)\nUPDATE counters SET count = count + 1 WHERE id = :id;\n")?;
    let mut pgbench = postgres.program("pgbench");
    let (clients, port, seconds) = (CONNECTIONS.to_string(), postgres.port().to_string(), length.as_secs().to_string());
    pgbench.args(["-n", "-M", "prepared", "-j", "2", "-h", "127.0.0.1", "-U", "sessiond", "-c", &clients]);
    pgbench.args(["-p", &port, "-T", &seconds, "-f"]).arg(script).arg(DATABASE);
    let output = finish(pgbench.into(), "").await?.done()?;
    let rate = output.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    rate.with_context(|| format!("pgbench: {output}"))
}
