//! The report of a run: what was asked, how fast it was answered, and which answers cannot be true.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::{
    check::{DELAYS, Verdict, Violation},
    history::{Content, History, Kind, Operation, Session, Time},
};

/// The most violations that are printed.
const SHOWN: usize = 20;

#[derive(Default)]
struct Row {
    done: u64,
    refused: u64,
    not_found: u64,
    failed: u64,
    unanswered: u64,
    other: u64,
}

pub fn print(history: &History, verdict: &Verdict) -> Result<()> {
    let mut rows: BTreeMap<Kind, (Row, Histogram<u64>)> = BTreeMap::new();
    let mut last: Time = 1;
    for operation in &history.operations {
        let (row, latency) = match rows.entry(operation.kind) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => vacant.insert((Row::default(), Histogram::new_with_bounds(1, 60_000_000_000, 3)?)),
        };
        match operation.status {
            Some(200) => row.done += 1,
            Some(401) => row.refused += 1,
            Some(404) => row.not_found += 1,
            Some(500..) => row.failed += 1,
            Some(_) => row.other += 1,
            None => row.unanswered += 1,
        }
        last = last.max(operation.span.end);
        if operation.succeeded() {
            latency.saturating_record(operation.span.end - operation.span.begin);
        }
    }
    println!(
        "\n{:<13} {:>9} {:>9} {:>9} {:>6} {:>6} {:>8} {:>6} {:>9} {:>9}",
        "operation", "all", "200", "401", "404", "5xx", "no answer", "other", "p50 ms", "p99 ms"
    );
    for (kind, (row, latency)) in &rows {
        let Row { done, refused, not_found, failed, unanswered, other } = row;
        let all = done + refused + not_found + failed + unanswered + other;
        let milliseconds = |quantile| Duration::from_nanos(latency.value_at_quantile(quantile)).as_secs_f64() * 1e3;
        println!(
            "{:<13} {all:>9} {done:>9} {refused:>9} {not_found:>6} {failed:>6} {unanswered:>9} {other:>6} {:>9.2} {:>9.2}",
            format!("{kind:?}"),
            milliseconds(0.5),
            milliseconds(0.99)
        );
    }
    let count = history.operations.len();
    let seconds = Duration::from_nanos(last).as_secs_f64();
    println!("{count} operations in {seconds:.1} s: {:.0} a second", count as f64 / seconds);
    let [at_once, soon, later, within, beyond] = verdict.after;
    let [first, second, third, fourth] = DELAYS.map(Duration::from_nanos);
    println!(
        "{} sessions, {} of them shown to be dead; refused, of what began after that was known: {at_once} within {first:?}, \
         {soon} within {second:?}, {later} within {third:?}, {within} within {fourth:?}, {beyond} later",
        history.sessions.len(),
        verdict.dead
    );
    Ok(())
}

/// Prints the answers that cannot be true. Returns whether there are any.
pub fn violations(history: &History, verdict: &Verdict) -> bool {
    let of = |wanted: fn(&Violation) -> bool| verdict.violations.iter().filter(|one| wanted(one)).count();
    println!(
        "{} stale accepts, {} false refusals, {} sessions ended twice, {} other violations",
        of(|one| matches!(one, Violation::StaleAccept { .. })),
        of(|one| matches!(one, Violation::FalseRefusal { .. })),
        of(|one| matches!(one, Violation::EndedTwice { .. } | Violation::TooManyEnded { .. })),
        of(|one| matches!(one, Violation::SomebodyElse { .. } | Violation::Unexpected { .. })),
    );
    for violation in verdict.violations.iter().take(SHOWN) {
        println!("\n{violation:?}");
        let (session, others): (Option<Session>, Vec<usize>) = match violation {
            Violation::StaleAccept { session, accepted, shown } => (Some(*session), vec![*shown, *accepted]),
            Violation::FalseRefusal { session, shown } => (Some(*session), vec![*shown]),
            Violation::EndedTwice { session, first, second } => (Some(*session), vec![*first, *second]),
            Violation::SomebodyElse { operation } | Violation::Unexpected { operation } => (None, vec![*operation]),
            Violation::TooManyEnded { .. } => (None, Vec::new()),
        };
        for at in others {
            println!("  {}", line(&history.operations[at]));
        }
        if let Some(session) = session {
            println!("  all of that session:");
            about(history, session);
        }
    }
    !verdict.violations.is_empty()
}

/// Prints every operation that concerns a session, in the order in which they began.
fn about(history: &History, session: Session) {
    let created = &history.sessions[session as usize];
    println!("    {:>12} {:>12} us  stored", created.span.begin / 1000, created.span.end / 1000);
    let concerns = |one: &&Operation| {
        let wide = one.user == created.user && one.ends_many().is_some() && one.span.end >= created.span.begin;
        one.session == Some(session) || one.target == Some(session) || wide
    };
    let mut all: Vec<_> = history.operations.iter().filter(concerns).collect();
    all.sort_by_key(|one| one.span.begin);
    for one in all.iter().take(200) {
        println!("    {}", line(one));
    }
}

fn line(operation: &Operation) -> String {
    let Operation { kind, replica, connection, span, status, session, target, content, .. } = operation;
    let status = status.map_or("no answer".to_owned(), |status| status.to_string());
    let number = |session: &Option<Session>| session.map_or(String::new(), |session| format!(" {session}"));
    let content = match content {
        Content::Listed(listed) => format!("{} listed", listed.len()),
        Content::Nothing | Content::SomebodyElse | Content::Revoked(_) => format!("{content:?}"),
    };
    format!(
        "{:>12} {:>12} us  replica {replica}  connection {connection:<3} {kind:?}{} of{}: {status}  {content}",
        span.begin / 1000,
        span.end / 1000,
        number(session),
        number(target),
    )
}
