//! Durable logouts, many at once and one at a time, compared with what the store can do without the service.

use std::{sync::atomic::Ordering, time::Duration};

use anyhow::{Result, ensure};

use crate::{
    limits::{measure_batches, measure_commits, measure_updates},
    load::{CONNECTIONS, Load, Outcome},
    report::{self, Report, Spread, Target, as_milliseconds},
    requests::{Each, Template},
    server::Server,
    stage::{Population, Stage, Store},
};

/// Sessions set aside for each second of a round; a round that ends them all ends early.
const TOGETHER: usize = 30_000;
const SINGLE: usize = 5_000;

pub async fn run(stage: &mut Stage, report: &mut Report) -> Result<()> {
    let seconds = usize::try_from(stage.round.as_secs())?;
    let rounds = stage.rounds as usize + 1;
    let size = seconds * (rounds * (TOGETHER + SINGLE) + TOGETHER);
    let population = stage.at_least(size).await?;
    // The bare writer has a copy of the same rows.
    let bare = match stage.store {
        Store::Sqlite => Some(population.copy().await?),
        Store::Postgres => None,
    };
    let server = stage.serve(&population).await?;
    let mut sessions = Sessions { population: &population, server: &server, round: stage.round, next: 0, warmed: 0 };

    let mut triples = Vec::new();
    for turn in 0..=stage.rounds {
        let limit = match &bare {
            Some(bare) => {
                let p50 = measure_commits(bare.folder(), stage.round).await?;
                Limit { rate: measure_batches(&bare.file(), stage.round).await?, p50: Some(p50) }
            }
            None => Limit { rate: measure_updates(&*stage.cluster().await?, stage.round).await?, p50: None },
        };
        let triple = Triple {
            limit,
            together: sessions.end(CONNECTIONS, seconds * TOGETHER, true).await?,
            alone: sessions.end(1, seconds * SINGLE, true).await?,
        };
        if turn > 0 {
            triple.print(turn);
            triples.push(triple);
        }
    }
    let cold = sessions.end(CONNECTIONS, seconds * TOGETHER, false).await?;
    summarize(stage.store, &triples, &cold, report)?;
    server.stop().await
}

/// What the store can do without the service: batches as large as the load has connections, or updates of as many
/// clients; and how long one commit takes.
struct Limit {
    rate: f64,
    p50: Option<Duration>,
}

/// Three rounds run back to back.
struct Triple {
    limit: Limit,
    together: Outcome,
    alone: Outcome,
}

impl Triple {
    fn throughput(&self) -> f64 {
        self.together.rate() / self.limit.rate
    }

    fn waiting(&self) -> Option<f64> {
        self.limit.p50.map(|commit| self.alone.quantile(0.5).as_secs_f64() / commit.as_secs_f64())
    }

    fn print(&self, turn: u32) {
        println!(
            "  round {turn}: the store alone {}; {CONNECTIONS} connections {} p99 {:.2} ms, ratio {:.2}; \
             one connection p50 {:.3} ms{}",
            report::rate(self.limit.rate),
            report::rate(self.together.rate()),
            as_milliseconds(self.together.quantile(0.99)),
            self.throughput(),
            as_milliseconds(self.alone.quantile(0.5)),
            self.waiting().map(|ratio| format!(", ratio {ratio:.2}")).unwrap_or_default()
        );
    }
}

fn summarize(store: Store, triples: &[Triple], cold: &Outcome, report: &mut Report) -> Result<()> {
    let median = |of: fn(&Triple) -> f64| Spread::of(triples.iter().map(of)).median;
    let (limit, least) = match store {
        Store::Sqlite => ("sqlite writer, batches of 64", 0.8),
        Store::Postgres => ("pgbench, one row by key, 64 clients", 1.3),
    };
    report.ratio(
        &format!("logout, {CONNECTIONS} connections"),
        report::rate(median(|triple| triple.together.rate())),
        format!("{limit} {}", report::rate(median(|triple| triple.limit.rate))),
        &Spread::of(triples.iter().map(Triple::throughput)),
        Target::AtLeast(least),
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
        Target::AtMost(50.0),
    );
    let alone = median(|triple| as_milliseconds(triple.alone.quantile(0.5)));
    let commits: Vec<_> = triples.iter().filter_map(|triple| triple.limit.p50).map(as_milliseconds).collect();
    if commits.is_empty() {
        report.figure("logout, one connection: p50", alone, report::milliseconds, String::new(), Target::None);
    } else {
        report.ratio(
            "logout, one connection: p50",
            report::milliseconds(alone),
            format!("one commit {:.2} ms", Spread::of(commits).median),
            &Spread::of(triples.iter().filter_map(Triple::waiting)),
            Target::AtMost(2.0),
        );
    }
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
