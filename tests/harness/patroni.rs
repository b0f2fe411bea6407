//! Three PostgreSQL servers that Patroni manages, synchronous and strict, with an etcd: real programs as child processes.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sessiond_support::database;
use sessiond_support::port::free_port;
use sessiond_support::postgres::{give_away, unprivileged_command};
use sessiond_support::process::{Process, finish};
use sessiond_support::wait::until;

use crate::harness::ask;
use crate::harness::database::memory;
use crate::harness::get;
use crate::harness::process::attempt;

/// Ends the servers and deletes the folder once the other end of its input is closed, for whatever reason. Patroni itself
/// has been killed by then. A file may name a process that has ended, so its number is looked at.
const WATCHER: &str = r#"
cat
for _ in 1 2; do
  for file in "$0"/n?/postmaster.pid; do
    read -r postmaster < "$file" && grep -q "$0" "/proc/$postmaster/cmdline" && kill -KILL "$postmaster"
  done
  sleep 0.1
done
rm -rf "$0"
"#;

/// A server, and the Patroni beside it.
struct Node {
    name: &'static str,
    port: u16,
    /// Where Patroni answers.
    rest: String,
    patroni: Option<Process>,
}

/// All of it. Ended and deleted when dropped, and when this process ends.
pub struct Cluster {
    nodes: Vec<Node>,
    etcd: Option<Process>,
    dir: PathBuf,
    watcher: Child,
}

impl Cluster {
    /// Starts everything, and waits until both standbys follow a primary.
    pub async fn start() -> Self {
        let mut builder = tempfile::Builder::new();
        builder.prefix("sessiond-patroni-");
        let dir = match memory() {
            Some(folder) => builder.tempdir_in(folder),
            None => builder.tempdir(),
        };
        let dir = dir.expect("a folder").keep();
        give_away(&dir).expect("given away");
        let mut watcher = Command::new("/bin/sh");
        watcher.args(["-c", WATCHER]).arg(&dir).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // An interrupt from the keyboard, which ends this process, must not end it.
        std::os::unix::process::CommandExt::process_group(&mut watcher, 0);
        let watcher = watcher.spawn().expect("a shell");

        let [client, peer] = [(); 2].map(|()| format!("http://127.0.0.1:{}", free_port().expect("a port")));
        let mut etcd = unprivileged_command("etcd");
        etcd.args(["--unsafe-no-fsync", "--log-level", "error", "--data-dir"]).arg(dir.join("etcd"));
        etcd.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        etcd.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        etcd.args(["--initial-cluster", &format!("default={peer}")]);
        let etcd = Some(Process::spawn(etcd).expect("etcd"));
        let nodes = ["n1", "n2", "n3"].map(|name| {
            let [port, rest] = [(); 2].map(|()| free_port().expect("a port"));
            Node { name, port, rest: format!("127.0.0.1:{rest}"), patroni: None }
        });
        let mut this = Self { nodes: nodes.into(), etcd, dir, watcher };
        for node in 0..this.nodes.len() {
            this.configure(node, &client);
            this.start_node(node);
        }
        this.until_whole().await;
        this
    }

    /// YAML, of which JSON is a part.
    fn configure(&self, node: usize, etcd: &str) {
        let Node { name, port, rest, .. } = &self.nodes[node];
        let binaries = sessiond_machine::postgres_programs().expect("PostgreSQL");
        let user = json!({"username": "sessiond"});
        let settings = json!({
            "scope": "sessiond",
            "name": name,
            "restapi": {"listen": rest, "connect_address": rest},
            "etcd3": {"hosts": etcd.trim_start_matches("http://")},
            "bootstrap": {
                "dcs": {
                    "ttl": 5, "loop_wait": 1, "retry_timeout": 3, "primary_start_timeout": 0,
                    "synchronous_mode": true, "synchronous_mode_strict": true,
                    "postgresql": {"parameters": {
                        "fsync": false, "full_page_writes": false, "max_connections": 100, "max_wal_size": "64MB",
                        "min_wal_size": "32MB", "wal_keep_size": "64MB",
                    }},
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, {"auth": "trust"}, "no-sync"],
            },
            "postgresql": {
                "listen": format!("127.0.0.1:{port}"),
                "connect_address": format!("127.0.0.1:{port}"),
                "data_dir": self.dir.join(name),
                "bin_dir": binaries,
                "pgpass": self.dir.join(format!("{name}.pgpass")),
                "remove_data_directory_on_diverged_timelines": true,
                // The new copy of a node whose log has diverged would otherwise wait for a checkpoint that takes its time.
                "basebackup": [{"checkpoint": "fast"}],
                "authentication": {"superuser": user, "replication": user},
                "pg_hba": ["host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"],
                "parameters": {"unix_socket_directories": self.dir},
            },
            "watchdog": {"mode": "off"},
        });
        std::fs::write(self.configuration(node), settings.to_string()).expect("written");
    }

    fn configuration(&self, node: usize) -> PathBuf {
        self.dir.join(format!("{}.yaml", self.nodes[node].name))
    }

    /// Starts a node that does not run.
    pub fn start_node(&mut self, node: usize) {
        let mut patroni = unprivileged_command("patroni");
        patroni.arg(self.configuration(node)).current_dir(&self.dir);
        self.nodes[node].patroni = Some(Process::spawn(patroni).expect("patroni"));
    }

    /// Starts a node that does not run, and waits until its server answers. Where that takes long, Patroni is started once more:
    /// what is tested is not Patroni.
    pub async fn start_node_until_it_answers(&mut self, node: usize) {
        for _ in 0..3 {
            self.start_node(node);
            let url = self.url(node);
            let answers = until("it answers", async || database::rows(&url, "SELECT 1").await.is_ok());
            if tokio::time::timeout(Duration::from_secs(30), answers).await.is_ok() {
                return;
            }
            let patroni = self.nodes[node].patroni.take().expect("started");
            let log = patroni.kill().await.unwrap();
            let _ = writeln!(std::io::stderr(), "{} does not answer: {log}", self.nodes[node].name);
        }
        panic!("{} does not answer", self.nodes[node].name);
    }

    /// Ends a node as a power cut would.
    pub async fn kill_node(&mut self, node: usize) {
        let patroni = self.nodes[node].patroni.take().expect("a node that runs");
        let postmaster = self.dir.join(self.nodes[node].name).join("postmaster.pid");
        let postmaster = std::fs::read_to_string(postmaster).expect("a server that runs");
        let postmaster = postmaster.lines().next().and_then(|pid| Pid::from_raw(pid.parse().ok()?)).expect("a number");
        kill_process(postmaster, Signal::KILL).expect("killed");
        patroni.kill().await.unwrap();
    }

    /// The ports of all servers, each with where Patroni answers for it.
    pub fn places(&self) -> impl Iterator<Item = (u16, &str)> {
        self.nodes.iter().map(|node| (node.port, &*node.rest))
    }

    /// The URL of the database on one node.
    pub fn url(&self, node: usize) -> String {
        format!("postgres://sessiond@127.0.0.1:{}/postgres?sslmode=disable", self.nodes[node].port)
    }

    /// The state of all nodes, as any Patroni that answers sees it.
    async fn members(&self) -> Vec<Value> {
        for node in self.nodes.iter().filter(|node| node.patroni.is_some()) {
            if let Some(reply) = attempt(&node.rest, &get("/cluster")).await.filter(|reply| reply.status == 200) {
                return reply.json()["members"].as_array().cloned().unwrap_or_default();
            }
        }
        Vec::new()
    }

    /// The node that is the primary. There is one, unless it was lost a moment ago.
    pub async fn primary(&self) -> usize {
        let members = self.members().await;
        let leader = members.iter().find(|member| member["role"] == "leader").expect("a leader");
        self.nodes.iter().position(|node| leader["name"] == node.name).expect("one of them")
    }

    /// Waits until there is a primary, and two standbys on its timeline, one of them synchronous at least.
    pub async fn until_whole(&mut self) {
        until("there are a primary and its standbys", async || {
            for process in self.nodes.iter_mut().filter_map(|node| node.patroni.as_mut()).chain(&mut self.etcd) {
                process.still_lives().unwrap();
            }
            let members = self.members().await;
            let [roles, states, timelines] = ["role", "state", "timeline"]
                .map(|field| members.iter().map(|member| member[field].clone()).collect::<Vec<_>>());
            let run = states.iter().filter(|state| *state == "running" || *state == "streaming").count();
            let is_there = |role: &str| roles.iter().any(|one| one == role);
            run == 3
                && timelines.iter().all(|timeline| *timeline == timelines[0])
                && is_there("leader")
                && is_there("sync_standby")
        })
        .await;
    }

    /// Has both standbys be synchronous, so that either can take over.
    pub async fn make_both_synchronous(&self) {
        let patch = ask("PATCH", "/config").json(&json!({"synchronous_node_count": 2}));
        let reply = attempt(&self.nodes[0].rest, &patch).await.expect("answered");
        assert_eq!(reply.status, 200, "{}", reply.text());
        until("both are synchronous", async || {
            self.members().await.iter().filter(|member| member["role"] == "sync_standby").count() == 2
        })
        .await;
    }

    /// Has another node be the primary, as an operator would.
    pub async fn switch_over(&self, to: usize) {
        let mut patronictl = unprivileged_command("patronictl");
        patronictl.arg("-c").arg(self.configuration(0)).current_dir(&self.dir).env("LC_ALL", "C.UTF-8");
        patronictl.args(["switchover", "sessiond", "--candidate", self.nodes[to].name, "--force"]);
        let said = finish(patronictl, "").await.unwrap().done().unwrap();
        assert!(said.contains("Successfully switched over"), "{said}");
    }

    /// Waits until one of these nodes commits a change on its standby too. Returns which, and when.
    pub async fn until_changes(&self, nodes: &[usize]) -> (usize, Instant) {
        const CHANGE: &str = "SELECT pg_logical_emit_message(true, 'test', '')";
        let mut found = None;
        until("there is a new primary", async || {
            for node in nodes {
                let url = self.url(*node);
                let changed = tokio::time::timeout(Duration::from_millis(500), database::rows(&url, CHANGE)).await;
                if matches!(changed, Ok(Ok(_))) {
                    found = Some((*node, Instant::now()));
                    return true;
                }
            }
            false
        })
        .await;
        found.expect("found")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for Node { name, patroni, .. } in &self.nodes {
                let log = patroni.as_ref().map(Process::log).unwrap_or_default();
                // What it says of requests that were broken off is of no interest.
                let lines: Vec<_> = log.lines().filter(|line| line.starts_with("20")).collect();
                let _ = writeln!(std::io::stderr(), "{name}: {}", lines[lines.len().saturating_sub(40)..].join("\n"));
            }
        }
        // Each of them is killed and waited for.
        self.nodes.clear();
        self.etcd = None;
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
    }
}
