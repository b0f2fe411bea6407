//! Every text of the pages, in each language: a file for each, in which a text that is missing does not compile.

use http::HeaderMap;
use http::header::ACCEPT_LANGUAGE;

pub use self::admin::Field;
pub use self::words::Texts;

mod admin;
mod counted;
mod de;
mod en;
mod words;

static LANGUAGES: [&Texts; 2] = [&en::TEXTS, &de::TEXTS];

/// The texts in the language that a browser prefers among those there are (RFC 9110 section 12.5.4): `de-AT` gets
/// German, and whatever is not understood gets English.
pub fn preferred(headers: &HeaderMap) -> &'static Texts {
    let lines = headers.get_all(ACCEPT_LANGUAGE).iter().filter_map(|line| line.to_str().ok());
    let ranges = lines.flat_map(|line| line.split(',')).take(32).filter_map(|range| {
        let (tag, weight) = range.split_once(';').unwrap_or((range, "q=1"));
        let weight = weight
            .trim()
            .strip_prefix(['q', 'Q'])
            .and_then(|weight| weight.strip_prefix('='))
            .and_then(|weight| weight.parse::<f32>().ok())?;
        let primary = tag.trim().split('-').next().unwrap_or_default();
        let texts = LANGUAGES.iter().find(|texts| texts.lang.eq_ignore_ascii_case(primary))?;
        (weight > 0.0 && weight <= 1.0).then_some((weight, *texts))
    });
    // Of equals the first.
    let best = ranges.fold(None, |best: Option<(f32, _)>, range| match best {
        Some((weight, _)) if weight >= range.0 => best,
        Some(_) | None => Some(range),
    });
    best.map_or(&en::TEXTS, |(_, texts)| texts)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;

    use super::*;
    use crate::domain::clock::Timestamp;
    use crate::domain::throttle::Wait;

    #[test]
    fn the_language_is_the_one_that_is_preferred_among_those_there_are() {
        for (accepted, wanted) in [
            ("de", "de"),
            ("de-AT", "de"),
            ("DE-at, en", "de"),
            ("en, de", "en"),
            ("de;Q=1, en;q=0.5", "de"),
            ("en;q=0.5, de;q=0.8", "de"),
            ("de;q=0, en", "en"),
            ("de;q=0", "en"),
            ("fr, de;q=0.1", "de"),
            ("fr", "en"),
            ("*", "en"),
            ("", "en"),
            (";;;q=,,de;q=x", "en"),
            ("de;q=7, en;q=0.1", "en"),
        ] {
            let headers = [(ACCEPT_LANGUAGE, HeaderValue::from_static(accepted))].into_iter().collect();
            assert_eq!(preferred(&headers).lang, wanted, "{accepted}");
        }
        assert_eq!(preferred(&HeaderMap::new()).lang, "en");
    }

    #[test]
    fn times_are_told_in_the_language() {
        let at = Timestamp::from_millis(1_772_546_520_000);
        assert_eq!(en::TEXTS.date(at), "3 March 2026, 14:02 UTC");
        assert_eq!(de::TEXTS.date(at), "3. März 2026, 14:02 UTC");
        for (seconds, english, german) in [
            (0, "just now", "gerade eben"),
            (59, "just now", "gerade eben"),
            (60, "1 minute ago", "vor 1 Minute"),
            (3599, "59 minutes ago", "vor 59 Minuten"),
            (3600, "1 hour ago", "vor 1 Stunde"),
            (86_399, "23 hours ago", "vor 23 Stunden"),
            (86_400, "1 day ago", "vor 1 Tag"),
            (2_592_000, "30 days ago", "vor 30 Tagen"),
        ] {
            let span = Duration::from_secs(seconds);
            assert_eq!((&*en::TEXTS.ago(span), &*de::TEXTS.ago(span)), (english, german));
        }
    }

    #[test]
    fn a_wait_is_told_in_words_that_are_enough() {
        for (seconds, english, german) in [
            (1, "in 1 second.", "in 1 Sekunde noch"),
            (30, "in 30 seconds.", "in 30 Sekunden noch"),
            (120, "in 120 seconds.", "in 120 Sekunden noch"),
            (121, "in 3 minutes.", "in 3 Minuten noch"),
            (900, "in 15 minutes.", "in 15 Minuten noch"),
            (7201, "in 3 hours.", "in 3 Stunden noch"),
            (86_400, "in 24 hours.", "in 24 Stunden noch"),
        ] {
            let begin = Timestamp::from_millis(0);
            let wait = Wait::new(begin, begin.after(Duration::from_secs(seconds)));
            let words = [&en::TEXTS, &de::TEXTS].map(|texts| texts.too_many_tries(wait));
            assert!(words[0].contains(english) && words[1].contains(german), "{words:?}");
        }
    }

    #[test]
    fn numbers_have_the_right_words() {
        let words = [0, 1, 2].map(|count| en::TEXTS.sessions_ended(count));
        let wanted = ["No other session was signed out.", "One session was signed out.", "2 sessions were signed out."];
        assert_eq!(words, wanted);
    }
}
