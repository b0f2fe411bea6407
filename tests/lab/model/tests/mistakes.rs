//! Plants one mistake at a time and has the checker find it, in a setting where the protocol as it is meant holds.

use sessiond_model::{FINAL, Mistake, Protocol, SERVER, SETTINGS, Setting, TWO_REVOCATIONS};
use stateright::{Checker, HasDiscoveries, Model};

/// Where a mistake shows.
fn setting(mistake: Mistake) -> Setting {
    // It takes two revocations to learn of one and not of the other.
    if mistake == Mistake::TrustedBehindTheHead { TWO_REVOCATIONS } else { SERVER }
}

#[test]
fn every_mistake_is_caught() {
    for &mistake in Mistake::ALL {
        let model = Protocol::mistaken(setting(mistake), mistake);
        let checker = model.checker().finish_when(HasDiscoveries::AllFailures).spawn_bfs().join();
        let found = checker.discovery(FINAL).map(|path| path.into_actions());
        let found = found.unwrap_or_else(|| panic!("{mistake:?} was not caught"));
        println!("{mistake:?}: {found:?}");
    }
}

#[test]
fn mistakes_are_planted_where_the_protocol_holds() {
    for &mistake in Mistake::ALL {
        let name = setting(mistake).name;
        assert!(SETTINGS.iter().any(|setting| setting.name == name), "{mistake:?}: {name} is not exhausted");
    }
}
