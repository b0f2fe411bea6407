//! Copies of the examples, each with one mistake, and the faults that have to be found in it: those and no other.

use std::sync::atomic::{AtomicUsize, Ordering};

use sessiond_needs::needs;

use super::mistakes::{self, Mistake};
use super::{Diagnosis, sessions_left, set_clock};
use crate::proxies::deployment::Deployment;
use crate::proxies::example::{CADDY, ENVOY, Example, HAPROXY, NGINX, TRAEFIK};

async fn each_mistake_is_found(example: &Example, mistakes: &[Mistake]) {
    let mut wrong = Vec::new();
    for Mistake { name, instead, faults } in mistakes {
        let made: Vec<AtomicUsize> = instead.iter().map(|_| AtomicUsize::new(0)).collect();
        let change = |mut text: String| {
            for ((right, wrong), made) in instead.iter().zip(&made) {
                made.fetch_add(text.matches(right).count(), Ordering::Relaxed);
                text = text.replace(right, wrong);
            }
            text
        };
        let deployment = Deployment::changed(example, change).await;
        let made: Vec<_> = made.iter().map(|made| made.load(Ordering::Relaxed)).collect();
        assert!(made.iter().all(|made| *made == 1), "{name}: {made:?}");
        set_clock(&deployment);
        let diagnosis = Diagnosis::of(&deployment).await;
        let wanted = faults.iter().copied().collect();
        if diagnosis.0.ok || diagnosis.faults() != wanted {
            wrong.push(format!("{name}: {:?}\n{}{}", diagnosis.faults(), diagnosis.0.out, diagnosis.0.err));
        }
        let left = sessions_left(&deployment).await;
        assert_eq!(left > 0, faults.contains(&"clean-up"), "{name}: {left} sessions are left");
        deployment.stop().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[needs(nginx)]
#[tokio::test]
async fn each_mistake_is_found_in_nginx() {
    each_mistake_is_found(&NGINX, mistakes::nginx::ALL).await;
}

#[needs(haproxy)]
#[tokio::test]
async fn each_mistake_is_found_in_haproxy() {
    each_mistake_is_found(&HAPROXY, mistakes::haproxy::ALL).await;
}

#[needs(caddy)]
#[tokio::test]
async fn each_mistake_is_found_in_caddy() {
    each_mistake_is_found(&CADDY, mistakes::caddy::ALL).await;
}

#[needs(traefik)]
#[tokio::test]
async fn each_mistake_is_found_in_traefik() {
    each_mistake_is_found(&TRAEFIK, mistakes::traefik::ALL).await;
}

#[needs(envoy)]
#[tokio::test]
async fn each_mistake_is_found_in_envoy() {
    each_mistake_is_found(&ENVOY, mistakes::envoy::ALL).await;
}
