//! Three servers on one PostgreSQL: how long a logout takes until all of them have applied it, beside checks.

use std::net::SocketAddr;

use anyhow::Result;
use futures_util::future::try_join_all;

use crate::{
    load::{Load, Outcome},
    report::{self, Report, Target, as_milliseconds},
    requests::{Checks, Each, Template},
    stage::{Stage, Store},
};

/// How many servers there have to be.
const REPLICAS: u32 = 3;
/// A second's logouts and checks over all of them.
const LOGOUTS: u32 = 200;
const CHECKS: u32 = 5_000;
/// Sessions that are checked all the time.
const CHECKED: usize = 1_000;

pub async fn run(stage: &mut Stage, report: &mut Report) -> Result<()> {
    let Both { logouts, checks } = measure(stage, REPLICAS).await?;
    let what = format!("logout, {REPLICAS} replicas, {LOGOUTS}/s beside {CHECKS} checks/s");
    report.figure(
        &format!("{what}: p99"),
        as_milliseconds(logouts.quantile(0.99)),
        report::milliseconds,
        format!(
            "p50 {:.2} ms; checks p50 {:.2} ms, p99 {:.2} ms",
            as_milliseconds(logouts.quantile(0.5)),
            as_milliseconds(checks.quantile(0.5)),
            as_milliseconds(checks.quantile(0.99))
        ),
        Target::AtMost(20.0),
    );
    Ok(())
}

/// What came of logouts, and of the checks beside them.
struct Both {
    logouts: Outcome,
    checks: Outcome,
}

/// How long logouts take on so many servers: half of them less than the first time, in milliseconds, and 99 of 100 less than the
/// second.
pub async fn latency(stage: &mut Stage, replicas: u32) -> Result<[f64; 2]> {
    let Both { logouts, checks: _ } = measure(stage, replicas).await?;
    Ok([0.5, 0.99].map(|quantile| as_milliseconds(logouts.quantile(quantile))))
}

async fn measure(stage: &mut Stage, replicas: u32) -> Result<Both> {
    stage.change_to(Store::Postgres);
    let length = stage.round;
    let seconds = stage.round.as_secs() as usize + 1;
    let share = (LOGOUTS / replicas + 1) as usize * seconds;
    let population = stage.population(CHECKED + share * replicas as usize * (stage.rounds as usize + 1)).await?;
    let mut servers = Vec::new();
    for _ in 0..replicas {
        let server = stage.serve(&population).await?;
        population.warm(&server, population.all()).await?;
        servers.push(server);
    }
    let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
    let (mut logouts, mut checks) = (Outcome::empty()?, Outcome::empty()?);
    let mut next = CHECKED;
    // Round 0 opens connections.
    for turn in 0..=stage.rounds {
        let mut both = Vec::new();
        for address in &addresses {
            let (each, _) = Each::of(Template::logout(), &population.tokens, next..next + share);
            next += share;
            let checked = Checks::over(&population.tokens, 0..CHECKED);
            both.push(async move {
                tokio::try_join!(
                    Load::new(*address, &[200]).over(16).open(LOGOUTS / replicas, length, each),
                    Load::new(*address, &[200]).over(16).open(CHECKS / replicas, length, checked),
                )
            });
        }
        let mut round = Outcome::empty()?;
        for (ended, checked) in try_join_all(both).await? {
            round.add(&ended)?;
            if turn > 0 {
                checks.add(&checked)?;
            }
        }
        if turn == 0 {
            continue;
        }
        println!(
            "  round {turn}: {} logouts on {replicas} servers, p50 {:.2} ms, p99 {:.2} ms",
            round.answers(),
            as_milliseconds(round.quantile(0.5)),
            as_milliseconds(round.quantile(0.99))
        );
        logouts.add(&round)?;
    }
    for server in servers {
        server.stop().await?;
    }
    Ok(Both { logouts, checks })
}
