//! Resident memory, idle and per cached session, and how long a start takes.

use std::time::Duration;

use anyhow::Result;

use crate::{
    report::{self, MEBIBYTE, Report, Spread, Target, as_milliseconds},
    stage::{MILLION, Stage},
};

/// How long an idle server rests before it is measured.
const REST: Duration = Duration::from_secs(2);

/// Between these two counts of cached sessions the growth is measured.
const FEW: usize = 100_000;

/// Idle with hardly any sessions stored; then the slope from some in memory to a million.
pub async fn run(stage: &mut Stage, report: &mut Report) -> Result<()> {
    let population = stage.population(1_000).await?;
    let server = stage.serve(&population).await?;
    tokio::time::sleep(REST).await;
    let idle = server.resident()?;
    server.stop().await?;
    report.figure(
        "memory, idle",
        idle as f64 / MEBIBYTE,
        report::mebibytes,
        "after a restart".to_owned(),
        Target::AtMost(20.0),
    );

    let (few, many) = (with_cached(stage, FEW).await?, with_cached(stage, MILLION).await?);
    let slope = many.saturating_sub(few) as f64 / (MILLION - FEW) as f64;
    report.figure(
        "memory, each cached session",
        slope,
        |bytes| format!("{bytes:.0} bytes"),
        format!(
            "{:.0} MiB at {}, {:.0} MiB at {}",
            few as f64 / MEBIBYTE,
            report::number(FEW as f64),
            many as f64 / MEBIBYTE,
            report::number(MILLION as f64)
        ),
        Target::AtMost(300.0),
    );
    Ok(())
}

/// The resident memory of a server with so many sessions, all in its cache.
async fn with_cached(stage: &mut Stage, sessions: usize) -> Result<u64> {
    let population = stage.population(sessions).await?;
    let server = stage.serve(&population).await?;
    population.warm(&server, population.all()).await?;
    tokio::time::sleep(REST).await;
    let resident = server.resident()?;
    server.stop().await?;
    Ok(resident)
}

/// From spawning the process to the first 200 from `/readyz`; the file is in the page cache.
pub async fn start(stage: &mut Stage, report: &mut Report) -> Result<()> {
    const STARTS: usize = 7;
    let population = stage.population(MILLION).await?;
    let mut times = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        let server = stage.serve(&population).await?;
        times.push(as_milliseconds(server.ready_after));
        server.stop().await?;
    }
    let spread = Spread::of(times);
    report.figure(
        "start to ready, 1,000,000 stored",
        spread.median,
        report::milliseconds,
        format!("{:.0}-{:.0} ms in {STARTS} starts", spread.lowest, spread.highest),
        Target::AtMost(100.0),
    );
    Ok(())
}
