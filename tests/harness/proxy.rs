//! A proxy before the database that a test can disturb: bytes are held up, delayed, or cut off in the middle of an
//! answer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sessiond::domain::entropy::{Entropy as _, SystemEntropy};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use url::Url;

/// What a connection that listens for revocations sends first.
const LISTEN: &[u8] = b"LISTEN \"sessiond\"";
/// Of a thousand answers in faulty traffic this many are late, and of a thousand pieces in either direction this many
/// are cut off.
const LATE: u16 = 60;
const BROKEN: u16 = 20;
/// For how long bytes in the other direction still arrive after that.
const ECHO: Duration = Duration::from_millis(20);
/// A late answer is late by two numbers up to this, in milliseconds, multiplied: seldom by more than all deadlines.
const DELAY: u16 = 34;

/// What happens to the bytes that pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// They pass unchanged.
    Undisturbed,
    /// Answers are late at random. Questions and answers are cut off at random, and then the connection ends.
    Faulty,
    /// On connections that listen for revocations nothing arrives any more in this direction, and nothing is closed.
    /// What was sent arrives once the traffic is undisturbed again.
    ListenersSilent(Direction),
}

/// How a connection ends at a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is closed, and the database does not get the statement.
    Closed,
    /// The database says that it ends it, as it does where it is stopped, and so it does with every other.
    Terminated,
}

/// The direction in which nothing arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Both directions.
    Both,
    /// From the server to the database.
    ToDatabase,
    /// From the database to the server.
    ToServer,
}

/// A proxy, gone when dropped, and all its connections with it.
pub struct Proxy {
    url: Url,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    database: SocketAddr,
    traffic: watch::Sender<Traffic>,
    /// The statement whose connection ends before it is executed, and how.
    cut: Mutex<Option<(&'static str, End)>>,
    /// The database's own URL.
    direct: String,
    held: AtomicUsize,
    late: AtomicUsize,
    broken: AtomicUsize,
    /// When each connection was accepted.
    connection_times: Mutex<Vec<Instant>>,
}

impl Proxy {
    /// Starts a proxy before a database.
    pub async fn to(database: &str) -> Self {
        let mut url = Url::parse(database).expect("a URL");
        let addresses = url.socket_addrs(|| Some(5432)).expect("a host");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(address.port())).expect("a port");
        let shared = Arc::new(Shared {
            database: addresses[0],
            traffic: watch::Sender::new(Traffic::Undisturbed),
            cut: Mutex::default(),
            direct: database.to_owned(),
            held: AtomicUsize::default(),
            late: AtomicUsize::default(),
            broken: AtomicUsize::default(),
            connection_times: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        Self { url, shared, _tasks: tasks }
    }

    /// The URL by which a server connects through the proxy.
    pub fn url(&self) -> String {
        self.url.to_string()
    }

    /// Changes what happens from now on, also to bytes under way.
    pub fn set_traffic(&self, traffic: Traffic) {
        self.shared.traffic.send_replace(traffic);
    }

    /// Ends one connection: the next on which a statement with these words is sent.
    pub fn cut_off_at(&self, words: &'static str, end: End) {
        *self.shared.cut.lock().expect("no panic") = Some((words, end));
    }

    /// Whether that has happened.
    pub fn has_cut_off(&self) -> bool {
        self.shared.cut.lock().expect("no panic").is_none()
    }

    /// How many pieces were held up so far.
    pub fn held(&self) -> usize {
        self.shared.held.load(Ordering::Relaxed)
    }

    /// How many answers were late so far.
    pub fn late(&self) -> usize {
        self.shared.late.load(Ordering::Relaxed)
    }

    /// When each connection so far was accepted, whether or not the database could be reached.
    pub fn connection_times(&self) -> Vec<Instant> {
        self.shared.connection_times.lock().expect("no panic").clone()
    }

    /// How many pieces broke off.
    pub fn broken(&self) -> usize {
        self.shared.broken.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((server, _)) = listener.accept().await {
        shared.connection_times.lock().expect("no panic").push(Instant::now());
        connections.spawn(forward(server, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

/// Forwards both ways until one side closes, or a piece is cut off; then both are closed.
async fn forward(server: TcpStream, shared: Arc<Shared>) {
    let Ok(database) = TcpStream::connect(shared.database).await else { return };
    let _ = (server.set_nodelay(true), database.set_nodelay(true));
    let ((from_server, to_server), (from_database, to_database)) = (server.into_split(), database.into_split());
    let listens = AtomicBool::new(false);
    tokio::select! {
        () = pump(from_server, to_database, Direction::ToDatabase, &listens, &shared) => {}
        () = pump(from_database, to_server, Direction::ToServer, &listens, &shared) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: Direction, listens: &AtomicBool, shared: &Shared) {
    let mut traffic = shared.traffic.subscribe();
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let mut piece = &bytes[..read];
        if way == Direction::ToDatabase && piece.windows(LISTEN.len()).any(|window| window == LISTEN) {
            listens.store(true, Ordering::Relaxed);
        }
        let contains =
            |(words, _): &mut (&str, End)| piece.windows(words.len()).any(|window| window == words.as_bytes());
        let cut = || shared.cut.lock().expect("no panic").take_if(contains);
        match (way == Direction::ToDatabase).then(cut).flatten() {
            Some((_, End::Closed)) => break,
            Some((_, End::Terminated)) => terminate_connections(&shared.direct).await,
            None => {}
        }
        let held = |traffic: &Traffic| {
            let here = matches!(traffic, Traffic::ListenersSilent(direction) if *direction == way || *direction == Direction::Both);
            here && listens.load(Ordering::Relaxed)
        };
        if held(&traffic.borrow_and_update()) {
            shared.held.fetch_add(1, Ordering::Relaxed);
            let _ = traffic.wait_for(|traffic| !held(traffic)).await;
        }
        let (faulty, fate) = (*traffic.borrow() == Traffic::Faulty, below(1000));
        if faulty && fate < BROKEN {
            shared.broken.fetch_add(1, Ordering::Relaxed);
            // A question lacks its very end: a COMMIT, perhaps, and all that is asked before it is answered.
            piece = &piece[..if way == Direction::ToDatabase { read - 1 } else { read / 2 }];
        } else if faulty && way == Direction::ToServer && fate < BROKEN + LATE {
            shared.late.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(u64::from(below(DELAY)) * u64::from(below(DELAY)))).await;
        }
        if to.write_all(piece).await.is_err() {
            break;
        }
        if piece.len() < read {
            tokio::time::sleep(ECHO).await;
            break;
        }
    }
}

async fn terminate_connections(database: &str) {
    let mut connection = PgConnection::connect(database).await.expect("a connection");
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    connection.execute(others).await.expect("terminated");
}

fn below(most: u16) -> u16 {
    let mut random = [0; 2];
    SystemEntropy.fill(&mut random).expect("entropy");
    u16::from_ne_bytes(random) % most
}
