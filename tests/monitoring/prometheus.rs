//! A real Prometheus scrapes a real server as in the example, and answers every question that the rules and the dashboard ask.

use std::path::Path;

use serde_json::Value;
use sessiond_needs::{needs, on_both_stores};
use sessiond_support::port::free_port;
use sessiond_support::process::{self, command};
use sessiond_support::wait::until;

use super::examples::{FOLDER, alerts, dashboard};
use crate::harness::process::serving;
use crate::harness::{ALICE, StoreKind, exchange};

/// A Prometheus with the example's configuration, but for the address of its target, and in a hurry.
struct Prometheus {
    address: String,
    process: process::Process,
}

impl Prometheus {
    fn start(dir: &Path, target: &str) -> Self {
        let example = std::fs::read_to_string(format!("{FOLDER}/prometheus.yml")).expect("the example");
        let mut configuration = example.clone();
        for (from, to) in [
            ("'127.0.0.1:9090'", format!("'{target}'")),
            ("_interval: 15s", "_interval: 500ms".to_owned()),
            ("- alerts.yml", format!("- {FOLDER}/alerts.yml")),
        ] {
            assert!(configuration.contains(from), "{from} in {example}");
            configuration = configuration.replace(from, &to);
        }
        let file = dir.join("prometheus.yml");
        std::fs::write(&file, configuration).expect("written");
        let address = format!("127.0.0.1:{}", free_port().expect("a port"));
        let mut prometheus = command("prometheus");
        prometheus.arg(format!("--config.file={}", file.display()));
        prometheus.arg(format!("--storage.tsdb.path={}", dir.join("data").display()));
        prometheus.arg(format!("--web.listen-address={address}")).current_dir(dir);
        Self { address, process: process::Process::spawn(prometheus).expect("a process") }
    }

    /// Asks its API. `None`: it is not there yet.
    async fn ask(&self, target: &str) -> Option<Value> {
        tokio::net::TcpStream::connect(&self.address).await.ok()?;
        // Of the older version, so that the body is not chunked.
        let request = format!("GET {target} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address);
        let reply = exchange(&self.address, request.as_bytes()).await;
        serde_json::from_slice(&reply.body).ok()
    }

    async fn query(&self, expression: &str) -> Option<Value> {
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("query", expression).finish();
        self.ask(&format!("/api/v1/query?{query}")).await
    }

    /// How many series a question has for an answer.
    async fn series(&self, expression: &str) -> usize {
        let answer = self.query(expression).await.unwrap_or_default();
        answer["data"]["result"].as_array().map_or(0, Vec::len)
    }
}

#[needs(prometheus)]
#[on_both_stores]
async fn every_question_of_the_rules_and_the_dashboard_has_an_answer(store: StoreKind) {
    let (home, server) = serving(store).await;
    let alice = server.log_in(ALICE).await;
    assert_eq!(server.check(&alice.token).await, 200);
    let mut prometheus = Prometheus::start(home.dir.path(), &server.ops);
    until("it is scraped, and up", async || {
        prometheus.process.still_lives().unwrap_or_else(|error| panic!("{error}: {}", prometheus.process.log()));
        prometheus.series("up{job=\"sessiond\"} == 1").await == 1
    })
    .await;
    // What was scraped has its types and units.
    let metadata = prometheus.ask("/api/v1/metadata?metric=sessiond_settled_seconds").await.expect("answered");
    let of_one = &metadata["data"]["sessiond_settled_seconds"][0];
    assert_eq!((&of_one["type"], &of_one["unit"]), (&"histogram".into(), &"seconds".into()), "{metadata}");
    // Rates need two scrapes.
    until("there are two scrapes", async || {
        prometheus.series("count_over_time(sessiond_build_info[1m]) > 1").await == 1
    })
    .await;
    let mut answered = 0;
    let (alerts, dashboard) = (alerts(), dashboard());
    for expression in alerts.iter().map(|(_, expression)| expression).chain(&dashboard) {
        let answer = prometheus.query(expression).await.expect("answered");
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        assert!(answer["warnings"].is_null(), "{expression}: {answer}");
        answered += usize::from(answer["data"]["result"].as_array().is_some_and(|series| !series.is_empty()));
    }
    // Nothing is wrong, so that no alert has an answer; of the panels, a few are about the other store or about failures.
    assert!(answered * 10 >= dashboard.len() * 8, "{answered} of {}", dashboard.len());
    let rules = prometheus.ask("/api/v1/rules").await.expect("answered");
    let groups = rules["data"]["groups"].as_array().expect("groups").iter();
    let rules: Vec<_> = groups.flat_map(|group| group["rules"].as_array().expect("rules")).collect();
    assert_eq!(rules.len(), alerts.len());
    until("all rules were evaluated", async || {
        let rules = prometheus.ask("/api/v1/rules").await.expect("answered").to_string();
        !rules.contains("\"health\":\"unknown\"")
    })
    .await;
    let rules = prometheus.ask("/api/v1/rules").await.expect("answered").to_string();
    assert!(!rules.contains("\"health\":\"err\"") && !rules.contains("\"state\":\"firing\""), "{rules}");
    assert!(server.stop().await.success());
    until("it is down", async || prometheus.series("up{job=\"sessiond\"} == 0").await == 1).await;
}
