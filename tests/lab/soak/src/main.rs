//! A day's traffic in a short time, then an hour as it is: whether a server that runs for long stays as it was.
//!
//! The server's clock begins a day in the past and runs so fast that it catches up; then a second server goes on with the same
//! store and the true clock, after traffic that fills what it keeps in memory. Visitors log in, are checked, list, and log
//! out, and some never come back. Each answer is held to what is known of its session. On the way the log's reader stops, the
//! disk is full for a while and the log file is rotated. In the end memory, descriptors and the write-ahead log are held against
//! what they were, and so is what the store keeps.

mod clock;
mod knowledge;
mod log;
mod place;
mod requests;
mod run;
mod troubles;
mod verdict;
mod visitor;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Parser;
use sessiond_support::interrupt::until_interrupted;
use sessiond_support::{exit, sessiond};

use crate::log::Logging;
use crate::place::{Place, Store};
use crate::run::{Run, Traffic};
use crate::verdict::Verdict;

/// Runs a server for long and looks whether it stays as it was.
#[derive(Parser)]
#[command(name = "sessiond-soak")]
struct Cli {
    /// Where sessions are kept
    #[arg(long, value_enum, default_value_t = Store::Sqlite)]
    store: Store,
    /// How many requests make up the day
    #[arg(long, default_value_t = 8_640_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    requests: u64,
    /// How many minutes the day takes
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1_440))]
    day: u64,
    /// How many minutes follow with the true clock
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1_440))]
    then: u64,
    /// Requests a second in these
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=20_000))]
    rate: u64,
    /// The server's release binary [default: `sessiond` beside this program]
    #[arg(long)]
    server: Option<PathBuf>,
}

fn main() -> ExitCode {
    exit::after(start(Cli::parse()))
}

fn start(cli: Cli) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, until_interrupted(soak(cli)))
}

async fn soak(cli: Cli) -> Result<()> {
    let binary = sessiond::binary(cli.server)?;
    let place = Place::make(&binary, cli.store).await?;
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let mut verdict = Verdict::default();

    let day = Traffic { requests: cli.requests, length: minutes(cli.day) };
    let run = Run { name: "the day", fills: None, traffic: day, whole_day: true, logging: Logging::Pipe };
    run.run(&binary, &place, &mut verdict).await?;

    let half = Traffic { requests: day.requests / 2, length: day.length / 2 };
    let then = Traffic { requests: cli.rate * minutes(cli.then).as_secs(), length: minutes(cli.then) };
    let run =
        Run { name: "the time after", fills: Some(half), traffic: then, whole_day: false, logging: Logging::File };
    run.run(&binary, &place, &mut verdict).await?;
    ensure!(verdict.print(), "not as it should be");
    Ok(())
}
