//! Checks: of live sessions, beside revocations, and of tokens that no client has; each against a bare hello.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sessiond_support::token::Token;

use crate::{
    hello::Hello,
    load::{Load, Measured, Outcome, charged},
    report::{self, Report, Target, as_milliseconds},
    requests::{Checks, Each, MadeUp, Requests, Template},
    rounds::{Pairs, interleave, turn, turns},
    server::Server,
    stage::{MILLION, Stage},
};

/// Revocations a second beside the checks.
const REVOCATIONS: u32 = 1_000;

/// A token that was never issued.
const MADE_UP: Token = [b'A'; 43];

/// Checks of live sessions, with few and with many of them, and beside a stream of logouts.
pub async fn known(stage: &mut Stage, report: &mut Report) -> Result<()> {
    for size in [1_000, MILLION] {
        let pairs = of_live(stage, size).await?;
        let what = format!("verify, {} live sessions", report::number(size as f64));
        pairs.report(report, &what, Target::AtLeast(0.80), Target::AtMost(1.25));
    }
    beside_revocations(stage, report).await
}

/// Checks of all of so many live sessions, beside a hello.
async fn of_live(stage: &mut Stage, size: usize) -> Result<Pairs> {
    let population = stage.population(size).await?;
    let server = stage.serve(&population).await?;
    population.warm(&server, population.all()).await?;
    let hello = hello_like(&server, &population.tokens[0], 200).await?;
    let checks = Checks::over(&population.tokens, population.all());
    let pairs = beside_hello(stage, &hello, &checks, async |length| {
        let load = Load::new(server.address, &[200]).closed(length, &checks);
        charged(server.pid, load).await
    })
    .await?;
    server.stop().await?;
    Ok(pairs)
}

/// The rates of a hello and of checks among so many live sessions, a second, and the milliseconds that 99 of 100 of either take.
pub async fn among(stage: &mut Stage, size: usize) -> Result<[[f64; 2]; 2]> {
    let pairs = of_live(stage, size).await?;
    let p99 = |measured: &Measured| as_milliseconds(measured.outcome.quantile(0.99));
    Ok([pairs.medians(|measured| measured.outcome.rate()), pairs.medians(p99)])
}

/// The sessions that are ended are not the ones that are checked.
async fn beside_revocations(stage: &mut Stage, report: &mut Report) -> Result<()> {
    const CHECKED: usize = 1_000;
    // Twice as many as are due, so that none are missing in the end.
    let ended_a_turn = (turn(stage) * REVOCATIONS * 2).as_secs() as usize;
    let population = stage.population(CHECKED + ended_a_turn * turns(stage)).await?;
    let server = stage.serve(&population).await?;
    population.warm(&server, population.all()).await?;
    let hello = hello_like(&server, &population.tokens[0], 200).await?;
    let checks = Checks::over(&population.tokens, 0..CHECKED);
    let (mut next, mut logouts) = (CHECKED, Outcome::empty()?);
    let pairs = beside_hello(stage, &hello, &checks, async |length| {
        let ending = next..next + ended_a_turn;
        next = ending.end;
        let (each, _) = Each::of(Template::logout(), &population.tokens, ending);
        let load = async {
            let (checked, ended) = tokio::join!(
                Load::new(server.address, &[200]).closed(length, &checks),
                Load::new(server.address, &[200]).open(REVOCATIONS, length, each),
            );
            let ended = ended.context("the logouts")?;
            ensure!(!ended.exhausted, "there were too few sessions to end");
            logouts.add(&ended)?;
            checked
        };
        charged(server.pid, load).await
    })
    .await?;
    println!("  {} logouts, p99 {:.1?}", report::number(logouts.answers() as f64), logouts.quantile(0.99));
    let what = format!("verify, {REVOCATIONS} revocations/s");
    pairs.report(report, &what, Target::AtLeast(0.70), Target::None);
    server.stop().await
}

/// Checks of tokens that were never issued, and of tokens whose session was purged long ago.
pub async fn unknown(stage: &mut Stage, report: &mut Report) -> Result<()> {
    const EXPIRED: usize = 200_000;
    let population = stage.population(1_000).await?;
    let server = stage.serve(&population).await?;
    let hello = hello_like(&server, &MADE_UP, 401).await?;

    let pairs = beside_hello(stage, &hello, MadeUp::new, async |length| {
        let load = Load::new(server.address, &[401]).closed(length, MadeUp::new);
        charged(server.pid, load).await
    })
    .await?;
    pairs.report(report, "verify, never issued", Target::AtLeast(0.60), Target::None);

    let gone = Checks::over(&population.gone(EXPIRED), 0..EXPIRED);
    let pairs = beside_hello(stage, &hello, &gone, async |length| {
        let load = Load::new(server.address, &[401]).closed(length, &gone);
        charged(server.pid, load).await
    })
    .await?;
    pairs.report(report, "verify, purged long ago", Target::None, Target::None);
    server.stop().await
}

/// The hello compared with itself, which shows how far noise of the machine moves a ratio from 1.
pub async fn control(stage: &Stage, report: &mut Report) -> Result<()> {
    let hello = Hello::start(600).await?;
    let pairs = beside_hello(stage, &hello, MadeUp::new, async |length| {
        let load = Load::new(hello.address, &[200]).closed(length, MadeUp::new);
        charged(hello.pid, load).await
    })
    .await?;
    pairs.report(report, "hello against itself", Target::None, Target::None);
    Ok(())
}

/// A hello whose answers are as long as the server's to a check of this token.
pub async fn hello_like(server: &Server, token: &Token, status: u16) -> Result<Hello> {
    let bytes = server.answer_bytes(Template::check().with(token), status).await?;
    println!("  an answer is {bytes} bytes long");
    Hello::start(bytes).await
}

/// Interleaves a hello and the server, with the same requests.
async fn beside_hello<R: Requests>(
    stage: &Stage,
    hello: &Hello,
    requests: impl Fn(usize) -> R,
    server: impl AsyncFnMut(Duration) -> Result<Measured>,
) -> Result<Pairs> {
    let other = async |length| charged(hello.pid, Load::new(hello.address, &[200]).closed(length, &requests)).await;
    interleave(stage, "hello", other, server).await
}
