//! Checks: of live sessions, beside revocations, and of tokens nobody has; each against a bare hello.

use std::time::Duration;

use anyhow::{Context, Result};
use sessiond_support::token::Token;

use crate::{
    hello::Hello,
    load::{Load, Measured, charged},
    report::{self, Report, Spread, Target},
    requests::{Checks, Each, MadeUp, Requests, Template},
    server::Server,
    stage::{MILLION, Stage},
};

/// Revocations a second beside the checks.
const REVOCATIONS: u32 = 1_000;

/// A token that nobody issued.
const MADE_UP: Token = [b'A'; 43];

/// Checks of live sessions, with few and with many of them, and beside a stream of logouts.
pub async fn known(stage: &mut Stage, report: &mut Report) -> Result<()> {
    for size in [1_000, MILLION] {
        let population = stage.population(size).await?;
        let server = stage.serve(&population).await?;
        population.warm(&server, population.all()).await?;
        let hello = hello_like(&server, &population.tokens[0], 200).await?;
        let checks = Checks::over(&population.tokens, population.all());
        let pairs = alternate(stage.rounds, stage.round, &hello, &checks, async || {
            let load = Load::new(server.address, &[200]).closed(stage.round, &checks);
            charged(server.pid, load).await
        })
        .await?;
        let what = format!("verify, {} live sessions", report::number(size as f64));
        pairs.report(report, &what, Target::AtLeast(0.80), Target::AtMost(1.25));
        server.stop().await?;
    }
    beside_revocations(stage, report).await
}

/// The sessions that end are others than the ones that are checked.
async fn beside_revocations(stage: &mut Stage, report: &mut Report) -> Result<()> {
    const CHECKED: usize = 1_000;
    let ended_a_round = REVOCATIONS as usize * (stage.round.as_secs() as usize + 1);
    let ended = ended_a_round * (stage.rounds as usize + 1);
    let population = stage.population(CHECKED + ended).await?;
    let server = stage.serve(&population).await?;
    population.warm(&server, population.all()).await?;
    let hello = hello_like(&server, &population.tokens[0], 200).await?;
    let checks = Checks::over(&population.tokens, 0..CHECKED);
    let mut next = CHECKED;
    let pairs = alternate(stage.rounds, stage.round, &hello, &checks, async || {
        let ending = next..next + ended_a_round;
        next = ending.end;
        let (each, _) = Each::of(Template::logout(), &population.tokens, ending);
        let load = async {
            let (checked, ended) = tokio::join!(
                Load::new(server.address, &[200]).closed(stage.round, &checks),
                Load::new(server.address, &[200]).open(REVOCATIONS, stage.round, each),
            );
            let ended = ended.context("the logouts")?;
            println!("  {} logouts, p99 {:.1?}", report::rate(ended.rate()), ended.quantile(0.99));
            checked
        };
        charged(server.pid, load).await
    })
    .await?;
    let what = format!("verify, {REVOCATIONS} revocations/s");
    pairs.report(report, &what, Target::AtLeast(0.70), Target::None);
    server.stop().await
}

/// Checks of tokens that were never issued, and of tokens whose session is long gone.
pub async fn unknown(stage: &mut Stage, report: &mut Report) -> Result<()> {
    const GONE: usize = 200_000;
    let population = stage.population(1_000).await?;
    let server = stage.serve(&population).await?;
    let hello = hello_like(&server, &MADE_UP, 401).await?;

    let pairs = alternate(stage.rounds, stage.round, &hello, MadeUp::new, async || {
        let load = Load::new(server.address, &[401]).closed(stage.round, MadeUp::new);
        charged(server.pid, load).await
    })
    .await?;
    pairs.report(report, "verify, never issued", Target::AtLeast(0.60), Target::None);

    let gone = Checks::over(&population.gone(GONE), 0..GONE);
    let pairs = alternate(stage.rounds, stage.round, &hello, &gone, async || {
        let load = Load::new(server.address, &[401]).closed(stage.round, &gone);
        charged(server.pid, load).await
    })
    .await?;
    pairs.report(report, "verify, purged long ago", Target::None, Target::None);
    server.stop().await
}

/// The hello against itself: how far from 1 the machine's noise alone takes a ratio.
pub async fn control(rounds: u32, round: Duration, report: &mut Report) -> Result<()> {
    let hello = Hello::start(600).await?;
    let pairs = alternate(rounds, round, &hello, MadeUp::new, async || {
        let load = Load::new(hello.address, &[200]).closed(round, MadeUp::new);
        charged(hello.pid, load).await
    })
    .await?;
    pairs.report(report, "hello against itself", Target::None, Target::None);
    Ok(())
}

/// A hello whose answers are as long as the server's to a check of this token.
async fn hello_like(server: &Server, token: &Token, status: u16) -> Result<Hello> {
    let bytes = server.answer_bytes(Template::check().with(token), status).await?;
    println!("  an answer is {bytes} bytes long");
    Hello::start(bytes).await
}

/// Rounds of the hello and of the server, each pair run back to back.
struct Pairs(Vec<Pair>);

struct Pair {
    hello: Measured,
    server: Measured,
}

/// Alternates the two, with the same requests; the first pair is not counted.
async fn alternate<R: Requests>(
    rounds: u32,
    round: Duration,
    hello: &Hello,
    requests: impl Fn(usize) -> R,
    mut server: impl AsyncFnMut() -> Result<Measured>,
) -> Result<Pairs> {
    let mut pairs = Vec::new();
    for turn in 0..=rounds {
        let load = Load::new(hello.address, &[200]).closed(round, &requests);
        let pair = Pair { hello: charged(hello.pid, load).await?, server: server().await? };
        if turn > 0 {
            pair.print(turn);
            pairs.push(pair);
        }
    }
    Ok(Pairs(pairs))
}

impl Pair {
    fn throughput(&self) -> f64 {
        self.server.outcome.rate() / self.hello.outcome.rate()
    }

    fn cpu(&self) -> f64 {
        self.server.cpu_per_answer() / self.hello.cpu_per_answer()
    }

    fn print(&self, turn: u32) {
        println!(
            "  round {turn}: hello {}, server {}, ratio {:.2}, CPU {:.2}",
            self.hello.text(),
            self.server.text(),
            self.throughput(),
            self.cpu()
        );
    }
}

impl Pairs {
    fn report(&self, report: &mut Report, what: &str, throughput: Target, cpu: Target) {
        let median = |of: fn(&Pair) -> f64| Spread::of(self.0.iter().map(of)).median;
        let p50 = median(|pair| report::as_milliseconds(pair.server.outcome.quantile(0.5)));
        let p99 = median(|pair| report::as_milliseconds(pair.server.outcome.quantile(0.99)));
        report.ratio(
            what,
            format!("{}, p50 {p50:.2} ms, p99 {p99:.2} ms", report::rate(median(|pair| pair.server.outcome.rate()))),
            format!("hello {}", report::rate(median(|pair| pair.hello.outcome.rate()))),
            &Spread::of(self.0.iter().map(Pair::throughput)),
            throughput,
        );
        report.ratio(
            &format!("{what}: CPU"),
            format!("{:.2} us each", 1e6 * median(|pair| pair.server.cpu_per_answer())),
            format!("hello {:.2} us", 1e6 * median(|pair| pair.hello.cpu_per_answer())),
            &Spread::of(self.0.iter().map(Pair::cpu)),
            cpu,
        );
        let (busy, own) = (median(|pair| pair.hello.busy()), median(|pair| pair.hello.own_busy()));
        if own > busy {
            println!(
                "  note: the hello had {:.0} % of its CPU and the load generator {:.0} %: \
                 the hello could do more, so trust the ratio of CPU times",
                100.0 * busy,
                100.0 * own
            );
        }
    }
}
