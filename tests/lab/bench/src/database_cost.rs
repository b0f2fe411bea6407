//! What requests cost PostgreSQL: the CPU of the processes that serve its clients, and the log that it writes. The
//! simulation of capacity begins with these figures.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result};
use sessiond_support::database::Connection;

use crate::{
    load::{CONNECTIONS, Load},
    login,
    report::{Report, Target},
    requests::{Each, Prebuilt, Template},
    stage::{Stage, Store},
};

/// How many sessions there are, and how many each load may take, by the second.
const SESSIONS: usize = 300_000;
const A_SECOND: usize = 20_000;

/// What was used since the server of the database started.
struct Used {
    /// Of each process that serves a client.
    cpu: HashMap<String, Duration>,
    /// Bytes of log.
    log: f64,
}

pub async fn run(stage: &mut Stage, report: &mut Report) -> Result<()> {
    stage.store = Store::Postgres;
    let seconds = usize::try_from(stage.round.as_secs())?;
    let population = stage.population(SESSIONS.max(4 * A_SECOND * seconds)).await?;
    let mut admin = Connection::open(&stage.cluster().await?.url("postgres")).await?;
    let server = stage.serve(&population).await?;

    let before = Used::now(&mut admin).await?;
    tokio::time::sleep(stage.round).await;
    before.report(&mut admin, "an idle server, each second", seconds as f64, report).await?;

    let mut next = 0;
    for connections in [1, CONNECTIONS] {
        let mut measure = async |what: &str, template: Template| {
            let range = next..next + A_SECOND * seconds;
            next = range.end;
            let (each, _) = Each::of(template, &population.tokens, range);
            let before = Used::now(&mut admin).await?;
            let load = Load::new(server.address, &[200]).over(connections);
            let answers = load.closed(stage.round, each).await?.answers();
            before.report(&mut admin, &format!("{what}, {connections} at a time"), answers as f64, report).await
        };
        measure("check that reads the store", Template::check()).await?;
        measure("logout of a session that is not in memory", Template::logout()).await?;
    }
    let before = Used::now(&mut admin).await?;
    let logins = Load::new(server.address, &[200]).over(1).closed(stage.round, Prebuilt::endless(&login::requests()));
    before.report(&mut admin, "login", logins.await?.answers() as f64, report).await?;
    server.stop().await
}

impl Used {
    async fn now(admin: &mut Connection) -> Result<Self> {
        const LOG: &str = "SELECT (pg_current_wal_insert_lsn() - '0/0')::text";
        const CLIENTS: &str =
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        let log = admin.rows(LOG).await?.into_iter().flatten().flatten().next().context("no position in the log")?;
        let mut cpu = HashMap::new();
        for pid in admin.rows(CLIENTS).await?.into_iter().flatten().flatten() {
            // More exact than the ticks that `stat` counts.
            let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
            let nanoseconds = text.split(' ').next().context("an odd line in /proc")?.parse()?;
            cpu.insert(pid, Duration::from_nanos(nanoseconds));
        }
        Ok(Self { cpu, log: log.parse()? })
    }

    /// Reports what was used since, for each of so many.
    async fn report(self, admin: &mut Connection, what: &str, count: f64, report: &mut Report) -> Result<()> {
        let now = Self::now(admin).await?;
        let since = |(pid, time): (&String, &Duration)| *time - self.cpu.get(pid).copied().unwrap_or_default();
        let cpu: Duration = now.cpu.iter().map(since).sum();
        let log = format!("{:.0} bytes of log", (now.log - self.log) / count);
        report.figure(what, 1e6 * cpu.as_secs_f64() / count, |us| format!("{us:.0} us"), log, Target::None);
        Ok(())
    }
}
