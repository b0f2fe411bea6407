//! Which page of a list is asked for.

use super::fields::Fields;
use crate::domain::clock::Timestamp;
use crate::domain::cursor::CursorKey;
use crate::http::refusal::Refusal;
use crate::service::admin::UserPlace;

/// The list of all users. A cursor is of a list, wherever that is shown: in an answer of the API or on a page.
pub const USERS: &str = "users";
/// The list of the sessions of all users.
pub const SESSIONS: &str = "sessions of all users";
/// The audit.
pub const EVENTS: &str = "events";

const DEFAULT: usize = 50;
const LARGEST: usize = 100;

/// The size of a page, and the place after which it begins, as its list writes places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageWanted {
    /// From 1 to 100.
    pub limit: usize,
    /// None for the first page.
    pub after: Option<String>,
}

impl PageWanted {
    /// Reads `limit` and `cursor` of a query about `list`.
    ///
    /// # Errors
    /// [`Refusal::BadPage`].
    pub fn read(query: &mut Fields, list: &'static str, key: &CursorKey) -> Result<Self, Refusal> {
        let bad_limit = Refusal::BadPage("limit must be a whole number from 1 to 100");
        let limit = match query.number("limit") {
            Ok(limit) => limit.unwrap_or(DEFAULT),
            Err(_) => return Err(bad_limit),
        };
        if !(1..=LARGEST).contains(&limit) {
            return Err(bad_limit);
        }
        let after = match query.optional_text("cursor")? {
            None => None,
            Some(cursor) => Some(key.open(list, &cursor).ok_or_else(bad_cursor)?),
        };
        Ok(Self { limit, after })
    }

    /// The place as its list reads it.
    ///
    /// # Errors
    /// [`Refusal::BadPage`].
    pub fn place<T>(&self, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Refusal> {
        self.after.as_deref().map(|place| read(place).ok_or_else(bad_cursor)).transpose()
    }
}

/// The place of a user in the list of all, as a cursor holds it.
pub fn write_user_place((at, id): UserPlace) -> String {
    format!("{}.{id}", at.millis())
}

/// Reads such a place.
pub fn read_user_place(place: &str) -> Option<UserPlace> {
    let (at, id) = place.split_once('.')?;
    Some((Timestamp::from_millis(at.parse().ok()?), id.parse().ok()?))
}

const fn bad_cursor() -> Refusal {
    Refusal::BadPage("cursor was not handed out here")
}
