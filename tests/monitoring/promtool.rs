//! Prometheus' own checker reads the examples, runs the tests of the rules, and finds nothing to say about a scrape.

use sessiond_needs::{needs, on_both_stores};
use sessiond_support::process::{command, finish};

use super::examples::FOLDER;
use super::scrape::{PROMETHEUS, scrape};
use crate::harness::{ALICE, Server, StoreKind};

async fn promtool(arguments: &[&str], input: &str) -> String {
    let mut promtool = command("promtool");
    promtool.args(arguments).current_dir(FOLDER);
    let done = finish(promtool, input).await.expect("an end");
    assert!(done.ok, "promtool {arguments:?}: {}{}", done.out, done.err);
    done.out + &done.err
}

#[needs(prometheus)]
#[tokio::test]
async fn the_rules_are_sound_and_pass_their_tests() {
    let checked = promtool(&["check", "config", "prometheus.yml"], "").await;
    assert!(checked.contains("1 rule files found"), "{checked}");
    promtool(&["check", "rules", "alerts.yml"], "").await;
    promtool(&["test", "rules", "alerts.test.yml"], "").await;
}

#[needs(prometheus)]
#[on_both_stores]
async fn a_scrape_is_as_it_should_be(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    assert_eq!(server.check(&alice.token).await, 200);
    let text = scrape(&server.ops_address(), PROMETHEUS).await;
    assert_eq!(promtool(&["check", "metrics"], &text).await, "");
    server.stop().await;
}
