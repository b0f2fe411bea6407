use proptest::prelude::*;

use super::super::entropy::SystemEntropy;
use super::super::token::TokenKey;
use super::*;

const BEGIN: Timestamp = Timestamp::from_millis(1_000_000);

fn secret() -> ThrottleSecret {
    TokenKey::new([7; 32]).throttle_secret()
}

fn user() -> UserId {
    UserId::random(&SystemEntropy).expect("entropy")
}

#[test]
fn waits_begin_at_one_second_and_double_up_to_a_quarter_of_an_hour_until_the_stop() {
    let seconds = |counted: Counted, failures| counted.wait_after(failures).as_secs();
    for counted in [Counted::NameFromPlace, Counted::KnownBrowser] {
        let waits = [4, 5, 6, 7, 14, 15, 99, 100, 101].map(|failures| seconds(counted, failures));
        assert_eq!(waits, [0, 1, 2, 4, 512, 900, 900, 86_400, 86_400]);
    }
    let waits = [0, 1, 24, 25, 26, 34, 35, 99, 100].map(|failures| seconds(Counted::Name, failures));
    assert_eq!(waits, [0, 0, 0, 1, 2, 512, 900, 900, 86_400]);
    assert_eq!([0, 99, 100, i64::MAX].map(|failures| seconds(Counted::Account, failures)), [0, 0, 86_400, 86_400]);
}

#[test]
fn failures_at_a_login_and_at_a_code_make_others_wait_and_those_of_a_whole_account_do_not() {
    let refusing = [Counted::NameFromPlace, Counted::KnownBrowser, Counted::Name, Counted::Code];
    for counted in Counted::ALL {
        assert_eq!(counted.refuses(), refusing.contains(&counted), "{counted:?}");
    }
}

#[test]
fn failures_are_forgotten_a_day_after_the_last_one() {
    let once = Tally::booked(None, Counted::Name, BEGIN);
    let just_before = Tally::booked(Some(once), Counted::Name, BEGIN.after(MEMORY).before(Duration::from_millis(1)));
    assert_eq!(just_before.failures, 2);
    assert_eq!(Tally::booked(Some(once), Counted::Name, BEGIN.after(MEMORY)).failures, 1);
}

#[test]
fn a_try_that_is_given_back_changes_nothing() {
    let mut before = None;
    let mut now = BEGIN;
    for failures in 1..=STOP {
        let booked = Tally::booked(before, Counted::NameFromPlace, now);
        let back = booked.given_back(now);
        assert_eq!(back.map(|tally| tally.failures), before.map(|tally: Tally| tally.failures));
        assert!(back.is_none_or(|tally| tally.until <= now), "its wait is over: {failures}");
        before = Some(booked);
        now = now.max(booked.until);
    }
    let (first, second) = (BEGIN, BEGIN.after(Duration::from_secs(7)));
    let booked = Tally { failures: 6, until: second.after(Duration::from_secs(2)), forget_at: second.after(MEMORY) };
    let back = booked.given_back(first).expect("five others");
    assert_eq!(back.until, booked.until, "the wait of a later try stays");
}

#[test]
fn a_wait_is_given_in_whole_seconds_that_are_enough_and_not_one_too_many() {
    for (millis, seconds) in [(-5, 1), (0, 1), (1, 1), (999, 1), (1000, 1), (1001, 2), (86_400_000, 86_400)] {
        let wait = Wait::new(BEGIN, Timestamp::from_millis(BEGIN.millis() + millis));
        assert_eq!(wait.seconds(), seconds, "{millis}");
        assert_eq!(wait.end(), BEGIN.after(Duration::from_secs(seconds)));
    }
}

#[test]
fn counters_of_different_things_differ_and_name_what_they_are_about() {
    let (secret, ann, bob) = (secret(), user(), user());
    let mark = |user| secret.mark(user, &SystemEntropy).expect("entropy");
    let place = |address: &str| AddressBlock::of(address.parse().expect("an address"));
    let session = SessionId::random(&SystemEntropy).expect("entropy");
    let (name, email) = (LoginName::either("ann"), LoginName::either("ann@example.com"));
    let counters = [
        secret.name(&name),
        secret.name(&email),
        secret.name(&LoginName::Impossible("ann".into())),
        secret.name_from_place(&name, None),
        secret.name_from_place(&name, Some(place("192.0.2.1"))),
        secret.name_from_place(&name, Some(place("192.0.2.2"))),
        secret.name_from_place(&email, Some(place("192.0.2.1"))),
        secret.account(ann),
        secret.account(bob),
        secret.browser(ann, &mark(ann)),
        secret.browser(ann, &mark(ann)),
        secret.session(ann, session),
        secret.session(bob, session),
    ];
    let keys: std::collections::HashSet<_> = counters.iter().map(|counter| counter.key).collect();
    assert_eq!(keys.len(), counters.len());
    let about = |key: ThrottleKey| counters.iter().filter(|counter| counter.about == key).count();
    assert_eq!((about(secret.name(&name).key), about(secret.account(ann).key)), (4, 4));
    assert_eq!(secret.name(&LoginName::either("ＡＮＮ")), secret.name(&name), "however it is written");
}

#[test]
fn a_browser_is_known_to_the_account_that_it_logged_in_to_and_no_other() {
    let (secret, ann, bob) = (secret(), user(), user());
    let mark = secret.mark(ann, &SystemEntropy).expect("entropy");
    let read = BrowserMark::parse(mark.text().as_bytes()).expect("our own form");
    assert!(secret.knows(ann, &read) && !secret.knows(bob, &read));
    let elsewhere = TokenKey::new([8; 32]).throttle_secret();
    assert!(!elsewhere.knows(ann, &read));
    assert!(secret.made(&read) && !elsewhere.made(&read));
    assert!(
        !secret
            .made(&BrowserMark::parse(&[b'x'; 42].iter().chain(b"A").copied().collect::<Vec<_>>()).expect("the form"))
    );
    for odd in ["", "x", &mark.text()[1..], &format!("{}A", mark.text()), &"=".repeat(LETTERS)] {
        assert!(BrowserMark::parse(odd.as_bytes()).is_none(), "{odd}");
    }
    assert_eq!(
        format!("{mark:?} {:?} {secret:?}", secret.account(ann).key),
        "BrowserMark(…) ThrottleKey(…) ThrottleSecret(…)"
    );
}

proptest! {
    #[test]
    fn waits_never_shrink_with_failures(failures in 0..200_i64) {
        for counted in Counted::ALL {
            prop_assert!(counted.wait_after(failures) <= counted.wait_after(failures + 1));
            prop_assert_eq!(Counted::from_number(counted.number()), Some(counted));
        }
    }
}
