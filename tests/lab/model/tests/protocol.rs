//! Exhausts the protocol in every setting, and makes sure that nothing holds merely because nothing happens.

use std::collections::HashSet;

use sessiond_model::{
    FINAL, Protocol, SERVER, SERVER_AND_CACHE, SETTINGS, Setting, TWO_CACHES, TWO_REVOCATIONS, TWO_SERVERS, WITNESSES,
};
use stateright::{Checker, Expectation, HasDiscoveries, Model};

/// Visits every state. One thread and no bound: the search ends when nothing is left, or when every property has been
/// decided by an example, which takes a counterexample of the one that is always to hold.
fn exhaust(setting: Setting) {
    let checker = Protocol::correct(setting).checker().threads(1).spawn_bfs().join();
    if let Some(path) = checker.discovery(FINAL) {
        panic!("{}: {FINAL} is violated by {:#?}", setting.name, path.into_actions());
    }
    assert!(checker.is_done(), "{}: not all was visited", setting.name);
    for property in checker.model().properties() {
        if property.expectation == Expectation::Sometimes {
            assert!(checker.discovery(property.name).is_some(), "{}: never: {}", setting.name, property.name);
        }
    }
    let (states, steps, depth) = (checker.unique_state_count(), checker.state_count(), checker.max_depth());
    println!("{}: {states} states, {steps} steps, {depth} deep", setting.name);
}

#[test]
fn a_server_and_a_bystander_are_coherent() {
    exhaust(SERVER);
}

#[test]
fn two_revocations_are_coherent() {
    exhaust(TWO_REVOCATIONS);
}

#[test]
fn a_server_and_a_cache_are_coherent() {
    exhaust(SERVER_AND_CACHE);
}

#[test]
fn two_servers_are_coherent() {
    exhaust(TWO_SERVERS);
}

#[test]
fn two_caches_and_a_bystander_are_coherent() {
    exhaust(TWO_CACHES);
}

#[test]
fn every_setting_is_exhausted_above() {
    let above = [SERVER, TWO_REVOCATIONS, SERVER_AND_CACHE, TWO_SERVERS, TWO_CACHES].map(|setting| setting.name);
    assert_eq!(SETTINGS.iter().map(|setting| setting.name).collect::<Vec<_>>(), above);
}

#[test]
fn what_has_to_be_possible_is() {
    for witness in WITNESSES {
        let found = [SERVER, TWO_REVOCATIONS].into_iter().any(|setting| {
            let checker = Protocol::witness(setting, witness).checker().finish_when(HasDiscoveries::Any);
            let checker = checker.spawn_bfs().join();
            assert!(checker.discovery(FINAL).is_none(), "{}: {FINAL}", witness.name);
            checker.discovery(witness.name).is_some()
        });
        assert!(found, "never: {}", witness.name);
    }
}

/// The checker keeps 64 bits of each state. Counted with the states themselves, none was taken for another, and none
/// was missed.
#[test]
fn the_checker_visits_every_state() {
    let model = Protocol::correct(SERVER);
    let mut states: HashSet<_> = model.init_states().into_iter().collect();
    let mut pending: Vec<_> = states.iter().cloned().collect();
    while let Some(state) = pending.pop() {
        pending.extend(model.next_states(&state).into_iter().filter(|next| states.insert(next.clone())));
    }
    assert_eq!(model.checker().spawn_bfs().join().unique_state_count(), states.len());
}
