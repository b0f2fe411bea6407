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

use crate::{
    cluster::Cluster,
    load::Load,
    report::number,
    requests::{Each, Template, Token},
    seed::{self, TokenKey},
    server::{DATABASE, Server},
};

pub const MILLION: usize = 1_000_000;

/// Of folders and databases so far.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// How long a warm-up may take.
const WARM_UP: Duration = Duration::from_secs(300);

/// Where sessions are kept.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
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
    /// Seeding a million takes a while, so whoever needs them uses the same ones.
    million: Option<Rc<Population>>,
    /// Started when it is first needed.
    cluster: Option<Rc<Cluster>>,
}

impl Stage {
    pub fn new(binary: PathBuf, store: Store, rounds: u32, round: Duration) -> Result<Self> {
        Scratch::sweep()?;
        Ok(Self { binary, store, rounds, round, million: None, cluster: None })
    }

    /// The PostgreSQL of this run.
    pub fn cluster(&mut self) -> Result<Rc<Cluster>> {
        let cluster = match &self.cluster {
            Some(cluster) => Rc::clone(cluster),
            None => Rc::new(Cluster::start()?),
        };
        self.cluster = Some(Rc::clone(&cluster));
        Ok(cluster)
    }

    async fn seed(&mut self, size: usize) -> Result<Rc<Population>> {
        let scratch = Scratch::new()?;
        let (url, cluster) = match self.store {
            Store::Sqlite => (format!("sqlite://{}", scratch.path().join(DATABASE).display()), None),
            Store::Postgres => {
                let cluster = self.cluster()?;
                let name = format!("sessions_{}", COUNT.fetch_add(1, Ordering::Relaxed));
                cluster.create(&name).await?;
                (cluster.url(&name), Some(cluster))
            }
        };
        Ok(Rc::new(Population::seed(&self.binary, scratch, url, cluster, size).await?))
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
        Server::start(&self.binary, population.folder(), &population.url).await
    }
}

/// A database of sessions whose tokens are known.
pub struct Population {
    pub url: String,
    pub tokens: Arc<[Token]>,
    key: TokenKey,
    /// After the cluster's connections and before its folder.
    _cluster: Option<Rc<Cluster>>,
    scratch: Scratch,
}

impl Population {
    async fn seed(
        binary: &Path,
        scratch: Scratch,
        url: String,
        cluster: Option<Rc<Cluster>>,
        size: usize,
    ) -> Result<Self> {
        Server::start(binary, scratch.path(), &url).await?.stop().await?;
        let began = Instant::now();
        let seeded = match &cluster {
            None => seed::sqlite(&scratch.path().join(DATABASE), size)?,
            Some(_) => seed::postgres(&url, size).await?,
        };
        println!("  seeded {} sessions in {:.1} s", number(size as f64), began.elapsed().as_secs_f64());
        Ok(Self { url, tokens: seeded.tokens, key: seeded.key, _cluster: cluster, scratch })
    }

    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    pub fn all(&self) -> Range<usize> {
        0..self.tokens.len()
    }

    /// Tokens that the server could have issued but that no row knows: their sessions are long gone.
    pub fn gone(&self, count: usize) -> Arc<[Token]> {
        let stored = self.tokens.len();
        seed::tokens(&self.key, stored..stored + count)
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
            if let Some(process) = owner.and_then(|(process, _)| process.parse::<u32>().ok())
                && !Path::new("/proc").join(process.to_string()).exists()
            {
                std::fs::remove_dir_all(entry.path())?;
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
