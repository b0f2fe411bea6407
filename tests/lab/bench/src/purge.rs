//! Logouts while a million rows of long ago are deleted, and how far the write-ahead log of the embedded store grows.

use std::{path::Path, time::Duration};

use anyhow::{Result, ensure};
use sessiond_support::seed;

use crate::{
    load::Load,
    report::{self, MEBIBYTE, Report, Target, as_milliseconds},
    requests::{Each, Template},
    stage::{Stage, Store},
};

/// Sessions of long ago, and events.
const DEAD: usize = 500_000;
/// Logouts a second beside, and for how long. It takes minutes until everything is deleted.
const LOGOUTS: u32 = 500;
const LENGTH: Duration = Duration::from_secs(30);
/// How often the log is measured.
const EVERY: Duration = Duration::from_millis(100);

/// A server begins to purge when it starts.
pub async fn run(stage: &mut Stage, report: &mut Report) -> Result<()> {
    let size = LOGOUTS as usize * (LENGTH.as_secs() as usize + 1);
    let population = stage.population(size).await?;
    let quiet = {
        let server = stage.serve(&population).await?;
        let (each, _) = Each::of(Template::logout(), &population.tokens, 0..size / 2);
        let outcome = Load::new(server.address, &[200]).open(LOGOUTS, LENGTH / 3, each).await?;
        server.stop().await?;
        outcome
    };
    population.add_long_dead(DEAD).await?;
    let server = stage.serve(&population).await?;
    let (each, _) = Each::of(Template::logout(), &population.tokens, size / 2..size);
    let (file, mut highest) = (population.file(), 0);
    let logouts = tokio::select! {
        outcome = Load::new(server.address, &[200]).open(LOGOUTS, LENGTH / 2, each) => outcome?,
        never = highest_log(&file, &mut highest) => match never? {},
    };
    server.stop().await?;
    let left = seed::long_dead(&population.url).await?;
    let deleted = 2 * DEAD - left;
    ensure!(deleted > 0 && left > 0, "{deleted} rows were deleted beside the logouts, and {left} were left");
    let what = format!("logout, {LOGOUTS}/s while {} dead rows are deleted", report::number(2.0 * DEAD as f64));
    report.figure(
        &format!("{what}: p99"),
        as_milliseconds(logouts.quantile(0.99)),
        report::milliseconds,
        format!(
            "quiet {:.2} ms; {} rows deleted in {:.0} s",
            as_milliseconds(quiet.quantile(0.99)),
            report::number(deleted as f64),
            logouts.elapsed.as_secs_f64()
        ),
        Target::AtMost(50.0),
    );
    if stage.store == Store::Sqlite {
        report.figure(
            &format!("{what}: longest write-ahead log"),
            highest as f64 / MEBIBYTE,
            report::mebibytes,
            String::new(),
            Target::AtMost(64.0),
        );
    }
    Ok(())
}

/// Measures the write-ahead log beside a database, again and again.
async fn highest_log(file: &Path, highest: &mut u64) -> Result<std::convert::Infallible> {
    let log = file.with_extension("db-wal");
    loop {
        *highest = std::fs::metadata(&log).map_or(*highest, |log| log.len().max(*highest));
        tokio::time::sleep(EVERY).await;
    }
}
