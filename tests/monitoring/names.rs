//! Names, types, labels and units are what is listed in `metrics.txt` and in `docs/metrics.md`: dashboards and alerts rest on them.

use std::collections::BTreeSet;

use sessiond_needs::on_both_stores;
use sessiond_support::wait::until;

use super::examples::alerts_about;
use super::scrape::{Metric, OPEN_METRICS, metrics, scrape};
use crate::harness::{ALICE, Server, StoreKind};

const LIST: &str = include_str!("metrics.txt");
const DOCUMENT: &str = include_str!("../../docs/metrics.md");

/// What is listed, and on which store: `both`, `sqlite` or `postgres`.
pub fn listed() -> BTreeSet<(Metric, String)> {
    let lines = LIST.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| listed_metric(&line.split_whitespace().collect::<Vec<_>>())).collect()
}

fn listed_metric(columns: &[&str]) -> (Metric, String) {
    let [name, kind, unit, labels, store] = columns else { panic!("not five columns: {columns:?}") };
    let [name, kind, unit, labels] = [name, kind, unit, labels].map(|column| (*column).to_owned());
    (Metric { name, kind, unit, labels }, (*store).to_owned())
}

#[on_both_stores]
async fn names_types_labels_and_units_are_those_that_are_listed(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    assert_eq!(server.check(&alice.token).await, 200);
    let own = match store {
        StoreKind::Sqlite => "sqlite",
        StoreKind::Postgres => {
            let standbys = async || server.ops("/metrics").await.text().contains("\nsessiond_synchronous_standbys");
            until("the standbys are counted", standbys).await;
            "postgres"
        }
    };
    let found = metrics(&scrape(&server.ops_address(), OPEN_METRICS).await);
    let wanted: BTreeSet<_> =
        listed().into_iter().filter(|(_, on)| on == "both" || on == own).map(|(m, _)| m).collect();
    let lines = |all: &BTreeSet<Metric>, others: &BTreeSet<Metric>| -> Vec<_> {
        let differing = all.difference(others);
        differing.map(|m| format!("{} {} {} {}", m.name, m.kind, m.unit, m.labels)).collect()
    };
    let (new, gone) = (lines(&found, &wanted), lines(&wanted, &found));
    let why = "dashboards depend on tests/monitoring/metrics.txt: a change needs a line in CHANGELOG.md";
    assert!(new.is_empty() && gone.is_empty(), "{why}\nnot listed:\n{}\ngone:\n{}", new.join("\n"), gone.join("\n"));
    server.stop().await;
}

#[test]
fn each_metric_is_documented_with_the_alerts_that_use_it() {
    let mut documented = BTreeSet::new();
    for row in DOCUMENT.lines().filter(|line| line.starts_with("| `sessiond_") || line.starts_with("| `process_")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let [name, kind, labels, unit, store, meaning, alerts] = &cells[..] else { panic!("not seven cells: {row}") };
        assert!(meaning.len() > 15 && meaning.ends_with('.') || meaning.ends_with("always 1."), "{name}: {meaning}");
        let mut labels: Vec<_> = labels.split(", ").collect();
        labels.sort_unstable();
        let store = match store.as_str() {
            "both" => "both",
            "SQLite" => "sqlite",
            "PostgreSQL" => "postgres",
            other => panic!("{name} is on {other}"),
        };
        documented.insert(listed_metric(&[name, kind, unit, &labels.join(","), store]));
        let named: BTreeSet<_> = alerts.split(", ").filter(|alert| *alert != "-").map(str::to_owned).collect();
        assert_eq!(named, alerts_about(name), "the alerts about {name}");
    }
    assert_eq!(documented, listed());
}
