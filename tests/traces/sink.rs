//! Collectors that behave as a test wants: one that takes everything and keeps it, and ones that fail in every way.

use std::sync::{Arc, Mutex};

use sessiond_support::port::free_port;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Duration, timeout};

/// One that takes what it is sent with a status, and keeps it.
pub struct Sink {
    /// Its URL.
    pub url: String,
    taken: Arc<Mutex<Vec<u8>>>,
    _server: JoinSet<()>,
}

impl Sink {
    pub async fn start() -> Self {
        Self::at("127.0.0.1:0", 200).await
    }

    pub async fn at(address: &str, status: u16) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (mut server, taken) = (JoinSet::new(), Arc::new(Mutex::new(Vec::new())));
        let all = Arc::clone(&taken);
        server.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let request = read_request(&mut stream).await;
                all.lock().expect("no panic").extend(request);
                let answer = format!("HTTP/1.1 {status} Said\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { url, taken, _server: server }
    }

    /// How often a text came.
    pub fn count(&self, text: &str) -> usize {
        self.count_bytes(text.as_bytes())
    }

    /// The same for bytes.
    pub fn count_bytes(&self, bytes: &[u8]) -> usize {
        let all = self.taken.lock().expect("no panic");
        all.windows(bytes.len()).filter(|window| *window == bytes).count()
    }
}

async fn read_request(stream: &mut TcpStream) -> Vec<u8> {
    let (mut request, mut piece) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let head = request.windows(4).position(|end| end == b"\r\n\r\n");
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if request.len() >= head + 4 + length.unwrap_or_default() {
                return request;
            }
        }
        match stream.read(&mut piece).await {
            Ok(length @ 1..) => request.extend(&piece[..length]),
            Ok(0) | Err(_) => return request,
        }
    }
}

/// One that takes no spans.
pub enum Failing {
    /// Nothing listens there.
    Refuses,
    /// It accepts, and never answers.
    Silent(Sink),
    /// What is sent there is lost: its queue of connections is full.
    BlackHole { url: String, _full: (TcpListener, Vec<TcpStream>) },
    /// It answers that it cannot now.
    Unavailable(Sink),
}

impl Failing {
    pub async fn all() -> [Self; 4] {
        [
            Self::Refuses,
            Self::silent().await,
            Self::black_hole().await,
            Self::Unavailable(Sink::at("127.0.0.1:0", 503).await),
        ]
    }

    async fn silent() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut open = Vec::new();
            loop {
                open.push(listener.accept().await.expect("a connection"));
            }
        });
        Self::Silent(Sink { url, taken: Arc::default(), _server: server })
    }

    async fn black_hole() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
        let listener = socket.listen(1).expect("listens");
        let address = listener.local_addr().expect("an address").to_string();
        let mut waiting = Vec::new();
        while let Ok(connected) = timeout(Duration::from_millis(300), TcpStream::connect(&address)).await {
            waiting.push(connected.expect("queued"));
            assert!(waiting.len() < 64, "the queue has an end");
        }
        Self::BlackHole { url: format!("http://{address}"), _full: (listener, waiting) }
    }

    pub fn url(&self) -> String {
        match self {
            Self::Refuses => format!("http://127.0.0.1:{}", free_port().expect("a port")),
            Self::Silent(sink) | Self::Unavailable(sink) => sink.url.clone(),
            Self::BlackHole { url, .. } => url.clone(),
        }
    }
}
