//! What an edit makes of a user, and the events that tell of changes to accounts.

use std::borrow::Cow;

use crate::domain::clock::Timestamp;
use crate::domain::event::{Actor, Event, EventKind, Origin};
use crate::domain::id::UserId;
use crate::domain::user::{NewUser, OneTime, User, UserEdit};

/// A user with an edit applied.
pub(super) struct Plan {
    /// The user afterwards.
    pub(super) after: User,
    /// What changes, with the detail for the audit; nothing where the user is as wanted already.
    pub(super) events: Vec<(EventKind, Option<Cow<'static, str>>)>,
    /// Whether an administrator who is enabled is one no longer.
    pub(super) removes_admin: bool,
}

impl Plan {
    /// Applies `edit` to a user at that time.
    pub(super) fn new(before: &User, edit: &UserEdit, now: Timestamp) -> Self {
        let UserEdit { username, email, name, admin, disabled } = edit.clone();
        let mut after = User {
            username: username.unwrap_or_else(|| before.username.clone()),
            email: email.unwrap_or_else(|| before.email.clone()),
            name: name.unwrap_or_else(|| before.name.clone()),
            admin: admin.unwrap_or(before.admin),
            disabled_at: match disabled {
                None => before.disabled_at,
                Some(true) => before.disabled_at.or(Some(now)),
                Some(false) => None,
            },
            ..before.clone()
        };
        let mut events = Vec::new();
        let mut changed = |happened: bool, kind, detail: Option<String>| {
            if happened {
                events.push((kind, detail.map(Cow::Owned)));
            }
        };
        let old_name = Some(before.username.as_str().to_owned());
        changed(after.username != before.username, EventKind::UserRenamed, old_name);
        changed(after.email != before.email, EventKind::EmailChanged, None);
        changed(after.name != before.name, EventKind::NameChanged, None);
        changed(after.admin && !before.admin, EventKind::AdminGranted, None);
        changed(before.admin && !after.admin, EventKind::AdminRemoved, None);
        let (was_enabled, enabled) = (before.disabled_at.is_none(), after.disabled_at.is_none());
        changed(was_enabled && !enabled, EventKind::UserDisabled, None);
        changed(enabled && !was_enabled, EventKind::UserEnabled, None);
        if !events.is_empty() {
            after.updated_at = now;
        }
        Self { removes_admin: before.admin && was_enabled && !(after.admin && enabled), after, events }
    }

    /// Whether checks answer something else than before: another name, address or rank.
    pub(super) fn changes_identity(&self) -> bool {
        self.events.iter().any(|(kind, _)| !matches!(kind, EventKind::UserDisabled | EventKind::UserEnabled))
    }

    /// Whether the user may no longer log in, having been allowed to.
    pub(super) fn disables(&self) -> bool {
        self.events.iter().any(|(kind, _)| *kind == EventKind::UserDisabled)
    }

    /// Whether it is superseded what logins under way were checked against.
    pub(super) fn supersedes(&self) -> bool {
        self.events.iter().any(|(kind, _)| matches!(kind, EventKind::UserDisabled | EventKind::UserEnabled))
    }
}

/// What the audit says of a user who was made: one event, and one more where they are an administrator.
pub(super) fn created(id: UserId, user: &NewUser, by: Actor, origin: &Origin, now: Timestamp) -> Vec<Event> {
    let event = |kind| {
        let event = Event::about(id, kind, by, now).from(origin);
        Event { name: Some(user.username.as_str().to_owned()), ..event }
    };
    let kinds = [EventKind::UserCreated].into_iter().chain(user.admin.then_some(EventKind::AdminGranted));
    kinds.map(event).collect()
}

/// The audit's word for a password that was set.
pub(super) const fn password_event(one_time: Option<OneTime>) -> EventKind {
    match one_time {
        Some(_) => EventKind::PasswordReset,
        None => EventKind::PasswordChanged,
    }
}
