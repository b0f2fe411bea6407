//! Results that the simulation must have, since they are known without it.

use sessiond_capacity::{Setting, simulate};

/// Statements that cost nothing.
fn free() -> Setting {
    Setting { slowness: 0.0, ..Setting::usual() }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let [one, other, another] = [1, 1, 2].map(|seed| simulate(&Setting { seed, ..Setting::usual() }));
    assert_eq!(one, other);
    assert_ne!(one, another);
}

#[test]
fn an_idle_replica_is_three_beats_a_second() {
    let idle = simulate(&Setting { replicas: 10, logouts: 1, unnotified: true, seconds: 30, ..free() });
    // Each is a flush of its own, and so is the logout now and then.
    assert!((29.5..31.5).contains(&idle.flushes), "{idle:?}");
}

#[test]
fn a_single_logout_is_a_commit_and_a_look_at_the_others() {
    let one = simulate(&Setting { replicas: 1, logouts: 1, seconds: 30, ..free() });
    // Three round trips of 0.3 ms and a flush of 0.25 to 0.75 ms, if no beat is in the way.
    assert!((1.1..1.9).contains(&one.half), "{one:?}");
}

#[test]
fn a_replica_without_notifications_is_waited_for_until_it_beats() {
    let unnotified = simulate(&Setting { replicas: 30, logouts: 10, unnotified: true, seconds: 10, ..free() });
    let notified = simulate(&Setting { replicas: 30, logouts: 10, seconds: 10, ..free() });
    assert!(unnotified.half > 250.0 && unnotified.most < 350.0, "{unnotified:?}");
    assert!(notified.most < 5.0, "{notified:?}");
}

#[test]
fn batches_are_committed_one_after_the_other_however_many_replicas_there_are() {
    let crowd = simulate(&Setting { replicas: 100, logouts: 5000, flush: 1000, unnotified: true, ..free() });
    assert!(crowd.batches < 1050.0 && crowd.most > 50.0, "{crowd:?}");
    let few = simulate(&Setting { replicas: 2, logouts: 5000, flush: 1000, ..free() });
    assert!(few.most < 10.0, "large batches make up for it: {few:?}");
}

#[test]
fn a_standby_is_waited_for_with_the_counter_held() {
    let with = simulate(&Setting { replicas: 100, logouts: 5000, standby: 1000, unnotified: true, ..free() });
    let without = simulate(&Setting { replicas: 100, logouts: 5000, unnotified: true, ..free() });
    assert!(with.batches < without.batches / 2.0, "{with:?} {without:?}");
}

#[test]
fn a_database_that_cannot_keep_up_is_busy_all_the_time() {
    let swamped = simulate(&Setting { replicas: 300, logouts: 5000, cores: 2, ..Setting::usual() });
    assert!(swamped.busy > 0.99 && swamped.most > 1000.0, "{swamped:?}");
}
