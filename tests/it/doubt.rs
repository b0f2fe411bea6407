//! While memory may be out of date, checks are answered by the store; then by memory again, which was kept.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sessiond::cache::Cache;
use sessiond::coherence::{BootClock, Coherence};
use sessiond::config::DatabaseUrl;
use sessiond::domain::clock::{Clock, SystemClock};
use sessiond::domain::entropy::{Entropy, SystemEntropy};
use sessiond::domain::id::ReplicaId;
use sessiond::domain::revocation::Seq;
use sessiond::domain::session::{Client, Lifetime, Lifetimes};
use sessiond::domain::text::LoginName;
use sessiond::password::Hasher;
use sessiond::service::login::Login;
use sessiond::service::verify::Presented;
use sessiond::service::{Error, Memory, Parts, Service};
use sessiond::store::connect::{Role, connect};
use sessiond::store::replicas::News;
use sessiond::store::{Replica, Replicas, Result, StoreError};
use sessiond::telemetry::Metrics;
use sessiond::touch::Flusher;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::harness::{BOB, PASSWORD, Server};
use crate::process::until;

const LIFE: Lifetime = Lifetime { idle: Duration::from_secs(1000), absolute: Duration::from_secs(100_000) };

/// A store that one process shares with nobody, and that can fail.
#[derive(Default)]
struct Nobody {
    down: AtomicBool,
    row: Mutex<Vec<Replica>>,
}

#[async_trait]
impl Replicas for Nobody {
    async fn join(&self, id: ReplicaId) -> Result<Seq> {
        *self.row.lock().expect("a lock") = vec![Replica { id, beat: 0, applied: Seq(0) }];
        Ok(Seq(0))
    }

    async fn beat(&self, _: ReplicaId, applied: Seq) -> Result<Option<News>> {
        self.news(applied).await.map(Some)
    }

    async fn news(&self, _: Seq) -> Result<News> {
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::Unreachable(String::from("unplugged")));
        }
        Ok(News { timeline: 1, head: Seq(0), revocations: vec![], replicas: self.row.lock().expect("a lock").clone() })
    }

    async fn acknowledge(&self, _: ReplicaId, _: Seq) -> Result<()> {
        Ok(())
    }

    async fn reap(&self, _: Replica) -> Result<()> {
        Ok(())
    }

    async fn leave(&self, _: ReplicaId) -> Result<()> {
        Ok(())
    }

    async fn hint(&self) {
        std::future::pending().await
    }
}

/// Stands still until it is moved by seconds.
#[derive(Default)]
struct Boot(AtomicU64);

impl BootClock for Boot {
    fn now(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn readiness_says_what_answers_checks() {
    for (settings, cache, trusted) in
        [("", "cache: trusted", 1), ("cache = 'off'", "cache: off, each check reads the store", 0)]
    {
        let server = Server::with(settings).await;
        let ready = server.ops("/readyz").await;
        assert!(ready.status == 200 && ready.text().lines().any(|line| line == cache), "{}", ready.text());
        let (metrics, trusted) = (server.ops("/metrics").await.text(), format!("sessiond_cache_trusted {trusted}"));
        assert!(metrics.lines().any(|line| line == trusted), "{metrics}");
        server.stop().await;
    }
}

#[tokio::test]
async fn while_memory_is_not_trusted_every_check_reads_the_store() {
    let dir = tempfile::tempdir().expect("a directory");
    let url = DatabaseUrl::new(format!("sqlite://{}/test.db", dir.path().display()));
    let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let store = connect(&url, Role::Command, clock.clone(), &*entropy).await.expect("a store");
    let lifetimes = Lifetimes { plain: LIFE, remembered: LIFE };
    let (shared, boot, metrics) = (Arc::new(Nobody::default()), Arc::new(Boot::default()), Arc::<Metrics>::default());
    let cache = Some(Arc::new(Cache::new(1000, lifetimes)));
    let (coherence, beats) =
        Coherence::among(shared.clone(), cache.clone(), boot.clone(), entropy.clone(), metrics.clone());
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    tasks.spawn(beats.run(stop.clone()));
    let (_flusher, touches) = Flusher::new(store.clone(), cache.clone(), lifetimes);
    let hasher = Hasher::start(NonZeroUsize::MIN, 10, &entropy).expect("a hasher");
    let sessions_per_user = NonZeroUsize::MAX;
    let parts = Parts {
        store: store.clone(),
        cache,
        coherence,
        hasher,
        touches,
        clock,
        entropy,
        metrics: metrics.clone(),
        lifetimes,
        sessions_per_user,
    };
    let service = Service::new(parts).await.expect("a service");
    service.operator().add_user(BOB, None, None, false, PASSWORD.into()).await.expect("a user");
    let login = Login {
        name: LoginName::either(BOB),
        password: PASSWORD.into(),
        remembered: false,
        replaces: None,
        client: Client::default(),
    };
    let bob = service.login(login).await.expect("right");
    let presented = Presented { token: bob.token.clone(), user: None };
    let check = async || service.verify(&presented).await.map(|_| ());
    let accepted = |source: &str| {
        let name = format!("sessiond_checks_total{{result=\"accepted\",source=\"{source}\"}} ");
        let shown = metrics.render(0, 0, true);
        shown.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
    };

    until("memory is trusted", async || service.memory() == Memory::Trusted).await;
    for _ in 0..3 {
        check().await.expect("live");
    }
    assert_eq!((accepted("store"), accepted("memory")), (1, 2));

    shared.down.store(true, Ordering::SeqCst);
    boot.0.fetch_add(1, Ordering::SeqCst);
    for _ in 0..3 {
        check().await.expect("live");
    }
    assert_eq!((accepted("store"), accepted("memory")), (4, 2));
    until("it is said why", async || matches!(service.memory(), Memory::Doubted(why) if why.contains("unplugged")))
        .await;

    shared.down.store(false, Ordering::SeqCst);
    until("memory is trusted again", async || service.memory() == Memory::Trusted).await;
    check().await.expect("live");
    assert_eq!((accepted("store"), accepted("memory")), (4, 3));

    shared.down.store(true, Ordering::SeqCst);
    boot.0.fetch_add(1, Ordering::SeqCst);
    service.operator().revoke(bob.session.id).await.expect("revoked");
    assert!(matches!(check().await, Err(Error::NoSession)), "what memory still has, the store has not");
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    store.close().await;
}
