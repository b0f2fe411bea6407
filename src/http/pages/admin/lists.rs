//! The way from page to page of a list, and the addresses of lists with what they are filtered by.

use crate::domain::clock::Timestamp;
use crate::domain::id::UserId;
use crate::http::refusal::{FieldError, Refusal};
use crate::http::request::fields::Fields;
use crate::http::request::page::PageWanted;
use crate::http::request::state::App;

/// The page of a list that is asked for.
#[derive(Debug)]
pub struct Asked {
    /// The place where it begins, and its size.
    pub page: PageWanted,
    /// The size, if it was asked for.
    limit: String,
}

/// The ways on from a page of a list.
#[derive(Debug, Default)]
pub struct Ways {
    /// To the first page, from any other.
    pub first: Option<String>,
    /// To the next page.
    pub next: Option<String>,
    /// Whether it ends early since searching took long, and not since it is full.
    pub few: bool,
}

impl Asked {
    /// Takes from a query which page of `list` is asked for.
    ///
    /// # Errors
    /// As [`PageWanted::read`].
    pub fn read(query: &mut Fields, list: &'static str, app: &App) -> Result<Self, Refusal> {
        let is_limited = query.has_text("limit");
        let page = PageWanted::read(query, list, app.service.cursors())?;
        let limit = if is_limited { page.limit.to_string() } else { String::new() };
        Ok(Self { page, limit })
    }

    /// The ways on from this page of the list at `path`, which is filtered by `pairs` and holds `found`.
    pub fn ways(&self, path: &str, pairs: &[(&str, &str)], next: Option<&str>, found: usize) -> Ways {
        let to = |cursor: &str| address(path, &[pairs, &[("limit", &self.limit), ("cursor", cursor)]].concat());
        Ways {
            first: self.page.after.as_ref().map(|_| to("")),
            next: next.map(to),
            few: next.is_some() && found < self.page.limit,
        }
    }
}

/// The address of a page with parameters, of which those that say nothing are left out.
pub fn address(path: &str, pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// The address of the page of a user.
pub fn address_of(user: UserId) -> String {
    format!("/admin/users/{user}")
}

/// Takes a parameter that may be there; a field that was not filled in says nothing.
///
/// # Errors
/// As [`Fields::optional_text`].
pub fn text(query: &mut Fields, name: &str) -> Result<String, FieldError> {
    Ok(query.optional_text(name)?.unwrap_or_default().trim().to_owned())
}

/// A text that is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTime;

/// Reads a time that may be there, as RFC 3339 writes it or as browsers fill it in: without a zone, which is UTC.
///
/// # Errors
/// [`NoTime`].
pub fn time(text: &str) -> Result<Option<Timestamp>, NoTime> {
    if text.is_empty() {
        return Ok(None);
    }
    let zoned = [text.to_owned(), format!("{text}Z"), format!("{text}:00Z")];
    zoned.iter().find_map(|text| Timestamp::parse_rfc3339(text)).map(Some).ok_or(NoTime)
}

/// A time as a browser takes it for a field; a text that is none stays as it is.
pub fn local(text: &str) -> String {
    let Ok(Some(at)) = time(text) else { return text.to_owned() };
    let exact = at.rfc3339();
    let exact = exact.trim_end_matches('Z');
    exact.strip_suffix(":00.000").unwrap_or(exact).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_holds_what_is_said_and_nothing_else() {
        assert_eq!(address("/admin/users", &[("q", ""), ("cursor", "")]), "/admin/users");
        assert_eq!(address("/admin/users", &[("q", "a b&c"), ("cursor", "x")]), "/admin/users?q=a+b%26c&cursor=x");
    }

    #[test]
    fn a_page_leads_on_and_says_whether_everything_was_searched() {
        let asked = |after: Option<&str>| Asked {
            page: PageWanted { limit: 2, after: after.map(str::to_owned) },
            limit: String::from("2"),
        };
        let ways = |after, next, found| asked(after).ways("/admin/users", &[("q", "a")], next, found);
        let only = ways(None, None, 1);
        assert!(only.first.is_none() && only.next.is_none() && !only.few);
        let full = ways(None, Some("x"), 2);
        assert_eq!((full.next.as_deref(), full.few), (Some("/admin/users?q=a&limit=2&cursor=x"), false));
        for found in [0, 1] {
            assert!(ways(None, Some("x"), found).few, "{found}");
        }
        assert_eq!(ways(Some("x"), None, 1).first.as_deref(), Some("/admin/users?q=a&limit=2"));
    }

    #[test]
    fn times_are_read_as_browsers_and_as_programs_write_them() {
        for (text, wanted) in [
            ("2026-01-02T03:04", "2026-01-02T03:04:00.000Z"),
            ("2026-01-02T03:04:05", "2026-01-02T03:04:05.000Z"),
            ("2026-01-02T03:04:05.678", "2026-01-02T03:04:05.678Z"),
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000Z"),
            ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05.000Z"),
        ] {
            assert_eq!(time(text).map(|at| at.map(Timestamp::rfc3339)), Ok(Some(wanted.to_owned())), "{text}");
        }
        assert_eq!(time(""), Ok(None));
        for text in ["yesterday", "2026-01-02", "2026-13-02T03:04"] {
            assert_eq!(time(text), Err(NoTime), "{text}");
            assert_eq!(local(text), text);
        }
        assert_eq!(local("2026-01-02T03:04:00Z"), "2026-01-02T03:04");
        assert_eq!(local("2026-01-02T03:04:05Z"), "2026-01-02T03:04:05.000");
    }
}
