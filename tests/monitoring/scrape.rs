//! A scrape, and what is in it.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::{exchange, get};

/// The newer text format, and the older one.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";
pub const PROMETHEUS: &str = "text/plain; version=0.0.4";

/// The answer of an operations listener, in this format.
pub async fn scrape(ops: &str, format: &str) -> String {
    let reply = exchange(ops, &get("/metrics").header("Accept", format).bytes(ops)).await;
    crate::dialects::openapi::check_ops("GET", "/metrics", &reply);
    let kind = reply.header("content-type").expect("a type");
    assert!(kind.starts_with(format), "{kind}");
    reply.text()
}

/// A sample: its name, its labels and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// Every sample.
pub fn samples(text: &str) -> Vec<Sample> {
    text.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).expect("a name");
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (key, behind) = rest.trim_start_matches(',').split_once("=\"").expect("a label");
            // No value has a quote in it.
            let (value, behind) = behind.split_once('"').expect("a value");
            labels.insert(key.to_owned(), value.to_owned());
            rest = behind;
        }
        rest = &rest[1..];
    }
    Sample { name: name.to_owned(), labels, value: rest.trim().parse().expect("a number") }
}

/// The sum of the samples of that name that have all these labels.
pub fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let all = samples(text);
    let matching = all.iter().filter(|sample| {
        let has = |(key, value): &(&str, &str)| sample.labels.get(*key).is_some_and(|own| own == value);
        sample.name == name && labels.iter().all(has)
    });
    matching.map(|sample| sample.value).sum()
}

/// A metric as it is listed: its name as queries have it, its type, its unit and its labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metric {
    pub name: String,
    pub kind: String,
    pub unit: String,
    pub labels: String,
}

/// Every metric of a scrape in the newer format.
pub fn metrics(text: &str) -> BTreeSet<Metric> {
    let described = |keyword: &str| -> BTreeMap<String, String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(keyword)?.split_once(' '));
        lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let (types, units, helps) = (described("# TYPE "), described("# UNIT "), described("# HELP "));
    let all = samples(text);
    let metric = |(name, kind): (&String, &String)| {
        assert!(helps.get(name).is_some_and(|help| help.len() > 10), "{name} has no help");
        let suffixes: &[&str] = match kind.as_str() {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_count", "_sum"],
            "info" => &["_info"],
            "gauge" => &[""],
            other => panic!("{name} is a {other}"),
        };
        let own = all.iter().filter(|sample| suffixes.iter().any(|suffix| sample.name == format!("{name}{suffix}")));
        let labels: BTreeSet<_> = own.flat_map(|sample| sample.labels.keys()).filter(|key| *key != "le").collect();
        let labels: Vec<_> = labels.into_iter().map(String::as_str).collect();
        Metric {
            name: if suffixes.len() == 1 { format!("{name}{}", suffixes[0]) } else { name.clone() },
            kind: kind.clone(),
            unit: units.get(name).map_or("-", String::as_str).to_owned(),
            labels: if labels.is_empty() { "-".into() } else { labels.join(",") },
        }
    };
    types.iter().map(metric).collect()
}
