//! Traces: what a real collector gets, what it must never get, and that none of it stands in the way of the service.

mod canaries;
mod collector;
mod failing;
mod sampling;
mod sink;
mod tls;

use crate::harness::StoreKind;
use crate::harness::fleet::ops;
use crate::harness::process::{Home, Process};

/// A trace that a proxy has begun.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{SPAN}-{flags}")
}

/// A server that hands its spans to a collector.
async fn traced(home: &Home, collector: &str, settings: &[(&str, &str)]) -> Process {
    let mut command = home.server();
    command.env("SESSIOND_OTLP_ENDPOINT", collector).envs(settings.iter().copied());
    Process::start(command).await
}

async fn start(store: StoreKind, collector: &str, settings: &[(&str, &str)]) -> (Home, Process) {
    let home = Home::new(store);
    let server = traced(&home, collector, settings).await;
    (home, server)
}

async fn dropped(server: &Process) -> u64 {
    let metrics = ops(server, "/metrics").await.text();
    let line = metrics.lines().find_map(|line| line.strip_prefix("sessiond_spans_dropped_total "));
    line.and_then(|number| number.parse().ok()).expect("a counter")
}
