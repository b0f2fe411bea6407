//! The load benchmark of the whole server: reads the command line, runs the benchmarks, prints the table.
//!
//! The server runs as a child on CPU 0 with its database on the real disk; the load comes from this
//! process on CPU 1. PostgreSQL, where it is the store, may use both. Whatever is a ratio is taken within one run, in alternating rounds.

mod bulk;
mod cold;
mod compare;
mod cost;
mod cpu;
mod database_cost;
mod forward_auth;
mod hello;
mod limits;
mod load;
mod login;
mod logout;
mod memory;
mod plot;
mod purge;
mod refusals;
mod replicas;
mod report;
mod requests;
mod rounds;
mod server;
mod stage;
mod table;
mod telemetry;
mod throttle;
mod verify;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum as _};
use sessiond_support::{exit, interrupt::until_interrupted, sessiond};

use crate::{
    compare::Comparison,
    report::Report,
    stage::{Stage, Store},
};

/// Measures sessiond against the figures it has to reach.
#[derive(Parser)]
#[command(name = "sessiond-bench")]
struct Cli {
    #[command(subcommand)]
    what: What,
    /// Length of one round
    #[arg(long, global = true, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=30))]
    seconds: u64,
    /// How many pairs of rounds make one ratio
    #[arg(long, global = true, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
    /// The server's release binary [default: `sessiond` beside this program]
    #[arg(long, global = true)]
    server: Option<PathBuf>,
    /// The store that it keeps its sessions in
    #[arg(long, global = true, value_enum, default_value_t = Store::Sqlite)]
    store: Store,
}

#[derive(Subcommand)]
enum What {
    #[command(flatten)]
    Benchmark(Benchmark),
    #[command(flatten)]
    Yardstick(Yardstick),
}

#[derive(Subcommand)]
enum Benchmark {
    /// Checks per second against a bare hello, at 1,000 and 1,000,000 live sessions
    Verify,
    /// The first check of each session after a start, and how long a start slows checks down
    Cold,
    /// Checks of tokens that were never issued
    Unknown,
    /// Pages through proxies that ask sessiond about each, against proxies that ask a bare hello
    ForwardAuth,
    /// Durable logouts against what the store does by itself
    Logout,
    /// Logins against raw argon2id, and what 1,000 at once do to memory and to checks
    Login,
    /// Honest logins beside a siege, refusals a second, and what their time tells of a name
    Throttle,
    /// Logouts while a million rows of long ago are deleted
    Purge,
    /// 100,000 sessions ended by one filter, beside checks
    Bulk,
    /// Check latency while a flood of logins goes on
    Flood,
    /// Login latency while checks are asked for at full load
    Crowded,
    /// Both, with the password workers at each niceness that could be chosen (as root)
    Niceness,
    /// How far refused logins of users of different kinds are apart in time
    Refusals,
    /// Resident memory, idle and per cached session
    Memory,
    /// Time from spawn to ready with 1,000,000 sessions stored
    Start,
    /// CPU of the most expensive request that the limits allow
    Cost,
    /// What requests cost PostgreSQL, in CPU and in log
    DatabaseCost,
    /// Scrapes of the metrics and traces, beside checks
    Telemetry,
    /// Logouts on three replicas of one PostgreSQL, beside checks
    Replicas,
    /// What the README shows, on both stores
    Table {
        /// A folder to draw plots in
        #[arg(long)]
        plots: Option<PathBuf>,
    },
    /// Everything, and the whole table
    All,
    /// The binary of another commit against this one: the same rounds in turn, on copies of the same sessions
    Compare {
        /// The other one
        #[arg(long)]
        before: PathBuf,
        /// What to compare [default: everything]
        #[arg(long, value_enum, value_delimiter = ',')]
        stages: Vec<Comparison>,
    },
    /// The hello against itself: what the machine's noise does to a ratio
    Control,
}

/// What runs in a process of its own, on the server's CPU.
#[derive(Subcommand)]
enum Yardstick {
    #[command(hide = true)]
    Hello { answer_bytes: usize },
    #[command(hide = true)]
    Argon2,
    #[command(hide = true)]
    Commits { folder: PathBuf },
    #[command(hide = true)]
    Batches { file: PathBuf },
}

fn main() -> ExitCode {
    exit::after(dispatch(Cli::parse()))
}

fn dispatch(cli: Cli) -> Result<()> {
    let round = Duration::from_secs(cli.seconds);
    match cli.what {
        What::Yardstick(Yardstick::Hello { answer_bytes }) => hello::serve(answer_bytes),
        What::Yardstick(Yardstick::Argon2) => limits::argon2(round),
        What::Yardstick(Yardstick::Commits { folder }) => in_one_thread(limits::commits(&folder, round)),
        What::Yardstick(Yardstick::Batches { file }) => in_one_thread(limits::batches(&file, round)),
        What::Benchmark(benchmark) => {
            cpu::pin_load_generator()?;
            let stage = Stage::new(sessiond::binary(cli.server)?, cli.store, cli.rounds, round)?;
            in_one_thread(until_interrupted(run(benchmark, stage)))
        }
    }
}

fn in_one_thread(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

async fn run(benchmark: Benchmark, mut stage: Stage) -> Result<()> {
    let mut report = Report::default();
    match benchmark {
        Benchmark::Verify => verify::known(&mut stage, &mut report).await?,
        Benchmark::Cold => cold::run(&mut stage, &mut report).await?,
        Benchmark::Unknown => verify::unknown(&mut stage, &mut report).await?,
        Benchmark::ForwardAuth => forward_auth::run(&mut stage, &mut report).await?,
        Benchmark::Logout => logout::run(&mut stage, &mut report).await?,
        Benchmark::Login => login::run(&mut stage, &mut report).await?,
        Benchmark::Throttle => throttle::run(&mut stage, &mut report).await?,
        Benchmark::Purge => purge::run(&mut stage, &mut report).await?,
        Benchmark::Bulk => bulk::run(&mut stage, &mut report).await?,
        Benchmark::Flood => login::flood(&mut stage, &mut report).await?,
        Benchmark::Crowded => login::crowded(&mut stage, &mut report).await?,
        Benchmark::Niceness => login::niceness(&mut stage, &mut report).await?,
        Benchmark::Refusals => refusals::run(&mut stage, &mut report).await?,
        Benchmark::Memory => memory::run(&mut stage, &mut report).await?,
        Benchmark::Start => memory::start(&mut stage, &mut report).await?,
        Benchmark::Cost => cost::run(&mut stage, &mut report).await?,
        Benchmark::DatabaseCost => database_cost::run(&mut stage, &mut report).await?,
        Benchmark::Telemetry => telemetry::run(&mut stage, &mut report).await?,
        Benchmark::Replicas => replicas::run(&mut stage, &mut report).await?,
        Benchmark::Table { plots } => {
            table::run(&mut stage, &mut report).await?;
            if let Some(folder) = plots {
                table::plots(&mut stage, &folder).await?;
            }
        }
        Benchmark::All => all(&mut stage, &mut report).await?,
        Benchmark::Compare { before, mut stages } => {
            if stages.is_empty() {
                stages.extend(Comparison::value_variants());
            }
            compare::run(stage, sessiond::binary(Some(before))?, &stages, &mut report).await?;
        }
        Benchmark::Control => verify::control(&stage, &mut report).await?,
    }
    report.print();
    Ok(())
}

/// What needs every session live comes before what ends some; logouts come last.
async fn all(stage: &mut Stage, report: &mut Report) -> Result<()> {
    verify::control(stage, report).await?;
    memory::start(stage, report).await?;
    memory::run(stage, report).await?;
    verify::known(stage, report).await?;
    cold::run(stage, report).await?;
    verify::unknown(stage, report).await?;
    forward_auth::run(stage, report).await?;
    cost::run(stage, report).await?;
    telemetry::run(stage, report).await?;
    login::run(stage, report).await?;
    throttle::run(stage, report).await?;
    login::flood(stage, report).await?;
    login::crowded(stage, report).await?;
    refusals::run(stage, report).await?;
    bulk::run(stage, report).await?;
    purge::run(stage, report).await?;
    logout::run(stage, report).await?;
    match stage.store {
        Store::Sqlite => Ok(()),
        Store::Postgres => replicas::run(stage, report).await,
    }
}
