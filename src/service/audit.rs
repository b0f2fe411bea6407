//! Reading the audit.

use serde::Serialize;

use super::{Result, Service};
use crate::store::{EventFilter, EventNumber, StoredEvent};

/// How many rows of the store are read at a time.
const STRETCH: u32 = 20_000;
/// How many stretches one page reads at most: a page that finds little ends early, and the next one goes on.
const STRETCHES: usize = 20;

/// A page of events.
#[derive(Debug)]
pub struct EventPage {
    /// Newest first.
    pub events: Vec<StoredEvent>,
    /// The number that the next page comes before; none after the last page.
    pub next: Option<EventNumber>,
}

/// An event as it is shown, on the wire and by a command.
#[derive(Debug, Serialize)]
pub struct EventView<'e> {
    id: String,
    at: String,
    kind: &'e str,
    actor: ActorView<'e>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserView<'e>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'e str>,
    ip: Option<&'e str>,
    user_agent: Option<&'e str>,
    detail: Option<&'e str>,
    request_id: Option<&'e str>,
    count: i64,
}

#[derive(Debug, Serialize)]
struct ActorView<'e> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'e str>,
}

#[derive(Debug, Serialize)]
struct UserView<'e> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'e str>,
}

impl<'e> EventView<'e> {
    /// The event as it is shown.
    pub fn from_stored(event: &'e StoredEvent) -> Self {
        let (actor, username) = (event.actor.as_str(), event.actor_name.as_deref());
        let actor = match actor {
            "cli" => ActorView { r#type: "operator", id: None, username },
            "system" => ActorView { r#type: "system", id: None, username: None },
            "anonymous" => ActorView { r#type: "anonymous", id: None, username: None },
            id => ActorView { r#type: "user", id: Some(id), username },
        };
        let user = UserView { id: event.user_id.as_deref(), username: event.name.as_deref() };
        Self {
            id: event.number.0.to_string(),
            at: event.at.rfc3339(),
            kind: &event.kind,
            actor,
            user: (user.id.is_some() || user.username.is_some()).then_some(user),
            session: event.session_id.as_deref(),
            ip: event.ip.as_deref(),
            user_agent: event.user_agent.as_deref(),
            detail: event.detail.as_deref(),
            request_id: event.request_id.as_deref(),
            count: event.count,
        }
    }
}

impl Service {
    /// A page of at most `limit` events that are wanted, of those before a number.
    pub(super) async fn event_page(
        &self,
        filter: &EventFilter,
        mut before: Option<EventNumber>,
        limit: usize,
    ) -> Result<EventPage> {
        let mut events = Vec::new();
        for _ in 0..STRETCHES {
            let stretch = self.parts.store.event_stretch(filter, before, STRETCH, limit + 1 - events.len()).await?;
            events.extend(stretch.events);
            before = stretch.next;
            if events.len() > limit || before.is_none() {
                break;
            }
        }
        let next = match events.get(limit) {
            Some(StoredEvent { number: EventNumber(first_of_next), .. }) => {
                Some(EventNumber(first_of_next.saturating_add(1)))
            }
            None => before,
        };
        events.truncate(limit);
        Ok(EventPage { events, next })
    }
}
