//! A real reverse proxy as a child process, configured as a test wants it.

use std::path::PathBuf;
use std::process::Stdio;

use sessiond_support::port::free_port;
use sessiond_support::wait::until;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// One that runs; killed when dropped.
pub struct ReverseProxy {
    /// Where clients connect.
    pub address: String,
    log: PathBuf,
    _dir: TempDir,
    _child: Child,
}

impl ReverseProxy {
    /// nginx, with what stands in its `http` block for the address it is to listen on.
    pub async fn nginx(http: impl FnOnce(&str) -> String) -> Self {
        Self::start("nginx", &["-e", "stderr", "-c"], |address, folder| {
            let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|of| format!("{of}_temp_path {folder}/{of};"))
                .join(" ");
            let http = http(address);
            format!(
                "daemon off; master_process off; pid {folder}/pid; error_log stderr; events {{ worker_connections 512; }}
                 http {{ access_log off; {temporary} {http} }}"
            )
        })
        .await
    }

    /// HAProxy, with sections after the defaults for the address it is to listen on.
    pub async fn haproxy(sections: impl FnOnce(&str) -> String) -> Self {
        Self::start("haproxy", &["-db", "-f"], |address, _| {
            let sections = sections(address);
            format!(
                "defaults\n  mode http\n  timeout connect 2s\n  timeout client 30s\n  timeout server 30s\n  option redispatch\n{sections}"
            )
        })
        .await
    }

    async fn start(program: &str, arguments: &[&str], configuration: impl FnOnce(&str, &str) -> String) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let address = format!("127.0.0.1:{}", free_port().expect("a port"));
        let file = dir.path().join("configuration");
        let folder = dir.path().to_str().expect("UTF-8");
        std::fs::write(&file, configuration(&address, folder)).expect("written");
        let log = dir.path().join("log");
        let errors = std::fs::File::create(&log).expect("a file");
        let mut command = Command::new(program);
        command.args(arguments).arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let mut child = command.kill_on_drop(true).spawn().expect(program);
        until("the proxy listens", async || {
            let ended = child.try_wait().expect("a state");
            assert!(ended.is_none(), "{program} ended: {}", std::fs::read_to_string(&log).unwrap_or_default());
            TcpStream::connect(&address).await.is_ok()
        })
        .await;
        Self { address, log, _dir: dir, _child: child }
    }

    /// What it has written to standard error so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}
