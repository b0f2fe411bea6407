//! A database on several hosts: one that is gone without a word keeps nobody.

use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use url::Url;

use crate::fleet::{log_out, serve_through, until_in_memory, until_trusted};
use crate::harness::ALICE;
use crate::process::Home;

/// A port where connections are neither accepted nor refused, as those of a machine that is gone.
struct Gone {
    port: u16,
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl Gone {
    async fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let listener = socket.listen(1).expect("listening");
        let address = listener.local_addr().expect("bound");
        let mut waiting = Vec::new();
        // Nobody takes them, until there is no more room.
        while let Ok(connected) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            waiting.push(connected.expect("connected"));
        }
        Self { port: address.port(), _listener: listener, _waiting: waiting }
    }
}

#[tokio::test]
async fn a_host_that_is_gone_without_a_word_is_passed_over() {
    let home = Home::new();
    let gone = Gone::new().await;
    let mut url = Url::parse(&home.database.url()).expect("a URL");
    let live = url.port().unwrap_or(5432);
    url.set_port(Some(gone.port)).expect("a port");
    let hosts = format!("{}:{}", url.host_str().expect("a host"), live);
    let both = url.as_str().replacen(&format!(":{}/", gone.port), &format!(":{},{hosts}/", gone.port), 1);
    let server = serve_through(&home, &both).await;
    until_trusted(&[&server]).await;
    let alice = server.log_in(ALICE).await;
    until_in_memory(&[&server], &alice.token).await;
    log_out(&server, &alice.token).await;
}
