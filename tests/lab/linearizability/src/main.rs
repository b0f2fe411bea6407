//! Whether what three servers on one database answer under load can have happened one after the other.
//!
//! Many connections log in, check, list, log out and revoke, on sessions they share, at servers they choose at random;
//! each operation is recorded from before its request was written until after its answer was read. Afterwards the whole
//! history is checked: no use of a session may be accepted that began after an answer from which its end is known.

mod check;
mod client;
mod faults;
mod history;
mod least;
mod pool;
mod replica;
mod report;
mod upgrade;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use sessiond_support::{
    exit,
    interrupt::until_interrupted,
    postgres::{Options, Postgres},
    random::Random,
    seed::{Seeder, Session, User},
    sessiond::{self, Sessiond},
};
use tokio::task::JoinSet;

use crate::{
    client::{Client, Scene},
    faults::Faults,
    history::{History, Span},
    pool::{Fresh, Held, Pool, USERS},
    replica::Replica,
    upgrade::Upgrades,
};

/// Checks that three servers on one database answer as one would.
#[derive(Parser)]
#[command(name = "sessiond-linearizability")]
struct Cli {
    /// How many operations to make
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=20_000_000))]
    operations: u32,
    /// How many ask at a time
    #[arg(long, default_value_t = 48, value_parser = clap::value_parser!(u16).range(2..=1_000))]
    connections: u16,
    /// Freeze and kill servers meanwhile, and have the database close connections and crash
    #[arg(long)]
    faults: bool,
    /// Begin with servers of another release, its binary, and replace all of them by this one's and back meanwhile, at least
    /// once, however many operations that takes
    #[arg(long, conflicts_with = "faults")]
    previous: Option<PathBuf>,
    /// A PostgreSQL database, empty or used by no other program [default: one of our own, thrown away afterwards]
    #[arg(long)]
    database: Option<String>,
    /// The server's release binary [default: `sessiond` beside this program]
    #[arg(long)]
    server: Option<PathBuf>,
}

fn main() -> ExitCode {
    exit::after(start(Cli::parse()))
}

fn start(cli: Cli) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(until_interrupted(run(cli)))
}

async fn run(cli: Cli) -> Result<()> {
    let mut random = Random::new();
    let binary = sessiond::binary(cli.server)?;
    let folder = tempfile::tempdir()?;
    let cluster = match &cli.database {
        None => Some(Postgres::start(Options::with("fsync = on\nfull_page_writes = on")).await?),
        Some(_) => None,
    };
    let database =
        cli.database.or_else(|| cluster.as_ref().map(|cluster| cluster.url("postgres"))).context("no database")?;
    let of = |binary| Sessiond { binary, database: database.clone(), folder: folder.path().to_owned(), cpus: None };
    let new = of(binary);
    let previous = cli.previous.map(|path| sessiond::binary(Some(path))).transpose()?.map(of);
    let upgraded = previous.is_some();
    let sessiond = previous.clone().unwrap_or_else(|| new.clone());

    let run = random.letters(8);
    let (first, password) = (format!("first-{run}"), format!("history-{run}-7Qp2"));
    sessiond.run(&["user", "add", &first, "--password-stdin"], &password).await?.done()?;
    let names: Vec<String> = (0..USERS).map(|number| format!("user-{run}-{number}")).collect();
    let mut seeder = Seeder::open(&database, &first).await?;
    let users: Vec<User> = names.iter().map(|name| seeder.user(name.clone(), &mut random)).collect();
    seeder.store(&users, &[]).await?;

    let scene = Arc::new(Scene {
        begun: Instant::now(),
        doors: Default::default(),
        pool: Pool::new(),
        names,
        passwords: [password.clone(), format!("{password}-again")],
        second: std::array::from_fn(|_| Default::default()),
        left: i64::from(cli.operations).into(),
        upgrading: upgraded.into(),
        most: usize::from(cli.connections / 2).max(1),
    });
    let mut replicas = Vec::new();
    for door in &scene.doors {
        replicas.push(Replica::start(&sessiond, door).await?);
    }

    let feeding = Aborted(tokio::spawn(feed(Arc::clone(&scene), seeder, users)));
    let reporting = Aborted(tokio::spawn(report_progress(Arc::clone(&scene), i64::from(cli.operations))));
    let faults = Arc::new(Faults::default());
    let mut of_replicas = JoinSet::new();
    let mut of_database = JoinSet::new();
    let (upgrades, mut upgrading) = (Arc::new(Upgrades::default()), JoinSet::new());
    if let Some(previous) = previous {
        let (until, scene) = (Arc::clone(&faults), Arc::clone(&scene));
        upgrading.spawn(Arc::clone(&upgrades).run(until, scene, std::mem::take(&mut replicas), [previous, new]));
    }
    if cli.faults {
        for (number, replica) in replicas.drain(..).enumerate() {
            of_replicas.spawn(Arc::clone(&faults).of_replica(Arc::clone(&scene), number, replica));
        }
        of_database.spawn(Arc::clone(&faults).of_database(database, cluster));
    } else {
        of_database.spawn(async { Ok(cluster) });
    }

    let mut asking = JoinSet::new();
    for number in 0..cli.connections {
        asking.spawn(Client::new(Arc::clone(&scene), number).run());
    }
    let mut askers = Vec::new();
    while let Some(asker) = asking.join_next().await {
        askers.push(asker?);
    }
    faults.stop();
    while let Some(replica) = of_replicas.join_next().await {
        replicas.push(replica??);
    }
    while let Some(upgraded) = upgrading.join_next().await {
        replicas.extend(upgraded??);
    }
    let cluster = of_database.join_next().await.context("no task")???;
    drop((feeding, reporting));

    // Sessions that ended must still be ended, whatever happened since.
    let (held, sessions) = scene.pool.all();
    let some: Vec<Held> = (0..cli.operations / 20).map(|_| held[random.below(held.len())]).collect();
    let share = some.len().div_ceil(askers.len());
    for (asker, some) in
        askers.into_iter().zip(some.chunks(share).map(<[Held]>::to_vec).chain(std::iter::repeat(Vec::new())))
    {
        asking.spawn(asker.look(some));
    }
    let mut operations = Vec::new();
    while let Some(asker) = asking.join_next().await {
        operations.extend(asker?.record);
    }
    drop(replicas);
    drop(cluster);

    let history = History { sessions, operations, strays: scene.pool.strays() };
    let verdict = check::check(&history);
    report::print(&history, &verdict)?;
    if cli.faults {
        let count = |count: &std::sync::atomic::AtomicU32| count.load(Ordering::Relaxed);
        println!(
            "faults: {} times a server was frozen, {} killed; {} times the database closed all connections, {} crashed",
            count(&faults.frozen),
            count(&faults.killed),
            count(&faults.disconnected),
            count(&faults.crashed)
        );
    }
    if upgraded {
        let [forth, back] = [&upgrades.forth, &upgrades.back].map(|count| count.load(Ordering::Relaxed));
        println!(
            "upgrades: {forth} times all servers were replaced by the new release, {back} times by the previous one"
        );
    }
    ensure!(!report::violations(&history, &verdict), "this cannot have happened one after the other");
    // A server without answers cannot be found wrong.
    let known = history.operations.iter().filter(|one| !one.unknown()).count();
    let wanted = if cli.faults { 60 } else { 98 };
    ensure!(known * 100 >= history.operations.len() * wanted, "only {known} answers said what happened");
    Ok(())
}

/// Puts new sessions into the places of those that have been dead for long enough.
async fn feed(scene: Arc<Scene>, mut seeder: Seeder, users: Vec<User>) {
    let mut random = Random::new();
    let mut archived = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(5)).await;
        scene.pool.turn(&mut random);
        let vacant = scene.pool.vacant();
        let sessions: Vec<Session> =
            vacant.iter().map(|(user, _)| seeder.session(&users[usize::from(*user)], &mut random)).collect();
        let begin = scene.now();
        let mut done = if sessions.is_empty() { Ok(()) } else { seeder.store(&[], &sessions).await };
        let span = Span { begin, end: scene.now() };
        for ((user, slot), session) in vacant.iter().zip(&sessions) {
            let fresh = Fresh { user: *user, id: session.id, token: session.token };
            match &done {
                Ok(()) => _ = scene.pool.add(&fresh, span, Some(*slot), &mut random),
                Err(_) => scene.pool.stray(*user),
            }
        }
        if done.is_ok() && archived.elapsed() > Duration::from_millis(500) {
            archived = Instant::now();
            done = seeder.archive().await;
        }
        if let Err(error) = done {
            eprintln!("storing sessions, and will connect again: {error:#}");
            while seeder.reconnect().await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Prints now and then how far it is.
async fn report_progress(scene: Arc<Scene>, all: i64) {
    loop {
        tokio::time::sleep(Duration::from_secs(15)).await;
        let done = all - scene.left.load(Ordering::Relaxed).max(0);
        println!("{done} operations after {:.0} s", scene.begun.elapsed().as_secs_f64());
    }
}

/// A task that ends when this is dropped.
struct Aborted(tokio::task::JoinHandle<()>);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}
