//! The texts of the administrators' pages.

use super::counted::Counted;
use crate::domain::event::EventKind;
use crate::service::error::{Conflict, Unusable};

pub(super) mod de;
pub(super) mod en;

/// Those of one language.
#[derive(Debug)]
pub struct AdminTexts {
    pub administration: &'static str,
    pub users: &'static str,
    pub sessions: &'static str,
    pub events: &'static str,
    pub search: &'static str,
    pub search_users: &'static str,
    pub filter: &'static str,
    pub show_all: &'static str,
    pub next_page: &'static str,
    pub first_page: &'static str,
    pub go_on_searching: &'static str,
    pub not_all_searched: &'static str,
    pub no_users: &'static str,
    pub no_sessions: &'static str,
    pub no_events: &'static str,
    pub no_such_user: &'static str,
    pub new_user: &'static str,
    pub username: &'static str,
    pub email: &'static str,
    pub name: &'static str,
    pub optional: &'static str,
    pub name_hint: &'static str,
    pub password: &'static str,
    pub password_hint: &'static str,
    pub is_admin: &'static str,
    pub is_admin_hint: &'static str,
    pub create: &'static str,
    pub save: &'static str,
    pub unsaved: &'static str,
    pub edit: &'static str,
    pub access: &'static str,
    pub disabled: &'static str,
    pub must_change: &'static str,
    pub yourself: &'static str,
    pub own_access: &'static str,
    pub last_login: &'static str,
    pub never: &'static str,
    pub created_at: &'static str,
    pub id: &'static str,
    pub user: &'static str,
    pub user_hint: &'static str,
    pub events_of_user: &'static str,
    pub to_user: &'static str,
    pub not_signed_in: &'static str,
    pub disable: &'static str,
    /// With `{name}`, as the others that say what an act means.
    pub disable_means: &'static str,
    pub enable: &'static str,
    pub enable_means: &'static str,
    pub sign_out_user: &'static str,
    pub sign_out_user_means: &'static str,
    pub reset: &'static str,
    pub reset_means: &'static str,
    pub second_factor: &'static str,
    pub reset_factor: &'static str,
    pub reset_factor_means: &'static str,
    pub unlock: &'static str,
    pub unlock_means: &'static str,
    pub delete: &'static str,
    pub delete_means: &'static str,
    pub one_time_password: &'static str,
    /// With `{name}`.
    pub one_time_for: &'static str,
    pub one_time_hint: Counted,
    pub done: &'static str,
    pub was_created: &'static str,
    pub was_saved: &'static str,
    pub was_disabled: &'static str,
    pub was_enabled: &'static str,
    pub was_factor_reset: &'static str,
    pub was_unlocked: &'static str,
    pub nothing_locked: &'static str,
    /// With `{until}` and `{}`, the number of failures.
    pub waits: Counted,
    pub was_deleted: &'static str,
    pub ended_none: &'static str,
    pub device: &'static str,
    pub network: &'static str,
    pub network_hint: &'static str,
    pub user_agent: &'static str,
    pub before: &'static str,
    pub action: &'static str,
    pub sign_out_matching: &'static str,
    pub sign_out_matching_means: Counted,
    pub nothing_to_sign_out: &'static str,
    pub sign_out_everybody: &'static str,
    pub sign_out_everybody_means: Counted,
    pub when: &'static str,
    pub what: &'static str,
    pub by: &'static str,
    pub from: &'static str,
    pub kind: &'static str,
    pub every_kind: &'static str,
    pub since: &'static str,
    pub until: &'static str,
    pub operator: &'static str,
    pub service: &'static str,
    pub anonymous: &'static str,
    /// With `{}`, for events that are one line.
    pub times: &'static str,
    pub wrong_password: &'static str,
    pub wrong_code: &'static str,
    pub bad_network: &'static str,
    pub bad_time: &'static str,
    pub too_long: &'static str,
    /// What happened, in a few words.
    pub event: fn(EventKind) -> &'static str,
    /// Why something does not go together with what there is.
    pub conflict: fn(Conflict) -> &'static str,
    /// Why a field of a user cannot be used.
    pub invalid: fn(Field, Unusable) -> String,
}

/// A field of the forms about users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Username,
    Email,
    Name,
    Password,
}

impl Field {
    /// The field that an operation names.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "username" => Some(Self::Username),
            "email" => Some(Self::Email),
            "name" => Some(Self::Name),
            "password" => Some(Self::Password),
            _ => None,
        }
    }
}
