//! Proxies that ask sessiond about each request, against the same proxies that ask a bare hello.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use rustix::process::Pid;
use sessiond_support::{
    example::{Copied, ENVOY, NGINX, Proxy, TRAEFIK},
    http::Connection,
    port::free_port,
    process::Process,
    wait::Wait,
};

use crate::{
    cpu,
    hello::{EMPTY, Hello},
    load::{Load, charged},
    report::{Report, Target},
    requests::{Checks, Template},
    rounds::interleave,
    stage::Stage,
};

/// What the application answers.
const PAGE_BYTES: usize = 300;

/// The proxies, each with the least ratio that is wanted.
const PROXIES: [(Proxy, Target); 3] = [(NGINX, Target::AtLeast(0.85)), (ENVOY, Target::None), (TRAEFIK, Target::None)];

/// Requests for a protected page. The proxy, the application, and what is asked share the CPU of the server.
pub async fn run(stage: &mut Stage, report: &mut Report) -> Result<()> {
    let population = stage.population(1_000).await?;
    let server = stage.serve(&population).await?;
    population.warm(&server, population.all()).await?;
    let (page, hello) = (Hello::start(PAGE_BYTES).await?, Hello::start(EMPTY).await?);
    let pages = Checks::with(Template::page(), &population.tokens, population.all());
    for (proxy, wanted) in PROXIES {
        if !proxy.is_installed() {
            println!("  {} is not installed", proxy.name);
            continue;
        }
        let ours = Running::start(proxy, page.address, server.address).await?;
        let theirs = Running::start(proxy, page.address, hello.address).await?;
        let pairs = interleave(
            stage,
            "asking hello",
            async |length| charged(theirs.pid(), Load::new(theirs.address, &[200]).closed(length, &pages)).await,
            async |length| charged(ours.pid(), Load::new(ours.address, &[200]).closed(length, &pages)).await,
        )
        .await?;
        pairs.report(report, &format!("a page through {}", proxy.name), wanted, Target::None);
    }
    server.stop().await
}

/// A proxy at work; killed when dropped.
struct Running {
    address: SocketAddr,
    process: Process,
    _files: Copied,
}

impl Running {
    async fn start(proxy: Proxy, page: SocketAddr, asked: SocketAddr) -> Result<Self> {
        let own = free_port()?;
        let ports = [own, page.port(), asked.port()].map(|port| port.to_string());
        let files = proxy.copy(ports.each_ref().map(String::as_str), |text| text)?;
        let mut process = Process::spawn(files.command_on(cpu::SERVER))?;
        let address = SocketAddr::from(([127, 0, 0, 1], own));
        let wait = Wait::until("the proxy answers");
        while answer(address).await.is_err() {
            process.still_lives().with_context(|| process.log())?;
            wait.pause().await?;
        }
        Ok(Self { address, process, _files: files })
    }

    fn pid(&self) -> Pid {
        self.process.pid()
    }
}

/// Asks for a page that is there for anybody, which a proxy can only answer once it knows its routes.
async fn answer(address: SocketAddr) -> Result<()> {
    let mut connection = Connection::open(address).await?;
    let status = connection.exchange(b"GET /verify HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
    anyhow::ensure!(matches!(status, 200 | 401), "{status}");
    Ok(())
}
