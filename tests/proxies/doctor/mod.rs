//! `sessiond doctor` against every example as it is, against copies of them that were broken on purpose, and against what
//! is none of them.

use std::collections::BTreeSet;

use sessiond::domain::clock::{Clock as _, SystemClock};
use sessiond::domain::token::Token;
use sessiond_needs::needs;
use sessiond_support::process::{self, Finished};

use super::deployment::Deployment;
use super::example::{CADDY, ENVOY, Example, HAPROXY, NGINX, TRAEFIK};
use crate::harness::process::finish;
use crate::harness::{BOB, PASSWORD, get, post};

mod broken;
mod elsewhere;
mod mistakes;

/// What `sessiond doctor` says of a deployment.
struct Diagnosis(Finished);

impl Diagnosis {
    /// Runs it with these arguments, and with what it reads as a password.
    async fn make(arguments: &[&str], password: &str) -> Self {
        let mut command = process::command(env!("CARGO_BIN_EXE_sessiond"));
        command.arg("doctor").args(arguments).env_clear();
        let finished = finish(command, password).await;
        let text = format!("{}{}", finished.out, finished.err);
        assert!(!text.contains(PASSWORD), "{text}");
        let is_token = |word: &str| Token::parse(word.as_bytes()).is_some();
        assert!(!text.split(|c: char| !c.is_alphanumeric() && !"-_".contains(c)).any(is_token), "{text}");
        Self(finished)
    }

    /// Runs it as an operator would who has a page that shows the headers it was sent.
    async fn of(deployment: &Deployment) -> Self {
        let url = format!("http://{}/app/", deployment.host);
        let arguments = ["--url", &url, "--username", BOB, "--password-stdin", "--backend-echo"];
        Self::make(&arguments, PASSWORD).await
    }

    /// The names of the checks that say this.
    fn saying(&self, word: &str) -> Vec<&str> {
        let lines = self.0.out.lines().filter_map(|line| line.strip_prefix(word)?.trim_start().split_once(':'));
        lines.map(|(name, _)| name).collect()
    }

    fn faults(&self) -> BTreeSet<&str> {
        self.saying("FAULT").into_iter().collect()
    }
}

/// Sets the clock of a deployment right: tests begin at a day of their own.
fn set_clock(deployment: &Deployment) {
    deployment.server.advance(SystemClock.now().since(deployment.server.now()));
}

/// How many live sessions Bob has, beside the one that asks.
async fn sessions_left(deployment: &Deployment) -> usize {
    let bob = deployment.server.log_in(BOB).await;
    let list = deployment.server.send(get("/api/v1/auth/sessions").bearer(&bob.token)).await.json();
    deployment.server.send(post("/api/v1/auth/logout").bearer(&bob.token)).await;
    list["sessions"].as_array().expect("a list").len() - 1
}

async fn an_example_as_it_is_has_no_fault(example: &Example) {
    let deployment = Deployment::new(example).await;
    set_clock(&deployment);
    let diagnosis = Diagnosis::of(&deployment).await;
    let Finished { ok, out, err } = &diagnosis.0;
    assert!(ok, "{out}{err}");
    assert_eq!(diagnosis.saying("cannot tell"), Vec::<&str>::new(), "{out}");
    assert_eq!(diagnosis.saying("left out"), Vec::<&str>::new(), "{out}");
    assert_eq!(diagnosis.saying("note"), ["back-end-cookie"], "{out}");
    assert_eq!(sessions_left(&deployment).await, 0);
    deployment.stop().await;
}

#[needs(nginx)]
#[tokio::test]
async fn nginx_as_it_is_has_no_fault() {
    an_example_as_it_is_has_no_fault(&NGINX).await;
}

#[needs(haproxy)]
#[tokio::test]
async fn haproxy_as_it_is_has_no_fault() {
    an_example_as_it_is_has_no_fault(&HAPROXY).await;
}

#[needs(caddy)]
#[tokio::test]
async fn caddy_as_it_is_has_no_fault() {
    an_example_as_it_is_has_no_fault(&CADDY).await;
}

#[needs(traefik)]
#[tokio::test]
async fn traefik_as_it_is_has_no_fault() {
    an_example_as_it_is_has_no_fault(&TRAEFIK).await;
}

#[needs(envoy)]
#[tokio::test]
async fn envoy_as_it_is_has_no_fault() {
    an_example_as_it_is_has_no_fault(&ENVOY).await;
}
