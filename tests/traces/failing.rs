//! Collectors that fail: the service answers and ends as if there were none, and the log has one line about it.

use std::time::{Duration, Instant};

use sessiond_needs::{needs, on_both_stores};
use sessiond_support::wait::until;
use tokio::process::Command;

use super::sink::{Failing, Sink};
use super::{dropped, start, traced};
use crate::harness::process::{Home, Process};
use crate::harness::{ALICE, StoreKind, get};

/// How much longer the end may take than without a collector.
const LONGER: Duration = Duration::from_millis(500);

/// Ends a server, and returns how long that took.
async fn time_to_end(server: Process) -> Duration {
    let begun = Instant::now();
    assert!(server.stop().await.success());
    begun.elapsed()
}

/// Has a server make spans of every kind.
async fn make_spans(server: &Process) {
    let alice = server.log_in(ALICE).await;
    for _ in 0..20 {
        assert_eq!(server.check(&alice.token).await, 200);
        assert_eq!(server.send(get("/api/v1/auth/sessions").bearer(&alice.token)).await.status, 200);
    }
}

/// The shortest of a few, since the machine may be busy with something else meanwhile.
async fn shortest(once: impl AsyncFn() -> Duration) -> Duration {
    let mut shortest = Duration::MAX;
    for _ in 0..3 {
        shortest = shortest.min(once().await);
    }
    shortest
}

#[on_both_stores]
async fn a_server_ends_as_soon_as_without_traces_whatever_its_collector_does(store: StoreKind) {
    let home = Home::new(store);
    let without = shortest(async || {
        let server = home.serve().await;
        make_spans(&server).await;
        time_to_end(server).await
    })
    .await;
    for failing in Failing::all().await {
        let url = failing.url();
        let with = shortest(async || {
            let server = traced(&home, &url, &[("SESSIOND_TRACED_CHECKS", "1")]).await;
            make_spans(&server).await;
            time_to_end(server).await
        })
        .await;
        assert!(with < without + LONGER, "{url}: {with:?}, and {without:?} without");
    }
    // The same when it is known to fail, and a pause is made before it is asked again.
    let url = Failing::Refuses.url();
    let with = shortest(async || {
        let server = traced(&home, &url, &[]).await;
        make_spans(&server).await;
        until("it is known", async || server.log().contains("takes no spans")).await;
        make_spans(&server).await;
        time_to_end(server).await
    })
    .await;
    assert!(with < without + LONGER, "{url}: {with:?}, and {without:?} without");
}

#[on_both_stores]
async fn each_change_of_a_collector_is_one_line_and_what_finds_no_room_is_counted(store: StoreKind) {
    let refusing = Failing::Refuses.url();
    let (_home, server) = start(store, &refusing, &[("SESSIOND_TRACED_CHECKS", "1")]).await;
    let alice = server.log_in(ALICE).await;
    let mut checks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (address, check) = (server.listen.clone(), get("/verify").bearer(&alice.token));
        checks.spawn(async move {
            for _ in 0..1000 {
                assert_eq!(crate::harness::exchange(&address, &check.bytes(&address)).await.status, 200);
            }
        });
    }
    checks.join_all().await;
    assert!(dropped(&server).await > 1000, "of 8,000 most find no room");
    let lines = |words: &str| server.log().matches(words).count();
    assert_eq!(lines("the collector takes no spans"), 1, "{}", server.log());
    assert!(server.log().lines().count() < 20, "{}", server.log());
    let sink = Sink::at(refusing.strip_prefix("http://").expect("a URL"), 200).await;
    until("it is found to be back", async || lines("the collector takes spans again") == 1).await;
    until("what waited has come", async || sink.count("GET /verify") > 1000).await;
    assert!(server.stop().await.success());
}

#[needs(taskset)]
#[on_both_stores]
async fn on_one_processor_spans_come_and_the_end_is_in_time(store: StoreKind) {
    let (home, sink) = (Home::new(store), Sink::start().await);
    let program = home.server();
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "0", env!("CARGO_BIN_EXE_sessiond"), "serve"]).env_clear().current_dir(home.dir.path());
    command.envs(program.as_std().get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("SESSIOND_OTLP_ENDPOINT", &sink.url).stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).kill_on_drop(true);
    let server = Process::start(command).await;
    make_spans(&server).await;
    until("spans come while it serves", async || sink.count("POST /api/v1/auth/login") == 1).await;
    make_spans(&server).await;
    let time = time_to_end(server).await;
    assert!(time < Duration::from_secs(3), "{time:?}");
    assert_eq!(sink.count("POST /api/v1/auth/login"), 2, "the last ones came at the end");
}
