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
    load::Load,
    report::number,
    requests::{Each, Template, Token},
    seed::{self, TokenKey},
    server::Server,
};

pub const MILLION: usize = 1_000_000;

/// How long a warm-up may take.
const WARM_UP: Duration = Duration::from_secs(300);

pub struct Stage {
    pub binary: PathBuf,
    pub rounds: u32,
    pub round: Duration,
    /// Seeding a million takes a while, so whoever needs them uses the same ones.
    million: Option<Rc<Population>>,
}

impl Stage {
    pub fn new(binary: PathBuf, rounds: u32, round: Duration) -> Result<Self> {
        Scratch::sweep()?;
        Ok(Self { binary, rounds, round, million: None })
    }

    /// A stored population of live sessions, one user each; no server is running on it.
    pub async fn population(&mut self, size: usize) -> Result<Rc<Population>> {
        if size != MILLION {
            return Ok(Rc::new(Population::seed(&self.binary, size).await?));
        }
        if let Some(million) = &self.million {
            return Ok(Rc::clone(million));
        }
        let seeded = Rc::new(Population::seed(&self.binary, size).await?);
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
        Server::start(&self.binary, population.folder()).await
    }
}

/// A database of sessions whose tokens are known.
pub struct Population {
    scratch: Scratch,
    pub tokens: Arc<[Token]>,
    key: TokenKey,
}

impl Population {
    async fn seed(binary: &Path, size: usize) -> Result<Self> {
        let scratch = Scratch::new()?;
        Server::start(binary, scratch.path()).await?.stop().await?;
        let began = Instant::now();
        let seeded = seed::fill(scratch.path(), size)?;
        println!("  seeded {} sessions in {:.1} s", number(size as f64), began.elapsed().as_secs_f64());
        Ok(Self { scratch, tokens: seeded.tokens, key: seeded.key })
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
        static COUNT: AtomicU32 = AtomicU32::new(0);
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
