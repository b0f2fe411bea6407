//! A real collector: each request is a span, with what it waited for within it.

use std::collections::HashMap;
use std::process::Stdio;

use sessiond_needs::{needs, on_both_stores};
use sessiond_support::port::free_port;
use sessiond_support::wait::until;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::{SPAN, TRACE, start, traceparent};
use crate::harness::process::{logged_in, login};
use crate::harness::{ALICE, PASSWORD, StoreKind, get, post};

/// Rotel, which writes down every span that it was handed.
struct Collector {
    url: String,
    log: std::path::PathBuf,
    _folder: TempDir,
    _child: Child,
}

/// A span as the collector has it.
#[derive(Clone, Debug, Default)]
struct Span {
    id: String,
    trace: String,
    parent: String,
    name: String,
    kind: String,
    state: String,
    begin: u64,
    end: u64,
    attributes: HashMap<String, String>,
}

impl Collector {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [http, grpc] = [(); 2].map(|()| format!("127.0.0.1:{}", free_port().expect("a port")));
        let log = folder.path().join("log");
        let mut command = Command::new(sessiond_machine::collector().expect("the test needs it"));
        command.args(["start", "--otlp-http-endpoint", &http, "--otlp-grpc-endpoint", &grpc]);
        command.args(["--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed"]);
        command.current_dir(folder.path()).env_clear().env("NO_COLOR", "1").stdin(Stdio::null());
        command.stdout(std::fs::File::create(&log).expect("a file")).stderr(Stdio::null()).kill_on_drop(true);
        let child = command.spawn().expect("a collector");
        until("the collector listens", async || TcpStream::connect(&http).await.is_ok()).await;
        Self { url: format!("http://{http}"), log, _folder: folder, _child: child }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        for line in self.text().lines() {
            let (key, value) = line.trim().split_once(':').map_or((line.trim(), ""), |(k, v)| (k.trim(), v.trim()));
            if key.starts_with("Span #") {
                spans.push(Span::default());
            }
            let Some(span) = spans.last_mut() else { continue };
            match key {
                "Trace ID" => span.trace = value.into(),
                "Parent ID" => span.parent = value.into(),
                "ID" => span.id = value.into(),
                "Name" => span.name = value.into(),
                "Kind" => span.kind = value.into(),
                "TraceState" => span.state = value.into(),
                "Start time" => span.begin = value.parse().expect("a number"),
                "End time" => span.end = value.parse().expect("a number"),
                _ => {
                    if let Some(name) = key.strip_prefix("-> ") {
                        let value = value.split_once('(').map_or(value, |(_, value)| value.trim_end_matches(')'));
                        span.attributes.insert(name.into(), value.into());
                    }
                }
            }
        }
        spans
    }

    /// Waits for a request's span. Returns it, and the names of those within it.
    async fn request(&self, name: &str) -> (Span, Vec<String>) {
        until("its span came", async || self.spans().iter().any(|span| span.name == name)).await;
        let spans = self.spans();
        let request = spans.iter().find(|span| span.name == name).expect("waited for").clone();
        let within: Vec<_> = spans.iter().filter(|span| span.parent == request.id).collect();
        for span in &within {
            assert_eq!((&*span.trace, &*span.kind), (&*request.trace, "SPAN_KIND_INTERNAL"), "{span:?}");
            assert!(
                request.begin <= span.begin && span.begin <= span.end && span.end <= request.end,
                "{request:?} {span:?}"
            );
        }
        let mut names: Vec<_> = within.iter().map(|span| span.name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        (request, names)
    }
}

#[needs(collector)]
#[on_both_stores]
async fn a_request_is_a_span_and_so_is_each_thing_that_it_waits_for(store: StoreKind) {
    let collector = Collector::start().await;
    let (_home, server) = start(store, &collector.url, &[("SESSIOND_TRUSTED_PROXIES", "127.0.0.1")]).await;
    let reply = server.send(login(ALICE, PASSWORD)).await;
    let alice = logged_in(&reply);
    let (login, within) = collector.request("POST /api/v1/auth/login").await;
    assert_eq!(within, ["password hash", "password queue", "settle", "store commit", "store read"]);
    assert_eq!((&*login.kind, &*login.parent), ("SPAN_KIND_SERVER", ""));
    let of = |span: &Span, name: &str| span.attributes.get(name).cloned().unwrap_or_default();
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/api/v1/auth/login"),
        ("http.response.status_code", "200"),
        ("sessiond.dialect", "canonical"),
        ("sessiond.result", "ok"),
    ] {
        assert_eq!(of(&login, name), value, "{name}");
    }

    // The first check reads the store, within the proxy's trace, which goes on behind it.
    let check =
        get("/verify").bearer(&alice.token).header("traceparent", &traceparent("01")).header("tracestate", "a=1");
    let reply = server.send(check).await;
    let (check, within) = collector.request("GET /verify").await;
    assert_eq!((&*check.trace, &*check.parent, &*check.state), (TRACE, SPAN, "a=1"));
    assert_eq!((within, &*of(&check, "sessiond.source")), (vec![String::from("store read")], "store"));
    assert_eq!(reply.header("traceparent"), Some(&*format!("00-{TRACE}-{}-01", check.id)));
    assert_eq!(reply.header("tracestate"), Some("a=1"));

    assert_eq!(server.send(post("/api/v1/auth/logout").bearer(&alice.token)).await.status, 200);
    let (logout, within) = collector.request("POST /api/v1/auth/logout").await;
    assert!(within.contains(&String::from("settle")) && within.contains(&String::from("store commit")), "{within:?}");
    assert_ne!(logout.trace, login.trace);

    assert_eq!(server.send(get("/no/such/route")).await.status, 404);
    let (unknown, _) = collector.request("GET").await;
    assert_eq!((&*of(&unknown, "http.route"), &*of(&unknown, "sessiond.result")), ("", "invalid"));
    assert!(collector.text().contains("service.name: Str(sessiond)"));
    assert!(server.log().contains("the collector takes spans"), "{}", server.log());
    assert!(server.stop().await.success());
}
