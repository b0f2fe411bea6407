//! Two binaries beside each other: the same rounds in turn, each on a fresh copy of the store that its own binary made.

use std::{path::PathBuf, rc::Rc};

use anyhow::Result;

use crate::{
    load::{CONNECTIONS, Load, Measured, charged},
    report::{Report, Target},
    requests::{Checks, Each, Template},
    rounds::alternate,
    stage::{Population, Stage, Store},
};

/// How many sessions each store has, and how many a load of a second may end or look for.
const SESSIONS: usize = 300_000;
const A_SECOND: usize = 60_000;
/// How many sessions are checked over and over again.
const CHECKED: usize = 1_000;

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Comparison {
    /// Logouts of rows that lie anywhere, 64 connections, in the embedded file
    SqliteLogout,
    /// The same over one connection
    SqliteLogoutAlone,
    /// Checks of sessions that are not in memory, in the embedded file
    SqliteRead,
    /// Checks of sessions that are in memory
    Verify,
    /// Logouts, 64 connections, in PostgreSQL
    PostgresLogout,
    /// Checks of sessions that are not in memory, in PostgreSQL
    PostgresRead,
}

/// What a ratio of `now` to `before` has to reach.
struct Targets {
    rate: Target,
    cpu: Target,
    /// The limit of the 99th percentile, in milliseconds, whatever it was before.
    p99: Target,
}

impl Comparison {
    fn name(self) -> &'static str {
        match self {
            Self::SqliteLogout => "SQLite, logout, 64 connections",
            Self::SqliteLogoutAlone => "SQLite, logout, one connection",
            Self::SqliteRead => "SQLite, check that reads the store",
            Self::Verify => "check from memory",
            Self::PostgresLogout => "PostgreSQL, logout, 64 connections",
            Self::PostgresRead => "PostgreSQL, check that reads the store",
        }
    }

    fn store(self) -> Store {
        match self {
            Self::SqliteLogout | Self::SqliteLogoutAlone | Self::SqliteRead | Self::Verify => Store::Sqlite,
            Self::PostgresLogout | Self::PostgresRead => Store::Postgres,
        }
    }

    fn targets(self) -> Targets {
        let none = Targets { rate: Target::None, cpu: Target::None, p99: Target::None };
        match self {
            Self::SqliteLogout => {
                Targets { rate: Target::AtLeast(0.85), cpu: Target::AtMost(1.0 / 0.85), p99: Target::AtMost(50.0) }
            }
            Self::PostgresLogout => Targets { rate: Target::AtLeast(1.1), ..none },
            Self::SqliteRead | Self::PostgresRead => Targets { rate: Target::AtLeast(0.9), ..none },
            Self::SqliteLogoutAlone | Self::Verify => none,
        }
    }

    /// One round, on a fresh copy.
    async fn measure(self, stage: &Stage, population: &Population) -> Result<Measured> {
        let (length, tokens) = (stage.round, &population.tokens);
        let most = A_SECOND * usize::try_from(length.as_secs())?;
        let connections = if self == Self::SqliteLogoutAlone { 1 } else { CONNECTIONS };
        let server = stage.serve(population).await?;
        let load = Load::new(server.address, &[200]).over(connections);
        let measured = match self {
            Self::SqliteLogout | Self::SqliteLogoutAlone | Self::PostgresLogout => {
                population.warm(&server, 0..most / if connections == 1 { 10 } else { 2 }).await?;
                let (each, _) = Each::of(Template::logout(), tokens, 0..most);
                charged(server.pid, load.closed(length, each)).await?
            }
            Self::SqliteRead | Self::PostgresRead => {
                let (each, _) = Each::of(Template::check(), tokens, 0..population.tokens.len());
                charged(server.pid, load.closed(length, each)).await?
            }
            Self::Verify => {
                population.warm(&server, 0..CHECKED).await?;
                charged(server.pid, load.closed(length, Checks::over(tokens, 0..CHECKED))).await?
            }
        };
        server.stop().await?;
        Ok(measured)
    }
}

/// A binary, and a store with its tables.
struct Side {
    stage: Stage,
    population: Rc<Population>,
}

impl Side {
    async fn new(mut stage: Stage) -> Result<Self> {
        let size = SESSIONS.max(A_SECOND * usize::try_from(stage.round.as_secs())?);
        let population = stage.population(size).await?;
        Ok(Self { stage, population })
    }

    async fn measure(&self, comparison: Comparison) -> Result<Measured> {
        let copy = self.population.copy().await?;
        let measured = comparison.measure(&self.stage, &copy).await?;
        copy.remove().await?;
        Ok(measured)
    }
}

/// Compares the stage's binary with the one that was `before`.
pub async fn run(mut stage: Stage, before: PathBuf, chosen: &[Comparison], report: &mut Report) -> Result<()> {
    for store in [Store::Sqlite, Store::Postgres] {
        let chosen: Vec<_> = chosen.iter().copied().filter(|comparison| comparison.store() == store).collect();
        if chosen.is_empty() {
            continue;
        }
        stage.store = store;
        let before = Side::new(stage.with_binary(before.clone()).await?).await?;
        let now = Side::new(stage.with_binary(stage.binary.clone()).await?).await?;
        for comparison in chosen {
            let [before, now] = [&before, &now].map(|side| async || side.measure(comparison).await);
            let pairs = alternate(&stage, "before", before, now).await?;
            let (name, targets) = (comparison.name(), comparison.targets());
            pairs.report(report, name, targets.rate, targets.cpu);
            pairs.report_latency(report, name, targets.p99);
        }
    }
    Ok(())
}
