//! Durable logouts, many at once and one at a time, against the disk's own commits.

use std::{sync::atomic::Ordering, time::Duration};

use anyhow::{Result, ensure};

use crate::{
    limits::{Commits, measure_commits},
    load::{CONNECTIONS, Load, Outcome},
    report::{self, Report, Spread, Target, as_milliseconds},
    requests::{Each, Template},
    server::Server,
    stage::{Population, Stage},
};

/// Sessions set aside for each second of a round; a round that ends them all ends early.
const TOGETHER: usize = 30_000;
const ALONE: usize = 5_000;

pub async fn run(stage: &mut Stage, report: &mut Report) -> Result<()> {
    let seconds = usize::try_from(stage.round.as_secs())?;
    let rounds = stage.rounds as usize + 1;
    let size = seconds * (rounds * (TOGETHER + ALONE) + TOGETHER);
    let population = stage.at_least(size).await?;
    let server = stage.serve(&population).await?;
    let mut sessions = Sessions { population: &population, server: &server, round: stage.round, next: 0, warmed: 0 };

    let mut triples = Vec::new();
    for turn in 0..=stage.rounds {
        let triple = Triple {
            commits: measure_commits(population.folder(), stage.round).await?,
            together: sessions.end(CONNECTIONS, seconds * TOGETHER, true).await?,
            alone: sessions.end(1, seconds * ALONE, true).await?,
        };
        if turn > 0 {
            triple.print(turn);
            triples.push(triple);
        }
    }
    let cold = sessions.end(CONNECTIONS, seconds * TOGETHER, false).await?;
    summarize(&triples, &cold, report)?;
    server.stop().await
}

/// Three rounds run back to back.
struct Triple {
    commits: Commits,
    together: Outcome,
    alone: Outcome,
}

impl Triple {
    fn throughput(&self) -> f64 {
        self.together.rate() / self.commits.rate
    }

    fn waiting(&self) -> f64 {
        self.alone.quantile(0.5).as_secs_f64() / self.commits.p50.as_secs_f64()
    }

    fn print(&self, turn: u32) {
        println!(
            "  round {turn}: commits {} p50 {:.3} ms; {CONNECTIONS} connections {} p99 {:.2} ms, ratio {:.2}; \
             one connection p50 {:.3} ms, ratio {:.2}",
            report::rate(self.commits.rate),
            as_milliseconds(self.commits.p50),
            report::rate(self.together.rate()),
            as_milliseconds(self.together.quantile(0.99)),
            self.throughput(),
            as_milliseconds(self.alone.quantile(0.5)),
            self.waiting()
        );
    }
}

fn summarize(triples: &[Triple], cold: &Outcome, report: &mut Report) -> Result<()> {
    let median = |of: fn(&Triple) -> f64| Spread::of(triples.iter().map(of)).median;
    report.ratio(
        &format!("logout, {CONNECTIONS} connections"),
        report::rate(median(|triple| triple.together.rate())),
        format!("commits one by one {}", report::rate(median(|triple| triple.commits.rate))),
        &Spread::of(triples.iter().map(Triple::throughput)),
        Target::AtLeast(5.0),
    );
    let mut every = Outcome::empty()?;
    for triple in triples {
        every.add(&triple.together)?;
    }
    report.figure(
        &format!("logout, {CONNECTIONS} connections: p99"),
        as_milliseconds(every.quantile(0.99)),
        report::milliseconds,
        format!("p50 {:.2} ms", as_milliseconds(every.quantile(0.5))),
        Target::AtMost(20.0),
    );
    report.ratio(
        "logout, one connection: p50",
        report::milliseconds(median(|triple| as_milliseconds(triple.alone.quantile(0.5)))),
        format!("one commit {:.2} ms", median(|triple| as_milliseconds(triple.commits.p50))),
        &Spread::of(triples.iter().map(Triple::waiting)),
        Target::AtMost(1.3),
    );
    report.figure(
        "logout, session not in memory",
        cold.rate(),
        report::rate,
        format!("p99 {:.2} ms", as_milliseconds(cold.quantile(0.99))),
        Target::None,
    );
    Ok(())
}

/// Live sessions, ended from the first to the last.
struct Sessions<'a> {
    population: &'a Population,
    server: &'a Server,
    round: Duration,
    next: usize,
    warmed: usize,
}

impl Sessions<'_> {
    /// Ends at most so many for the length of a round, each in memory beforehand, or none of them.
    async fn end(&mut self, connections: usize, at_most: usize, warm: bool) -> Result<Outcome> {
        let start = if warm { self.next } else { self.next.max(self.warmed) };
        let range = start..(start + at_most).min(self.population.tokens.len());
        ensure!(!range.is_empty(), "no sessions are left to end: take fewer rounds");
        if warm {
            self.population.warm(self.server, range.clone()).await?;
            self.warmed = self.warmed.max(range.end);
        }
        let (each, taken) = Each::of(Template::logout(), &self.population.tokens, range.clone());
        let outcome = Load::new(self.server.address, &[200]).over(connections).closed(self.round, each).await?;
        self.next = taken.load(Ordering::Relaxed).min(range.end);
        Ok(outcome)
    }
}
