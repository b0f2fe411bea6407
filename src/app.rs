//! The composition root: builds the parts, binds the listeners, runs the tasks, and takes all of it down in order.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::cache::coherence::{Coherence, Embedded, SystemBootClock, replicated};
use crate::cache::touch::Flusher;
use crate::cache::warm_up::WarmUp;
use crate::cache::{Cache, TIMING, purge};
use crate::config::{self, CacheMode, Config};
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::entropy::{Entropy, SystemEntropy};
use crate::domain::second_factor::sealed::FactorKeys;
use crate::http::connection::ConnectionSettings;
use crate::http::connection::descriptors::connections;
use crate::http::connection::listener::{self, Deadline, OPS_CONNECTIONS, Served};
use crate::http::framing::HeadRules;
use crate::http::request::state::{App, Timeouts};
use crate::http::{client_service, operations_service, starting};
use crate::password::Hasher;
use crate::service::health::Health;
use crate::service::unreadable::can_open_all;
use crate::service::{self, Parts, Service, standbys};
use crate::store::SharedStore;
use crate::store::connect::{self, ConnectError, Role, connect_saying};
use crate::store::opening::Opening;
use crate::telemetry::{COMMIT, Metrics};

/// How long stopping may take, from the signal to the end of the process: a supervisor that kills after 10 s never has to.
pub const STOPPING: Duration = Duration::from_secs(9);
/// How much of that is kept for the last writes, once no request is under way or waited for any more.
const LAST_WRITES: Duration = Duration::from_secs(1);
/// How many clients may have connected before they are accepted, unless the system allows fewer (`net.core.somaxconn`). The others of a
/// crowd try again only after a second.
const BACKLOG: u32 = 4096;

/// The service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store could not be opened.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Second factors in the store cannot be read.
    #[error(
        "the store has second factors that are encrypted under a key which is not here: set secret_key_file \
         (SESSIOND_SECRET_KEY_FILE) to a file that holds it, on a line of its own, or, if it is lost, remove them by \
         `sessiond user reset-second-factor --unreadable`"
    )]
    SecondFactorKey,
    /// The service could not be built on it.
    #[error(transparent)]
    Service(#[from] service::Error),
    /// An address could not be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// Anything else the operating system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What differs between a real start and a test: the time and the randomness.
#[derive(Clone)]
pub struct Environment {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl Default for Environment {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy) }
    }
}

/// The service on its store, with the tasks it needs, and no listener yet. Commands use it like this.
pub struct Core {
    /// The service.
    pub service: Service,
    /// How long its clients may take, once it is served.
    pub timeouts: Timeouts,
    store: SharedStore,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// To be run once it is served, where checks are answered from memory.
    warm_up: Option<WarmUp>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

/// Builds the service, to serve with it or to run one command.
///
/// # Errors
/// [`StartError`]; nothing is left running.
pub async fn build(config: &Config, serve: bool, environment: Environment) -> Result<Core, StartError> {
    build_saying(config, serve, environment, &Opening::default()).await
}

/// The same, and says meanwhile how far the opening of the store is.
///
/// # Errors
/// [`StartError`]; nothing is left running.
pub async fn build_saying(
    config: &Config,
    serve: bool,
    environment: Environment,
    opening: &Opening,
) -> Result<Core, StartError> {
    let Environment { clock, entropy } = environment;
    let sessions = config.sessions;
    // Without it, checks still note there what they have seen. A command checks nothing.
    let caching = sessions.cache == CacheMode::On;
    let cache = Arc::new(Cache::new(if serve { sessions.cache_entries } else { 1 }, sessions.lifetimes));
    let metrics = Arc::new(Metrics::new(connect::kind(&config.database_url)?));
    let embedded = Arc::new(Embedded::new(cache.clone(), caching, metrics.clone()));
    let role = if serve { Role::Serve(embedded.clone()) } else { Role::Command };
    let store =
        connect_saying(&config.database_url, role, TIMING, clock.clone(), &*entropy, metrics.stores.clone(), opening)
            .await?;
    let factor_keys = factor_keys(config, &store).await?;
    // A command that serves nobody can do without.
    if serve && !can_open_all(&factor_keys, &*store).await? {
        store.close().await;
        return Err(StartError::SecondFactorKey);
    }
    let (coherence, beats): (Arc<dyn Coherence>, _) = match store.shared().filter(|_| serve) {
        Some(replicas) => {
            let boot = Arc::new(SystemBootClock);
            let (coherence, beats) =
                replicated(replicas, cache.clone(), caching, boot, entropy.clone(), metrics.clone());
            (coherence, Some(beats))
        }
        None => (embedded, None),
    };
    let (flusher, touches) =
        Flusher::new(store.clone(), cache.clone(), sessions.lifetimes, clock.clone(), metrics.clone());
    let health = Arc::new(Health::new(store.clone(), metrics.clone()));
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    if serve {
        tasks.spawn(flusher.run(stop.clone()));
        let kept = purge::Kept { ended: config.ended_kept, events: config.events_kept };
        tasks.spawn(purge::run(store.clone(), clock.clone(), metrics.clone(), kept, stop.clone()));
        tasks.spawn(health.clone().run(stop.clone()));
        let (stores, of_task, stop) = (metrics.stores.clone(), store.clone(), stop.clone());
        tasks.spawn(async move { standbys::watch(of_task, &stores, stop).await });
    }
    if let Some(beats) = beats {
        tasks.spawn(beats.run(stop.clone()));
    }
    let config::Passwords { workers, queue, .. } = &config.passwords;
    let hasher = Hasher::start(*workers, *queue, &entropy, &metrics.passwords.times())?;
    metrics.passwords.sized(workers.get(), *queue);
    metrics.caches(if caching { cache.capacity() } else { 0 });
    let warm_up = (serve && caching).then(|| WarmUp {
        ahead: store.ahead(),
        cache: cache.clone(),
        coherence: coherence.clone(),
        clock: clock.clone(),
        metrics: metrics.clone(),
    });
    let service = Service::new(Parts {
        store: store.clone(),
        health,
        cache,
        coherence,
        hasher: Arc::new(hasher),
        touches,
        clock: clock.clone(),
        entropy,
        factor_keys,
        issuer: config.http.brand.name.clone(),
        first_password_file: config.database_url.first_password_file(),
        metrics: metrics.clone(),
        lifetimes: sessions.lifetimes,
        failures_per_address: config.passwords.failures_per_address,
        password_rules: config.passwords.rules.clone(),
        fresh_login_to_revoke: config.fresh_login_to_revoke,
        sessions_per_user: NonZeroUsize::new(sessions.per_user).unwrap_or(NonZeroUsize::MIN),
    })
    .await?;
    if serve {
        tasks.spawn(service.count_refusals(stop.clone()));
        tasks.spawn(service.measure_hashes(stop.clone()));
    }
    Ok(Core { service, timeouts: Timeouts::default(), store, clock, metrics, warm_up, tasks, stop })
}

/// The keys of second factors: those from outside the store, and the store's.
async fn factor_keys(config: &Config, store: &SharedStore) -> Result<FactorKeys, StartError> {
    let of_store = store.token_key().await.map_err(service::Error::from)?.second_factor_key();
    Ok(FactorKeys::new(of_store, config.secret_keys.iter().map(|key| *key.reveal())))
}

impl Core {
    /// Ends the tasks and closes the store.
    pub async fn close(self) {
        close(self.store, self.tasks, &self.stop).await;
    }
}

async fn close(store: SharedStore, mut tasks: JoinSet<()>, stop: &CancellationToken) {
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    store.close().await;
}

/// A server that listens.
pub struct Running {
    /// Where clients and proxies connect.
    pub listen: SocketAddr,
    /// Where liveness, readiness and metrics are.
    pub ops_listen: SocketAddr,
    app: App,
    store: SharedStore,
    clock: Arc<dyn Clock>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
    listeners: JoinSet<()>,
    stop_listening: CancellationToken,
    drained_by: Arc<Deadline>,
}

/// Both listeners, bound but not served yet: clients wait, and a start no longer fails for want of an address.
pub struct Listeners {
    public: (TcpListener, SocketAddr),
    ops: (TcpListener, SocketAddr),
    heads: HeadRules,
}

impl Listeners {
    /// Binds both. It has to be called within a runtime.
    ///
    /// # Errors
    /// [`StartError::Listen`], by name of the address.
    pub fn bind(http: &config::Http) -> Result<Self, StartError> {
        let (public, ops) = (bind(http.listen)?, bind(http.ops_listen)?);
        Ok(Self { public, ops, heads: HeadRules::new(http) })
    }

    /// Waits for a start, and says on the operations listener meanwhile that this process lives and how far it is.
    pub async fn during<T>(&self, start: impl Future<Output = T>, opening: &Opening) -> T {
        tokio::select! {
            started = start => started,
            never = starting::serve(&self.ops.0, &self.heads, opening) => match never {},
        }
    }
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Listen(address, error);
    let listener = listen(address).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // The address of a server that has just ended can be used at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves on both listeners, and says so in the log.
pub fn serve(config: &Config, core: Core, listeners: Listeners) -> Running {
    let Core { service, timeouts, store, clock, metrics, warm_up, mut tasks, stop } = core;
    let Listeners { public: (public, listen), ops: (ops, ops_listen), heads: _ } = listeners;
    metrics.configuration.taken(config.hash(), clock.now());
    tracing::info!(%listen, ops = %ops_listen, store = %config.database_url, commit = COMMIT, "serving");
    let app = App::new(service, &config.http, timeouts, metrics.clone());
    let stop_listening = CancellationToken::new();
    let mut listeners = JoinSet::new();
    let drained_by = Arc::new(Deadline::default());
    let Timeouts { first_head, head, operations, body: _, answer: _ } = timeouts;
    let clients = Served {
        service: client_service(&app),
        most: connections(config.http.max_connections),
        settings: ConnectionSettings { first_head, head, keep_alive: true },
        metrics: metrics.clone(),
    };
    let operators = Served {
        service: operations_service(&app),
        most: OPS_CONNECTIONS,
        settings: ConnectionSettings { first_head: operations, head: operations, keep_alive: false },
        metrics,
    };
    listeners.spawn(listener::serve(public, clients, stop_listening.clone(), drained_by.clone()));
    listeners.spawn(listener::serve(ops, operators, stop_listening.clone(), drained_by.clone()));
    if let Some(warm_up) = warm_up {
        tasks.spawn(warm_up.run(stop.clone()));
    }
    Running { listen, ops_listen, app, store, clock, tasks, stop, listeners, stop_listening, drained_by }
}

impl Running {
    /// From now on readiness says no and connections end with the next answer, so that proxies look elsewhere.
    pub fn drain(&self) {
        self.app.drain();
    }

    /// Takes over what of a configuration can change, which it has checked and built before: all but the level of the log,
    /// which is the process's. Nothing here can fail.
    /// `certificates` says whether those changed that the database is recognised by.
    pub fn take_over(&self, config: &Config, certificates: bool) {
        self.app.set_rules(&config.http);
        self.app.service.set_failures_per_address(config.passwords.failures_per_address);
        if certificates {
            self.store.renew_connections();
        }
        self.app.metrics.configuration.taken(config.hash(), self.clock.now());
    }

    /// Notes that a configuration was refused, so that the former one stays in force.
    pub fn keep_configuration(&self) {
        self.app.metrics.configuration.refused();
    }

    /// Drains, stops accepting, lets requests under way finish, stores what is pending, deregisters this replica, and
    /// closes the store: all of it within [`STOPPING`].
    pub async fn stop(self) {
        self.stop_by(Instant::now() + STOPPING).await;
    }

    /// The same by `deadline`, whatever clients and the store do. What is not finished by then is dropped.
    pub async fn stop_by(mut self, deadline: Instant) {
        self.drain();
        let drained_by = deadline.checked_sub(LAST_WRITES).unwrap_or(deadline);
        self.drained_by.set(drained_by);
        self.stop_listening.cancel();
        let drained = async {
            while self.listeners.join_next().await.is_some() {}
            self.app.finished().await;
        };
        if timeout_at(drained_by, drained).await.is_err() {
            tracing::warn!("some requests were not finished in time, and are dropped");
            self.listeners.shutdown().await;
        }
        if timeout_at(deadline, close(self.store, self.tasks, &self.stop)).await.is_err() {
            tracing::error!("the store could not be closed in time; last-seen times may be lost");
        }
    }
}
