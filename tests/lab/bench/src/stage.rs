//! What the benchmarks share: the binary, the length of rounds, and databases full of sessions.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use sessiond_support::{
    database,
    postgres::{Options, Postgres},
    random::Random,
    seed::Seeder,
    token::{Token, TokenKey},
};

use crate::{
    cpu,
    load::Load,
    report::number,
    requests::{Each, Template},
    server::{ADMIN, Server},
};

pub const MILLION: usize = 1_000_000;

/// Of folders and databases so far.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// The file of an embedded store.
const FILE: &str = "sessiond.db";
/// Whatever is measured, the same users and sessions are there, in the same order.
const SEED: u64 = 7;
/// How long a warm-up may take.
const WARM_UP: Duration = Duration::from_secs(300);

/// Where sessions are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Store {
    /// The embedded file
    Sqlite,
    /// A server of the benchmark's own
    Postgres,
}

pub struct Stage {
    pub binary: PathBuf,
    pub store: Store,
    pub rounds: u32,
    pub round: Duration,
    /// Seeding a million takes a while, so that every benchmark that needs them uses the same ones.
    million: Option<Rc<Population>>,
    /// Started when it is first needed.
    cluster: Option<Rc<Postgres>>,
}

impl Stage {
    pub fn new(binary: PathBuf, store: Store, rounds: u32, round: Duration) -> Result<Self> {
        Scratch::sweep()?;
        Ok(Self { binary, store, rounds, round, million: None, cluster: None })
    }

    /// Goes on with another store.
    pub fn change_to(&mut self, store: Store) {
        if self.store != store {
            (self.store, self.million) = (store, None);
        }
    }

    /// The same with another binary. Both use one PostgreSQL.
    pub async fn with_binary(&mut self, binary: PathBuf) -> Result<Self> {
        let cluster = if self.store == Store::Postgres { Some(self.cluster().await?) } else { None };
        Ok(Self { binary, million: None, cluster, ..*self })
    }

    /// The PostgreSQL of this run: on the real disk, with its default durability, on both CPUs.
    pub async fn cluster(&mut self) -> Result<Rc<Postgres>> {
        if let Some(cluster) = &self.cluster {
            return Ok(Rc::clone(cluster));
        }
        let settings =
            "fsync = on\nfull_page_writes = on\nshared_buffers = 512MB\nmax_wal_size = 4GB\nmin_wal_size = 1GB";
        let folder = Some(Scratch::parent()?);
        let options = Options { settings: settings.to_owned(), folder, cpus: Some(cpu::BOTH), clock: false };
        let cluster = Rc::new(Postgres::start(options).await?);
        self.cluster = Some(Rc::clone(&cluster));
        Ok(cluster)
    }

    /// Has the server make its tables in a database of their own, and fills them.
    async fn seed(&mut self, size: usize) -> Result<Rc<Population>> {
        let scratch = Scratch::new()?;
        let (url, cluster) = match self.store {
            Store::Sqlite => (format!("sqlite://{}", scratch.path().join(FILE).display()), None),
            Store::Postgres => {
                let cluster = self.cluster().await?;
                let name = database_name();
                cluster.create(&name).await?;
                (cluster.url(&name), Some(cluster))
            }
        };
        Server::start(&self.binary, scratch.path(), &url).await?.stop().await?;
        let began = Instant::now();
        let (tokens, key) = fill(&url, size).await?;
        println!("  seeded {} sessions in {:.1} s", number(size as f64), began.elapsed().as_secs_f64());
        Ok(Rc::new(Population { url, tokens, key, cluster, scratch }))
    }

    /// A stored population of live sessions, one user each; no server is running on it.
    pub async fn population(&mut self, size: usize) -> Result<Rc<Population>> {
        if size != MILLION {
            return self.seed(size).await;
        }
        if let Some(million) = &self.million {
            return Ok(Rc::clone(million));
        }
        let seeded = self.seed(size).await?;
        self.million = Some(Rc::clone(&seeded));
        Ok(seeded)
    }

    /// The million when it has been seeded already, else a population of this size.
    pub async fn at_least(&mut self, size: usize) -> Result<Rc<Population>> {
        match &self.million {
            Some(million) if size <= MILLION => Ok(Rc::clone(million)),
            _ => self.population(size).await,
        }
    }

    pub async fn serve(&self, population: &Population) -> Result<Server> {
        self.serve_with(population, &[]).await
    }

    /// The same with more settings.
    pub async fn serve_with(&self, population: &Population, settings: &[(&'static str, &str)]) -> Result<Server> {
        Server::start_with(&self.binary, population.folder(), &population.url, settings).await
    }
}

/// The name of a database that is to be made.
fn database_name() -> String {
    format!("sessions_{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The name of a seeded account; all are equally long, so that all answers are.
pub fn username(number: usize) -> String {
    format!("user{number:07}")
}

/// Stores so many users, who all have the first account's password, with one live session each.
async fn fill(url: &str, size: usize) -> Result<(Arc<[Token]>, TokenKey)> {
    let (mut seeder, mut random) = (Seeder::open(url, ADMIN).await?, Random::seeded(SEED));
    seeder.hurry().await?;
    let users: Vec<_> = (0..size).map(|number| seeder.user(username(number), &mut random)).collect();
    let mut sessions: Vec<_> = users.iter().map(|user| seeder.session(user, &mut random)).collect();
    seeder.store(&users, &sessions).await?;
    // Load takes tokens in their order, and so comes to rows that lie anywhere.
    random.shuffle(&mut sessions);
    let key = seeder.key().clone();
    seeder.finish().await?;
    Ok((sessions.iter().map(|session| session.token).collect(), key))
}

/// A database of sessions whose tokens are known.
pub struct Population {
    pub url: String,
    pub tokens: Arc<[Token]>,
    key: TokenKey,
    cluster: Option<Rc<Postgres>>,
    scratch: Scratch,
}

impl Population {
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// The file of an embedded store.
    pub fn file(&self) -> PathBuf {
        self.folder().join(FILE)
    }

    pub fn all(&self) -> Range<usize> {
        0..self.tokens.len()
    }

    /// Another one with the same contents; no server may be running on this one.
    pub async fn copy(&self) -> Result<Self> {
        let scratch = Scratch::new()?;
        let url = match &self.cluster {
            None => {
                let file = scratch.path().join(FILE);
                std::fs::copy(self.file(), &file)?;
                std::fs::File::open(&file)?.sync_all()?;
                format!("sqlite://{}", file.display())
            }
            Some(cluster) => {
                let (name, template) = (database_name(), self.database());
                let create = format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy");
                database::execute(&cluster.url("postgres"), &create).await?;
                database::execute(&cluster.url("postgres"), "CHECKPOINT").await?;
                cluster.url(&name)
            }
        };
        let (tokens, key, cluster) = (Arc::clone(&self.tokens), self.key.clone(), self.cluster.clone());
        Ok(Self { url, tokens, key, cluster, scratch })
    }

    /// Adds sessions and events, so many of each, that ended long ago; no server may be running on it.
    pub async fn add_long_dead(&self, count: usize) -> Result<()> {
        let mut seeder = Seeder::open(&self.url, ADMIN).await?;
        seeder.hurry().await?;
        seeder.store_long_dead(count).await?;
        seeder.finish().await
    }

    /// Frees its disk space. A database on PostgreSQL keeps its space until the benchmark ends.
    pub async fn remove(self) -> Result<()> {
        match &self.cluster {
            None => Ok(()),
            Some(cluster) => {
                let drop = format!("DROP DATABASE {} WITH (FORCE)", self.database());
                database::execute(&cluster.url("postgres"), &drop).await
            }
        }
    }

    /// The name of the database on PostgreSQL.
    fn database(&self) -> &str {
        let path = self.url.rsplit_once('/').map_or("", |(_, path)| path);
        path.split_once('?').map_or(path, |(name, _)| name)
    }

    /// Tokens that the server could have issued and that are in no row, as after a purge.
    pub fn gone(&self, count: usize) -> Arc<[Token]> {
        let mut random = Random::new();
        (0..count).map(|_| self.key.issue(&mut random)).collect()
    }

    /// Checks each session of a range once, so that it is in memory.
    pub async fn warm(&self, server: &Server, range: Range<usize>) -> Result<()> {
        let sessions = range.len();
        let (each, _) = Each::of(Template::check(), &self.tokens, range);
        let outcome = Load::new(server.address, &[200]).closed(WARM_UP, each).await?;
        ensure!(
            outcome.answers() == sessions as u64,
            "only {} of {sessions} sessions were checked within {WARM_UP:?}",
            outcome.answers()
        );
        Ok(())
    }
}

/// A folder on the real disk, under the build's target folder; removed when dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Result<Self> {
        const TMPFS: i64 = 0x0102_1994;
        let turn = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = Self::parent()?.join(format!("{}-{turn}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        let scratch = Self(path);
        let kind = rustix::fs::statfs(scratch.path())?.f_type;
        if kind == TMPFS {
            bail!("{} is in memory: durable commits need a disk", scratch.0.display());
        }
        Ok(scratch)
    }

    fn parent() -> Result<PathBuf> {
        let myself = std::env::current_exe()?;
        let target = myself.parent().and_then(Path::parent);
        Ok(target.context("this program is not in a target folder")?.join("bench"))
    }

    /// Removes what runs that were killed have left behind.
    fn sweep() -> Result<()> {
        let parent = Self::parent()?;
        std::fs::create_dir_all(&parent)?;
        for entry in std::fs::read_dir(parent)? {
            let entry = entry?;
            let name = entry.file_name();
            let owner = name.to_str().and_then(|name| name.split_once('-'));
            match owner.and_then(|(process, _)| process.parse::<u32>().ok()) {
                Some(process) if Path::new("/proc").join(process.to_string()).exists() => {}
                Some(_) => std::fs::remove_dir_all(entry.path())?,
                // A PostgreSQL's, which empties it by itself.
                None => _ = std::fs::remove_dir(entry.path()),
            }
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} is left behind: {error}", self.0.display());
        }
    }
}
