//! The server's clock, and how long its sessions last.

use std::time::Duration;

use super::super::account::{Facts, Session};
use super::super::faults::Fault;
use super::super::findings::Outcome;
use crate::domain::clock::Timestamp;

/// How far two clocks may be apart.
const APART: Duration = Duration::from_mins(1);
/// The longest that a session may last: browsers keep no cookie for longer.
const LONGEST: Duration = Duration::from_hours(400 * 24);

/// Whether the clocks of the server and of this machine agree.
pub fn clock(session: &Session) -> Outcome {
    let date = session.answered.answer.header("date").and_then(http_date);
    match rfc3339(&session.facts.created_at) {
        Some(created) => judge_clock(created, date, session.at),
        None => Outcome::CannotTell("The session does not say when it began.".into()),
    }
}

/// `own` is this machine's clock when it had the answer, in which the session was `created` and the proxy said `date`.
fn judge_clock(created: Timestamp, date: Option<Timestamp>, own: Timestamp) -> Outcome {
    let apart = |one: Timestamp, other: Timestamp| one.since(other).max(other.since(one));
    let off = apart(created, own);
    if off < APART {
        return Outcome::Ok("The server's clock agrees with this machine's.".into());
    }
    let side = if created < own { "behind" } else { "ahead of" };
    let witness = match date {
        Some(date) if apart(date, own) < APART => {
            " The proxy's agrees with this machine's, so it is sessiond's that is wrong."
        }
        Some(date) if apart(date, created) < APART => {
            " The proxy's agrees with sessiond's, so look at this machine's first."
        }
        Some(_) | None => "",
    };
    let sentence = format!("sessiond's clock is {} {side} this machine's.{witness}", words(off));
    Outcome::Fault(Fault::ClockOff, sentence)
}

/// Whether sessions last as long as they should.
pub fn lifetimes(session: &Session) -> Outcome {
    judge_lifetimes(&session.facts)
}

fn judge_lifetimes(facts: &Facts) -> Outcome {
    let times = [&facts.created_at, &facts.idle_expires_at, &facts.expires_at].map(|text| rfc3339(text));
    let [Some(created), Some(idle), Some(end)] = times else {
        return Outcome::CannotTell("The session does not say when it ends.".into());
    };
    let fault = |sentence: String| Outcome::Fault(Fault::Lifetimes, sentence);
    if idle <= created || end <= created {
        return fault("A session is over when it begins.".into());
    }
    if end < idle {
        return fault("A session that is not used would outlast one that is.".into());
    }
    if end.since(created) > LONGEST {
        return fault(format!(
            "A session lasts {}, and browsers keep cookies for 400 days at most.",
            words(end.since(created))
        ));
    }
    let (unused, used) = (words(idle.since(created)), words(end.since(created)));
    Outcome::Ok(format!("A session ends {unused} after it was last used, and after {used} at the latest."))
}

fn rfc3339(text: &str) -> Option<Timestamp> {
    text.parse::<jiff::Timestamp>().ok().map(|at| Timestamp::from_millis(at.as_millisecond()))
}

/// Reads the value of `Date` (RFC 9110 section 5.6.7).
fn http_date(text: &str) -> Option<Timestamp> {
    let at = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Timestamp::from_millis(at.timestamp().as_millisecond()))
}

/// A span in words, to the second.
fn words(span: Duration) -> String {
    humantime::format_duration(Duration::from_secs(span.as_secs())).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_held_against_this_machines_and_the_proxys() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        for (created, date, own, wanted) in [
            (1000, None, 1059, None),
            (1059, Some(5000), 1000, None),
            (1000, None, 1060, Some("1m behind")),
            (1090, Some(1000), 1000, Some("it is sessiond's")),
            (1090, Some(1090), 1000, Some("look at this machine's")),
            (1090, Some(5000), 1000, Some("1m 30s ahead of this machine's.")),
        ] {
            match (judge_clock(at(created), date.map(at), at(own)), wanted) {
                (Outcome::Ok(_), None) => {}
                (Outcome::Fault(Fault::ClockOff, sentence), Some(words)) => {
                    assert!(sentence.contains(words), "{sentence}");
                }
                (outcome, _) => panic!("{created} {date:?} {own}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn a_session_lasts_neither_too_short_nor_too_long() {
        for (idle, end, fits) in [
            ("2026-01-01T02:00:00.000Z", "2026-01-02T00:00:00.000Z", true),
            ("2026-01-02T00:00:00.000Z", "2026-01-02T00:00:00.000Z", true),
            ("2026-01-03T00:00:00.000Z", "2026-01-02T00:00:00.000Z", false),
            ("2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z", false),
            ("2025-01-01T02:00:00.000Z", "2025-01-02T00:00:00.000Z", false),
            ("2026-01-01T02:00:00.000Z", "2027-02-05T00:00:00.000Z", true),
            ("2026-01-01T02:00:00.000Z", "2027-02-05T00:00:00.001Z", false),
        ] {
            let facts = Facts {
                created_at: "2026-01-01T00:00:00.000Z".into(),
                idle_expires_at: idle.into(),
                expires_at: end.into(),
                ip: None,
            };
            let outcome = judge_lifetimes(&facts);
            assert_eq!(matches!(outcome, Outcome::Ok(_)), fits, "{idle} {end}: {outcome:?}");
        }
    }

    #[test]
    fn the_date_of_an_answer_is_read() {
        let read = http_date("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(read, Some(Timestamp::from_millis(784_111_777_000)));
        assert_eq!(http_date("yesterday"), None);
    }
}
