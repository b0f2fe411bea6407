//! The table of the README, over both stores, and the plots beside it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::{
    cold, forward_auth, login, logout, memory,
    plot::{Across, Curve, Plot},
    replicas,
    report::Report,
    stage::{MILLION, Stage, Store},
    verify,
};

/// How many sessions are live, for the plot of checks.
const LIVE: [usize; 4] = [1_000, 10_000, 100_000, MILLION];
/// How many servers there are, for the plot of logouts.
const SERVERS: [u32; 4] = [1, 2, 3, 4];

/// Measures what the README shows on each store in turn.
pub async fn run(stage: &mut Stage, report: &mut Report) -> Result<()> {
    println!("{}", machine()?);
    for store in [Store::Sqlite, Store::Postgres] {
        stage.change_to(store);
        report.under(match store {
            Store::Sqlite => "SQLite",
            Store::Postgres => "PostgreSQL",
        });
        memory::start(stage, report).await?;
        memory::run(stage, report).await?;
        verify::known(stage, report).await?;
        verify::unknown(stage, report).await?;
        if store == Store::Sqlite {
            forward_auth::run(stage, report).await?;
        }
        cold::run(stage, report).await?;
        login::run(stage, report).await?;
        login::flood(stage, report).await?;
        logout::run(stage, report).await?;
    }
    replicas::run(stage, report).await
}

/// Draws how checks depend on the number of live sessions, and logouts on the number of servers.
pub async fn plots(stage: &mut Stage, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    stage.change_to(Store::Sqlite);
    let curve = |name| Curve { name, points: Vec::new() };
    let mut rates = [curve("checks"), curve("a bare hello")];
    let mut waits = [curve("checks"), curve("a bare hello")];
    for size in LIVE {
        let [[hello, checks], [hello_p99, checks_p99]] = verify::among(stage, size).await?;
        for (curves, values) in [(&mut rates, [checks, hello]), (&mut waits, [checks_p99, hello_p99])] {
            curves.iter_mut().zip(values).for_each(|(curve, value)| curve.points.push((size as f64, value)));
        }
    }
    let sessions = "live sessions";
    let plot = |title: &str, across, scale, up, curves| Plot { title: title.to_owned(), across, scale, up, curves };
    plot("Checks on one core", sessions, Across::Logarithmic, "a second", rates.into())
        .write(&folder.join("checks.svg"))?;
    plot("Checks on one core, 64 connections at full load", sessions, Across::Logarithmic, "p99, ms", waits.into())
        .write(&folder.join("checks-p99.svg"))?;

    let mut latency = [curve("half of them"), curve("99 of 100")];
    for servers in SERVERS {
        let values = replicas::latency(stage, servers).await?;
        latency.iter_mut().zip(values).for_each(|(curve, value)| curve.points.push((f64::from(servers), value)));
    }
    let title = "Logouts, 200/s beside 5,000 checks/s, until every server has applied them";
    plot(title, "servers on one PostgreSQL", Across::Linear, "at most, ms", latency.into())
        .write(&folder.join("logouts.svg"))
}

/// The day and the machine.
fn machine() -> Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).and_then(|line| line.split_once(": "));
    let (_, model) = model.context("/proc/cpuinfo has no model name")?;
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{model}, {count} cores, Linux {}", kernel.trim()))
}
