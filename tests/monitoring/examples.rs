//! The rules and the dashboard in `examples/monitoring/` ask for nothing that is not there, and each alert is tested and explained.

use std::collections::BTreeSet;

use serde_json::Value;

use super::names::listed;

/// Where the examples are.
pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/monitoring");
const ALERTS: &str = include_str!("../../examples/monitoring/alerts.yml");
const TESTS: &str = include_str!("../../examples/monitoring/alerts.test.yml");
const DASHBOARD: &str = include_str!("../../examples/monitoring/dashboard.json");

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).expect("YAML")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

fn rules() -> Vec<Value> {
    list(&yaml(ALERTS)["groups"]).iter().flat_map(|group| list(&group["rules"]).to_vec()).collect()
}

/// Each alert's name and expression.
pub fn alerts() -> Vec<(String, String)> {
    rules().iter().map(|rule| (text(rule, "/alert").to_owned(), text(rule, "/expr").to_owned())).collect()
}

/// Each expression of the dashboard, with what Grafana puts in place of its variables.
pub fn dashboard() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let targets = list(&dashboard["panels"]).iter().flat_map(|panel| list(&panel["targets"]));
    let expressions = targets.map(|target| text(target, "/expr"));
    expressions.map(|expr| expr.replace("$__rate_interval", "1m").replace("$instance", ".*")).collect()
}

/// The metrics that an expression asks for.
fn asked(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("sessiond_") || word.starts_with("process_"));
    ours.map(str::to_owned).collect()
}

/// Whether an expression asks for a metric.
fn asks_for(expression: &str, metric: &str) -> bool {
    let of_histogram = ["", "_bucket", "_sum", "_count"].map(|suffix| format!("{metric}{suffix}"));
    asked(expression).iter().any(|name| of_histogram.contains(name))
}

/// The alerts whose expression asks for a metric.
pub fn alerts_about(metric: &str) -> BTreeSet<String> {
    alerts().into_iter().filter(|(_, expr)| asks_for(expr, metric)).map(|(name, _)| name).collect()
}

#[test]
fn each_metric_that_is_asked_for_is_there_and_each_one_is_shown() {
    let mut there = BTreeSet::new();
    for (metric, _) in listed() {
        let suffixes: &[&str] = if metric.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        there.extend(suffixes.iter().map(|suffix| format!("{}{suffix}", metric.name)));
    }
    let dashboard = dashboard();
    assert!(alerts().len() > 15 && dashboard.len() > 40, "{} and {}", alerts().len(), dashboard.len());
    for expression in dashboard.iter().chain(alerts().iter().map(|(_, expr)| expr)) {
        let asked = asked(expression);
        assert!(asked.is_subset(&there), "not there: {:?}", asked.difference(&there));
        assert!(!asked.is_empty() || expression.contains("up{"), "{expression}");
    }
    for (metric, _) in listed() {
        assert!(dashboard.iter().any(|expr| asks_for(expr, &metric.name)), "{} is on no panel", metric.name);
    }
}

#[test]
fn the_dashboard_has_its_rows_in_order_and_no_panel_covers_another() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let panels = list(&dashboard["panels"]);
    let rows: Vec<_> = panels.iter().filter(|p| p["type"] == "row").map(|row| text(row, "/title")).collect();
    let wanted = ["Traffic", "Latency", "Checks and cache", "Revocations", "Logins and passwords", "Store", "Process"];
    assert_eq!(rows, wanted);
    let mut covered = BTreeSet::new();
    for panel in panels {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect("a number"));
        assert!(x + w <= 24, "{panel}");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(covered.insert(cell), "{} covers another", text(panel, "/title"));
        }
    }
}

#[test]
fn each_alert_fires_in_one_case_and_is_quiet_in_another() {
    let tests = yaml(TESTS);
    let cases: Vec<_> = list(&tests["tests"]).iter().flat_map(|test| list(&test["alert_rule_test"])).collect();
    for (alert, _) in alerts() {
        let own = || cases.iter().filter(|case| case["alertname"] == alert.as_str());
        assert!(own().any(|case| !list(&case["exp_alerts"]).is_empty()), "{alert} fires in no case");
        assert!(own().any(|case| list(&case["exp_alerts"]).is_empty()), "{alert} is quiet in no case");
    }
}

#[test]
fn each_alert_says_what_it_means_and_where_to_read_on() {
    for rule in rules() {
        let name = text(&rule, "/alert");
        assert!(["page", "ticket"].contains(&text(&rule, "/labels/severity")), "{name}");
        assert!(text(&rule, "/annotations/summary").len() > 10, "{name}");
        assert!(text(&rule, "/annotations/description").len() > 30, "{name}");
        let runbook = text(&rule, "/annotations/runbook");
        let (document, anchor) = runbook.split_once('#').unwrap_or((runbook, ""));
        let document = std::fs::read_to_string(format!("{}/{document}", env!("CARGO_MANIFEST_DIR"))).expect(runbook);
        let is_heading = |line: &str| {
            let heading = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            let kept: String = heading.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect();
            line.starts_with('#') && kept == anchor
        };
        assert!(anchor.is_empty() || document.lines().any(is_heading), "{name}: {runbook} leads nowhere");
    }
}
