//! Nothing that a client sends and nothing that is set is in what a collector gets, except a closed list of things.

use sessiond_needs::on_both_stores;
use sessiond_support::wait::until;

use super::sink::Sink;
use super::{start, traceparent};
use crate::harness::process::login;
use crate::harness::{ALICE, PASSWORD, StoreKind, ask, post};

/// What is part of every input. It may be changed on the way, so that its middle is looked for as well.
const CANARY: &str = "c4n4ry";

#[on_both_stores]
async fn no_input_of_any_route_and_no_setting_is_in_what_a_collector_gets(store: StoreKind) {
    let sink = Sink::start().await;
    let settings = [
        ("SESSIOND_TRUSTED_PROXIES", "127.0.0.1"),
        ("SESSIOND_TRACED_CHECKS", "1"),
        ("SESSIOND_BRAND_NAME", "c4n4ry brand"),
        ("SESSIOND_COOKIE_NAME", "c4n4ry_cookie"),
        ("SESSIOND_CORS_ORIGINS", "https://c4n4ry.example"),
        ("SESSIOND_ALLOWED_RETURN_ORIGINS", "https://c4n4ry-too.example"),
    ];
    let (home, server) = start(store, &sink.url, &settings).await;
    home.add_user("user-c4n4ry").await;
    let token = server.log_in("user-c4n4ry").await.token;
    let mut asked = 0;
    for route in sessiond::http::routes() {
        let path =
            route.path.split('/').map(|part| if part.starts_with('{') { CANARY } else { part }).collect::<Vec<_>>();
        let target = format!("{}?c4n4ry=c4n4ry&return_to=https://c4n4ry.example/", path.join("/"));
        let method = route.method.as_ref().map_or("GET", |method| method.as_str());
        for credential in [CANARY, &token] {
            let ask = ask(method, &target)
                .header("X-Auth-Token", CANARY)
                .header("X-User-Id", CANARY)
                .header("User-Agent", CANARY)
                .header("Referer", "https://c4n4ry.example/")
                .header("Origin", "https://c4n4ry.example")
                .header("X-Forwarded-For", "192.0.2.77")
                .header("X-Forwarded-Host", "c4n4ry.example")
                .header("X-Forwarded-Uri", "/c4n4ry")
                .header("X-Request-Id", CANARY)
                .header("X-C4n4ry", CANARY)
                .header("Cookie", &format!("c4n4ry_cookie={credential}; c4n4ry=c4n4ry"))
                .bearer(credential)
                .header("traceparent", &traceparent("01"))
                .json(&serde_json::json!({"username": CANARY, "password": CANARY, "current_password": CANARY, "c4n4ry": CANARY}));
            server.send(ask).await;
            asked += 1;
        }
    }
    assert!(asked > 100, "{asked}");
    server.send(login(CANARY, CANARY)).await;
    server.send(post("/login").form("username=c4n4ry&password=c4n4ry")).await;
    server.send(ask("C4N4RY", "/c4n4ry")).await;
    server.send(ask("GET", "/c4n4ry").header("Host", "c4n4ry.example:99999")).await;
    let reply = server.send(login(ALICE, PASSWORD)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    until("the last span came", async || sink.count("POST /api/v1/auth/login") >= 3).await;
    assert!(server.stop().await.success());
    for secret in [CANARY, "C4N4RY", "4n4r", &token, PASSWORD, ALICE, "192.0.2.77", "SELECT", "INSERT"] {
        assert_eq!(sink.count(secret), 0, "{secret}");
    }
    let (commits, routes) = (sink.count("store commit"), sink.count("http.route"));
    assert!(commits > 10 && routes > 100, "there was something to look at: {commits} {routes}");
    assert!(sink.count("_OTHER") > 0);
}
