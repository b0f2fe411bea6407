//! A name of the database with several addresses, which only servers that are started here know: each has a file of its own
//! in the place of `/etc/hosts`. Behind each address is a server, or nothing.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Stdio;

use sessiond_support::port::free_port;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;
use url::Url;

use crate::harness::process::{Home, Process};

/// The name.
pub const NAME: &str = "database.test";
/// Its addresses.
pub const ADDRESSES: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3))];

/// An address that leads to a server of this machine. Dropped, it refuses connections, and ends those there are.
pub struct Door(JoinSet<()>);

impl Door {
    /// Opens one that leads to 127.0.0.1.
    async fn open(address: IpAddr, port: u16, to: u16) -> std::io::Result<Self> {
        let listener = TcpListener::bind((address, port)).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                connections.spawn(async move {
                    let Ok(mut server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                    let _ = (client.set_nodelay(true), server.set_nodelay(true));
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self(tasks))
    }

    /// Closes it, and waits until nobody can connect any more.
    pub async fn close(mut self) {
        self.0.shutdown().await;
    }
}

/// Opens a door at each address of the name, on a port that both have, to these ports of this machine. Returns that port.
pub async fn open_doors(to: [u16; 2]) -> (u16, [Door; 2]) {
    loop {
        let port = free_port().expect("a port");
        let [first, second] = ADDRESSES;
        // Another program may have taken it on one of them.
        if let (Ok(first), Ok(second)) = (Door::open(first, port, to[0]).await, Door::open(second, port, to[1]).await) {
            return (port, [first, second]);
        }
    }
}

/// The URL of a database under the name.
pub fn by_name(url: &str, port: u16) -> String {
    let mut url = Url::parse(url).expect("a URL");
    url.set_host(Some(NAME)).expect("a host");
    url.set_port(Some(port)).expect("a port");
    url.into()
}

/// Starts a server that finds these addresses in this order under the name, and connects to the database by this URL.
pub async fn serve_by_name(home: &Home, url: &str, addresses: [IpAddr; 2]) -> (Process, TempDir) {
    let hosts = tempfile::tempdir().expect("a directory");
    let file = hosts.path().join("hosts");
    let lines = addresses.map(|address| format!("{address} {NAME}\n")).concat();
    std::fs::write(&file, format!("127.0.0.1 localhost\n{lines}")).expect("written");
    let server = home.server();
    let server = server.as_std();
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "/bin/sh", "-c", r#"mount --bind "$0" /etc/hosts && exec "$@""#])
        .arg(file)
        .arg(server.get_program())
        .args(server.get_args())
        .env_clear()
        .envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("SESSIOND_DATABASE_URL", url)
        .current_dir(home.dir.path())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    (Process::start(command).await, hosts)
}
