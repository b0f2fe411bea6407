//! `sessiond healthcheck`: asks the operations listener of this configuration whether it is ready.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::answer::Answer;
use super::outcome::Failed;
use crate::config::Config;

const PATIENCE: Duration = Duration::from_secs(3);

/// Runs the command. Health checks of containers use it, so it needs nothing but the binary.
pub(super) fn run(config: &Config) -> Result<(), Failed> {
    let mut address = config.http.ops_listen;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    let answer = ask(address).map_err(|error| Failed::Sentence(format!("{address} does not answer: {error}")))?;
    if answer.status == 200 {
        return Ok(());
    }
    Err(Failed::Sentence(format!("not ready\n{}", answer.text().trim_end())))
}

fn ask(address: SocketAddr) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    Answer::read(&mut stream, "GET")
}
