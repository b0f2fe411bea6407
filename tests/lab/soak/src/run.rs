//! One server from its start to its end, with its visitors, what troubles it and what watches it.

use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sessiond_support::database;
use sessiond_support::port::free_port;
use sessiond_support::process::Process;
use sessiond_support::random::Random;
use sessiond_support::seed::{LIFE, Seeder};
use sessiond_support::sessiond::{Server, Sessiond};

use crate::clock::Clock;
use crate::knowledge::{Knowledge, Lifetimes, Session};
use crate::log::{Log, Logging};
use crate::place::Place;
use crate::requests::PASSWORD;
use crate::troubles::{Target, Troubles};
use crate::verdict::Verdict;
use crate::visitor::{Scene, visit};
use crate::watch::{Look, mebibytes, metrics, watch};

/// Connections, and sessions that are there from the beginning, each of a user of its own.
const CONNECTIONS: u32 = 32;
const SESSIONS: usize = 10_000;
/// The first account.
const ADMIN: &str = "admin";
/// How long a server is left alone before it is looked at.
const REST: Duration = Duration::from_secs(5);
/// How much later than promised rows may be deleted: as often as a server deletes them, and a little.
const LATE: Duration = Duration::from_secs(660);
/// How long a session must live, in true time, for its last-seen time to be stored before.
const UNFLUSHED: Duration = Duration::from_secs(340);
/// A shorter time says nothing about memory and descriptors.
const JUDGED: Duration = Duration::from_secs(600);
const GROWTH: f64 = 0.01;
/// On a machine that is busy with other things the store may take too long now and then.
const FEW: u64 = 10_000;
/// How large the write-ahead log may become.
const LARGEST_LOG: f64 = 64.0 * 1024.0 * 1024.0;
/// For how long the server keeps events, and sessions that have ended.
const KEPT: Duration = Duration::from_secs(6 * 3600);

/// So many requests in so long.
#[derive(Clone, Copy)]
pub struct Traffic {
    pub requests: u64,
    pub length: Duration,
}

/// What one server is given to do.
pub struct Run {
    pub name: &'static str,
    /// What comes first and is not judged: it fills what the server keeps in memory, which takes longer than a run of few
    /// requests lasts.
    pub fills: Option<Traffic>,
    pub traffic: Traffic,
    /// Whether a whole day passes on the server's clock.
    pub whole_day: bool,
    pub logging: Logging,
}

impl Run {
    /// Runs it, and says what was found.
    pub async fn run(&self, binary: &Path, place: &Place, verdict: &mut Verdict) -> Result<()> {
        println!("{}: {} requests in {:?}", self.name, self.traffic.requests, self.traffic.length);
        let clock = if self.whole_day { Clock::day_in(self.traffic.length)? } else { Clock::true_one()? };
        let lifetimes = self.lifetimes(clock.speed);
        let configuration = place.folder().join("sessiond.toml");
        std::fs::write(&configuration, "log_level = 'info'\n")?;
        let (log, end) = Log::open(self.logging, place.folder())?;
        let mut server = self.start(binary, place, clock, &lifetimes, &configuration, end)?;
        server.until_ready().await.with_context(|| log.last_lines())?;

        let (knowledge, accounts) = populate(place, clock, lifetimes).await?;
        let scene = Rc::new(Scene {
            address: server.listen,
            clock,
            knowledge,
            accounts,
            troubles: Troubles::default(),
            left: Cell::default(),
            failed: Cell::default(),
            tally: RefCell::default(),
        });
        let found = self.under_way(&scene, &server, place, &log, &configuration).await;
        let found = found.with_context(|| format!("the end of the log:\n{}", log.last_lines()))?;
        self.judge(&found, verdict);
        self.judge_rows(&scene, &server, place, verdict).await?;
        server.process.stop().await?;
        Ok(())
    }

    /// Many of a run's sessions come to their end in it, by idleness too, unless it is so short that last-seen times, which
    /// are stored every five true minutes, would come too late.
    fn lifetimes(&self, speed: f64) -> Lifetimes {
        let idle = (self.traffic.length / 8).max(UNFLUSHED).mul_f64(speed);
        Lifetimes { idle, absolute: idle.mul_f64(4.0 / 3.0), speed }
    }

    fn start(
        &self,
        binary: &Path,
        place: &Place,
        clock: Clock,
        lifetimes: &Lifetimes,
        configuration: &Path,
        log: std::process::Stdio,
    ) -> Result<Server> {
        let sessiond = Sessiond {
            binary: binary.to_owned(),
            database: place.database.clone(),
            folder: place.folder().to_owned(),
            cpus: None,
        };
        let [listen, ops] = [free_port()?, free_port()?].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let mut command = sessiond.server();
        clock.give(&mut command)?;
        command.env("SESSIOND_LISTEN", listen.to_string()).env("SESSIOND_OPS_LISTEN", ops.to_string());
        command.env("SESSIOND_CONFIG", configuration);
        command.env("SESSIOND_ADMIN_USERNAME", ADMIN).env("SESSIOND_ADMIN_PASSWORD", PASSWORD);
        let seconds = |span: Duration| format!("{}s", span.as_secs());
        for (idle, absolute) in [("SESSION_IDLE", "SESSION_ABSOLUTE"), ("REMEMBERED_IDLE", "REMEMBERED_ABSOLUTE")] {
            command.env(format!("SESSIOND_{idle}"), seconds(lifetimes.idle));
            command.env(format!("SESSIOND_{absolute}"), seconds(lifetimes.absolute));
        }
        command.env("SESSIOND_EVENTS_KEPT", seconds(KEPT)).env("SESSIOND_ENDED_KEPT", seconds(KEPT));
        Ok(Server { listen, ops, process: Process::spawn_logging_to(command, log)? })
    }

    /// Until all requests were answered.
    async fn under_way(
        &self,
        scene: &Rc<Scene>,
        server: &Server,
        place: &Place,
        log: &Log,
        configuration: &Path,
    ) -> Result<Found> {
        if let Some(fills) = self.fills {
            println!("  {} requests in {:?} come first", fills.requests, fills.length);
            visits(scene, fills).await?;
        }
        let Traffic { length, .. } = self.traffic;
        let looks = RefCell::default();
        let target = Target { place, log, server, configuration, length, troubles: &scene.troubles };
        let before = self.at_rest(server).await?;
        let happening = async { tokio::try_join!(visits(scene, self.traffic), target.run()) };
        let (took, happened) = tokio::select! {
            done = happening => done?,
            failed = watch(scene, server, &looks) => match failed? {},
        };
        let after = self.at_rest(server).await?;
        println!("  {}", scene.tally.borrow().text());
        Ok(Found { looks: looks.take(), before, after, took, happened, failed: scene.failed.get() })
    }

    /// The server when nothing happens.
    async fn at_rest(&self, server: &Server) -> Result<Look> {
        // The first read opens the connections that are kept.
        metrics(server.ops).await?;
        tokio::time::sleep(REST).await;
        Look::take(server, Instant::now()).await
    }

    fn judge(&self, found: &Found, verdict: &mut Verdict) {
        let Self { name, traffic: Traffic { requests, length }, .. } = *self;
        let took = found.took.as_secs_f64();
        verdict.note(
            format!("{name}: requests, every answer as it must be"),
            format!("{requests} in {took:.0} s, {:.0}/s", requests as f64 / took),
        );
        verdict.add(
            format!("{name}: logins and logouts that failed with a disk that is not full"),
            found.failed.to_string(),
            format!("1 in {FEW} requests"),
            found.failed * FEW <= requests,
        );
        found.happened.iter().for_each(|happened| verdict.note(name, happened));

        let [earlier, later] = [0.5, 0.75].map(|from| {
            let within = length.mul_f64(from)..length.mul_f64(from + 0.25);
            let looks = found.looks.iter().filter(|look| within.contains(&look.at));
            let descriptors = looks.clone().map(Look::other_descriptors).fold(0.0, f64::max);
            Quarter { resident: median(looks.map(|look| look.resident)), descriptors }
        });
        let growth = later.resident / earlier.resident - 1.0;
        let [was, is] = [&earlier, &later].map(|quarter| mebibytes(quarter.resident));
        let memory = format!("{:+.2} % ({was:.2} MiB, then {is:.2})", 100.0 * growth);
        let [before, after] = [&found.before, &found.after].map(Look::other_descriptors);
        let descriptors =
            format!("{}, then {}; at rest {before}, then {after}", earlier.descriptors, later.descriptors);
        let what = |what: &str| format!("{name}: {what}, the last quarter against the one before");
        let (memory_is, descriptors_are) = (what("resident memory"), what("descriptors beside connections, at most"));
        if length < JUDGED {
            verdict.note(memory_is, memory);
            verdict.note(descriptors_are, descriptors);
        } else {
            verdict.add(memory_is, memory, format!("{:.0} % more at most", 100.0 * GROWTH), growth <= GROWTH);
            let as_before = later.descriptors <= earlier.descriptors && after <= earlier.descriptors;
            verdict.add(descriptors_are, descriptors, "as many or fewer", as_before);
        }
        let logs = found.looks.iter().filter_map(|look| look.write_ahead_log).fold(0.0, f64::max);
        if logs > 0.0 {
            verdict.add(
                format!("{name}: write-ahead log, at most"),
                format!("{:.1} MiB", mebibytes(logs)),
                format!("{:.0} MiB", mebibytes(LARGEST_LOG)),
                logs <= LARGEST_LOG,
            );
        }
    }

    /// What is out of date is deleted.
    async fn judge_rows(&self, scene: &Scene, server: &Server, place: &Place, verdict: &mut Verdict) -> Result<()> {
        let metrics = metrics(server.ops).await?;
        let late = scene.clock.passed(LATE) + KEPT;
        let before = scene.clock.now() - i64::try_from(late.as_millis())?;
        for (rows, column) in [("events", "at"), ("sessions", "expires_at")] {
            let purged = metrics.sum(&format!("sessiond_purged_total{{rows=\"{rows}\"}}")).unwrap_or_default();
            let count = async |condition: String| {
                let select = format!("SELECT count(*) FROM {rows} {condition}");
                let count = database::rows(&place.database, &select)
                    .await?
                    .into_iter()
                    .flatten()
                    .flatten()
                    .next()
                    .context("no count")?;
                anyhow::Ok(count.parse::<u64>()?)
            };
            let (all, old) = (count(String::new()).await?, count(format!("WHERE {column} < {before}")).await?);
            verdict.add(
                format!("{}: {rows} out of date", self.name),
                format!("{old} of {all} there, {purged} were deleted"),
                "none".to_owned(),
                old == 0,
            );
        }
        Ok(())
    }
}

/// Has visitors make requests, and waits until all were answered. Returns how long that took.
async fn visits(scene: &Rc<Scene>, Traffic { requests, length }: Traffic) -> Result<Duration> {
    scene.left.set(requests);
    let begun = Instant::now();
    let every = length.div_f64(requests as f64) * CONNECTIONS;
    let mut visits = tokio::task::JoinSet::new();
    for number in 0..CONNECTIONS {
        visits.spawn_local(visit(Rc::clone(scene), begun + every * number / CONNECTIONS, every));
    }
    while let Some(visit) = visits.join_next().await {
        visit??;
    }
    Ok(begun.elapsed())
}

/// A quarter of a run.
struct Quarter {
    /// The median, in bytes.
    resident: f64,
    /// The most that were no connections.
    descriptors: f64,
}

/// What was seen of a run.
struct Found {
    looks: Vec<Look>,
    before: Look,
    after: Look,
    took: Duration,
    happened: Vec<String>,
    failed: u64,
}

/// Accounts with a session each, which were begun when the clock began.
async fn populate(place: &Place, clock: Clock, lifetimes: Lifetimes) -> Result<(Knowledge, Vec<String>)> {
    let mut random = Random::new();
    let mut seeder = Seeder::open(&place.database, ADMIN).await?;
    let run = random.letters(8);
    let names: Vec<_> = (0..SESSIONS).map(|number| format!("{run}{number}")).collect();
    let users: Vec<_> = names.iter().map(|name| seeder.user(name.clone(), &mut random)).collect();
    let sessions: Vec<_> = users.iter().map(|user| seeder.session(user, &mut random)).collect();
    let knowledge = Knowledge::new(lifetimes);
    let begun = clock.since_begin();
    seeder.store_at(clock.now(), lifetimes.idle, &users, &sessions).await?;
    ensure!(clock.since_begin() - begun < lifetimes.idle / 4, "storing sessions took too long");
    for session in &sessions {
        knowledge.begin(Session::new(session.token, begun, LIFE));
    }
    Ok((knowledge, names))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
