//! The choices that the examples offer in comments.

use sessiond_needs::needs;

use super::deployment::{Deployment, identity_of};
use super::example::{CADDY, ENVOY, Example, HAPROXY, NGINX, TRAEFIK, choose};
use super::{PAGE, speak_http2};
use crate::harness::back_end::Told;
use crate::harness::process::login;
use crate::harness::{BOB, PASSWORD, TestRequest, ask, get};

const ORIGIN: &str = "https://front.example";

async fn preflights_reach_the_application_where_that_is_chosen(example: &Example) {
    let deployment = Deployment::changed(example, |text| choose(&text, "let preflights reach")).await;
    let preflight = ask("OPTIONS", "/app/x?a=1")
        .header("Origin", ORIGIN)
        .header("Access-Control-Request-Method", "PUT")
        .header("Access-Control-Request-Headers", "content-type");
    for spelling in ["Remote-User", "remote_user", "Remote.User", "Remote-Groups"] {
        let told = deployment.pass(preflight.clone().header(spelling, "evil")).await;
        assert_eq!((&told.0["method"], &told.0["target"]), (&"OPTIONS".into(), &"/app/x?a=1".into()));
        assert!(told.all("remote").iter().all(|(_, value)| value.is_empty()), "{spelling}: {:?}", told.0);
        assert_eq!(told.all("access-control-request-headers").len(), 1);
    }
    speak_http2(&deployment, &preflight).await;
    for refused in [
        ask("OPTIONS", "/app/x").header("Origin", ORIGIN),
        ask("OPTIONS", "/app/x").header("Access-Control-Request-Method", "PUT"),
        ask("GET", "/app/x").header("Origin", ORIGIN).header("Access-Control-Request-Method", "PUT"),
        ask("POST", "/app/x").header("Origin", ORIGIN).header("Access-Control-Request-Method", "PUT"),
    ] {
        assert_eq!(deployment.refuse(refused.clone()).await.status, 401, "{refused:?}");
    }
    let bob = deployment.server.log_in(BOB).await;
    assert_eq!(deployment.pass(get("/app/").cookie(&bob.token)).await.all("remote-"), identity_of(&bob));
    deployment.stop().await;
}

/// What another proxy says, which has ended TLS.
const CLIENT: &str = "203.0.113.7";

async fn another_proxy_in_front_says_what_the_browser_speaks(example: &Example) {
    let chosen = |text: String| {
        let text = choose(&text, "another proxy").replace("192.0.2.1", "127.0.0.1");
        text.replace("trustForwardHeader: false", "trustForwardHeader: true")
    };
    for (scheme, deployment) in
        [("http", Deployment::new(example).await), ("https", Deployment::changed(example, chosen).await)]
    {
        let forwarded =
            |request: TestRequest| request.header("X-Forwarded-Proto", "https").header("X-Forwarded-For", CLIENT);
        let refused = deployment.refuse(forwarded(get("/app/").header("Accept", PAGE))).await;
        let location = refused.header("location").expect("the login page");
        let back = format!("return_to={scheme}%3A%2F%2Flocalhost%3A");
        assert!(location.contains(&back), "{location} {}", deployment.proxy.log());

        // Where a proxy adds the slash itself, it does not take away what the browser speaks.
        let slash = deployment.send(forwarded(get("/app"))).await;
        assert!(slash.header("location").is_none_or(|to| to.starts_with('/')), "{slash:?}");

        let reply = deployment.send(forwarded(login(BOB, PASSWORD))).await;
        let session = reply.json()["session"].clone();
        // Envoy adds the address from which it was asked, which is not the one of loopback.
        if example.proxy.name != ENVOY.proxy.name {
            assert_eq!(session["ip"] == CLIENT, scheme == "https", "{session}");
        }
        let body = reply.json();
        let token = body["token"].as_str().expect("a token");
        let told = Told::from_reply(&deployment.send(forwarded(get("/app/").cookie(token))).await);
        assert_eq!(told.all("remote-name"), [("remote-name".into(), BOB.into())]);
        assert_eq!(told.all("x-forwarded-proto"), [("x-forwarded-proto".into(), scheme.into())], "to the application");
        deployment.stop().await;
    }
}

through_every_proxy! {
    preflights_reach_the_application_where_that_is_chosen
    another_proxy_in_front_says_what_the_browser_speaks
}
