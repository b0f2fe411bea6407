//! Which requests are traced: a trusted proxy decides, and of the checks that memory answers a share is.

use sessiond_needs::on_both_stores;
use sessiond_support::wait::until;

use super::sink::Sink;
use super::{SPAN, TRACE, start, traceparent};
use crate::harness::process::{Home, Process};
use crate::harness::{ALICE, StoreKind, TestRequest, get};

const TRUSTING: (&str, &str) = ("SESSIOND_TRUSTED_PROXIES", "127.0.0.1");
/// The bytes of [`TRACE`], as they travel.
const TRACE_BYTES: [u8; 16] = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes();

/// Ends the server, so that all of its spans have come.
async fn end(server: Process) {
    assert!(server.stop().await.success());
}

#[on_both_stores]
async fn a_proxy_that_is_not_trusted_decides_nothing(store: StoreKind) {
    let sink = Sink::start().await;
    let (_home, server) = start(store, &sink.url, &[]).await;
    let ask = |flags: &str| {
        get("/api/v1/auth/sessions").header("traceparent", &traceparent(flags)).header("tracestate", "canary=1")
    };
    for flags in ["00", "01"] {
        assert_eq!(server.send(ask(flags)).await.status, 401);
    }
    let reply = server.send(get("/verify").header("traceparent", &traceparent("01"))).await;
    assert_eq!(reply.header("traceparent"), None);
    end(server).await;
    assert_eq!(sink.count("GET /api/v1/auth/sessions"), 2, "both are traced");
    assert_eq!(sink.count("canary") + sink.count_bytes(&TRACE_BYTES), 0);
}

#[on_both_stores]
async fn a_trusted_proxy_decides_whether_a_request_is_traced(store: StoreKind) {
    let sink = Sink::start().await;
    let (_home, server) = start(store, &sink.url, &[TRUSTING]).await;
    let alice = server.log_in(ALICE).await;
    let check = |flags: &str| get("/verify").bearer(&alice.token).header("traceparent", &traceparent(flags));
    server.check(&alice.token).await;
    // From memory by now.
    let reply = server.send(check("00")).await;
    assert_eq!(reply.header("traceparent"), Some(&*traceparent("00")), "passed on as it came");
    let reply = server.send(check("01")).await;
    let passed_on = reply.header("traceparent").expect("passed on").to_owned();
    assert!(passed_on.starts_with(&format!("00-{TRACE}-")) && !passed_on.contains(SPAN), "{passed_on}");
    for odd in
        [traceparent("01").to_uppercase(), format!("{}-", traceparent("01")), traceparent("01").replace("00-", "ff-")]
    {
        let reply = server.send(get("/verify").bearer(&alice.token).header("traceparent", &odd)).await;
        assert_eq!((reply.status, reply.header("traceparent")), (200, None), "{odd}");
    }
    let twice = check("01").header("traceparent", &traceparent("01"));
    assert_eq!(server.send(twice).await.header("traceparent"), None);
    for (flags, times) in [("00", 2), ("01", 3)] {
        for _ in 0..times {
            server.send(get("/api/v1/auth/sessions").header("traceparent", &traceparent(flags))).await;
        }
    }
    end(server).await;
    assert_eq!(sink.count("GET /api/v1/auth/sessions"), 3);
    assert_eq!(sink.count("GET /verify"), 2, "the first, which read the store, and the one that is recorded");
    assert_eq!(sink.count_bytes(&TRACE_BYTES), 4, "those that a proxy has begun, and nothing within them");
}

async fn traced_checks(store: StoreKind, share: &str) -> usize {
    let sink = Sink::start().await;
    let (_home, server): (Home, _) = start(store, &sink.url, &[("SESSIOND_TRACED_CHECKS", share)]).await;
    let alice = server.log_in(ALICE).await;
    server.check(&alice.token).await;
    for _ in 0..20 {
        assert_eq!(server.check(&alice.token).await, 200);
    }
    until("spans came", async || sink.count("GET /verify") > 0).await;
    end(server).await;
    sink.count("GET /verify") - 1
}

#[on_both_stores]
async fn of_the_checks_from_memory_a_share_is_traced(store: StoreKind) {
    assert_eq!(traced_checks(store, "0").await, 0);
    assert_eq!(traced_checks(store, "1").await, 20);
}

#[on_both_stores]
async fn a_line_within_a_traced_request_bears_the_number_of_its_trace(store: StoreKind) {
    let sink = Sink::start().await;
    for format in ["text", "json"] {
        let settings = [TRUSTING, ("SESSIOND_LOG_LEVEL", "debug"), ("SESSIOND_LOG_FORMAT", format)];
        let (_home, server) = start(store, &sink.url, &settings).await;
        let asks: [TestRequest; 2] = [get("/verify"), get("/api/v1/auth/sessions")];
        for ask in asks {
            let reply = server.send(ask.header("traceparent", &traceparent("00"))).await;
            let id = reply.header("x-request-id").expect("an id").to_owned();
            until("its line is there", async || server.log().contains(&id)).await;
            let log = server.log();
            let line = log.lines().find(|line| line.contains(&id)).expect("waited for");
            assert!(line.contains("trace_id") && line.contains(TRACE), "{line}");
        }
        let log = server.log();
        assert!(!log.contains("store read") && !log.contains("store commit"), "spans say nothing in lines: {log}");
    }
}
