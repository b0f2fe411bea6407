//! The load benchmark of the whole server: reads the command line, runs the benchmarks, prints the table.
//!
//! The server runs as a child on CPU 0 with its database on the real disk; the load comes from this
//! process on CPU 1. PostgreSQL, where it is the store, may use both. Whatever is a ratio is taken within one run, in alternating rounds.

mod compare;
mod cost;
mod cpu;
mod hello;
mod limits;
mod load;
mod login;
mod logout;
mod memory;
mod replicas;
mod report;
mod requests;
mod server;
mod stage;
mod verify;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum as _};
use sessiond_support::{interrupt::until_interrupted, sessiond};

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
    /// Checks per second against a bare hello, at 1,000 and 1,000,000 live sessions
    Verify,
    /// Checks of tokens that were never issued
    Unknown,
    /// Durable logouts against what the store does by itself
    Logout,
    /// Logins against raw argon2id, and the memory that 1,000 at once take
    Login,
    /// Check latency while a flood of logins goes on
    Flood,
    /// Login latency while checks are asked for at full load
    Crowded,
    /// Both, with the password workers at each niceness that could be chosen (as root)
    Niceness,
    /// Resident memory, idle and per cached session
    Memory,
    /// Time from spawn to ready with 1,000,000 sessions stored
    Start,
    /// CPU of the dearest request that the limits allow
    Cost,
    /// Logouts on three replicas of one PostgreSQL, beside checks
    Replicas,
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
    match dispatch(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> Result<()> {
    let round = Duration::from_secs(cli.seconds);
    match &cli.what {
        What::Hello { answer_bytes } => hello::serve(*answer_bytes),
        What::Argon2 => limits::argon2(round),
        What::Commits { folder } => in_one_thread(limits::commits(folder, round)),
        What::Batches { file } => in_one_thread(limits::batches(file, round)),
        _ => {
            cpu::pin_load_generator()?;
            in_one_thread(until_interrupted(run(cli, round)))
        }
    }
}

fn in_one_thread(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

async fn run(cli: Cli, round: Duration) -> Result<()> {
    let mut report = Report::default();
    if let What::Control = cli.what {
        verify::control(cli.rounds, round, &mut report).await?;
        report.print();
        return Ok(());
    }
    let mut stage = Stage::new(sessiond::binary(cli.server)?, cli.store, cli.rounds, round)?;
    match cli.what {
        What::Verify => verify::known(&mut stage, &mut report).await?,
        What::Unknown => verify::unknown(&mut stage, &mut report).await?,
        What::Logout => logout::run(&mut stage, &mut report).await?,
        What::Login => login::run(&mut stage, &mut report).await?,
        What::Flood => login::flood(&mut stage, &mut report).await?,
        What::Crowded => login::crowded(&mut stage, &mut report).await?,
        What::Niceness => login::niceness(&mut stage, &mut report).await?,
        What::Memory => memory::run(&mut stage, &mut report).await?,
        What::Start => memory::start(&mut stage, &mut report).await?,
        What::Cost => cost::run(&mut stage, &mut report).await?,
        What::Replicas => replicas::run(&mut stage, &mut report).await?,
        What::Compare { before, mut stages } => {
            if stages.is_empty() {
                stages.extend(Comparison::value_variants());
            }
            compare::run(stage, sessiond::binary(Some(before))?, &stages, &mut report).await?;
        }
        _ => all(&mut stage, &mut report).await?,
    }
    report.print();
    Ok(())
}

/// What needs every session live comes before what ends some; logouts come last.
async fn all(stage: &mut Stage, report: &mut Report) -> Result<()> {
    verify::control(stage.rounds, stage.round, report).await?;
    memory::start(stage, report).await?;
    memory::run(stage, report).await?;
    verify::known(stage, report).await?;
    verify::unknown(stage, report).await?;
    cost::run(stage, report).await?;
    login::run(stage, report).await?;
    login::flood(stage, report).await?;
    login::crowded(stage, report).await?;
    logout::run(stage, report).await?;
    match stage.store {
        Store::Sqlite => Ok(()),
        Store::Postgres => replicas::run(stage, report).await,
    }
}
