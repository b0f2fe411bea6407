//! How refusals are folded into counts.

use super::*;
use crate::domain::entropy::SystemEntropy;

const BEGIN: Timestamp = Timestamp::from_millis(1_000_000);

fn login(name: &str, at: Timestamp) -> (Kind, Event) {
    let event = Event {
        at,
        kind: EventKind::LoginFailed,
        actor: Actor::Anonymous,
        user: None,
        session: None,
        ip: Some(String::from("192.0.2.1")),
        detail: None,
        name: Some(name.to_owned()),
        actor_name: None,
        user_agent: Some(String::from("curl")),
        request_id: None,
        count: 1,
    };
    (Kind::Login { name_hash: name.to_owned(), ip: String::from("192.0.2.1") }, event)
}

/// Refuses this many. Returns how many of them are recorded one by one.
fn refuse(windows: &mut Windows, name: &str, times: usize, at: Timestamp) -> usize {
    let refused = || login(name, at);
    std::iter::repeat_with(refused).take(times).filter(|(kind, event)| windows.count(kind.clone(), event)).count()
}

#[test]
fn the_first_ten_in_a_minute_are_recorded_and_the_others_counted() {
    let (mut windows, end) = (Windows::default(), BEGIN.after(WINDOW));
    assert_eq!(refuse(&mut windows, "a", 1000, BEGIN), 10);
    assert_eq!(refuse(&mut windows, "b", 10, BEGIN), 10, "another name is another kind");
    assert!(windows.over(Timestamp::from_millis(end.millis() - 1), false).is_empty());
    let over = windows.over(end, false);
    assert_eq!(over.len(), 1, "of the other name there are no more: {over:?}");
    let Event { at, name, ip, user_agent, count, .. } = &over[0];
    assert_eq!((*at, name.as_deref(), ip.as_deref(), *count), (end, Some("a"), Some("192.0.2.1"), 990));
    assert_eq!(*user_agent, None, "they may have had several");
    assert!(windows.unknown.is_empty());
    assert_eq!(refuse(&mut windows, "a", 11, end), 10, "a new minute");
    assert_eq!(windows.over(end, true)[0].count, 1, "recorded at the end of the process too");
}

#[test]
fn a_clock_that_is_set_back_makes_no_window_longer() {
    let mut windows = Windows::default();
    refuse(&mut windows, "a", 11, BEGIN);
    assert_eq!(windows.over(Timestamp::from_millis(BEGIN.millis() - 1), false).len(), 1);
}

/// Refuses a login of a name from an address once. Says whether it is recorded by itself.
fn refuse_from(windows: &mut Windows, name: &str, address: usize, user: Option<UserId>) -> bool {
    let (_, event) = login(name, BEGIN);
    let ip = address.to_string();
    let kind = Kind::Login { name_hash: name.to_owned(), ip: ip.clone() };
    windows.count(kind, &Event { user, ip: Some(ip), ..event })
}

#[test]
fn kinds_that_find_no_room_are_counted_together() {
    let mut windows = Windows::default();
    for number in 0..5 * KINDS {
        refuse_from(&mut windows, "a", number, None);
    }
    assert_eq!(windows.unknown.len(), KINDS + 1);
    let recorded = (0..9).filter(|_| refuse_from(&mut windows, "a", 0, None)).count();
    assert_eq!(recorded, 9, "one that was there before keeps its own count");
    let over = windows.over(BEGIN.after(WINDOW), false);
    assert_eq!(over.len(), 1, "{over:?}");
    assert_eq!((over[0].name.as_deref(), over[0].ip.as_deref()), (None, None));
    assert_eq!(usize::try_from(over[0].count), Ok(4 * KINDS - 10));
}

#[test]
fn many_made_up_names_from_one_address_are_counted_together() {
    let mut windows = Windows::default();
    let recorded = (0..1000).filter(|n| refuse_from(&mut windows, &n.to_string(), 7, None)).count();
    assert_eq!(recorded, UNKNOWN_NAMES + 10);
    let over = windows.over(BEGIN.after(WINDOW), false);
    assert_eq!(over.len(), 1, "{over:?}");
    assert_eq!((over[0].name.as_deref(), over[0].ip.as_deref()), (None, Some("7")));
    assert_eq!(usize::try_from(over[0].count), Ok(1000 - UNKNOWN_NAMES - 10));
}

#[test]
fn made_up_names_never_hide_whose_password_is_guessed() {
    let mut windows = Windows::default();
    for number in 0..2 * KINDS {
        refuse_from(&mut windows, &number.to_string(), number, None);
    }
    let user = UserId::random(&SystemEntropy).ok();
    let recorded = (0..30).filter(|_| refuse_from(&mut windows, "admin", 1, user)).count();
    // At that moment another name would not be recorded by itself either, and the time of an answer must not tell.
    assert_eq!(recorded, 0);
    let over = windows.over(BEGIN.after(WINDOW), false);
    assert!(over.iter().any(|event| event.user == user && event.count == 30), "{over:?}");
}

#[test]
fn refused_changes_from_many_addresses_are_one_kind_for_each_user() {
    let mut windows = Windows::default();
    let user = UserId::random(&SystemEntropy).expect("entropy");
    let (_, event) = login("own", BEGIN);
    for kind in [Kind::PasswordChange { user }, Kind::Code { user, in_session: false }] {
        let from = |address: usize| Event { user: Some(user), ip: Some(address.to_string()), ..event.clone() };
        let recorded = (0..2 * KINDS).filter(|address| windows.count(kind.clone(), &from(*address))).count();
        assert_eq!(recorded, 10);
    }
    assert_eq!(windows.users.len(), 2);
    let over = windows.over(BEGIN.after(WINDOW), false);
    assert!(over.iter().all(|event| event.user == Some(user) && event.ip.is_none()), "{over:?}");
}

#[test]
fn acts_that_were_refused_are_counted_for_each_user_and_hide_no_login() {
    let asker = UserId::random(&SystemEntropy).expect("entropy");
    let act = |number: usize| Event {
        ip: Some(number.to_string()),
        actor_name: Some(String::from("bob")),
        ..Event::about(asker, EventKind::ActRefused, Actor::User(asker), BEGIN)
    };
    let mut windows = Windows::default();
    let count = |windows: &mut Windows, kind: &Kind| {
        (0..2 * KINDS).filter(|number| windows.count(kind.clone(), &act(*number))).count()
    };
    assert_eq!(count(&mut windows, &Kind::Act { asker }), 10);
    assert_eq!(count(&mut windows, &Kind::Reading { asker }), 1);
    assert!(refuse_from(&mut windows, "bob", 1, Some(asker)), "and a login has its own count");
    let mut counts: Vec<_> = windows.over(BEGIN.after(WINDOW), false).into_iter().map(|event| event.count).collect();
    counts.sort_unstable();
    let all = i64::try_from(2 * KINDS).expect("few");
    assert_eq!(counts, [all - 10, all - 1]);
}

#[test]
fn beside_many_made_up_names_a_users_name_is_counted_as_those_are() {
    let user = UserId::random(&SystemEntropy).ok();
    let mut windows = Windows::default();
    assert!(refuse_from(&mut windows, "before", 7, user) && refuse_from(&mut windows, "made up before", 7, None));
    for number in 0..UNKNOWN_NAMES + 10 {
        refuse_from(&mut windows, &number.to_string(), 7, None);
    }
    for (name, recorded) in [("new", false), ("before", true)] {
        assert_eq!(refuse_from(&mut windows, name, 7, user), recorded, "{name}");
        assert_eq!(refuse_from(&mut windows, &format!("made up {name}"), 7, None), recorded, "{name}");
    }
    assert!(refuse_from(&mut windows, "new", 8, user), "from another address");
    let over = windows.over(BEGIN.after(WINDOW), false);
    assert!(over.iter().any(|event| event.user == user && event.count == 1), "and it is not lost: {over:?}");
}
