//! Prints the results of simulations: one run, or the tables of `docs/scaling.md`.

use clap::{Parser, Subcommand};
use sessiond_capacity::{Setting, largest, simulate, table};

/// Says how many replicas one PostgreSQL carries
#[derive(Parser)]
#[command(name = "sessiond-capacity")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// One run
    Run(Setting),
    /// Replicas and logouts against times and load; what it varies, and --seconds, are without effect as flags
    Table(Setting),
    /// The most replicas that several databases carry; the same holds here
    Largest(Setting),
}

fn main() {
    match Cli::parse().what {
        What::Run(setting) => println!("{:#?}", simulate(&setting)),
        What::Table(setting) => print!("{}", table(&setting)),
        What::Largest(setting) => print!("{}", largest(&setting)),
    }
}
