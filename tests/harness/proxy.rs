//! A way to the database that a test can disturb: held up without a word, delayed, or cut in the middle of an answer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sessiond::domain::entropy::{Entropy as _, SystemEntropy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use url::Url;

/// What the connection that hears of revocations begins with.
const LISTEN: &[u8] = b"LISTEN \"sessiond\"";
/// Of a thousand answers in stormy weather so many are late, and of a thousand pieces either way so many break off.
const LATE: u16 = 60;
const BROKEN: u16 = 20;
/// How long what is said the other way still arrives then.
const ECHO: Duration = Duration::from_millis(20);
/// A late answer is late by two numbers up to this, in milliseconds, multiplied: seldom by more than all deadlines.
const DELAY: u16 = 34;

/// What happens to what is sent through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Nothing.
    Fair,
    /// Answers are late at random; questions and answers break off at random, and then the connection ends.
    Stormy,
    /// On connections that listen for revocations nothing arrives any more this way, and nothing is closed. What is sent
    /// arrives once the weather is fair again.
    Deaf(Ways),
}

/// Which ways nothing arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ways {
    /// Neither.
    Both,
    /// Not what the server asks.
    Asked,
    /// Not what the database answers.
    Answered,
}

/// A proxy, gone when dropped, and all its connections with it.
pub struct Proxy {
    url: Url,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    database: SocketAddr,
    weather: watch::Sender<Weather>,
    held: AtomicUsize,
    late: AtomicUsize,
    broken: AtomicUsize,
    /// When each connection came.
    came: Mutex<Vec<Instant>>,
}

impl Proxy {
    /// A way to a database.
    pub async fn to(database: &str) -> Self {
        let mut url = Url::parse(database).expect("a URL");
        let addresses = url.socket_addrs(|| Some(5432)).expect("a host");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(address.port())).expect("a port");
        let shared = Arc::new(Shared {
            database: addresses[0],
            weather: watch::Sender::new(Weather::Fair),
            held: AtomicUsize::default(),
            late: AtomicUsize::default(),
            broken: AtomicUsize::default(),
            came: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        Self { url, shared, _tasks: tasks }
    }

    /// How a server is told to go this way.
    pub fn url(&self) -> String {
        self.url.to_string()
    }

    /// Changes what happens from now on, and to what is under way.
    pub fn turn(&self, weather: Weather) {
        self.shared.weather.send_replace(weather);
    }

    /// How many pieces were held up so far.
    pub fn held(&self) -> usize {
        self.shared.held.load(Ordering::Relaxed)
    }

    /// How many answers were late so far.
    pub fn late(&self) -> usize {
        self.shared.late.load(Ordering::Relaxed)
    }

    /// When each connection came so far, whether or not the database could be reached.
    pub fn came(&self) -> Vec<Instant> {
        self.shared.came.lock().expect("no panic").clone()
    }

    /// How many pieces broke off.
    pub fn broken(&self) -> usize {
        self.shared.broken.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((server, _)) = listener.accept().await {
        shared.came.lock().expect("no panic").push(Instant::now());
        connections.spawn(forward(server, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

/// Forwards both ways until one side closes, or the storm breaks the connection; then both are closed.
async fn forward(server: TcpStream, shared: Arc<Shared>) {
    let Ok(database) = TcpStream::connect(shared.database).await else { return };
    let _ = (server.set_nodelay(true), database.set_nodelay(true));
    let ((from_server, to_server), (from_database, to_database)) = (server.into_split(), database.into_split());
    let listens = AtomicBool::new(false);
    tokio::select! {
        () = pump(from_server, to_database, Ways::Asked, &listens, &shared) => {}
        () = pump(from_database, to_server, Ways::Answered, &listens, &shared) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: Ways, listens: &AtomicBool, shared: &Shared) {
    let mut weather = shared.weather.subscribe();
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let mut piece = &bytes[..read];
        if way == Ways::Asked && piece.windows(LISTEN.len()).any(|window| window == LISTEN) {
            listens.store(true, Ordering::Relaxed);
        }
        let held = |weather: &Weather| {
            let here = matches!(weather, Weather::Deaf(ways) if *ways == way || *ways == Ways::Both);
            here && listens.load(Ordering::Relaxed)
        };
        if held(&weather.borrow_and_update()) {
            shared.held.fetch_add(1, Ordering::Relaxed);
            let _ = weather.wait_for(|weather| !held(weather)).await;
        }
        let (stormy, fate) = (*weather.borrow() == Weather::Stormy, below(1000));
        if stormy && fate < BROKEN {
            shared.broken.fetch_add(1, Ordering::Relaxed);
            // A question lacks its very end: a COMMIT, perhaps, and all that is asked before it is answered.
            piece = &piece[..if way == Ways::Asked { read - 1 } else { read / 2 }];
        } else if stormy && way == Ways::Answered && fate < BROKEN + LATE {
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

fn below(most: u16) -> u16 {
    let mut random = [0; 2];
    SystemEntropy.fill(&mut random).expect("entropy");
    u16::from_ne_bytes(random) % most
}
