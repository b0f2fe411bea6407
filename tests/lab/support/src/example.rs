//! The proxies of `examples/`, each started in a copy of its folder, on other ports.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::process::Command;

use crate::process::{command, command_on};

/// The ports that stand in the files of every example: its own, the back end's and sessiond's.
const PORTS: [&str; 3] = ["8000", "9000", "8080"];

/// How a proxy is started in the folder of its example.
#[derive(Clone, Copy, Debug)]
pub struct Proxy {
    /// The name of its program and of its folder.
    pub name: &'static str,
    /// What the program is given.
    pub arguments: &'static [&'static str],
}

/// In one process, so that it is gone when it is killed.
pub const NGINX: Proxy =
    Proxy { name: "nginx", arguments: &["-p", ".", "-c", "nginx.conf", "-g", "daemon off; master_process off;"] };
/// `HAProxy`.
pub const HAPROXY: Proxy = Proxy { name: "haproxy", arguments: &["-f", "haproxy.cfg"] };
/// Caddy.
pub const CADDY: Proxy = Proxy { name: "caddy", arguments: &["run", "--config", "Caddyfile"] };
/// Traefik.
pub const TRAEFIK: Proxy = Proxy { name: "traefik", arguments: &["--configFile=traefik.yml"] };
/// Envoy. Several may run at the same time, which is not a restart of one.
pub const ENVOY: Proxy = Proxy { name: "envoy", arguments: &["-c", "envoy.yaml", "--disable-hot-restart"] };

/// A copy of an example's folder.
#[derive(Debug)]
pub struct Copied {
    proxy: Proxy,
    program: PathBuf,
    folder: TempDir,
}

impl Proxy {
    /// Where its example is.
    pub fn folder(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../examples").join(self.name)
    }

    /// Whether its program is on this machine.
    pub fn is_installed(&self) -> bool {
        sessiond_machine::proxy(self.name).is_some()
    }

    /// Copies its example, with other ports and with `change` made to the text of each file.
    ///
    /// # Errors
    /// Where the program is not on this machine, or a port is not in the files.
    pub fn copy(self, ports: [&str; 3], change: impl Fn(String) -> String) -> Result<Copied> {
        let program = sessiond_machine::proxy(self.name).with_context(|| format!("{} is not installed", self.name))?;
        let folder = tempfile::tempdir()?;
        let mut replaced = [0; PORTS.len()];
        for file in std::fs::read_dir(self.folder())? {
            let file = file?;
            if file.file_type()?.is_dir() || file.file_name() == "README.md" {
                continue;
            }
            let mut text = std::fs::read_to_string(file.path())?;
            for (port, count) in PORTS.iter().zip(&mut replaced) {
                *count += text.matches(port).count();
                text = text.replace(port, &format!("<{port}>"));
            }
            for (port, other) in PORTS.iter().zip(ports) {
                text = text.replace(&format!("<{port}>"), other);
            }
            std::fs::write(folder.path().join(file.file_name()), change(text))?;
        }
        ensure!(replaced.iter().all(|count| *count > 0), "{}: {replaced:?}", self.name);
        Ok(Copied { proxy: self, program, folder })
    }
}

impl Copied {
    /// The command that starts it.
    pub fn command(&self) -> Command {
        self.started_by(command(&self.program))
    }

    /// The same on no CPUs but these.
    pub fn command_on(&self, cpus: &str) -> Command {
        self.started_by(command_on(cpus, &self.program))
    }

    fn started_by(&self, mut command: Command) -> Command {
        command.args(self.proxy.arguments).current_dir(self.folder.path());
        command
    }
}
