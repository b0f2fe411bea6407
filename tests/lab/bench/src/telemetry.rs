//! What it costs to be looked at: scrapes of the metrics, and traces that nothing collects.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{
    load::{Load, charged},
    report::{self, Report, Spread, Target, as_milliseconds},
    requests::Checks,
    rounds::interleave,
    server::Server,
    stage::{MILLION, Stage},
};

/// Scrapes of which the slowest counts, and how many there are in a second beside checks.
const SCRAPES: usize = 100;
const SCRAPES_A_SECOND: u32 = 50;
/// A port on which nothing listens: `discard`, of which no system offers the service any more.
const NO_COLLECTOR: &str = "http://127.0.0.1:9";
/// Live sessions where their number does not matter.
const FEW: usize = 1_000;

pub async fn run(stage: &mut Stage, report: &mut Report) -> Result<()> {
    scrapes(stage, report).await?;
    traces(stage, report, "0", Target::AtLeast(0.97)).await?;
    traces(stage, report, "0.01", Target::None).await
}

/// With a million sessions in memory.
async fn scrapes(stage: &mut Stage, report: &mut Report) -> Result<()> {
    let population = stage.population(MILLION).await?;
    let server = stage.serve(&population).await?;
    population.warm(&server, population.all()).await?;
    let mut times = Vec::new();
    for _ in 0..SCRAPES {
        let began = Instant::now();
        server.metrics().await?;
        times.push(as_milliseconds(began.elapsed()));
    }
    let spread = Spread::of(times);
    let note = format!("the slowest of {SCRAPES}, median {:.2} ms", spread.median);
    report.figure(
        &format!("a scrape, {} sessions in memory", report::number(MILLION as f64)),
        spread.highest,
        report::milliseconds,
        note,
        Target::AtMost(10.0),
    );

    let checks = Checks::over(&population.tokens, population.all());
    let checked = async |length| charged(server.pid, Load::new(server.address, &[200]).closed(length, &checks)).await;
    let pairs = interleave(stage, "not scraped", checked, async |length| {
        tokio::select! {
            measured = checked(length) => measured,
            failed = scrape_for_ever(&server) => Err(failed),
        }
    })
    .await?;
    let what = format!("verify beside {SCRAPES_A_SECOND} scrapes/s");
    pairs.report(report, &what, Target::AtLeast(0.98), Target::None);
    server.stop().await
}

/// Ends when one fails.
async fn scrape_for_ever(server: &Server) -> anyhow::Error {
    let mut every = tokio::time::interval(Duration::from_secs(1) / SCRAPES_A_SECOND);
    loop {
        every.tick().await;
        if let Err(error) = server.metrics().await {
            return error;
        }
    }
}

/// Of two servers, each with sessions of its own, one traces.
async fn traces(stage: &mut Stage, report: &mut Report, share: &str, target: Target) -> Result<()> {
    let (without, with) = (stage.population(FEW).await?, stage.population(FEW).await?);
    let plain = stage.serve(&without).await?;
    let settings = [("SESSIOND_OTLP_ENDPOINT", NO_COLLECTOR), ("SESSIOND_TRACED_CHECKS", share)];
    let tracing = stage.serve_with(&with, &settings).await?;
    without.warm(&plain, without.all()).await?;
    with.warm(&tracing, with.all()).await?;
    let [of_plain, of_tracing] = [&without, &with].map(|population| Checks::over(&population.tokens, population.all()));
    let load = |server: &Server| Load::new(server.address, &[200]);
    let plainly = async |length| charged(plain.pid, load(&plain).closed(length, &of_plain)).await;
    let traced = async |length| charged(tracing.pid, load(&tracing).closed(length, &of_tracing)).await;
    let pairs = interleave(stage, "without traces", plainly, traced).await?;
    pairs.report(
        report,
        &format!("verify with traces, {share} of checks among them, and no collector"),
        target,
        Target::None,
    );
    plain.stop().await?;
    tracing.stop().await
}
