//! What is read ahead of checks, in which order, and what keeps it out of the cache, against a small store in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::*;
use crate::cache::Check;
use crate::cache::coherence::NotSettled;
use crate::cache::sessions::tests::{NOW, cache, keep, user};
use crate::domain::clock::ManualClock;
use crate::domain::entropy::SystemEntropy;
use crate::domain::id::SessionId;
use crate::domain::principal::Identity;
use crate::domain::revocation::{Revocation, Seq};
use crate::domain::session::Expiry;
use crate::domain::token::TokenHash;
use crate::domain::user::User;
use crate::store;
use crate::telemetry::{MetricsFormat, Readings};

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

fn token(number: i64) -> TokenHash {
    let mut bytes = [0; 32];
    let spread = number.wrapping_mul(0x1E37_79B9_7F4A_7C15);
    bytes[..8].copy_from_slice(&spread.to_le_bytes());
    TokenHash::from_bytes(bytes)
}

/// What happens while a part is read, once its sessions are chosen.
type Meanwhile = Box<dyn FnMut() + Send>;

/// Sessions by number with their last-seen times, all of one user, and how they are read.
struct Sessions {
    user: User,
    seen: BTreeMap<i64, Timestamp>,
    read: Mutex<Vec<Part>>,
    meanwhile: Mutex<Option<Meanwhile>>,
    /// How many reads fail, how long each takes, and whether it never ends.
    failing: AtomicU32,
    takes: Mutex<Duration>,
    hangs: AtomicBool,
    closed: AtomicU32,
    /// How many look-ups were asked for, and how many more are each time that this is looked at: many, unless a test says
    /// otherwise.
    asked: AtomicU64,
    more: AtomicU64,
}

impl Sessions {
    fn new(seen: impl IntoIterator<Item = (i64, Timestamp)>) -> Self {
        Self {
            user: user(),
            seen: seen.into_iter().collect(),
            read: Mutex::default(),
            meanwhile: Mutex::default(),
            failing: AtomicU32::default(),
            takes: Mutex::default(),
            hangs: AtomicBool::default(),
            closed: AtomicU32::default(),
            asked: AtomicU64::default(),
            more: AtomicU64::new(MANY),
        }
    }
}

#[async_trait]
impl Ahead for Sessions {
    async fn read(&self, part: &Part) -> store::Result<PartRead> {
        self.read.lock().push(part.clone());
        let takes = *self.takes.lock();
        sleep(takes).await;
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.failing.load(Ordering::Relaxed) > 0 {
            self.failing.fetch_sub(1, Ordering::Relaxed);
            return Err(StoreError::too_slow("late"));
        }
        let rows = self.seen.range(..part.before.unwrap_or(i64::MAX)).rev().take(part.rows as usize);
        let rows: Vec<_> = rows.map(|(number, seen)| (*number, *seen)).collect();
        let session = |(number, seen): (i64, Timestamp)| LiveSession {
            token_hash: token(number),
            identity: Identity::new(&self.user, SessionId::random(&SystemEntropy).expect("entropy")),
            last_seen_at: seen,
            expiry: Expiry { idle: NOW.after(DAY), absolute: NOW.after(DAY) },
            remembered: false,
        };
        let read = PartRead {
            sessions: rows.iter().copied().filter(|(_, seen)| part.seen.contains(seen)).map(session).collect(),
            earlier: rows.iter().any(|(_, seen)| *seen < part.seen.start),
            next: rows.last().map(|(number, _)| *number),
        };
        if let Some(meanwhile) = &mut *self.meanwhile.lock() {
            meanwhile();
        }
        Ok(read)
    }

    fn asked(&self) -> u64 {
        let more = self.more.load(Ordering::Relaxed);
        self.asked.fetch_add(more, Ordering::Relaxed) + more
    }

    async fn close(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Trust that a test gives and takes.
struct Trusted(AtomicBool);

#[async_trait]
impl Coherence for Trusted {
    fn is_caching(&self) -> bool {
        true
    }

    fn trusted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn untrusted_reason(&self) -> Option<String> {
        None
    }

    async fn settled(&self, _: Seq) -> Result<(), NotSettled> {
        Ok(())
    }

    async fn settled_as_read(&self, _: Seq) -> Result<(), NotSettled> {
        Ok(())
    }

    async fn flushed(&self, _: Seq) -> Result<(), NotSettled> {
        Ok(())
    }
}

/// A warm-up from some sessions, whose task is not started yet.
struct Bench {
    sessions: Arc<Sessions>,
    cache: Arc<Cache>,
    trust: Arc<Trusted>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
}

impl Bench {
    fn new(seen: impl IntoIterator<Item = (i64, Timestamp)>, entries: usize) -> Self {
        Self {
            sessions: Arc::new(Sessions::new(seen)),
            cache: Arc::new(cache(entries)),
            trust: Arc::new(Trusted(AtomicBool::new(true))),
            metrics: Arc::default(),
            stop: CancellationToken::new(),
        }
    }

    fn start(&self) -> JoinHandle<()> {
        let task = WarmUp {
            ahead: self.sessions.clone(),
            cache: self.cache.clone(),
            coherence: self.trust.clone(),
            clock: Arc::new(ManualClock::new(NOW)),
            metrics: self.metrics.clone(),
        };
        #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
        tokio::spawn(task.run(self.stop.clone()))
    }

    /// Waits until it was done so many times.
    async fn done(&self, times: u32) {
        while self.sessions.closed.load(Ordering::Relaxed) < times {
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn reads(&self) -> Vec<Part> {
        self.sessions.read.lock().clone()
    }

    fn knows(&self, number: i64) -> bool {
        matches!(self.cache.check(&token(number), NOW), Check::Live { .. })
    }
}

/// Rows that were all seen lately.
fn seen_lately(numbers: std::ops::RangeInclusive<i64>) -> impl Iterator<Item = (i64, Timestamp)> {
    numbers.map(|number| (number, NOW.before(MINUTE)))
}

#[tokio::test(start_paused = true)]
async fn what_was_seen_lately_comes_first_and_of_that_the_newest_logins() {
    let old = (1..=700).map(|number| (number, NOW.before(DAY * 3)));
    let yesterday = (701..=900).map(|number| (number, NOW.before(DAY / 2)));
    let bench = Bench::new(old.chain(yesterday).chain(seen_lately(901..=1500)), 100_000);
    let order = Arc::new(Mutex::new(Vec::new()));
    let (cache, seen) = (bench.cache.clone(), order.clone());
    *bench.sessions.meanwhile.lock() = Some(Box::new(move || seen.lock().push(cache.len())));
    bench.start();
    bench.done(1).await;
    assert_eq!(bench.cache.len(), 1500);
    assert_eq!(bench.metrics.warm_up.sessions(), 1500);
    let reads: Vec<_> = bench.reads().iter().map(|part| (part.before, part.seen.start)).collect();
    let wave = |start| [None, Some(989), Some(477), Some(1)].map(|before| (before, start));
    let [lately, within_a_day] = WAVES.map(|span| NOW.before(span));
    assert_eq!(reads, [wave(lately), wave(within_a_day), wave(Timestamp::from_millis(i64::MIN))].concat());
    assert_eq!(*order.lock(), [0, 512, 600, 600, 600, 600, 800, 800, 800, 800, 1024, 1500], "in the cache by then");
}

#[tokio::test(start_paused = true)]
async fn where_all_were_seen_lately_they_are_read_once() {
    let bench = Bench::new(seen_lately(1..=1000), 100_000);
    bench.start();
    bench.done(1).await;
    assert_eq!((bench.reads().len(), bench.cache.len()), (3, 1000), "the last one finds no row");
    sleep(DAY).await;
    assert_eq!((bench.reads().len(), bench.sessions.closed.load(Ordering::Relaxed)), (3, 1), "nothing more to do");
}

#[tokio::test(start_paused = true)]
async fn what_is_revoked_while_it_is_read_is_not_put_into_the_cache() {
    let bench = Bench::new(seen_lately(1..=600), 100_000);
    let (cache, mut seq) = (bench.cache.clone(), 0);
    *bench.sessions.meanwhile.lock() = Some(Box::new(move || {
        // One that this read has found, and one that the read before has.
        seq += 1;
        let sessions = vec![token(if seq == 1 { 300 } else { 301 })];
        cache.apply(&Revocation { seq: Seq(seq), sessions, ..Revocation::default() });
    }));
    bench.start();
    bench.done(1).await;
    assert!(!bench.knows(300), "read before it was revoked");
    assert!(!bench.knows(301), "revoked once it was in the cache");
    let missing = (1..=600).filter(|number| !bench.knows(*number)).count();
    assert!((2..60).contains(&missing), "its neighbours in a shard are read when they are checked: {missing}");
}

#[tokio::test(start_paused = true)]
async fn sessions_of_a_user_who_is_revoked_while_they_are_read_are_asked_for_anew() {
    let bench = Bench::new(seen_lately(1..=10), 100_000);
    let (cache, users) = (bench.cache.clone(), vec![bench.sessions.user.id]);
    let mut first = true;
    *bench.sessions.meanwhile.lock() = Some(Box::new(move || {
        if std::mem::take(&mut first) {
            cache.apply(&Revocation { seq: Seq(1), users: users.clone(), ..Revocation::default() });
        }
    }));
    bench.start();
    bench.done(1).await;
    assert!((1..=10).all(|number| !bench.knows(number)));
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_the_cache_was_cleared_is_not_put_into_it() {
    let bench = Bench::new(seen_lately(1..=10), 100_000);
    let (cache, trust) = (bench.cache.clone(), bench.trust.clone());
    *bench.sessions.meanwhile.lock() = Some(Box::new(move || {
        trust.0.store(false, Ordering::Relaxed);
        cache.clear(Seq(0));
    }));
    bench.start();
    sleep(MINUTE).await;
    assert_eq!((bench.reads().len(), bench.cache.len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn it_takes_free_room_only_and_ends_when_there_is_none() {
    let bench = Bench::new(seen_lately(1..=5000), 128);
    let checked: Vec<_> = (10_001..=10_040).collect();
    for number in &checked {
        keep(&bench.cache, token(*number), &user());
    }
    bench.start();
    bench.done(1).await;
    assert_eq!(bench.cache.len(), 128);
    let kept = checked.iter().filter(|number| bench.knows(**number)).count();
    let evicted = 40 - kept;
    assert!(evicted < 40 && bench.metrics.warm_up.sessions() == 128 - kept as u64, "{kept}");
    assert!(bench.reads().len() < 10, "{}", bench.reads().len());
}

#[tokio::test(start_paused = true)]
async fn in_doubt_it_waits_and_then_goes_on_where_it_was() {
    let bench = Bench::new(seen_lately(1..=2000), 100_000);
    bench.trust.0.store(false, Ordering::Relaxed);
    bench.start();
    sleep(MINUTE).await;
    assert_eq!(bench.reads(), []);
    let trust = bench.trust.clone();
    *bench.sessions.meanwhile.lock() = Some(Box::new(move || trust.0.store(false, Ordering::Relaxed)));
    for reads in 1..=3 {
        bench.trust.0.store(true, Ordering::Relaxed);
        sleep(MINUTE).await;
        assert_eq!(bench.reads().len(), reads);
    }
    assert_eq!(bench.reads().last().and_then(|part| part.before), Some(977));
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_was_cleared_is_warmed_anew() {
    let bench = Bench::new(seen_lately(1..=2000), 100_000);
    bench.start();
    bench.done(1).await;
    bench.cache.clear(Seq(9));
    bench.done(2).await;
    assert_eq!(bench.cache.len(), 2000);

    let (cache, mut times) = (bench.cache.clone(), 0);
    *bench.sessions.meanwhile.lock() = Some(Box::new(move || {
        times += 1;
        if times == 2 {
            cache.clear(Seq(9));
        }
    }));
    bench.cache.clear(Seq(9));
    bench.done(4).await;
    assert_eq!(bench.cache.len(), 2000, "in the middle");
}

#[tokio::test(start_paused = true)]
async fn a_read_under_way_is_abandoned_when_it_is_stopped() {
    let bench = Bench::new(seen_lately(1..=2000), 100_000);
    bench.sessions.hangs.store(true, Ordering::Relaxed);
    let task = bench.start();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.reads().len(), 1);
    bench.stop.cancel();
    let before = Instant::now();
    task.await.expect("no panic");
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_asked_again_after_a_pause_and_in_the_end_no_more() {
    let bench = Bench::new(seen_lately(1..=2000), 100_000);
    bench.sessions.failing.store(FAILURES - 1, Ordering::Relaxed);
    let began = Instant::now();
    bench.start();
    bench.done(1).await;
    assert_eq!(bench.cache.len(), 2000);
    assert!(began.elapsed() >= RETRY * 10, "{:?}", began.elapsed());

    bench.sessions.failing.store(u32::MAX, Ordering::Relaxed);
    let before = bench.reads().len();
    bench.cache.clear(Seq(1));
    bench.done(2).await;
    assert_eq!(bench.reads().len() - before, FAILURES as usize);
    sleep(DAY).await;
    assert_eq!(bench.reads().len() - before, FAILURES as usize);
    let shown = bench.metrics.render(&Readings::default(), MetricsFormat::Prometheus);
    for line in
        ["sessiond_cache_warm_ups_total{ending=\"complete\"} 1", "sessiond_cache_warm_ups_total{ending=\"failing\"} 1"]
    {
        assert!(shown.lines().any(|shown| shown == line), "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_under_pressure_is_left_in_peace_for_most_of_the_time() {
    let bench = Bench::new(seen_lately(1..=2000), 100_000);
    *bench.sessions.takes.lock() = SLOW * 2;
    let began = Instant::now();
    bench.start();
    bench.done(1).await;
    assert!(began.elapsed() >= SLOW * 2 * (RELIEF + 1) * 4, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn it_reads_no_faster_than_it_may() {
    let bench = Bench::new(seen_lately(1..=51_200), 100_000);
    let began = Instant::now();
    bench.start();
    bench.done(1).await;
    assert!(began.elapsed() >= EVERY * 100, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn more_is_read_at_a_time_while_many_look_ups_are_asked_for() {
    let bench = Bench::new(seen_lately(1..=1024), 100_000);
    bench.sessions.more.store(MANY - 1, Ordering::Relaxed);
    let sessions = Arc::clone(&bench.sessions);
    let mut reads = 0;
    *bench.sessions.meanwhile.lock() = Some(Box::new(move || {
        reads += 1;
        sessions.more.store(if reads == 2 { MANY } else { MANY - 1 }, Ordering::Relaxed);
    }));
    bench.start();
    bench.done(1).await;
    let rows: Vec<_> = bench.reads().iter().map(|part| part.rows).collect();
    assert_eq!(rows, [BATCH, BATCH, LARGE_BATCH, BATCH, BATCH, BATCH]);
}
