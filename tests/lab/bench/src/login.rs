//! Logins against raw argon2id, the memory that 1,000 at once take, and logins and checks beside one another.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, setpriority_process};

use crate::{
    cpu,
    limits::measure_argon2,
    load::{Load, Outcome},
    report::{self, MEBIBYTE, Report, Spread, Target, as_milliseconds},
    requests::{Checks, Prebuilt, login},
    server::{PASSWORD, Server},
    stage::{Stage, username},
};

/// Accounts that log in; many, so that none comes near its cap of sessions.
const ACCOUNTS: usize = 1_000;

/// Connections that keep the server's hashing busy without overfilling its queue.
const CONNECTIONS: usize = 4;

/// Checks a second, on schedule, and connections that log in without a pause.
const CHECKS: u32 = 500;
const FLOODING: usize = 32;

/// A round counts whole hashes of 13 ms each: below this length they are too few.
const SHORTEST_ROUND: Duration = Duration::from_secs(3);

/// The rate of logins, and what 1,000 of them at the same moment do to memory.
pub async fn run(stage: &mut Stage, report: &mut Report) -> Result<()> {
    rate(stage, report).await?;
    crowd(stage, report).await
}

/// The rate of logins against that of bare hashes.
pub async fn rate(stage: &mut Stage, report: &mut Report) -> Result<()> {
    let population = stage.population(ACCOUNTS).await?;
    let server = stage.serve(&population).await?;
    let round = stage.round.max(SHORTEST_ROUND);
    let logins = Prebuilt::endless(&requests());
    let mut rounds = Vec::new();
    for turn in 0..=stage.rounds {
        let raw = measure_argon2(round).await?;
        let outcome = Load::new(server.address, &[200]).over(CONNECTIONS).closed(round, &logins).await?;
        if turn > 0 {
            println!(
                "  round {turn}: argon2id {raw:.1}/s, logins {:.1}/s, p99 {:.0} ms, ratio {:.2}",
                outcome.rate(),
                as_milliseconds(outcome.quantile(0.99)),
                outcome.rate() / raw
            );
            rounds.push((raw, outcome.rate()));
        }
    }
    server.stop().await?;
    report.ratio(
        "login",
        format!("{:.1}/s", Spread::of(rounds.iter().map(|(_, logins)| *logins)).median),
        format!("argon2id {:.1}/s", Spread::of(rounds.iter().map(|(raw, _)| *raw)).median),
        &Spread::of(rounds.iter().map(|(raw, logins)| logins / raw)),
        Target::AtLeast(0.95),
    );
    Ok(())
}

/// A thousand logins at the same moment, on a server that has not hashed anything yet, beside checks on schedule.
async fn crowd(stage: &mut Stage, report: &mut Report) -> Result<()> {
    const LENGTH: Duration = Duration::from_secs(5);
    let population = stage.population(ACCOUNTS).await?;
    let server = stage.serve(&population).await?;
    population.warm(&server, population.all()).await?;
    let checks = Checks::over(&population.tokens, population.all());
    let before = server.resident()?;
    let at_once = async {
        tokio::time::sleep(LENGTH / 5).await;
        let requests = Prebuilt::once_each(&requests());
        Load::new(server.address, &[200, 503]).over(ACCOUNTS).closed(Duration::from_secs(30), requests).await
    };
    let (checked, outcome) =
        tokio::try_join!(Load::new(server.address, &[200]).open(CHECKS, LENGTH, &checks), at_once)?;
    let grown = server.highest_resident()?.saturating_sub(before);
    let workers = cpu::threads(server.pid, "password-")?;
    server.stop().await?;
    let what = format!("{} logins at once", report::number(ACCOUNTS as f64));
    report.figure(
        &format!("{what}: memory"),
        grown as f64 / MEBIBYTE,
        report::mebibytes,
        format!("{}; threads that hash: {workers}", outcome.counts()),
        Target::AtMost(64.0),
    );
    let refused = outcome.longest.get(&503).copied().context("the queue took all of them")?;
    report.figure(
        &format!("{what}: longest wait for a refusal"),
        as_milliseconds(refused),
        report::milliseconds,
        String::new(),
        Target::AtMost(50.0),
    );
    report.figure(
        &format!("{what}: p99 of {CHECKS} checks/s beside"),
        as_milliseconds(checked.quantile(0.99)),
        report::milliseconds,
        format!("longest {:.1} ms", as_milliseconds(checked.quantile(1.0))),
        Target::AtMost(10.0),
    );
    Ok(())
}

/// Checks on schedule, first alone, then beside 32 connections that log in without a pause.
pub async fn flood(stage: &mut Stage, report: &mut Report) -> Result<()> {
    let population = stage.population(ACCOUNTS).await?;
    let server = stage.serve(&population).await?;
    population.warm(&server, population.all()).await?;
    let length = stage.round * stage.rounds;
    let checks = Checks::over(&population.tokens, population.all());
    let on_schedule = Load::new(server.address, &[200]);

    let quiet = on_schedule.open(CHECKS, length, &checks).await?;
    let logins = Prebuilt::endless(&requests());
    let (beside, flood) = tokio::try_join!(
        on_schedule.open(CHECKS, length, &checks),
        Load::new(server.address, &[200, 503]).over(FLOODING).closed(length, logins),
    )?;
    server.stop().await?;
    println!("  the flood: {}", flood.counts());
    let p99 = |outcome: &Outcome| as_milliseconds(outcome.quantile(0.99));
    report.figure(
        &format!("verify p99, {CHECKS}/s beside a login flood"),
        p99(&beside),
        report::milliseconds,
        format!("quiet {:.2} ms; {}", p99(&quiet), flood.counts()),
        Target::AtMost(10.0),
    );
    Ok(())
}

/// How long a login takes beside checks at full load, which have the same core, against one alone.
pub async fn crowded(stage: &mut Stage, report: &mut Report) -> Result<()> {
    let Crowded { alone, beside, checks, .. } = measure_crowded(stage, None).await?;
    report.ratio(
        "login p50 beside checks at full load",
        report::milliseconds(beside),
        format!("alone {}; {} checks", report::milliseconds(alone), report::rate(checks)),
        &Spread::of([beside / alone]),
        Target::AtMost(3.0),
    );
    Ok(())
}

/// The same, and checks beside a flood of logins, with the password workers at each niceness that could be chosen.
pub async fn niceness(stage: &mut Stage, report: &mut Report) -> Result<()> {
    for niceness in [19, 10, 5, 2, 0] {
        let Crowded { alone, beside, checks, flooded } = measure_crowded(stage, Some(niceness)).await?;
        report.figure(
            &format!("niceness {niceness}: login p50 beside checks at full load"),
            beside,
            report::milliseconds,
            format!("alone {}; {} checks", report::milliseconds(alone), report::rate(checks)),
            Target::AtMost(3.0 * alone),
        );
        report.figure(
            &format!("niceness {niceness}: verify p99, {CHECKS}/s beside a login flood"),
            flooded,
            report::milliseconds,
            String::new(),
            Target::AtMost(10.0),
        );
    }
    Ok(())
}

/// Milliseconds, and checks a second.
struct Crowded {
    /// A login on a server that does nothing else, half of them faster.
    alone: f64,
    /// The same while checks are asked for as fast as they are answered.
    beside: f64,
    /// How many of these there were.
    checks: f64,
    /// A check on schedule beside a flood of logins, 99 of 100 faster.
    flooded: f64,
}

async fn measure_crowded(stage: &mut Stage, niceness: Option<i32>) -> Result<Crowded> {
    let population = stage.population(ACCOUNTS).await?;
    let server = stage.serve(&population).await?;
    population.warm(&server, population.all()).await?;
    if let Some(niceness) = niceness {
        renice(&server, niceness)?;
    }
    let length = (stage.round * stage.rounds).max(SHORTEST_ROUND);
    let logins = Prebuilt::endless(&requests());
    let one_by_one = Load::new(server.address, &[200]).over(1);
    let alone = one_by_one.closed(length, &logins).await?;
    let checks = Checks::over(&population.tokens, population.all());
    let load = Load::new(server.address, &[200]);
    let (beside, full) = tokio::try_join!(one_by_one.closed(length, &logins), load.closed(length, &checks))?;
    let (flooded, _) = tokio::try_join!(
        load.open(CHECKS, length, &checks),
        Load::new(server.address, &[200, 503]).over(FLOODING).closed(length, &logins),
    )?;
    server.stop().await?;
    let p50 = |outcome: &Outcome| as_milliseconds(outcome.quantile(0.5));
    let flooded = as_milliseconds(flooded.quantile(0.99));
    Ok(Crowded { alone: p50(&alone), beside: p50(&beside), checks: full.rate(), flooded })
}

/// Gives the server's password workers another niceness than their own; only root may set a lower one.
fn renice(server: &Server, niceness: i32) -> Result<()> {
    let mut workers = 0;
    for thread in std::fs::read_dir(format!("/proc/{}/task", server.pid.as_raw_nonzero()))? {
        let thread = thread?;
        if std::fs::read_to_string(thread.path().join("comm"))?.starts_with("password-") {
            let id = thread.file_name().to_str().and_then(|id| id.parse().ok()).and_then(Pid::from_raw);
            setpriority_process(Some(id.context("a thread's id")?), niceness).context("setting a niceness")?;
            workers += 1;
        }
    }
    ensure!(workers > 0, "the server has no password workers");
    Ok(())
}

pub fn requests() -> Arc<[Vec<u8>]> {
    (0..ACCOUNTS).map(|number| login(&username(number), PASSWORD)).collect()
}
