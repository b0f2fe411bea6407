//! The yardsticks that are not HTTP: raw argon2id, and one durable commit after the other.
//!
//! Each is a hidden command, run as a child on the server's CPU, that prints its figures as JSON.

use std::{
    ffi::OsStr,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use hdrhistogram::Histogram;
use rusqlite::Connection;
use serde_json::json;

use crate::children;

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
pub fn commits(folder: &Path, length: Duration) -> Result<()> {
    const ROWS: u32 = 10_000;
    let connection = Connection::open(folder.join("commits.db"))?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         CREATE TABLE IF NOT EXISTS counters (id INTEGER PRIMARY KEY, count INTEGER NOT NULL);
         WITH RECURSIVE ids (id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM ids WHERE id < 9999)
         INSERT OR IGNORE INTO counters SELECT id, 0 FROM ids;",
    )?;
    let mut begin = connection.prepare("BEGIN IMMEDIATE")?;
    let mut update = connection.prepare("UPDATE counters SET count = count + 1 WHERE id = ?1")?;
    let mut commit = connection.prepare("COMMIT")?;
    let mut latency = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?;
    let start = Instant::now();
    let mut row = 0;
    while start.elapsed() < length {
        row = (row + 7_919) % ROWS;
        let began = Instant::now();
        begin.execute([])?;
        update.execute([row])?;
        commit.execute([])?;
        latency.saturating_record(began.elapsed().as_nanos() as u64);
    }
    let rate = latency.len() as f64 / start.elapsed().as_secs_f64();
    print(&json!({ "rate": rate, "p50_ns": latency.value_at_quantile(0.5) }))
}

fn print(figures: &serde_json::Value) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{figures}")?)
}

/// Hashes a second, measured now.
pub async fn measure_argon2(length: Duration) -> Result<f64> {
    let seconds = length.as_secs().to_string();
    let figures = children::measure(&["argon2", "--seconds", &seconds].map(OsStr::new)).await?;
    figures["rate"].as_f64().context("no rate")
}

/// What the disk does with one commit at a time.
pub struct Commits {
    pub rate: f64,
    pub p50: Duration,
}

/// Commits a second in this folder, measured now.
pub async fn measure_commits(folder: &Path, length: Duration) -> Result<Commits> {
    let seconds = length.as_secs().to_string();
    let arguments = [OsStr::new("commits"), folder.as_os_str(), OsStr::new("--seconds"), OsStr::new(&seconds)];
    let figures = children::measure(&arguments).await?;
    Ok(Commits {
        rate: figures["rate"].as_f64().context("no rate")?,
        p50: Duration::from_nanos(figures["p50_ns"].as_u64().context("no p50")?),
    })
}
