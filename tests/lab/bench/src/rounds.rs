//! Alternating rounds of two measurements, and their ratio.

use std::time::Duration;

use anyhow::Result;

use crate::{
    load::Measured,
    report::{self, Report, Spread, Target, as_milliseconds},
    stage::Stage,
};

/// How often two loads take turns within a round. A machine that is shared gets faster and slower from one second to the
/// next: what each has in a round is thus spread over all of it.
const TURNS: u32 = 8;

pub struct Pairs {
    /// The name of the other measurement.
    name: &'static str,
    /// The rounds of the other measurement, and those of the service.
    pairs: Vec<[Measured; 2]>,
}

/// Alternates two measurements, each of which is a round.
pub async fn alternate(
    stage: &Stage,
    name: &'static str,
    mut other: impl AsyncFnMut() -> Result<Measured>,
    mut server: impl AsyncFnMut() -> Result<Measured>,
) -> Result<Pairs> {
    pairs(stage, name, async || Ok([other().await?, server().await?])).await
}

/// Alternates two loads that can be as short as one likes, several times a round.
pub async fn interleave(
    stage: &Stage,
    name: &'static str,
    mut other: impl AsyncFnMut(Duration) -> Result<Measured>,
    mut server: impl AsyncFnMut(Duration) -> Result<Measured>,
) -> Result<Pairs> {
    let turn = turn(stage);
    pairs(stage, name, async || {
        let [mut others, mut servers] = [other(turn).await?, server(turn).await?];
        for _ in 1..TURNS {
            others.go_on(&other(turn).await?)?;
            servers.go_on(&server(turn).await?)?;
        }
        Ok([others, servers])
    })
    .await
}

/// How long one of two interleaved loads lasts until it is the other's turn.
pub fn turn(stage: &Stage) -> Duration {
    stage.round / TURNS
}

/// How many turns either of two interleaved loads has.
pub fn turns(stage: &Stage) -> usize {
    ((stage.rounds + 1) * TURNS) as usize
}

/// The first pair fills caches and is not counted.
async fn pairs(
    stage: &Stage,
    name: &'static str,
    mut pair: impl AsyncFnMut() -> Result<[Measured; 2]>,
) -> Result<Pairs> {
    let mut pairs = Vec::new();
    for round in 0..=stage.rounds {
        let pair = pair().await?;
        if round > 0 {
            let [other, server] = pair.each_ref().map(Measured::text);
            println!("  round {round}: {name} {other}, server {server}");
            pairs.push(pair);
        }
    }
    Ok(Pairs { name, pairs })
}

impl Pairs {
    /// Adds a row for the rate, and one for the CPU of each request.
    pub fn report(&self, report: &mut Report, what: &str, rate: Target, cpu: Target) {
        self.ratio(report, what, |measured| measured.outcome.rate(), report::rate, rate);
        let microseconds = |seconds: f64| format!("{:.2} us", 1e6 * seconds);
        self.ratio(report, &format!("{what}: CPU each"), Measured::cpu_per_answer, microseconds, cpu);
        let busy =
            |side: usize, of: fn(&Measured) -> f64| Spread::of(self.pairs.iter().map(|pair| of(&pair[side]))).median;
        let (busy, own) = (busy(0, Measured::busy), busy(0, Measured::own_busy));
        if own > busy {
            println!(
                "  note: {} had {:.0} % of its CPU and the load generator {:.0} %: it could do more, so trust the ratio of \
                 CPU times",
                self.name,
                100.0 * busy,
                100.0 * own
            );
        }
    }

    /// Adds rows for how long half of the requests took, and 99 of 100, which may have a limit of its own.
    pub fn report_latency(&self, report: &mut Report, what: &str, limit: Target) {
        let milliseconds = |quantile| move |measured: &Measured| as_milliseconds(measured.outcome.quantile(quantile));
        self.ratio(report, &format!("{what}: p50"), milliseconds(0.5), report::milliseconds, Target::None);
        self.ratio(report, &format!("{what}: p99"), milliseconds(0.99), report::milliseconds, Target::None);
        if !matches!(limit, Target::None) {
            let slowest = Spread::of(self.pairs.iter().map(|[_, server]| milliseconds(0.99)(server))).median;
            report.figure(&format!("{what}: p99 by itself"), slowest, report::milliseconds, String::new(), limit);
        }
    }

    fn ratio(
        &self,
        report: &mut Report,
        what: &str,
        of: impl Fn(&Measured) -> f64,
        show: impl Fn(f64) -> String,
        target: Target,
    ) {
        let [other, server] = self.medians(&of).map(show);
        let ratios = Spread::of(self.pairs.iter().map(|[other, server]| of(server) / of(other)));
        report.ratio(what, server, format!("{} {other}", self.name), &ratios, target);
    }

    /// The medians of a figure: of the other measurement, and of the service.
    pub fn medians(&self, of: impl Fn(&Measured) -> f64) -> [f64; 2] {
        [0, 1].map(|side| Spread::of(self.pairs.iter().map(|pair| of(&pair[side]))).median)
    }
}
