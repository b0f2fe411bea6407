//! The first checks after a start, when no session is in memory yet.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::{
    hello::Hello,
    load::{CONNECTIONS, Load, Measured, Outcome, charged},
    report::{self, Report, Spread, Target, as_milliseconds},
    requests::{Checks, Each, Template},
    rounds::alternate,
    server::Server,
    stage::{MILLION, Population, Stage},
    verify::hello_like,
};

/// Sessions of which each is checked once.
const FEW: usize = 100_000;
/// How long all of these may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Checks at full load among a million sessions are measured over so long at a time, until so much of a hello is reached
/// once more, or for so long at most.
const SLICE: Duration = Duration::from_millis(500);
const BACK: f64 = 0.80;
const LONGEST: Duration = Duration::from_secs(60);
/// The usual load of a server, in checks a second.
const USUAL: u32 = 5_000;
/// Starts of which the median counts.
const STARTS: usize = 3;

/// The first check of each of 100,000 sessions, then a million until checks are as fast as ever, beside a usual load and at full
/// load.
pub async fn run(stage: &mut Stage, report: &mut Report) -> Result<()> {
    first_checks(stage, report).await?;
    let population = stage.population(MILLION).await?;
    let hello = hello_beside(stage, &population).await?;
    beside_usual_load(stage, &population, &hello, report).await?;
    until_back(stage, &population, &hello, report).await
}

async fn first_checks(stage: &mut Stage, report: &mut Report) -> Result<()> {
    let population = stage.population(FEW).await?;
    let hello = hello_beside(stage, &population).await?;
    let checks = Checks::over(&population.tokens, population.all());
    let other = async || charged(hello.pid, Load::new(hello.address, &[200]).closed(stage.round, &checks)).await;
    let pairs = alternate(stage, "hello", other, async || {
        let server = stage.serve(&population).await?;
        let measured = each_once(&server, &population).await?;
        server.stop().await?;
        Ok(measured)
    })
    .await?;
    let what = format!("verify, the first check of each of {} sessions after a start", report::number(FEW as f64));
    pairs.report(report, &what, Target::AtLeast(0.50), Target::None);
    pairs.report_latency(report, &what, Target::None);
    Ok(())
}

async fn each_once(server: &Server, population: &Population) -> Result<Measured> {
    let (each, _) = Each::of(Template::check(), &population.tokens, population.all());
    let measured = charged(server.pid, Load::new(server.address, &[200]).closed(PATIENCE, each)).await?;
    let answers = measured.outcome.answers();
    ensure!(answers == FEW as u64, "only {answers} sessions were checked within {PATIENCE:?}");
    Ok(measured)
}

/// A check of any of a million sessions, from a start on. The sessions that were checked before are in memory, as those are
/// that were read ahead.
async fn until_back(stage: &Stage, population: &Population, hello: &Hello, report: &mut Report) -> Result<()> {
    let checks = Checks::over(&population.tokens, population.all());
    let (mut times, mut lowest) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let usual = Load::new(hello.address, &[200]).closed(stage.round, &checks).await?.rate();
        let server = stage.serve(population).await?;
        let began = Instant::now();
        let mut ratios = Vec::new();
        let back = loop {
            let slice = Load::new(server.address, &[200]).over(CONNECTIONS).closed(SLICE, &checks).await?;
            let ratio = slice.rate() / usual;
            ratios.push(ratio);
            if ratio >= BACK {
                break began.elapsed();
            }
            if began.elapsed() > LONGEST {
                println!("  it was not reached");
                break LONGEST;
            }
        };
        let shown: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        println!("  of hello, every {SLICE:?}: {}", shown.join(" "));
        server.stop().await?;
        times.push(as_milliseconds(back));
        lowest.push(ratios.iter().copied().fold(f64::INFINITY, f64::min));
    }
    let (spread, lowest) = (Spread::of(times), Spread::of(lowest));
    report.figure(
        &format!("verify, back at {BACK:.2} of hello after a start, {} sessions", report::number(MILLION as f64)),
        spread.median,
        report::milliseconds,
        format!("{:.0}-{:.0} ms in {STARTS} starts; lowest {:.2}", spread.lowest, spread.highest, lowest.median),
        Target::AtMost(10_000.0),
    );
    Ok(())
}

/// How long it takes until a million sessions are in memory beside a usual load, how slow its checks are meanwhile, and how
/// checks at full load compare with a hello then.
async fn beside_usual_load(stage: &Stage, population: &Population, hello: &Hello, report: &mut Report) -> Result<()> {
    let checks = Checks::over(&population.tokens, population.all());
    let (mut times, mut slower, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let server = stage.serve(population).await?;
        let usual = async |length| Load::new(server.address, &[200]).open(USUAL, length, &checks).await;
        let began = Instant::now();
        let mut cold = Outcome::empty()?;
        while server.metrics().await?.one("sessiond_cached_sessions")? < MILLION as f64 {
            ensure!(began.elapsed() < LONGEST, "not every session is in memory after {LONGEST:?}");
            cold.add(&usual(SLICE).await?)?;
        }
        times.push(as_milliseconds(began.elapsed()));
        let warm = usual(began.elapsed()).await?;
        slower.push(as_milliseconds(cold.quantile(0.99)) / as_milliseconds(warm.quantile(0.99)));
        let full = async |address| Load::new(address, &[200]).closed(stage.round, &checks).await;
        ratios.push(full(server.address).await?.rate() / full(hello.address).await?.rate());
        println!("  p99 {:.2?}, and once all are in memory {:.2?}", cold.quantile(0.99), warm.quantile(0.99));
        server.stop().await?;
    }
    let what =
        |what: &str| format!("{} sessions in memory beside {USUAL} checks/s: {what}", report::number(MILLION as f64));
    let (times, slower) = (Spread::of(times), Spread::of(slower));
    let spread = format!("{:.0}-{:.0} ms in {STARTS} starts", times.lowest, times.highest);
    report.figure(&what("from the start"), times.median, report::milliseconds, spread, Target::AtMost(10_000.0));
    let (none, beside) = (String::from("-"), String::from("once they are"));
    report.ratio(&what("p99 meanwhile"), none.clone(), beside, &slower, Target::AtMost(1.2));
    report.ratio(
        &what("checks at full load then"),
        none,
        "hello".to_owned(),
        &Spread::of(ratios),
        Target::AtLeast(BACK),
    );
    Ok(())
}

/// A hello whose answers are as long as a check's.
async fn hello_beside(stage: &Stage, population: &Population) -> Result<Hello> {
    let server = stage.serve(population).await?;
    let hello = hello_like(&server, &population.tokens[0], 200).await?;
    server.stop().await?;
    Ok(hello)
}
