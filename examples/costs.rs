//! Measures what the store's operations cost PostgreSQL: the processor time of its processes and the log it writes.
//!
//! ```sh
//! cargo run --release --example costs -- postgres://…/database 1000000 [together]
//! ```
//!
//! With `together` it is some replicas at once, and what their logouts take, to hold the simulation against.
//!
//! It runs on PostgreSQL's own machine, as a superuser, on a database that `sessions.sql` has filled with so many
//! sessions. What it runs is the service's own code.

#![expect(clippy::print_stdout, reason = "a table is what it is run for")]
#![expect(clippy::cast_precision_loss, reason = "the figures are rounded anyway")]
#![expect(clippy::indexing_slicing, reason = "as many are drawn as are asked for")]

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use sessiond::cache::Cache;
use sessiond::coherence::{Coherence, SystemBootClock};
use sessiond::config::DatabaseUrl;
use sessiond::domain::clock::{Clock as _, ManualClock, Timestamp};
use sessiond::domain::entropy::SystemEntropy;
use sessiond::domain::id::{ReplicaId, SessionId, UserId};
use sessiond::domain::revocation::Seq;
use sessiond::domain::session::{Client, Expiry, Lifetime, Lifetimes, Seen, Session};
use sessiond::domain::token::TokenHash;
use sessiond::store::connect::{Role, connect};
use sessiond::store::{Logout, Lookup, NewSession, Replicas, SharedStore};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_postgres::NoTls;
use tokio_util::sync::CancellationToken;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// When the sessions of `sessions.sql` are looked at.
const NOW: Timestamp = Timestamp::from_millis(1_795_276_800_000);
/// In milliseconds.
const DAY: i64 = 24 * 3_600_000;
const LIFE: Lifetime = Lifetime { idle: Duration::from_hours(2), absolute: Duration::from_hours(24) };
/// How often each is measured.
const ROUNDS: usize = 5;

struct Costs {
    url: DatabaseUrl,
    store: SharedStore,
    clock: Arc<ManualClock>,
    admin: tokio_postgres::Client,
    sessions: u64,
    /// Drawn from, so that no session is asked for twice.
    drawn: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(sessions)) = (arguments.next(), arguments.next()) else {
        return Err("which database, and how many sessions are in it?".into());
    };
    let (admin, connection) = tokio_postgres::connect(&url, NoTls).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let clock = Arc::new(ManualClock::new(NOW));
    let url = DatabaseUrl::new(url);
    let store = open(&url, &clock).await?;
    let mut costs = Costs { url, store, clock, admin, sessions: sessions.parse()?, drawn: 0 };
    if arguments.next().is_some_and(|what| what == "together") {
        return costs.together().await;
    }
    println!("| operation | CPU | of one process | elapsed | log |\n| --- | ---: | ---: | ---: | ---: |");
    costs.reads().await?;
    costs.writes().await?;
    costs.replicas().await?;
    costs.listeners().await
}

async fn open(url: &DatabaseUrl, clock: &Arc<ManualClock>) -> Result<SharedStore> {
    sessiond::telemetry::notices::install();
    Ok(connect(url, Role::Command, clock.clone(), &SystemEntropy).await?)
}

fn token(number: u64) -> TokenHash {
    TokenHash::from_bytes(Sha256::digest(number.to_string()).into())
}

impl Costs {
    /// The token of some session that was not drawn before, all over the table.
    fn draw(&mut self) -> TokenHash {
        self.drawn += 1;
        token(self.drawn.wrapping_mul(2_654_435_761) % self.sessions + 1)
    }

    /// The same of one that is live.
    async fn live(&mut self) -> Result<(TokenHash, Session)> {
        loop {
            let token = self.draw();
            if let Lookup::Found(found) = self.store.lookup(&token).await?
                && !found.0.expiry.over(self.clock.now())
            {
                return Ok((token, found.0));
            }
        }
    }

    async fn all_live(&mut self, count: usize) -> Result<Vec<(TokenHash, Session)>> {
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            all.push(self.live().await?);
        }
        Ok(all)
    }

    async fn reads(&mut self) -> Result<()> {
        let tokens: Vec<_> = (0..6000).map(|_| self.draw()).collect();
        let store = &self.store;
        let look_up = async |at: usize| store.lookup(&tokens[at]).await.map(drop);
        self.measure("look-up by token", 1000, 5000, look_up).await?;
        let users: Vec<_> = self.all_live(1500).await?.into_iter().map(|(_, session)| session.user_id).collect();
        let store = &self.store;
        let list = async |at: usize| store.sessions(users[at], NOW).await.map(drop);
        self.measure("list of a user's sessions", 500, 1000, list).await
    }

    async fn writes(&mut self) -> Result<()> {
        for (batch, count) in [(1, 300), (16, 50), (64, 20), (256, 10)] {
            let warm = count / 4;
            let batches = self.batches(warm + count, batch).await?;
            let store = &self.store;
            let logout = async |at: usize| {
                let all = batches[at].iter().map(|(token, session)| {
                    store.logout(Logout { token: *token, user: Some(session.user_id), ip: Some("203.0.113.7".into()) })
                });
                try_join_all(all).await.map(drop)
            };
            self.measure(&format!("{batch} logouts in a batch"), warm, count, logout).await?;
        }
        for (batch, count) in [(1, 200), (256, 10)] {
            let warm = count / 4;
            let batches = self.batches(warm + count, batch).await?;
            let (store, at_end) = (&self.store, NOW.after(Duration::from_mins(1)));
            let touch = async |at: usize| {
                let seen = batches[at].iter().map(|(token, session)| Seen {
                    token_hash: *token,
                    at: at_end,
                    idle_until: session.expiry.idle.after(Duration::from_mins(1)),
                });
                store.touch(seen.collect()).await.map(drop)
            };
            self.measure(&format!("{batch} last-seen times in a batch"), warm, count, touch).await?;
        }
        let mut logins = Vec::new();
        for (_, session) in self.all_live(250).await? {
            logins.push(login_of(session.user_id, SessionId::random(&SystemEntropy)?));
        }
        let store = &self.store;
        let login = async |at: usize| store.create_session(logins[at].clone()).await.map(drop);
        self.measure("login, without its hash", 50, 200, login).await?;
        // A week of logins is purged, so there are enough.
        let before = Timestamp::from_millis(NOW.millis() + 6 * DAY);
        let purge = async |_| store.purge(before, 256).await.map(drop);
        self.measure("purge of 256", 5, 20, purge).await
    }

    async fn batches(&mut self, count: usize, size: usize) -> Result<Vec<Vec<(TokenHash, Session)>>> {
        let mut batches = Vec::with_capacity(count);
        for _ in 0..count {
            batches.push(self.all_live(size).await?);
        }
        Ok(batches)
    }

    async fn replicas(&mut self) -> Result<()> {
        let shared = self.store.shared().ok_or("not shared")?;
        let mut ids: Vec<ReplicaId> = Vec::new();
        for rows in [1, 10, 100, 300] {
            while ids.len() < rows {
                let id = ReplicaId::random(&SystemEntropy)?;
                shared.register(id, true).await?;
                ids.push(id);
            }
            let head = shared.news(Seq(i64::MAX)).await?.head;
            let beat = async |at: usize| shared.beat(ids[at % rows], head).await.map(drop);
            self.measure(&format!("beat, {rows} rows"), 100, 400, beat).await?;
            let news = async |_| shared.news(head).await.map(drop);
            self.measure(&format!("news, {rows} rows"), 100, 1000, news).await?;
        }
        let head = shared.news(Seq(i64::MAX)).await?.head;
        let news = async |_| shared.news(Seq(head.0 - 16)).await.map(drop);
        self.measure("news, 300 rows and 16 numbers", 50, 500, news).await?;
        for id in &ids {
            shared.deregister(*id).await?;
        }
        let id = ReplicaId::random(&SystemEntropy)?;
        shared.register(id, true).await?;
        let acknowledge =
            async |at: usize| shared.acknowledge(id, Seq(head.0 + 1 + i64::try_from(at).unwrap_or(0))).await;
        self.measure("acknowledge", 100, 1000, acknowledge).await?;
        Ok(shared.deregister(id).await?)
    }

    /// What each that listens adds to a logout.
    async fn listeners(&mut self) -> Result<()> {
        let mut listening: Vec<(SharedStore, Arc<dyn Replicas>)> = Vec::new();
        for count in [0, 30, 100, 300] {
            while listening.len() < count {
                let store = open(&self.url, &self.clock).await?;
                let shared = store.shared().ok_or("not shared")?;
                shared.news(Seq(i64::MAX)).await?;
                listening.push((store, shared));
            }
            let sessions = self.all_live(250).await?;
            let store = &self.store;
            let listening = &listening;
            let logout = async |at: usize| {
                let (token, session) = &sessions[at];
                let logout = Logout { token: *token, user: Some(session.user_id), ip: None };
                store.logout(logout).await?;
                join_all(listening.iter().map(|(_, shared)| shared.hint())).await;
                Ok(())
            };
            self.measure(&format!("logout, {count} listening"), 50, 200, logout).await?;
        }
        Ok(())
    }

    /// How long logouts take on so many replicas, a hundred a second over all of them, and how busy that keeps PostgreSQL.
    async fn together(&mut self) -> Result<()> {
        const EVERY: Duration = Duration::from_millis(10);
        const COUNT: usize = 1000;
        println!("| replicas | p50 | p99 | CPU, of one core |\n| ---: | ---: | ---: | ---: |");
        for count in [1, 3, 10, 30, 60] {
            let (mut replicas, mut tasks, stop) = (Vec::new(), JoinSet::new(), CancellationToken::new());
            for _ in 0..count {
                let store = open(&self.url, &self.clock).await?;
                let cache = Arc::new(Cache::new(1_000_000, Lifetimes { plain: LIFE, remembered: LIFE }));
                let shared = store.shared().ok_or("not shared")?;
                let (clock, entropy) = (Arc::new(SystemBootClock), Arc::new(SystemEntropy));
                let (coherence, beats) = Coherence::among(shared, cache, true, clock, entropy, Arc::default());
                tasks.spawn(beats.run(stop.clone()));
                replicas.push((store, coherence));
            }
            let sessions = self.all_live(COUNT).await?;
            while !replicas.iter().all(|(_, coherence)| coherence.trusted()) {
                tokio::time::sleep(EVERY).await;
            }
            let (before, begin) = (self.cpu().await?, Instant::now());
            let mut logouts = JoinSet::new();
            let mut tick = tokio::time::interval(EVERY);
            for (at, (token, session)) in sessions.into_iter().enumerate() {
                tick.tick().await;
                let (store, coherence) = replicas[at % count].clone();
                logouts.spawn(async move {
                    let came = Instant::now();
                    let revoked = store.logout(Logout { token, user: Some(session.user_id), ip: None }).await;
                    let settled = coherence.settled(revoked.map(|revoked| revoked.seq).unwrap_or_default()).await;
                    settled.map(|()| came.elapsed())
                });
            }
            let mut took: Vec<Duration> =
                logouts.join_all().await.into_iter().collect::<std::result::Result<_, _>>()?;
            let (after, elapsed) = (self.cpu().await?, begin.elapsed());
            let spent = |(pid, time): (&i32, &u64)| time - before.get(pid).copied().unwrap_or_default();
            let busy = after.iter().map(spent).sum::<u64>() as f64 / elapsed.as_nanos() as f64;
            took.sort_unstable();
            println!(
                "| {count} | {:.1} ms | {:.1} ms | {:.0} % |",
                took[COUNT / 2].as_secs_f64() * 1e3,
                took[COUNT * 99 / 100].as_secs_f64() * 1e3,
                busy * 100.0
            );
            stop.cancel();
            tasks.join_all().await;
            for (store, _) in replicas {
                store.close().await;
            }
        }
        Ok(())
    }

    /// Runs `work` so often, after a while of warming up, and prints what one of it cost: processor time in the best of
    /// five rounds, since others use the machine too.
    async fn measure(
        &self,
        what: &str,
        warm: usize,
        count: usize,
        work: impl AsyncFn(usize) -> sessiond::store::Result<()>,
    ) -> Result<()> {
        for at in 0..warm {
            work(at).await?;
        }
        let log = self.log().await?;
        let (mut best, mut busiest, mut quickest) = (u64::MAX, 0, Duration::MAX);
        let round = count / ROUNDS;
        for first in (0..ROUNDS).map(|number| warm + number * round) {
            let (before, begin) = (self.cpu().await?, Instant::now());
            for at in first..first + round {
                work(at).await?;
            }
            quickest = quickest.min(begin.elapsed());
            let after = self.cpu().await?;
            let each: Vec<_> =
                after.iter().map(|(pid, time)| time - before.get(pid).copied().unwrap_or_default()).collect();
            let total = each.iter().sum();
            if total < best {
                (best, busiest) = (total, each.into_iter().max().unwrap_or_default());
            }
        }
        let divided = |total: f64, by: usize| total / f64::from(u32::try_from(by).unwrap_or(1));
        println!(
            "| {what} | {:.0} us | {:.0} us | {:.0} us | {:.0} bytes |",
            divided(best as f64 / 1e3, round),
            divided(busiest as f64 / 1e3, round),
            divided(quickest.as_secs_f64() * 1e6, round),
            divided(self.log().await? - log, count)
        );
        Ok(())
    }

    /// The processor time, in nanoseconds, of every process that serves a client.
    async fn cpu(&self) -> Result<HashMap<i32, u64>> {
        let sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        let mut times = HashMap::new();
        for row in self.admin.query(sql, &[]).await? {
            let pid = row.get(0);
            let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
            times.insert(pid, text.split(' ').next().ok_or("no time")?.parse()?);
        }
        Ok(times)
    }

    /// How many bytes of log there are.
    async fn log(&self) -> Result<f64> {
        Ok(self.admin.query_one("SELECT (pg_current_wal_insert_lsn() - '0/0')::float8", &[]).await?.get(0))
    }
}

fn login_of(user: UserId, id: SessionId) -> NewSession {
    let session = Session {
        id,
        user_id: user,
        created_at: NOW,
        last_seen_at: NOW,
        expiry: Expiry { idle: NOW.after(Duration::from_hours(2)), absolute: NOW.after(Duration::from_hours(24)) },
        remembered: false,
        client: Client {
            ip: "203.0.113.7".into(),
            user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".into(),
            host: "sessions.example.org".into(),
        },
    };
    let drawn = Sha256::digest(session.id.as_str());
    NewSession {
        session,
        token_hash: TokenHash::from_bytes(drawn.into()),
        auth_epoch: 0,
        cap: 100,
        replaces: Vec::new(),
        rehashed: None,
        flushed: true,
    }
}
