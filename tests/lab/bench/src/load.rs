//! The load generator: closed loops (as fast as the answers come) and open loops (on schedule).

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use rustix::process::{Pid, getpid};
use sessiond_support::http::Connection;
use tokio::task::JoinSet;

use crate::{cpu, report, requests::Requests};

/// How many connections a load uses unless its benchmark says otherwise.
pub const CONNECTIONS: usize = 64;

/// How long after its end a load may still wait for answers.
const GRACE: Duration = Duration::from_secs(60);

/// The outcome of a load.
pub struct Outcome {
    pub statuses: BTreeMap<u16, u64>,
    /// The longest wait for an answer of each status.
    pub longest: BTreeMap<u16, Duration>,
    pub elapsed: Duration,
    /// Nanoseconds.
    pub latency: Histogram<u64>,
    /// The requests ran out before the time did.
    pub exhausted: bool,
    last_answer: Instant,
}

impl Outcome {
    /// Nothing yet; other outcomes can be added to it.
    pub fn empty() -> Result<Self> {
        Self::starting(Instant::now())
    }

    fn starting(start: Instant) -> Result<Self> {
        Ok(Self {
            statuses: BTreeMap::new(),
            longest: BTreeMap::new(),
            elapsed: Duration::ZERO,
            latency: Histogram::new_with_bounds(1, 600_000_000_000, 3)?,
            exhausted: false,
            last_answer: start,
        })
    }

    pub fn answers(&self) -> u64 {
        self.statuses.values().sum()
    }

    pub fn rate(&self) -> f64 {
        self.answers() as f64 / self.elapsed.as_secs_f64()
    }

    pub fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.latency.value_at_quantile(quantile))
    }

    fn record(&mut self, since: Instant, answered: Instant, status: u16) {
        *self.statuses.entry(status).or_default() += 1;
        self.waited(status, answered - since);
        self.latency.saturating_record(nanoseconds(answered - since));
        self.last_answer = self.last_answer.max(answered);
    }

    fn waited(&mut self, status: u16, wait: Duration) {
        let longest = self.longest.entry(status).or_default();
        *longest = wait.max(*longest);
    }

    /// How many answers there were of each status.
    pub fn counts(&self) -> String {
        let counts = self.statuses.iter().map(|(status, count)| format!("{status}: {}", report::number(*count as f64)));
        counts.collect::<Vec<_>>().join(", ")
    }

    pub fn add(&mut self, other: &Self) -> Result<()> {
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        for (status, wait) in &other.longest {
            self.waited(*status, *wait);
        }
        self.latency.add(&other.latency)?;
        self.exhausted |= other.exhausted;
        self.last_answer = self.last_answer.max(other.last_answer);
        Ok(())
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A load to be run: the server, the number of connections, and the statuses that are right.
#[derive(Clone, Copy)]
pub struct Load<'a> {
    pub address: SocketAddr,
    pub connections: usize,
    pub allowed: &'a [u16],
}

impl<'a> Load<'a> {
    pub fn new(address: SocketAddr, allowed: &'a [u16]) -> Self {
        Self { address, connections: CONNECTIONS, allowed }
    }

    pub fn over(self, connections: usize) -> Self {
        Self { connections, ..self }
    }

    /// Each connection sends its next request as soon as it has the answer to the one before.
    pub async fn closed<R: Requests>(self, length: Duration, make: impl Fn(usize) -> R) -> Result<Outcome> {
        let mut opened = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            opened.push(Connection::open(self.address).await?);
        }
        let start = Instant::now();
        let (shared, mut running) = (Shared::starting(start)?, JoinSet::new());
        for (index, connection) in opened.into_iter().enumerate() {
            running.spawn(closed_loop(connection, make(index), shared.clone(), start + length));
        }
        self.gather(running, shared, start, length).await
    }

    /// Requests leave at `rate` a second, spread over the connections; a latency counts from the
    /// scheduled moment, so that a delay is charged to every request that it held up.
    pub async fn open<R: Requests>(self, rate: u32, length: Duration, make: impl Fn(usize) -> R) -> Result<Outcome> {
        let mut opened = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            opened.push(Connection::open(self.address).await?);
        }
        let start = Instant::now();
        let gap = Duration::from_secs(1) / rate;
        let every = gap * u32::try_from(self.connections)?;
        let (shared, mut running) = (Shared::starting(start)?, JoinSet::new());
        for (index, connection) in opened.into_iter().enumerate() {
            let first = start + gap * u32::try_from(index)?;
            running.spawn(open_loop(connection, make(index), shared.clone(), first, every, start + length));
        }
        self.gather(running, shared, start, length).await
    }

    async fn gather(
        self,
        mut running: JoinSet<Result<()>>,
        shared: Shared,
        start: Instant,
        length: Duration,
    ) -> Result<Outcome> {
        let ended = async {
            while let Some(one) = running.join_next().await {
                one??;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(length + GRACE, ended)
            .await
            .context("the load did not end in time: an answer is missing")??;
        let mut total = shared.into_outcome()?;
        total.elapsed = total.last_answer - start;
        for (status, count) in &total.statuses {
            if !self.allowed.contains(status) {
                bail!("{count} answers of {} were {status}: {:?}", total.answers(), total.statuses);
            }
        }
        if total.answers() == 0 {
            bail!("no answers at all");
        }
        Ok(total)
    }
}

/// The outcome that all connections of a load record into. One of its own for each would take 260 kB, and to add up a
/// thousand of them would keep this process from sending and receiving for a tenth of a second.
#[derive(Clone)]
struct Shared(Arc<Mutex<Outcome>>);

impl Shared {
    fn starting(start: Instant) -> Result<Self> {
        Ok(Self(Arc::new(Mutex::new(Outcome::starting(start)?))))
    }

    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Once all connections have ended.
    fn into_outcome(self) -> Result<Outcome> {
        let alone = Arc::into_inner(self.0).context("a connection still records")?;
        Ok(alone.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn closed_loop<R: Requests>(
    mut connection: Connection,
    mut requests: R,
    shared: Shared,
    end: Instant,
) -> Result<()> {
    let mut now = Instant::now();
    while now < end {
        let Some(request) = requests.next() else {
            shared.outcome().exhausted = true;
            break;
        };
        let status = connection.exchange_or_reconnect(request).await?;
        let answered = Instant::now();
        shared.outcome().record(now, answered, status);
        now = answered;
    }
    Ok(())
}

async fn open_loop<R: Requests>(
    mut connection: Connection,
    mut requests: R,
    shared: Shared,
    first: Instant,
    every: Duration,
    end: Instant,
) -> Result<()> {
    let mut scheduled = first;
    while scheduled < end {
        tokio::time::sleep_until(scheduled.into()).await;
        let Some(request) = requests.next() else {
            shared.outcome().exhausted = true;
            break;
        };
        let status = connection.exchange_or_reconnect(request).await?;
        shared.outcome().record(scheduled, Instant::now(), status);
        scheduled += every;
    }
    Ok(())
}

/// A load's outcome beside the CPU time that the answering process took for it.
pub struct Measured {
    pub outcome: Outcome,
    pub cpu: Duration,
    pub own_cpu: Duration,
}

impl Measured {
    /// Adds what the same two processes did later.
    pub fn go_on(&mut self, later: &Self) -> Result<()> {
        self.outcome.add(&later.outcome)?;
        self.outcome.elapsed += later.outcome.elapsed;
        self.cpu += later.cpu;
        self.own_cpu += later.own_cpu;
        Ok(())
    }

    /// One line's worth: the rate, the CPU time of each answer, and how busy both sides were.
    pub fn text(&self) -> String {
        format!(
            "{} {:.2} us ({:.0} % / {:.0} % busy)",
            report::rate(self.outcome.rate()),
            1e6 * self.cpu_per_answer(),
            100.0 * self.busy(),
            100.0 * self.own_busy()
        )
    }

    pub fn cpu_per_answer(&self) -> f64 {
        self.cpu.as_secs_f64() / self.outcome.answers() as f64
    }

    /// How much of its CPU the answering process had.
    pub fn busy(&self) -> f64 {
        self.cpu.as_secs_f64() / self.outcome.elapsed.as_secs_f64()
    }

    /// How much of its CPU the load generator had.
    pub fn own_busy(&self) -> f64 {
        self.own_cpu.as_secs_f64() / self.outcome.elapsed.as_secs_f64()
    }
}

/// Runs a load and charges the process `pid` for it.
pub async fn charged(pid: Pid, load: impl Future<Output = Result<Outcome>>) -> Result<Measured> {
    let myself = getpid();
    let (before, own_before) = (cpu::time(pid)?, cpu::time(myself)?);
    let outcome = load.await?;
    let (after, own_after) = (cpu::time(pid)?, cpu::time(myself)?);
    Ok(Measured { outcome, cpu: after.saturating_sub(before), own_cpu: own_after.saturating_sub(own_before) })
}
