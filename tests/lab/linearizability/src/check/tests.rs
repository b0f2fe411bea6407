//! Histories with one mistake each, and histories without any.

use super::*;
use crate::history::Created;
use sessiond_support::random::Random;

/// Two sessions of one user, there since time 10.
fn history(operations: impl IntoIterator<Item = Operation>) -> History {
    let created = |number: u8| Created { user: 0, id: id(number), span: Span { begin: 5, end: 10 } };
    History { sessions: vec![created(0), created(1)], operations: Vec::from_iter(operations), strays: vec![0] }
}

fn id(number: u8) -> Id {
    [number; 17]
}

/// An operation through session 0.
fn asked(kind: Kind, begin: Time, end: Time, status: u16) -> Operation {
    let span = Span { begin, end };
    let login = kind == Kind::Login;
    Operation {
        kind,
        replica: 0,
        connection: 0,
        span,
        status: Some(status),
        user: 0,
        session: (!login).then_some(0),
        target: None,
        content: Content::Nothing,
    }
}

/// The same through session 1.
fn by_other(kind: Kind, begin: Time, end: Time, status: u16) -> Operation {
    Operation { session: Some(1), ..asked(kind, begin, end, status) }
}

/// Session 1 ends session 0.
fn revoked(begin: Time, end: Time, status: u16) -> Operation {
    Operation { target: Some(0), ..by_other(Kind::RevokeOne, begin, end, status) }
}

fn listed(begin: Time, end: Time, sessions: &[u8]) -> Operation {
    let content = Content::Listed(sessions.iter().map(|number| id(*number)).collect());
    Operation { content, ..by_other(List, begin, end, 200) }
}

fn unanswered(operation: Operation) -> Operation {
    Operation { status: None, ..operation }
}

fn violations(operations: impl IntoIterator<Item = Operation>) -> Vec<Violation> {
    check(&history(operations)).violations
}

fn stale(shown: usize, accepted: usize) -> Vec<Violation> {
    vec![Violation::StaleAccept { session: 0, accepted, shown }]
}

fn false_refusal(shown: usize) -> Vec<Violation> {
    vec![Violation::FalseRefusal { session: 0, shown }]
}

use Kind::{Check, List, Logout, Password, RevokeAll, RevokeOthers, Show};

#[test]
fn a_session_that_lives_and_dies_once_is_right() {
    let right = [
        asked(Check, 20, 21, 200),
        asked(Check, 30, 60, 200),
        asked(Check, 31, 60, 401),
        asked(Logout, 40, 50, 200),
        asked(Check, 50, 51, 200),
        asked(Check, 51, 52, 401),
        asked(Logout, 52, 53, 401),
        revoked(60, 61, 404),
        listed(62, 63, &[1]),
    ];
    assert_eq!(violations(right), []);
}

#[test]
fn a_check_that_begins_after_a_logout_was_answered_is_stale() {
    assert_eq!(violations([asked(Logout, 40, 50, 200), asked(Check, 51, 52, 200)]), stale(0, 1));
    assert_eq!(violations([asked(Logout, 40, 50, 200), asked(Check, 50, 52, 200)]), []);
}

#[test]
fn every_use_of_a_dead_session_is_stale() {
    for kind in [Check, Show, List, RevokeOthers, RevokeAll, Password] {
        assert_eq!(violations([asked(Logout, 40, 50, 200), asked(kind, 51, 52, 200)]), stale(0, 1), "{kind:?}");
    }
    let revoke = Operation { target: Some(1), ..asked(Kind::RevokeOne, 51, 52, 404) };
    let found = violations([asked(Logout, 40, 50, 200), by_other(Logout, 40, 50, 200), revoke]);
    assert_eq!(found, stale(0, 2));
}

#[test]
fn whatever_reveals_an_end_makes_a_later_accept_stale() {
    let late = || asked(Check, 91, 92, 200);
    // Something that may have ended it, all the while.
    let cause = || unanswered(asked(Logout, 40, 41, 0));
    for (reveal, what) in [
        (asked(Check, 80, 90, 401), "a refused check"),
        (asked(Logout, 80, 90, 401), "a repeated logout"),
        (asked(List, 80, 90, 401), "a refused list"),
        (revoked(80, 90, 200), "a revocation"),
        (revoked(80, 90, 404), "a session not found"),
        (listed(80, 90, &[1]), "a list without it"),
        (by_other(RevokeOthers, 80, 90, 200), "the end of all others"),
        (by_other(RevokeAll, 80, 90, 200), "the end of all"),
        (by_other(Password, 80, 90, 200), "another password"),
    ] {
        assert_eq!(violations([cause(), reveal.clone(), late()]), stale(1, 2), "{what}");
        assert_eq!(violations([cause(), reveal]), [], "{what}");
    }
}

#[test]
fn a_list_that_shows_a_dead_session_is_stale() {
    assert_eq!(violations([asked(Logout, 40, 50, 200), listed(51, 60, &[0, 1])]), stale(0, 1));
    assert_eq!(violations([asked(Logout, 40, 50, 200), listed(50, 60, &[0, 1])]), []);
}

#[test]
fn an_end_that_is_answered_after_the_session_was_dead_is_stale() {
    let cause = unanswered(revoked(20, 21, 0));
    assert_eq!(violations([cause, asked(Check, 30, 31, 401), asked(Logout, 40, 50, 200)]), stale(1, 2));
}

#[test]
fn the_end_of_others_spares_the_own() {
    let right = [asked(RevokeOthers, 40, 50, 200), asked(Check, 51, 52, 200), by_other(Check, 51, 52, 401)];
    assert_eq!(violations(right), []);
    assert_eq!(violations([asked(RevokeOthers, 40, 50, 200), asked(Check, 51, 52, 401)]), false_refusal(1));
}

#[test]
fn after_a_new_password_a_session_goes_on_under_another_token_only() {
    let renewed = |operations: Vec<Operation>| {
        let mut history = history(operations);
        // Session 2 is session 0 under its new token.
        history.sessions.push(Created { user: 0, id: id(0), span: Span { begin: 40, end: 50 } });
        check(&history).violations
    };
    let password = || Operation { target: Some(2), ..asked(Password, 40, 50, 200) };
    let by_new = |kind, begin, end, status| Operation { session: Some(2), ..asked(kind, begin, end, status) };
    let right = [
        asked(Check, 30, 31, 200),
        password(),
        asked(Check, 51, 52, 401),
        by_new(Check, 53, 54, 200),
        Operation { session: Some(2), ..listed(55, 56, &[0]) },
        by_new(Logout, 60, 61, 200),
        by_new(Check, 62, 63, 401),
    ];
    assert_eq!(renewed(right[..7].to_vec()), []);
    let also = Operation { content: Content::Revoked(1), ..by_new(RevokeOthers, 57, 58, 200) };
    assert_eq!(renewed([&right[..5], &[also], &right[5..7]].concat()), []);
    assert_eq!(renewed(vec![password(), asked(Check, 51, 52, 200)]), stale(0, 1), "the old token is dead");
    let refused = renewed(vec![password(), by_new(Check, 51, 52, 401)]);
    assert_eq!(refused, [Violation::FalseRefusal { session: 2, shown: 1 }], "the new one is not");
    let by_id = Operation { target: Some(0), ..by_new(Kind::RevokeOne, 60, 61, 200) };
    assert_eq!(renewed(vec![password(), by_id.clone(), by_new(Check, 62, 63, 401)]), [], "ended by its id");
    let later = renewed(vec![password(), by_id, by_new(Check, 62, 63, 200)]);
    assert_eq!(later, [Violation::StaleAccept { session: 2, accepted: 2, shown: 1 }]);
    // No client knows the new token, and the session is still listed.
    let lost = || unanswered(asked(Password, 40, 41, 0));
    assert_eq!(violations([lost(), asked(Check, 51, 52, 401), listed(55, 56, &[0, 1])]), []);
}

#[test]
fn the_end_of_all_says_nothing_of_a_session_begun_meanwhile() {
    let (mut both, operations) = (history([]), [by_other(RevokeAll, 40, 50, 200), asked(Check, 60, 61, 200)]);
    both.sessions[0].span = Span { begin: 35, end: 45 };
    both.operations = operations.to_vec();
    assert_eq!(check(&both).violations, []);
    both.operations[1].status = Some(401);
    assert_eq!(check(&both).violations, [], "it may have ended it");
    // Used after all that could have ended it.
    both.operations.push(asked(Check, 55, 56, 200));
    assert_eq!(check(&both).violations, false_refusal(1));
    both.sessions[0].span = Span { begin: 51, end: 52 };
    both.operations.pop();
    assert_eq!(check(&both).violations, false_refusal(1), "begun afterwards");
}

#[test]
fn a_refusal_before_anything_could_have_ended_the_session_is_false() {
    for (refusal, what) in [
        (asked(Check, 30, 39, 401), "a check"),
        (asked(Show, 30, 39, 401), "another"),
        (asked(Logout, 30, 39, 401), "a logout"),
        (revoked(30, 39, 404), "a session not found"),
        (listed(30, 39, &[1]), "a list without it"),
    ] {
        assert_eq!(violations([refusal.clone()]), false_refusal(0), "{what}, and nothing else");
        let later = unanswered(asked(Logout, 40, 41, 0));
        assert_eq!(violations([refusal.clone(), later]), false_refusal(0), "{what}, and a logout later");
        let meanwhile = unanswered(asked(Logout, 39, 41, 0));
        assert_eq!(violations([refusal, meanwhile]), [], "{what}, and a logout meanwhile");
    }
}

#[test]
fn what_did_not_happen_ends_nothing() {
    for attempt in [asked(Logout, 20, 21, 401), revoked(20, 21, 401), by_other(RevokeAll, 20, 21, 401)] {
        let found = violations([attempt, asked(Check, 30, 31, 401)]);
        assert!(found.iter().any(|one| matches!(one, Violation::FalseRefusal { session: 0, .. })), "{found:?}");
    }
}

#[test]
fn what_has_no_known_outcome_may_have_happened_or_may_happen_yet() {
    for attempt in [asked(Logout, 20, 21, 504), revoked(20, 21, 502), unanswered(by_other(RevokeAll, 20, 21, 0))] {
        assert_eq!(violations([attempt.clone(), asked(Check, 30, 31, 401)]), [], "it has");
        assert_eq!(violations([attempt.clone(), asked(Check, 30, 31, 200)]), [], "it has not");
        let late = [asked(Check, 30, 31, 200), asked(Check, 40, 41, 401)];
        assert_eq!(violations([attempt].into_iter().chain(late)), [], "it did later");
    }
}

#[test]
fn two_who_ended_one_session_are_one_too_many() {
    let both = [asked(Logout, 40, 50, 200), revoked(45, 48, 200)];
    assert_eq!(violations(both), [Violation::EndedTwice { session: 0, first: 0, second: 1 }]);
}

#[test]
fn more_sessions_than_there_were_cannot_end() {
    let bulk = |count, end| Operation { content: Content::Revoked(count), ..asked(RevokeOthers, 40, end, 200) };
    assert_eq!(violations([bulk(1, 50), asked(Logout, 60, 61, 200)]), []);
    let found = violations([bulk(2, 50), asked(Logout, 60, 61, 200)]);
    assert_eq!(found, [Violation::TooManyEnded { user: 0, ended: 3, there_were: 2 }]);
}

#[test]
fn wrong_answers_are_found() {
    let else_ = Operation { content: Content::SomebodyElse, ..asked(Check, 20, 21, 200) };
    assert_eq!(violations([else_]), [Violation::SomebodyElse { operation: 0 }]);
    assert_eq!(violations([asked(Check, 20, 21, 404)]), [Violation::Unexpected { operation: 0 }]);
}

#[test]
fn what_was_asked_of_the_dead_is_counted_by_how_long_after() {
    let verdict = check(&history([
        asked(Logout, 40, 50, 200),
        asked(Check, 50, 90, 401),
        asked(Check, 51, 90, 401),
        asked(Check, 50 + 1_000_000, 2_000_000, 401),
        asked(Check, 51 + 1_000_000_000, 2_000_000_000, 401),
    ]));
    assert_eq!((verdict.after, verdict.dead), ([2, 0, 0, 0, 1], 1));
}

/// What a look at every moment finds: whether a death of session 0 can be placed.
fn can_be(history: &History) -> bool {
    let created = &history.sessions[0].span;
    let ids = Ids::new(history);
    let absent = |operation: &Operation| match &operation.content {
        Content::Listed(listed) => !listed.contains(&id(0)),
        Content::Nothing | Content::SomebodyElse | Content::Revoked(_) => false,
    };
    let covers = |operation: &Operation| operation.ends_many().is_some_and(|spared| spared != Some(0));
    let live: Vec<_> =
        history.operations.iter().filter(|one| shown_live(one, &ids).any(|session| session == 0)).collect();
    let dead = |operation: &&Operation| {
        let there = operation.span.begin >= created.end;
        shown_dead(operation, &ids).any(|session| session == 0)
            || (there && operation.succeeded() && covers(operation))
            || (there && absent(operation))
    };
    let dead: Vec<_> = history.operations.iter().filter(dead).collect();
    let causes: Vec<_> = history.operations.iter().filter(|one| one.ends() == Some(0) || covers(one)).collect();
    let certain: Vec<_> = causes.iter().filter(|one| one.ends() == Some(0) && one.succeeded()).collect();
    let within = |operation: &Operation, moment: Time| {
        moment >= operation.span.begin && (operation.unknown() || moment <= operation.span.end)
    };
    let never = dead.is_empty();
    let dies_at = |moment: Time| {
        moment >= created.begin
            && live.iter().all(|one| one.span.begin <= moment)
            && dead.iter().all(|one| one.span.end >= moment)
            && causes.iter().any(|one| within(one, moment))
            // By its id something ends a session whichever token it had by then.
            && certain.iter().all(|one| within(one, moment) || (one.kind != Logout && ids.only(id(0)).is_none()))
    };
    certain.len() < 2 && (never || (0..60).any(dies_at))
}

#[test]
fn the_verdict_is_that_of_a_look_at_every_moment() {
    let mut random = Random::seeded(11);
    let mut counts = [0, 0];
    for _ in 0..200_000 {
        let operations = (0..1 + random.below(6)).map(|_| {
            let begin = random.below(40) as Time;
            let end = begin + 1 + random.below(12) as Time;
            let status = [200, 200, 401, 504][random.below(4)];
            match random.below(8) {
                0 | 1 => asked(Check, begin, end, if status == 504 { 200 } else { status }),
                2 => asked(Logout, begin, end, status),
                3 => revoked(begin, end, [200, 404, 502][random.below(3)]),
                4 => by_other(RevokeAll, begin, end, if status == 401 { 200 } else { status }),
                5 => asked([RevokeOthers, Password][random.below(2)], begin, end, status),
                6 => by_other(
                    [RevokeOthers, Password][random.below(2)],
                    begin,
                    end,
                    if status == 401 { 200 } else { status },
                ),
                _ => listed(begin, end, [&[0, 1][..], &[1]][random.below(2)]),
            }
        });
        let mut history = history(operations.collect::<Vec<_>>());
        let begin = random.below(30) as Time;
        history.sessions[0].span = Span { begin, end: begin + 1 + random.below(6) as Time };
        let verdict = check(&history);
        let found = verdict.violations.iter().any(|one| {
            matches!(
                one,
                Violation::StaleAccept { session: 0, .. }
                    | Violation::FalseRefusal { session: 0, .. }
                    | Violation::EndedTwice { session: 0, .. }
            )
        });
        let can_be = can_be(&history);
        counts[usize::from(can_be)] += 1;
        assert_eq!(found, !can_be, "{:?} {:#?}", verdict.violations, history.operations);
    }
    assert!(counts.iter().all(|count| *count > 10_000), "{counts:?}");
}
