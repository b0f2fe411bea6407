//! An example at work, between clients, the real server and a back end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::example::{Example, Running, port};
use crate::harness::back_end::{BackEnd, Told};
use crate::harness::{BOB, BOB_EMAIL, LoggedIn, Reply, Server, StoreKind, TestRequest, exchange};

/// The origin of a front end that may read answers.
pub const FRONT_END: &str = "https://front.example";

/// An example at work.
pub struct Deployment {
    /// The service.
    pub server: Server,
    /// The application.
    pub back_end: BackEnd,
    /// The proxy before both.
    pub proxy: Running,
    /// What stands between it and the service.
    meter: Meter,
    /// What browsers call it.
    pub host: String,
}

impl Deployment {
    /// Starts it as it is.
    pub async fn new(example: &Example) -> Self {
        Self::changed(example, |text| text).await
    }

    /// Starts it with `change` made to its files.
    pub async fn changed(example: &Example, change: impl Fn(String) -> String) -> Self {
        let settings = |host: &str| {
            format!("trusted_proxies = ['127.0.0.1']\npublic_url = 'http://{host}'\ncors_origins = ['{FRONT_END}']")
        };
        Self::with(example, settings, change).await
    }

    /// The same with other settings of the service, for the host that browsers connect to.
    pub async fn with(
        example: &Example,
        settings: impl FnOnce(&str) -> String,
        change: impl Fn(String) -> String,
    ) -> Self {
        let (front, back_end) = (port(), BackEnd::start().await);
        let host = format!("localhost:{front}");
        let settings = settings(&host);
        let server = Server::with(StoreKind::Sqlite, &settings).await;
        let meter = Meter::before(server.address()).await;
        let proxy = example.start([&front, port_of(&back_end.address), port_of(&meter.address)], change).await;
        Self { server, back_end, proxy, meter, host }
    }

    /// How many bytes the service was sent so far.
    pub fn asked(&self) -> usize {
        self.meter.bytes.load(Ordering::Relaxed)
    }

    /// Sends a request to the proxy.
    pub async fn send(&self, request: TestRequest) -> Reply {
        exchange(&self.proxy.address, &request.bytes(&self.host)).await
    }

    /// Sends what is allowed, and returns what the back end was sent.
    pub async fn pass(&self, request: TestRequest) -> Told {
        let before = self.back_end.requests();
        let reply = self.send(request).await;
        assert_eq!((reply.status, self.back_end.requests()), (200, before + 1), "{reply:?} {}", self.proxy.log());
        Told::from_reply(&reply)
    }

    /// Sends what is not allowed, and returns the answer.
    pub async fn refuse(&self, request: TestRequest) -> Reply {
        let before = self.back_end.requests();
        let reply = self.send(request).await;
        assert_eq!(self.back_end.requests(), before, "it reached the back end: {reply:?}");
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{reply:?}");
        assert!(reply.all("vary").join(", ").contains("Cookie"), "{reply:?}");
        reply
    }

    /// Sends a request, and reads the head of the answer.
    pub async fn open_stream(&self, request: &[u8]) -> (Reply, TcpStream) {
        let mut stream = TcpStream::connect(&self.proxy.address).await.expect("a connection");
        stream.write_all(request).await.expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.expect("an answer"));
        }
        (Reply::parse(&answer), stream)
    }

    /// Stops everything.
    pub async fn stop(self) {
        drop(self.proxy);
        self.server.stop().await;
    }
}

/// Passes connections on, and counts the bytes that go there.
struct Meter {
    address: String,
    bytes: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl Meter {
    async fn before(there: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let (bytes, mut task) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
        let count = Arc::clone(&bytes);
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((from, _)) = listener.accept().await {
                connections.spawn(Self::pass(from, there.clone(), Arc::clone(&count)));
            }
        });
        Self { address, bytes, _task: task }
    }

    /// Ends both sides when one has ended.
    async fn pass(from: TcpStream, there: String, count: Arc<AtomicUsize>) {
        let Ok(to) = TcpStream::connect(there).await else { return };
        let ((mut from, mut back), (mut answers, mut to)) = (from.into_split(), to.into_split());
        let questions = async {
            let mut buffer = vec![0; 65536];
            while let Ok(read @ 1..) = from.read(&mut buffer).await {
                count.fetch_add(read, Ordering::Relaxed);
                if to.write_all(&buffer[..read]).await.is_err() {
                    break;
                }
            }
        };
        tokio::select! {
            () = questions => {}
            _ = tokio::io::copy(&mut answers, &mut back) => {}
        }
    }
}

/// The port of an address.
pub fn port_of(address: &str) -> &str {
    address.rsplit_once(':').expect("a port").1
}

/// The identity headers that a back end must get, sorted.
pub fn identity_of(bob: &LoggedIn) -> Vec<(String, String)> {
    [
        ("remote-email", BOB_EMAIL),
        ("remote-groups", "-"),
        ("remote-name", BOB),
        ("remote-session-id", &bob.session),
        ("remote-user", BOB),
        ("remote-user-id", &bob.user),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .into()
}
