//! The audit.

use axum::extract::State;
use http::{StatusCode, Uri};
use serde::Serialize;

use super::administrator::Administrator;
use crate::domain::clock::Timestamp;
use crate::domain::event::EventKind;
use crate::http::dialect::canonical::Canonical;
use crate::http::refusal::{Answer, FieldError, Place, Problem, Refused, json};
use crate::http::request::fields::Fields;
use crate::http::request::page::{EVENTS, PageWanted};
use crate::http::request::state::App;
use crate::service::audit::EventView;
use crate::store::{EventFilter, EventNumber};

/// `GET /api/v1/admin/events`: those that are wanted, newest first, a page at a time.
pub async fn list(State(app): State<App>, administrator: Administrator, uri: Uri) -> Answer<Canonical> {
    #[derive(Serialize)]
    struct Page<'e> {
        events: Vec<EventView<'e>>,
        next_cursor: Option<String>,
    }
    let mut query = Fields::from_query(uri.query())?;
    let wanted = PageWanted::read(&mut query, EVENTS, app.service.cursors())?;
    let before = wanted.place(|place| place.parse().ok().map(EventNumber))?;
    let powers = administrator.powers(&app)?;
    let kind = kind(&mut query)?;
    let (since, until) = (time(&mut query, "since")?, time(&mut query, "until")?);
    let user = query.optional_text("user")?;
    query.nothing_else()?;
    let user = match user {
        None => None,
        Some(text) => match powers.find(&text).await? {
            Some(user) => Some(user),
            // There is nothing about a user who does not exist.
            None => return Ok(json(StatusCode::OK, &Page { events: Vec::new(), next_cursor: None })),
        },
    };
    let found = powers.events(&EventFilter { user, kind, since, until }, before, wanted.limit).await?;
    let shown = Page {
        events: found.events.iter().map(EventView::from_stored).collect(),
        next_cursor: found.next.map(|EventNumber(next)| app.service.cursors().seal(EVENTS, &next.to_string())),
    };
    Ok(json(StatusCode::OK, &shown))
}

/// The word of a kind, if one is asked for.
fn kind(query: &mut Fields) -> Result<Option<String>, Refused<Canonical>> {
    let Some(word) = query.optional_text("kind")? else { return Ok(None) };
    if EventKind::from_word(&word).is_some() {
        return Ok(Some(word));
    }
    let words: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let problem = Problem::Unfit(format!("must be one of {}", words.join(", ")));
    Err(FieldError { place: Place::Query, field: "kind".to_owned(), problem }.into())
}

fn time(query: &mut Fields, field: &str) -> Result<Option<Timestamp>, Refused<Canonical>> {
    let Some(text) = query.optional_text(field)? else { return Ok(None) };
    let at = Timestamp::parse_rfc3339(&text).ok_or_else(|| {
        let problem = Problem::Unfit(String::from("must be a time with its zone, such as 2026-01-02T03:04:05Z"));
        FieldError { place: Place::Query, field: field.to_owned(), problem }
    })?;
    Ok(Some(at))
}
